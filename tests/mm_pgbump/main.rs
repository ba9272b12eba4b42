//! mm-pgbump from outside, on real clusters.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test fails by panicking, and its files need not outlive a power cut"
)]

mod database;
mod equal;
mod failures;
mod forced;
mod indexes;
#[cfg(feature = "checkpoints")]
mod kill;
mod lab;
mod moving;
mod moving_back;
#[cfg(feature = "checkpoints")]
mod moving_killed;
#[cfg(feature = "checkpoints")]
mod moving_later;
mod moving_lost;
mod moving_recipes;
#[cfg(feature = "checkpoints")]
mod moving_stored;
mod nodes;
mod out_of_mysql;
#[cfg(feature = "checkpoints")]
mod out_of_mysql_killed;
mod out_of_mysql_tls;
mod out_of_mysql_unit;
mod refused;
#[cfg(feature = "checkpoints")]
mod repoint;
#[cfg(feature = "checkpoints")]
mod repoint_stored;
#[cfg(feature = "checkpoints")]
mod restore;
mod rig;
mod run;
mod settings;
#[cfg(feature = "checkpoints")]
mod stopped;
mod systemd;
mod user_code;
