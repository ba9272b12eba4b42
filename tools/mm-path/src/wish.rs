//! What somebody wants of a path.

use std::fmt;
use std::str::FromStr;

use mm_common::contract::version::Edition;
use mm_common::mattermost::catalogue::Line;
use semver::Version;

/// Which releases a path stops at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Policy {
    /// The newest dot release of each extended support line, and the required stops.
    #[default]
    Esr,
    /// The newest dot release of every feature line.
    Minor,
    /// Only the required stops.
    Direct,
}

impl Policy {
    /// The name on the command line and in the document.
    pub fn name(self) -> &'static str {
        match self {
            Self::Esr => "esr",
            Self::Minor => "minor",
            Self::Direct => "direct",
        }
    }
}

/// A release, or any release of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spot {
    /// `10.6.1`
    Version(Version),
    /// `10.6`
    Line(Line),
}

impl Spot {
    /// Whether the version is meant.
    pub fn covers(&self, version: &Version) -> bool {
        match self {
            Self::Version(own) => own == version,
            Self::Line(line) => *line == Line::of(version),
        }
    }

    /// Whether a stop there lies at or behind this release: it was made, or there is no going back to it.
    pub fn is_behind(&self, reached: &Version) -> bool {
        match self {
            Self::Version(version) => version <= reached,
            Self::Line(line) => *line <= Line::of(reached),
        }
    }
}

impl FromStr for Spot {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.strip_prefix('v').unwrap_or(text);
        if let Ok(version) = Version::parse(text) {
            return Ok(Self::Version(version));
        }
        text.parse().map(Self::Line).map_err(|_| format!("`{text}` is neither a version (10.6.1) nor a line (10.6)"))
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => version.fmt(f),
            Self::Line(line) => line.fmt(f),
        }
    }
}

/// Where a path is to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A release, or the newest dot release of a line.
    Spot(Spot),
    /// The newest release that can be proven.
    Latest,
    /// The newest extended support release that can be proven.
    LatestEsr,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "latest" => Ok(Self::Latest),
            "latest-esr" => Ok(Self::LatestEsr),
            _ => text.parse().map(Self::Spot).map_err(|fault: String| format!("{fault}, latest or latest-esr")),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spot(spot) => spot.fmt(f),
            Self::Latest => f.write_str("latest"),
            Self::LatestEsr => f.write_str("latest-esr"),
        }
    }
}

/// Everything about a path that a person decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Where it ends.
    pub to: Target,
    /// Which releases it stops at.
    pub policy: Policy,
    /// Stops it must make.
    pub via: Vec<Spot>,
    /// Stops it must not make.
    pub avoid: Vec<Spot>,
    /// The PostgreSQL major to be on at the end.
    pub postgres: Option<u32>,
    /// The edition to be on from the first hop on; none keeps the installed one.
    pub edition: Option<Edition>,
}

impl Wish {
    /// Whether a version must not be stopped at.
    pub fn avoids(&self, version: &Version) -> bool {
        self.avoid.iter().any(|spot| spot.covers(version))
    }

    /// Whether a stop at this version or its line was asked for.
    pub fn names(&self, version: &Version) -> bool {
        self.via.iter().any(|spot| spot.covers(version))
    }

    /// Drops the stops that were made: what lies at or behind this release.
    pub fn forget_behind(&mut self, reached: &Version) {
        self.via.retain(|spot| !spot.is_behind(reached));
    }

    /// Whether a stop at exactly this version was asked for.
    pub fn names_exactly(&self, version: &Version) -> bool {
        self.via.contains(&Spot::Version(version.clone()))
    }
}
