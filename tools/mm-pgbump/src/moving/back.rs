//! The way back of a move: the configuration is pointed at the old database again. That was only read; what was written to
//! the target since stays there, and is named.

use mm_common::contract::ui;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::service::STOP_LIMIT;
use mm_common::machine::{checkpoint, door, signals, threads};
use mm_common::mattermost::health::{START_LIMIT, Started};
use mm_common::mattermost::site::Installation;
use mm_common::mattermost::way_back;
use mm_common::postgres::dump::identifier;
use mm_common::postgres::server::Database;
use mm_common::postgres::{fingerprint, tried};
use mm_common::run::Session;
use mm_common::{Error, Kind, Result};

use super::named::Named;
use super::record::{Entry, Of, Phase, Private, Records};
use super::target::{self, Target};
use super::{point, prove, run};
use crate::{Options, reach};

/// What a signal leads to while a move can still be taken back.
pub(crate) fn in_words(entry: &Entry) -> String {
    let from = entry.moved.from.label();
    if entry.phase < Phase::Filling {
        return format!("going back to {from}, which was only read, within some seconds");
    }
    format!("clearing the target again and going back to {from}, which was only read, within a minute")
}

/// Takes a move back that did not come to its end, and closes its journal. May be repeated.
///
/// # Errors
/// Half done (exit 3) when it cannot be taken back.
pub(crate) fn undo(entry: &Entry, installation: &mut Installation, records: &Records, lock: &LockGuard) -> Result<()> {
    let _undo = signals::undoing(in_words(entry));
    let steps = || -> Result<()> {
        let private = records.private(Of::Open)?;
        point::back(&private, &installation.service, lock)?;
        checkpoint::pass("move-undo-pointed");
        if entry.phase >= Phase::Filling {
            clear(entry, &private, installation)?;
        }
        checkpoint::pass("move-undo-cleared");
        records.discard(lock)
    };
    steps().map_err(|error| {
        let first = error.next_step().unwrap_or("remove the cause").to_owned();
        error
            .within(format!("cannot take back the move to {}", entry.moved.to.label()))
            .of_kind(Kind::HalfDone)
            .with_hint(format!(
                "{first}; then: mm-pgbump recover, which goes on from {}. The old database is untouched",
                records.journal.path().display()
            ))
    })?;
    installation.reload()
}

/// Goes back after a failure; the error then says that everything is as it was.
pub(crate) fn taken_back(
    error: Error,
    entry: &Entry,
    installation: &mut Installation,
    records: &Records,
    lock: &LockGuard,
) -> Error {
    let from = entry.moved.from.label();
    ui::say(&format!("going back to {from}: {}", error.one_line()));
    match undo(entry, installation, records, lock) {
        Ok(()) => error
            .within(format!("the move of {from} failed and was rolled back"))
            .of_kind(Kind::RolledBack)
            .hint("the server works with the old database as before; remove the cause, then run this again"),
        Err(undoing) => undoing.because(format!("this was to be done because {}", error.one_line())),
    }
}

/// Makes the target what it was before we filled it: gone, or empty, or with the database that was renamed.
fn clear(entry: &Entry, private: &Private, installation: &Installation) -> Result<()> {
    let lines = [Some(private.to.as_str()), private.administrator.as_deref()];
    let text: Vec<&str> = lines.into_iter().flatten().collect();
    let named = Named::parse(&text.join("\n"), &installation.owner)?;
    let mut target = Target::reach(named, &installation.owner)?;
    let name = target.name().to_owned();
    if entry.makes_database {
        let maker = target.maker()?;
        match &entry.replaced {
            // It was not renamed yet: what has the name is not ours.
            Some(kept) if !way_back::exists(&maker, kept)? => {}
            Some(kept) => {
                drop_made(entry, &target, &maker)?;
                maker.execute_each(&format!("ALTER DATABASE {} RENAME TO {}", identifier(kept), identifier(&name)))?;
            }
            None => drop_made(entry, &target, &maker)?,
        }
        if let Some(admin) = target.admin.as_ref().filter(|_| entry.makes_role) {
            admin.execute(&format!("DROP ROLE IF EXISTS {}", identifier(target.role())))?;
        }
        return Ok(());
    }
    let own = target.enter()?;
    target::end_sessions(&own, &name)?;
    target::empty(&own, &entry.schemas)
}

/// Drops the database that we have made. Where it is not written down which one that was, only one that holds nothing can be
/// it: it was not filled before.
fn drop_made(entry: &Entry, target: &Target, maker: &Database) -> Result<()> {
    let name = target.name();
    let Some(there) = target::oid(maker, name)? else { return Ok(()) };
    let is_ours = match entry.made {
        Some(made) => made == there,
        None => match target.own.clone().or_else(|| target.admin_inside()) {
            Some(inside) => target::contents(&inside)?.is_empty(),
            None => false,
        },
    };
    if is_ours {
        return target::drop_database(maker, name);
    }
    Err(Error::failed(format!("the database `{name}` at the target is not the one that the move has made"))
        .hint(format!("rename it there (ALTER DATABASE {} RENAME TO ...)", identifier(name))))
}

/// Whether the latest thing that was done here is a move, and not an upgrade in place.
///
/// # Errors
/// As the journals.
pub(crate) fn is_latest(state: &std::path::Path) -> Result<bool> {
    let (records, others) = (Records::at(state), crate::record::Records::at(state));
    if records.journal.read::<Entry>()?.is_some() {
        return Ok(true);
    }
    let Some(last) = records.last.read::<Entry>()? else { return Ok(false) };
    if others.journal.read::<crate::record::Entry>()?.is_some() {
        return Ok(false);
    }
    let bump = others.last.read::<crate::record::Entry>()?;
    Ok(bump.is_none_or(|bump| bump.started < last.moved.started))
}

