//! Puts staged copies into their places, one exchange each, with a journal: a run that was killed half-way is undone by
//! the next one. What was there stays in the staging directory.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use mm_common::contract::error::{Error, Kind, Result};
use mm_common::contract::ui;
use mm_common::contract::version::Edition;
use mm_common::machine::checkpoint;
use mm_common::machine::journal::{self, Journal};
use mm_common::machine::lock::LockGuard;
use mm_common::machine::signals;
use mm_common::machine::state::State;
use mm_common::machine::tree::{self, Attributes, Dir, Identity, Place, Places, Time};
use mm_common::mattermost::site::Installation;
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::copies;
use crate::held::HeldServer;
use crate::kept::{self, Kept};
use crate::replace::{self, Renaming};
use crate::store::Point;
use crate::text::Name;
use crate::wish::Wish;

/// The journal's name in the state directory.
pub(crate) const JOURNAL: &str = journal::RESTORE;

/// The one flag of a restore that does not choose what is restored.
pub(crate) const LEAVE_STOPPED: &[u8] = b"--leave-stopped";

/// One name that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Move {
    /// Where the entry is or will be.
    pub target: Name,
    /// Where its new contents are, and its old ones afterwards.
    pub staged: Name,
    /// Inode of the new contents; absent when there are none and the entry only goes away.
    pub ino: Option<u64>,
    /// Whether there is something at the target now.
    pub had: bool,
    /// What that is. An earlier program wrote no such key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Identity>,
}

/// What is about to be done, on disk before it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    /// The restore point.
    pub id: String,
    /// The store it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<Name>,
    /// The flags that say what is restored. An earlier program wrote no such key.
    #[serde(default)]
    pub flags: Vec<Name>,
    /// The release that the restore point is of: it is taken for what is installed where that does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// Its edition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edition: Option<Edition>,
    /// Names that change.
    pub moves: Vec<Move>,
    /// Staging directories, to be removed when all is undone.
    pub stages: Vec<Name>,
    /// Directories that are gone into and not exchanged, with the time of their last change.
    #[serde(default)]
    pub entered: Vec<Entered>,
    /// The database that gets its name after the moves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Renaming>,
    /// The restored server, which nobody can start before its database has its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<HeldServer>,
}

impl Intent {
    /// Of a restore that has not done anything yet.
    pub(crate) fn of(point: &Point, wish: &Wish) -> Self {
        Self {
            id: point.head.id.clone(),
            store: point.store(),
            flags: wish.flags.clone(),
            version: Some(point.head.version.clone()),
            edition: Some(point.head.edition),
            ..Self::default()
        }
    }

    /// Whether all of the restore point is restored.
    pub(crate) fn is_everything(&self) -> bool {
        self.flags.iter().all(|flag| flag.as_bytes() == LEAVE_STOPPED)
    }

    /// Whether the server was to stay stopped after it.
    pub(crate) fn leaves_stopped(&self) -> bool {
        self.flags.iter().any(|flag| flag.as_bytes() == LEAVE_STOPPED)
    }
}

/// A directory that stays and gets other entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entered {
    /// Where it is.
    pub path: Name,
    /// Its time, which moving entries changes.
    #[serde(with = "crate::text::time")]
    pub mtime: Time,
    /// Its mode and owner, which it may get others of.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// What it is to have in the end.
    #[serde(skip)]
    pub attributes: Option<Attributes>,
}

impl Entered {
    fn open(&self) -> Result<Option<Dir>> {
        open(self.path.as_path())
    }

    /// Gives it what it is to have in the end.
    fn dress(&self) -> Result<()> {
        if let (Some(attributes), Some(dir)) = (&self.attributes, self.open()?) {
            attributes.apply(dir.file(), dir.path())?;
        }
        Ok(())
    }

    /// Gives it back what it had.
    fn undress(&self) -> Result<()> {
        let Some(dir) = self.open()? else { return Ok(()) };
        let meta = dir.meta()?;
        if (meta.mode, meta.uid, meta.gid) == (self.mode, self.uid, self.gid) {
            return Attributes::touch(dir.file(), self.mtime, dir.path());
        }
        let Self { mode, uid, gid, mtime, .. } = *self;
        Attributes { mode, uid, gid, mtime, xattrs: Vec::new() }.apply(dir.file(), dir.path()).map(|_| ())
    }
}

impl Move {
    /// Does it. Each end is reached through directories that are no links.
    fn make(&self) -> Result<()> {
        self.at_its_places(|places| places.forward())
    }

    /// Undoes it if it was done.
    ///
    /// # Errors
    /// Somebody has put something else at the target since: what was there before stands in the staging directory, which
    /// would be removed next.
    fn undo(&self) -> Result<()> {
        self.at_its_places(|places| match places.place()? {
            Some(Place::Old) => Ok(()),
            Some(Place::New) if !places.is_taken()? => places.back(),
            // Nothing was there before, and what is there now is none of ours.
            Some(Place::New) if places.old.is_none() => Ok(()),
            _ => Err(Error::failed(format!("cannot put `{}` back", self.target)).because(format!(
                "somebody has put something else in its place; what was there before is `{}`",
                self.staged
            ))),
        })
    }

