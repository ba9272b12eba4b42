//! The runs of this installation, as they stand in its state directory: going on with one, telling of it, closing it.

mod close;
mod resume;
mod status;
mod tale;

use std::path::PathBuf;

use mm_common::contract::error::Result;
use mm_common::machine::lock::Holder;
use mm_common::machine::runs::{Run, Runs};
use mm_common::machine::state::State;
use mm_common::mattermost::site;
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
}

impl Standing {
    /// Finds the run that is named, or the last one.
    ///
    /// # Errors
    /// Refused (exit 5) when there is none.
    pub(crate) fn find(session: &Session, id: Option<&str>) -> Result<Self> {
        let wanted = session.wanted()?;
        let ground = site::ground(&wanted).or_else(|_| site::ground_of_ruin(&wanted))?;
        let run = Runs::of(ground.state.path()).named(id)?;
        Ok(Self { root: ground.root, state: ground.state, run })
    }

    /// Who works on the run or on the installation at this moment.
    pub(crate) fn holder(&self) -> Option<Holder> {
        Holder::of(&self.run.path).or_else(|| Holder::of(self.state.path()))
    }
}
