//! The first pass of `--stop`: what can be stored while the server still runs is stored then. The pass after the stop looks
//! at everything again, and stores anew what is not as the first one saw it, by size, both times and inode.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use mm_common::contract::error::{Error, Result};
use mm_common::machine::files;
use mm_common::machine::tree::{Dir, Meta, Time};

use crate::collected::Collected;
use crate::entry::CLOCK_STEP;
use crate::manifest::{Entry, Kind};
use crate::plan::Plan;
use crate::reuse::Damage;

/// From when on a change is seen in a file's times.
pub(crate) struct Begun(Time);

impl Begun {
    /// Puts what is in memory only on disk, before anything is stored. A program that writes into a file through its own
    /// memory (mmap) changes the file's times at its first write after that, and not again before the next time
    /// (`file_update_time` in the kernel's page faults): a file that changed since may be written on without a sign.
    pub(crate) fn now(plan: &Plan) -> Result<Self> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(CLOCK_STEP);
        for root in &plan.roots {
            let is_directory = files::look(&root.path)?.is_some_and(|data| data.is_dir());
            let place = if is_directory { &root.path } else { files::parent(&root.path)? };
            let Some(directory) = Dir::without_links(place)? else { continue };
            nix::unistd::syncfs(directory.file())
                .map_err(|error| Error::io("sync the file system of", place, error.desc()))?;
        }
        Ok(Self(Time {
            seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            nanoseconds: since.subsec_nanos(),
        }))
    }
}

/// What the first pass has stored.
pub(crate) struct First {
    /// Files of one name that did not change while they were read, ordered by path.
    entries: Vec<Entry>,
    /// Which of them are still what was stored.
    kept: Vec<AtomicBool>,
    /// Copies in the store that turned out to be damaged.
    damaged: Vec<Damage>,
}

impl First {
    /// Takes over what a pass has found.
    pub(crate) fn of(collected: Collected, begun: &Begun) -> Self {
        let Collected { mut entries, damaged, .. } = collected;
        entries.retain(|entry| {
            entry.kind == Kind::File && entry.same_as.is_none() && !entry.changed && entry.ctime < begun.0
        });
        let kept = entries.iter().map(|_| AtomicBool::new(false)).collect();
        Self { entries, kept, damaged }
    }

    /// The entry of a file that is as it was stored, and from now on is part of the restore point. A file of several names
    /// is none: which of them was the first is for each pass to say.
    pub(crate) fn keep(&self, path: &Path, meta: &Meta) -> Option<&Entry> {
        if meta.names > 1 {
            return None;
        }
        let wanted = path.as_os_str().as_bytes();
        let index = self.entries.binary_search_by(|entry| entry.path.as_bytes().cmp(wanted)).ok()?;
        let entry = self.entries.get(index).filter(|entry| entry.is_of(meta))?;
        self.kept.get(index)?.store(true, Ordering::Relaxed);
        Some(entry)
    }

    /// Adds what is kept of it to what the pass after it has stored.
    pub(crate) fn join(self, collected: &mut Collected) {
        let kept = self.entries.into_iter().zip(self.kept);
        collected.entries.extend(kept.filter_map(|(entry, kept)| kept.into_inner().then_some(entry)));
        collected.entries.sort_unstable_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
        collected.damaged.extend(self.damaged);
    }
}
