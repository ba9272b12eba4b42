//! What the server wrote to its log since a moment: JSON lines, with other lines among them when something is wrong.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use crate::machine::files;
use crate::machine::service::{Manager, Service, exec};
use crate::mattermost::config::Config;
use serde_json::Value;

/// Of a log that grows faster than this during a start only the end is looked at.
const MOST: u64 = 8 * 1024 * 1024;

/// Lines of an error that are quoted.
const QUOTED: usize = 3;

/// The logs of a server and where they ended at some moment.
#[derive(Debug, Clone)]
pub struct Mark {
    places: Vec<(PathBuf, u64)>,
    /// Words that must not be repeated: the database password stands in the messages of old versions.
    secrets: Vec<String>,
}

impl Mark {
    /// The present ends of the server's log file and of what its console output goes to.
    pub fn now(root: &Path, config: &Config, service: &Service) -> Self {
        let location = config.text("LogSettings", "FileLocation").filter(|location| !location.is_empty());
        let mut paths = vec![root.join(location.as_deref().unwrap_or("logs")).join("mattermost.log")];
        if service.manager == Manager::Exec {
            paths.push(exec::log_file(&service.state));
        }
        let end = |path: &PathBuf| files::look(path).ok().flatten().map_or(0, |data| data.len());
        let source = config.data_source().ok();
        let secrets = source.map(|(source, _)| secrets_of(source.reveal())).unwrap_or_default();
        Self { places: paths.into_iter().map(|path| (path.clone(), end(&path))).collect(), secrets }
    }

    /// A line that says that the server gives up.
    pub fn fatal(&self) -> Option<String> {
        self.lines().into_iter().find(|line| is_fatal(line)).map(|line| self.shown(&line))
    }

    /// The last complaints, for the error of a server that did not get healthy.
    pub fn complaints(&self) -> Vec<String> {
        let lines = self.lines();
        let mut found: Vec<String> =
            lines.iter().rev().filter(|line| is_complaint(line)).take(QUOTED).map(|line| self.shown(line)).collect();
        found.reverse();
        found.dedup();
        found
    }

    fn lines(&self) -> Vec<String> {
        self.places.iter().flat_map(|(path, end)| since(path, *end)).collect()
    }

    fn shown(&self, line: &str) -> String {
        let value: Value = serde_json::from_str(line).unwrap_or_default();
        let text = match value.get("msg").and_then(Value::as_str) {
            Some(message) => match ["error", "err_details", "reason"].iter().find_map(|key| value.get(key)?.as_str()) {
                Some(cause) => format!("{message}: {cause}"),
                None => message.to_owned(),
            },
            None => line.to_owned(),
        };
        let text = self.secrets.iter().fold(text, |text, secret| text.replace(secret, "***"));
        let end = text.char_indices().nth(400).map_or(text.len(), |(at, _)| at);
        format!("the server's log: {}", &text[..end])
    }
}

/// A log that became shorter was begun anew.
fn since(path: &Path, end: u64) -> Vec<String> {
    let Ok(mut file) = files::open_nofollow(path) else { return Vec::new() };
    let length = file.metadata().map_or(0, |data| data.len());
    let from = if length < end { 0 } else { end };
    let text = read(&mut file, from.max(length.saturating_sub(MOST)));
    String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
}

fn read(file: &mut File, from: u64) -> Vec<u8> {
    let mut text = Vec::new();
    if file.seek(SeekFrom::Start(from)).is_ok() {
        let _ = file.take(MOST).read_to_end(&mut text);
    }
    text
}

/// The whole data source and the password in it, as it stands there and with its escapes resolved.
fn secrets_of(source: &str) -> Vec<String> {
    let mut found = vec![source.to_owned()];
    if let Ok(parsed) = crate::postgres::source::DataSource::parse(source)
        && let Some(password) = parsed.password
        && !password.reveal().is_empty()
    {
        found.push(password.reveal().to_owned());
    }
    if let Some((credentials, _)) = source.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@'))
        && let Some((_, password)) = credentials.split_once(':')
        && !password.is_empty()
    {
        found.push(password.to_owned());
    }
    found
}

fn level(line: &str) -> Option<String> {
    serde_json::from_str::<Value>(line).ok()?.get("level")?.as_str().map(str::to_owned)
}

/// `critical` is what 5.x says before it exits, `fatal` later versions (observed).
fn is_fatal(line: &str) -> bool {
    level(line).is_some_and(|level| matches!(level.as_str(), "fatal" | "critical" | "panic"))
        || line.starts_with("panic: ")
}

fn is_complaint(line: &str) -> bool {
    is_fatal(line) || level(line).as_deref() == Some("error") || line.starts_with("Error: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn healthy_errors_are_not_fatal() {
        assert!(!is_fatal(r#"{"level":"error","msg":"License key from https://mattermost.com required"}"#));
        assert!(is_fatal(r#"{"level":"critical","ts":1.5,"msg":"Failed to upgrade database."}"#));
        assert!(is_fatal("panic: runtime error"));
        assert!(is_complaint("Error: failed to initialize platform"));
        assert!(!is_complaint("can't open new logfile"));
    }

    #[test]
    fn the_password_is_not_repeated() {
        let mark = Mark { places: Vec::new(), secrets: secrets_of("postgres://u:hunter2@h/d") };
        let shown = mark.shown(r#"{"msg":"cannot open","error":"dial hunter2 failed"}"#);
        assert_eq!(shown, "the server's log: cannot open: dial *** failed");
    }

    #[test]
    fn only_what_came_after_the_mark_counts() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("log");
        files::write(&path, b"old\nnew\n", files::Access::PRIVATE).unwrap();
        assert_eq!(since(&path, 4), ["new"]);
        assert_eq!(since(&path, 100), ["old", "new"]);
        assert!(since(&place.path().join("none"), 0).is_empty());
    }
}
