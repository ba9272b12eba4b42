//! What `complete` adds to a frozen restore point: one file with the facts about the dump, and its digest. The manifest, which
//! documents name by its digest, stays as it was.

use std::path::Path;

use mm_common::contract::digest;
use mm_common::contract::error::{Context as _, Result};
use mm_common::machine::files::{self, Access};
use mm_common::mattermost::handed_on::{self, COMPLETION, COMPLETION_DIGEST};
use serde::{Deserialize, Serialize};

use crate::manifest::DatabasePart;

/// The schema this code writes.
pub(crate) const SCHEMA: &str = "mm.backup-database/1";

/// The file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Completion {
    /// `mm.backup-database/1`.
    pub schema: String,
    /// The restore point.
    pub id: String,
    /// Its manifest.
    pub manifest_sha256: String,
    /// When the dump was finished.
    pub completed: String,
    /// Version of this tool.
    pub tool: String,
    /// What could not be proven of the copy, and what was accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unproven: Vec<String>,
    /// The database, dumped from the copy, or from where the hop has left it.
    pub database: DatabasePart,
    /// The other databases of a kept cluster, with `--whole-cluster`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_databases: Vec<DatabasePart>,
}

/// Reads it; absent while the restore point is not complete.
pub(crate) fn read(point: &Path) -> Result<Option<Completion>> {
    handed_on::completion(point)
}

/// Writes it and makes it durable, its digest first: with the file itself the restore point is complete.
pub(crate) fn write(point: &Path, completion: &Completion) -> Result<()> {
    let text = serde_json::to_vec_pretty(completion).context(|| format!("cannot write `{COMPLETION}`"))?;
    let sha256 = digest::of_bytes(&text);
    let line = format!("{sha256}  {COMPLETION}\n");
    files::write(&point.join(COMPLETION_DIGEST), line.as_bytes(), Access::PRIVATE)?;
    files::write(&point.join(COMPLETION), &text, Access::PRIVATE)
}
