//! `--prometheus`: how the last run went, in the text format that the textfile collector of the node exporter reads.

use std::fmt::Write as _;
use std::path::Path;

use jiff::Timestamp;
use mm_common::contract::error::Result;
use mm_common::contract::sections::Backup;
use mm_common::machine::files::{self, Access};

/// The line with the time of the last success, which a failed run must not lose.
const SUCCESS_TIME: &str = "mm_backup_last_success_timestamp_seconds";

/// What a run has to tell.
pub(crate) struct Run<'a> {
    /// The restore point; absent when there is none.
    pub backup: Option<&'a Backup>,
    /// Duration.
    pub seconds: f64,
    /// When it ended.
    pub now: Timestamp,
}

/// Writes the file.
pub(crate) fn write(path: &Path, run: &Run<'_>) -> Result<()> {
    let before = match files::look(path)? {
        Some(_) => files::read_text(path, 1 << 20)?,
        None => String::new(),
    };
    files::write(path, text(run, &before).as_bytes(), Access::PUBLIC)
}

fn text(run: &Run<'_>, before: &str) -> String {
    let mut text = String::new();
    let mut metric = |name: &str, help: &str, value: &dyn std::fmt::Display| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
    };
    metric("mm_backup_success", "Whether the last run made a restore point.", &u8::from(run.backup.is_some()));
    metric("mm_backup_last_run_timestamp_seconds", "When the last run ended.", &run.now.as_second());
    metric("mm_backup_duration_seconds", "How long the last run took.", &run.seconds);
    if let Some(backup) = run.backup {
        metric(SUCCESS_TIME, "When the newest restore point was made.", &run.now.as_second());
        metric("mm_backup_size_bytes", "Size of the newest restore point.", &backup.bytes);
        metric("mm_backup_files", "Files in the newest restore point.", &backup.files);
    } else if let Some(last) = before.lines().find_map(|line| line.strip_prefix(SUCCESS_TIME)) {
        metric(SUCCESS_TIME, "When the newest restore point was made.", &last.trim());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_does_not_forget_the_last_success() {
        let now = Timestamp::from_second(2_000).unwrap();
        let before = format!("# TYPE {SUCCESS_TIME} gauge\n{SUCCESS_TIME} 1000\n");
        let text = text(&Run { backup: None, seconds: 1.5, now }, &before);
        assert!(text.contains("\nmm_backup_success 0\n") || text.contains("gauge\nmm_backup_success 0\n"), "{text}");
        assert!(text.contains(&format!("\n{SUCCESS_TIME} 1000\n")), "{text}");
        assert!(text.contains("mm_backup_duration_seconds 1.5\n"), "{text}");
    }
}
