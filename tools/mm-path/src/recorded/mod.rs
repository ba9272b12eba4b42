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
pub(crate) use status::status;

/// A run, and where it is.
pub(crate) struct Standing {
    /// The install root.
    pub(crate) root: PathBuf,
    /// Its state directory.
    pub(crate) state: State,
    /// The run.
    pub(crate) run: Run,
    /// Whether it is the one that was begun last: what mm-upgrade does is about that one.
    pub(crate) is_newest: bool,
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
        let is_newest = runs.named(None)?.id == run.id;
        Ok(Self { root: ground.root, state: ground.state, run, is_newest })
    }

    /// Who works on the run or on the installation at this moment.
    pub(crate) fn holder(&self) -> Option<Holder> {
        Holder::of(&self.run.path).or_else(|| Holder::of(self.state.path())).or_else(|| self.upgrading())
    }

    /// An mm-upgrade between two of its steps. One that has asked this is not meant, nor one that plans another run.
    fn upgrading(&self) -> Option<Holder> {
        if !self.is_newest {
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
