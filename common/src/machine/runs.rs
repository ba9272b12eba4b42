//! The runs of an installation: `<state>/runs/<id>/` holds the document that each tool of a run has written, numbered in the
//! order in which they ended. What is still to be done follows from them and from the machine, never from times of files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::checkpoint;
use super::files::{self, Access};
use super::lock::{self, LockGuard};
use super::tree::Dir;
use crate::contract::error::{Context as _, Error, Kind, Result};
use crate::contract::time;

/// The directory of the runs in a state directory.
const RUNS: &str = "runs";
/// The file that holds the number of a run.
const NUMBER: &str = "number";
/// The document that a run begins with: mm-path's.
const PLAN: &str = "0000-mm-path-plan.json";
/// The file that says how a run has ended, where that is not for the documents to say.
const END: &str = "end";
/// Larger than any document or record.
const MOST: u64 = 64 * 1024 * 1024;
/// How long the tool before may take to put its document down.
const PATIENCE: Duration = Duration::from_secs(30);

/// A step of a hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The tool.
    pub tool: &'static str,
    /// Its verb.
    pub verb: &'static str,
    /// Whether it changes the installation or the cache, so that a run begins with it.
    pub changes: bool,
}

/// The steps of a hop, in their order.
pub const STEPS: [Step; 8] = [
    Step { tool: "mm-fetch", verb: "run", changes: true },
    Step { tool: "mm-swap", verb: "stage", changes: true },
    Step { tool: "mm-backup", verb: "create", changes: true },
    Step { tool: "mm-pgbump", verb: "run", changes: true },
    Step { tool: "mm-pgbump", verb: "move", changes: true },
    Step { tool: "mm-swap", verb: "run", changes: true },
    Step { tool: "mm-backup", verb: "complete", changes: false },
    Step { tool: "mm-verify", verb: "run", changes: false },
];

/// The step of a hop that this verb of this tool is, if it is one.
pub fn step(tool: &str, verb: &str) -> Option<&'static Step> {
    STEPS.iter().find(|step| step.tool == tool && step.verb == verb)
}

/// The runs of one installation.
#[derive(Debug, Clone)]
pub struct Runs {
    place: PathBuf,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its identifier.
    pub id: String,
    /// The how many-th it is of this installation, by the order in which they were begun.
    pub number: u64,
    /// Its directory.
    pub path: PathBuf,
}

/// A document of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its place in the order.
    pub number: u64,
    /// The tool that has written it.
    pub tool: String,
    /// Its verb.
    pub verb: String,
    /// Its file.
    pub path: PathBuf,
}

/// How a run ends but by arriving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// It is being taken back.
    RollingBack,
    /// It was taken back: the state before its first hop is in place.
    RolledBack,
    /// Somebody has closed it.
    Closed,
}

/// The record of such an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// How.
    pub ending: Ending,
    /// The restore point that it is taken back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<String>,
    /// Where a move of the database is taken back before that: whether the dump is restored then. It is decided once, since
    /// taking the move back removes what it is decided by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restores_dump: Option<bool>,
    /// When.
    pub at: String,
}

/// Whether a document's identifier can be the name of a directory of ours.
pub fn is_sound(id: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    (1..=80).contains(&id.len()) && !id.starts_with('.') && id.chars().all(plain)
}

impl Runs {
    /// The runs in the state directory of an installation. Nothing is created.
    pub fn of(state: &Path) -> Self {
        Self { place: state.join(RUNS) }
    }

    /// All runs, in the order in which they were begun.
    pub fn all(&self) -> Result<Vec<Run>> {
        if files::look(&self.place)?.is_none() {
            return Ok(Vec::new());
        }
        let mut runs = Vec::new();
        for name in Dir::open(&self.place)?.names()? {
            let Some(id) = name.to_str().filter(|id| is_sound(id)) else { continue };
            runs.extend(self.find(id)?);
        }
        runs.sort_by(|one, other| (one.number, &one.id).cmp(&(other.number, &other.id)));
        Ok(runs)
    }

    /// The run with this identifier.
    pub fn find(&self, id: &str) -> Result<Option<Run>> {
        let path = self.place.join(id);
        if !is_sound(id) || !files::look(&path)?.is_some_and(|data| data.is_dir()) {
            return Ok(None);
        }
        let number = files::read_text(&path.join(NUMBER), 64).ok().and_then(|text| text.trim().parse().ok());
        Ok(Some(Run { id: id.into(), number: number.unwrap_or_default(), path }))
    }