    fn at_its_places(&self, act: impl FnOnce(Places<'_>) -> Result<()>) -> Result<()> {
        let (live, aside) = (place(&self.target)?, place(&self.staged)?);
        let (target, staged) = ((&live.0, live.1), (&aside.0, aside.1));
        let device = aside.0.meta()?.dev;
        let new = self.ino.map(|inode| Identity { device, inode });
        let old = match self.old {
            // Before it is made it has the name, afterwards its counterpart.
            None if self.had => {
                let waiting = Identity::of(staged.0, staged.1)?;
                if waiting.is_none() || waiting == new { Identity::of(target.0, target.1)? } else { waiting }
            }
            old => old,
        };
        act(Places { live: target, aside: staged, old, new })?;
        live.0.sync()
    }
}

fn place(path: &Name) -> Result<(Dir, &OsStr)> {
    let path = path.as_path();
    let lost = || Error::failed(format!("cannot reach `{}`", path.display()));
    let parent = path.parent().ok_or_else(lost)?;
    let dir = open(parent)?.ok_or_else(lost)?;
    Ok((dir, path.file_name().ok_or_else(lost)?))
}

/// Names of staging directories are on disk before the directories are made.
pub(crate) fn announce(state: &State, intent: &Intent, lock: &LockGuard) -> Result<()> {
    Journal::at(state.path(), JOURNAL).write(intent, lock)
}

/// Makes all moves. If anything fails, they are undone and the machine is as before, or it is half done (exit 3).
pub(crate) fn flip(state: &State, intent: &Intent, lock: &LockGuard) -> Result<()> {
    Journal::at(state.path(), JOURNAL).write(intent, lock)?;
    make(intent).map_err(|error| take_back(state, intent, error, lock))
}

fn make(intent: &Intent) -> Result<()> {
    for made in &intent.moves {
        checkpoint::pass("restore-move");
        made.make()?;
    }
    checkpoint::pass("restore-moved");
    intent.entered.iter().rev().try_for_each(Entered::dress)
}

/// The moves stay as they are.
pub(crate) fn settle(state: &State, lock: &LockGuard) -> Result<()> {
    Journal::at(state.path(), JOURNAL).close(lock)
}

/// All of it is restored: the server may be started.
pub(crate) fn conclude(state: &State, intent: &Intent, lock: &LockGuard) -> Result<()> {
    if let Some(held) = &intent.held {
        held.release(lock)?;
    }
    if let Some(renaming) = &intent.database {
        // A frozen copy is the server's database now.
        copies::forget(state, &renaming.new, lock)?;
    }
    settle(state, lock)
}

/// Undoes the moves of an intent after a failure, which is what is reported; half done when that fails, too.
pub(crate) fn take_back(state: &State, intent: &Intent, error: Error, lock: &LockGuard) -> Error {
    let _undo = signals::undoing(format!("undoing the restore of {}, within some seconds", intent.id));
    match undo(intent).and_then(|()| settle(state, lock)) {
        Ok(()) => error,
        Err(other) => half_done(&Journal::at(state.path(), JOURNAL), error.because(other.one_line())),
    }
}

/// The last move is undone first.
fn undo(intent: &Intent) -> Result<()> {
    intent.moves.iter().rev().try_for_each(Move::undo)?;
    intent.entered.iter().rev().try_for_each(Entered::undress)
}

/// A restore that was cut off.
pub(crate) fn interrupted(state: &State) -> Result<Option<Intent>> {
    Journal::at(state.path(), JOURNAL).read()
}

/// What has become of a restore that was cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Recovered {
    /// There was none.
    Nothing,
    /// It is undone.
    Undone,
    /// That of this restore point is finished.
    Finished(String),
}

