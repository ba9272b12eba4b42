//! `complete`: stores the database of frozen restore points. Everything is made from the frozen copy, or from what the hop has
//! left as it was, beside the server that serves again; that nobody has changed that since is proven.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use mm_common::contract::error::{Error, Kind, Result};
use mm_common::contract::sections::Backup;
use mm_common::contract::{shell, time, ui};
use mm_common::machine::lock::LockGuard;
use mm_common::machine::{checkpoint, disk, door, files, tree};
use mm_common::mattermost::handed_on::{self, COMPLETION};
use mm_common::mattermost::site::{self, Installation, private};
use mm_common::mattermost::way_back::administrator;
use mm_common::postgres::frozen::{Changes, Frozen};
use mm_common::postgres::proven;
use mm_common::postgres::server::Database;
use mm_common::run::Session;

use crate::arguments::BackupArguments;
use crate::completion::{self, Completion, SCHEMA};
use crate::database::{self, View};
use crate::earlier::Earlier;
use crate::manifest::{DatabasePart, FrozenPart, Unstored};
use crate::original;
use crate::store::{Point, Store};
use crate::trust;
use crate::wish::Wish;

/// The check that `--accept` lets through: a frozen copy that was changed.
pub(crate) const ACCEPT: &str = "frozen-copy";

/// Where the parts are while they are made.
const WORK: &str = ".completing";

/// How many changes are named.
const NAMED: usize = 10;

/// The verb.
pub(crate) fn complete(session: &mut Session, arguments: &BackupArguments, id: Option<&str>) -> Result<String> {
    let backup: Option<Backup> = session.document.section("backup")?;
    let handed = backup.filter(|_| session.had_document && id.is_none());
    if session.had_document && id.is_none() && handed.is_none() {
        return Ok("no restore point was made, so none is completed".into());
    }
    // The one of the document has to be completed; of others that a run has left it is said when they cannot be.
    let required = id
        .map(str::to_owned)
        .or_else(|| handed.as_ref().filter(|backup| backup.is_frozen()).map(|backup| backup.id.clone()));
    let wait = session.lock_wait();
    let ground = site::ground(&session.wanted()?)?;
    let store = Store::open(handed.as_ref().map_or(&arguments.store, |backup| &backup.store))?;
    if session.dry_run {
        let points = choose(&store, &ground.root, required.as_deref(), id.is_some())?;
        let ids: Vec<&str> = points.iter().map(|point| point.head.id.as_str()).collect();
        return Ok(format!("would complete {}", if ids.is_empty() { "nothing".into() } else { ids.join(", ") }));
    }
    let lock = ground.state.lock(wait)?;
    door::refuse_open(&ground.state, &ground.root, &[])?;
    let installation = session.probe()?;
    let points = choose(&store, &installation.root, required.as_deref(), id.is_some())?;
    if !points.is_empty() && private::noted(&installation.state)?.is_some() {
        let later = "the server is not public: what is frozen is completed when it is";
        if handed.is_some() {
            Earlier::of(session, arguments, (&installation, &store))?.tidy_or_say(&lock);
            return Ok(later.into());
        }
        let root = shell::word(&installation.root);
        return Err(Error::refused(later).hint(format!("mm-swap publish --install {root}, then this again")));
    }
    let started = Instant::now();
    let work = Work {
        installation: &installation,
        accepts_database: session.common.accepts(proven::ACCEPT),
        accepts_changes: session.common.accepts(ACCEPT),
        jobs: crate::jobs(arguments),
    };
    let mut done = Vec::new();
    for point in &points {
        let id = &point.head.id;
        let is_required = required.as_ref() == Some(id);
        if !is_required && !work.has_source(point, &lock)? {
            let why = match point.head.incomplete() {
                Some(Unstored::Original(_)) => "the server works with its database again, or that is gone",
                _ => "its frozen copy is gone",
            };
            ui::warn(&format!("the restore point {id} is not completed: {why}"));
            continue;
        }
        match work.complete(point, &lock) {
            Ok(()) => {
                session.changed = true;
                done.push(id.clone());
            }
            Err(error) if handed.is_some() && !is_required => {
                ui::warn(&format!("the restore point {id} is not completed: {}", error.one_line()));
            }
            Err(error) => return Err(error),
        }
    }
    if let Some(backup) = handed {
        note(session, backup)?;
        Earlier::of(session, arguments, (&installation, &store))?.tidy_or_say(&lock);
    }
    Ok(match done.as_slice() {
        [] => "nothing is to be completed".into(),
        ids => format!("completed {} in {:.1} s", ids.join(", "), started.elapsed().as_secs_f64()),
    })
}

