//! What a move writes down before it acts, and what stays afterwards for the way back.

use std::path::{Path, PathBuf};

use mm_common::machine::checkpoint;
use mm_common::machine::door;
use mm_common::machine::files::{self, Access};
use mm_common::machine::journal::Journal;
use mm_common::machine::lock::LockGuard;
use mm_common::mattermost::config::Change;
use mm_common::mattermost::way_back::Moved;
use mm_common::postgres::definitions::Definitions;
use mm_common::postgres::fingerprint::{self, Fingerprint};
use mm_common::postgres::properties::Properties;
use mm_common::postgres::tried::Abilities;
use mm_common::{Context as _, Result};
use semver::Version;
use serde::{Deserialize, Serialize};

use super::roles::RoleMap;
use super::unit_file::UnitFile;
use crate::evidence;
use crate::record::RestorePoint;

/// Larger than the facts of any server's tables.
const MOST: u64 = 256 * 1024 * 1024;

/// What could not be removed from targets. It holds passwords.
const LEFTOVERS: &str = "pgmove.leftovers";

/// How far a move has come. What is on disk is the phase that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    /// The server is stopped, and the old database is read.
    Reading,
    /// What is in the target from now on is of our making.
    Filling,
    /// The target is proven; the configuration is being pointed at it.
    Proven,
    /// The server works with the target.
    Done,
    /// The configuration is pointed at the old database again after that.
    RollingBack,
    /// The server works with the old database again; what was filled at the target is being removed.
    Clearing,
}

impl Phase {
    /// Whether something of our making may be at the target, which the server has not worked with.
    pub(crate) fn has_filled(self) -> bool {
        matches!(self, Self::Filling | Self::Proven | Self::Clearing)
    }
}

/// A database that was at the target before, as it is to be again when the move is taken back.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Before {
    /// Its settings, comment and schemas.
    pub properties: Properties,
    /// The extensions that were made in it.
    pub extensions: Vec<String>,
    /// The role had default privileges in it, which stay whatever is added to them.
    pub default_rights: bool,
}

/// A move, from its intent to its end. Nothing in it is secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// From where to where, and whether it is proven: what others go by.
    #[serde(flatten)]
    pub moved: Moved,
    /// The hop of the document, if there is one: a run has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hop: Option<String>,
    /// How far it has come.
    pub phase: Phase,
    /// The database of the target was not there: we make it.
    pub makes_database: bool,
    /// Its role was not there either.
    pub makes_role: bool,
    /// The number of the database that we have made, once it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<u64>,
    /// The name under which a database that was there is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<String>,
    /// What the database was like that is filled, where it was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Before>,
    /// The release that worked with the old database last: a later one would migrate it.
    pub release: Version,
    /// Whose things are whose.
    pub roles: RoleMap,
    /// The roles of the old server that have to do with the database.
    pub used: Vec<String>,
    /// The restore point of this hop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_point: Option<RestorePoint>,
    /// The restore point whose dump was loaded; where that was asked for, the old database need not be there any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loaded_from: Option<RestorePoint>,
    /// How rows are hashed.
    pub hashed: fingerprint::Method,
    /// What the role of the server could do in its database.
    pub could: Abilities,
    /// What is not carried, in words.
    pub left_behind: Vec<String>,
    /// The file in the state directory with what was there before each repair of a move out of MySQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repairs: Option<String>,
}

/// What holds passwords: it never leaves the state directory, and goes when there is no way back any more.
#[derive(Serialize, Deserialize)]
pub(crate) struct Private {
    /// The data source before.
    pub from: String,
    /// The data source after.
    pub to: String,
    /// The administrator's, as long as the move goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub administrator: Option<String>,
    /// The data source before is one of MySQL.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_of_mysql: bool,
    /// What of the configuration of the server is changed, in order.
    #[serde(default)]
    pub changes: Vec<Change>,
    /// Files of its unit that are changed with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<UnitFile>,
}

/// What a move that was taken back has left at a target that could not be reached then.
#[derive(Serialize, Deserialize)]
pub(crate) struct Leftover {
    /// The move.
    pub entry: Entry,
    /// The data sources that lead there.
    pub private: Private,
}

/// What the old database holds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// Its rows.
    pub rows: Fingerprint,
    /// Sequences, materialized views, large objects.
    pub contents: evidence::Facts,
    /// Everything that a dump says of it.
    pub definitions: Definitions,
    /// For the report: what was read from MySQL. The rows above are then those of the target, once that is proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_mysql: Option<serde_json::Value>,
}

/// Whose files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// The move that goes on.
    Open,
    /// The last one that was finished.
    Last,
}

/// The files of a move in the state directory.
#[derive(Debug, Clone)]
pub(crate) struct Records {
    state: PathBuf,
    /// The move that is going on.
    pub journal: Journal,
    /// The last one that was finished.
    pub last: Journal,
}

impl Entry {
    /// Whether what was carried is a restore point that was asked for, and not the database that the server worked with: then that
    /// need not be there.
    pub(crate) fn is_of_store_alone(&self) -> bool {
        self.loaded_from.is_some() && self.loaded_from != self.restore_point
    }

