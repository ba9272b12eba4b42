//! All six tools together.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test fails by panicking, and its files need not outlive a power cut"
)]

mod contract;
#[cfg(feature = "checkpoints")]
mod crash;
#[cfg(feature = "checkpoints")]
mod defaults;
#[cfg(feature = "checkpoints")]
mod door;
mod errors;
mod failures;
#[cfg(feature = "checkpoints")]
mod hints;
mod hops;
mod install;
mod jump;
mod moved;
#[cfg(feature = "checkpoints")]
mod original;
mod readme;
mod recorded;
mod secrets;
mod shells;
mod stopping;
mod terminals;
#[cfg(feature = "checkpoints")]
mod unknown;
#[cfg(feature = "checkpoints")]
mod window;
