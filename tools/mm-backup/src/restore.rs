//! `restore`: everything, or what the flags name; into place, or elsewhere.

use std::path::{Path, PathBuf};

use mm_common::contract::error::{Error, Kind, Result};
use mm_common::contract::ui;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::service::{STOP_LIMIT, process};
use mm_common::machine::state::State;
use mm_common::machine::{checkpoint, door, files, signals, tree};
use mm_common::mattermost::site::{Installation, Supposed};
use mm_common::postgres::server::Database;
use mm_common::postgres::source::DataSource;
use mm_common::postgres::{dump, fingerprint, proven};
use mm_common::run::Session;

use crate::again;
use crate::arguments::RestoreArguments;
use crate::complete;
use crate::configuration;
use crate::database;
use crate::equal;
use crate::fill;
use crate::flip::{self, Intent, Recovered};
use crate::foresee;
use crate::kept;
use crate::manifest::DatabasePart;
use crate::replace::{self, Exchanged, Prepared, Way};
use crate::restore_files::{self, Placed, Selection};
use crate::salvage::{self, LeftOut};
use crate::start;
use crate::store::Point;
use crate::wish::Wish;

/// How many differences are named.
const NAMED: usize = 10;

/// Restores. Returns the line that says what was done.
pub(crate) fn restore(session: &mut Session, point: &Point, wanted: &RestoreArguments, jobs: usize) -> Result<String> {
    let wish = Wish::new(point, wanted)?;
    if session.dry_run {
        return foresee::foresee(session, point, wanted, &wish);
    }
    point.proven_manifest()?;
    if wanted.into.is_some() || wanted.into_database.is_some() {
        return elsewhere(session, point, wanted, &wish, jobs);
    }
    let done = into_place(session, point, wanted, &wish, jobs);
    if wish.database && matches!(wish.files, Some(Selection::Everything)) {
        start::note(session, point, &done)?;
    }
    done
}

fn elsewhere(
    session: &mut Session,
    point: &Point,
    wanted: &RestoreArguments,
    wish: &Wish,
    jobs: usize,
) -> Result<String> {
    point.require_complete()?;
    let (mut done, mut left_out) = (Vec::new(), Vec::new());
    if let (Some(directory), Some(selection)) = (&wanted.into, &wish.files) {
        let count;
        (count, left_out) = restore_files::below(point, selection, directory)?;
        done.push(format!("{} below {}", ui::count(count, "entry"), directory.display()));
        session.changed = true;
    }
    let head = &point.head;
    let part = if wish.configuration { &head.config_database } else { &head.database };
    if let (Some(url), Some(part)) = (&wanted.into_database, part) {
        let database = Database::connect(&DataSource::parse(url)?, None)?;
        into_database(point, part, &database, jobs)?;
        done.push(format!(
            "{} in the database {}, equal to the manifest",
            ui::count(part.tables.len(), "table"),
            database.name
        ));
        session.changed = true;
    }
    all_or_most(point, &left_out, format!("restored {}", done.join(" and ")))
}

/// What was done, as the line at the end, or as an error that names what was left out of it.
fn all_or_most(point: &Point, left_out: &[LeftOut], done: String) -> Result<String> {
    if left_out.is_empty() { Ok(done) } else { Err(salvage::error(&point.head, left_out, &done)) }
}

/// Restores the dump into an empty database and compares every table.
fn into_database(point: &Point, part: &DatabasePart, database: &Database, jobs: usize) -> Result<()> {
    refuse_filled(database)?;
    dump::restore(&point.path.join(&part.dump.path), database, jobs)?;
    compare(point, part, database, jobs)
}

/// What is restored elsewhere goes into an empty database.
pub(crate) fn refuse_filled(database: &Database) -> Result<()> {
    let tables = fingerprint::names(database)?;
    let Some(table) = tables.first() else { return Ok(()) };
    Err(Error::refused(format!("the database `{}` is not empty", database.name))
        .because(format!("it has the table {table} and {} more", tables.len() - 1))
        .hint("name an empty one with --into-database"))
}

