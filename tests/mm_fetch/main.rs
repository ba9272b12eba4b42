//! mm-fetch from outside: archives, networks, hosts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::case_sensitive_file_extension_comparisons,
    clippy::print_stderr,
    reason = "a test fails by panicking, and its files need not outlive a power cut"
)]

mod archives;
mod faults;
mod fixture;
mod foreign;
mod host;
mod network;
mod refresh;
mod run;