    /// The run with this identifier, or the one that was begun last.
    ///
    /// # Errors
    /// Refused (exit 5) when there is none.
    pub fn named(&self, id: Option<&str>) -> Result<Run> {
        let all = self.all()?;
        let newest = all.last().map(|run| run.id.clone());
        let found = match id.filter(|id| *id != "last") {
            Some(id) => all.into_iter().find(|run| run.id == id),
            None => all.into_iter().next_back(),
        };
        found.ok_or_else(|| match (id, newest) {
            (Some(id), Some(newest)) => Error::refused(format!("there is no run {id} in `{}`", self.place.display()))
                .hint(format!("the last one is {newest}")),
            _ => Error::refused(format!("there is no earlier run in `{}`", self.place.display()))
                .hint("begin one: mm-path --to VERSION, or mm-upgrade run --to VERSION"),
        })
    }

    /// The run with this identifier; it is made when it is not there. It appears with its number and the document that it
    /// begins with, or not at all.
    pub fn make(&self, id: &str, plan: &str) -> Result<Run> {
        if let Some(run) = self.find(id)? {
            return Ok(run);
        }
        if !is_sound(id) {
            return Err(Error::new(Kind::BadDocument, "the identifier of the document's run is none of mm-path's")
                .hint("begin again with mm-path"));
        }
        files::create_directory(&self.place, 0o700)?;
        let number = self.all()?.last().map_or(0, |run| run.number) + 1;
        let making = files::temporary_beside(&self.place.join(id))?;
        files::create_directory(&making, 0o700)?;
        files::write(&making.join(NUMBER), format!("{number}\n").as_bytes(), Access::PRIVATE)?;
        files::write(&making.join(PLAN), plan.as_bytes(), Access::PRIVATE)?;
        checkpoint::pass("run-making");
        let made = files::rename_new(&making, &self.place.join(id));
        if made.is_err() {
            // Somebody else was faster, or nobody can: the next line tells.
            let _ = super::tree::remove(&making);
        }
        files::sync_directory(&self.place)?;
        self.find(id)?.map_or_else(
            || made.and(Err(Error::failed(format!("the run {id} has vanished from `{}`", self.place.display())))),
            Ok,
        )
    }
}

impl Run {
    /// Takes the lock of the run: whoever holds it works on a hop of it, and has not put its document down yet.
    ///
    /// # Errors
    /// Kind `locked` (exit 75).
    pub fn lock(&self, wait: Duration) -> Result<LockGuard> {
        LockGuard::take(&self.path.join(lock::NAME), wait)
    }

    /// The documents in their order.
    pub fn documents(&self) -> Result<Vec<Kept>> {
        let names = Dir::open(&self.path)?.names()?;
        let mut kept: Vec<Kept> = names.iter().filter_map(|name| kept(&self.path, name.to_str()?)).collect();
        kept.sort_by(|one, other| (one.number, &one.path).cmp(&(other.number, &other.path)));
        Ok(kept)
    }

    /// Puts a document down: whole, synced, with the next number.
    pub fn keep(&self, tool: &str, verb: &str, text: &str, lock: Option<&LockGuard>) -> Result<PathBuf> {
        let _lock = if lock.is_none() { Some(self.lock(PATIENCE)?) } else { None };
        let number = self.documents()?.last().map_or(0, |last| last.number) + 1;
        let path = self.path.join(format!("{number:04}-{tool}-{verb}.json"));
        files::write(&path, text.as_bytes(), Access::PRIVATE)?;
        checkpoint::pass("document-kept");
        Ok(path)
    }

    /// How it has ended, where that was noted.
    pub fn end(&self) -> Result<Option<End>> {
        let path = self.path.join(END);
        if files::look(&path)?.is_none() {
            return Ok(None);
        }
        let text = files::read(&path, MOST)?;
        serde_json::from_slice(&text).map(Some).context(|| format!("cannot understand `{}`", path.display()))
    }

    /// Notes how it ends; `point` is the restore point that it is taken back to, `restores_dump` as in [`End`].
    pub fn set_end(&self, ending: Ending, point: Option<&str>, restores_dump: Option<bool>) -> Result<()> {
        let end = End { ending, point: point.map(str::to_owned), restores_dump, at: time::now() };
        let text = serde_json::to_vec(&end).context(|| "cannot note the end of a run".into())?;
        files::write(&self.path.join(END), &text, Access::PRIVATE)
    }

