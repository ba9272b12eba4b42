//! A run that has arrived is closed with its last retired release: without one there is no way back any more.

use std::fmt::Write as _;
use std::time::Duration;

use mm_common::contract::document::Document;
use mm_common::contract::error::Result;
use mm_common::contract::sections::Path;
use mm_common::contract::ui;
use mm_common::machine::closing::Closing;
use mm_common::machine::files;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::runs::{Run, Runs};
use mm_common::machine::story::Story;
use mm_common::mattermost::site::Ground;
use mm_common::run::Session;

use crate::operation::Operation;

/// The runs that have arrived, are open, and have none of their releases in `records` left but what is `going`.
fn finished(ground: &Ground, records: &[Operation], going: &[&Operation]) -> Result<Vec<Run>> {
    let mut left = Vec::new();
    for record in records.iter().filter(|record| !going.contains(record)) {
        if files::look(&record.aside)?.is_some() {
            left.push(record.run.as_deref());
        }
    }
    let mut finished = Vec::new();
    for run in Runs::of(ground.state.path()).all()? {
        // Of a release without a run nobody knows whose it is.
        let has_a_release = left.iter().any(|of| of.is_none_or(|of| of == run.id));
        if !has_a_release && run.end()?.is_none() && Story::read(&run).is_ok_and(|story| has_arrived(&story.base)) {
            finished.push(run);
        }
    }
    Ok(finished)
}

/// What closing them would say, when `going` went.
pub(crate) fn foreseen(ground: &Ground, records: &[Operation], going: &[&Operation]) -> Result<String> {
    let mut text = String::new();
    for run in finished(ground, records, going)? {
        let closing = Closing::of(&run, &ground.root)?;
        let released = ui::count(closing.pinned(), "restore point");
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "; would close the run {}, which has no retired release left then: {released} released, and it cannot be taken back any more",
            run.id
        );
    }
    Ok(text)
}

/// Closes the runs that have arrived and none of whose releases in `records` is left.
pub(crate) fn runs(session: &mut Session, ground: &Ground, records: &[Operation], lock: &LockGuard) -> Result<()> {
    for run in finished(ground, records, &[])? {
        // One that a tool works for is under way.
        let Ok(_run) = run.lock(Duration::ZERO) else { continue };
        let closing = Closing::of(&run, &ground.root)?;
        session.changed |= closing.close(lock)?;
        let released = ui::count(closing.pinned(), "restore point");
        ui::say(&format!("the run {} has no retired release left and is closed; {released} released", run.id));
    }
    Ok(())
}

/// Whether the release that a run is to arrive at has been put in place, by what its newest document says.
fn has_arrived(document: &Document) -> bool {
    let Ok(Some(path)) = document.section::<Path>("path") else { return false };
    match &path.next {
        Some(hop) => hop.to == path.target && document.get("swap").is_some_and(serde_json::Value::is_object),
        None => path.hops.is_empty() && path.blockers.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_arrived_when_its_target_was_put_in_place() {
        let hop = r#"{"from": "1.0.0", "to": "2.0.0", "changes": [], "edition": "team", "url": "", "sha256": [], "why": [], "needs": {}, "notes": []}"#;
        let document = |target: &str, next: &str, more: &str| {
            let path = format!(
                r#""path": {{"current": "1.0.0", "target": "{target}", "policy": "esr", "hops": [], "next": {next}, "blockers": [], "notes": []}}"#
            );
            Document::parse(format!(r#"{{"schema": "mm.upgrade/1", {path}{more}}}"#).as_bytes(), "here").unwrap()
        };
        assert!(has_arrived(&document("2.0.0", "null", "")));
        assert!(has_arrived(&document("2.0.0", hop, r#", "swap": {}"#)));
        assert!(!has_arrived(&document("2.0.0", hop, "")));
        assert!(!has_arrived(&document("3.0.0", hop, r#", "swap": {}"#)));
        assert!(!has_arrived(&document("x", "null", "")), "what cannot be understood has not");
    }
}
