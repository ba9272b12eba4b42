//! Stores trees: copies what is new, links what the previous restore point has already, and writes down everything.
//! Several threads take directories from one pile; the pile is last-in-first-out, so few directories are open at once.

mod further;
mod second;

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use mm_common::contract::error::{Error, Result};
use mm_common::machine::tree::{self, Attributes, Dir, Kind as There, Meta};
use mm_common::machine::{command, files, signals, threads};

use crate::collected::{Collected, vanished};
use crate::entries;
use crate::entry::{Before, Stored, entry_of, store_file};
use crate::first::First;
use crate::guard::{self, Guard};
use crate::manifest::{Kind, Root, Skipped};
use crate::plan::{Excludes, Plan};
use crate::previous::Previous;

use further::{FirstName, Further};

/// What is to be stored, and where.
pub(crate) struct Collection<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The directory `files` of the restore point.
    pub target: &'a Path,
    /// The restore point before.
    pub previous: Option<&'a Previous>,
    /// What the pass before the stop has stored there.
    pub first: Option<&'a First>,
    /// How many threads.
    pub jobs: usize,
    /// Opens what lies outside of the install root.
    pub guard: &'a Guard,
    /// Set when another part has failed.
    pub cancel: &'a AtomicBool,
}

/// A directory to be stored. Its copy is there already, empty.
struct Task {
    source: Arc<Dir>,
    target: Arc<Dir>,
    previous: Option<Arc<Dir>>,
    name: OsString,
    path: PathBuf,
    below: PathBuf,
    depth: usize,
    guarded: bool,
}

/// An entry that is no directory, and where it is to be stored.
struct Found<'a> {
    source: &'a Dir,
    target: &'a Dir,
    previous: Option<&'a Arc<Dir>>,
    name: &'a OsStr,
    path: &'a Path,
    meta: Meta,
    guarded: bool,
    /// The first pass may have stored something of this name.
    is_there: bool,
}

#[derive(Default)]
struct Shared {
    pile: Vec<Task>,
    busy: usize,
    error: Option<Error>,
    collected: Collected,
    first_names: HashMap<(u64, u64), Arc<FirstName>>,
    further: Vec<Further>,
}

struct Workers<'a> {
    collection: &'a Collection<'a>,
    excludes: Excludes,
    shared: Mutex<Shared>,
    changed: Condvar,
}

/// Stores everything that the plan names.
pub(crate) fn collect(collection: &Collection<'_>) -> Result<Collected> {
    let workers = Workers {
        collection,
        excludes: Excludes::new(&collection.plan.exclude),
        shared: Mutex::default(),
        changed: Condvar::new(),
    };
    for root in &collection.plan.roots {
        workers.begin(root)?;
    }
    threads::several(collection.jobs, || workers.work());
    let mut shared = workers.shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = shared.error.take() {
        return Err(error);
    }
    let further = std::mem::take(&mut shared.further);
    let mut collected = shared.collected;
    further::link(collection, &further, &mut collected)?;
    collected.entries.spill(&waiting(collection)?, entries::HELD)?;
    collected.excluded.sort_unstable();
    Ok(collected)
}

/// Where entries wait that are too many to be held.
fn waiting(collection: &Collection<'_>) -> Result<PathBuf> {
    Ok(files::parent(collection.target)?.join(entries::DIRECTORY))
}

