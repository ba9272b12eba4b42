//! The restore point before: what has not changed since is linked and not copied.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use mm_common::contract::error::Result;
use mm_common::machine::tree::Meta;

use crate::manifest::{Entry, Kind, Reader};
use crate::store::Point;

/// The files of a restore point.
pub(crate) struct Previous {
    /// Its directory `files`.
    pub files: PathBuf,
    entries: Vec<Entry>,
}

impl Previous {
    /// Reads the manifest of a restore point. Its digest must be right: what it says is believed.
    pub(crate) fn read(point: &Point) -> Result<Self> {
        point.proven_manifest()?;
        let mut reader = Reader::open(&point.path)?;
        let mut entries = Vec::new();
        while let Some(entry) = reader.next()? {
            if entry.kind == Kind::File && !entry.changed {
                entries.push(entry);
            }
        }
        Ok(Self { files: point.path.join("files"), entries })
    }

    /// The entry of a file of which nothing has changed: size, both times and inode are as they were. The time of the
    /// last change of anything (ctime) cannot be set by its owner, so a file that was replaced, rewritten with its old
    /// times, or given another mode or attribute is noticed.
    pub(crate) fn unchanged(&self, path: &Path, meta: &Meta) -> Option<&Entry> {
        let wanted = path.as_os_str().as_bytes();
        let index = self.entries.binary_search_by(|entry| entry.path.as_bytes().cmp(wanted)).ok()?;
        let entry = &self.entries[index];
        let same = entry.bytes == meta.bytes
            && entry.mtime == meta.mtime
            && entry.ctime == meta.ctime
            && entry.ino == meta.ino;
        same.then_some(entry)
    }
}
