//! Links a stored file on into the next restore point, when it is still what was stored.

use std::ffi::OsStr;
use std::path::Path;

use mm_common::contract::digest;
use mm_common::contract::error::{Error, Result};
use mm_common::contract::ui;
use mm_common::machine::signals::{self, Heeding};
use mm_common::machine::tree::{Dir, Kind as There};

use crate::entry::Before;
use crate::manifest::{self, StoredAs};
use crate::store::{Point, Store};
use crate::text::Name;

/// How many damaged copies are named; the rest is counted.
const NAMED: usize = 10;

/// What became of a stored file.
pub(crate) enum Reused {
    /// It has a second name in the new restore point.
    Linked(StoredAs),
    /// The file system does not let it have one.
    CannotBeLinked,
    /// It is not what was stored: the inode that is there, and why.
    Damaged(Option<u64>, String),
}

/// A copy in the store that is not what was stored.
#[derive(Debug)]
pub(crate) struct Damage {
    /// The file's path on the machine.
    pub path: Name,
    /// The inode that stands there in the store, if one does.
    pub ino: Option<u64>,
    /// What is wrong.
    pub why: String,
}

/// Gives the copy of the restore point before a second name in `target`. Where its inode or its time is another one (the
/// store was copied, or brought back from an archive that keeps whole seconds) or was not remembered, its contents are
/// hashed, this once.
pub(crate) fn link(target: &Dir, before: &Before<'_>, name: &OsStr) -> Result<Reused> {
    let Before { known, directory, is_suspect } = before;
    let Some(there) = directory.look(name)? else {
        return Ok(Reused::Damaged(None, "it is gone".into()));
    };
    let damaged = |why: String| Ok(Reused::Damaged(Some(there.ino), why));
    if there.kind != There::File {
        return damaged("it is no regular file any more".into());
    }
    if there.bytes != known.bytes {
        return damaged(format!("it has {} bytes, {} were stored", there.bytes, known.bytes));
    }
    if is_suspect(there.ino) {
        return damaged("verify has found other contents (SHA-256)".into());
    }
    if known.stored.is_none_or(|stored| (stored.ino, stored.mtime) != (there.ino, there.mtime)) {
        let Some(file) = directory.open_file(name)? else {
            return Ok(Reused::Damaged(None, "it is gone".into()));
        };
        let read = digest::of_reader(&mut Heeding(file));
        signals::check()?;
        match read {
            Ok(found) if known.sha256.is_some_and(|stored| stored.to_string() == found) => {}
            Ok(_) => return damaged("its contents have changed (SHA-256)".into()),
            Err(error) => return damaged(Error::io("read", directory.path().join(name), error).one_line()),
        }
    }
    if target.link(name, directory, name)? {
        return Ok(Reused::Linked(StoredAs { ino: there.ino, mtime: there.mtime }));
    }
    Ok(Reused::CannotBeLinked)
}

/// Says which copies were damaged, and which restore points have them.
pub(crate) fn tell(damaged: &[Damage], store: &Store, previous: Option<&Point>) -> Result<()> {
    if damaged.is_empty() {
        return Ok(());
    }
    let (points, _) = store.list()?;
    for Damage { path, ino, why } in damaged.iter().take(NAMED) {
        let sharing = |point: &&Point| {
            ino.is_some_and(|ino| stored_inode(point, path.as_path()).ok().flatten() == Some(ino))
                || previous.is_some_and(|previous| previous.head.id == point.head.id)
        };
        let sharing: Vec<&str> = points.iter().filter(sharing).map(|point| point.head.id.as_str()).collect();
        ui::warn(&format!(
            "`{path}` is stored anew: its copy in the store is damaged: {why}; the damage is in {}",
            sharing.join(", ")
        ));
    }
    if damaged.len() > NAMED {
        ui::warn(&format!("{} were stored anew for that in all", ui::count(damaged.len(), "file")));
    }
    Ok(())
}

/// The inode of a point's copy.
fn stored_inode(point: &Point, path: &Path) -> Result<Option<u64>> {
    let (parent, name) = manifest::place(path);
    let mut files = point.files()?;
    let Some(dir) = files.directory(parent)? else { return Ok(None) };
    Ok(dir.look(name)?.map(|meta| meta.ino))
}
