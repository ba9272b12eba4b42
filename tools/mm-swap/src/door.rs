//! What other tools have left open in the state directory comes first, but for what this tool has asked of them on its own
//! way back: that is part of it.

use std::path::Path;

use mm_common::contract::error::{Kind, Result};
use mm_common::contract::ui;
use mm_common::machine::door::{self, Open, SWAP};
use mm_common::machine::lock::{self, LockGuard};
use mm_common::machine::state::State;
use mm_common::run::Session;

use mm_common::run::beside::LIMIT;

/// The runs of other tools that were cut off.
pub(crate) fn foreign(state: &State, root: &Path) -> Result<Vec<Open>> {
    door::open(state, root, &[SWAP])
}

/// Refuses to begin anything before that is finished or undone.
pub(crate) fn refuse_foreign_journal(state: &State, root: &Path) -> Result<()> {
    door::refuse_open(state, root, &[SWAP])
}

/// Takes the lock of the installation. A run that was killed while another tool put the database back for it may have left
/// that one behind with the lock: it has been told to stop, and its end is waited for.
///
/// # Errors
/// Kind `locked` (exit 75) when somebody else holds it.
pub(crate) fn lock(session: &Session, state: &State) -> Result<LockGuard> {
    match state.lock(session.lock_wait()) {
        Err(error) if error.kind() == Kind::Locked && lock::is_left_behind_by(state.path(), session.tool) => {
            ui::say("what an interrupted way back has begun is waited for");
            state.lock(LIMIT)
        }
        taken => taken,
    }
}
