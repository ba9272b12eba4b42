//! `create`: makes a restore point.

mod head;
mod room;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use mm_common::contract::error::{Error, Result};
use mm_common::contract::progress::Meter;
use mm_common::contract::sections::{Backup, Freeze};
use mm_common::contract::{time, ui};
use mm_common::machine::lock::LockGuard;
use mm_common::machine::service::STOP_LIMIT;
use mm_common::machine::{checkpoint, command, files, pins, signals, threads, tree};
use mm_common::mattermost::health::Started;
use mm_common::mattermost::site::Installation;
use mm_common::postgres::proven::Claim;

use crate::collect::{self, Collection};
use crate::collected::Collected;
use crate::database::{self, Onlooker, View};
use crate::entries;
use crate::first::{Begun, First};
use crate::freeze::{self, Outlook, Ready, Taken};
use crate::guard::Guard;
use crate::manifest::{self, DatabasePart, OriginalPart, Skipped};
use crate::mysql;
use crate::pinning;
use crate::plan::Plan;
use crate::previous::Previous;
use crate::reuse;
use crate::store::{Point, Store};
use crate::trust;
use crate::whose::Whose;

use head::Databases;

/// What is to be made.
pub(crate) struct Order<'a> {
    /// The installation.
    pub installation: &'a Installation,
    /// The store.
    pub store: &'a Store,
    /// The plan.
    pub plan: &'a Plan,
    /// `--rehash`.
    pub rehash: bool,
    /// `--jobs`.
    pub jobs: usize,
    /// The upgrade run this belongs to.
    pub run: Option<String>,
    /// The upgrade run for which it is pinned.
    pub pinned_for: Option<String>,
    /// `--pin-all`.
    pub pins_all: bool,
    /// `--accept database`.
    pub accepts_database: bool,
    /// What dumps the database, where that is one of MySQL.
    pub mysql: Option<mysql::Ready>,
    /// With `--freeze`: whether the database can be frozen.
    pub freezing: Option<Outlook>,
}

impl Order<'_> {
    /// On whose behalf a superuser reads the database.
    pub(crate) fn claim<'a>(&'a self, lock: Option<&'a LockGuard>) -> Claim<'a> {
        crate::database::claim(self.installation, self.accepts_database, lock)
    }

    /// What freezes the database, where it can be frozen.
    fn ready(&self) -> Option<&Ready> {
        match &self.freezing {
            Some(Outlook::Ready(ready)) => Some(ready),
            _ => None,
        }
    }

    /// The database, where the hop leaves it as it is.
    fn left(&self) -> Option<&OriginalPart> {
        match &self.freezing {
            Some(Outlook::Left(part)) => Some(part),
            _ => None,
        }
    }

    /// Writes down that the copy will be made, where one will.
    fn announce_copy(&self, id: &str, lock: &LockGuard) -> Result<()> {
        self.ready().map_or(Ok(()), |ready| ready.announce(self.installation, (id, self.store), lock))
    }

    /// What the document says of it.
    fn freeze(&self, taken: &Taken) -> Option<Freeze> {
        let reason = match self.freezing.as_ref()? {
            Outlook::Plain(why) | Outlook::Tight(why) => Some(why.clone()),
            Outlook::Ready(_) | Outlook::Left(_) => taken.reason.clone(),
        };
        let original = taken.original.as_ref().map(|part| part.database.label());
        let copy = taken.frozen.as_ref().map(|part| part.copy.copy.clone());
        let checkpointed = self.ready().is_some_and(|ready| ready.checkpointed);
        Some(Freeze { copy, original, reason, checkpointed, ..Freeze::default() })
    }
}

/// Makes a restore point. If anything fails, what was made is removed; the service is the caller's to put back. A server
/// that was started again is the caller's to wait for.
pub(crate) fn create(order: &Order<'_>, lock: &LockGuard) -> Result<(Backup, Option<Started>)> {
    let started = Instant::now();
    let removed = order.store.remove_leftovers()?;
    if removed > 0 {
        ui::say(&format!("removed {} of runs that were cut off", ui::count(removed, "unfinished restore point")));
    }
    let (points, root) = (order.store.list()?.0, &order.installation.root);
    let of_place = points.iter().filter(|point| point.head.install == *root);
    let sequence = of_place.map(|point| point.head.sequence).max().unwrap_or(0) + 1;
    let whose = Whose::at(root);
    let previous = points.into_iter().rfind(|point| whose.has(&point.head));
    let expected = room::require(order, previous.as_ref())?;
    let id = order.store.new_id()?;
    let partial = order.store.begin(&id)?;
    checkpoint::pass("partial-begun");
    signals::leads_to(match (order.plan.stop, order.installation.was_running) {
        (true, true) => "removing what there is of the restore point, and starting the server again as it ran before",
        _ => "removing what there is of the restore point",
    });
    let made = make(order, (&id, sequence, expected), &partial, previous.as_ref(), started, lock);
    let failed = match made {
        Ok(backup) => return Ok(backup),
        Err(error) => error,
    };
    let is_named = !matches!(files::look(&order.store.path.join(&id)), Ok(None));
    if is_named && !matches!(files::look(&partial), Ok(Some(_))) {
        // It needs its copy and its pin.
        return Err(failed.hint(format!(
            "the restore point {id} is there, but may not outlast a failure of power: mm-backup verify {id}"
        )));
    }
    let failed = failed.hint(format!(
        "nothing of it was kept; the earlier restore points in `{}` are as they were",
        order.store.path.display()
    ));
    if let Some(ready) = order.ready() {
        ready.give_up(order.installation, (&id, &order.store.path), lock);
    }
    if let Err(error) = pins::release(&order.store.path, &id) {
        ui::warn(&error.one_line());
    }
    if let Err(error) = tree::remove(&partial) {
        ui::warn(&format!("{}; the next run removes it", error.one_line()));
    }
    Err(failed)
}

