//! Release lines (`5.37`) and dotted numbers (`2.34`).

use std::cmp::Ordering;
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
        Version::new(self.major, self.minor.saturating_add(1), 0)
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineInfo {
    /// The line.
    pub line: Line,
    /// An extended support release: the stops of the default policy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub esr: bool,
    /// The last day of support, as published (`2022-04-15`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_of_support: Option<String>,
}

/// A number in parts, compared part by part: a glibc (`2.34`) or MySQL version (`5.7.12`). A part that is not there is
/// zero: `8.0` is `8.0.0`.
#[derive(Debug, Clone)]
pub struct Dotted(Vec<u32>);

impl PartialEq for Dotted {
    fn eq(&self, other: &Self) -> bool {
        self.significant() == other.significant()
    }
}

impl Eq for Dotted {}

impl PartialOrd for Dotted {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Dotted {
    fn cmp(&self, other: &Self) -> Ordering {
        self.significant().cmp(other.significant())
    }
}

impl Dotted {
    /// The parts without zeros at the end.
    fn significant(&self) -> &[u32] {
        let end = self.0.iter().rposition(|part| *part != 0).map_or(0, |last| last + 1);
        &self.0[..end]
    }

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Found by fuzzing: `--to 5.18446744073709551615` ended in an overflow.
    #[test]
    fn the_last_line_of_all_has_none_after_it_and_does_not_overflow() {
        let line: Line = format!("5.{}", u64::MAX).parse().unwrap();
        assert_eq!(line.next(), line.first());
    }

    proptest! {
        #[test]
        fn lines_are_ordered_as_their_releases_and_hold_them(one: [u8; 3], other: [u8; 3]) {
            let version = |[major, minor, patch]: [u8; 3]| Version::new(major.into(), minor.into(), patch.into());
            let (one, other) = (version(one), version(other));
            if one <= other {
                prop_assert!(Line::of(&one) <= Line::of(&other));
            }
            let line = Line::of(&one);
            prop_assert!(line.first() <= one && one < line.next());
            prop_assert_eq!(line.to_string().parse::<Line>(), Ok(line));
        }

        #[test]
        fn dotted_numbers_are_ordered_part_by_part(one in proptest::collection::vec(any::<u16>(), 1..4), more in 1u16..) {
            let text = |parts: &[u16]| parts.iter().map(ToString::to_string).collect::<Vec<_>>().join(".");
            let read = |text: &str| text.parse::<Dotted>().unwrap();
            let longer = format!("{}.{more}", text(&one));
            prop_assert!(read(&text(&one)) < read(&longer));
            prop_assert_eq!(read(&text(&one)), read(&format!("{}.0", text(&one))));
            prop_assert_eq!(read(&longer).to_string(), longer.clone());
            prop_assert_eq!(read(&format!("{longer}-0ubuntu0.1")), read(&longer));
            prop_assert_eq!(read(&longer).major(), u32::from(one[0]));
        }
    }
}
