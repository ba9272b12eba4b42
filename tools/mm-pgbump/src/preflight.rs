//! What is looked at before anything is changed, with the server running: each thing that would make the upgrade fail,
//! lose something or surprise somebody. Nothing here writes.

mod code;
mod contents;
mod definitions;
mod host;
mod indexes;
mod order;

use std::path::Path;
use std::time::Instant;

use mm_common::contract::error::Kind;
use mm_common::contract::sections::{Check, Status};
use mm_common::contract::{accepted, call};
use mm_common::postgres::cluster::Cluster;
use mm_common::postgres::proven::{self, Claim};
use mm_common::postgres::server::Database;
use mm_common::{Error, Result};

use crate::plan::Method;
use crate::rehearsal::{self, Scratch, Verdict};

pub(crate) use code::{USER_CODE, require_none as require_no_user_code};
pub(crate) use contents::other_databases;
pub(crate) use host::{Target, target};

/// The check for packages without a counterpart; accepted, the upgrade goes on without them.
pub(crate) const PACKAGES: &str = "packages";

/// What is to be upgraded, and how.
#[derive(Debug)]
pub(crate) struct Question<'a> {
    /// The cluster of the server.
    pub old: &'a Cluster,
    /// The database of the server.
    pub database: &'a str,
    /// On whose behalf a superuser works in it.
    pub claim: Claim<'a>,
    /// The major to reach.
    pub major: u32,
    /// Where the data of the new cluster goes.
    pub data: &'a Path,
    /// The unit of the server, when systemd runs it.
    pub unit: Option<&'a str>,
    /// The method asked for.
    pub method: Option<Method>,
    /// Other databases of the cluster may be upgraded too.
    pub shared: bool,
}

impl Question<'_> {
    /// What a finding stands in the way of.
    pub(crate) fn obstacle(&self) -> String {
        format!("the cluster {} cannot be upgraded to PostgreSQL {} as it is", self.old.label(), self.major)
    }
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Findings {
    /// Every check.
    pub checks: Vec<Check>,
    /// Whether the rehearsal went well with clones of the files.
    pub clone_works: bool,
}

impl Findings {
    /// The checks that stand in the way.
    pub(crate) fn faults(&self) -> Vec<&Check> {
        self.checks.iter().filter(|check| matches!(check.status, Status::Fail | Status::Error)).collect()
    }

    /// Whether the check with this id warns.
    pub(crate) fn warns(&self, id: &str) -> bool {
        self.checks.iter().any(|check| check.id == id && check.status == Status::Warn)
    }

    /// Lets a finding pass that the administrator has seen and accepted.
    pub(crate) fn accept(&mut self, ids: &[String]) {
        for check in &mut self.checks {
            if check.status == Status::Fail && check.id != code::FOREIGN && ids.contains(&check.id) {
                check.status = Status::Warn;
                check.evidence.push_str(" (accepted with --accept)");
            }
        }
    }

    /// A refusal that lists what stands in the way of what `attempt` says.
    pub(crate) fn refusal(&self, attempt: &str) -> Option<Error> {
        let faults = self.faults();
        let first = faults.first()?;
        let mut error = Error::refused(attempt);
        for fault in &faults {
            error = error.because(format!("{} [{}]: {}", fault.title, fault.id, fault.evidence));
        }
        Some(match &first.hint {
            Some(hint) => error.hint(hint),
            None => error,
        })
    }
}

/// The outcome of one look.
pub(crate) struct Seen {
    status: Status,
    evidence: String,
    hint: Option<String>,
}

impl Seen {
    pub(crate) fn pass(evidence: impl Into<String>) -> Self {
        Self { status: Status::Pass, evidence: evidence.into(), hint: None }
    }

    pub(crate) fn warn(evidence: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { status: Status::Warn, evidence: evidence.into(), hint: Some(hint.into()) }
    }

    pub(crate) fn fail(evidence: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { status: Status::Fail, evidence: evidence.into(), hint: Some(hint.into()) }
    }

    pub(crate) fn skip(evidence: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { status: Status::Skip, evidence: evidence.into(), hint: Some(hint.into()) }
    }

    /// A pass when nothing was found, else `status` with the list.
    pub(crate) fn list(found: &[String], good: &str, bad: impl FnOnce(String, String) -> Self, hint: &str) -> Self {
        if found.is_empty() { Self::pass(good) } else { bad(shortened(found), hint.to_owned()) }
    }
}

/// The first few, and how many more.
pub(crate) fn shortened(found: &[String]) -> String {
    const SHOWN: usize = 8;
    let mut text = found.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    if found.len() > SHOWN {
        text.push_str(&format_args!(" and {} more", found.len() - SHOWN).to_string());
    }
    text
}

