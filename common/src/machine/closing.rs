//! A run is closed: its way back is given up, and what it has pinned for that is released.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::lock::LockGuard;
use super::runs::{Ending, Run};
use super::story::Story;
use super::{files, pins};
use crate::contract::document::Document;
use crate::contract::error::Result;

/// What closing a run releases, and closes it.
#[derive(Debug)]
pub struct Closing<'a> {
    run: &'a Run,
    pinned: Vec<(PathBuf, String)>,
}

impl<'a> Closing<'a> {
    /// Looks what the run of the installation at `root` has pinned, in the stores that its documents name.
    pub fn of(run: &'a Run, root: &Path) -> Result<Self> {
        let stores = Story::read(run).map(|story| stores(&story.base)).unwrap_or_default();
        let mut pinned = Vec::new();
        for store in stores {
            if files::look(&store)?.is_some() {
                let of_run = pins::all(&store)?.into_iter().filter(|pin| pin.run == run.id && pin.install == root);
                pinned.extend(of_run.map(|pin| (store.clone(), pin.id)));
            }
        }
        Ok(Self { run, pinned })
    }

    /// How many restore points it has pinned.
    pub fn pinned(&self) -> usize {
        self.pinned.len()
    }

    /// Closes it. Returns whether that has changed anything.
    pub fn close(&self, _lock: &LockGuard) -> Result<bool> {
        let mut changed = false;
        for (store, id) in &self.pinned {
            changed |= pins::release(store, id)?;
        }
        if matches!(self.run.end()?.map(|end| end.ending), Some(Ending::RollingBack) | None) {
            self.run.set_end(Ending::Closed, None, None)?;
            changed = true;
        }
        Ok(changed)
    }
}

/// The stores that the restore points of a run are in.
fn stores(document: &Document) -> BTreeSet<PathBuf> {
    let done = document.get("done").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let sections = document.get("backup").into_iter().chain(done.iter().filter_map(|hop| hop.get("backup")));
    sections.filter_map(|backup| backup.get("store")?.as_str()).map(PathBuf::from).collect()
}
