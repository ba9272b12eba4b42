//! mm-path: its plans, its checks, and what it prints.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test fails by panicking, and its files need not outlive a power cut"
)]

mod check;
mod host;
mod live;
mod properties;
mod run;
mod table;