/// Looks at everything. A look that could not be made is a finding of its own, never a pass.
pub(crate) fn look(question: &Question<'_>) -> Findings {
    let mut list = List::default();
    list.add("programs", "Both majors are installed", || host::programs(question));
    list.add(PACKAGES, "Every package of the old major is there for the new one", || host::packages(question));
    list.add("target", "The name of the new cluster is free", || host::free_target(question));
    list.add("disk", "There is space for the new cluster", || host::disk(question));
    list.add("tablespaces", "Tablespaces have room for the new major", || host::tablespaces(question));
    list.add("log-directory", "The write-ahead log is in the data directory", || Ok(host::wal(question)));
    list.add("start-conf", "The cluster may be started", || host::startable(question));
    list.add("bound-services", "No service is bound to the unit of the cluster", || host::bound(question));
    let entrance = match Database::superuser(question.old, question.database) {
        Ok(entrance) => entrance,
        Err(error) => {
            list.add("superuser", "The cluster's owner may connect by peer authentication", || {
                let owner = &question.old.owner;
                let hint = format!("put `local all {owner} peer` first into pg_hba.conf of the cluster and reload it");
                Ok(Seen::fail(error.one_line(), hint))
            });
            return Findings { checks: list.checks, clone_works: false };
        }
    };
    if let Err(error) = question.claim.prove(&entrance) {
        list.add(proven::ACCEPT, "The database is the server's", || {
            let hint = error.next_step().unwrap_or_default().to_owned();
            if error.kind() == Kind::Refused { Ok(Seen::fail(error.one_line(), hint)) } else { Err(error.clone()) }
        });
        return Findings { checks: list.checks, clone_works: false };
    }
    if question.major >= 18 {
        list.add("checksums", "The new cluster can be made like the old one", || host::checksums(question, &entrance));
    }
    contents::all(question, &entrance, &mut list);
    let mut clone_works = false;
    // Without the programs there is nothing to rehearse with.
    if list.checks.iter().all(|check| check.id != "programs" || check.status == Status::Pass) {
        match Scratch::create(question.old, &entrance, question.major, question.data) {
            Ok(scratch) => {
                list.add("rehearsal", "pg_upgrade --check finds the clusters compatible", || {
                    rehearse(question, &scratch, &mut clone_works)
                });
                list.add("settings", "The new major accepts the settings of conf.d", || {
                    host::settings(question, &scratch)
                });
            }
            Err(error) => list.add("rehearsal", "pg_upgrade --check finds the clusters compatible", || Err(error)),
        }
    }
    Findings { checks: list.checks, clone_works }
}

fn rehearse(question: &Question<'_>, scratch: &Scratch, clone_works: &mut bool) -> Result<Seen> {
    let elsewhere = match question.method {
        None | Some(Method::Clone) => rehearsal::unclonable_tablespaces(question.old)?,
        Some(_) => Vec::new(),
    };
    if question.method.is_none() {
        *clone_works = elsewhere.is_empty() && scratch.check(question.old, Method::Clone)? == Verdict::Compatible;
        if *clone_works {
            return Ok(Seen::pass("with clones of the files"));
        }
    }
    let method = question.method.unwrap_or(Method::Upgrade);
    if method == Method::Dump {
        return Ok(Seen::pass("not needed for --method dump"));
    }
    if method == Method::Clone && !elsewhere.is_empty() {
        return Ok(Seen::fail(shortened(&elsewhere), "leave out --method: the files are copied then"));
    }
    Ok(match scratch.check(question.old, method)? {
        Verdict::Compatible => Seen::pass(format!("with --method {}", method.name())),
        Verdict::Incompatible(words) => {
            Seen::fail(words, "remove the cause, or see whether `mm-pgbump check --method dump` passes")
        }
    })
}

/// Collects checks with their times.
#[derive(Debug, Default)]
pub(crate) struct List {
    /// Every check so far.
    pub checks: Vec<Check>,
}

impl List {
    pub(crate) fn add(&mut self, id: &str, title: &str, look: impl FnOnce() -> Result<Seen>) {
        debug_assert!(accepted::is_check(id), "`{id}` could not be accepted");
        let begun = Instant::now();
        mm_common::contract::ui::progress(&format!("checking: {title}"));
        let seen = look().unwrap_or_else(|error| Seen {
            status: Status::Error,
            evidence: error.one_line(),
            hint: error.next_step().map(str::to_owned),
        });
        self.checks.push(Check {
            id: id.into(),
            title: title.into(),
            status: seen.status,
            evidence: seen.evidence,
            compared_with: None,
            hint: seen.hint.map(|hint| call::hint(&hint).into_owned()),
            seconds: begun.elapsed().as_secs_f64(),
        });
    }
}