/// Before the database of a restore point is put back that was frozen without a copy, it is stored: then there is a dump. The
/// server may still run meanwhile. Returns the restore point as it is then.
///
/// # Errors
/// As [`Work::complete`].
pub(crate) fn before_restore(
    session: &Session,
    point: &Point,
    wish: &Wish,
    installation: Option<&Installation>,
    (jobs, lock): (usize, &LockGuard),
) -> Result<Option<Point>> {
    if !wish.database || !matches!(point.head.incomplete(), Some(Unstored::Original(_))) {
        return Ok(None);
    }
    // What the server is in now says what has become of its database.
    let Some(installation) = installation else { return point.require_complete().map(|()| None) };
    let accepts_database = session.common.accepts(proven::ACCEPT);
    let accepts_changes = session.common.accepts(ACCEPT);
    Work { installation, accepts_database, accepts_changes, jobs }.complete(point, lock)?;
    ui::say(&format!("completed the restore point {}", point.head.id));
    Store::open(files::parent(&point.path)?)?.find(&point.head.id).map(Some)
}

/// Writes into the document that its restore point is complete.
fn note(session: &mut Session, mut backup: Backup) -> Result<()> {
    let path = backup.path.join(COMPLETION);
    if let Some(freeze) = backup.freeze.as_mut().filter(|freeze| freeze.has_frozen())
        && handed_on::is_complete(&backup.path)?
    {
        freeze.completed_sha256 = Some(files::sha256(&path)?);
        freeze.completed = Some(path);
        session.document.set("backup", &backup)?;
    }
    Ok(())
}

/// The restore points to complete, oldest first: with `only` the one required, else every frozen one of the installation.
///
/// # Errors
/// Refused when the one required is not there, or is of another installation.
fn choose(store: &Store, root: &Path, required: Option<&str>, only: bool) -> Result<Vec<Point>> {
    let mut points = of_installation(store, root)?;
    if let Some(id) = required {
        let point = store.find(id)?;
        if point.head.install != root {
            return Err(Error::refused(format!("the restore point {id} is not one of `{}`", root.display()))
                .because(format!("it was made of `{}`", point.head.install.display()))
                .hint(point.completing()?));
        }
        // Named, it is completed whichever machine has made it.
        let is_missing = point.head.incomplete().is_some() && !points.iter().any(|other| other.head.id == id);
        points.retain(|point| !only || point.head.id == id);
        points.extend(is_missing.then_some(point));
    }
    Ok(points)
}

/// The frozen restore points of an installation that are not complete, oldest first.
pub(crate) fn of_installation(store: &Store, root: &Path) -> Result<Vec<Point>> {
    Ok(store.of_installation(root)?.into_iter().filter(|point| point.head.incomplete().is_some()).collect())
}

/// The frozen copy of a restore point, as somebody reaches it who may read and rename it; absent when it is gone.
///
/// # Errors
/// Refused when no superuser can be reached.
pub(crate) fn find_copy(
    installation: &Installation,
    frozen: &Frozen,
    accepts_database: bool,
    lock: Option<&LockGuard>,
) -> Result<Option<Database>> {
    let admin = administrator(installation, &database::claim(installation, accepts_database, lock))?;
    if !admin.is_superuser {
        return Err(Error::refused(format!("the frozen copy `{}` cannot be reached", frozen.copy))
            .because("nobody but a superuser of the database server may connect to it")
            .hint("run this as root on the machine of the cluster, where `local all postgres peer` in pg_hba.conf lets it in"));
    }
    frozen.find(&admin.database)
}

/// What completing takes.
pub(crate) struct Work<'a> {
    /// The installation.
    pub installation: &'a Installation,
    /// `--accept database`.
    pub accepts_database: bool,
    /// `--accept frozen-copy`.
    pub accepts_changes: bool,
    /// `--jobs`.
    pub jobs: usize,
}

