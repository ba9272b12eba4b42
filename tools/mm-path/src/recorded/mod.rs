//! The runs of this installation, as they stand in its state directory: going on with one, telling of it, closing it.

mod close;
mod ends;
mod resume;
mod status;
mod tale;

use std::path::{Path, PathBuf};

use mm_common::contract::error::Result;
use mm_common::contract::sections::Note;
use mm_common::contract::shell;
use mm_common::machine::journal::state_flag;
use mm_common::machine::lock::{self, Holder};
use mm_common::machine::process;
use mm_common::machine::runs::{Run, Runs};
use mm_common::machine::state::State;
use mm_common::run::Session;

pub(crate) use close::close;
pub(crate) use resume::{Decision, decide, resume};
pub(crate) use status::{follow, look, status};
pub(crate) use tale::{How, Tale};

/// A run, and where it is.
pub(crate) struct Standing {
    /// The install root.
    pub(crate) root: PathBuf,
    /// Its state directory.
    pub(crate) state: State,
    /// The run.
    pub(crate) run: Run,
    /// The one that was begun after it: what mm-upgrade does is about the newest.
    pub(crate) later: Option<Run>,
}

impl Standing {
    /// Finds the run that is named, or the last one.
    ///
    /// # Errors
    /// Refused (exit 5) when there is none.
    pub(crate) fn find(session: &Session, id: Option<&str>) -> Result<Self> {
        let ground = session.ground()?;
        let runs = Runs::of(ground.state.path());
        let run = runs.named(id)?;
        let later = runs.all()?.into_iter().find(|other| (other.number, &other.id) > (run.number, &run.id));
        Ok(Self { root: ground.root, state: ground.state, run, later })
    }

    /// Who works on the run or on the installation at this moment.
    pub(crate) fn holder(&self) -> Option<Holder> {
        Holder::of(&self.run.path).or_else(|| self.beside())
    }

    /// Who works on the run at this moment. What works on the installation for no run is taken for a part of the newest one, a
    /// way back or the end of what was cut off; where that has arrived, only what can take it back is.
    pub(crate) fn at_work(&self, has_arrived: bool) -> Option<Holder> {
        let undoes = |holder: &Holder| ["restore", "rollback", "recover"].contains(&holder.verb.as_str());
        let is_its = |holder: &Holder| match &holder.run {
            Some(run) => *run == self.run.id,
            None => self.later.is_none() && (!has_arrived || holder.tool == "mm-upgrade" || undoes(holder)),
        };
        Holder::of(&self.run.path).or_else(|| self.beside().filter(is_its))
    }

    fn beside(&self) -> Option<Holder> {
        Holder::of(self.state.path()).or_else(|| self.upgrading())
    }

    /// An mm-upgrade between two of its steps. One that has asked this is not meant, nor one that plans another run.
    fn upgrading(&self) -> Option<Holder> {
        if self.later.is_some() {
            return None;
        }
        let plan = self.run.documents().ok()?.into_iter().next()?.read().ok()?;
        let plan: serde_json::Value = serde_json::from_slice(&plan).ok()?;
        let runs = PathBuf::from(plan.get("upgrade")?.get("runs")?.as_str()?);
        let holder = lock::script_at_work(&runs).filter(|holder| !process::is_ancestor(holder.process))?;
        (!runs.join("plan").exists()).then_some(holder)
    }
}

/// From how many open runs on somebody is told of them: each pins restore points.
const MANY: usize = 3;

/// A note about runs that nobody has closed.
pub(crate) fn too_many_open(state: &State, root: &Path) -> Result<Option<Note>> {
    let mut open = Vec::new();
    for run in Runs::of(state.path()).all()? {
        if matches!(run.end(), Ok(None)) {
            open.push(run.id);
        }
    }
    if open.len() < MANY {
        return Ok(None);
    }
    let flags = format!("--install {}{}", shell::word(root), state_flag(state.path()));
    Ok(Some(Note {
        id: "open-runs".into(),
        severity: "warn".into(),
        title: format!("{} upgrade runs are open, and the restore points of their ways back are pinned", open.len()),
        action: format!("close those that nobody will go back over: mm-path --close --run {} {flags}", open[0]),
        source: "this host".into(),
    }))
}
