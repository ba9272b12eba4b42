//! The stand-in: a server that imitates what an upgrade tool can see of Mattermost, version by version; a builder of release tarballs that carry it; a
//! seeder of content. One executable: with an identity at its end it is `bin/mattermost` of that release, without one it is the builder.
//!
//! A test instrument. It contains no code of Mattermost and must never be mistaken for it.
#![allow(clippy::unnecessary_wraps, reason = "every call of the API answers in the same type")]
#![allow(
    clippy::disallowed_methods,
    reason = "the instrument stands apart from what it measures: it must not share mm_common's ways of touching files"
)]

mod api;
mod builder;
mod commands;
mod config;
mod database;
mod emulated;
mod error;
mod faults;
mod http;
mod log;
mod plugins;
mod rate;
pub mod release;
pub mod seed;
mod server;
mod site;
mod start;
mod text;
mod tls;
mod web;
mod websocket;

use std::process::ExitCode;

pub use emulated::{Edition, Version};
pub use error::{Error, Result};

/// What the executable does: the server of the release it belongs to, or the builder.
#[must_use]
pub fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // The name in /proc is what was executed even when the file has been exchanged since.
    let executable = std::fs::read_link("/proc/self/exe").unwrap_or_default();
    let identity = emulated::Identity::of(std::path::Path::new("/proc/self/exe"));
    match identity {
        Ok(Some(identity)) => commands::main(identity, &executable, &arguments),
        _ => builder::main(),
    }
}
