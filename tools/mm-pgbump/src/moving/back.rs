//! The way back of a move: the configuration is pointed at the old database again. That was only read; what was written to
//! the target since stays there, and is named.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use mm_common::contract::ui;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::service::STOP_LIMIT;
use mm_common::machine::{checkpoint, door, signals, threads};
use mm_common::mattermost::config;
use mm_common::mattermost::health::{START_LIMIT, Started};
use mm_common::mattermost::site::{self, Installation};
use mm_common::postgres::server::Database;
use mm_common::postgres::{fingerprint, tried};
use mm_common::run::Session;
use mm_common::{Error, Kind, Result};

use super::later::{Later, require_known};
use super::named::Named;
use super::record::{Entry, Facts, Of, Phase, Private, Records};
use super::target::Target;
use super::{clear, command, point, prove, run, watch};
use crate::{Options, reach};

/// What a signal leads to while a move can still be taken back.
pub(crate) fn in_words(entry: &Entry) -> String {
    let from = entry.moved.from.label();
    if !entry.phase.has_filled() {
        return format!("going back to {from}, which was only read, within some seconds");
    }
    format!("clearing the target again and going back to {from}, which was only read, within a minute")
}

/// Takes a move back that did not come to its end, and closes its journal. May be repeated. Returns why the target could not
/// be cleared, which nobody waits for: the server has its old database.
///
/// # Errors
/// Half done (exit 3) when it cannot be taken back.
pub(crate) fn undo(
    entry: &Entry,
    installation: &mut Installation,
    records: &Records,
    lock: &LockGuard,
) -> Result<Option<Error>> {
    let _undo = signals::undoing(in_words(entry));
    let steps = || -> Result<Option<Error>> {
        let private = records.private(Of::Open)?;
        point::back(&private, &Later::default(), &installation.service, lock)?;
        checkpoint::pass("move-undo-pointed");
        let mut left = None;
        if entry.phase.has_filled() {
            let intent = Entry { phase: Phase::Clearing, ..entry.clone() };
            records.journal.write(&intent, lock)?;
            left = clear::clear(&intent, &private, &installation.owner).err();
            checkpoint::pass("move-undo-cleared");
            if left.is_some() {
                clear::remember(&intent, private, records, lock)?;
            } else {
                records.forget_leftovers(|other| other.moved == intent.moved, lock)?;
            }
        }
        records.drop_repairs(entry)?;
        records.discard(lock)?;
        Ok(left)
    };
    let left = steps().map_err(|error| {
        let first = error.next_step().unwrap_or("remove the cause").to_owned();
        error
            .within(format!("cannot take back the move to {}", entry.moved.to.label()))
            .of_kind(Kind::HalfDone)
            .with_hint(format!(
                "{first}; then: {}. The old database is untouched",
                command("recover", &installation.root, installation.state.path())
            ))
    })?;
    installation.reload()?;
    Ok(left)
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
        Ok(left) => {
            let error =
                error.within(format!("the move of {from} failed and was rolled back")).of_kind(Kind::RolledBack);
            let works = "the server works with the old database as before; remove the cause, then";
            match left {
                None => error.hint(format!("{works} run this again")),
                Some(left) => error
                    .because(format!("what was filled at the target is still there: {}", left.one_line()))
                    .with_hint(format!(
                        "{works} clear the target, and run this again: {}",
                        command("recover", &installation.root, installation.state.path())
                    )),
            }
        }
        Err(undoing) => undoing.because(format!("this was to be done because {}", error.one_line())),
    }
}

/// Whether the latest thing that was done here is a move, and not an upgrade in place.
///
/// # Errors
/// As the journals.
pub(crate) fn is_latest(state: &Path) -> Result<bool> {
    let (records, others) = (Records::at(state), crate::record::Records::at(state));
    if records.journal.read::<Entry>()?.is_some() {
        return Ok(true);
    }
    let Some(last) = records.last.read::<Entry>()? else { return Ok(false) };
    if others.journal.read::<crate::record::Entry>()?.is_some() {
        return Ok(false);
    }
    Ok(!Later::of(&last, state)?.is_there())
}

