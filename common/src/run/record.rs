//! The run in the state directory: the first step of a hop makes it, and from then on every tool that is given a document
//! of it puts its own down there before it writes to stdout. So nothing is lost with a pipe, a terminal or a full disk.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::Session;
use super::same;
use crate::contract::document::Document;
use crate::contract::error::{Error, Result};
use crate::contract::{shell, ui};
use crate::machine::lock::LockGuard;
use crate::machine::runs::{Run, Runs, step};
use crate::machine::state::State;

/// The tool that only reads.
const READS: &str = "mm-path";

/// Where the document of this tool will lie.
#[derive(Debug)]
pub(super) struct Record {
    run: Run,
    install: PathBuf,
    /// Held by a step of a hop until its document lies there: no two work on one run.
    lock: Option<LockGuard>,
}

/// Finds or makes the run that the document belongs to. There is none for a document without a path or of another machine,
/// in a dry run, for mm-path, and for whoever is not root.
///
/// # Errors
/// Kind `locked` (exit 75) while another tool works on the run; failed when it cannot be made, with nothing done.
pub(super) fn begin(session: &Session) -> Result<Option<Record>> {
    if session.dry_run || session.tool == READS || !nix::unistd::geteuid().is_root() {
        return Ok(None);
    }
    let (Some(run), Some(site)) = (same::of_this_machine(session)?, session.document.site()?) else { return Ok(None) };
    let Some(path) = session.document.get("path") else { return Ok(None) };
    if session.common.install.as_ref().is_some_and(|given| !same::is_same_place(given, &site.install)) {
        return Ok(None);
    }
    let runs = Runs::of(State::of(&site.install, session.common.state_dir.as_deref()).path());
    let step = step(session.tool, &session.verb);
    let begins = step.is_some_and(|step| step.changes) && path.get("next").is_some_and(Value::is_object);
    let run = match runs.find(&run.id)? {
        Some(run) => run,
        None if begins => runs.make(&run.id, &session.document.to_json())?,
        None => return Ok(None),
    };
    Record::of(run, &site.install, step.map(|_| session.lock_wait())).map(Some)
}

impl Record {
    /// For a run; it is locked until the document lies there where somebody waits for that.
    pub(super) fn of(run: Run, install: &Path, wait: Option<Duration>) -> Result<Self> {
        let lock = wait.map(|wait| run.lock(wait)).transpose()?;
        Ok(Self { run, install: install.into(), lock })
    }

    /// Puts the document down; where that cannot be done, stdout still gets it. Returns where it lies and what goes on
    /// with it. The run is free from then on.
    pub(super) fn keep(self, (tool, verb): (&str, &str), document: &Document) -> Option<String> {
        match self.run.keep(tool, verb, &document.to_json(), self.lock.as_ref()) {
            Ok(path) => Some(format!(
                "the work itself is done, and the document lies in {}; mm-path --resume --install {}{} goes on with it",
                shell::word(&path),
                shell::word(&self.install),
                self.state_flag()
            )),
            Err(error) => {
                ui::warn(&format!("the run {} has no copy of this document: {}", self.run.id, error.one_line()));
                None
            }
        }
    }

    fn state_flag(&self) -> String {
        let state = self.run.path.parent().and_then(Path::parent);
        state.map_or_else(String::new, crate::machine::journal::state_flag)
    }
}

/// Says of a document that could not be delivered where it lies all the same.
pub(super) fn lies_in(error: Error, kept: Option<&str>) -> Error {
    match kept {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}
