//! The plan as a table for people, as wide as the terminal; elsewhere 100 columns, which fit a mail.

use std::fmt::Write as _;

use mm_common::contract::document::Document;
use mm_common::contract::sections::{Hop, Note, Path, Preflight, Status};
use mm_common::contract::terminal::wrap;
use mm_common::contract::ui;
use serde_json::Value;

/// The whole plan.
pub(crate) fn table(path: &Path, document: &Document, conclusion: Option<&str>, brief: bool) -> String {
    let mut text = String::new();
    let done = document.get("done").and_then(Value::as_array).map_or(0, Vec::len);
    headline(&mut text, path, done);
    for (index, hop) in path.hops.iter().enumerate() {
        one_hop(&mut text, index + 1, hop, brief);
    }
    list(&mut text, "Blocked", &path.blockers);
    if !brief {
        list(&mut text, "Notes", &path.notes);
        checks(&mut text, &path.checks);
    }
    text.push_str(conclusion.unwrap_or_default());
    if let Some(catalogue) = &path.catalogue {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\nRelease data of {} (mm-path --catalogue-status).", catalogue.as_of);
    }
    text
}

fn headline(text: &mut String, path: &Path, done: usize) {
    let (mut current, mut target) = (path.current.to_string(), path.target.to_string());
    if let (Some(before), Some(hop)) = (path.current_edition, path.hops.last()) {
        // Writing to a String cannot fail.
        let _ = (write!(current, " ({before})"), write!(target, " ({})", hop.edition));
    }
    let line = match (path.hops.len(), path.blockers.is_empty()) {
        (0, true) => format!("Mattermost {current} is where it should be: nothing to do."),
        (0, false) => format!("Mattermost {current} to {target}: blocked."),
        (1, _) => format!("Mattermost {current} to {target} in 1 hop"),
        (hops, _) => format!("Mattermost {current} to {target} in {hops} hops (policy {})", path.policy),
    };
    text.push_str(&line);
    if done > 0 {
        // Writing to a String cannot fail.
        let _ = write!(text, "; {done} done before");
    }
    text.push('\n');
}

fn one_hop(text: &mut String, number: usize, hop: &Hop, brief: bool) {
    let mut line = format!("{number:>3}  {} -> {}", hop.from, hop.to);
    if hop.is_of_database_alone() {
        line = format!("{number:>3}  {}, whose database is", hop.to);
    }
    if let Some(major) = hop.needs.postgres {
        // Writing to a String cannot fail.
        let _ = if hop.needs.is_move {
            let gap = if hop.is_of_database_alone() { "" } else { "  " };
            write!(line, "{gap} moved to PostgreSQL {major} or later")
        } else {
            write!(line, "   with PostgreSQL {major}")
        };
    }
    // Less than a second is not worth a word.
    if let Some(seconds) = hop.estimate.get("seconds").and_then(Value::as_f64).filter(|seconds| *seconds >= 1.0) {
        let _ = write!(line, "   about {} of migrations ({})", duration(seconds), basis(hop));
    }
    if !brief {
        text.push('\n');
    }
    wrap(text, "", "     ", &line);
    if brief {
        return;
    }
    if let Some(added) = hop.estimate.get("migrations").and_then(Value::as_array) {
        wrap(text, "     adds  ", "           ", &migrations(added));
    }
    for why in &hop.why {
        wrap(text, "     why   ", "           ", &format!("{} [{}]", why.text, why.rule));
    }
    let urgent = |note: &&Note| matches!(note.severity.as_str(), "block" | "action");
    for note in hop.notes.iter().filter(urgent) {
        wrap(text, "     do    ", "           ", &sentence(note));
    }
    let count = |severity: &str| hop.notes.iter().filter(|note| note.severity == severity).count();
    let (warnings, others) = (count("warn"), count("info"));
    if warnings + others > 0 {
        wrap(
            text,
            "     also  ",
            "           ",
            &format!("{} and {}: --notes shows them", ui::count(warnings, "warning"), ui::count(others, "remark")),
        );
    }
}

