//! Upgrade notes and the documented rates of slow migrations.

use semver::Version;
use serde::{Deserialize, Serialize};

use super::condition::Condition;

/// How much a note matters, most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The server does not start, or data is lost, unless something is done first.
    Block,
    /// Somebody has to do something.
    Action,
    /// Worth knowing before.
    Warn,
    /// Good to know.
    Info,
}

impl Severity {
    /// The word that documents use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Action => "action",
            Self::Warn => "warn",
            Self::Info => "info",
        }
    }
}

/// What Mattermost's upgrade notes say about one release.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// Its name in documents.
    pub id: String,
    /// The release with which it begins to matter.
    pub version: Version,
    /// How much it matters.
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// What to do; empty when there is nothing to do.
    #[serde(default)]
    pub action: String,
    /// It is about a change of the database's schema.
    #[serde(default)]
    pub migration: bool,
    /// For whom it matters.
    #[serde(default)]
    pub when: Condition,
    /// Where this is written.
    pub source: String,
}

/// How long a migration takes by the documents: an order of magnitude, from somebody else's machine.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Its name in documents.
    pub id: String,
    /// The release that brings the migration.
    pub version: Version,
    /// The table whose rows it works through.
    pub table: String,
    /// Seconds for each million rows.
    pub seconds_per_million: f64,
    /// One line.
    pub title: String,
    /// Where this is written.
    pub source: String,
}
