//! What came of storing trees: entries for the manifest, and what is to be said of the rest.

use std::path::{Path, PathBuf};

use mm_common::contract::progress;

use crate::entries::Entries;
use crate::entry::Stored;
use crate::manifest::Skipped;
use crate::plan::{Plan, change_matters};
use crate::reuse::Damage;
use crate::text::Name;

/// What came of storing trees.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    /// Everything stored.
    pub entries: Entries,
    /// What was left out on purpose.
    pub excluded: Vec<Name>,
    /// What could not be stored and does not matter.
    pub skipped: Vec<Skipped>,
    /// What the configuration names and the server could not have read, or has no business with.
    pub denied: Vec<Skipped>,
    /// Files that changed each time they were read, and for which that matters.
    pub restless: Vec<PathBuf>,
    /// Copies in the restore point before that were not linked on because they are damaged.
    pub damaged: Vec<Damage>,
    /// Files that became links into the previous restore point.
    pub linked: u64,
    /// Bytes added to the store.
    pub added: u64,
}

impl Collected {
    /// Takes over all of `found`.
    pub(crate) fn take_over(&mut self, found: &mut Self) {
        self.entries.append(&mut found.entries);
        self.excluded.append(&mut found.excluded);
        self.skipped.append(&mut found.skipped);
        self.denied.append(&mut found.denied);
        self.restless.append(&mut found.restless);
        self.damaged.append(&mut found.damaged);
        self.linked += found.linked;
        self.added += found.added;
    }

    /// Takes over one file.
    pub(crate) fn add(&mut self, plan: &Plan, stored: Stored, path: &Path) {
        match stored {
            Stored::Vanished => self.skipped.push(vanished(path)),
            Stored::Linked(entry) => {
                self.linked += 1;
                progress::passed(entry.bytes);
                self.entries.push(entry);
            }
            Stored::Copied(entry) => {
                self.added += entry.bytes;
                if entry.changed && change_matters(plan, path) {
                    self.restless.push(path.into());
                }
                self.entries.push(entry);
            }
        }
    }
}

/// What was there a moment ago.
pub(crate) fn vanished(path: &Path) -> Skipped {
    Skipped { path: path.to_owned().into(), why: "it vanished while the restore point was made".into() }
}
