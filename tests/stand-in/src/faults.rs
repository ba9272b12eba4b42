//! Broken on demand: the ways in which a stand-in can be told to misbehave, and the settings that shorten its waits.
//!
//! Words come from three places, all of which count: the release itself (`--fault` of the builder), the file `bin/.stand-in-faults` beside the
//! executable (one word a line, `#` comments), and the environment variable `STAND_IN_FAULTS` (comma-separated). A word is `name`, `name=value`, and may
//! end in `@VERSION`: then only the server of that version obeys it.
//!
//! The README of this crate lists the words.

use std::path::Path;
use std::time::Duration;

use crate::emulated::{Identity, Version};

/// The words in force.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    words: Vec<(String, String)>,
}

impl Faults {
    /// Collects the words for this executable.
    pub(crate) fn of(identity: &Identity, executable: &Path) -> Self {
        let beside = executable.with_file_name(".stand-in-faults");
        let file = std::fs::read_to_string(beside).unwrap_or_default();
        let environment = std::env::var("STAND_IN_FAULTS").unwrap_or_default();
        let mut words: Vec<String> = identity.faults.clone();
        words.extend(file.lines().map(str::to_owned));
        words.extend(environment.split(',').map(str::to_owned));
        Self::parse(words.iter().map(String::as_str), identity.version)
    }

    fn parse<'a>(words: impl Iterator<Item = &'a str>, version: Version) -> Self {
        let mut kept = Vec::new();
        for word in words.map(str::trim).filter(|word| !word.is_empty() && !word.starts_with('#')) {
            let (word, only) = word.rsplit_once('@').map_or((word, None), |(word, only)| (word, Some(only)));
            if only.is_some_and(|only| only.parse::<Version>().ok() != Some(version)) {
                continue;
            }
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            kept.push((name.to_owned(), value.to_owned()));
        }
        Self { words: kept }
    }

    /// The value of the last word of that name; empty when it has none, `None` when it was not said.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.words.iter().rev().find(|(word, _)| word == name).map(|(_, value)| value.as_str())
    }

    /// Whether a call is to fail: `call-broken=METHOD /PATH`, with `*` for any one part of the path below `/api/v4`.
    pub(crate) fn breaks(&self, method: &str, path: &[&str]) -> bool {
        self.words.iter().filter(|(word, _)| word == "call-broken").any(|(_, call)| {
            let (wanted, pattern) = call.split_once(' ').unwrap_or((call, ""));
            let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
            wanted == method
                && parts.len() == path.len()
                && parts.iter().zip(path).all(|(wanted, part)| *wanted == "*" || wanted == part)
        })
    }

    /// The version to show: the emulated one unless told to lie.
    pub(crate) fn version(&self, emulated: Version) -> String {
        self.value("wrong-version").map_or_else(|| emulated.to_string(), str::to_owned)
    }

    /// The build number to show: the version, as in builds of one's own, unless told otherwise.
    pub(crate) fn build(&self, emulated: Version) -> String {
        self.value("build-number").map_or_else(|| self.version(emulated), str::to_owned)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// The value in seconds, `default` when the word stands without one, `None` when it was not said.
    pub(crate) fn seconds(&self, name: &str, default: f64) -> Option<Duration> {
        let seconds = self.value(name)?.parse().unwrap_or(default);
        Duration::try_from_secs_f64(seconds).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_holds_for_its_version_and_its_call_only() {
        let words = ["crash-at-start@9.5.14", "slow-migration=3@9.11.18", "# no", "job-stuck"];
        let faults = Faults::parse(words.into_iter(), Version::new(9, 11, 18));
        assert!(!faults.has("crash-at-start"));
        let calls = Faults::parse(["call-broken=GET /posts/*/thread"].into_iter(), Version::new(9, 11, 18));
        assert!(calls.breaks("GET", &["posts", "x", "thread"]));
        assert!(!calls.breaks("PUT", &["posts", "x", "thread"]) && !calls.breaks("GET", &["posts", "x"]));
        assert_eq!(faults.seconds("slow-migration", 1.0), Some(Duration::from_secs(3)));
        assert!(faults.has("job-stuck"));
    }
}
