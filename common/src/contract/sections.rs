//! The sections of the document. Sizes are bytes, durations seconds, times RFC 3339 in UTC, versions strings.
//!
//! A section is written by one tool and read by others, so its shape stands here. Keys that a reader does not know are
//! ignored by the typed form and kept by the document itself.

use std::path::PathBuf;

use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::version::Edition;

/// `run`: which upgrade this document belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Run {
    /// Identifier, also the name of the run in logs and restore points.
    pub id: String,
    /// When mm-path began it.
    pub started: String,
    /// Nothing may be changed by any tool of this pipeline.
    #[serde(default)]
    pub dry_run: bool,
}

/// `site`: the installation as the first tool of the run saw it; mm-path refreshes it between hops, but
/// `service.was_running` stays what it was when the run began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Site {
    /// The install root, resolved.
    pub install: PathBuf,
    /// The installed release.
    pub version: Version,
    /// How the version was found out: `manifest`, `server`, `binary` or `isolated-run`.
    #[serde(default)]
    pub version_source: String,
    /// Its edition.
    pub edition: Edition,
    /// Name of the user the server runs as.
    pub owner: String,
    /// Who starts and stops it.
    pub service: SiteService,
    /// Where its configuration comes from.
    pub config: SiteConfig,
    /// Where uploaded files are.
    pub data: PathBuf,
    /// `ServiceSettings.ListenAddress`.
    pub listen: String,
    /// `ServiceSettings.SiteURL`, when set.
    #[serde(default)]
    pub site_url: Option<String>,
    /// The database, as far as it could be seen.
    pub database: SiteDatabase,
}

/// `site.service`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SiteService {
    /// `systemd`, `sysv`, `supervisor`, `exec` or `command`.
    pub manager: String,
    /// Unit or program name, where the manager has names.
    #[serde(default)]
    pub unit: Option<String>,
    /// Whether it ran when the run began.
    pub was_running: bool,
}

/// `site.config`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SiteConfig {
    /// `file`, `environment` (a file with overrides of the data source) or `database`.
    pub source: String,
    /// The configuration file, when there is one.
    #[serde(default)]
    pub path: Option<PathBuf>,
}

/// `site.database`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SiteDatabase {
    /// `postgres` or `mysql`.
    pub driver: String,
    /// Version of the database server, such as `13.16`, when it could be asked.
    #[serde(default)]
    pub server_version: Option<String>,
    /// Its major version.
    #[serde(default)]
    pub major: Option<u32>,
    /// Host name, address or socket directory.
    #[serde(default)]
    pub host: Option<String>,
    /// TCP port, also of a socket.
    #[serde(default)]
    pub port: Option<u16>,
    /// Name of the database.
    #[serde(default)]
    pub name: Option<String>,
    /// The local Debian cluster it lives in, such as `13/main`.
    #[serde(default)]
    pub cluster: Option<String>,
    /// Size of the database.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// Rows of `posts`; from 100,000 on as PostgreSQL estimates them.
    #[serde(default)]
    pub posts: Option<u64>,
}

/// `path`: the way, and the next step on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Path {
    /// The installed release.
    pub current: Version,
    /// Its edition, when the first hop changes that; otherwise it is that of the hops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_edition: Option<Edition>,
    /// The release wanted.
    pub target: Version,
    /// `esr`, `minor` or `direct`.
    pub policy: String,
    /// What the first planning was asked for, so that the fold asks for the same.
    #[serde(default)]
    pub wish: Map<String, Value>,
    /// All hops that remain, the next one first.
    pub hops: Vec<Hop>,
    /// The hop to carry out now; null when the target is reached.
    pub next: Option<Hop>,
    /// What makes the path impossible.
    #[serde(default)]
    pub blockers: Vec<Note>,
    /// What a person should know.
    #[serde(default)]
    pub notes: Vec<Note>,
    /// What `mm-path --check` found on this machine; absent without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Preflight>,
}