/// Observes the installation for a way back that was asked for, or has begun. A configuration that is kept in the database
/// cannot be read where the server of the target is gone: then what leads to it is pointed back first.
///
/// # Errors
/// Half done (exit 3) when that cannot be done.
pub(crate) fn probe(session: &mut Session, is_asked_for: bool) -> Result<Installation> {
    let failed = match reach::probe(session) {
        Ok(installation) => return Ok(installation),
        Err(error) => error,
    };
    let wanted = session.wanted()?;
    let Ok(ground) = site::ground(&wanted).or_else(|_| site::ground_of_ruin(&wanted)) else { return Err(failed) };
    let records = Records::at(ground.state.path());
    let open = records.journal.read::<Entry>()?;
    let of = if open.is_some() { Of::Open } else { Of::Last };
    let Some(mut entry) = open.map_or_else(|| records.last.read::<Entry>(), |entry| Ok(Some(entry)))? else {
        return Err(failed);
    };
    // The files of a move that is being rolled back are those of the finished one.
    let of = if entry.phase == Phase::RollingBack { Of::Last } else { of };
    if session.dry_run || !config::is_stored(&ground.service)? {
        return Err(failed);
    }
    let from = entry.moved.from.label();
    if !is_asked_for && of == Of::Last && entry.phase != Phase::RollingBack {
        return Err(failed);
    }
    if !is_asked_for && of == Of::Open {
        return Err(failed.with_hint(format!(
            "bring that database back; or point the server at {from} again: {}",
            command("rollback", &ground.root, ground.state.path())
        )));
    }
    let lock = ground.state.lock(session.lock_wait())?;
    // The target may be in use since: then it is a finished move, whose way back drops nothing.
    let is_pointed = of == Of::Open && entry.phase == Phase::Proven && !records.private(of)?.changes.is_empty();
    if (is_pointed || (of == Of::Last && entry.phase != Phase::RollingBack))
        && let Some(place) = config::stored_at(&ground.service)?
    {
        let later = Later::of(&entry, ground.state.path())?;
        require_known(&later, &entry, &records.private(of)?, place.reveal())
            .map_err(|error| then_again(error, &ground.root, ground.state.path()))?;
    }
    ui::say(&format!("pointing the server at {from} again, where its configuration is"));
    let of = if is_pointed {
        run::close(&mut entry, &records, &lock)?;
        Of::Last
    } else {
        of
    };
    let steps = || -> Result<()> {
        ground.service.stop(STOP_LIMIT, &lock)?;
        if of == Of::Last {
            records.journal.write(&Entry { phase: Phase::RollingBack, ..entry.clone() }, &lock)?;
        }
        point::back(&records.private(of)?, &Later::of(&entry, ground.state.path())?, &ground.service, &lock)
    };
    steps().map_err(|error| unfinished(error, &entry, (&ground.root, ground.state.path())))?;
    drop(lock);
    reach::observe(session)
}

fn then_again(error: Error, root: &Path, state: &Path) -> Error {
    let first = error.next_step().unwrap_or("remove the cause").to_owned();
    error.with_hint(format!("{first}; then: {}", command("rollback --move", root, state)))
}

fn unfinished(error: Error, entry: &Entry, (root, state): (&Path, &Path)) -> Error {
    let first = error.next_step().unwrap_or("remove the cause").to_owned();
    error
        .within(format!("cannot point the server at {} again", entry.moved.from.label()))
        .of_kind(Kind::HalfDone)
        .with_hint(format!("{first}; then, to go on where it stopped: {}", command("rollback", root, state)))
}

/// A later release would migrate the old database as soon as it is started on it, and take the way back away.
pub(super) fn require_release(entry: &Entry, installation: &Installation, stays_stopped: bool) -> Result<()> {
    if entry.release == installation.version || stays_stopped {
        return Ok(());
    }
    let (now, then) = (&installation.version, &entry.release);
    Err(Error::refused(format!("{now} is installed, and the old database is one of {then}"))
        .because(format!("{now} would migrate it when it is started, and {then} could not work with it any more"))
        .hint("mm-swap rollback --database, which brings both back"))
}

