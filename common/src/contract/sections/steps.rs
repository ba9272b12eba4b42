//! What the tools that change something write.

use std::path::PathBuf;

use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::verify::Check;
use crate::contract::version::Edition;

/// `fetch`: the releases at hand.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Fetch {
    /// Every release that was asked for, the running one included.
    pub releases: Vec<Fetched>,
    /// Releases that could not be had and are not needed to go on: the running one, whose manifest then does not tell
    /// what the installation owns.
    #[serde(default)]
    pub missing: Vec<Missing>,
}

/// A release that could not be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Missing {
    /// The release.
    pub version: Version,
    /// Why.
    pub reason: String,
}

/// One release in the cache.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Fetched {
    /// The release.
    pub version: Version,
    /// Its edition.
    pub edition: Edition,
    /// The tarball in the cache.
    pub archive: PathBuf,
    /// Its digest, the one that matched.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
    /// The release manifest beside it (`mm.release/1`): every file the release owns, with its digest.
    pub manifest: PathBuf,
    /// Where it came from.
    pub url: String,
    /// Bytes that came over the network in this run; 0 when the cache had it.
    #[serde(default)]
    pub transferred: u64,
    /// What proves it: a digest of the `catalogue` or the `document`, one of a `third-party` or one `given` (`--sha256`);
    /// the `signature` where no digest is known; `unsigned` where an administrator takes it without proof.
    #[serde(default)]
    pub proof: String,
    /// Who computed the digest, where that was not Mattermost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest_source: Option<String>,
    /// Fingerprint of the key whose signature is good, when signatures were verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
}

/// `backup`: the restore point of this hop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Backup {
    /// Identifier: the name of its directory in the store.
    pub id: String,
    /// The store.
    pub store: PathBuf,
    /// The restore point itself.
    pub path: PathBuf,
    /// Its manifest (`mm.backup/1`).
    pub manifest: PathBuf,
    /// SHA-256 of the manifest, which holds the digests of all else.
    pub manifest_sha256: String,
    /// When its snapshot of the database was taken.
    pub created: String,
    /// True when the server was stopped, so nothing was written after the snapshot.
    pub cold: bool,
    /// Size of all it holds.
    pub bytes: u64,
    /// Files in it.
    pub files: u64,
    /// Whether it holds the database.
    pub database: bool,
    /// The databases of the server's cluster that it holds: its own, and with `--whole-cluster` all others.
    #[serde(default)]
    pub databases: Vec<String>,
    /// The dump of a database of MySQL or `MariaDB`, which is loaded by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mysql: Option<MysqlDump>,
    /// What the configuration names and was left out, because the server's user may not read it; the first ones, with why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// With `--freeze`: what became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freeze: Option<Freeze>,
    /// True when the service was left stopped for the next tool.
    #[serde(default)]
    pub left_stopped: bool,
    /// Duration in seconds.
    #[serde(default)]
    pub seconds: f64,
}

/// A dump that `mysqldump` or `mariadb-dump` has made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MysqlDump {
    /// The file, packed with gzip.
    pub path: PathBuf,
    /// Tables in it.
    pub tables: usize,
    /// Rows in them.
    pub rows: u64,
    /// The command that loads it into an empty database.
    pub load: String,
}

/// A database that was frozen beside itself while the server was stopped, to be dumped when it serves again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Freeze {
    /// The name of the copy in the database server; absent when none was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<String>,
    /// In a hop that upgrades PostgreSQL or moves the database: what the hop leaves as it was and `mm-backup complete` reads, a
    /// cluster (`13/main`) or a database (`HOST:PORT/NAME`). No copy is made then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<String>,
    /// Why neither was done: the database was dumped while the server was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether the database server wrote out what it had in memory before the stop (`CHECKPOINT`), within 10 seconds.
    #[serde(default)]
    pub checkpointed: bool,
    /// The file with the dump's facts, once `mm-backup complete` has made the dump.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed: Option<PathBuf>,
    /// Its SHA-256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_sha256: Option<String>,
}

impl Freeze {
    /// Whether the database was not dumped while the server was stopped.
    pub fn has_frozen(&self) -> bool {
        self.copy.is_some() || self.original.is_some()
    }
}

impl Backup {
    /// Whether the database was frozen and, as far as the document says, is not stored yet.
    pub fn is_frozen(&self) -> bool {
        self.freeze.as_ref().is_some_and(|freeze| freeze.has_frozen() && freeze.completed.is_none())
    }
}

/// `pgbump`: the database cluster's own upgrade.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Pgbump {
    /// Whether the hop needed it; everything below is absent when not.
    pub needed: bool,
    /// Cluster before, such as `13/main`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Cluster after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Method of `pg_upgradecluster`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Port the database answers on now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// What was looked at before, and what somebody should know of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// The proof: what was compared and found equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Value>,
    /// Where a data source was changed: files, and `configurations` for that table of a configuration in a database.
    #[serde(default)]
    pub repointed: Vec<PathBuf>,
    /// Duration in seconds.
    #[serde(default)]
    pub seconds: f64,
}

/// `swap`: the flip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Swap {
    /// The release before.
    pub from: Version,
    /// The release that runs now.
    pub to: Version,
    /// Entries exchanged, relative to the install root.
    pub exchanged: Vec<String>,
    /// Where the old release is kept.
    pub retired: Option<PathBuf>,
    /// Release files that had been changed locally: path and the digest they had.
    #[serde(default)]
    pub modified: Vec<ModifiedFile>,
    /// Seconds between the service being down and the start being commanded.
    #[serde(default)]
    pub window_seconds: f64,
    /// Seconds until the new server was healthy.
    #[serde(default)]
    pub healthy_after_seconds: f64,
    /// The address the server listens on for this hop, when not the public one.
    #[serde(default)]
    pub private_address: Option<String>,
}

/// A file of a release that somebody had changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ModifiedFile {
    /// Path relative to the install root.
    pub path: String,
    /// The digest it had.
    pub sha256: String,
}
