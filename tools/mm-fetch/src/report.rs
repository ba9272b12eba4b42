//! What people read at the end. Pure.

use std::fmt::Write as _;

use mm_common::contract::error::Error;
use mm_common::contract::sections::Missing;
use mm_common::contract::ui;

use crate::plan::Step;
use crate::work::{Done, Task};

/// The line that becomes `msg`.
pub(crate) fn summary(done: &[Done], missing: &[Missing]) -> String {
    if done.is_empty() && missing.is_empty() {
        return "nothing to fetch".into();
    }
    let fetched = done.iter().filter(|one| one.fetched).count();
    let mut text = format!("{} at hand and proven, {fetched} fetched now", ui::count(done.len(), "release"));
    if !missing.is_empty() {
        let versions: Vec<_> = missing.iter().map(|one| one.version.to_string()).collect();
        // Writing to a String cannot fail.
        let _ = write!(text, "; without {} (not needed to go on)", versions.join(", "));
    }
    text
}

/// The table for a terminal.
pub(crate) fn table(done: &[Done], missing: &[Missing]) -> String {
    let mut text =
        format!("{:<10} {:<10} {:>7}  {:<10} {:<12}  {}\n", "VERSION", "EDITION", "MB", "PROOF", "SHA-256", "ARCHIVE");
    for one in done {
        let _ = writeln!(
            text,
            "{:<10} {:<10} {:>7}  {:<10} {:<12}  {}{}",
            one.want.version.to_string(),
            one.want.edition.to_string(),
            one.held.bytes.div_ceil(1_000_000),
            one.want.proof,
            &one.held.sha256[..12],
            one.held.archive.display(),
            if one.fetched { "" } else { "  (was there)" }
        );
    }
    lacking(&mut text, missing);
    text
}

/// The plan, for `--dry-run`.
pub(crate) fn plan(steps: &[(Task, Step)], missing: &[Missing]) -> String {
    let mut text = format!("{:<10} {:<10} {:<10} {}\n", "VERSION", "EDITION", "PROOF", "WHAT");
    for (task, step) in steps {
        let from = task.source.as_ref().map(crate::source::Source::shown).unwrap_or_default();
        let what = match step {
            Step::Reuse => "hash what the cache has and use it".into(),
            Step::Get(0) => format!("fetch {from}"),
            Step::Get(have) => format!("fetch {from} from byte {have} on"),
            Step::Lacking => "unavailable".into(),
        };
        let (version, edition) = (task.want.version.to_string(), task.want.edition.to_string());
        let _ = writeln!(text, "{version:<10} {edition:<10} {:<10} {what}", task.want.proof);
    }
    lacking(&mut text, missing);
    text
}

/// The plan in one line.
pub(crate) fn intention(steps: &[(Task, Step)]) -> String {
    let there = steps.iter().filter(|(_, step)| *step == Step::Reuse).count();
    format!("would fetch {} of {}; the cache has the others", steps.len() - there, ui::count(steps.len(), "release"))
}

fn lacking(text: &mut String, missing: &[Missing]) {
    for one in missing {
        let _ = writeln!(text, "{:<10} not to be had: {}", one.version.to_string(), one.reason);
    }
}

/// Whether a failure only follows from another one.
pub(crate) fn is_consequence(error: &Error) -> bool {
    error.one_line().contains("because another release could not be fetched")
}