/// `mm-pgbump rollback` after a move. The journals of `own` may be open.
pub(crate) fn rollback(session: &mut Session, options: &Options, own: &[&str]) -> Result<String> {
    session.refuse_open_unless_asked(own)?;
    let mut installation = probe(session, true)?;
    let records = Records::at(installation.state.path());
    let guard = if session.dry_run { None } else { Some(installation.state.lock(session.lock_wait())?) };
    if guard.is_some() {
        // Whoever held the lock may have changed what there is to see.
        session.refuse_open_unless_asked(own)?;
        installation = reach::observe(session)?;
    }
    let open = records.journal.read::<Entry>()?;
    let Some(mut entry) = open.clone().map_or_else(|| records.last.read::<Entry>(), |entry| Ok(Some(entry)))? else {
        return Err(Error::refused("there is no move to take back"));
    };
    let (from, to) = (entry.moved.from.label(), entry.moved.to.label());
    // What has begun is finished; a later release is not started on the old database.
    let is_later = entry.phase == Phase::RollingBack && entry.release != installation.version;
    let stays_stopped = options.leave_stopped || is_later || door::is_undoing_swap(&installation.state);
    require_release(&entry, &installation, stays_stopped)?;
    let later = Later::of(&entry, installation.state.path())?;
    if open.is_none() {
        let text = installation.config.data_source()?.0;
        require_known(&later, &entry, &records.private(Of::Last)?, text.reveal())
            .map_err(|error| then_again(error, &installation.root, installation.state.path()))?;
    }
    let Some(lock) = guard else { return Ok(format!("would point the server at {from} again")) };
    let is_pointed = || point::leads_to_target(&entry, &records.private(Of::Open)?, &installation);
    // The target may be in use since: then this is the way back of a move that is finished, which drops nothing.
    if entry.phase == Phase::Proven && is_pointed()? {
        run::close(&mut entry, &records, &lock)?;
    } else if open.is_some() && !matches!(entry.phase, Phase::Done | Phase::RollingBack) {
        if installation.service.is_running()? {
            installation.service.stop(STOP_LIMIT, &lock)?;
        }
        let left = undo(&entry, &mut installation, &records, &lock)?;
        session.changed = true;
        if !stays_stopped {
            installation.put_service_back(&lock)?;
        }
        let left = left.map_or_else(String::new, |error| {
            format!(
                "; what was filled at the target is still there ({}); to clear it: {}",
                error.one_line(),
                command("recover", &installation.root, installation.state.path())
            )
        });
        let works = if stays_stopped { "is stopped, and leads to" } else { "works with" };
        return Ok(format!("the move that was cut off is taken back; the server {works} {from} as before{left}"));
    } else if open.is_some() && entry.phase == Phase::Done {
        records.close(&entry, &lock)?;
    }
    // What has begun is finished, up to the server that answers again.
    if entry.phase != Phase::RollingBack {
        signals::check()?;
    }
    let _back = signals::finishing(format!("the way back to {from} is finished, within some minutes"));
    let running = installation.service.is_running()?;
    let (then, private) = (records.facts(Of::Last), records.private(Of::Last)?);
    carry_out(&entry, &mut installation, &records, &lock)?;
    session.changed = true;
    // With a restore point of another host, its database need not be within reach.
    let serves = !entry.is_of_store_alone()
        || installation.database().is_ok_and(|own| tried::as_the_server(&own, entry.could).is_ok());
    let is_wanted = (running || installation.was_running) && !stays_stopped;
    if is_wanted && serves {
        Started::command(&installation, &lock)?.wait(&installation, START_LIMIT, &lock)?;
    }
    later.tell();
    if is_wanted && !serves {
        return Err(Error::failed(format!("the server leads to {from} again, and is stopped"))
            .because("it ran before, and its database there does not let it in")
            .hint("let its database answer, then start the server"));
    }
    if door::is_undoing_swap(&installation.state) {
        // Users wait, and mm-swap has counted what they lose.
        return Ok(format!("the server is pointed at {from} again; what was written since is only in {to}"));
    }
    // Nobody waits for this: the server works again, and not with the target.
    let lost = then.and_then(|then| written_since(&entry, &installation, &then, &private)).unwrap_or_else(|error| {
        ui::warn(&format!("what was written since cannot be told: {}", error.one_line()));
        vec!["what cannot be told".into()]
    });
    let since = if lost.is_empty() {
        "nothing had been written since".to_owned()
    } else {
        format!("what was written since is only in {to}: {}", lost.join(", "))
    };
    let works = if installation.service.is_running()? { "works with" } else { "is stopped, and leads to" };
    session.human = Some(format!("the server {works} {from} again; {since}\n"));
    Ok(format!("the server {works} {from} again; {since}"))
}