    /// What was carried, for people.
    pub(crate) fn carried(&self) -> String {
        match self.loaded_from.as_ref().filter(|_| self.is_of_store_alone()) {
            Some(point) => format!("the database of the restore point {}", point.id),
            None => self.moved.from.label(),
        }
    }
}

impl Records {
    /// Those of the installation with this state directory.
    pub(crate) fn at(state: &Path) -> Self {
        Self {
            state: state.into(),
            journal: Journal::at(state, door::MOVE),
            last: Journal::finished(state, door::MOVE),
        }
    }

    /// The file with what was there before each repair.
    pub(crate) fn repairs(&self, entry: &Entry) -> Option<PathBuf> {
        entry.repairs.as_ref().map(|name| self.state.join(name))
    }

    /// Removes it: no row of the target is in use any more.
    pub(crate) fn drop_repairs(&self, entry: &Entry) -> Result<()> {
        self.repairs(entry).map_or(Ok(()), |path| files::remove_file(&path))
    }

    /// Where the dump lies while it is needed.
    pub(crate) fn dump(&self) -> PathBuf {
        self.state.join("pgmove.dump")
    }

    /// A file of the move that goes on, or of the one that is finished: they are apart, so that a move that fails takes
    /// nothing of the way back over the one before it.
    fn file(&self, what: &str, of: Of) -> PathBuf {
        self.state.join(match of {
            Of::Open => format!("pgmove.{what}"),
            Of::Last => format!("pgmove.finished.{what}"),
        })
    }

    /// Keeps the data sources and changes of the move that goes on.
    pub(crate) fn keep_private(&self, private: &Private, _lock: &LockGuard) -> Result<()> {
        write(&self.file("private", Of::Open), private)
    }

    /// The data sources and changes.
    pub(crate) fn private(&self, of: Of) -> Result<Private> {
        read(&self.file("private", of))
    }

    /// Keeps what the old database holds.
    pub(crate) fn keep_facts(&self, facts: &Facts, _lock: &LockGuard) -> Result<()> {
        write(&self.file("facts", Of::Open), facts)
    }

    /// What the old database held.
    pub(crate) fn facts(&self, of: Of) -> Result<Facts> {
        read(&self.file("facts", of))
    }

    /// The move is over: what its way back needs stays, the administrator's data source does not.
    pub(crate) fn close(&self, entry: &Entry, lock: &LockGuard) -> Result<()> {
        let private = Private { administrator: None, ..self.private(Of::Open)? };
        write(&self.file("private", Of::Last), &private)?;
        write(&self.file("facts", Of::Last), &self.facts(Of::Open)?)?;
        self.last.write(entry, lock)?;
        checkpoint::pass("move-recorded");
        self.discard(lock)
    }

    /// The journal goes, and then the files of the move that was going on.
    pub(crate) fn discard(&self, lock: &LockGuard) -> Result<()> {
        self.journal.close(lock)?;
        self.sweep()
    }

    /// Removes what no open journal needs any more.
    pub(crate) fn sweep(&self) -> Result<()> {
        files::remove_file(&self.dump())?;
        files::remove_file(&self.file("facts", Of::Open))?;
        files::remove_file(&self.file("private", Of::Open))
    }

    /// What moves that were taken back have left at their targets.
    pub(crate) fn leftovers(&self) -> Result<Vec<Leftover>> {
        let path = self.state.join(LEFTOVERS);
        if files::look(&path)?.is_none() { Ok(Vec::new()) } else { read(&path) }
    }

    /// Keeps what is left; without anything, nothing is kept.
    pub(crate) fn keep_leftovers(&self, left: &[Leftover], _lock: &LockGuard) -> Result<()> {
        let path = self.state.join(LEFTOVERS);
        if left.is_empty() { files::remove_file(&path) } else { write(&path, left) }
    }

    /// Forgets those of which nothing is left.
    pub(crate) fn forget_leftovers(&self, is_gone: impl Fn(&Entry) -> bool, lock: &LockGuard) -> Result<()> {
        let mut left = self.leftovers()?;
        let before = left.len();
        left.retain(|one| !is_gone(&one.entry));
        if left.len() == before { Ok(()) } else { self.keep_leftovers(&left, lock) }
    }

    /// The finished move is taken back: nothing of it is kept any more.
    pub(crate) fn forget(&self, lock: &LockGuard) -> Result<()> {
        self.last.close(lock)?;
        self.discard(lock)?;
        files::remove_file(&self.file("facts", Of::Last))?;
        files::remove_file(&self.file("private", Of::Last))
    }
}

fn write<T: Serialize + ?Sized>(path: &Path, value: &T) -> Result<()> {
    let text = serde_json::to_vec(value).context(|| format!("cannot write `{}`", path.display()))?;
    files::create_directory(files::parent(path)?, 0o700)?;
    files::write(path, &text, Access::PRIVATE)
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = files::read(path, MOST)?;
    // The parser's words could quote what it stumbled over.
    serde_json::from_slice(&text)
        .map_err(|_| mm_common::Error::failed(format!("cannot understand `{}`", path.display())))
}
