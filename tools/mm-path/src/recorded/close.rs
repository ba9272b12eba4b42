//! `--close`: a run ends, and what it has pinned is released. This is all that mm-path ever writes.

use mm_common::contract::error::Result;
use mm_common::contract::ui;
use mm_common::machine::closing::Closing;
use mm_common::machine::door;
use mm_common::run::Session;

use super::Standing;
use crate::arguments::PathArguments;

/// Carries it out.
///
/// # Errors
/// Refused (exit 5) while something is open; `locked` (exit 75) while a tool works.
pub(crate) fn close(session: &mut Session, arguments: &PathArguments) -> Result<String> {
    let standing = Standing::find(session, arguments.run.as_deref())?;
    let Standing { root, state, run, .. } = &standing;
    door::refuse_open(state, root, &[])?;
    let closing = Closing::of(run, root)?;
    let released = ui::count(closing.pinned(), "restore point");
    if session.dry_run {
        return Ok(format!("would close the run {} and release {released}", run.id));
    }
    let lock = state.lock(session.lock_wait())?;
    // Whoever held the lock may have been killed.
    door::refuse_open(state, root, &[])?;
    let _run = run.lock(session.lock_wait())?;
    session.changed = closing.close(&lock)?;
    Ok(if session.changed {
        format!("the run {} is closed; {released} released", run.id)
    } else {
        format!("the run {} is closed already", run.id)
    })
}
