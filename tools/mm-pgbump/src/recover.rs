//! `mm-pgbump recover`: ends what a run that was killed has begun, and nothing more. `run` does the same before it
//! looks at what is wanted.

use mm_common::machine::door;
use mm_common::mattermost::site::Installation;
use mm_common::run::Session;
use mm_common::{Kind, Result};

use crate::record::{Entry, Records};
use crate::{Options, moving, run};

/// Finishes or takes back what was cut off; the service is as before, unless it is to stay stopped.
pub(crate) fn recover(session: &mut Session, options: &Options) -> Result<String> {
    let ground = session.ground()?;
    let own = [door::PGBUMP, door::MOVE];
    door::refuse_part_of_swap(&ground.state, &ground.root, &own)?;
    let open = door::open(&ground.state, &ground.root, &[])?;
    if !open.is_empty() && open.iter().all(|open| !own.contains(&open.journal.as_str())) {
        return door::nothing_of(session.tool, &ground.state, &ground.root);
    }
    let mut installation = moving::back::probe(session, false)?;
    if Records::at(installation.state.path()).journal.read::<Entry>()?.is_none() {
        return moving::verbs::recover(session, options, &mut installation);
    }
    upgrade(session, options, &mut installation)
}

fn upgrade(session: &mut Session, options: &Options, installation: &mut Installation) -> Result<String> {
    let records = Records::at(installation.state.path());
    if session.dry_run {
        return Ok(match records.journal.read::<Entry>()? {
            Some(entry) => format!("would end the upgrade of {} to {} that was cut off", entry.from(), entry.to()),
            None => "nothing was interrupted".into(),
        });
    }
    let lock = installation.state.lock(session.lock_wait())?;
    let Some(entry) = records.journal.read::<Entry>()? else { return Ok("nothing was interrupted".into()) };
    session.changed = true;
    let result = run::recover(session, installation, &records, false, &lock);
    let half_done = result.as_ref().is_err_and(|error| error.kind() == Kind::HalfDone);
    // Where the database stands half-way the server must not run.
    if !half_done && !options.leave_stopped {
        installation.put_service_back(&lock)?;
    }
    Ok(result?.unwrap_or_else(|| format!("the upgrade that was cut off is taken back: {} serves", entry.from())))
}
