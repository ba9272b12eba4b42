//! `restore` into place: everything that takes time is done beside what is there, which is then exchanged.

use std::path::Path;

use mm_common::contract::error::{Kind, Result};
use mm_common::contract::ui;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::service::{FAILED_STOP, STOP_LIMIT};
use mm_common::machine::state::State;
use mm_common::machine::{checkpoint, door, signals, tree};
use mm_common::mattermost::site::Installation;
use mm_common::postgres::proven;
use mm_common::postgres::source::DataSource;
use mm_common::run::Session;

use crate::again;
use crate::arguments::RestoreArguments;
use crate::complete;
use crate::configuration;
use crate::database;
use crate::fill;
use crate::flip::{self, Intent, Recovered};
use crate::kept;
use crate::replace::{self, Exchanged, Prepared, Way, login};
use crate::restore_files::{self, Placed};
use crate::salvage::{self, LeftOut};
use crate::store::Point;
use crate::target;
use crate::wish::Wish;

/// Restores into place. Returns the line that says what was done.
pub(crate) fn restore(
    session: &mut Session,
    point: &Point,
    wanted: &RestoreArguments,
    wish: &Wish,
    jobs: usize,
) -> Result<String> {
    let wait = session.lock_wait();
    let install = target::own_root(session, point)?;
    let state = session.state(&install);
    let lock = state.lock(wait)?;
    target::refuse_foreign_journals(&state, &install, wish)?;
    // After a disaster there may be nothing to observe: then the files come first, and say the rest.
    session.common.install.get_or_insert_with(|| install.clone());
    let mut installation = target::observe(session, point, wish, &install)?;
    let mut wish = wish.clone();
    let recovered = flip::recover(&state, installation.as_ref(), &lock)?;
    if recovered != Recovered::Nothing {
        installation = target::observe(session, point, &wish, &install)?;
    }
    if recovered == Recovered::Finished(point.head.id.clone()) && point.head.incomplete().is_some() {
        // The copy it was frozen in is the server's database now.
        wish.database = false;
    }
    let completed = complete::before_restore(session, point, &wish, installation.as_ref(), (jobs, &lock))?;
    let (point, wish) = (completed.as_ref().unwrap_or(point), &wish);
    let running = target::refuse_running(installation.as_ref().map(|there| &there.service), &install, wanted)?;
    // A run that was cut off may have stopped it.
    let ran = installation.as_ref().map(|there| there.service.was_running()).transpose()?.unwrap_or(false);
    let result = replace_all(session, point, wish, jobs, &state, installation.as_ref(), running, &lock);
    if let Some(installation) = installation {
        let starts = if result.is_ok() { wanted.stop && ran && !wanted.leave_stopped } else { running };
        let starts = starts && !installation.service.is_running()?;
        match &result {
            Ok(_) if starts => {
                again::start(session, installation, "everything is restored", wanted.limit.duration(), &lock)?;
            }
            // A failure leaves the service as it was, whatever the next tool would have wanted.
            Err(error) if starts && error.kind() != Kind::HalfDone => drop(installation.service.start(&[], &lock)),
            _ => {}
        }
    }
    let (mut done, left_out) = result?;
    if done.is_empty() {
        done = "what was cut off is finished".into();
    }
    session.changed = true;
    salvage::all_or_most(&point.head, &left_out, format!("restored {} of {}: {done}", wish.in_words(), point.head.id))
}

#[expect(clippy::too_many_arguments, reason = "the parts of one operation")]
fn replace_all(
    session: &mut Session,
    point: &Point,
    wish: &Wish,
    jobs: usize,
    state: &State,
    installation: Option<&Installation>,
    running: bool,
    lock: &LockGuard,
) -> Result<(String, Vec<LeftOut>)> {
    let stamp = mm_common::contract::time::stamp();
    let accepts = Accepts::of(session);
    let leaves_out = session.common.accepts(salvage::ACCEPT);
    // Everything that takes time is done beside what is there, while the server may still run.
    let mut announced = Intent::of(point, wish);
    let mut announce = |stage: &Path| {
        announced.stages.push(stage.to_owned().into());
        flip::announce(state, &announced, lock)
    };
    let copy = |selection| restore_files::stage(point, selection, &stamp, leaves_out, &mut announce);
    let placed: Option<Placed> = wish.files.as_ref().map(copy).transpose().inspect_err(|_| forget(state, lock))?;
    checkpoint::pass("restore-staged");
    let beside = |there| prepare(point, wish, there, placed.as_ref(), (&stamp, jobs, accepts), lock);
    let prepared = installation.map_or(Ok((None, None)), beside);
    let (mut prepared, led) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            give_up(placed.as_ref());
            forget(state, lock);
            return Err(error);
        }
    };
    checkpoint::pass("restore-prepared");
    let flipped: Result<Intent> = (|| {
        let renaming = prepared.as_mut().map(Prepared::renaming).transpose()?;
        installation.filter(|_| running).map_or(Ok(()), |there| stop(there, state, lock))?;
        let mut intent = match &placed {
            Some(placed) => placed.intent(announced.clone(), point, wish.database, lock)?,
            None => announced.clone(),
        };
        intent.database = renaming;
        flip::flip(state, &intent, lock)?;
        Ok(intent)
    })();
    let mut intent: Intent = match flipped {
        Ok(intent) => intent,
        Err(error) => {
            if error.kind() != Kind::HalfDone {
                give_up(placed.as_ref());
                forget(state, lock);
            }
            if let Some(prepared) = prepared {
                prepared.give_up();
            }
            return Err(error);
        }
    };
    let prepared = match (prepared, wish.database) {
        // Where no files were restored, the configuration is that of before.
        (Some(prepared), _) if placed.is_none() => Ok(Some(prepared)),
        (Some(prepared), _) => match installation.map(|there| configuration::prove(there, &prepared)).transpose() {
            Ok(_) => Ok(Some(prepared)),
            Err(error) => {
                prepared.give_up();
                Err(error)
            }
        },
        // The configuration that names the database is there only now.
        (None, true) => session
            .probe()
            .map_err(|error| configuration::lost(point, error))
            .and_then(|there| prepare_database(point, &there, None, accepts, (&stamp, jobs), lock))
            .map(Some),
        (None, false) => Ok(None),
    };
    let exchanged =
        prepared.and_then(|prepared| prepared.map(|prepared| exchange(prepared, &mut intent, state, lock)).transpose());
    let database = match exchanged {
        Ok(database) => database,
        Err(error) if error.kind() == Kind::HalfDone => {
            return Err(error.with_hint("fix the cause, then run the same restore again: it finishes this one first"));
        }
        Err(error) => {
            let error = flip::take_back(state, &intent, error, lock);
            if error.kind() != Kind::HalfDone {
                give_up(placed.as_ref());
            }
            return Err(error);
        }
    };
    checkpoint::pass("restore-exchanged");
    let _done = signals::finishing(format!("{} is restored; this ends in some seconds", point.head.id));
    let mut done = Vec::new();
    let mut record = kept::Kept { id: point.head.id.clone(), stamp, ..kept::Kept::default() };
    if let Some(placed) = &placed {
        record.directories = placed.stages();
        done.push(ui::count(placed.entries, "entry"));
    }
    if let Some(database) = database {
        done.push(database.said);
        record.databases.extend(database.kept);
    }
    kept::write(state, &record, lock)
        .and_then(|()| flip::conclude(state, &intent, lock))
        .map_err(|error| flip::unrecorded(state, error))?;
    configuration::tell(point, wish.files.is_some());
    done.extend(led);
    let kept = record.in_words();
    if !kept.is_empty() {
        done.push(format!("what was there before is kept until prune: {kept}"));
    }
    Ok((done.join(", "), placed.map(|placed| placed.left_out).unwrap_or_default()))
}

