//! What is known of PostgreSQL: data sources, queries through `psql`, dumps, fingerprints, Debian clusters.

pub mod besides;
pub mod cluster;
pub mod definitions;
pub mod dump;
pub mod fingerprint;
pub mod frozen;
mod guarded;
mod held;
mod kept;
pub mod others;
pub mod owners;
pub(crate) mod passfile;
pub mod programs;
pub mod properties;
pub mod proven;
pub mod restorer;
pub mod rights;
pub mod roles;
pub mod schemas;
pub mod scratch;
pub mod server;
pub mod session;
pub mod source;
mod standing;
pub mod tried;
mod unreached;
pub mod untrusted;
