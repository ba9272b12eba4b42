//! Further names of files that have several.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use mm_common::contract::error::Result;
use mm_common::machine::tree::{Attributes, Dir, Meta};

use super::Collection;
use crate::collected::Collected;
use crate::entry::store_file;
use crate::guard;
use crate::manifest::Entry;

/// A further name of a file with several, to be linked when all else is there.
pub(super) struct Further {
    /// The name.
    pub path: PathBuf,
    /// The one that was met first, and what was stored under it.
    pub first: Arc<FirstName>,
    /// What was seen of it.
    pub meta: Meta,
    /// Whether it is opened with the server's rights.
    pub guarded: bool,
}

/// The name under which a file with several was met first.
pub(super) struct FirstName {
    /// The name.
    pub path: PathBuf,
    /// What was stored.
    pub entry: OnceLock<Entry>,
}

/// Gives files their further names. Where the first name did not make it, or has as many names as the file system
/// allows, the file is stored again.
pub(super) fn link(collection: &Collection<'_>, further: &[Further], collected: &mut Collected) -> Result<()> {
    let top = Dir::open(collection.target)?;
    let place = |path: &Path| -> Result<Option<(Dir, OsString)>> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
        Ok(top.descend(parent.strip_prefix("/").unwrap_or(parent))?.map(|dir| (dir, name.to_owned())))
    };
    for Further { path, first, meta, guarded } in further {
        let Some((dir, name)) = place(path)? else { continue };
        let times = dir.meta()?.mtime;
        let linked = match (first.entry.get(), place(&first.path)?) {
            (Some(entry), Some((other, other_name))) if dir.link(&name, &other, &other_name)? => Some(entry),
            _ => None,
        };
        if let Some(entry) = linked {
            let (path, first) = (path.clone().into(), Some(first.path.clone().into()));
            collected.entries.push(Entry { path, same_as: first, ino: meta.ino, ..entry.clone() });
        } else {
            let mut found = Collected::default();
            collect_again(collection, path, *guarded, (&dir, &name), &mut found)?;
            collected.take_over(&mut found);
        }
        Attributes::touch(dir.file(), times, dir.path())?;
    }
    Ok(())
}

/// Stores the file under this name by itself.
fn collect_again(
    collection: &Collection<'_>,
    path: &Path,
    guarded: bool,
    (dir, name): (&Dir, &OsStr),
    found: &mut Collected,
) -> Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    let open = || -> Result<_> {
        collection.guard.open(guarded, || match Dir::reach(parent)? {
            Some(source) => source.open_file(name),
            None => Ok(None),
        })
    };
    match guard::left_out(store_file(&open, dir, None, name, path, &mut found.damaged), guarded, path)? {
        Ok(stored) => found.add(collection.plan, stored, path),
        Err(denied) => found.denied.push(denied),
    }
    Ok(())
}
