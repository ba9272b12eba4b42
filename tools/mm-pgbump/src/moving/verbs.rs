//! The verbs beside `move` itself, as far as they are about a move: `check --target`, `--dry-run`, `recover`, `drop-old`.

use mm_common::contract::ui;
use mm_common::mattermost::site::Installation;
use mm_common::run::Session;
use mm_common::{Error, Kind, Result};

use super::clear;
use super::look::{self, Looked, Question};
use super::need;
use super::origin::Old;
use super::point;
use super::record::{Entry, Of, Phase, Records};
use super::recover;
use super::run::{data_of, named};
use super::target::Target;
use crate::preflight::Findings;
use crate::{Options, check};

fn looked(session: &Session, options: &Options, installation: &Installation) -> Result<(Looked, String)> {
    let data = data_of(installation)?;
    let old = Old::find(session, options, installation, None)?;
    let target = Target::reach(named(options, installation)?, &installation.owner)?;
    if let Some(own) = &target.own
        && look::is_source(&old, installation, own)?
    {
        return Err(look::refuse_source(&old));
    }
    let origin = old.origin(&data)?;
    let question = Question {
        installation,
        data: &data,
        old: &old,
        origin: &origin,
        target: &target,
        needed: look::needed(session, options)?,
        replace: options.replace,
    };
    let mut looked = look::all(&question)?;
    look::accept(&mut looked.findings, &session.common.accept);
    Ok((looked, target.place()?.label()))
}

fn set(session: &mut Session, findings: &Findings) -> Result<()> {
    session.human = Some(check::table(findings));
    check::set(session, findings)
}

/// `mm-pgbump check --target FILE`: looks at everything. The old database is only read.
///
/// # Errors
/// Kind `check-says-no` (exit 4) when something stands in the way.
pub(crate) fn check(session: &mut Session, options: &Options) -> Result<String> {
    let says_no = |error: Error| error.of_kind(Kind::CheckSaysNo);
    session.refuse_open(&[]).map_err(says_no)?;
    let installation = session.probe()?;
    if !need::is_planned(session, options, &installation)? {
        return check::run(session, options);
    }
    if need::is_mysql(&installation) {
        #[cfg(feature = "mysql")]
        return crate::mysql::run::check(session, options, &installation);
        #[cfg(not(feature = "mysql"))]
        return Err(need::without_mysql());
    }
    let (looked, label) = looked(session, options, &installation)?;
    set(session, &looked.findings)?;
    match looked.findings.refusal(&format!("the database cannot be moved to {label}")) {
        Some(refusal) => Err(says_no(refusal)),
        None => Ok(format!("the database can be moved to {label}")),
    }
}

/// What `move` would do.
pub(crate) fn dry_run(session: &mut Session, options: &Options, installation: &Installation) -> Result<String> {
    let records = Records::at(installation.state.path());
    if let Some(entry) = records.journal.read::<Entry>()? {
        return Ok(format!("would first end the move to {} that was cut off", entry.moved.to.label()));
    }
    if need::is_mysql(installation) {
        #[cfg(feature = "mysql")]
        return crate::mysql::run::dry_run(session, options, installation);
        #[cfg(not(feature = "mysql"))]
        return Err(need::without_mysql());
    }
    let (looked, label) = looked(session, options, installation)?;
    set(session, &looked.findings)?;
    if let Some(refusal) = looked.findings.refusal(&format!("the database cannot be moved to {label}")) {
        return Err(refusal);
    }
    let steps = [
        "stop the service",
        if options.from_store.is_some() {
            "read what the restore point says of its database"
        } else {
            "hash every table of the old database, and dump it where the restore point of this hop has no dump of it"
        },
        "fill the target and compare everything",
        "exchange the data source wherever the server reads it from",
        if options.leave_stopped { "leave the service stopped" } else { "start the service again" },
    ];
    session.human = Some(steps.map(|step| format!("would {step}")).join("\n") + "\n");
    Ok(format!("would move the database to {label}"))
}

/// `mm-pgbump recover` while a move is open, or where one has left something at its target.
pub(crate) fn recover(session: &mut Session, options: &Options, installation: &mut Installation) -> Result<String> {
    let records = Records::at(installation.state.path());
    let Some(entry) = records.journal.read::<Entry>()? else { return clear_leftovers(session, installation) };
    let (from, to) = (entry.moved.from.label(), entry.moved.to.label());
    if session.dry_run {
        let is_finished = match entry.phase {
            Phase::Proven => point::leads_to_target(&entry, &records.private(Of::Open)?, installation)?,
            phase => matches!(phase, Phase::Done | Phase::RollingBack),
        };
        let word = if is_finished { "finish" } else { "take back" };
        return Ok(format!("would {word} the move of {from} to {to} that was cut off"));
    }
    let lock = installation.state.lock(session.lock_wait())?;
    session.changed = true;
    let result = recover::recover(session, installation, &records, &lock);
    let half_done = result.as_ref().is_err_and(|error| error.kind() == Kind::HalfDone);
    if !half_done && !options.leave_stopped {
        installation.put_service_back(&lock)?;
    }
    Ok(result?.unwrap_or_else(|| format!("the move that was cut off is taken back: the server leads to {from} again")))
}

/// Removes what earlier moves have left, here and at their targets.
fn clear_leftovers(session: &mut Session, installation: &Installation) -> Result<String> {
    let records = Records::at(installation.state.path());
    let count = records.leftovers()?.len();
    if session.dry_run {
        return Ok(if count == 0 {
            "nothing was interrupted".into()
        } else {
            format!("would remove what {} had left", ui::count(count, "move"))
        });
    }
    let lock = installation.state.lock(session.lock_wait())?;
    records.sweep()?;
    let forget = session.common.accepts(clear::ACCEPT);
    let (removed, failed) = clear::leftovers(installation, &records, forget, &lock)?;
    session.changed = !removed.is_empty() || (forget && !failed.is_empty());
    for error in failed.iter().skip(1) {
        ui::warn(&error.one_line());
    }
    match failed.into_iter().next() {
        Some(error) if !forget => Err(error),
        Some(_) => {
            Ok("what cannot be removed from a target is not remembered any more (accepted with --accept)".into())
        }
        None if removed.is_empty() => Ok("nothing was interrupted".into()),
        None => Ok(removed.join("; ")),
    }
}
