//! What a run writes down before it acts, and what stays afterwards for `rollback` and `drop-old`.

use std::path::{Path, PathBuf};

use mm_common::machine::files::{self, Access};
use mm_common::machine::journal::Journal;
use mm_common::machine::lock::LockGuard;
use mm_common::mattermost::config::Change;
use mm_common::postgres::cluster::{self, Cluster};
use mm_common::postgres::fingerprint;
use mm_common::postgres::tried::Abilities;
use mm_common::{Context as _, Error, Result};
use serde::{Deserialize, Serialize};

use crate::evidence::Facts;
use crate::plan::{Method, Phase};
use crate::repoint::End;

/// Larger than the facts of any server's tables.
const MOST_FACTS: u64 = 256 * 1024 * 1024;

/// A restore point, and the store it is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RestorePoint {
    /// Its identifier.
    pub id: String,
    /// The store.
    pub store: PathBuf,
    /// It was frozen with neither copy nor dump: `mm-backup complete` reads the database that is left.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub original: bool,
}

/// An upgrade, from its intent to its end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The `run` of the document.
    pub run: String,
    /// The hop of the document, if there is one: a run has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hop: Option<String>,
    /// When this upgrade began.
    pub started: String,
    /// How far it has come.
    pub phase: Phase,
    /// The cluster before, as it was.
    pub old: Cluster,
    /// The number that initdb gave it.
    #[serde(default)]
    pub identifier: Option<String>,
    /// The first transaction that had not begun there when it was carried over, as its control file says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_transaction: Option<String>,
    /// The text of its `start.conf`.
    pub old_start: Option<String>,
    /// The major to reach.
    pub major: u32,
    /// Where the data of the new cluster goes.
    pub data: PathBuf,
    /// Where the new cluster logs to.
    pub log: PathBuf,
    /// The method.
    pub method: Method,
    /// Each cluster keeps its port, and the configuration of the server is repointed.
    pub keep_port: bool,
    /// Packages of the old major without a counterpart for the new one were accepted.
    #[serde(default)]
    pub force_packages: bool,
    /// The database of the server.
    pub database: String,
    /// The restore point of this hop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_point: Option<RestorePoint>,
    /// How the rows of the old cluster were hashed.
    #[serde(default)]
    pub hashed: fingerprint::Method,
    /// What the role of the server could do in its database.
    #[serde(default)]
    pub could: Abilities,
    /// Process group of `pg_upgradecluster`, once it runs.
    #[serde(default)]
    pub group: Option<i32>,
    /// Where the old cluster answered before.
    #[serde(default)]
    pub from_end: End,
    /// Where the new one does, once anything was to follow it there.
    #[serde(default)]
    pub to_end: End,
    /// What of the configuration of the server is changed for that, in order.
    #[serde(default)]
    pub changes: Vec<Change>,
}

impl Entry {
    /// `13/main`.
    pub(crate) fn from(&self) -> String {
        self.old.label()
    }

    /// The cluster before, as it is now; `None` when it is gone.
    ///
    /// # Errors
    /// Refused when another one has its name.
    pub(crate) fn old_now(&self) -> Result<Option<Cluster>> {
        let Some(now) = cluster::find(self.old.major, &self.old.name)? else { return Ok(None) };
        // `pg_upgrade --link` takes the file away that has the number; another cluster has one.
        if files::look(&now.data.join("global/pg_control"))?.is_some()
            && let Some(wanted) = &self.identifier
            && now.system_identifier()? != *wanted
        {
            return Err(Error::refused(format!("the cluster {} is another one now", now.label()))
                .because(format!("the one that was upgraded had the system identifier {wanted}"))
                .hint("somebody has dropped it and made one of its name: leave that one alone"));
        }
        Ok(Some(now))
    }

    /// `15/main`.
    pub(crate) fn to(&self) -> String {
        format!("{}/{}", self.major, self.old.name)
    }
}

/// The files of this tool in the state directory of an installation.
#[derive(Debug, Clone)]
pub(crate) struct Records {
    state: PathBuf,
    /// The upgrade that is going on.
    pub journal: Journal,
    /// The last one that was finished.
    pub last: Journal,
}

impl Records {
    /// Those of the installation with this state directory.
    pub(crate) fn at(state: &Path) -> Self {
        Self { state: state.into(), journal: Journal::at(state, "pgbump"), last: Journal::finished(state, "pgbump") }
    }

    /// The state directory.
    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    /// Where the output of `pg_upgradecluster` goes.
    pub(crate) fn log(&self) -> PathBuf {
        self.state.join("pgbump.log")
    }

    /// Keeps what the old cluster holds: a run that takes over needs it when the old cluster does not run any more.
    pub(crate) fn keep_facts(&self, facts: &Facts, _lock: &LockGuard) -> Result<()> {
        let text = serde_json::to_vec(facts).context(|| "cannot write down what the cluster holds".to_owned())?;
        files::write(&self.facts_path(), &text, Access::PRIVATE)
    }

    /// What the old cluster held.
    pub(crate) fn facts(&self) -> Result<Facts> {
        let text = files::read(&self.facts_path(), MOST_FACTS)?;
        serde_json::from_slice(&text).context(|| format!("cannot understand `{}`", self.facts_path().display()))
    }

    fn facts_path(&self) -> PathBuf {
        self.state.join("pgbump.facts")
    }
}
