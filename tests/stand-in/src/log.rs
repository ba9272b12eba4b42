//! The log of the server: one JSON object a line, in the file and on the console, in the form of the emulated version.
//! 5.x: `level, ts, caller, msg` and the console on stderr; 6.0 and newer: `timestamp, level, msg, caller` and the console on stdout.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};

use serde_json::{Map, Value, json};

use crate::emulated::Version;

struct Journal {
    version: Version,
    file: Option<Mutex<File>>,
    problem: Option<String>,
    console: AtomicBool,
}

static JOURNAL: OnceLock<Journal> = OnceLock::new();

/// Opens the log below `directory`; a directory that cannot be written is no reason not to start.
pub(crate) fn open(version: Version, directory: &Path, console: bool) {
    let path = directory.join("mattermost.log");
    let made =
        std::fs::create_dir_all(directory).and_then(|()| OpenOptions::new().create(true).append(true).open(&path));
    let problem =
        made.as_ref().err().map(|_| format!("can't open new logfile: open {}: permission denied", path.display()));
    let journal = Journal { version, file: made.ok().map(Mutex::new), problem, console: AtomicBool::new(console) };
    let _ = JOURNAL.set(journal);
}

/// Writes a line. `debug` goes to the file only.
pub(crate) fn line(level: &str, message: &str, fields: Value) {
    let Some(journal) = JOURNAL.get() else { return };
    let text = render(journal.version, level, message, fields, crate::text::now_ms());
    if let Some(mut file) = journal.file.as_ref().and_then(|file| file.lock().ok()) {
        let _ = file.write_all(text.as_bytes());
    } else if let Some(problem) = &journal.problem {
        let _ = writeln!(std::io::stderr(), "{} write error: {problem}", jiff::Timestamp::now());
    }
    if journal.console.load(Ordering::Relaxed) && level != "debug" {
        let _ = if journal.version.at_least(6, 0) {
            std::io::stdout().write_all(text.as_bytes())
        } else {
            std::io::stderr().write_all(text.as_bytes())
        };
    }
}

/// No console from here on (commands whose stdout is an answer).
pub(crate) fn quiet() {
    if let Some(journal) = JOURNAL.get() {
        journal.console.store(false, Ordering::Relaxed);
    }
}

pub(crate) fn info(message: &str, fields: Value) {
    line("info", message, fields);
}

pub(crate) fn warn(message: &str, fields: Value) {
    line("warn", message, fields);
}

pub(crate) fn error(message: &str, fields: Value) {
    line("error", message, fields);
}

pub(crate) fn debug(message: &str, fields: Value) {
    line("debug", message, fields);
}

fn render(version: Version, level: &str, message: &str, fields: Value, now: i64) -> String {
    let caller = if version.at_least(7, 2) { "platform/service.go:131" } else { "app/server.go:173" };
    let mut object = Map::new();
    if version.at_least(6, 0) {
        let stamp =
            jiff::Timestamp::from_millisecond(now).unwrap_or_default().strftime("%Y-%m-%d %H:%M:%S%.3f Z").to_string();
        object.insert("timestamp".to_owned(), json!(stamp));
        object.insert("level".to_owned(), json!(level));
        object.insert("msg".to_owned(), json!(message));
        object.insert("caller".to_owned(), json!(caller));
    } else {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of this century fit a double")]
        let seconds = now as f64 / 1000.0;
        object.insert("level".to_owned(), json!(level));
        object.insert("ts".to_owned(), json!(seconds));
        object.insert("caller".to_owned(), json!(caller));
        object.insert("msg".to_owned(), json!(message));
    }
    if let Value::Object(fields) = fields {
        object.extend(fields);
    }
    format!("{}\n", Value::Object(object))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stand_in_the_order_of_the_version() {
        let old = render(Version::new(5, 37, 10), "info", "hello", json!({"a": 1}), 1_795_348_684_621);
        assert!(old.starts_with(r#"{"level":"info","ts":1795348684.621,"caller":"#), "{old}");
        let new = render(Version::new(6, 3, 0), "info", "hello", json!({}), 1_795_348_684_621);
        assert!(
            new.starts_with(r#"{"timestamp":"2026-11-22 11:58:04.621 Z","level":"info","msg":"hello","caller":"#),
            "{new}"
        );
    }
}
