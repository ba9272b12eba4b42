//! The machine the tools act on. Everything here takes a path or a command and names it in its errors.

pub mod access;
pub mod budget;
pub mod checkpoint;
pub mod command;
pub mod disk;
pub mod door;
pub mod files;
pub mod given;
pub mod guise;
pub mod host;
pub mod http;
pub mod journal;
pub mod lock;
pub mod mounts;
pub mod pins;
pub mod process;
pub mod runs;
pub mod service;
pub mod signals;
pub mod state;
pub mod story;
pub mod threads;
pub mod tree;
pub mod trust;
pub mod user;
pub mod wildcard;
