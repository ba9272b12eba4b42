//! Release lines (`5.37`) and dotted numbers (`2.34`).

use std::fmt;
use std::str::FromStr;

use semver::Version;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A line of releases: the `X.Y` that its dot releases share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line {
    /// The first number.
    pub major: u64,
    /// The second number.
    pub minor: u64,
}

impl Line {
    /// The line that a version belongs to.
    pub fn of(version: &Version) -> Self {
        Self { major: version.major, minor: version.minor }
    }

    /// The lowest version that belongs to the line.
    pub fn first(self) -> Version {
        Version::new(self.major, self.minor, 0)
    }

    /// The lowest version that is beyond the line.
    pub fn next(self) -> Version {
        Version::new(self.major, self.minor + 1, 0)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Line {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let (major, minor) = numbers.ok_or_else(|| format!("`{text}` is not a release line such as 10.11"))?;
        Ok(Self { major, minor })
    }
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What is known of a line as a whole.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineInfo {
    /// The line.
    pub line: Line,
    /// An extended support release: the stops of the default policy.
    #[serde(default)]
    pub esr: bool,
    /// The last day of support, as published (`2022-04-15`).
    #[serde(default)]
    pub end_of_support: Option<String>,
}

/// A number in parts, compared part by part: a glibc (`2.34`) or MySQL version (`5.7.12`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dotted(Vec<u32>);

impl Dotted {
    /// The first part.
    pub fn major(&self) -> u32 {
        self.0.first().copied().unwrap_or(0)
    }
}

impl fmt::Display for Dotted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&parts.join("."))
    }
}

impl FromStr for Dotted {
    type Err = String;

    /// Reads the leading number; what follows (`8.0.36-0ubuntu0`) is left out.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let number = text[..end].trim_end_matches('.');
        let parts: Result<Vec<u32>, _> = number.split('.').map(str::parse).collect();
        parts.map(Self).map_err(|_| format!("`{text}` is not a version number"))
    }
}

impl<'de> Deserialize<'de> for Dotted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
