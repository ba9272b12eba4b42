//! The entries of a restore point while it is made. A million of them would take more than half a gigabyte of memory, so no more
//! than some thousands are held: the others wait in sorted files within the restore point, and are merged when the manifest is
//! written.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeSet, BinaryHeap};
use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering as Memory};

use mm_common::contract::error::{Context as _, Error, Result};
use mm_common::machine::files;
use mm_common::machine::tree::Meta;

use crate::manifest::{Entry, Kind};

/// The directory of those files in a restore point under construction.
pub(crate) const DIRECTORY: &str = ".entries";

/// How many are held in memory: about 8 MB.
pub(crate) const HELD: usize = 16 * 1024;

/// The buffer of each file that is merged.
const BUFFER: usize = 32 * 1024;

/// Names the files, those of both passes.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// What the head of the manifest says of all entries.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Owners.
    pub users: BTreeSet<u32>,
    /// Their groups.
    pub groups: BTreeSet<u32>,
    /// Regular files.
    pub files: u64,
    /// Their bytes, those of a file with several names once.
    pub bytes: u64,
}

impl Tally {
    fn add(&mut self, entry: &Entry) {
        self.users.insert(entry.uid);
        self.groups.insert(entry.gid);
        if entry.kind == Kind::File {
            self.files += 1;
            self.bytes += if entry.same_as.is_none() { entry.bytes } else { 0 };
        }
    }

    fn take(&mut self, other: &mut Self) {
        self.users.append(&mut other.users);
        self.groups.append(&mut other.groups);
        self.files += std::mem::take(&mut other.files);
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

/// Which entries of a file count.
pub(crate) type Filter = dyn Fn(&Entry) -> bool + Send + Sync;

/// A file of entries, one a line, ordered by path. It goes when nobody reads it any more.
struct Waiting {
    path: PathBuf,
    filter: Option<Arc<Filter>>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // Its directory is removed before the restore point gets its name.
        let _ = files::remove_file(&self.path);
    }
}

/// Entries in no order.
#[derive(Default)]
pub(crate) struct Entries {
    held: Vec<Entry>,
    waiting: Vec<Waiting>,
    tally: Tally,
}

impl std::fmt::Debug for Entries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} entries held, {} files of them waiting", self.held.len(), self.waiting.len())
    }
}

impl Entries {
    /// Adds one.
    pub(crate) fn push(&mut self, entry: Entry) {
        self.tally.add(&entry);
        self.held.push(entry);
    }

    /// Takes over all of `other`.
    pub(crate) fn append(&mut self, other: &mut Self) {
        self.held.append(&mut other.held);
        self.waiting.append(&mut other.waiting);
        self.tally.take(&mut other.tally);
    }

    /// Counts a file whose entry the pass before has.
    pub(crate) fn count(&mut self, meta: &Meta) {
        self.tally.users.insert(meta.uid);
        self.tally.groups.insert(meta.gid);
        self.tally.files += 1;
        self.tally.bytes += meta.bytes;
    }

    /// Adds those of `before` that the filter lets through; they are counted already.
    pub(crate) fn join(&mut self, before: Self, filter: &Arc<Filter>) {
        let Self { held, waiting, .. } = before;
        self.held.extend(held.into_iter().filter(|entry| filter(entry)));
        self.waiting.extend(waiting.into_iter().map(|mut waiting| {
            waiting.filter = Some(Arc::clone(filter));
            waiting
        }));
    }

    /// What is to be said of them in the head.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Lets those that are held wait in a file in `directory`, where they are more than `most`.
    pub(crate) fn spill(&mut self, directory: &Path, most: usize) -> Result<()> {
        if self.held.len() <= most {
            return Ok(());
        }
        files::create_directory(directory, 0o700)?;
        self.held.sort_unstable_by(by_path);
        let path = directory.join(NUMBER.fetch_add(1, Memory::Relaxed).to_string());
        let file = File::create_new(&path).map_err(|error| Error::io("create", &path, error))?;
        let failed = |error: std::io::Error| Error::io("write", &path, error);
        // From here on it is removed again, whatever comes.
        self.waiting.push(Waiting { path: path.clone(), filter: None });
        let mut file = BufWriter::with_capacity(BUFFER, file);
        for entry in &self.held {
            serde_json::to_writer(&mut file, entry).context(|| format!("cannot write `{}`", path.display()))?;
            file.write_all(b"\n").map_err(failed)?;
        }
        file.flush().map_err(failed)?;
        self.held.clear();
        Ok(())
    }

    /// Looks at each of them, in no order.
    pub(crate) fn each(&self, look: &mut dyn FnMut(&Entry)) -> Result<()> {
        self.held.iter().for_each(&mut *look);
        for waiting in &self.waiting {
            let mut lines = Lines::of(waiting)?;
            while let Some(entry) = lines.next()? {
                look(&entry);
            }
        }
        Ok(())
    }

    /// All of them in the order of their paths.
    pub(crate) fn sorted(self) -> Result<Sorted> {
        let Self { mut held, waiting, .. } = self;
        held.sort_unstable_by(by_path);
        let lines = waiting.iter().map(Lines::of).collect::<Result<_>>()?;
        let mut sorted = Sorted { held: held.into_iter(), lines, next: BinaryHeap::new(), _waiting: waiting };
        for source in 0..=sorted.lines.len() {
            sorted.advance(source)?;
        }
        Ok(sorted)
    }
}

