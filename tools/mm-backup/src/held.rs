//! The restored server is held while its database is not there yet.

use std::path::Path;

use mm_common::contract::error::Result;
use mm_common::contract::ui;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::service::hold::{self, Held};
use serde::{Deserialize, Serialize};

use crate::restore_files::Placed;
use crate::store::Point;
use crate::text::Name;

/// A server that is held, and where it is installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HeldServer {
    install: Name,
    files: Vec<Held>,
}

impl HeldServer {
    /// Holds the copy of the server that is staged at `staged` for the install root.
    pub(crate) fn staged(staged: &Path, install: &Path, lock: &LockGuard) -> Result<Self> {
        Ok(Self { install: install.to_owned().into(), files: hold::hold(staged, lock)? })
    }

    /// Lets it be started.
    pub(crate) fn release(&self, lock: &LockGuard) -> Result<()> {
        hold::release(self.install.as_path(), &self.files, lock)
    }
}

/// Should the power fail after the files and before the database, the machine must not start the restored server on the
/// database that is still there.
pub(crate) fn hold(point: &Point, placed: &Placed, lock: &LockGuard) -> Option<HeldServer> {
    let staged = placed.staged_server(&point.head.install)?;
    HeldServer::staged(&staged, &point.head.install, lock)
        .inspect_err(|error| {
            ui::warn(&format!("should the power fail now, run this again at once: {}", error.one_line()));
        })
        .ok()
}
