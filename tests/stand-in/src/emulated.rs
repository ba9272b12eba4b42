//! Which release an executable pretends to be. It stands at the end of the executable itself, as in the real thing, so that every release has a
//! `bin/mattermost` with a digest of its own and a copied binary takes its identity along.

use std::fmt;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::str::FromStr;

use serde_json::{Value, json};

use crate::error::{During as _, Error, Result};

/// A version of Mattermost, `9.11.18`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// 9
    pub major: u32,
    /// 11
    pub minor: u32,
    /// 18
    pub patch: u32,
}

impl Version {
    /// The version with these three numbers.
    #[must_use]
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// Whether this is release `major.minor.0` or newer.
    #[must_use]
    pub const fn at_least(self, major: u32, minor: u32) -> bool {
        self.major > major || (self.major == major && self.minor >= minor)
    }

    /// Whether a feature that came with line `from` and left with line `until` (both `X.Y`, empty for "always") is in this version.
    pub(crate) fn within(self, from: &str, until: &str) -> bool {
        let line = |text: &str| text.parse::<Self>().ok();
        line(from).is_none_or(|from| self >= from) && line(until).is_none_or(|until| self < until)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl FromStr for Version {
    type Err = Error;

    /// Reads `X.Y.Z` or `X.Y`.
    fn from_str(text: &str) -> Result<Self> {
        let parts: Vec<Option<u32>> = text.split('.').map(|part| part.parse().ok()).collect();
        match parts.as_slice() {
            [Some(major), Some(minor)] => Ok(Self::new(*major, *minor, 0)),
            [Some(major), Some(minor), Some(patch)] => Ok(Self::new(*major, *minor, *patch)),
            _ => Err(Error::new(format!("`{text}` is not a version like 9.11.18"))),
        }
    }
}

/// Team or Enterprise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edition {
    /// `mattermost-team-V-linux-amd64.tar.gz`
    Team,
    /// `mattermost-V-linux-amd64.tar.gz`
    Enterprise,
}

impl Edition {
    /// `team` or `enterprise`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Team => "team",
            Self::Enterprise => "enterprise",
        }
    }
}

impl FromStr for Edition {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "team" => Ok(Self::Team),
            "enterprise" => Ok(Self::Enterprise),
            other => Err(Error::new(format!("`{other}` is neither team nor enterprise"))),
        }
    }
}

/// What is written at the end of `bin/mattermost`.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) version: Version,
    pub(crate) edition: Edition,
    pub(crate) faults: Vec<String>,
}

const MAGIC: &[u8; 16] = b"STAND-IN-RELEASE";

impl Identity {
    /// The bytes to append to the executable: JSON, its length, a magic word.
    pub(crate) fn trailer(&self) -> Vec<u8> {
        let text = json!({"version": self.version.to_string(), "edition": self.edition.name(), "faults": self.faults})
            .to_string();
        let mut bytes = text.into_bytes();
        let length = bytes.len() as u64;
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(MAGIC);
        bytes
    }

    /// Reads the identity of an executable; none for the builder itself.
    pub(crate) fn of(executable: &Path) -> Result<Option<Self>> {
        let doing = || format!("reading the end of {}", executable.display());
        let mut file = File::open(executable).during(doing)?;
        let size = file.seek(SeekFrom::End(0)).during(doing)?;
        let Some(at) = size.checked_sub(24) else { return Ok(None) };
        let mut tail = [0_u8; 24];
        file.seek(SeekFrom::Start(at)).during(doing)?;
        file.read_exact(&mut tail).during(doing)?;
        let (length, magic) = tail.split_at(8);
        if magic != MAGIC {
            return Ok(None);
        }
        let length = u64::from_le_bytes(length.try_into().unwrap_or_default());
        file.seek(SeekFrom::Start(at.saturating_sub(length))).during(doing)?;
        let mut text = String::new();
        file.take(length).read_to_string(&mut text).during(doing)?;
        let value: Value = serde_json::from_str(&text).during(doing)?;
        let word = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
        let faults = value.get("faults").and_then(Value::as_array).into_iter().flatten();
        Ok(Some(Self {
            version: word("version").parse()?,
            edition: word("edition").parse()?,
            faults: faults.filter_map(Value::as_str).map(str::to_owned).collect(),
        }))
    }

    /// A plausible date of the build, the same for every build of this version.
    pub(crate) fn build_date(&self) -> &'static str {
        if self.version.at_least(8, 0) { "Tue Jun  4 12:00:00 UTC 2024" } else { "Thu Jan 14 12:00:00 UTC 2021" }
    }

    /// Forty hexadecimal digits that depend on the version and the edition only.
    pub(crate) fn build_hash(&self) -> String {
        crate::text::sha256_hex(format!("{} {}", self.version, self.edition.name()).as_bytes())
            .chars()
            .take(40)
            .collect()
    }
}
