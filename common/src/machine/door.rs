//! The one door: what an earlier run of any tool has begun and not ended comes before whatever changes the installation.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::journal::{self, Journal};
use super::state::State;
use crate::contract::error::{Error, Result};

/// The journal of `mm-swap`.
pub const SWAP: &str = "swap";

/// The journal of `mm-pgbump`.
pub const PGBUMP: &str = "pgbump";

/// The journal of `mm-pgbump move`.
pub const MOVE: &str = "pgmove";

/// A run that was cut off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Open {
    /// The tool.
    pub tool: String,
    /// Its journal.
    pub journal: String,
    /// The command that finishes or undoes what it began, as it can be typed.
    pub command: String,
}

/// The runs of this installation that were cut off, but for those whose journal is in `own`.
///
/// # Errors
/// As [`Journal::read`], and when the state directory cannot be listed.
pub fn open(state: &State, install: &Path, own: &[&str]) -> Result<Vec<Open>> {
    let names = journal::interrupted(state.path())?.into_iter().filter(|name| !own.contains(&name.as_str()));
    names
        .map(|journal| {
            let command = journal::command(state.path(), &journal, install)?;
            let tool = format!("mm-{}", journal::tool(&journal));
            Ok(Open { tool, journal, command })
        })
        .collect()
}

/// Refuses to begin anything before what was cut off is finished or undone. A verb names the journals that it ends by
/// itself in `own`.
///
/// # Errors
/// Refused (exit 5), with the command that ends it as the hint.
pub fn refuse_open(state: &State, install: &Path, own: &[&str]) -> Result<()> {
    let Some(Open { tool, journal, command }) = open(state, install, own)?.into_iter().next() else { return Ok(()) };
    Err(Error::refused(format!("an earlier run of {tool} was cut off"))
        .because(format!("its journal `{journal}` is open in `{}`", state.path().display()))
        .hint(command))
}

/// Whether a swap is being undone: mm-swap has other tools put the database back then, and ends itself what they have
/// begun when they were cut off.
///
/// # Errors
/// As [`Journal::read`].
pub fn is_undoing_swap(state: &State) -> Result<bool> {
    #[derive(Deserialize)]
    struct Swap {
        #[serde(default)]
        verdict: String,
    }
    let open: Option<Swap> = Journal::at(state.path(), SWAP).read()?;
    Ok(open.is_some_and(|swap| swap.verdict == "undo"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::files::{self, Access};

    #[test]
    fn what_was_cut_off_is_refused_with_the_command_that_ends_it() {
        let place = tempfile::tempdir().unwrap();
        let root = Path::new("/opt/mattermost");
        let state = State::of(root, Some(place.path()));
        files::create_directory(state.path(), 0o700).unwrap();
        refuse_open(&state, root, &[]).unwrap();
        let leave = |name: &str, text: &str| {
            files::write(&state.path().join(format!("{name}.journal")), text.as_bytes(), Access::PRIVATE).unwrap();
        };
        leave("restore", r#"{"id": "20261122T030000Z", "flags": ["--database"]}"#);
        let error = refuse_open(&state, root, &[SWAP, PGBUMP]).unwrap_err();
        assert_eq!((error.code(), error.message()), (5, "an earlier run of mm-backup was cut off"));
        let command = format!(
            "mm-backup restore 20261122T030000Z --database --stop --install /opt/mattermost --state-dir {}",
            place.path().display()
        );
        assert_eq!(error.next_step(), Some(command.as_str()));
        refuse_open(&state, root, &[journal::RESTORE]).unwrap();
        // As an earlier program wrote it.
        let renaming = r#"{"target": "mattermost", "new": "mattermost_mm_new_20261122T030000Z"}"#;
        leave(
            "restore",
            &format!(r#"{{"id": "20261122T030000Z", "moves": [], "stages": [], "database": {renaming}}}"#),
        );
        assert_eq!(open(&state, root, &[]).unwrap()[0].command, command);
        assert!(!is_undoing_swap(&state).unwrap());
        leave("swap", r#"{"verdict": "undo", "to": "2.0.0"}"#);
        assert!(is_undoing_swap(&state).unwrap());
        let tools: Vec<String> = open(&state, root, &[]).unwrap().into_iter().map(|open| open.tool).collect();
        assert_eq!(tools, ["mm-backup", "mm-swap"]);
    }
}
