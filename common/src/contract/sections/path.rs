//! What mm-path writes: the way and its hops.

use std::collections::BTreeMap;

use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::verify::Status;
use crate::contract::version::Edition;

/// `path`: the way, and the next step on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Path {
    /// The installed release.
    pub current: Version,
    /// Its edition, when the first hop changes that; otherwise it is that of the hops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_edition: Option<Edition>,
    /// The release wanted.
    pub target: Version,
    /// `esr`, `minor` or `direct`.
    pub policy: String,
    /// What the first planning was asked for, so that the fold asks for the same.
    #[serde(default)]
    pub wish: Map<String, Value>,
    /// How old the release data was that this was planned with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalogue: Option<CatalogueSeen>,
    /// All hops that remain, the next one first.
    pub hops: Vec<Hop>,
    /// The hop to carry out now; null when the target is reached.
    pub next: Option<Hop>,
    /// What makes the path impossible.
    #[serde(default)]
    pub blockers: Vec<Note>,
    /// What a person should know.
    #[serde(default)]
    pub notes: Vec<Note>,
    /// What `mm-path --check` found on this machine; absent without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Preflight>,
}

/// The release data that a path was planned with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CatalogueSeen {
    /// The day its newest data was read (`2026-11-28`).
    pub as_of: String,
    /// Where the record of each release of the path came from: `built in`, `refreshed` or `file`.
    pub sources: BTreeMap<String, String>,
}

/// One finding of `mm-path --check`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Preflight {
    /// Stable identifier.
    pub id: String,
    /// What was looked for.
    pub title: String,
    /// The finding; `error` is "could not look".
    pub status: Status,
    /// `block`, `action`, `warn` or `info`; empty unless something was found.
    #[serde(default)]
    pub severity: String,
    /// What was seen.
    #[serde(default)]
    pub evidence: String,
    /// The release whose start it concerns; absent when it concerns the present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hop: Option<Version>,
    /// What to do about it.
    #[serde(default)]
    pub fix: String,
    /// Where this is known from.
    #[serde(default)]
    pub source: String,
}

/// One step from a release to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Hop {
    /// The release before.
    pub from: Version,
    /// The release after.
    pub to: Version,
    /// What it changes: `release`, `edition`, `database`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// Edition of the release after; that before differs when `path.current_edition` says so.
    pub edition: Edition,
    /// Where the release is published.
    pub url: String,
    /// Digests of the tarball of which any one is right.
    pub sha256: Vec<String>,
    /// Why this hop is on the path.
    #[serde(default)]
    pub why: Vec<Why>,
    /// What it needs of the machine.
    #[serde(default)]
    pub needs: Needs,
    /// Whether the nodes of a cluster may be taken from one release to the other in turn, while the others serve.
    #[serde(default)]
    pub rolling: bool,
    /// Upgrade notes that apply to it.
    #[serde(default)]
    pub notes: Vec<Note>,
    /// Guesses, in seconds and bytes.
    #[serde(default)]
    pub estimate: Map<String, Value>,
}

impl Hop {
    /// Whether it changes the database and nothing else: then the release says nothing about how far it is.
    pub fn is_of_database_alone(&self) -> bool {
        self.from == self.to && self.changes == ["database"]
    }

    /// Whether all that it changes is in place: release, edition and what it asks of the database.
    pub fn is_in_place(&self, (installed, edition): (&Version, Edition), database: DatabaseNow) -> bool {
        let is_late_enough = |needed: u32| database.major.is_none_or(|major| major >= needed);
        let is_fit = if self.is_of_database_alone() {
            database.is_moved
        } else {
            self.needs.postgres.is_none_or(is_late_enough)
        };
        *installed == self.to && edition == self.edition && is_fit
    }

    /// Its releases, as people are told of them.
    pub fn in_words(&self) -> String {
        if self.is_of_database_alone() {
            return format!("{}, whose database moves", self.to);
        }
        format!("{} to {}", self.from, self.to)
    }
}

/// What a hop can have changed of the database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DatabaseNow {
    /// The PostgreSQL major, where it could be asked.
    pub major: Option<u32>,
    /// The server works with what the last move has carried and proven.
    pub is_moved: bool,
}

/// A rule that put a hop where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Why {
    /// Identifier of the rule.
    pub rule: String,
    /// What it says.
    pub text: String,
    /// Who says so.
    #[serde(default)]
    pub source: String,
}

/// What a hop needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Needs {
    /// PostgreSQL major to be on before this hop's server starts; absent when the present one will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgres: Option<u32>,
    /// Whether `mm-pgbump move --target FILE` meets it: the database is in no cluster of this host that can be upgraded.
    #[serde(rename = "move", default, skip_serializing_if = "std::ops::Not::not")]
    pub is_move: bool,
    /// Free bytes beside the install root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Further needs, by name.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// An upgrade note, a blocker or a warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Note {
    /// Stable identifier.
    pub id: String,
    /// `block`, `action`, `warn` or `info`.
    pub severity: String,
    /// What it is about.
    pub title: String,
    /// What to do.
    #[serde(default)]
    pub action: String,
    /// Who says so.
    #[serde(default)]
    pub source: String,
}
