//! Which names a restore into place changes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use mm_common::contract::error::Result;
use mm_common::machine::tree::{self, Attributes, Identity};

use super::intent::{Entered, Move, open};
use crate::text::Name;

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
