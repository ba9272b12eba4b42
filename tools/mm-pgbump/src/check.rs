//! `mm-pgbump check`, and `--dry-run`: what would stand in the way, and what would be done.

use std::fmt::Write as _;

use mm_common::contract::sections::{Path, Pgbump, Status};
use mm_common::mattermost::site::Installation;
use mm_common::mattermost::way_back::{self, Trial};
use mm_common::postgres::proven::{self, Claim};
use mm_common::run::Session;
use mm_common::{Error, Kind, Result};

use crate::plan::{self, Ending};
use crate::preflight::{self, Findings};
use crate::ready::{Ready, ready};
use crate::record::{Entry, Records};
use crate::{Options, recover, wish};

/// Looks at everything, tries the way back, and leaves everything as it was.
///
/// # Errors
/// Kind `check-says-no` (exit 4) when something stands in the way.
pub(crate) fn run(session: &mut Session, options: &Options) -> Result<String> {
    let says_no = |error: Error| error.of_kind(Kind::CheckSaysNo);
    session.refuse_open(&[]).map_err(says_no)?;
    let mut installation = session.probe()?;
    let lock = if session.dry_run { None } else { Some(installation.state.lock(session.lock_wait())?) };
    if lock.is_some() {
        // Whoever held the lock may have changed everything.
        session.refuse_open(&[]).map_err(says_no)?;
        installation = session.probe()?;
    }
    let wish = wish::find(session, options, &installation)?;
    let tried = match &lock {
        Some(lock) if installation.source.is_some() => {
            let role = installation.source.as_ref().map_or("", |source| source.user.as_str());
            let accepted = session.common.accepts(proven::ACCEPT);
            let claim = Claim { role, state: installation.state.path(), accepted, lock: Some(lock) };
            let bump = wish.as_ref().map(|wish| wish.major);
            let release = session.document.section::<Path>("path")?.is_some_and(|path| path.next.is_some());
            let findings = Trial { site: &installation, claim, bump, release }.run();
            way_back::checks(&findings, session.common.accepts(way_back::ACCEPT))
        }
        _ => Vec::new(),
    };
    let Some(wish) = wish else {
        let findings = Findings { checks: tried, clone_works: false };
        session.document.set("pgbump", &Pgbump { checks: findings.checks.clone(), ..Pgbump::default() })?;
        session.human = Some(table(&findings));
        let said = "the database server needs no upgrade";
        return match findings.refusal("the way back is closed") {
            Some(refusal) => Err(says_no(refusal)),
            None => Ok(said.into()),
        };
    };
    let question = wish.question(options, lock.as_ref());
    let mut findings = preflight::look(&question);
    findings.checks.extend(tried);
    findings.accept(&session.common.accept);
    set(session, &findings)?;
    session.human = Some(table(&findings));
    match findings.refusal(&question.obstacle()) {
        Some(refusal) => Err(says_no(refusal)),
        None => Ok(format!(
            "{} can be upgraded to PostgreSQL {} with --method {}",
            wish.old.label(),
            wish.major,
            plan::method(options.method, findings.clone_works).name()
        )),
    }
}

pub(crate) fn table(findings: &Findings) -> String {
    findings.checks.iter().fold(String::new(), |mut text, check| {
        let word = match check.status {
            Status::Pass => "ok",
            Status::Warn => "warn",
            Status::Fail => "FAIL",
            Status::Skip => "skip",
            Status::Error => "ERROR",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{word:<6}{:<16}{}: {}", check.id, check.title, check.evidence);
        if let Some(hint) = check.hint.as_ref().filter(|_| check.status != Status::Pass) {
            let _ = writeln!(text, "{:<22}{hint}", "");
        }
        text
    })
}

/// Puts the checks into the document.
pub(crate) fn set(session: &mut Session, findings: &Findings) -> Result<()> {
    session.document.set("pgbump", &Pgbump { needed: true, checks: findings.checks.clone(), ..Pgbump::default() })
}

/// What `run` would do.
pub(crate) fn dry_run(session: &mut Session, options: &Options, installation: &Installation) -> Result<String> {
    let records = Records::at(installation.state.path());
    if let Some(entry) = records.journal.read::<Entry>()? {
        let first = recover::decide(Ending::Either, &entry)?.in_words(&entry.from(), &entry.to());
        return Ok(format!("would first {first}"));
    }
    let Some(Ready { plan, .. }) = ready(session, options, installation, None)? else {
        session.document.set("pgbump", &Pgbump::default())?;
        return Ok("the database server needs no upgrade".into());
    };
    session.human = Some(plan.steps().iter().fold(String::new(), |text, step| text + "would " + step + "\n"));
    Ok(format!("would {}", plan.in_words()))
}