    /// It goes on: what was noted of its end counts no more.
    pub fn forget_end(&self) -> Result<()> {
        files::remove_file(&self.path.join(END))?;
        files::sync_directory(&self.path)
    }
}

impl Kept {
    /// Its text.
    pub fn read(&self) -> Result<Vec<u8>> {
        files::read(&self.path, MOST)
    }

    /// Where in a document the words for people say that it lies.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// `0003-mm-swap-run.json` is the third document of a run.
fn kept(directory: &Path, name: &str) -> Option<Kept> {
    let (number, rest) = name.strip_suffix(".json")?.split_once("-mm-")?;
    let (tool, verb) = rest.split_once('-')?;
    Some(Kept {
        number: number.parse().ok()?,
        tool: format!("mm-{tool}"),
        verb: verb.into(),
        path: directory.join(name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_their_documents_are_ordered_by_their_numbers() {
        let place = tempfile::tempdir().unwrap();
        let runs = Runs::of(place.path());
        assert_eq!(runs.named(None).unwrap_err().code(), 5);
        // A clock has stepped back between the two.
        let first = runs.make("20270101T000000Z-1", "{}").unwrap();
        let second = runs.make("20260101T000000Z-2", "{}").unwrap();
        assert_eq!((first.number, second.number), (1, 2));
        assert_eq!(runs.make(&first.id, "{}").unwrap(), first);
        assert_eq!(runs.named(None).unwrap(), second);
        assert_eq!(runs.named(Some("last")).unwrap(), second);
        assert_eq!(runs.named(Some(&first.id)).unwrap(), first);
        assert_eq!(runs.named(Some("other")).unwrap_err().next_step(), Some("the last one is 20260101T000000Z-2"));
        let lock = first.lock(Duration::ZERO).unwrap();
        for tool in ["mm-swap", "mm-fetch"] {
            first.keep(tool, "run", "{}", Some(&lock)).unwrap();
        }
        drop(lock);
        for _ in 0..9 {
            first.keep("mm-verify", "run", "{}", None).unwrap();
        }
        // What a cut has left half-written, and files of others, are no documents.
        for name in [".0012-mm-swap-run.json.1.1.tmp", "plan.json", "x-mm-swap-run.json"] {
            files::write(&first.path.join(name), b"{", Access::PRIVATE).unwrap();
        }
        let all = first.documents().unwrap();
        let numbers: Vec<u64> = all.iter().map(|kept| kept.number).collect();
        assert_eq!(numbers, (0..=11).collect::<Vec<_>>());
        assert_eq!((all[0].tool.as_str(), all[0].verb.as_str()), ("mm-path", "plan"));
        assert_eq!((all[2].tool.as_str(), all[2].verb.as_str()), ("mm-fetch", "run"));
        assert_eq!(all[2].name(), "0002-mm-fetch-run.json");
    }

    #[test]
    fn a_run_is_no_path_of_somebody_elses() {
        let place = tempfile::tempdir().unwrap();
        let runs = Runs::of(place.path());
        for id in ["", "..", "../x", ".hidden", "a/b", "a b", "a\n"] {
            assert_eq!(runs.make(id, "{}").unwrap_err().code(), 65, "{id:?}");
            assert_eq!(runs.find(id).unwrap(), None);
        }
        assert!(files::look(&place.path().join(RUNS)).unwrap().is_none());
    }

    #[test]
    fn an_end_is_noted_and_forgotten() {
        let place = tempfile::tempdir().unwrap();
        let run = Runs::of(place.path()).make("one", "{}").unwrap();
        assert_eq!(run.end().unwrap(), None);
        run.set_end(Ending::RollingBack, Some("a"), Some(false)).unwrap();
        let end = run.end().unwrap().unwrap();
        assert_eq!((end.point.as_deref(), end.restores_dump), (Some("a"), Some(false)));
        run.set_end(Ending::RolledBack, None, None).unwrap();
        assert_eq!(run.end().unwrap().unwrap().ending, Ending::RolledBack);
        run.forget_end().unwrap();
        assert_eq!(run.end().unwrap(), None);
    }
}
