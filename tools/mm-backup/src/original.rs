//! `--freeze` in a hop that upgrades PostgreSQL or moves the database: what it leaves as it was, the kept cluster or the source, is
//! the frozen database. Before the stop it is noted where that is; `complete` reads it there, the cluster for nobody else and beside
//! the one that serves, and proves that it is what was carried over.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use mm_common::contract::error::{Error, Result};
use mm_common::contract::{shell, ui};
use mm_common::machine::lock::LockGuard;
use mm_common::machine::state::State;
use mm_common::machine::{checkpoint, signals};
use mm_common::mattermost::schema;
use mm_common::mattermost::way_back::Place;
use mm_common::mattermost::way_back::original::{self, Kept, Left, Original, Standing};
use mm_common::postgres::cluster::{self, Cluster};
use mm_common::postgres::control_file::ControlFile;
use mm_common::postgres::fingerprint::TablePrint;
use mm_common::postgres::frozen::Changes;
use mm_common::postgres::properties;
use mm_common::postgres::proven::Claim;
use mm_common::postgres::running::{self, Mode};
use mm_common::postgres::server::Database;
use mm_common::postgres::source::DataSource;

use crate::complete::{self, Taken, Work};
use crate::database::{self, View};
use crate::freeze::{Outlook, Upgrade};
use crate::manifest::{DatabasePart, OriginalPart};
use crate::plan::Plan;
use crate::store::Point;

/// Notes where the database is that the hop will leave, where `complete` will be able to read it.
pub(crate) fn left(claim: &Claim<'_>, plan: &Plan, own: &Database, upgrade: Upgrade) -> Result<Outlook> {
    let dumped = |why: &str| Ok(Outlook::Plain(why.to_owned()));
    let (host, port) = own.reached_at();
    let mut place = Place { host: host.to_owned(), port, database: own.name.clone(), ..Place::default() };
    place.identify(own)?;
    let cluster = if upgrade.is_move { None } else { cluster::of_database(own)? };
    if upgrade.is_move && plan.whole_cluster {
        return dumped("--whole-cluster dumps every database of the cluster, and a move leaves one");
    }
    if !upgrade.is_move {
        match claim.superuser(own) {
            _ if cluster.is_none() => return dumped("the database is in no cluster of this host that is upgraded"),
            Ok(None) => return dumped("no superuser of the database server can be reached from here"),
            Err(error) => return dumped(&error.one_line()),
            Ok(Some(_)) => {}
        }
    }
    let others = if plan.whole_cluster { database::others(own, claim)? } else { Vec::new() };
    let database = Original {
        place,
        cluster: cluster.as_ref().map(Cluster::label),
        bytes: database::bytes(own)?,
        server_version: own.version.clone(),
        properties: properties::read(own)?,
        others: others.into_iter().map(|other| other.name).collect(),
    };
    Ok(Outlook::Left(Box::new(OriginalPart { database, schema: Some(schema::level(own)?) })))
}

/// Whether an upgrade or a move has left the database of the restore point, and it is there.
pub(crate) fn is_left(state: &State, id: &str) -> Result<bool> {
    Ok(matches!(original::standing(state.path(), id)?, Standing::Kept(_) | Standing::Moved(_)))
}

/// Stores what the hop of the restore point has left.
///
/// # Errors
/// Refused when nothing was left or it is gone; a failed check (exit 4) when it was changed since.
pub(crate) fn store(
    work: &Work<'_>,
    point: &Point,
    part: &OriginalPart,
    directory: &Path,
    lock: &LockGuard,
) -> Result<Taken> {
    let state = work.installation.state.path();
    let standing = original::standing(state, &point.head.id)?;
    let (called, stored) = match &standing {
        Standing::Kept(kept) => {
            let called = format!("the kept cluster {}", kept.cluster.label());
            (called, from_cluster(work, part, kept, directory)?)
        }
        Standing::Moved(left) => {
            let called = format!("the database {}", left.moved.from.label());
            let source = source(work, left).map_err(|error| way_out(point, error));
            (called, from_source(work, part, (left, source?), directory, lock)?)
        }
        Standing::InUse | Standing::Gone(_) => return Err(gone(point, &standing)),
    };
    let (database, others, mut changes) = stored;
    for part in std::iter::once(&database).chain(&others) {
        changes.found.extend(changed_tables(part, &original::tables(state, &standing, &part.name)?));
    }
    let unproven = work.require_unchanged(point, &called, changes)?;
    Ok(Taken { database, others, unproven })
}