impl Workers<'_> {
    fn begin(&self, root: &Root) -> Result<()> {
        let missing = || Error::io("store", &root.path, "it is not there");
        let parent = root.path.parent().ok_or_else(missing)?;
        let name = root.path.file_name().ok_or_else(missing)?;
        let guarded = self.collection.guard.guards(root);
        let source = match self.collection.guard.admit(parent, name, &root.path, guarded)? {
            Ok(source) => source.ok_or_else(missing)?,
            Err(denied) => {
                self.take_over(Collected { denied: vec![denied], ..Collected::default() })?;
                return self.forget_root(root);
            }
        };
        let below = parent.strip_prefix("/").unwrap_or(parent);
        let target = Dir::open(self.collection.target)?.descend_creating(below)?;
        let previous = match self.collection.previous {
            Some(previous) => previous.directory(below)?.map(Arc::new),
            None => None,
        };
        let task = Task {
            source: Arc::new(source),
            target: Arc::new(target),
            previous,
            name: name.into(),
            path: root.path.clone(),
            below: PathBuf::new(),
            depth: 0,
            guarded,
        };
        let meta = task.source.look(name)?.ok_or_else(missing)?;
        if meta.kind == There::Directory {
            self.make_directory(&task.target, name)?;
            self.shared().pile.push(task);
            return Ok(());
        }
        let Task { source, target, previous, .. } = &task;
        let mut found = Collected::default();
        let previous = previous.as_ref();
        let is_there = self.collection.first.is_some();
        self.entry(&Found { source, target, previous, name, path: &root.path, meta, guarded, is_there }, &mut found)?;
        self.take_over(found)
    }

    fn work(&self) {
        loop {
            let task = {
                let mut shared = self.shared();
                loop {
                    if shared.error.is_some() {
                        return;
                    }
                    if let Some(task) = shared.pile.pop() {
                        shared.busy += 1;
                        break task;
                    }
                    if shared.busy == 0 {
                        return;
                    }
                    shared = self.changed.wait(shared).unwrap_or_else(PoisonError::into_inner);
                }
            };
            let result = self.check().and_then(|()| self.directory(&task));
            drop(task);
            let mut shared = self.shared();
            shared.busy -= 1;
            if let Err(error) = result {
                shared.error.get_or_insert(error);
            }
            drop(shared);
            self.changed.notify_all();
        }
    }

    fn check(&self) -> Result<()> {
        signals::check()?;
        if self.collection.cancel.load(Ordering::Relaxed) {
            return Err(Error::failed("the files were not stored").because(command::CANCELLED));
        }
        Ok(())
    }

    fn directory(&self, task: &Task) -> Result<()> {
        task.target.refuse_deeper_than(task.depth)?;
        let Some(target) = task.target.child(&task.name)? else {
            return Err(Error::io("open the directory", task.target.path().join(&task.name), "it is gone"));
        };
        let mut found = Collected::default();
        let Some(source) = self.enter(task, &mut found)? else {
            tree::remove_in(&task.target, &task.name)?;
            return self.take_over(found);
        };
        let previous = match &task.previous {
            Some(previous) => previous.child_directory(&task.name)?.map(Arc::new),
            None => None,
        };
        let (source, target) = (Arc::new(source), Arc::new(target));
        let meta = source.meta()?;
        let attributes = Attributes::of_file(source.file(), &meta, &task.path)?;
        let mut tasks = Vec::new();
        // What the first pass has stored here and is not there any more, in the end.
        let mut gone = BTreeSet::new();
        if self.collection.first.is_some() {
            target.let_us_in()?;
            gone.extend(target.names()?);
        }
        for name in source.names()? {
            let (path, below) = (task.path.join(&name), task.below.join(&name));
            if self.excludes.has(&path, &below) {
                found.excluded.push(path.into());
                continue;
            }
            let Some(meta) = source.look(&name)? else {
                found.skipped.push(vanished(&path));
                continue;
            };
            let is_there = gone.remove(&name);
            if meta.kind == There::Directory {
                self.make_directory(&target, &name)?;
                tasks.push(Task {
                    source: Arc::clone(&source),
                    target: Arc::clone(&target),
                    previous: previous.clone(),
                    name,
                    path,
                    below,
                    depth: task.depth + 1,
                    guarded: task.guarded,
                });
                continue;
            }
            let (previous, guarded) = (previous.as_ref(), task.guarded && !self.collection.guard.is_named(&path));
            let (source, target) = (&source, &target);
            let entry = Found { source, target, previous, name: &name, path: &path, meta, guarded, is_there };
            self.entry(&entry, &mut found)?;
        }
        for name in &gone {
            tree::remove_in(&target, name)?;
        }
        // All its entries are there by now, so nothing changes its times any more.
        attributes.apply(target.file(), target.path())?;
        found.entries.push(entry_of(&task.path, Kind::Directory, &meta, attributes.xattrs));
        self.take_over(found)?;
        // The first of them is worked on first.
        self.shared().pile.extend(tasks.into_iter().rev());
        self.changed.notify_all();
        Ok(())
    }

    /// Opens the directory of a task; `None`, and said in `found`, when it is gone or not for the server.
    fn enter(&self, task: &Task, found: &mut Collected) -> Result<Option<Dir>> {
        match self.collection.guard.directory(&task.source, &task.name, &task.path, task.guarded)? {
            Ok(Some(opened)) => return Ok(Some(opened)),
            Ok(None) => found.skipped.push(vanished(&task.path)),
            Err(denied) => found.denied.push(denied),
        }
        Ok(None)
    }

    fn entry(&self, entry: &Found<'_>, found: &mut Collected) -> Result<()> {
        let Found { source, target, previous, name, path, meta, guarded, is_there } = *entry;
        if is_there {
            if self.is_kept(entry, found)? {
                return Ok(());
            }
            tree::remove_in(target, name)?;
        }
        match meta.kind {
            There::Symlink => {
                let link = match guard::left_out(self.open(entry, || source.link_target(name)), guarded, path)? {
                    Ok(link) => link,
                    Err(denied) => {
                        found.denied.push(denied);
                        return Ok(());
                    }
                };
                target.create_symlink(name, &link)?;
                let attributes = Attributes::of_symlink(source, name, &meta)?;
                attributes.apply_to_symlink(target, name)?;
                let mut entry = entry_of(path, Kind::Symlink, &meta, attributes.xattrs);
                entry.target = Some(link.into());
                found.entries.push(entry);
            }
            There::File => {
                // The copy of before is linked on only for who could read the file now.
                let meta = match guard::left_out(self.seen(entry), guarded, path)? {
                    Ok(meta) => meta,
                    Err(denied) => {
                        found.denied.push(denied);
                        return Ok(());
                    }
                };
                let first = if meta.names > 1 {
                    let Some(first) = self.first_name(path, meta, guarded) else { return Ok(()) };
                    Some(first)
                } else {
                    None
                };
                let open = || self.open(entry, || source.open_file(name));
                let known = self.collection.previous.and_then(|before| before.unchanged(path, &meta));
                let is_suspect = |ino| self.collection.previous.is_some_and(|before| before.is_suspect(path, ino));
                let before = known.as_ref().zip(previous).map(|(known, directory)| Before {
                    known,
                    directory,
                    is_suspect: &is_suspect,
                });
                let stored = store_file(&open, target, before.as_ref(), name, path, &mut found.damaged)?;
                if let (Some(first), Stored::Linked(entry) | Stored::Copied(entry)) = (first, &stored) {
                    let _ = first.entry.set(entry.clone());
                }
                found.add(self.collection.plan, stored, path);
            }
            There::Directory | There::Special => {
                found
                    .skipped
                    .push(Skipped { path: path.to_owned().into(), why: "it is a socket, a fifo or a device".into() });
            }
        }
        Ok(())
    }

    fn open<T>(&self, entry: &Found<'_>, open: impl FnOnce() -> Result<T>) -> Result<T> {
        self.collection.guard.open(entry.guarded, open)
    }

    /// What is known of a file: when it is guarded, of the one that the server can open.
    fn seen(&self, entry: &Found<'_>) -> Result<Meta> {
        if !entry.guarded {
            return Ok(entry.meta);
        }
        match self.open(entry, || entry.source.open_file(entry.name))? {
            Some(file) => Meta::of(&file, entry.path),
            None => Ok(entry.meta),
        }
    }

    /// Notes the name of a file that has several. Returns it when it is the first one; a further one is linked in the end.
    fn first_name(&self, path: &Path, meta: Meta, guarded: bool) -> Option<Arc<FirstName>> {
        let mut shared = self.shared();
        if let Some(first) = shared.first_names.get(&(meta.dev, meta.ino)).cloned() {
            shared.further.push(Further { path: path.into(), first, meta, guarded });
            return None;
        }
        let first = Arc::new(FirstName { path: path.into(), entry: OnceLock::new() });
        shared.first_names.insert((meta.dev, meta.ino), Arc::clone(&first));
        Some(first)
    }

    fn take_over(&self, mut found: Collected) -> Result<()> {
        let mut shared = self.shared();
        shared.collected.take_over(&mut found);
        shared.collected.entries.spill(&waiting(self.collection)?, entries::HELD)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
