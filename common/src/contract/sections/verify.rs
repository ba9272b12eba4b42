//! What mm-verify writes.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

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