/// Requires that the hop of the restore point has left its database, and that it is there.
///
/// # Errors
/// Refused as [`store`] does it.
pub(crate) fn require_there(state: &Path, point: &Point) -> Result<()> {
    match original::standing(state, &point.head.id)? {
        Standing::Kept(_) | Standing::Moved(_) => Ok(()),
        standing => Err(gone(point, &standing)),
    }
}

fn gone(point: &Point, standing: &Standing) -> Error {
    let why = match standing {
        Standing::Gone(why) => why,
        _ => "the server works with it: its hop was not made, or was taken back",
    };
    Error::refused(format!("the database of the restore point {} cannot be stored any more", point.head.id))
        .because(why)
        .hint("its files can be restored with --files; make a new restore point: mm-backup create")
}

/// What was read, and what tells that it was changed.
type Read = (DatabasePart, Vec<DatabasePart>, Changes);

/// The tables that do not hold what was carried over.
fn changed_tables(part: &DatabasePart, then: &BTreeMap<String, String>) -> Vec<String> {
    let now = |table: &str| part.tables.get(table).map(TablePrint::in_words);
    let changed = then.iter().filter_map(|(table, print)| match now(table) {
        Some(now) if now == *print => None,
        Some(now) => Some(format!("{table} of {} held {print}, and holds {now}", part.name)),
        None => Some(format!("{table} of {} is not there any more", part.name)),
    });
    let new = part.tables.keys().filter(|table| !then.contains_key(*table));
    changed.chain(new.map(|table| format!("{table} of {} was not there", part.name))).collect()
}

/// A kept cluster that runs to be read. It is stopped when this is dropped.
struct Apart {
    cluster: Cluster,
    is_stopped: bool,
}

impl Apart {
    fn start(cluster: &Cluster) -> Result<Self> {
        // Even a start that fails may leave a server.
        let mut apart = Self { cluster: cluster.clone(), is_stopped: false };
        apart.cluster = running::start_apart(cluster)?;
        Ok(apart)
    }

    fn stop(mut self) -> Result<()> {
        end(&self.cluster)?;
        self.is_stopped = true;
        Ok(())
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        if !self.is_stopped
            && let Err(error) = end(&self.cluster)
        {
            ui::warn(&error.one_line());
        }
    }
}

fn end(cluster: &Cluster) -> Result<()> {
    let _stopped =
        signals::finishing(format!("the kept cluster {} is stopped again, within a minute", cluster.label()));
    running::stop(cluster)?;
    running::forget_shut(cluster)
}

/// Has a kept cluster stand still, in the order in which its control file tells the truth: one that a killed run has started is
/// stopped, and what a failure of power has left is recovered by its own server.
///
/// # Errors
/// Refused when somebody uses it.
fn at_rest(cluster: &Cluster) -> Result<ControlFile> {
    match running::mode(cluster)? {
        Mode::Down => {}
        Mode::Shut => end(cluster)?,
        Mode::Open | Mode::BinaryUpgrade => {
            let label = cluster.label();
            return Err(Error::refused(format!("the kept cluster {label} runs"))
                .because("somebody uses it, and could write into it while it is read")
                .hint(format!(
                    "find out who; then pg_ctlcluster {} {} stop, and this again",
                    cluster.major, cluster.name
                )));
        }
    }
    let found = cluster.control_file()?;
    if found.is_shut_down() {
        return Ok(found);
    }
    Apart::start(cluster)?.stop()?;
    cluster.control_file()
}

