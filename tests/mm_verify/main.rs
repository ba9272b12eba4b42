//! mm-verify from outside, on servers of the stand-in.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test fails by panicking, and its files need not outlive a power cut"
)]

mod bench;
mod client;
mod jump;
#[cfg(feature = "checkpoints")]
mod killed;
mod lab;
mod proxy;
mod real;
mod reports;
mod run;
mod runs;
mod sites;
#[cfg(feature = "checkpoints")]
mod stopped;
mod table;
mod ways;
