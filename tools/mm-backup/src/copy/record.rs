//! What root knows of a copy. It stands in the state directory and not in the copy, where the server's user could change it,
//! and it is written before anything is made: what a killed run leaves is found by it.

use std::path::{Path, PathBuf};

use mm_common::contract::error::{Context as _, Error, Result};
use mm_common::contract::shell;
use mm_common::machine::files::{self, Access};
use mm_common::machine::lock::LockGuard;
use mm_common::machine::state::State;
use mm_common::machine::user::User;
use mm_common::machine::{tree, trust};
use serde::{Deserialize, Serialize};

use super::place::Place;

const NAME: &str = "copy.json";
const SCHEMA: &str = "mm.copy/1";
/// Larger than any record.
const MOST: u64 = 1 << 20;

/// A copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub schema: String,
    /// The directory, resolved.
    pub directory: PathBuf,
    /// Its device and inode, once it is made.
    pub made_as: Option<(u64, u64)>,
    /// Everything is built, and the server's user has been let in.
    pub complete: bool,
    /// The restore point it is of.
    pub point: String,
    /// Install root of the original.
    pub install: PathBuf,
    /// The user that the server runs as.
    pub uid: u32,
    pub gid: u32,
    /// Name of its PostgreSQL cluster, in whatever major.
    pub cluster: String,
    /// Whether that is one of postgresql-common.
    pub is_debian: bool,
    /// The major it was made with.
    pub major: u32,
    /// The port it was made on.
    pub database_port: u16,
    /// The server's own port.
    pub port: u16,
    /// `--with-plugins`.
    pub with_plugins: bool,
    /// Ports of the original: that of its server and that of its database.
    pub avoided: Vec<u16>,
}

impl Record {
    /// A copy of which nothing is made yet.
    pub(crate) fn new(directory: &Path, install: &Path, point: &str, user: &User) -> Result<Self> {
        Ok(Self {
            schema: SCHEMA.into(),
            directory: directory.into(),
            made_as: None,
            complete: false,
            point: point.into(),
            install: install.into(),
            uid: user.uid,
            gid: user.gid,
            cluster: format!("mmcopy{}", files::random_hexadecimal(6)?),
            is_debian: false,
            major: 0,
            database_port: 0,
            port: 0,
            with_plugins: false,
            avoided: Vec::new(),
        })
    }

    /// Where its files are.
    pub(crate) fn place(&self) -> Place {
        Place { directory: self.directory.clone(), install: self.install.clone() }
    }

    /// The user that the server runs as.
    pub(crate) fn user(&self) -> User {
        // Its unit may give it another group than its own.
        User { gid: self.gid, ..User::of_ids(self.uid, self.gid) }
    }

    /// Where it listens.
    pub(crate) fn listen(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The record of the copy in `directory`, if there is one.
    ///
    /// # Errors
    /// Refused when others could have written it.
    pub(crate) fn read(state: &State) -> Result<Option<Self>> {
        trust::check_directory(state.path())
            .map_err(|error| error.hint("give a directory of your own with --state-dir DIR"))?;
        let path = state.path().join(NAME);
        if files::look(&path)?.is_none() {
            return Ok(None);
        }
        let record: Self = serde_json::from_slice(&files::read(&path, MOST)?)
            .context(|| format!("cannot understand `{}`", path.display()))?;
        if record.schema != SCHEMA {
            return Err(Error::refused(format!("`{}` is of another version of mm-backup", path.display()))
                .hint("use the version that made the copy"));
        }
        Ok(Some(record))
    }

    /// Writes it down, for good.
    pub(crate) fn write(&self, state: &State, _lock: &LockGuard) -> Result<()> {
        let path = state.path().join(NAME);
        let text = serde_json::to_vec_pretty(self).context(|| format!("cannot write `{}`", path.display()))?;
        files::write(&path, &text, Access::PRIVATE)
    }

    /// The copy is gone.
    pub(crate) fn forget(state: &State, _lock: &LockGuard) -> Result<()> {
        files::remove_file(&state.path().join(NAME))?;
        files::sync_directory(state.path())
    }

    /// Removes the state directory of a copy that is not there any more, with the lock in it: the last thing to be done.
    pub(crate) fn clear(state: &State, _lock: LockGuard) -> Result<()> {
        tree::remove(state.path())
    }

    /// Whether what is at the directory now is what was made there: somebody may have moved it away, and something else to
    /// its place. One that was never noted is only there when a run was killed at once: then it is still closed.
    ///
    /// # Errors
    /// Refused when it is something else.
    pub(crate) fn is_there(&self) -> Result<bool> {
        use std::os::unix::fs::MetadataExt as _;
        let Some(data) = files::look(&self.directory)? else { return Ok(false) };
        let is_same = match self.made_as {
            Some(made) => (data.dev(), data.ino()) == made,
            None => data.mode() & 0o077 == 0,
        };
        if data.is_dir() && data.uid() == 0 && is_same {
            return Ok(true);
        }
        Err(Error::refused(format!("`{}` is not the directory that was made for the copy", self.directory.display()))
            .because("something else is in its place")
            .hint(format!("find out who put it there: ls -ld {}", shell::word(&self.directory))))
    }
}
