//! `recover`: ends a restore that was cut off, and nothing more. `restore` does the same before it begins another one.

use std::time::Duration;

use mm_common::contract::error::Result;
use mm_common::machine::door;
use mm_common::machine::service::process;
use mm_common::mattermost::site::{Installation, Supposed};
use mm_common::run::Session;

use crate::flip::{self, Intent, Recovered};
use crate::start::{self, Outcome};
use crate::{again, target};

/// Undoes a restore that was cut off, or finishes it where its last step was made. The server runs again if it ran before
/// that restore.
///
/// # Errors
/// Half done (exit 3) when it can be neither undone nor finished; refused (exit 5) when mm-swap had asked for the restore: the
/// swap is what has to be ended.
pub(crate) fn recover(session: &mut Session, limit: Duration) -> Result<String> {
    let install = target::root(session)?;
    let state = session.state(&install);
    door::refuse_part_of_swap(&state, &install, &[flip::JOURNAL])?;
    let guard = if session.dry_run { None } else { Some(state.lock(session.lock_wait())?) };
    let Some(open) = flip::interrupted(&state)? else { return door::nothing_of(session.tool, &state, &install) };
    let Some(lock) = guard else {
        return Ok(format!("would finish or undo the restore of {} that was cut off", open.id));
    };
    session.common.install.get_or_insert_with(|| install.clone());
    let there = observe(session, &open)?;
    let ran = there.as_ref().map(|there| there.service.was_running()).transpose()?.unwrap_or(false);
    session.changed = true;
    let recovered = flip::recover(&state, there.as_ref(), &lock)?;
    let (done, outcome, starts) = match recovered {
        Recovered::Finished(_) => ("finished", Outcome::Restored, ran && !open.leaves_stopped()),
        Recovered::Undone | Recovered::Nothing => ("undone", Outcome::AsBefore, ran),
    };
    let noted = if open.is_everything() { start::note(&state, &open.id, outcome) } else { Ok(None) };
    let mut done = format!("the restore of {} that was cut off is {done}", open.id);
    if let Ok(Some(run)) = &noted {
        // What is installed is a later release than its database now.
        let again = start::again(run, &install, &state);
        done = format!("{done}; the run {} is taken back in part, and to go on: {again}", run.id);
    }
    if let Some(there) = there.filter(|_| starts && !matches!(noted, Ok(Some(_))))
        && !there.service.is_running()?
    {
        again::start(session, there, &done, limit, &lock)?;
    }
    noted.map(|_| done)
}

/// The installation; absent where there is nothing yet that could be looked at, and no server runs there.
fn observe(session: &mut Session, open: &Intent) -> Result<Option<Installation>> {
    let failed = match session.probe() {
        Ok(installation) => return Ok(Some(installation)),
        Err(error) => error,
    };
    if let (Some(version), Some(edition)) = (&open.version, open.edition)
        && let Ok(there) = session.probe_ruin(&Supposed { version: version.clone(), edition })
    {
        return Ok(Some(there));
    }
    if process::servers(&target::root(session)?).is_empty() { Ok(None) } else { Err(failed) }
}
