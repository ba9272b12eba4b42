//! Schema migrations: how many a release has, and what the numbers mean.

use semver::Version;
use serde::Deserialize;

use super::line::Line;

/// How many migrations the releases of a line have, from one release on.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MigrationCount {
    /// The first release it holds for.
    pub from: Version,
    /// The line.
    pub line: Line,
    /// The highest number, where it is known.
    #[serde(default)]
    pub highest: Option<u32>,
    /// How many there are (numbers are left out here and there), where it is known.
    #[serde(default)]
    pub count: Option<u32>,
    /// Deduced from the history, not read in the release.
    #[serde(default)]
    pub inferred: bool,
}

/// The name behind a number in `db_migrations`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MigrationName {
    /// The number.
    pub number: u32,
    /// The name.
    pub name: String,
    /// The first release it was seen with.
    pub seen: Version,
}

/// All that is known of schema migrations. They exist from 6.4 on.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Migrations {
    /// By line and first release, oldest first.
    #[serde(default)]
    pub counts: Vec<MigrationCount>,
    /// By number.
    #[serde(default)]
    pub names: Vec<MigrationName>,
}

impl Migrations {
    /// The count of a release: the last record of its line that begins at or before it.
    pub fn of(&self, version: &Version) -> Option<&MigrationCount> {
        let line = Line::of(version);
        self.counts.iter().rev().find(|count| count.line == line && count.from <= *version)
    }

    /// The name that a number has in the main line of development.
    pub fn name(&self, number: u32) -> Option<&MigrationName> {
        self.names.iter().find(|known| known.number == number)
    }

    pub(super) fn extend(&mut self, newer: Self) {
        for count in newer.counts {
            self.counts.retain(|known| known.from != count.from);
            self.counts.push(count);
        }
        self.counts.sort_by(|a, b| a.from.cmp(&b.from));
        for name in newer.names {
            self.names.retain(|known| known.number != name.number);
            self.names.push(name);
        }
        self.names.sort_by_key(|name| name.number);
    }
}
