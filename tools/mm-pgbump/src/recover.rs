//! `mm-pgbump recover`: ends what a run that was killed has begun, and nothing more. `run` does the same before it
//! looks at what is wanted.

use std::time::Instant;

use mm_common::contract::ui;
use mm_common::machine::door;
use mm_common::machine::lock::LockGuard;
use mm_common::mattermost::site::Installation;
use mm_common::run::Session;
use mm_common::{Error, Kind, Result};

use crate::control::Starting;
use crate::open::open;
use crate::plan::{self, Ending, Recovery};
use crate::record::{Entry, Records};
use crate::run::{self, Carried};
use crate::{Options, moving, rollback, undo, upgrade as programs};

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
            Some(entry) => format!("would {}", decide(Ending::Either, &entry)?.in_words(&entry.from(), &entry.to())),
            None => "nothing was interrupted".into(),
        });
    }
    let lock = installation.state.lock(session.lock_wait())?;
    let Some(entry) = records.journal.read::<Entry>()? else { return Ok("nothing was interrupted".into()) };
    session.changed = true;
    let result = end(session, installation, &records, false, &lock);
    let half_done = result.as_ref().is_err_and(|error| error.kind() == Kind::HalfDone);
    // Where the database stands half-way the server must not run.
    if !half_done && !options.leave_stopped {
        installation.put_service_back(&lock)?;
    }
    Ok(result?.unwrap_or_else(|| format!("the upgrade that was cut off is taken back: {} serves", entry.from())))
}

/// What is to be done about an upgrade that was cut off.
pub(crate) fn decide(ending: Ending, entry: &Entry) -> Result<Recovery> {
    Ok(plan::recovery(ending, entry.phase, undo::was_open(entry)?))
}

/// Ends what an earlier run began. `Some` when that was everything there was to do. `analyzes` is as for [`open`].
pub(crate) fn end(
    session: &mut Session,
    installation: &mut Installation,
    records: &Records,
    analyzes: bool,
    lock: &LockGuard,
) -> Result<Option<String>> {
    let begun = Instant::now();
    let Some(mut entry) = records.journal.read::<Entry>()? else { return Ok(None) };
    ui::say(&format!("an upgrade of {} begun at {} was cut off", entry.from(), entry.started));
    match decide(Ending::Either, &entry)? {
        Recovery::Exchange => {
            rollback::carry_out(&entry, &installation.service, records, lock)?;
            installation.reload()?;
            return Ok(None);
        }
        Recovery::TakeBack => {
            undo::back(&entry, &installation.service, records, lock)?;
            ui::say(&format!("the cluster {} is as before", entry.from()));
            return Ok(None);
        }
        Recovery::Open { may_take_back } => {
            programs::end(&entry)?;
            let opened = open(&mut entry, installation, records, analyzes, lock);
            if let Err(error) = opened.and_then(|starting| starting.map_or(Ok(()), Starting::end)) {
                return Err(if may_take_back {
                    run::taken_back(error, &entry, installation, records, lock)
                } else {
                    unfinished(error, &entry)
                });
            }
            session.changed = true;
        }
        Recovery::Record => {}
    }
    run::close(&mut entry, records, lock)?;
    run::report(session, &entry, records, begun, &Carried::default()).map(Some)
}

/// What is to be said when an upgrade cannot be finished and users may have been in the new cluster.
fn unfinished(error: Error, entry: &Entry) -> Error {
    let first = error.next_step().unwrap_or("remove the cause").to_owned();
    error
        .within(format!("cannot finish the upgrade of {} to {}", entry.from(), entry.to()))
        .because(format!("{} has been open already: what was written there since would go on the way back", entry.to()))
        .of_kind(Kind::HalfDone)
        .with_hint(format!(
            "{first}; then run mm-pgbump again; or mm-pgbump rollback, which keeps {} with what was written there",
            entry.to()
        ))
}