/// Whether a restored database holds what was dumped.
pub(crate) fn compare(point: &Point, part: &DatabasePart, database: &Database, jobs: usize) -> Result<()> {
    refuse_different(database, equal::of_contents(part, &point.path.join(&part.dump.path), (database, None), jobs)?)
}

/// Makes an error of what was found.
pub(crate) fn refuse_different(database: &Database, found: Vec<String>) -> Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let error = Error::failed(format!("the restored database `{}` is not what was dumped", database.name));
    let count = found.len();
    let error = found.into_iter().take(NAMED).fold(error, Error::because);
    let error = if count > NAMED { error.because(format!("and {} more", count - NAMED)) } else { error };
    Err(error.hint("take another restore point (mm-backup list)"))
}

fn into_place(
    session: &mut Session,
    point: &Point,
    wanted: &RestoreArguments,
    wish: &Wish,
    jobs: usize,
) -> Result<String> {
    let wait = session.lock_wait();
    let install = own_root(session, point)?;
    let state = session.state(&install);
    let lock = state.lock(wait)?;
    refuse_foreign_journals(&state, &install, wish)?;
    // After a disaster there may be nothing to observe: then the files come first, and say the rest.
    session.common.install.get_or_insert_with(|| install.clone());
    let mut installation = observe(session, point, wish, &install)?;
    let mut wish = wish.clone();
    let recovered = flip::recover(&state, installation.as_ref(), &lock)?;
    if recovered != Recovered::Nothing {
        installation = observe(session, point, &wish, &install)?;
    }
    if recovered == Recovered::Finished(point.head.id.clone()) && point.head.incomplete().is_some() {
        // The copy it was frozen in is the server's database now.
        wish.database = false;
    }
    let wish = &wish;
    let running = refuse_running(installation.as_ref(), &install, wanted)?;
    // A run that was cut off may have stopped it.
    let ran = installation.as_ref().map(|there| there.service.was_running()).transpose()?.unwrap_or(false);
    let result = replace_all(session, point, wish, jobs, &state, installation.as_ref(), running, &lock);
    if let Some(installation) = installation {
        let starts = if result.is_ok() { wanted.stop && ran && !wanted.leave_stopped } else { running };
        let starts = starts && !installation.service.is_running()?;
        match &result {
            Ok(_) if starts => again::start(session, installation, wanted.limit.duration(), &lock)?,
            // A failure leaves the service as it was, whatever the next tool would have wanted.
            Err(_) if starts => drop(installation.service.start(&[], &lock)),
            _ => {}
        }
    }
    let (mut done, left_out) = result?;
    if done.is_empty() {
        done = "what was cut off is finished".into();
    }
    session.changed = true;
    all_or_most(point, &left_out, format!("restored {} of {}: {done}", wish.in_words(), point.head.id))
}

/// The install root to restore into.
///
/// # Errors
/// Refused when the restore point is of another one.
pub(crate) fn own_root(session: &Session, point: &Point) -> Result<PathBuf> {
    let install = asked_root(session)?.unwrap_or_else(|| point.head.install.clone());
    if install != point.head.install {
        return Err(Error::refused(format!(
            "the restore point {} is not one of `{}`",
            point.head.id,
            install.display()
        ))
        .because(format!("it was made of `{}`", point.head.install.display()))
        .hint("give --into DIR to restore it elsewhere"));
    }
    Ok(install)
}

