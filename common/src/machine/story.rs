//! What the documents of a run say of it: how far it is, and what has failed last.

use super::runs::{Kept, Run, step};
use crate::contract::document::Document;
use crate::contract::error::{Error, Result};
use crate::contract::sections::Failure;

/// What the documents of a run say.
pub struct Story {
    /// The newest document of a step of a hop that did not fail: what is known of the run.
    pub base: Document,
    /// What has failed since, by any tool.
    pub failure: Option<Failure>,
    /// The newest document of all.
    pub last: Kept,
}

impl Story {
    /// Reads them, the newest first, as far as is needed.
    ///
    /// # Errors
    /// Refused (exit 5) when none tells anything.
    pub fn read(run: &Run) -> Result<Self> {
        let mut failure = None;
        let mut last = None;
        for kept in run.documents()?.into_iter().rev() {
            let is_step = step(&kept.tool, &kept.verb).is_some() || kept.number == 0;
            if last.is_some() && !is_step {
                continue;
            }
            let document = Document::parse(&kept.read()?, &format!("in `{}`", kept.path.display()))?;
            let failed = document.failure()?;
            let is_newest = last.is_none();
            let last = last.get_or_insert(kept);
            match failed {
                None if is_step => return Ok(Self { base: document, failure, last: last.clone() }),
                Some(failed) if is_newest => failure = Some(failed),
                _ => {}
            }
        }
        Err(Error::refused(format!("no document of the run {} says how far it is", run.id))
            .because(format!("`{}` has none that is whole", run.path.display()))
            .hint("begin a run: mm-path --to VERSION, or mm-upgrade run --to VERSION"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::runs::Runs;

    #[test]
    fn a_run_is_known_by_its_newest_step_that_did_not_fail() {
        let place = tempfile::tempdir().unwrap();
        let run = Runs::of(place.path()).make("one", r#"{"schema": "mm.upgrade/1", "at": 0}"#).unwrap();
        let keep = |tool, verb, more: &str| {
            run.keep(tool, verb, &format!(r#"{{"schema": "mm.upgrade/1", {more}}}"#), None).unwrap();
        };
        let error =
            |tool| format!(r#""error": {{"tool": "{tool}", "code": 6, "kind": "rolled-back", "message": "no"}}"#);
        let at = |story: &Story| story.base.get("at").and_then(serde_json::Value::as_u64);
        assert_eq!(at(&Story::read(&run).unwrap()), Some(0));
        keep("mm-fetch", "run", r#""at": 1"#);
        keep("mm-swap", "run", &error("mm-swap"));
        // A check beside the hop says nothing of how far it is.
        let story = Story::read(&run).unwrap();
        assert_eq!((at(&story), story.failure.unwrap().tool.as_str()), (Some(1), "mm-swap"));
        keep("mm-pgbump", "check", r#""at": 3"#);
        let story = Story::read(&run).unwrap();
        assert_eq!((at(&story), story.failure, story.last.number), (Some(1), None, 3));
        keep("mm-backup", "restore", &error("mm-backup"));
        let story = Story::read(&run).unwrap();
        assert_eq!((at(&story), story.failure.unwrap().tool.as_str()), (Some(1), "mm-backup"));
    }
}
