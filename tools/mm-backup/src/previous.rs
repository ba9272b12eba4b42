//! The restore point before: what has not changed since is linked and not copied.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use mm_common::contract::error::Result;
use mm_common::machine::files;
use mm_common::machine::tree::{Dir, Meta};

use crate::manifest::{Entry, Kind, Reader};
use crate::store::Point;
use crate::suspects::{self, Suspect};

/// The files of a restore point.
pub(crate) struct Previous {
    /// Its directory `files`, if it is there.
    files: Option<Dir>,
    entries: Vec<Entry>,
    suspects: HashSet<Suspect>,
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
        let files = point.path.join("files");
        let is_there = files::look(&files)?.is_some_and(|data| data.is_dir());
        let files = is_there.then(|| Dir::open(&files)).transpose()?;
        Ok(Self { files, entries, suspects: suspects::all(files::parent(&point.path)?)? })
    }

    /// Its directory at `below`; `None` when nothing or anything else is there.
    pub(crate) fn directory(&self, below: &Path) -> Result<Option<Dir>> {
        let Some(files) = &self.files else { return Ok(None) };
        files.descend_directories(below)
    }

    /// Whether `verify` has found the copy of a file, if it has this inode, damaged.
    pub(crate) fn is_suspect(&self, path: &Path, ino: u64) -> bool {
        !self.suspects.is_empty() && self.suspects.contains(&Suspect { path: path.to_owned().into(), ino })
    }

    /// The entry of a file of which nothing has changed.
    pub(crate) fn unchanged(&self, path: &Path, meta: &Meta) -> Option<&Entry> {
        let wanted = path.as_os_str().as_bytes();
        let index = self.entries.binary_search_by(|entry| entry.path.as_bytes().cmp(wanted)).ok()?;
        let entry = &self.entries[index];
        entry.is_of(meta).then_some(entry)
    }
}
