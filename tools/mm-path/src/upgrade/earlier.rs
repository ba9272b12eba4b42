//! A run of an mm-upgrade that kept its documents beside its links: it is told, taken back, and gone on with as a run of its
//! own.

use std::fmt::Write as _;
use std::path::PathBuf;

use mm_common::contract::document::Document;
use mm_common::contract::error::{Error, Result};
use mm_common::contract::sections::{Hop, Path};
use serde_json::Value;

use super::called::Called;

/// The file that says that it was taken back.
pub(super) const ROLLED_BACK: &str = "rolled-back";
const FINAL: &str = "final.json";
const CURRENT: &str = "current.json";
const PLANNED: &str = "plan.json";

/// Such a run.
pub(super) struct Earlier {
    pub(super) place: PathBuf,
    /// The words that it was begun with, those of this call behind them.
    pub(super) words: Vec<String>,
    pub(super) called: Called,
    document: Option<Document>,
}

impl Earlier {
    pub(super) fn of(place: PathBuf, words: Vec<String>) -> Result<Self> {
        let called = Called::of(&words)?;
        let path = [FINAL, CURRENT, PLANNED].map(|name| place.join(name)).into_iter().find(|path| path.exists());
        let document = path.map(|path| super::document(&path)).transpose()?;
        Ok(Self { place, words, called, document })
    }

    fn document(&self) -> Result<&Document> {
        self.document.as_ref().ok_or_else(|| {
            Error::refused(format!("the run {} has not planned anything", self.place.display()))
                .hint("begin one: mm-upgrade run --to VERSION")
        })
    }

    /// What it comes to, in lines.
    pub(super) fn text(&self) -> Result<String> {
        let document = self.document()?;
        let path: Option<Path> = document.section("path")?;
        let mut text = format!("run      {}, of an earlier mm-upgrade\n", self.place.display());
        let Some(path) = path else { return Ok(text) };
        // Writing to a String cannot fail.
        let _ = write!(text, "now      {}\ntarget   {}\n", path.current, path.target);
        for record in records(document) {
            if let Some(hop) = record.get("hop").and_then(|hop| serde_json::from_value::<Hop>(hop.clone()).ok()) {
                let _ = writeln!(text, "done     {} to {}", hop.from, hop.to);
            }
        }
        for hop in path.hops {
            let _ = writeln!(text, "to do    {} to {}", hop.from, hop.to);
        }
        Ok(text)
    }

    /// What there is to say where nothing is left to be done.
    ///
    /// # Errors
    /// Refused (exit 5) where it was taken back and is to go on.
    pub(super) fn is_settled(&self) -> Result<Option<String>> {
        let (place, was_taken_back) = (self.place.display(), self.place.join(ROLLED_BACK).exists());
        match self.called.verb.as_str() {
            "rollback" if was_taken_back => Ok(Some(format!("this run ({place}) has been rolled back already"))),
            "rollback" if self.point()?.is_none() => {
                Ok(Some("this run has made no restore point: nothing was changed".into()))
            }
            "resume" if was_taken_back => Err(Error::refused(format!("the last run ({place}) has been rolled back"))
                .hint("begin anew with 'mm-upgrade run'")),
            "resume" if self.place.join(FINAL).exists() => Ok(Some(format!("this run ({place}) has arrived already"))),
            _ => Ok(None),
        }
    }

    /// The restore point of its first hop.
    pub(super) fn point(&self) -> Result<Option<String>> {
        let id = |backup: Option<&Value>| backup?.get("id")?.as_str().map(str::to_owned);
        let recorded = self.document.as_ref().and_then(|document| id(records(document).first()?.get("backup")));
        if recorded.is_some() {
            return Ok(recorded);
        }
        // A hop that failed was set aside under another name.
        let of_first = |name: &str| name.starts_with("hop-1-") && !name.contains(".failed-");
        for entry in std::fs::read_dir(&self.place).into_iter().flatten().flatten() {
            let path = entry.path().join("backup.json");
            if entry.file_name().to_str().is_some_and(of_first)
                && path.exists()
                && let Some(id) = id(super::document(&path)?.get("backup"))
            {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }
}

fn records(document: &Document) -> &[Value] {
    document.get("done").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}
