//! What other tools have left open in the state directory: that comes first.

use std::path::Path;

use mm_common::contract::error::{Error, Result};
use mm_common::machine::journal;
use mm_common::machine::state::State;
use serde::Serialize;

use crate::operation::{self, Operation, Verdict};
use crate::restore_point;

/// A run of another tool that was cut off.
#[derive(Debug, Serialize)]
pub(crate) struct Foreign {
    /// The tool.
    pub(crate) tool: String,
    /// Its journal.
    pub(crate) journal: String,
    /// What finishes or undoes what it began.
    pub(crate) command: String,
}

/// The runs of other tools that were cut off. A restore that this tool has asked for on its own way back belongs to it.
pub(crate) fn foreign(state: &State, root: &Path) -> Result<Vec<Foreign>> {
    let mut open = journal::interrupted(state.path())?;
    open.retain(|name| name != operation::JOURNAL);
    if Operation::open(state)?.is_some_and(|own| own.verdict == Verdict::Undo) {
        open.retain(|name| name != restore_point::JOURNAL);
    }
    open.into_iter()
        .map(|journal| {
            let command = journal::command(state.path(), &journal, root)?;
            let tool = if journal == restore_point::JOURNAL { "mm-backup".into() } else { format!("mm-{journal}") };
            Ok(Foreign { tool, journal, command })
        })
        .collect()
}

/// Refuses to begin anything before that is finished or undone.
pub(crate) fn refuse_foreign_journal(state: &State, root: &Path) -> Result<()> {
    let Some(Foreign { tool, journal, command }) = foreign(state, root)?.into_iter().next() else { return Ok(()) };
    Err(Error::refused(format!("an earlier run of {tool} was interrupted"))
        .because(format!("its journal `{journal}` is open in `{}`", state.path().display()))
        .hint(format!("run it again with the flags that it had: {command}")))
}
