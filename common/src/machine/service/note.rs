//! The note "stopped by us": on disk before the service is stopped, removed after it is started. It tells the next run
//! what a killed one interrupted.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Manager;
use crate::contract::error::{Context as _, Result};
use crate::contract::time;
use crate::machine::files::{self, Access};
use crate::machine::lock::LockGuard;
use crate::machine::state::State;

/// Larger than such a note.
const MOST: u64 = 64 * 1024;

#[derive(Debug, Serialize, Deserialize)]
struct Note {
    /// When, for whoever looks at the file.
    stopped: String,
    /// Which service; absent in notes of older versions, and where it has no name.
    #[serde(default)]
    service: Option<String>,
}

/// Whether one of these tools stopped a running service and none has started it since.
pub(super) fn stands(state: &State) -> Result<bool> {
    Ok(files::look(&path(state))?.is_some())
}

/// Whether it was this service that one of these tools stopped.
pub(super) fn names(state: &State, manager: &Manager) -> bool {
    // Whoever may not read the note has stopped nothing.
    let text = files::read(&path(state), MOST).unwrap_or_default();
    serde_json::from_slice(&text).is_ok_and(|note: Note| note.service.is_some() && note.service == manager.label())
}

/// Puts the note on disk.
pub(super) fn leave(state: &State, manager: &Manager, _lock: &LockGuard) -> Result<()> {
    let path = path(state);
    let note = Note { stopped: time::now(), service: manager.label() };
    let text = serde_json::to_vec_pretty(&note).context(|| format!("cannot write `{}`", path.display()))?;
    files::create_directory(state.path(), 0o700)?;
    files::write(&path, &text, Access::PRIVATE)
}

/// Takes it away, durably.
pub(super) fn withdraw(state: &State, _lock: &LockGuard) -> Result<()> {
    if !stands(state)? {
        return Ok(());
    }
    files::remove_file(&path(state))?;
    files::sync_directory(state.path())
}

fn path(state: &State) -> PathBuf {
    state.path().join("service-stopped.json")
}