fn make(
    order: &Order<'_>,
    (id, sequence, expected): (&str, u64, u64),
    partial: &Path,
    previous: Option<&Point>,
    started: Instant,
    lock: &LockGuard,
) -> Result<(Backup, Option<Started>)> {
    let installation = order.installation;
    let files = partial.join("files");
    files::create_directory(&files, 0o700)?;
    // The failure of one part ends the others.
    let cancel = order.ready().map_or_else(Arc::default, Ready::cancel);
    // What can be known before the stop is known before it.
    let claim = order.claim(Some(lock));
    let dumps = order.plan.database && order.ready().is_none() && order.left().is_none();
    let onlooker = dumps.then(|| Onlooker::of_server(installation, &claim, &cancel)).transpose()?;
    let config_onlooker = Onlooker::of_configuration(installation, &claim, &cancel)?;
    let known = match previous {
        Some(point) if !order.rehash => believed(point).map_err(|error| ui::warn(&error.one_line())).ok(),
        _ => None,
    };
    let guard = Guard::of(installation, order.plan)?;
    let collection = |first| Collection {
        plan: order.plan,
        target: &files,
        previous: known.as_ref(),
        first,
        jobs: order.jobs,
        guard: &guard,
        cancel: &cancel,
    };
    order.announce_copy(id, lock)?;
    let meter = Meter::passing("storing files", Some(expected));
    let first = if order.plan.stop && installation.service.is_running()? {
        stop_after_first_pass(installation, &collection(None), lock)?
    } else {
        None
    };
    let cold = !installation.service.is_running()?;
    // The database is seen first: a file that its rows name was there before them.
    let view = onlooker.map(|onlooker| onlooker.look(&cancel)).transpose()?;
    let config_view = config_onlooker.map(|onlooker| onlooker.look(&cancel)).transpose()?;
    let created = view.as_ref().map_or_else(time::now, |view| view.taken.clone());
    checkpoint::pass("snapshot-taken");
    let collection = collection(first.as_ref());
    let collect = || collect::collect(&collection).inspect_err(|_| cancel.store(true, Ordering::Relaxed));
    let what = (view.as_ref(), &claim, cold);
    let (database, collected) = store_beside(order, (id, partial), what, (&cancel, lock), collect);
    let (database, mut collected) = both(database, collected)?;
    let other_databases = store_others(order, partial, &cancel)?;
    let config_database = config_view.as_ref().map(|view| view.store(partial, order.jobs)).transpose()?;
    drop((view, config_view));
    if let Some(first) = first {
        first.join(&mut collected);
    }
    drop(meter);
    checkpoint::pass("collected");
    signals::check()?;
    let mut again = None;
    if order.plan.start {
        // Everything is copied; what remains does not concern the server.
        again = Some(Started::command(installation, lock)?);
        checkpoint::pass("service-started");
    }
    accept(&collected)?;
    let left_out = tell_denied(&collected.denied);
    reuse::tell(&collected.damaged, order.store, previous)?;
    let freeze = order.freeze(&database);
    let databases = Databases { own: database, config: config_database, others: other_databases };
    let mut head = head::of(order, (id, sequence), (created, cold), databases, &collected);
    head.totals.seconds = started.elapsed().as_secs_f64();
    let manifest_sha256 = manifest::write(partial, &head, collected.entries.sorted()?)?;
    tree::remove(&partial.join(entries::DIRECTORY))?;
    checkpoint::pass("manifest-written");
    files::sync_file_system(partial)?;
    checkpoint::pass("synced");
    signals::check()?;
    let superseded = pinning::pin(order, id)?;
    let path = order.store.finish(partial, id)?;
    pinning::release(order.store, &superseded);
    checkpoint::pass("finished");
    let backup = Backup {
        id: id.into(),
        store: order.store.path.clone(),
        manifest: path.join(manifest::NAME),
        path,
        manifest_sha256,
        created: head.created.clone(),
        cold,
        bytes: head.totals.bytes,
        files: head.totals.files,
        database: head.database_name().is_some(),
        databases: head.in_cluster(),
        mysql: head.mysql.as_ref().map(|part| part.told(&order.store.path.join(id))),
        left_out,
        freeze,
        left_stopped: order.plan.stop && !order.plan.start && installation.was_running,
        seconds: started.elapsed().as_secs_f64(),
    };
    Ok((backup, again))
}

