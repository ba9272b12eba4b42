//! Stores one file: as a link into the previous restore point, or as a copy that is hashed while it is made.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use mm_common::contract::digest::Hasher;
use mm_common::contract::error::{Error, Result};
use mm_common::machine::tree::{self, Attributes, Dir, Holes, Meta};

use crate::manifest::{Entry, Kind, StoredAs};
use crate::reuse::{self, Damage, Reused};
use crate::text::Digest;

/// How often a file is read that changes meanwhile, and how long to wait before the next time. An upload or a rewritten
/// configuration is done by then; a log never is.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(100);

/// File systems keep times in steps of the kernel's timer, which is 10 ms at its slowest.
pub(crate) const CLOCK_STEP: Duration = Duration::from_millis(20);

/// A file that is larger is not read again when it grew: that is a log, and would grow again.
const LARGE: u64 = 64 * 1024 * 1024;

/// What became of a file.
pub(crate) enum Stored {
    /// It is a second name of the file in the previous restore point.
    Linked(Entry),
    /// It was copied.
    Copied(Entry),
    /// It was gone before it could be opened.
    Vanished,
}

/// The copy of a file in the previous restore point.
pub(crate) struct Before<'a> {
    /// Its entry there.
    pub known: &'a Entry,
    /// The directory it stands in.
    pub directory: &'a Dir,
    /// Whether `verify` has found the copy with this inode damaged.
    pub is_suspect: &'a dyn Fn(u64) -> bool,
}

/// Stores the file that `open` opens as `name` in `target`. `before` is its copy in the previous restore point, when nothing of
/// the file has changed since; what has become of that copy is added to `damaged`.
pub(crate) fn store_file(
    open: &dyn Fn() -> Result<Option<File>>,
    target: &Dir,
    before: Option<&Before<'_>>,
    name: &OsStr,
    path: &Path,
    damaged: &mut Vec<Damage>,
) -> Result<Stored> {
    if let Some(before) = before {
        match reuse::link(target, before, name)? {
            Reused::Linked(stored) => {
                let path = path.to_owned().into();
                let entry = Entry { path, same_as: None, stored: Some(stored), ..before.known.clone() };
                return Ok(Stored::Linked(entry));
            }
            Reused::CannotBeLinked => {}
            Reused::Damaged(ino, why) => damaged.push(Damage { path: path.to_owned().into(), ino, why }),
        }
    }
    let mut tries = 1;
    loop {
        let Some(entry) = copy(open, target, name, path)? else { return Ok(Stored::Vanished) };
        if !entry.changed || tries == TRIES || entry.bytes > LARGE {
            return Ok(Stored::Copied(entry));
        }
        target.remove_entry(name)?;
        tries += 1;
        std::thread::sleep(PAUSE);
    }
}

/// What the file system says about a file whose last change is old enough that a change from now on gets another time.
/// Otherwise the next run could not tell this file from one that was changed once more in the same instant.
fn settled(file: &File, path: &Path) -> Result<Meta> {
    let meta = Meta::of(file, path)?;
    let changed = u64::try_from(meta.ctime.seconds).unwrap_or_default();
    let changed = UNIX_EPOCH + Duration::from_secs(changed) + Duration::from_nanos(meta.ctime.nanoseconds.into());
    match changed.elapsed() {
        Ok(age) if age < CLOCK_STEP => {
            std::thread::sleep(CLOCK_STEP.saturating_sub(age));
            Meta::of(file, path)
        }
        // Older, or from the future: a clock was set.
        _ => Ok(meta),
    }
}

fn copy(open: &dyn Fn() -> Result<Option<File>>, target: &Dir, name: &OsStr, path: &Path) -> Result<Option<Entry>> {
    let Some(file) = open()? else { return Ok(None) };
    let meta = settled(&file, path)?;
    let attributes = Attributes::of_file(&file, &meta, path)?;
    let made = target.create_file(name)?;
    let mut hasher = Hasher::default();
    let bytes = tree::contents(&file, &made, &mut hasher, Holes::Few).map_err(|error| {
        let full = error.kind() == std::io::ErrorKind::StorageFull;
        let error = Error::io("store", path, error);
        if full { error.hint("make room in the store (mm-backup prune), then run this again") } else { error }
    })?;
    let after = Meta::of(&file, path)?;
    // What the store's file system cannot keep stands in the manifest all the same.
    attributes.apply(&made, &target.path().join(name))?;
    let mut entry = entry_of(path, Kind::File, &meta, attributes.xattrs);
    entry.bytes = bytes;
    entry.sha256 = Digest::parse(&hasher.finish());
    let stored = Meta::of(&made, &target.path().join(name))?;
    entry.stored = Some(StoredAs { ino: stored.ino, mtime: stored.mtime });
    entry.changed = bytes != after.bytes || meta.mtime != after.mtime || meta.bytes != after.bytes;
    Ok(Some(entry))
}

/// The entry of what was seen, without what only one kind has.
pub(crate) fn entry_of(path: &Path, kind: Kind, meta: &Meta, xattrs: Vec<(String, Vec<u8>)>) -> Entry {
    Entry {
        path: path.to_owned().into(),
        kind,
        mode: meta.mode,
        uid: meta.uid,
        gid: meta.gid,
        bytes: 0,
        sha256: None,
        target: None,
        same_as: None,
        mtime: meta.mtime,
        ctime: meta.ctime,
        ino: meta.ino,
        xattrs,
        stored: None,
        changed: false,
    }
}
