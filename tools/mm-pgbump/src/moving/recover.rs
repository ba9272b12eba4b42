//! The end of a move that was cut off: it is taken back or finished, by how far it had come and by where the server is pointed.

use std::time::Instant;

use mm_common::contract::ui;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::service::STOP_LIMIT;
use mm_common::machine::signals;
use mm_common::mattermost::site::Installation;
use mm_common::run::Session;
use mm_common::{Error, Kind, Result};

use super::record::{Entry, Of, Phase, Records};
use super::{back, command, point, run};

/// Ends what an earlier run began. `Some` when that was everything there was to do.
pub(crate) fn recover(
    session: &mut Session,
    installation: &mut Installation,
    records: &Records,
    lock: &LockGuard,
) -> Result<Option<String>> {
    let begun = Instant::now();
    let Some(mut entry) = records.journal.read::<Entry>()? else { return Ok(None) };
    let (from, to) = (entry.moved.from.label(), entry.moved.to.label());
    ui::say(&format!("a move of {from} to {to} begun at {} was cut off", entry.moved.started));
    let again = command("recover", &installation.root, installation.state.path());
    let or_back = command("rollback", &installation.root, installation.state.path());
    let cannot = |error: Error| {
        let first = error.next_step().unwrap_or("remove the cause").to_owned();
        error
            .within(format!("cannot end the move of {from} to {to}"))
            .of_kind(Kind::HalfDone)
            .with_hint(format!("{first}; then: {again}"))
    };
    let is_pointed = entry.phase == Phase::Proven
        && records
            .private(Of::Open)
            .and_then(|private| point::leads_to_target(&entry, &private, installation))
            .map_err(cannot)?;
    match entry.phase {
        // Whoever works with the old database since has written what the proof did not see.
        Phase::Proven if !is_pointed => {
            installation.service.stop(STOP_LIMIT, lock).map_err(cannot)?;
            taken_back(session, &entry, installation, records, lock)
        }
        Phase::Reading | Phase::Filling | Phase::Clearing => taken_back(session, &entry, installation, records, lock),
        Phase::Proven => {
            // A server that works with the target already has nothing to be finished.
            let _proven = signals::finishing(format!("pointing the server at {to} is finished, within a minute"));
            if !installation.service.is_running()? {
                let mut private = records.private(Of::Open)?;
                run::point_at_target(&mut entry, &mut private, installation, records, lock).map_err(|error| {
                    let first = error.next_step().unwrap_or("remove the cause").to_owned();
                    let hint = format!("{first}; then: {again}; or, to point back at {from}: {or_back}");
                    error
                        .within(format!("cannot finish the move of {from} to {to}"))
                        .of_kind(Kind::HalfDone)
                        .with_hint(hint)
                })?;
            }
            session.changed = true;
            run::close(&mut entry, records, lock)?;
            run::report(session, &entry, records, begun, &[]).map(Some)
        }
        Phase::Done => {
            records.close(&entry, lock)?;
            session.changed = true;
            run::report(session, &entry, records, begun, &[]).map(Some)
        }
        Phase::RollingBack => {
            back::carry_out(&entry, installation, records, lock)?;
            session.changed = true;
            // A later release must not be started on the old database: half done keeps it stopped.
            back::require_release(&entry, installation, false).map_err(|error| error.of_kind(Kind::HalfDone))?;
            Ok(None)
        }
    }
}

fn taken_back(
    session: &mut Session,
    entry: &Entry,
    installation: &mut Installation,
    records: &Records,
    lock: &LockGuard,
) -> Result<Option<String>> {
    let left = back::undo(entry, installation, records, lock)?;
    // The run that was cut off has stopped the server: it is put back, also where there is nothing to move any more.
    session.changed = true;
    ui::say(&format!("{} is as before", entry.moved.from.label()));
    if let Some(error) = left {
        ui::warn(&format!("what was filled at the target is still there: {}", error.one_line()));
    }
    Ok(None)
}