/// One finding of `mm-path --check`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Preflight {
    /// Stable identifier.
    pub id: String,
    /// What was looked for.
    pub title: String,
    /// The finding; `error` is "could not look".
    pub status: Status,
    /// `block`, `action`, `warn` or `info`; empty unless something was found.
    #[serde(default)]
    pub severity: String,
    /// What was seen.
    #[serde(default)]
    pub evidence: String,
    /// The release whose start it concerns; absent when it concerns the present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hop: Option<Version>,
    /// What to do about it.
    #[serde(default)]
    pub fix: String,
    /// Where this is known from.
    #[serde(default)]
    pub source: String,
}

/// One step from a release to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Hop {
    /// The release before.
    pub from: Version,
    /// The release after.
    pub to: Version,
    /// Edition of the release after; that before differs when `path.current_edition` says so.
    pub edition: Edition,
    /// Where the release is published.
    pub url: String,
    /// Digests of the tarball of which any one is right.
    pub sha256: Vec<String>,
    /// Why this hop is on the path.
    #[serde(default)]
    pub why: Vec<Why>,
    /// What it needs of the machine.
    #[serde(default)]
    pub needs: Needs,
    /// Whether the nodes of a cluster may be taken from one release to the other in turn, while the others serve.
    #[serde(default)]
    pub rolling: bool,
    /// Upgrade notes that apply to it.
    #[serde(default)]
    pub notes: Vec<Note>,
    /// Guesses, in seconds and bytes.
    #[serde(default)]
    pub estimate: Map<String, Value>,
}

/// A rule that put a hop where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Why {
    /// Identifier of the rule.
    pub rule: String,
    /// What it says.
    pub text: String,
    /// Who says so.
    #[serde(default)]
    pub source: String,
}

/// What a hop needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Needs {
    /// PostgreSQL major to be on before this hop's server starts; absent when the present one will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgres: Option<u32>,
    /// Free bytes beside the install root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Further needs, by name.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// An upgrade note, a blocker or a warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Note {
    /// Stable identifier.
    pub id: String,
    /// `block`, `action`, `warn` or `info`.
    pub severity: String,
    /// What it is about.
    pub title: String,
    /// What to do.
    #[serde(default)]
    pub action: String,
    /// Who says so.
    #[serde(default)]
    pub source: String,
}

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
    /// Who vouches for the digest: `catalogue`, `document`, `given` (`--sha256`) or `signature`.
    #[serde(default)]
    pub proof: String,
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
    /// True when the service was left stopped for the next tool.
    #[serde(default)]
    pub left_stopped: bool,
    /// Duration in seconds.
    #[serde(default)]
    pub seconds: f64,
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

/// `verify`: what the checks say.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Verify {
    /// Number of checks by status.
    pub counts: Map<String, Value>,
    /// Every check.
    pub checks: Vec<Check>,
    /// Duration in seconds.
    #[serde(default)]
    pub seconds: f64,
}

/// What a check found. `Error` (could not look) is neither a pass nor a fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Looked, and it is good.
    Pass,
    /// Looked, and it is bad.
    Fail,
    /// Looked; somebody should know.
    Warn,
    /// Not asked for.
    Skip,
    /// Could not look.
    Error,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Check {
    /// Stable identifier.
    pub id: String,
    /// What is checked.
    pub title: String,
    /// The finding.
    pub status: Status,
    /// What was seen.
    #[serde(default)]
    pub evidence: String,
    /// What it was compared with, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compared_with: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Duration in seconds.
    #[serde(default)]
    pub seconds: f64,
}

/// `error`: the failure that stopped the pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Failure {
    /// The tool that failed.
    pub tool: String,
    /// Its exit code, which every later tool repeats.
    pub code: u8,
    /// Kind of failure.
    pub kind: String,
    /// What was attempted.
    pub message: String,
    /// Why it did not work.
    #[serde(default)]
    pub causes: Vec<String>,
    /// What to do next.
    #[serde(default)]
    pub hint: Option<String>,
}