fn from_cluster(work: &Work<'_>, part: &OriginalPart, kept: &Kept, directory: &Path) -> Result<Read> {
    let before = at_rest(&kept.cluster)?;
    complete::begin(directory)?;
    let apart = Apart::start(&kept.cluster)?;
    checkpoint::pass("complete-original-started");
    let read = || -> Result<(DatabasePart, Vec<DatabasePart>)> {
        let reader = |name: &str| Database::superuser(&apart.cluster, name).map(Database::alone);
        let own = reader(&part.database.place.database)?.looking_in(work.schemas());
        let cancel = Arc::new(AtomicBool::new(false));
        let database = View::take_original(own, part, kept.hashed, &cancel)?.store(directory, work.jobs)?;
        let other = |name: &String| View::take_other(reader(name)?, &cancel)?.store(directory, work.jobs);
        Ok((database, part.database.others.iter().map(other).collect::<Result<_>>()?))
    };
    let stored = read();
    let stopped = apart.stop();
    let (database, others) = match (stored, stopped) {
        (Ok(stored), Ok(())) => stored,
        (Err(error), Err(other)) => return Err(error.because(other.one_line())),
        (Err(error), Ok(())) | (Ok(_), Err(error)) => return Err(error),
    };
    checkpoint::pass("complete-original-stopped");
    let now = kept.cluster.control_file()?;
    let mut changes = Changes::default();
    match &kept.next_transaction {
        None => changes.unproven.push("whether anybody has written into it: its next transaction was not noted".into()),
        Some(then) => {
            let mut passed = |since: &str, then: &str, now: &str| {
                if then != now {
                    changes
                        .found
                        .push(format!("transactions were made in it {since}: the next one was {then}, and is {now}"));
                }
            };
            passed("since the upgrade", then, &before.next_transaction);
            passed("while it was read", &before.next_transaction, &now.next_transaction);
        }
    }
    Ok((database, others, changes))
}

/// What a move has left may be gone, as is its owner's right: then nothing completes the restore point any more, and nothing is
/// to wait for it.
fn way_out(point: &Point, error: Error) -> Error {
    let first = error.next_step().map(|step| format!("{step}; ")).unwrap_or_default();
    let (id, path) = (&point.head.id, shell::word(&point.path));
    let store = shell::word(point.path.parent().unwrap_or(&point.path));
    error.with_hint(format!(
        "{first}if that database is gone for good, nothing completes this restore point, and it holds up every later upgrade: \
         get its files out if you need them (mm-backup restore {id} --files --into DIR --to {store}), then remove it: \
         mm-backup unpin {id} --to {store} && rm -rf {path}"
    ))
}

/// The database that the move has left, as the server came to it.
fn source(work: &Work<'_>, left: &Left) -> Result<(DataSource, Database)> {
    let installation = work.installation;
    let source = DataSource::parse_for(left.source.reveal(), &installation.owner.name)?;
    let own = Database::connect(&source, Some(&installation.owner))?;
    if !left.moved.from.is(&own)? {
        return Err(Error::refused(format!("{} is another database now", left.moved.from.label()))
            .because("its server or its number there is not what it was when it was moved"));
    }
    Ok((source, own))
}

fn from_source(
    work: &Work<'_>,
    part: &OriginalPart,
    (left, (source, own)): (&Left, (DataSource, Database)),
    directory: &Path,
    lock: &LockGuard,
) -> Result<Read> {
    let installation = work.installation;
    let claim = Claim {
        role: &source.user,
        state: installation.state.path(),
        accepted: work.accepts_database,
        lock: Some(lock),
    };
    let reader = database::reader(&own, &claim);
    complete::begin(directory)?;
    let cancel = Arc::new(AtomicBool::new(false));
    let database = View::take_original(reader, part, left.hashed, &cancel)?.store(directory, work.jobs)?;
    Ok((database, Vec::new(), Changes::default()))
}
