//! The sections of the document. Sizes are bytes, durations seconds, times RFC 3339 in UTC, versions strings.
//!
//! A section is written by one tool and read by others, so its shape stands here. Keys that a reader does not know are
//! ignored by the typed form and kept by the document itself.

mod path;
mod server;
mod steps;
mod verify;

pub use path::{CatalogueSeen, DatabaseNow, Hop, Needs, Note, Path, Preflight, Why};
pub use server::{Run, Site, SiteConfig, SiteDatabase, SiteService};
pub use steps::{Backup, Fetch, Fetched, Freeze, Missing, ModifiedFile, MysqlDump, Pgbump, Swap};
pub use verify::{Check, Status, Verify};

use serde::{Deserialize, Serialize};

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
    /// How the server is after it, where that was looked at: one sentence.
    #[serde(default)]
    pub state: Option<String>,
    /// What to do next.
    #[serde(default)]
    pub hint: Option<String>,
}
