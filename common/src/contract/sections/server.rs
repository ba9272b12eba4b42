//! Where it all happens: the run and the installation.

use std::path::PathBuf;

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::contract::version::Edition;

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
    /// Digest of the identifier of the machine that it was planned on; absent on paper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Where the state directories of that machine are: every tool of the run uses this place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_dir: Option<PathBuf>,
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
    /// How the version was found out: `manifest`, `server`, `binary`, `isolated-run` or `supposed`.
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
    /// It could not be found out whether it lives in one: that takes root.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cluster_unknown: bool,
    /// Size of the database.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// Rows of `posts`; from 100,000 on as PostgreSQL estimates them.
    #[serde(default)]
    pub posts: Option<u64>,
}