/// `mm-pgbump rollback` after a move.
pub(crate) fn rollback(session: &mut Session, options: &Options) -> Result<String> {
    let own: Vec<&str> = reach::own_journals(session)?.iter().copied().chain([door::MOVE]).collect();
    session.refuse_open(&own)?;
    let mut installation = reach::probe(session)?;
    let records = Records::at(installation.state.path());
    let guard = if session.dry_run { None } else { Some(installation.state.lock(session.lock_wait())?) };
    if guard.is_some() {
        // Whoever held the lock may have changed what there is to see.
        session.refuse_open(&own)?;
        installation = reach::observe(session)?;
    }
    let open = records.journal.read::<Entry>()?;
    let Some(mut entry) = open.clone().map_or_else(|| records.last.read::<Entry>(), |entry| Ok(Some(entry)))? else {
        return Err(Error::refused("there is no move to take back"));
    };
    let (from, to) = (entry.moved.from.label(), entry.moved.to.label());
    let Some(lock) = guard else { return Ok(format!("would point the server at {from} again")) };
    // The target may be in use since: then this is the way back of a move that is finished, which drops nothing.
    if open.is_some()
        && entry.phase == Phase::Proven
        && point::leads_to_target(&entry, &records.private(Of::Open)?, &installation)?
    {
        run::close(&mut entry, &records, &lock)?;
    } else if open.is_some() && entry.phase < Phase::Done {
        let running = installation.service.is_running()?;
        if running {
            installation.service.stop(STOP_LIMIT, &lock)?;
        }
        undo(&entry, &mut installation, &records, &lock)?;
        session.changed = true;
        if !options.leave_stopped {
            installation.put_service_back(&lock)?;
        }
        return Ok(format!("the move that was cut off is taken back; the server works with {from} as before"));
    } else if open.is_some() && entry.phase == Phase::Done {
        records.close(&entry, &lock)?;
    }
    // What has begun is finished, up to the server that answers again.
    if entry.phase != Phase::RollingBack {
        signals::check()?;
    }
    let _back = signals::finishing(format!("the way back to {from} is finished, within some minutes"));
    let running = installation.service.is_running()?;
    let lost = carry_out(&entry, &mut installation, &records, &lock)?;
    session.changed = true;
    let half_done = |error: Error| {
        error.within(format!("the server is pointed at {from} again, and does not get there")).of_kind(Kind::HalfDone)
    };
    let database = installation.database().map_err(half_done)?;
    tried::as_the_server(&database, entry.could).map_err(half_done)?;
    if (running || installation.was_running) && !options.leave_stopped {
        Started::command(&installation, &lock)?.wait(&installation, START_LIMIT, &lock)?;
    }
    let since = if lost.is_empty() {
        "nothing had been written since".to_owned()
    } else {
        format!("what was written since is only in {to}: {}", lost.join(", "))
    };
    session.human = Some(format!("the server works with {from} again; {since}\n"));
    Ok(format!("the server works with {from} again; {since}"))
}

/// Points the server back after a move that was finished. May be repeated after any part of it. Tells what was written since.
///
/// # Errors
/// Half done (exit 3) when it cannot be finished.
pub(crate) fn carry_out(
    entry: &Entry,
    installation: &mut Installation,
    records: &Records,
    lock: &LockGuard,
) -> Result<Vec<String>> {
    // What has begun is finished.
    if entry.phase != Phase::RollingBack {
        signals::check()?;
    }
    let from = entry.moved.from.label();
    let _back = signals::finishing(format!("the way back to {from} is finished, within a minute"));
    let mut intent = entry.clone();
    intent.phase = Phase::RollingBack;
    records.journal.write(&intent, lock)?;
    checkpoint::pass("move-rollback-intent");
    let steps = || -> Result<Vec<String>> {
        let private = records.private(Of::Last)?;
        installation.service.stop(STOP_LIMIT, lock)?;
        let lost = written_since(entry, installation, records, &private).unwrap_or_else(|error| {
            ui::warn(&format!("what was written since cannot be told: {}", error.one_line()));
            Vec::new()
        });
        point::back(&private, &installation.service, lock)?;
        checkpoint::pass("move-rollback-pointed");
        Ok(lost)
    };
    let lost = steps().map_err(|error| {
        let first = error.next_step().unwrap_or("remove the cause").to_owned();
        error
            .within(format!("cannot point the server at {} again", entry.moved.from.label()))
            .of_kind(Kind::HalfDone)
            .with_hint(format!("{first}; then run mm-pgbump rollback again: it goes on where it stopped"))
    })?;
    installation.reload()?;
    records.forget(lock)?;
    Ok(lost)
}

/// The tables of the target that are not as the move left them; the one with the configuration is changed by ourselves.
fn written_since(
    entry: &Entry,
    installation: &Installation,
    records: &Records,
    private: &Private,
) -> Result<Vec<String>> {
    let named = Named::parse(&private.to, &installation.owner)?;
    let target = Target::reach(named, &installation.owner)?;
    let own = target.own.ok_or_else(|| Error::failed("the target cannot be reached"))?;
    let now = fingerprint::tables_by(&own, entry.hashed, threads::fitting())?;
    let is_ours = |line: &String| line.starts_with("public.configurations:") && !private.changes.is_empty();
    Ok(prove::of_rows(&records.facts(Of::Last)?.rows, &now).into_iter().filter(|line| !is_ours(line)).collect())
}