/// Stores the database while `collect` stores the files. The failure of either ends the other.
fn store_beside<C>(
    order: &Order<'_>,
    (id, partial): (&str, &Path),
    (view, claim, cold): (Option<&View>, &Claim<'_>, bool),
    (cancel, lock): (&Arc<AtomicBool>, &LockGuard),
    collect: impl FnOnce() -> C,
) -> (Result<Taken>, C) {
    let give_up = || cancel.store(true, Ordering::Relaxed);
    match (view, order.ready(), &order.mysql) {
        (Some(view), ..) => {
            let dump = || view.store(partial, order.jobs).inspect_err(|_| give_up()).map(Taken::from);
            threads::both(dump, collect)
        }
        (None, Some(ready), _) => {
            let place = freeze::Place { id, store: &order.store.path, partial, jobs: order.jobs };
            let freeze = || ready.freeze((order.installation, claim), &place, cancel, lock).inspect_err(|_| give_up());
            threads::both(freeze, collect)
        }
        (None, None, Some(ready)) => {
            let dump = || ready.store(partial, cold, cancel).inspect_err(|_| give_up());
            let (dumped, collected) = threads::both(dump, collect);
            (dumped.map(|part| Taken { mysql: Some(part), ..Taken::default() }), collected)
        }
        (None, None, None) => (Ok(Taken { original: order.left().cloned(), ..Taken::default() }), collect()),
    }
}

/// What both parts have made. Of two errors the one that did not come from the other's end is the one to tell of.
fn both<A, B>(one: Result<A>, other: Result<B>) -> Result<(A, B)> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (Err(error), Err(other)) if error.causes().iter().any(|cause| cause == command::CANCELLED) => Err(other),
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

fn stop_after_first_pass(
    installation: &Installation,
    collection: &Collection<'_>,
    lock: &LockGuard,
) -> Result<Option<First>> {
    let first = first_pass(collection)?;
    checkpoint::pass("first-pass");
    installation.service.stop(STOP_LIMIT, lock)?;
    checkpoint::pass("service-stopped");
    Ok(first)
}

/// Stores what can be stored while the server still runs. Nothing of it counts before the pass after the stop has seen that
/// it is still so.
fn first_pass(collection: &Collection<'_>) -> Result<Option<First>> {
    let begun = match Begun::now(collection.plan) {
        Ok(begun) => begun,
        Err(error) => {
            ui::say(&format!("storing everything after the stop: {}", error.one_line()));
            return Ok(None);
        }
    };
    let collected = collect::collect(collection)?;
    ui::progress_done();
    First::of(collected, &begun, collection.previous).map(Some)
}

/// The restore point before, when nobody can have changed what it says.
fn believed(point: &Point) -> Result<Previous> {
    trust::require(point, false)?;
    Previous::read(point)
}

/// The other databases of the cluster, when they are wanted, each as a snapshot of its own shows it.
fn store_others(order: &Order<'_>, partial: &Path, cancel: &Arc<AtomicBool>) -> Result<Vec<DatabasePart>> {
    if !order.plan.whole_cluster || order.left().is_some() {
        return Ok(Vec::new());
    }
    let store = |other| View::take_other(other, cancel)?.store(partial, order.jobs);
    database::others(&order.installation.database()?, &order.claim(None))?.into_iter().map(store).collect()
}

/// How many of the things left out are named: a directory of temporary files can vanish as a whole.
const NAMED: usize = 10;

/// Refuses what changed each time it was read, and says what was left out.
fn accept(collected: &Collected) -> Result<()> {
    if let Some(first) = collected.restless.first() {
        return Err(Error::failed(format!("`{}` changed each time it was read", first.display()))
            .because(format!(
                "{} did; somebody is changing the installation",
                ui::count(collected.restless.len(), "file")
            ))
            .hint("wait until that is over, or leave them out with --exclude"));
    }
    for Skipped { path, why } in collected.skipped.iter().take(NAMED) {
        ui::say(&format!("left out: `{path}`: {why}"));
    }
    if collected.skipped.len() > NAMED {
        ui::say(&format!("left out: {} in all; the manifest names them", collected.skipped.len()));
    }
    Ok(())
}

/// Says what the configuration names and is left out all the same; returns it for the document.
fn tell_denied(denied: &[Skipped]) -> Vec<String> {
    let mut said: Vec<String> =
        denied.iter().take(NAMED).map(|Skipped { path, why }| format!("`{path}` is not stored: {why}")).collect();
    if denied.len() > NAMED {
        said.push(format!(
            "{} are not stored for that in all; the manifest names them",
            ui::count(denied.len(), "entry")
        ));
    }
    for line in &said {
        ui::warn(line);
    }
    said
}