/// The migrations that the release of a hop adds; the first of an old database may add a hundred.
fn migrations(added: &[Value]) -> String {
    const NAMED: usize = 6;
    let names: Vec<&str> = added.iter().take(NAMED).filter_map(Value::as_str).collect();
    let more = match added.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    format!("{}: {}{more}", ui::count(added.len(), "migration"), names.join(", "))
}

fn basis(hop: &Hop) -> &str {
    hop.estimate.get("basis").and_then(Value::as_str).unwrap_or("a guess")
}

pub(crate) fn duration(seconds: f64) -> String {
    if seconds < 90.0 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) }
}

/// The releases to stop at, one a line.
pub(crate) fn hops(path: &Path) -> String {
    let stops = path.hops.iter().filter(|hop| !hop.is_of_database_alone());
    stops.fold(String::new(), |text, hop| text + &hop.to.to_string() + "\n")
}

/// When a note matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Before,
    After,
    Users,
}

/// The catalogue has no field for it; its words and its severity tell.
fn when(note: &Note) -> When {
    let action = note.action.to_lowercase();
    match note.severity.as_str() {
        "info" if note.action.is_empty() => When::Users,
        _ if action.contains("after") || action.starts_with("check ") || note.action.is_empty() => When::After,
        _ => When::Before,
    }
}

/// The upgrade notes of all hops, each said once.
pub(crate) fn notes(path: &Path) -> String {
    let of_hops = path.hops.iter().flat_map(|hop| hop.notes.iter().map(move |note| (note, hop.to.to_string())));
    let all: Vec<_> = of_hops.chain(path.notes.iter().map(|note| (note, String::new()))).collect();
    let mut text = String::new();
    for (group, title) in [
        (When::Before, "Before the upgrade"),
        (When::After, "After it, look at this"),
        (When::Users, "Tell your users"),
    ] {
        let mut said: Vec<String> = Vec::new();
        for (note, hop) in all.iter().filter(|(note, _)| when(note) == group) {
            let line = sentence(note);
            if said.contains(&line) {
                continue;
            }
            if said.is_empty() {
                if !text.is_empty() {
                    text.push('\n');
                }
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{title}");
            }
            wrap(&mut text, &format!("  {hop:<8} "), "           ", &format!("{line} [{}]", note.id));
            said.push(line);
        }
    }
    if text.is_empty() { "There are no upgrade notes for this path.\n".into() } else { text }
}

fn sentence(note: &Note) -> String {
    if note.action.is_empty() { note.title.clone() } else { format!("{}: {}", note.title, note.action) }
}

fn list(text: &mut String, title: &str, notes: &[Note]) {
    if notes.is_empty() {
        return;
    }
    // Writing to a String cannot fail.
    let _ = writeln!(text, "\n{title}");
    for note in notes {
        wrap(text, &format!("  {:<6} ", note.severity), "         ", &format!("{} [{}]", sentence(note), note.id));
    }
}

/// The findings of `--check`, the bad ones first; what is as it should be is only counted.
fn checks(text: &mut String, report: &[Preflight]) {
    if report.is_empty() {
        return;
    }
    let is = |status: Status| report.iter().filter(move |check| check.status == status);
    // Writing to a String cannot fail.
    let _ = writeln!(text, "\nChecks");
    for (status, label) in
        [(Status::Fail, "fail"), (Status::Warn, "warn"), (Status::Error, "unseen"), (Status::Pass, "info")]
    {
        for check in is(status).filter(|check| status != Status::Pass || !check.severity.is_empty()) {
            let mut line = format!("{}: {}", check.title, check.evidence);
            if let Some(hop) = &check.hop {
                let _ = write!(line, " (for {hop})");
            }
            if !check.fix.is_empty() {
                let _ = write!(line, " -- {}", check.fix);
            }
            let _ = write!(line, " [{}]", check.id);
            wrap(text, &format!("  {label:<6} "), "         ", &line);
        }
    }
    let quiet = is(Status::Pass).filter(|check| check.severity.is_empty()).count();
    let _ = writeln!(text, "  {quiet} found in order, {} beside the point here", is(Status::Skip).count());
}