/// Points the server back after a move that was finished, and forgets the move once the server gets into its old database. May be
/// repeated after any part of it.
///
/// # Errors
/// Half done (exit 3) when it cannot be finished.
pub(crate) fn carry_out(
    entry: &Entry,
    installation: &mut Installation,
    records: &Records,
    lock: &LockGuard,
) -> Result<()> {
    // What has begun is finished.
    if entry.phase != Phase::RollingBack {
        signals::check()?;
    }
    let from = entry.moved.from.label();
    let _back = signals::finishing(format!("the way back to {from} is finished, within a minute"));
    records.journal.write(&Entry { phase: Phase::RollingBack, ..entry.clone() }, lock)?;
    checkpoint::pass("move-rollback-intent");
    let (root, state) = (installation.root.clone(), installation.state.path().to_owned());
    let mut steps = || -> Result<()> {
        let (later, private) = (Later::of(entry, &state)?, records.private(Of::Last)?);
        require_known(&later, entry, &private, installation.config.data_source()?.0.reveal())?;
        installation.service.stop(STOP_LIMIT, lock)?;
        point::back(&private, &later, &installation.service, lock)?;
        checkpoint::pass("move-rollback-pointed");
        installation.reload()?;
        if !point::is_of_source(&private, installation.config.data_source()?.0.reveal())? {
            return Err(Error::failed(format!("the data source of the server does not lead to {from}"))
                .because("it was changed by somebody else in the meantime")
                .hint(format!("let SqlSettings.DataSource lead to {from} again")));
        }
        reaches(entry, installation).map_err(|error| error.within("it is pointed there, and does not get in"))
    };
    steps().map_err(|error| unfinished(error, entry, (&root, &state)))?;
    records.drop_repairs(entry)?;
    records.forget(lock)
}

/// Whether the server gets into its old database, and can do there what it could.
fn reaches(entry: &Entry, installation: &Installation) -> Result<()> {
    // Where a restore point was asked for, nobody has said that its database is still there.
    if entry.is_of_store_alone() {
        return Ok(());
    }
    if entry.moved.from.engine.is_none() {
        return tried::as_the_server(&installation.database()?, entry.could);
    }
    #[cfg(feature = "mysql")]
    crate::mysql::run::reaches(installation)?;
    Ok(())
}

/// The tables of the target that are not as the move left them; the one with the configuration is changed by ourselves.
fn written_since(entry: &Entry, installation: &Installation, then: &Facts, private: &Private) -> Result<Vec<String>> {
    let named = Named::parse(&private.to, &installation.owner)?;
    let target = Target::reach(named, &installation.owner)?;
    let own = target.own.ok_or_else(|| Error::failed("the target cannot be reached"))?;
    let hash = |own: &Database, _: &AtomicBool| fingerprint::tables_by(own, entry.hashed, threads::fitting());
    let now = watch::watched(&own, &entry.moved.to.label(), || 0, |_| (), hash)?;
    let is_ours = |line: &String| line.starts_with("public.configurations:") && !private.changes.is_empty();
    Ok(prove::of_rows(&then.rows, &now).into_iter().filter(|line| !is_ours(line)).collect())
}
