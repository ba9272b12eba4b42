//! A set of versions, written as one or more comparisons.

use semver::{Version, VersionReq};
use serde::Deserialize;

/// Versions that match at least one of the requirements (`[">=11.0.0, <11.6.5", "=11.8.0"]`).
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct Range(Vec<VersionReq>);

impl Range {
    /// Whether the version is in the set.
    pub fn contains(&self, version: &Version) -> bool {
        self.0.iter().any(|requirement| requirement.matches(version))
    }
}

impl Default for Range {
    /// Every version.
    fn default() -> Self {
        Self(vec![VersionReq::STAR])
    }
}
