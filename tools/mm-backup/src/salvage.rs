//! Restoring what is whole of a damaged restore point.

use std::path::{Path, PathBuf};

use mm_common::contract::error::{Context as _, Error, Kind, Result};
use mm_common::contract::ui;
use mm_common::machine::files::{self, Access};
use serde::{Deserialize, Serialize};

use crate::manifest::Head;
use crate::text::Name;

/// What lets a restore into place leave damaged files out.
pub(crate) const ACCEPT: &str = "damaged-files";

/// The record of what is missing below a directory that was restored into.
const RECORD: &str = ".mm-restore-left-out.json";
/// It names files; this is more than any.
const LARGEST: u64 = 256 << 20;

/// How many damaged files are named; the rest is counted.
const NAMED: usize = 10;

/// A file whose copy in the restore point is damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeftOut {
    /// Its path on the machine.
    pub path: Name,
    /// What is wrong with the copy.
    pub why: String,
}

/// The error that names them.
pub(crate) fn error(head: &Head, left_out: &[LeftOut], done: &str) -> Error {
    let count = ui::count(left_out.len(), "file");
    let message = format!("{done}, but for {count} that the restore point {} has damaged copies of", head.id);
    let mut error = Error::new(Kind::PartlyDone, message);
    for LeftOut { path, why } in left_out.iter().take(NAMED) {
        error = error.because(format!("`{path}`: {why}"));
    }
    if left_out.len() > NAMED {
        error = error.because(format!("and {} more", left_out.len() - NAMED));
    }
    error.hint(
        "take those from another restore point: mm-backup list shows them, and mm-backup restore ID --path FILE takes one file",
    )
}

/// What is missing below a directory since an earlier restore.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    id: String,
    left_out: Vec<LeftOut>,
}

/// What was done, as the line at the end, or as an error that names what was left out of it.
pub(crate) fn all_or_most(head: &Head, left_out: &[LeftOut], done: String) -> Result<String> {
    if left_out.is_empty() { Ok(done) } else { Err(error(head, left_out, &done)) }
}

fn record(directory: &Path) -> PathBuf {
    directory.join(RECORD)
}

/// Whether this restore point was restored there before, but for damaged files.
pub(crate) fn is_begun(directory: &Path, id: &str) -> bool {
    let read = || -> Option<Record> { serde_json::from_slice(&files::read(&record(directory), LARGEST).ok()?).ok() };
    read().is_some_and(|record| record.id == id)
}

/// Writes down what is missing, or that nothing is any more.
pub(crate) fn note(directory: &Path, id: &str, left_out: &[LeftOut]) -> Result<()> {
    if left_out.is_empty() {
        return files::remove_file(&record(directory));
    }
    let record_of = Record { id: id.into(), left_out: left_out.to_vec() };
    let text = serde_json::to_vec_pretty(&record_of).context(|| "cannot write down what is missing".into())?;
    files::write(&record(directory), &text, Access::PRIVATE)
}
