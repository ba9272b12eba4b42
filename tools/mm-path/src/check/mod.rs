//! Preflight: what can be seen beforehand, on this machine, of what breaks on the way. Read-only.
//!
//! Each check knows three answers: looked and it is well, looked and it is bad, could not look. The last is neither of
//! the others.

mod access;
mod bundles;
pub mod carried;
pub mod database;
mod disk;
mod guard;
pub mod host;
mod indexes;
mod json;
mod licence;
mod origin;
mod people;
mod plugin_tables;
mod plugins;
mod proxy;
mod rollback;
mod schema;
mod search;
mod settings;
mod tree;
mod unit;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use mm_common::contract::error::{Error, Result};
use mm_common::contract::sections::{Hop, Note, Path, Preflight, Status};
use mm_common::contract::version::Edition;
use mm_common::machine::threads;
use mm_common::mattermost::carried::Carried;
use mm_common::mattermost::catalogue::{Catalogue, Severity};
use semver::Version;
use serde_json::Value;

pub use disk::Used;
pub use licence::Outside;
pub(crate) use licence::sku as licence;

/// The way that is checked, and who goes it.
#[derive(Debug, Clone, Copy)]
pub struct Way<'a> {
    /// The release catalogue.
    pub catalogue: &'a Catalogue,
    /// The installed release.
    pub from: &'a Version,
    /// The hops that remain.
    pub hops: &'a [Hop],
    /// The edition from the first hop on.
    pub edition: Edition,
    /// The installed edition, when the first hop changes it.
    pub before: Option<Edition>,
    /// The effective configuration.
    pub config: Option<&'a Value>,
    /// Short name of the licence, empty without one; none when it is not known.
    pub licence: Option<&'a str>,
    /// Licences outside the database.
    pub outside: &'a Outside,
    /// The migrations of those releases on the way that are at hand.
    pub carried: &'a BTreeMap<Version, Carried>,
}

impl Way<'_> {
    /// The hop that brings the server from before this release to it or beyond.
    pub(crate) fn crossing(&self, release: &Version) -> Option<&Hop> {
        self.hops.iter().find(|hop| hop.from < *release && *release <= hop.to)
    }

    /// The hop with which PostgreSQL is upgraded.
    pub(crate) fn bump(&self) -> Option<&Hop> {
        self.hops.iter().find(|hop| hop.needs.postgres.is_some() && !hop.needs.is_move)
    }
}

/// What a look has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As it should be.
    Good(String),
    /// Not as it should be.
    Bad(Bad),
    /// It does not matter on this way.
    Beside(String),
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bad {
    pub(crate) severity: Severity,
    /// What was seen, one item a fact.
    pub(crate) evidence: Vec<String>,
    /// The release whose start it concerns; none when it concerns the present.
    pub(crate) hop: Option<Version>,
    pub(crate) fix: String,
}

impl Outcome {
    /// Bad when there is evidence, good otherwise.
    pub(crate) fn of(evidence: Vec<String>, good: &str, bad: impl FnOnce(Vec<String>) -> Bad) -> Self {
        if evidence.is_empty() { Self::Good(good.into()) } else { Self::Bad(bad(evidence)) }
    }

    /// It matters only to a way that crosses this release.
    pub(crate) fn not_crossed(release: &str) -> Self {
        Self::Beside(format!("the way does not cross {release}"))
    }
}

/// One check of a kind of view.
pub(crate) struct Check<V> {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) source: &'static str,
    pub(crate) look: fn(&V) -> Result<Outcome>,
}

/// How many looks are taken at once. Most of a look is waiting for the database, which is somebody's production server.
const AT_ONCE: usize = 4;

/// Makes all checks of a list; the findings stand in its order.
pub(crate) fn all<V: Sync>(checks: &[Check<V>], view: &V) -> Vec<Preflight> {
    threads::each(AT_ONCE, checks, |check| finding(check.id, check.title, check.source, (check.look)(view)))
}

/// The most facts that a finding lists; there may be thousands.
const MOST_FACTS: usize = 8;

pub(crate) fn finding(id: &str, title: &str, source: &str, outcome: Result<Outcome>) -> Preflight {
    let mut finding = Preflight {
        id: id.into(),
        title: title.into(),
        status: Status::Pass,
        severity: String::new(),
        evidence: String::new(),
        hop: None,
        fix: String::new(),
        source: source.into(),
    };
    match outcome {
        Ok(Outcome::Good(evidence)) => finding.evidence = evidence,
        Ok(Outcome::Beside(why)) => {
            finding.status = Status::Skip;
            finding.evidence = why;
        }
        Ok(Outcome::Bad(bad)) => {
            finding.status = match bad.severity {
                Severity::Block | Severity::Action => Status::Fail,
                Severity::Warn => Status::Warn,
                // It is told, and nothing is wrong with it.
                Severity::Info => Status::Pass,
            };
            finding.severity = bad.severity.name().into();
            finding.evidence = listed(&bad.evidence);
            finding.hop = bad.hop;
            finding.fix = bad.fix;
        }
        Err(error) => {
            finding.status = Status::Error;
            finding.evidence = error.one_line();
            finding.fix = error.next_step().unwrap_or_default().into();
        }
    }
    finding
}

/// A whole subject that could not be looked at.
pub(crate) fn unseen(id: &str, title: &str, error: &Error) -> Preflight {
    finding(id, title, "this host", Err(error.clone()))
}

fn listed(facts: &[String]) -> String {
    let mut text = facts.iter().take(MOST_FACTS).cloned().collect::<Vec<_>>().join("; ");
    if facts.len() > MOST_FACTS {
        // Writing to a String cannot fail.
        let _ = write!(text, "; and {} more", facts.len() - MOST_FACTS);
    }
    text
}

/// Puts the findings into the plan: what blocks becomes a blocker, all of it stands under `checks`.
pub(crate) fn into_plan(path: &mut Path, findings: Vec<Preflight>) {
    let blocking = findings.iter().filter(|finding| finding.severity == Severity::Block.name());
    path.blockers.extend(blocking.map(|finding| Note {
        id: finding.id.clone(),
        severity: finding.severity.clone(),
        title: format!("{}: {}", finding.title, finding.evidence),
        action: finding.fix.clone(),
        source: finding.source.clone(),
    }));
    path.checks = findings;
}
