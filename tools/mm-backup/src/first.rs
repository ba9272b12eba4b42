//! The first pass of `--stop`: what can be stored while the server still runs is stored then. The pass after the stop looks
//! at everything again, and stores anew what is not as the first one saw it, by size, both times and inode.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use mm_common::contract::digest::Hasher;
use mm_common::contract::error::{Error, Result};
use mm_common::machine::files;
use mm_common::machine::tree::{Dir, Meta, Time};

use crate::collected::Collected;
use crate::entries::{Entries, Filter};
use crate::entry::CLOCK_STEP;
use crate::manifest::{Entry, Kind};
use crate::plan::Plan;
use crate::previous::Previous;
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
    entries: Entries,
    known: Arc<Known>,
    /// Copies in the store that turned out to be damaged.
    damaged: Vec<Damage>,
}

/// Whether the file was linked from the restore point before.
const LINKED: u8 = 1;
/// Whether the file is still what was stored.
const KEPT: u8 = 2;

/// By which a file is known again: a hash of its path and of all that [`Entry::is_of`] compares. So the pass after the stop,
/// while users wait, reads nothing.
type Mark = [u8; 16];

/// Files of one name that did not change while they were read.
struct Known {
    marks: Vec<Mark>,
    /// What is known of each.
    state: Vec<AtomicU8>,
}

fn mark(path: &[u8], (bytes, mtime, ctime, ino): (u64, Time, Time, u64)) -> Mark {
    let mut hasher = Hasher::default();
    for number in [bytes, ino] {
        hasher.update(&number.to_le_bytes());
    }
    for time in [mtime, ctime] {
        hasher.update(&time.seconds.to_le_bytes());
        hasher.update(&time.nanoseconds.to_le_bytes());
    }
    hasher.update(path);
    let [mark, _] = *hasher.finish_as_bytes().as_chunks::<16>().0 else { return Mark::default() };
    mark
}

impl Known {
    fn find(&self, mark: &Mark) -> Option<&AtomicU8> {
        self.marks.binary_search(mark).ok().and_then(|index| self.state.get(index))
    }

    fn is_kept(&self, entry: &Entry) -> bool {
        let mark = mark(entry.path.as_bytes(), (entry.bytes, entry.mtime, entry.ctime, entry.ino));
        entry.kind == Kind::File && self.find(&mark).is_some_and(|state| state.load(Ordering::Relaxed) & KEPT != 0)
    }
}

impl First {
    /// Takes over what a pass has found.
    pub(crate) fn of(collected: Collected, begun: &Begun, previous: Option<&Previous>) -> Result<Self> {
        let Collected { entries, damaged, .. } = collected;
        let mut all = Vec::with_capacity(usize::try_from(entries.tally().files).unwrap_or_default().min(1 << 24));
        entries.each(&mut |entry| {
            if entry.kind == Kind::File && entry.same_as.is_none() && !entry.changed && entry.ctime < begun.0 {
                let before = previous.and_then(|previous| previous.of(entry.path.as_bytes()));
                let is_linked = before.is_some_and(|before| before.stored == entry.stored);
                let mark = mark(entry.path.as_bytes(), (entry.bytes, entry.mtime, entry.ctime, entry.ino));
                all.push((mark, if is_linked { LINKED } else { 0 }));
            }
        })?;
        all.sort_unstable();
        let (marks, state) = all.into_iter().map(|(mark, state)| (mark, AtomicU8::new(state))).unzip();
        Ok(Self { entries, known: Arc::new(Known { marks, state }), damaged })
    }

    /// Whether a file is as it was stored; from now on it is part of the restore point. Says whether it was linked from the
    /// one before. A file of several names is none: which of them was the first is for each pass to say.
    pub(crate) fn keep(&self, path: &Path, meta: &Meta) -> Option<bool> {
        if meta.names > 1 {
            return None;
        }
        let mark = mark(path.as_os_str().as_bytes(), (meta.bytes, meta.mtime, meta.ctime, meta.ino));
        let before = self.known.find(&mark)?.fetch_or(KEPT, Ordering::Relaxed);
        Some(before & LINKED != 0)
    }

    /// Adds what is kept of it to what the pass after it has stored.
    pub(crate) fn join(self, collected: &mut Collected) {
        let known = self.known;
        let filter: Arc<Filter> = Arc::new(move |entry: &Entry| known.is_kept(entry));
        collected.entries.join(self.entries, &filter);
        collected.damaged.extend(self.damaged);
    }
}
