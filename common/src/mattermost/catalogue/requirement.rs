//! What a release asks of the database server and the host.

use semver::Version;
use serde::Deserialize;

use super::line::Dotted;

/// Holds from one version until the next record.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    /// The first version it holds for.
    pub from: Version,
    /// The lowest PostgreSQL major that the server starts with; none where it does not look.
    #[serde(default)]
    pub postgres: Option<u32>,
    /// The lowest PostgreSQL version that the documents allow.
    #[serde(default)]
    pub postgres_documented: Option<Dotted>,
    /// The lowest MySQL version; none where MySQL is not supported at all.
    #[serde(default)]
    pub mysql: Option<Dotted>,
    /// The lowest C library that the binary runs on, where that is known.
    #[serde(default)]
    pub glibc: Option<Dotted>,
    /// Where this is written.
    pub source: String,
}

impl Requirement {
    /// Whether the server refuses a PostgreSQL of this major.
    pub fn refuses_postgres(&self, major: u32) -> bool {
        self.postgres.is_some_and(|lowest| major < lowest)
    }
}
