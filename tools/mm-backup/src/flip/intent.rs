//! What a restore into place is about to do, on disk before it does it: names that change, and directories that are gone into.

use std::ffi::OsStr;
use std::path::Path;

use mm_common::contract::error::{Error, Result};
use mm_common::contract::version::Edition;
use mm_common::machine::tree::{Attributes, Dir, Identity, Place, Places, Time};
use semver::Version;
use serde::{Deserialize, Serialize};

use super::LEAVE_STOPPED;
use crate::held::HeldServer;
use crate::replace::Renaming;
use crate::store::Point;
use crate::text::Name;
use crate::wish::Wish;

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
    pub(super) fn dress(&self) -> Result<()> {
        if let (Some(attributes), Some(dir)) = (&self.attributes, self.open()?) {
            attributes.apply(dir.file(), dir.path())?;
        }
        Ok(())
    }

    /// Gives it back what it had.
    pub(super) fn undress(&self) -> Result<()> {
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
    pub(super) fn make(&self) -> Result<()> {
        self.at_its_places(|places| places.forward())
    }

    /// Undoes it if it was done.
    ///
    /// # Errors
    /// Somebody has put something else at the target since: what was there before stands in the staging directory, which
    /// would be removed next.
    pub(super) fn undo(&self) -> Result<()> {
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

pub(super) fn open(path: &Path) -> Result<Option<Dir>> {
    Dir::without_links(path)
}
