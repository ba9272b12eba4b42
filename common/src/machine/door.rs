//! The one door: what an earlier run of any tool has begun and not ended comes before whatever changes the installation.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::journal::{self, Journal};
use super::lock;
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

/// The runs of this installation that were cut off, but for those whose journal is in `own`. What mm-swap has asked of
/// another tool while it undid a swap is a part of that, and ended with it.
///
/// # Errors
/// As [`Journal::read`], and when the state directory cannot be listed.
pub fn open(state: &State, install: &Path, own: &[&str]) -> Result<Vec<Open>> {
    let is_undoing = is_undoing_swap(state);
    let is_part = |name: &str| is_undoing && name != SWAP;
    let names = journal::interrupted(state.path())?.into_iter();
    let names = names.filter(|name| !own.contains(&name.as_str()) && !is_part(name));
    let open = |journal: String| Open {
        tool: journal::tool(state.path(), &journal),
        command: journal::command(state.path(), &journal, install),
        journal,
    };
    Ok(names.map(open).collect())
}

/// Refuses to begin anything before what was cut off is finished or undone. A verb names the journals that it ends by
/// itself in `own`.
///
/// # Errors
/// Refused (exit 5), with the command that ends it as the hint.
pub fn refuse_open(state: &State, install: &Path, own: &[&str]) -> Result<()> {
    match open(state, install, own)?.into_iter().next() {
        Some(open) => Err(refusal(&open, state)),
        None => Ok(()),
    }
}

fn refusal(Open { tool, journal, command }: &Open, state: &State) -> Error {
    Error::refused(format!("an earlier run of {tool} was cut off"))
        .because(format!("its journal `{journal}` is open in `{}`", state.path().display()))
        .hint(command)
}

/// As [`refuse_open`], for what mm-swap may ask of this tool while it undoes a swap: then it has handed on the lock, and
/// with it its journal.
///
/// # Errors
/// As [`refuse_open`].
pub fn refuse_open_unless_asked(state: &State, install: &Path, own: &[&str]) -> Result<()> {
    let is_asked = lock::is_handed_on(&state.path().join(lock::NAME)) && is_undoing_swap(state);
    if is_asked { Ok(()) } else { refuse_open(state, install, own) }
}

/// Refuses to end what mm-swap has asked for while it undid a swap: the swap is what has to be ended. Nothing else keeps a
/// tool from ending what it keeps in the journals `own`.
///
/// # Errors
/// Refused (exit 5), with the command that ends the swap as the hint.
pub fn refuse_part_of_swap(state: &State, install: &Path, own: &[&str]) -> Result<()> {
    let is_part =
        is_undoing_swap(state) && journal::interrupted(state.path())?.iter().any(|name| own.contains(&name.as_str()));
    if is_part { refuse_open(state, install, &[]) } else { Ok(()) }
}

/// What `recover` of a tool says that has nothing to end: what others have to end is named.
///
/// # Errors
/// As [`open`].
pub fn nothing_of(tool: &str, state: &State, install: &Path) -> Result<String> {
    let others = open(state, install, &[])?;
    Ok(match others.first() {
        None => "nothing was interrupted".into(),
        Some(open) => {
            format!("nothing of {tool} was interrupted, but {} was; that is ended by: {}", open.tool, open.command)
        }
    })
}

/// Whether a swap is being undone: mm-swap has other tools put the database back then, and ends itself what they have
/// begun when they were cut off.
pub fn is_undoing_swap(state: &State) -> bool {
    #[derive(Deserialize)]
    struct Swap {
        #[serde(default)]
        verdict: String,
    }
    // One that cannot be understood is for mm-swap to say so.
    let open: Option<Swap> = Journal::at(state.path(), SWAP).read().ok().flatten();
    open.is_some_and(|swap| swap.verdict == "undo")
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
        let command = format!("mm-backup recover --install /opt/mattermost --state-dir {}", place.path().display());
        assert_eq!(error.next_step(), Some(command.as_str()));
        refuse_open(&state, root, &[journal::RESTORE]).unwrap();
        refuse_part_of_swap(&state, root, &[journal::RESTORE]).unwrap();
        assert!(nothing_of("mm-swap", &state, root).unwrap().ends_with(&command));
        leave("swap", r#"{"verdict": "open", "to": "2.0.0"}"#);
        let tools = || -> Vec<String> { open(&state, root, &[]).unwrap().into_iter().map(|open| open.tool).collect() };
        assert_eq!(tools(), ["mm-backup", "mm-swap"]);
        refuse_part_of_swap(&state, root, &[journal::RESTORE]).unwrap();
        // What is undone has asked for the restore.
        leave("swap", r#"{"verdict": "undo", "to": "2.0.0"}"#);
        assert_eq!(tools(), ["mm-swap"]);
        let command = format!("mm-swap recover --install /opt/mattermost --state-dir {}", place.path().display());
        assert_eq!(
            refuse_part_of_swap(&state, root, &[journal::RESTORE]).unwrap_err().next_step(),
            Some(command.as_str())
        );
        assert_eq!(refuse_open_unless_asked(&state, root, &[journal::RESTORE]).unwrap_err().code(), 5);
    }
}