/// The installation as it is; absent when there is nothing to observe, and the files come first.
pub(crate) fn observe(
    session: &mut Session,
    point: &Point,
    wish: &Wish,
    install: &Path,
) -> Result<Option<Installation>> {
    let supposed = Supposed { version: point.head.version.clone(), edition: point.head.edition };
    match session.probe() {
        // The database alone does not wait for its server to be mended.
        Err(_) if wish.files.is_none() => session.probe_ruin(&supposed).map(Some),
        Ok(installation) => Ok(Some(installation)),
        Err(error) if wish.files.is_some() && process::servers(install).is_empty() => {
            ui::say(&format!("restoring without looking at the installation: {}", error.one_line()));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whether the server runs.
///
/// # Errors
/// Refused when it does and `--stop` is not given.
pub(crate) fn refuse_running(there: Option<&Installation>, install: &Path, wanted: &RestoreArguments) -> Result<bool> {
    let running = there.map(|there| there.service.is_running()).transpose()?.unwrap_or(false);
    if running && !wanted.stop {
        return Err(Error::refused(format!("the server in `{}` is running", install.display()))
            .because("it would go on working with what is exchanged under it")
            .hint("stop it, or give --stop to have it stopped and started again"));
    }
    Ok(running)
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
    let (id, flags) = (point.head.id.clone(), wish.flags.clone());
    let mut announced = Intent { id, store: point.store(), flags, ..Intent::default() };
    let mut announce = |stage: &Path| {
        announced.stages.push(stage.to_owned().into());
        flip::announce(state, &announced, lock)
    };
    let copy = |selection| restore_files::stage(point, selection, &stamp, leaves_out, &mut announce);
    let placed: Option<Placed> = wish.files.as_ref().map(copy).transpose().inspect_err(|_| forget(state, lock))?;
    checkpoint::pass("restore-staged");
    let beside = |there| prepare(point, wish, there, placed.as_ref(), (&stamp, jobs, accepts), lock);
    let prepared = installation.map_or(Ok((None, None)), beside);
    let (prepared, led) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            give_up(placed.as_ref());
            forget(state, lock);
            return Err(error);
        }
    };
    checkpoint::pass("restore-prepared");
    let flipped: Result<Intent> = (|| {
        if let (true, Some(installation)) = (running, installation) {
            installation.service.stop(STOP_LIMIT, lock)?;
        }
        let mut intent = match &placed {
            Some(placed) => Intent { flags: wish.flags.clone(), ..placed.intent(point, wish.database, lock)? },
            None => announced.clone(),
        };
        intent.database = prepared.as_ref().map(Prepared::renaming).transpose()?;
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
            .and_then(|there| prepare_database(point, &there, accepts, (&stamp, jobs), lock))
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
    accepts: Accepts,
    (stamp, jobs): (&str, usize),
    lock: &LockGuard,
) -> Result<Prepared> {
    let how = Way {
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
    let prepare = || prepare_database(point, installation, accepts, (stamp, jobs), lock);
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
fn exchange(prepared: Prepared, intent: &mut Intent, state: &State, lock: &LockGuard) -> Result<Exchanged> {
    let announced = prepared.renaming().and_then(|renaming| {
        intent.database = Some(renaming);
        flip::announce(state, intent, lock)
    });
    announced.inspect_err(|_| prepared.give_up())?;
    prepared.exchange()
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

/// Another tool was cut off in the middle of something: that comes first. mm-swap asks for the database alone in the middle
/// of its own undoing.
pub(crate) fn refuse_foreign_journals(state: &State, install: &Path, wish: &Wish) -> Result<()> {
    let is_asked_for = wish.files.is_none() && door::is_undoing_swap(state)?;
    let own: &[&str] = if is_asked_for { &[flip::JOURNAL, door::SWAP] } else { &[flip::JOURNAL] };
    door::refuse_open(state, install, own)
}

fn asked_root(session: &Session) -> Result<Option<PathBuf>> {
    let Some(given) = &session.common.install else { return Ok(None) };
    // It may be gone; then its parent tells.
    if files::look(given)?.is_some() {
        return std::fs::canonicalize(given).map(Some).map_err(|error| Error::io("resolve", given, error));
    }
    let parent = given.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent = std::fs::canonicalize(parent).unwrap_or_else(|_| parent.into());
    Ok(Some(given.file_name().map_or(parent.clone(), |name| parent.join(name))))
}
