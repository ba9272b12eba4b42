//! Puts staged copies into their places, one exchange each, with a journal: a run that was killed half-way is undone by
//! the next one. What was there stays in the staging directory.

mod intent;
mod moves;

use mm_common::contract::error::{Error, Kind, Result};
use mm_common::contract::ui;
use mm_common::machine::checkpoint;
use mm_common::machine::journal::{self, Journal};
use mm_common::machine::lock::LockGuard;
use mm_common::machine::signals;
use mm_common::machine::state::State;
use mm_common::machine::tree;
use mm_common::mattermost::site::Installation;

use crate::copies;
use crate::kept::{self, Kept};
use crate::replace;

pub(crate) use intent::Intent;
use intent::{Entered, Move};
pub(crate) use moves::Moves;

/// The journal's name in the state directory.
pub(crate) const JOURNAL: &str = journal::RESTORE;

/// The one flag of a restore that does not choose what is restored.
pub(crate) const LEAVE_STOPPED: &[u8] = b"--leave-stopped";

/// Names of staging directories are on disk before the directories are made.
pub(crate) fn announce(state: &State, intent: &Intent, lock: &LockGuard) -> Result<()> {
    Journal::at(state.path(), JOURNAL).write(intent, lock)
}

/// Makes all moves. If anything fails, they are undone and the machine is as before, or it is half done (exit 3).
pub(crate) fn flip(state: &State, intent: &Intent, lock: &LockGuard) -> Result<()> {
    Journal::at(state.path(), JOURNAL).write(intent, lock)?;
    make(intent).map_err(|error| take_back(state, intent, error, lock))
}

fn make(intent: &Intent) -> Result<()> {
    for made in &intent.moves {
        checkpoint::pass("restore-move");
        made.make()?;
    }
    checkpoint::pass("restore-moved");
    intent.entered.iter().rev().try_for_each(Entered::dress)
}

/// The moves stay as they are.
pub(crate) fn settle(state: &State, lock: &LockGuard) -> Result<()> {
    Journal::at(state.path(), JOURNAL).close(lock)
}

/// All of it is restored: the server may be started.
pub(crate) fn conclude(state: &State, intent: &Intent, lock: &LockGuard) -> Result<()> {
    if let Some(held) = &intent.held {
        held.release(lock)?;
    }
    if let Some(renaming) = &intent.database {
        // A frozen copy is the server's database now.
        copies::forget(state, &renaming.new, lock)?;
    }
    settle(state, lock)
}

/// Undoes the moves of an intent after a failure, which is what is reported; half done when that fails, too.
pub(crate) fn take_back(state: &State, intent: &Intent, error: Error, lock: &LockGuard) -> Error {
    let _undo = signals::undoing(format!("undoing the restore of {}, within some seconds", intent.id));
    match undo(intent).and_then(|()| settle(state, lock)) {
        Ok(()) => error,
        Err(other) => half_done(&Journal::at(state.path(), JOURNAL), error.because(other.one_line())),
    }
}

/// The last move is undone first.
fn undo(intent: &Intent) -> Result<()> {
    intent.moves.iter().rev().try_for_each(Move::undo)?;
    intent.entered.iter().rev().try_for_each(Entered::undress)
}

/// A restore that was cut off.
pub(crate) fn interrupted(state: &State) -> Result<Option<Intent>> {
    Journal::at(state.path(), JOURNAL).read()
}

/// What has become of a restore that was cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Recovered {
    /// There was none.
    Nothing,
    /// It is undone.
    Undone,
    /// That of this restore point is finished.
    Finished(String),
}

/// Undoes what a killed restore has left half-way; or finishes it, when the database has its new name already, which is
/// the last step and cannot be half-done.
pub(crate) fn recover(state: &State, installation: Option<&Installation>, lock: &LockGuard) -> Result<Recovered> {
    let journal = Journal::at(state.path(), JOURNAL);
    let Some(intent) = journal.read::<Intent>()? else { return Ok(Recovered::Nothing) };
    if let Some(renaming) = &intent.database {
        let installation = installation.ok_or_else(|| {
            half_done(&journal, Error::failed("a restore was cut off, and its database cannot be looked at"))
        })?;
        if replace::is_done(installation, renaming).map_err(|error| half_done(&journal, error))? {
            let record = Kept {
                id: intent.id.clone(),
                stamp: mm_common::contract::time::stamp(),
                directories: intent.stages.iter().map(|stage| stage.as_path().to_owned()).collect(),
                databases: renaming.kept.iter().cloned().collect(),
            };
            kept::write(state, &record, lock)?;
            conclude(state, &intent, lock)?;
            ui::warn(&format!("a restore of {} had been cut off at its end; it is finished", intent.id));
            return Ok(Recovered::Finished(intent.id));
        }
    }
    undo(&intent).map_err(|error| half_done(&journal, error))?;
    // What a move is undone by goes away now; a run that is cut off here has nothing but that to go on with.
    let intent = Intent { moves: Vec::new(), entered: Vec::new(), database: None, held: None, ..intent };
    journal.write(&intent, lock)?;
    for stage in &intent.stages {
        match tree::remove_without_links(stage.as_path()) {
            // Whoever owns a directory above it does not keep us from restoring for ever.
            Err(error) if error.kind() == Kind::Refused => {
                ui::warn(&format!("`{stage}` is left over, wherever it is now: {}", error.one_line()));
            }
            removed => removed?,
        }
        checkpoint::pass("restore-undone");
    }
    journal.close(lock)?;
    ui::warn(&format!("a restore of {} had been cut off half-way; it is undone", intent.id));
    Ok(Recovered::Undone)
}

/// Everything is restored; only the note of it is missing, so the machine is not as before.
pub(crate) fn unrecorded(state: &State, error: Error) -> Error {
    let error = error.within("everything is restored, but that could not be recorded");
    half_done(&Journal::at(state.path(), JOURNAL), error)
}

fn half_done(journal: &Journal, error: Error) -> Error {
    error.of_kind(Kind::HalfDone).with_hint(format!(
        "the journal `{}` says what was exchanged; fix the cause, then: mm-backup recover, with the same --install and --state-dir",
        journal.path().display()
    ))
}

#[cfg(test)]
mod tests;
