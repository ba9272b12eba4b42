//! Release versions and editions.

use std::fmt;
use std::str::FromStr;

use semver::Version;
use serde::{Deserialize, Serialize};

use super::error::{Error, Result};

/// The two builds of a Mattermost release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Edition {
    /// Team Edition (`Build Enterprise Ready: false`).
    Team,
    /// Enterprise Edition, licensed or not.
    Enterprise,
}

impl fmt::Display for Edition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Team => "team",
            Self::Enterprise => "enterprise",
        })
    }
}

impl FromStr for Edition {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "team" => Ok(Self::Team),
            "enterprise" => Ok(Self::Enterprise),
            _ => Err(Error::usage(format!("`{text}` is not an edition")).hint("use `team` or `enterprise`")),
        }
    }
}

/// Reads a release version: `5.29.0`, also with a leading `v`. Two parts (`5.29`) are refused: that is a line.
pub fn parse(text: &str) -> Result<Version> {
    let bare = text.trim().trim_start_matches('v');
    Version::parse(bare).map_err(|error| {
        Error::usage(format!("`{text}` is not a release version")).because(error).hint("write it as in `10.6.1`")
    })
}

/// The release line of a version: `5.37` of 5.37.10.
pub fn line(version: &Version) -> String {
    format!("{}.{}", version.major, version.minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_versions_and_refuses_lines() {
        assert_eq!(line(&parse("v5.37.10").unwrap()), "5.37");
        assert!(parse("5.37").is_err());
        assert!(parse("").is_err());
    }
}
