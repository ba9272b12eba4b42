//! `mm-pgbump recover`: ends what a run that was killed has begun, and nothing more. `run` does the same before it
//! looks at what is wanted.

use mm_common::machine::door;
use mm_common::run::Session;
use mm_common::{Kind, Result};

use crate::record::{Entry, Records};
use crate::{Options, moving, reach, run};

/// Finishes or takes back an upgrade that was cut off; the service is as before, unless it is to stay stopped.
pub(crate) fn recover(session: &mut Session, options: &Options) -> Result<String> {
    let mut installation = moving::back::probe(session, false)?;
    let records = Records::at(installation.state.path());
    if records.journal.read::<Entry>()?.is_none() {
        return moving::verbs::recover(session, options);
    }
    if session.dry_run {
        return Ok(match records.journal.read::<Entry>()? {
            Some(entry) => format!("would end the upgrade of {} to {} that was cut off", entry.from(), entry.to()),
            None => "nothing was interrupted".into(),
        });
    }
    let lock = installation.state.lock(session.lock_wait())?;
    let Some(entry) = records.journal.read::<Entry>()? else { return Ok("nothing was interrupted".into()) };
    session.refuse_open(reach::own_journals(session)?)?;
    // The server that mm-swap was taking away is not started again by this.
    let stays_stopped = options.leave_stopped || door::is_undoing_swap(&installation.state)?;
    session.changed = true;
    let result = run::recover(session, &mut installation, &records, false, &lock);
    let half_done = result.as_ref().is_err_and(|error| error.kind() == Kind::HalfDone);
    // Where the database stands half-way the server must not run.
    if !half_done && !stays_stopped {
        installation.put_service_back(&lock)?;
    }
    Ok(result?.unwrap_or_else(|| format!("the upgrade that was cut off is taken back: {} serves", entry.from())))
}
