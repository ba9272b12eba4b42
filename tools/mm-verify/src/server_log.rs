//! The server's log, as it grows: lines of level error and above. One file holds the formats of several releases, and
//! lines that are no JSON (observed).

use std::collections::BTreeMap;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use mm_common::machine::files;
use mm_common::{Error, Result};
use serde_json::Value;

/// What is read at once at most: a server in trouble can write faster than anybody reads.
const MOST: u64 = 4 * 1024 * 1024;

/// A log and how far it was read.
#[derive(Debug)]
pub(crate) struct ServerLog {
    path: PathBuf,
    inode: u64,
    at: u64,
}

impl ServerLog {
    /// The log at `path`; reading begins `before` bytes before its end.
    pub(crate) fn at(path: &Path, before: u64) -> Self {
        let data = files::look(path).ok().flatten();
        let (inode, size) = data.map_or((0, 0), |data| (data.ino(), data.len()));
        Self { path: path.into(), inode, at: size.saturating_sub(before) }
    }

    /// Error messages since the last call, each with its number. A log that is not there has none.
    pub(crate) fn errors(&mut self) -> Result<BTreeMap<String, u64>> {
        let Some(data) = files::look(&self.path)? else { return Ok(BTreeMap::new()) };
        if data.ino() != self.inode || data.len() < self.at {
            // It was rotated: the new one is read from its beginning.
            (self.inode, self.at) = (data.ino(), 0);
        }
        let failed = |error| Error::io("read", &self.path, error);
        self.at = self.at.max(data.len().saturating_sub(MOST));
        let mut file = files::open_nofollow(&self.path)?;
        file.seek(SeekFrom::Start(self.at)).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(MOST).read_to_end(&mut bytes).map_err(failed)?;
        // A line that is being written is read next time.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.at += whole as u64;
        Ok(errors_of(&String::from_utf8_lossy(&bytes[..whole])))
    }
}

/// What the server writes about a plugin that does not start (public reports of 6.3 and 7.1 to 7.8).
const OF_PLUGINS: &[&str] =
    &["Unable to activate plugin", "Failed to sync plugin from file store", "Table creation / migration failed"];
/// How far back such a line is looked for.
const RECENT: u64 = 1024 * 1024;

/// The newest line about a plugin that did not start: message, plugin and reason. Lines with `secret` are left out.
pub(crate) fn about_plugins(path: &Path, secret: Option<&str>) -> Option<String> {
    let data = files::look(path).ok()??;
    let mut file = files::open_nofollow(path).ok()?;
    file.seek(SeekFrom::Start(data.len().saturating_sub(RECENT))).ok()?;
    let mut bytes = Vec::new();
    file.take(RECENT).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let is_safe = |line: &&str| secret.is_none_or(|secret| secret.is_empty() || !line.contains(secret));
    let is_about = |line: &&str| OF_PLUGINS.iter().any(|words| line.contains(words));
    let entry = text.lines().rev().filter(is_about).filter(is_safe).find_map(|line| {
        let entry: Value = serde_json::from_str(line).ok()?;
        let parts = ["msg", "plugin_id", "error", "err"].map(|key| entry[key].as_str().unwrap_or_default().to_owned());
        Some(parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": "))
    })?;
    Some(entry.chars().take(300).collect())
}

fn errors_of(text: &str) -> BTreeMap<String, u64> {
    let mut errors = BTreeMap::new();
    for line in text.lines() {
        let message = match serde_json::from_str::<Value>(line) {
            Ok(entry) => match entry["level"].as_str() {
                Some("error" | "fatal" | "critical" | "panic") => {
                    entry["msg"].as_str().unwrap_or("no message").to_owned()
                }
                _ => continue,
            },
            Err(_) if line.starts_with("panic: ") => line.to_owned(),
            Err(_) => continue,
        };
        // A message may end in something that differs each time; its beginning says what it is.
        *errors.entry(message.chars().take(120).collect()).or_default() += 1;
    }
    errors
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn both_formats_are_read_and_other_lines_survived() {
        let errors = errors_of(
            "{\"level\":\"error\",\"ts\":1795348684.6,\"msg\":\"old\"}\n\
             {\"timestamp\":\"2026-11-22 12:10:35.615 Z\",\"level\":\"error\",\"msg\":\"new\"}\n\
             {\"level\":\"info\",\"msg\":\"fine\"}\nwrite error: can't open new logfile\npanic: oh\n",
        );
        assert_eq!(errors.keys().map(String::as_str).collect::<Vec<_>>(), ["new", "old", "panic: oh"]);
    }

    #[test]
    fn only_what_is_new_is_read_also_after_a_rotation() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let append = |text: &str| {
            std::fs::File::options().create(true).append(true).open(&path).unwrap().write_all(text.as_bytes()).unwrap();
        };
        append("{\"level\":\"error\",\"msg\":\"before\"}\n");
        let mut log = ServerLog::at(&path, 0);
        append("{\"level\":\"error\",\"msg\":\"one\"}\n{\"level\":\"error\"");
        assert_eq!(log.errors().unwrap().into_keys().collect::<Vec<_>>(), ["one"]);
        append(",\"msg\":\"two\"}\n");
        assert_eq!(log.errors().unwrap().into_keys().collect::<Vec<_>>(), ["two"]);
        files::rename(&path, &directory.path().join("log.1")).unwrap();
        append("{\"level\":\"error\",\"msg\":\"three\"}\n");
        assert_eq!(log.errors().unwrap().into_keys().collect::<Vec<_>>(), ["three"]);
    }
}