/// A server that mm-swap goes back from may hang, and has been judged.
fn stop(installation: &Installation, state: &State, lock: &LockGuard) -> Result<()> {
    if door::is_undoing_swap(state) {
        installation.service.stop_or_kill(FAILED_STOP, lock)?;
    } else {
        installation.service.stop(STOP_LIMIT, lock)?;
    }
    checkpoint::pass("service-stopped");
    Ok(())
}

/// What `--accept` lets through.
#[derive(Debug, Clone, Copy)]
struct Accepts {
    database: bool,
    superuser_objects: bool,
    changes: bool,
}

impl Accepts {
    fn of(session: &Session) -> Self {
        let accepts = |check| session.common.accepts(check);
        Self {
            database: accepts(proven::ACCEPT),
            superuser_objects: accepts(fill::SUPERUSER_OBJECTS),
            changes: accepts(complete::ACCEPT),
        }
    }
}

fn prepare_database(
    point: &Point,
    installation: &Installation,
    login: Option<&DataSource>,
    accepts: Accepts,
    (stamp, jobs): (&str, usize),
    lock: &LockGuard,
) -> Result<Prepared> {
    let how = Way {
        login,
        claim: database::claim(installation, accepts.database, Some(lock)),
        accepts_superuser_objects: accepts.superuser_objects,
        accepts_changes: accepts.changes,
        stamp,
        jobs,
    };
    replace::prepare(point, installation, &how)
}

/// The database under another name, and the staged configuration made to lead to it. Says what was changed for that.
fn prepare(
    point: &Point,
    wish: &Wish,
    installation: &Installation,
    placed: Option<&Placed>,
    (stamp, jobs, accepts): (&str, usize, Accepts),
    lock: &LockGuard,
) -> Result<(Option<Prepared>, Option<String>)> {
    let staged = |path: &Path| placed.and_then(|placed| placed.staged(path));
    let login = configuration::login(&point.head, &staged, installation)?;
    if let Some(login) = login.as_ref().filter(|_| !wish.database) {
        login::warn_shut_out(login, installation);
    }
    let prepare = || prepare_database(point, installation, login.as_ref(), accepts, (stamp, jobs), lock);
    let prepared = wish.database.then(prepare).transpose()?;
    match configuration::lead(point, placed, prepared.as_ref(), installation, lock) {
        Ok(led) => Ok((prepared, led)),
        Err(error) => {
            prepared.iter().for_each(Prepared::give_up);
            Err(error)
        }
    }
}

/// Gives the restored database its name, as the journal says beforehand.
fn exchange(mut prepared: Prepared, intent: &mut Intent, state: &State, lock: &LockGuard) -> Result<Exchanged> {
    let announced = match intent.database.clone() {
        Some(renaming) => Ok(renaming),
        None => prepared.renaming().and_then(|renaming| {
            intent.database = Some(renaming.clone());
            flip::announce(state, intent, lock).map(|()| renaming)
        }),
    };
    let renaming = announced.inspect_err(|_| prepared.give_up())?;
    prepared.exchange(&renaming)
}

/// Nothing is begun any more. Where the journal cannot be removed, the next run does what it says: nothing.
fn forget(state: &State, lock: &LockGuard) {
    if let Err(error) = flip::settle(state, lock) {
        ui::warn(&error.one_line());
    }
}

/// Removes what was staged; a later run would, too.
fn give_up(placed: Option<&Placed>) {
    for stage in placed.iter().flat_map(|placed| placed.stages()) {
        if let Err(error) = tree::remove_without_links(&stage) {
            ui::warn(&error.one_line());
        }
    }
}