impl Work<'_> {
    /// Whether that is there which a frozen restore point is completed from.
    pub(crate) fn has_source(&self, point: &Point, lock: &LockGuard) -> Result<bool> {
        match point.head.incomplete() {
            Some(Unstored::Copy(part)) => {
                Ok(find_copy(self.installation, &part.copy, self.accepts_database, Some(lock))?.is_some())
            }
            Some(Unstored::Original(_)) => original::is_left(&self.installation.state, &point.head.id),
            None => Ok(false),
        }
    }

    /// Completes one restore point.
    ///
    /// # Errors
    /// A failed check (exit 4) when the database was changed; refused when it is gone. The restore point stays as it was.
    pub(crate) fn complete(&self, point: &Point, lock: &LockGuard) -> Result<()> {
        trust::require(point, false)?;
        let manifest_sha256 = point.proven_manifest()?;
        let unstored = point.head.incomplete().ok_or_else(|| Error::failed("the restore point is complete"))?;
        require_space(point)?;
        let work = point.path.join(WORK);
        tree::remove(&work)?;
        let stored = match unstored {
            Unstored::Copy(part) => self.store_copy(point, part, &work, lock),
            Unstored::Original(part) => original::store(self, point, part, &work, lock),
        };
        let Taken { database, others, unproven } = match stored {
            Ok(stored) => stored,
            Err(error) => {
                if let Err(other) = tree::remove(&work) {
                    ui::warn(&other.one_line());
                }
                return Err(error);
            }
        };
        files::sync_file_system(&work)?;
        checkpoint::pass("complete-stored");
        put_in_place(&work, &point.path, std::iter::once(&database).chain(&others))?;
        checkpoint::pass("complete-placed");
        let completion = Completion {
            schema: SCHEMA.into(),
            id: point.head.id.clone(),
            manifest_sha256,
            completed: time::now(),
            tool: env!("CARGO_PKG_VERSION").into(),
            unproven,
            database,
            other_databases: others,
        };
        completion::write(&point.path, &completion)?;
        checkpoint::pass("complete-written");
        Ok(())
    }

    /// Where the server finds its tables, which a superuser's session does not say.
    pub(crate) fn schemas(&self) -> Vec<String> {
        let own = self.installation.database().and_then(|own| own.schemas());
        let role = self.installation.source.as_ref().map_or("", |source| source.user.as_str());
        own.unwrap_or_else(|_| vec![role.to_owned(), "public".to_owned()])
    }

    fn store_copy(&self, point: &Point, part: &FrozenPart, work: &Path, lock: &LockGuard) -> Result<Taken> {
        let copy = find_copy(self.installation, &part.copy, self.accepts_database, Some(lock))?;
        let copy = copy.ok_or_else(|| gone(point, &part.copy))?.looking_in(self.schemas());
        begin(work)?;
        let cancel = Arc::new(AtomicBool::new(false));
        let database = View::take_frozen(copy.clone(), part, &cancel)?.store(work, self.jobs)?;
        let changes = part.copy.changes(&copy, true)?;
        let called = format!("the frozen copy `{}`", part.copy.copy);
        let unproven = self.require_unchanged(point, &called, changes)?;
        Ok(Taken { database, others: Vec::new(), unproven })
    }

    /// Requires that nobody has changed the database. Returns what could not be proven, or was accepted.
    pub(crate) fn require_unchanged(&self, point: &Point, called: &str, changes: Changes) -> Result<Vec<String>> {
        for words in &changes.unproven {
            ui::warn(&format!("of {called} it is not proven {words}"));
        }
        let mut said = changes.unproven;
        if changes.found.is_empty() {
            return Ok(said);
        }
        if self.accepts_changes {
            ui::warn(&format!("{called} was changed: {}", changes.found.join("; ")));
            said.extend(changes.found);
            return Ok(said);
        }
        let message = format!("{called} of the restore point {} was changed", point.head.id);
        let count = changes.found.len();
        let error = changes.found.into_iter().take(NAMED).fold(Error::new(Kind::CheckSaysNo, message), Error::because);
        let error = if count > NAMED { error.because(format!("and {} more", count - NAMED)) } else { error };
        Err(error.hint(format!(
            "it is not the database as it was: find out which superuser did that; to take it as it is: {} --accept {ACCEPT}",
            point.completing()?
        )))
    }
}

/// Requires that there is room for the dump of what is not stored yet.
///
/// # Errors
/// Refused when there is not.
pub(crate) fn require_space(point: &Point) -> Result<()> {
    let bytes = point.head.incomplete().map_or(0, Unstored::bytes);
    disk::require(&point.path, bytes / 2, "the dump of the frozen database")
        .map_err(|error| error.with_hint("make room there (mm-backup prune)"))
}

/// The copy of a restore point is gone.
pub(crate) fn gone(point: &Point, frozen: &Frozen) -> Error {
    Error::refused(format!("the database of the restore point {} is gone", point.head.id))
        .because(format!("its frozen copy `{}` is not in the database server any more: it was dropped, or has taken the place of the database", frozen.copy))
        .hint("its files can be restored with --files; make a new restore point: mm-backup create")
}

/// What was made of a frozen database.
pub(crate) struct Taken {
    /// The server's database.
    pub database: DatabasePart,
    /// The others of its cluster.
    pub others: Vec<DatabasePart>,
    /// What could not be proven, or was accepted.
    pub unproven: Vec<String>,
}

/// Makes the directory in which the parts are made: what is begun is known by it.
pub(crate) fn begin(work: &Path) -> Result<()> {
    files::create_directory(work, 0o700)?;
    checkpoint::pass("complete-begun");
    Ok(())
}

/// Moves what was made to where it belongs. What a killed run has put there is replaced.
fn put_in_place<'a>(work: &Path, point: &Path, parts: impl Iterator<Item = &'a DatabasePart>) -> Result<()> {
    let stored = parts.flat_map(|part| [Some(&part.dump), part.globals.as_ref()]);
    let mut directory: Option<PathBuf> = None;
    for path in stored.flatten().map(|stored| &stored.path) {
        let target = point.join(path);
        let parent = files::parent(&target)?.to_owned();
        files::create_directory(&parent, 0o700)?;
        files::rename(&work.join(path), &target)?;
        directory = Some(parent);
    }
    if let Some(directory) = directory {
        files::sync_directory(&directory)?;
    }
    tree::remove(work)?;
    files::sync_directory(point)
}
