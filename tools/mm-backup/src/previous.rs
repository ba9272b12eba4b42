//! The restore point before: what has not changed since is linked and not copied.
//!
//! Its manifest stays on disk: held in memory is only where in it the entry of a path begins.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::BuildHasher as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use mm_common::contract::error::Result;
use mm_common::machine::files;
use mm_common::machine::tree::{Dir, Meta};

use crate::manifest::{self, Entry, Kind, Reader};
use crate::store::Point;
use crate::suspects::{self, Suspect};

/// As much as is read of a manifest for one entry at first.
const LINE: usize = 1024;
/// No line is longer: extended attributes are limited, and so are names.
const LONGEST: usize = 1 << 20;

/// The files of a restore point.
pub(crate) struct Previous {
    /// Its directory `files`, if it is there.
    files: Option<Dir>,
    manifest: File,
    /// The hash of each path, and where its entry begins; ordered.
    index: Vec<(u64, u64)>,
    hasher: RandomState,
    suspects: HashSet<Suspect>,
}

impl Previous {
    /// Reads the manifest of a restore point. Its digest must be right: what it says is believed.
    pub(crate) fn read(point: &Point) -> Result<Self> {
        point.proven_manifest()?;
        let mut reader = Reader::open(&point.path)?;
        let hasher = RandomState::new();
        let mut index = Vec::with_capacity(usize::try_from(reader.head.totals.files).unwrap_or_default().min(1 << 24));
        loop {
            let begins = reader.position();
            let Some(entry) = reader.next()? else { break };
            if entry.kind == Kind::File && !entry.changed {
                index.push((hasher.hash_one(entry.path.as_bytes()), begins));
            }
        }
        index.sort_unstable();
        let files = point.path.join("files");
        let is_there = files::look(&files)?.is_some_and(|data| data.is_dir());
        let files = is_there.then(|| Dir::open(&files)).transpose()?;
        let manifest = files::open_nofollow(&point.path.join(manifest::NAME))?;
        Ok(Self { files, manifest, index, hasher, suspects: suspects::all(files::parent(&point.path)?)? })
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

    /// The entry of a file of which nothing has changed. One that cannot be read is none: the file is stored anew.
    pub(crate) fn unchanged(&self, path: &Path, meta: &Meta) -> Option<Entry> {
        self.of(path.as_os_str().as_bytes()).filter(|entry| entry.is_of(meta))
    }

    /// The entry of a path.
    pub(crate) fn of(&self, path: &[u8]) -> Option<Entry> {
        let hash = self.hasher.hash_one(path);
        let first = self.index.partition_point(|(other, _)| *other < hash);
        let same = self.index[first..].iter().take_while(|(other, _)| *other == hash);
        same.filter_map(|(_, begins)| self.entry_at(*begins)).find(|entry| entry.path.as_bytes() == path)
    }

    fn entry_at(&self, begins: u64) -> Option<Entry> {
        let mut bytes = vec![0; LINE];
        loop {
            let read = self.manifest.read_at(&mut bytes, begins).ok()?;
            if let Some(end) = bytes[..read].iter().position(|byte| *byte == b'\n') {
                return manifest::understand(&bytes[..end]).ok();
            }
            if read < bytes.len() || bytes.len() >= LONGEST {
                return None;
            }
            bytes.resize(bytes.len() * 8, 0);
        }
    }
}