fn by_path(one: &Entry, other: &Entry) -> Ordering {
    one.path.as_bytes().cmp(other.path.as_bytes())
}

/// A file of entries being read.
struct Lines {
    file: BufReader<File>,
    path: PathBuf,
    filter: Option<Arc<Filter>>,
    line: Vec<u8>,
}

impl Lines {
    fn of(waiting: &Waiting) -> Result<Self> {
        let file = BufReader::with_capacity(BUFFER, files::open_nofollow(&waiting.path)?);
        Ok(Self { file, path: waiting.path.clone(), filter: waiting.filter.clone(), line: Vec::new() })
    }

    fn next(&mut self) -> Result<Option<Entry>> {
        loop {
            self.line.clear();
            let read = self.file.read_until(b'\n', &mut self.line);
            if read.map_err(|error| Error::io("read", &self.path, error))? == 0 {
                return Ok(None);
            }
            let entry = serde_json::from_slice(&self.line);
            let entry = entry.map_err(|error| Error::io("understand", &self.path, error))?;
            if self.filter.as_ref().is_none_or(|filter| filter(&entry)) {
                return Ok(Some(entry));
            }
        }
    }
}

/// The next entry of a source.
struct Next {
    entry: Entry,
    source: usize,
}

impl Ord for Next {
    fn cmp(&self, other: &Self) -> Ordering {
        by_path(&self.entry, &other.entry).then(self.source.cmp(&other.source))
    }
}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Next {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Next {}

/// Entries in the order of their paths, one by one.
pub(crate) struct Sorted {
    held: std::vec::IntoIter<Entry>,
    lines: Vec<Lines>,
    next: BinaryHeap<Reverse<Next>>,
    _waiting: Vec<Waiting>,
}

impl Sorted {
    /// The next one.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>> {
        let Some(Reverse(Next { entry, source })) = self.next.pop() else { return Ok(None) };
        self.advance(source)?;
        Ok(Some(entry))
    }

    /// Takes the next entry of a source: the first one is what is held, the others are files.
    fn advance(&mut self, source: usize) -> Result<()> {
        let entry = match source.checked_sub(1).and_then(|index| self.lines.get_mut(index)) {
            Some(lines) => lines.next()?,
            None => self.held.next(),
        };
        self.next.extend(entry.map(|entry| Reverse(Next { entry, source })));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use mm_common::machine::tree::Time;
    use proptest::prelude::*;

    use super::*;

    fn entry(name: &str, bytes: u64) -> Entry {
        let time = Time { seconds: 1, nanoseconds: 2 };
        Entry {
            path: PathBuf::from(name).into(),
            kind: Kind::File,
            mode: 0o640,
            uid: 7,
            gid: 8,
            bytes,
            sha256: None,
            target: None,
            same_as: None,
            mtime: time,
            ctime: time,
            ino: 1,
            xattrs: Vec::new(),
            stored: None,
            changed: false,
        }
    }

    fn names(mut sorted: Sorted) -> Vec<String> {
        std::iter::from_fn(|| sorted.next().unwrap()).map(|entry| entry.path.to_string()).collect()
    }

    fn parts() -> impl Strategy<Value = Vec<Vec<(String, u16)>>> {
        prop::collection::vec(prop::collection::vec(("[a-z\u{e9}\n/]{0,6}", any::<u16>()), 0..8), 0..6)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn whatever_waits_in_files_comes_back_in_order(all in parts(), most in 0_usize..5) {
            let place = tempfile::tempdir().unwrap();
            let directory = place.path().join("entries");
            let mut entries = Entries::default();
            let mut expected: Vec<String> = Vec::new();
            for part in &all {
                let mut found = Entries::default();
                for (name, bytes) in part {
                    found.push(entry(name, (*bytes).into()));
                    expected.push(name.clone());
                }
                entries.append(&mut found);
                entries.spill(&directory, most).unwrap();
                prop_assert!(entries.held.len() <= most);
            }
            let bytes: u64 = all.iter().flatten().map(|(_, bytes)| u64::from(*bytes)).sum();
            prop_assert_eq!((entries.tally().files, entries.tally().bytes), (expected.len() as u64, bytes));
            let mut seen = 0;
            entries.each(&mut |_| seen += 1).unwrap();
            prop_assert_eq!(seen, expected.len());
            expected.sort_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
            prop_assert_eq!(names(entries.sorted().unwrap()), expected);
            let left = std::fs::read_dir(&directory).map_or(0, Iterator::count);
            prop_assert_eq!(left, 0, "the files go when they are read");
        }
    }

    #[test]
    fn of_an_earlier_pass_only_what_is_kept_is_joined() {
        let place = tempfile::tempdir().unwrap();
        let (mut before, mut after) = (Entries::default(), Entries::default());
        for name in ["/c", "/a", "/e"] {
            before.push(entry(name, 1));
        }
        before.spill(place.path(), 0).unwrap();
        before.push(entry("/g", 1));
        after.push(entry("/d", 1));
        let filter: Arc<Filter> = Arc::new(|entry: &Entry| entry.path.as_bytes() != b"/a");
        after.join(before, &filter);
        assert_eq!(names(after.sorted().unwrap()), ["/c", "/d", "/e", "/g"]);
    }
}
