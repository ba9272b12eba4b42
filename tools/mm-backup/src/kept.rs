//! What restores have kept of before, written down in the state directory until prune removes it.

use std::path::{Path, PathBuf};

use mm_common::contract::error::{Context as _, Error, Result};
use mm_common::machine::files::{self, Access};
use mm_common::machine::lock::LockGuard;
use mm_common::machine::state::State;
use mm_common::machine::tree;
use serde::{Deserialize, Serialize};

/// The directory of the records.
const DIRECTORY: &str = "kept";

/// What one restore has kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// The restore point that took its place.
    pub id: String,
    /// When.
    pub stamp: String,
    /// Directories with what was there.
    pub directories: Vec<PathBuf>,
    /// Databases that were there, under their new names.
    pub databases: Vec<String>,
}

impl Kept {
    fn name(&self, number: u32) -> String {
        if number == 1 { format!("{}.json", self.stamp) } else { format!("{}-{number}.json", self.stamp) }
    }

    /// For people.
    pub(crate) fn in_words(&self) -> String {
        let directories = self.directories.iter().map(|path| path.display().to_string());
        let databases = self.databases.iter().map(|name| format!("the database {name}"));
        directories.chain(databases).collect::<Vec<_>>().join(", ")
    }
}

/// Writes it down.
pub(crate) fn write(state: &State, kept: &Kept, _lock: &LockGuard) -> Result<()> {
    if kept.directories.is_empty() && kept.databases.is_empty() {
        return Ok(());
    }
    let directory = state.path().join(DIRECTORY);
    files::create_directory(&directory, 0o700)?;
    let text = serde_json::to_vec_pretty(kept).context(|| "cannot write down what is kept".into())?;
    // Two restores of one second, one of them finished after a crash, are two records.
    let mut number = 1;
    while files::look(&directory.join(kept.name(number)))?.is_some() {
        number += 1;
    }
    files::write(&directory.join(kept.name(number)), &text, Access::PRIVATE)
}

/// All records with their files, oldest first.
pub(crate) fn all(state: &State) -> Result<Vec<(PathBuf, Kept)>> {
    let directory = state.path().join(DIRECTORY);
    if files::look(&directory)?.is_none() {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    for name in tree::Dir::open(&directory)?.names()? {
        let path = directory.join(&name);
        let text = files::read(&path, 1 << 20)?;
        let kept = serde_json::from_slice(&text).map_err(|error| Error::io("understand", &path, error))?;
        all.push((path, kept));
    }
    Ok(all)
}

/// Forgets a record when what it names is gone.
pub(crate) fn forget(record: &Path, _lock: &LockGuard) -> Result<()> {
    files::remove_file(record)
}
