//! The scripts over the tools: mm-upgrade, mm-rehearse, mm-report.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test fails by panicking, and its files need not outlive a power cut"
)]

mod asked;
mod by_hand;
mod failing;
mod killed;
#[cfg(feature = "checkpoints")]
mod moved;
mod rehearse;
mod reports;
mod run;
mod stopped;
mod surroundings;
mod window;
