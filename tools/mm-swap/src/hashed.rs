//! Digests of the installed release's files, read while the old server still runs: a run that finds a file as it was then
//! need not read it once more while users wait.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mm_common::contract::error::{Context as _, Result};
use mm_common::machine::files::{self, Access};
use mm_common::machine::lock::LockGuard;
use mm_common::machine::state::State;
use mm_common::machine::tree::Meta;
use serde::{Deserialize, Serialize};

/// The file in the state directory.
const NAME: &str = "hashed.json";

/// Larger than what any release makes of it.
const MOST: u64 = 64 << 20;

/// File systems keep times in steps of the kernel's timer, which is 10 ms at its slowest.
const CLOCK_STEP: Duration = Duration::from_millis(20);

/// By which a file is known not to have changed. The server's user cannot set the time of the last change of anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, u32),
    changed: (i64, u32),
}

impl Seen {
    fn of(meta: &Meta) -> Self {
        Self {
            device: meta.dev,
            inode: meta.ino,
            bytes: meta.bytes,
            modified: (meta.mtime.seconds, meta.mtime.nanoseconds),
            changed: (meta.ctime.seconds, meta.ctime.nanoseconds),
        }
    }
}

/// Digests by path below the install root.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Hashed(BTreeMap<String, (Seen, String)>);

impl Hashed {
    /// What an earlier run has left; nothing where that cannot be read.
    pub(crate) fn read(state: &State) -> Self {
        let text = files::read(&state.path().join(NAME), MOST).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Leaves it for a later run.
    pub(crate) fn write(&self, state: &State, _lock: &LockGuard) -> Result<()> {
        let path = state.path().join(NAME);
        let text = serde_json::to_vec(self).context(|| format!("cannot write `{}`", path.display()))?;
        files::write(&path, &text, Access::PRIVATE)
    }

    /// The digest of a file that is as it was when it was read.
    pub(crate) fn digest(&self, path: &str, meta: &Meta) -> Option<&str> {
        self.0.get(path).filter(|(seen, _)| *seen == Seen::of(meta)).map(|(_, sha256)| sha256.as_str())
    }

    /// Notes a digest. One of a file that has just changed is not: a change in the same instant would not be seen.
    pub(crate) fn note(&mut self, path: &str, meta: &Meta, sha256: &str) {
        self.note_at(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(), path, meta, sha256);
    }

    fn note_at(&mut self, now: Duration, path: &str, meta: &Meta, sha256: &str) {
        let now = now.saturating_sub(CLOCK_STEP);
        let settled = (i64::try_from(now.as_secs()).unwrap_or_default(), now.subsec_nanos());
        let seen = Seen::of(meta);
        if seen.changed < settled {
            self.0.insert(path.to_owned(), (seen, sha256.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;
    use std::path::Path;

    use super::*;

    #[test]
    fn a_digest_is_that_of_the_file_as_it_was() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a");
        files::write(&path, b"old", Access::PRIVATE).unwrap();
        let meta = |path: &Path| Meta::of(&File::open(path).unwrap(), path).unwrap();
        let mut hashed = Hashed::default();
        let first = meta(&path);
        let written = Duration::new(first.ctime.seconds.unsigned_abs(), first.ctime.nanoseconds);
        hashed.note_at(written, "a", &first, "x");
        assert_eq!(hashed.digest("a", &first), None, "one that has just been written is not noted");
        hashed.note_at(written + CLOCK_STEP + Duration::from_nanos(1), "a", &first, "x");
        assert_eq!(hashed.digest("a", &first), Some("x"));
        let times = path.metadata().unwrap().modified().unwrap();
        // Until the clock of the file system has moved on.
        while meta(&path).ctime == first.ctime {
            let mut file = File::options().write(true).open(&path).unwrap();
            file.write_all(b"new").unwrap();
            file.set_modified(times).unwrap();
        }
        assert_eq!(hashed.digest("a", &meta(&path)), None, "size and time are as they were, and it is another one");
    }
}
