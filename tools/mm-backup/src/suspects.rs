//! What `verify` has found damaged, written down beside the restore points until they are whole or gone: size, time and
//! inode of such a copy are right, so the next `create` could not tell.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use mm_common::contract::error::{Context as _, Result};
use mm_common::machine::files::{self, Access};
use mm_common::machine::tree;
use serde::{Deserialize, Serialize};

use crate::text::Name;

/// How the name of a record begins; the identifier of the restore point follows.
pub(crate) const RECORD: &str = ".damaged-";
/// A record names files; this is more than any.
const LARGEST: u64 = 256 << 20;

/// A copy whose contents are not what was stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Suspect {
    /// The file's path on the machine.
    pub path: Name,
    /// The inode of its copy: further restore points can have it too.
    pub ino: u64,
}

fn record(store: &Path, id: &str) -> PathBuf {
    store.join(format!("{RECORD}{id}.json"))
}

/// Writes down what was found in a restore point; with nothing found, an earlier record is removed.
pub(crate) fn note(store: &Path, id: &str, found: &[Suspect]) -> Result<()> {
    if found.is_empty() {
        return files::remove_file(&record(store, id));
    }
    let text = serde_json::to_vec_pretty(found).context(|| "cannot write down what is damaged".into())?;
    files::write(&record(store, id), &text, Access::PRIVATE)
}

/// Everything that is written down. A record that cannot be read says nothing.
pub(crate) fn all(store: &Path) -> Result<HashSet<Suspect>> {
    let mut all = HashSet::new();
    for name in tree::Dir::open(store)?.names()? {
        let Some(name) = name.to_str().filter(|name| name.starts_with(RECORD)) else { continue };
        if let Some(found) = read(&store.join(name)) {
            all.extend(found);
        }
    }
    Ok(all)
}

fn read(path: &Path) -> Option<Vec<Suspect>> {
    serde_json::from_slice(&files::read(path, LARGEST).ok()?).ok()
}