/// Undoes what a killed restore has left half-way; or finishes it, when the database has its new name already, which is
/// the last step and cannot be half-done.
pub(crate) fn recover(state: &State, installation: Option<&Installation>, lock: &LockGuard) -> Result<Recovered> {
    let journal = Journal::at(state.path(), JOURNAL);
    let Some(intent) = journal.read::<Intent>()? else { return Ok(Recovered::Nothing) };
    if let Some(renaming) = &intent.database {
        let installation = installation.ok_or_else(|| {
            half_done(&journal, Error::failed("a restore was cut off, and its database cannot be looked at"))
        })?;
        if replace::is_done(installation, renaming).map_err(|error| half_done(&journal, error))? {
            let record = Kept {
                id: intent.id.clone(),
                stamp: mm_common::contract::time::stamp(),
                directories: intent.stages.iter().map(|stage| stage.as_path().to_owned()).collect(),
                databases: renaming.kept.iter().cloned().collect(),
            };
            kept::write(state, &record, lock)?;
            conclude(state, &intent, lock)?;
            ui::warn(&format!("a restore of {} had been cut off at its end; it is finished", intent.id));
            return Ok(Recovered::Finished(intent.id));
        }
    }
    undo(&intent).map_err(|error| half_done(&journal, error))?;
    // What a move is undone by goes away now; a run that is cut off here has nothing but that to go on with.
    let intent = Intent { moves: Vec::new(), entered: Vec::new(), database: None, held: None, ..intent };
    journal.write(&intent, lock)?;
    for stage in &intent.stages {
        match tree::remove_without_links(stage.as_path()) {
            // Whoever owns a directory above it does not keep us from restoring for ever.
            Err(error) if error.kind() == Kind::Refused => {
                ui::warn(&format!("`{stage}` is left over, wherever it is now: {}", error.one_line()));
            }
            removed => removed?,
        }
        checkpoint::pass("restore-undone");
    }
    journal.close(lock)?;
    ui::warn(&format!("a restore of {} had been cut off half-way; it is undone", intent.id));
    Ok(Recovered::Undone)
}

/// Everything is restored; only the note of it is missing, so the machine is not as before.
pub(crate) fn unrecorded(state: &State, error: Error) -> Error {
    let error = error.within("everything is restored, but that could not be recorded");
    half_done(&Journal::at(state.path(), JOURNAL), error)
}

fn half_done(journal: &Journal, error: Error) -> Error {
    error.of_kind(Kind::HalfDone).with_hint(format!(
        "the journal `{}` says what was exchanged; fix the cause, then: mm-backup recover, with the same --install and --state-dir",
        journal.path().display()
    ))
}

/// Which names change when `target` gets the staged copy at `staged`. A directory that is, or holds, a mount point, or
/// that holds something the restore point leaves out on purpose, is not exchanged but gone into.
pub(crate) struct Moves<'a> {
    /// Mount points at or below the roots.
    pub mounts: &'a [PathBuf],
    /// What the restore point leaves out.
    pub excluded: &'a [Name],
    /// Names to change.
    pub all: Vec<Move>,
    /// Directories gone into.
    pub entered: Vec<Entered>,
}

impl Moves<'_> {
    /// Adds the moves for one name. `staged` is a directory on the file system of `target`.
    pub(crate) fn add(&mut self, target: &Path, staged: &Path) -> Result<()> {
        let (target_name, staged_name) = (Name::from(target.to_owned()), Name::from(staged.to_owned()));
        if self.excluded.contains(&target_name) {
            return Ok(());
        }
        let there = look(&target_name)?;
        let new = look(&staged_name)?;
        let both_directories = there.is_some_and(|meta| meta.is_dir) && new.is_some_and(|meta| meta.is_dir);
        let keep_something = self.mounts.iter().any(|mount| mount.starts_with(target))
            || self.excluded.iter().any(|path| path.as_path().starts_with(target));
        if !(both_directories && keep_something) {
            if there.is_some() || new.is_some() {
                self.all.push(Move {
                    target: target_name,
                    staged: staged_name,
                    ino: new.map(|meta| meta.identity.inode),
                    had: there.is_some(),
                    old: there.map(|meta| meta.identity),
                });
            }
            return Ok(());
        }
        let (Some(here), Some(copy)) = (open(target)?, open(staged)?) else { return Ok(()) };
        let meta = copy.meta()?;
        let before = here.meta()?;
        self.entered.push(Entered {
            path: target.to_owned().into(),
            mtime: before.mtime,
            mode: before.mode,
            uid: before.uid,
            gid: before.gid,
            attributes: Some(Attributes::of_file(copy.file(), &meta, staged)?),
        });
        let mut all: Vec<OsString> = here.names()?.into_iter().chain(copy.names()?).collect();
        all.sort();
        all.dedup();
        for name in all.into_iter().filter(|name| !name.as_encoded_bytes().starts_with(b".mm-restore-")) {
            let target = target.join(&name);
            // What is mounted there has a staging directory, and moves, of its own.
            if !self.mounts.contains(&target) {
                self.add(&target, &staged.join(&name))?;
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct There {
    identity: Identity,
    is_dir: bool,
}

fn look(path: &Name) -> Result<Option<There>> {
    let parent = path.as_path().parent().unwrap_or(Path::new("/"));
    let Some(dir) = open(parent)? else { return Ok(None) };
    let meta = dir.look(path.as_path().file_name().unwrap_or_default())?;
    Ok(meta.map(|meta| There {
        identity: Identity { device: meta.dev, inode: meta.ino },
        is_dir: meta.kind == tree::Kind::Directory,
    }))
}

fn open(path: &Path) -> Result<Option<Dir>> {
    Dir::without_links(path)
}

#[cfg(test)]
mod tests;
