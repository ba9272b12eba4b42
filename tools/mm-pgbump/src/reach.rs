//! A configuration that is kept in the database of the very cluster that is upgraded: a run that was cut off may have
//! left that cluster down or elsewhere, and then nothing of the server can be read. The database comes back first.

use mm_common::contract::ui;
use mm_common::contract::version::Edition;
use mm_common::machine::door;
use mm_common::machine::journal::Journal;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::service::{STOP_LIMIT, Service};
use mm_common::mattermost::config;
use mm_common::mattermost::site::{self, Installation, Supposed};
use mm_common::run::Session;
use mm_common::{Kind, Result};
use semver::Version;
use serde::Deserialize;

use crate::plan::{Mode, Phase};
use crate::record::{Entry, Records};
use crate::{control, repoint, rollback, undo};

/// Observes the installation, as [`Session::probe`] does.
///
/// # Errors
/// Half done (exit 3) where the database of the configuration cannot be brought back.
pub(crate) fn probe(session: &mut Session) -> Result<Installation> {
    let failed = match observe(session) {
        Ok(installation) => return Ok(installation),
        Err(error) => error,
    };
    let wanted = session.wanted()?;
    let Ok(ground) = site::ground(&wanted).or_else(|_| site::ground_of_ruin(&wanted)) else { return Err(failed) };
    let records = Records::at(ground.state.path());
    let Some(mut entry) = records.journal.read::<Entry>()? else { return Err(failed) };
    if !config::is_stored(&ground.service)? {
        return Err(failed);
    }
    if session.dry_run {
        return Err(failed.hint(format!("an upgrade of {} was cut off; end it with: mm-pgbump recover", entry.from())));
    }
    let lock = ground.state.lock(session.lock_wait())?;
    ui::say(&format!(
        "bringing back the database of the configuration, which the upgrade of {} took away",
        entry.from()
    ));
    match bring_back(&mut entry, &ground.service, &records, &lock) {
        Ok(()) => drop(lock),
        Err(error) if error.kind() == Kind::RolledBack => {
            observe(session)?.put_service_back(&lock)?;
            return Err(error);
        }
        Err(error) => {
            let first = error.next_step().unwrap_or("remove the cause").to_owned();
            let journal = records.journal.path().display();
            return Err(error
                .within("cannot bring back the database that the configuration is kept in")
                .of_kind(Kind::HalfDone)
                .with_hint(format!("{first}; then run mm-pgbump again: it goes on from {journal}")));
        }
    }
    observe(session)
}

/// As [`Session::probe`]. In the middle of the undoing of a swap the executable is held, and may be damaged: which release it
/// is stands in the journal of that.
pub(crate) fn observe(session: &mut Session) -> Result<Installation> {
    #[derive(Deserialize)]
    struct Swap {
        to: Version,
        edition: Edition,
    }
    let failed = match session.probe() {
        Ok(installation) => return Ok(installation),
        Err(error) => error,
    };
    let Ok(ground) = site::ground_of_ruin(&session.wanted()?) else { return Err(failed) };
    if !door::is_undoing_swap(&ground.state) {
        return Err(failed);
    }
    match Journal::at(ground.state.path(), door::SWAP).read::<Swap>()? {
        Some(Swap { to, edition }) => session.probe_ruin(&Supposed { version: to, edition }),
        None => Err(failed),
    }
}

/// Does of the recovery what needs no configuration. The journal stays: the rest follows.
fn bring_back(entry: &mut Entry, service: &Service, records: &Records, lock: &LockGuard) -> Result<()> {
    let new = undo::new_cluster(entry)?;
    match (entry.phase, new) {
        (Phase::RollingBack, _) => {
            service.stop(STOP_LIMIT, lock)?;
            rollback::exchange(entry)?;
            repoint::back(entry, service, lock)
        }
        (Phase::Finishing | Phase::Done, Some(new)) => {
            let forward = |entry: &mut Entry| {
                if control::mode(&new)? != Mode::Open {
                    control::stop(&new)?;
                    control::start(&new)?;
                }
                repoint::store(entry, service, &new, records, lock)
            };
            forward(entry).map_err(|error| undo::taken_back(error, entry, service, records, lock))
        }
        (Phase::Reading | Phase::Upgrading | Phase::Proving, _) => undo::clusters(entry),
        // It was being taken back already.
        (Phase::Finishing | Phase::Done, None) => {
            undo::clusters(entry)?;
            repoint::back(entry, service, lock)
        }
    }
}
