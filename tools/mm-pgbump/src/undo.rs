//! The way back to the old cluster: what is there is looked at, the steps are worked out, each is done.

use std::path::PathBuf;

use mm_common::contract::ui;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::service::Service;
use mm_common::machine::{checkpoint, files, signals, tree};
use mm_common::postgres::cluster::{self, Cluster};
use mm_common::{Error, Kind, Result};

use crate::control;
use crate::plan::{self, Left, Made, Mode, Undo};
use crate::record::{Entry, Records};
use crate::{repoint, upgrade};

/// What a signal leads to while an upgrade may still be taken back.
pub(crate) fn in_words(entry: &Entry) -> String {
    let from = entry.from();
    let first = if entry.phase == plan::Phase::Upgrading { "pg_upgradecluster is let finish, then " } else { "" };
    format!("{first}the upgrade is undone: the cluster {from} will serve as before, within a minute")
}

/// Takes an upgrade back that did not come to its end, and closes its journal. May be repeated.
///
/// # Errors
/// Half done (exit 3) when it cannot be taken back.
pub(crate) fn back(entry: &Entry, service: &Service, records: &Records, lock: &LockGuard) -> Result<()> {
    let _undo = signals::undoing(in_words(entry));
    let result = clusters(entry).and_then(|()| repoint::back(entry, service, lock));
    match result {
        Ok(()) => records.journal.close(lock),
        Err(error) if error.kind() == Kind::HalfDone => Err(error),
        Err(error) => {
            let first = error.next_step().unwrap_or("remove the cause").to_owned();
            Err(error
                .within(format!("cannot go back to the cluster {}", entry.from()))
                .of_kind(Kind::HalfDone)
                .with_hint(format!(
                    "{first}; then run mm-pgbump again: it goes on from {}",
                    records.journal.path().display()
                )))
        }
    }
}

/// Goes back after a failure; the error then says that everything is as it was.
pub(crate) fn taken_back(error: Error, entry: &Entry, service: &Service, records: &Records, lock: &LockGuard) -> Error {
    ui::say(&format!("going back to {}: {}", entry.from(), error.one_line()));
    match back(entry, service, records, lock) {
        Ok(()) => error
            .within(format!("the upgrade of {} failed and was rolled back", entry.from()))
            .of_kind(Kind::RolledBack)
            .hint("the old cluster serves as before; remove the cause, then run this again"),
        Err(undoing) => undoing.because(format!("this was to be done because {}", error.one_line())),
    }
}

/// The clusters as they were: all of the way back but the configuration of the server. May be repeated.
pub(crate) fn clusters(entry: &Entry) -> Result<()> {
    let steps = plan::undo(&left(entry)?)?;
    for step in steps {
        ui::detail(&format!("undoing: {step:?}"));
        carry_out(step, entry)?;
        checkpoint::pass("undo-step");
    }
    remove_tablespace_directories(entry)?;
    control::forget_shut(&entry.old)
}

/// The new cluster, once it is one. `pg_upgradecluster` copies the old configuration before it changes the data
/// directory in it: killed in between, it leaves a cluster that names the data of the old one, and dropping that one
/// would delete them (observed).
pub(crate) fn new_cluster(entry: &Entry) -> Result<Option<Cluster>> {
    Ok(cluster::find(entry.major, &entry.old.name)?.filter(|new| new.data == entry.data))
}

/// Whether the new cluster, proven by then, has been open to everybody: a machine that was started since may have let
/// users in, and what they wrote is nowhere else.
pub(crate) fn was_open(entry: &Entry) -> Result<bool> {
    if entry.phase != plan::Phase::Finishing {
        return Ok(false);
    }
    new_cluster(entry)?.map_or(Ok(false), |new| Ok(!control::is_held(&new)?))
}

fn configuration(entry: &Entry) -> PathBuf {
    cluster::configuration_directory(entry.major, &entry.old.name)
}

/// Looks at what is there now.
fn left(entry: &Entry) -> Result<Left> {
    // Before that phase nothing of it was made by us: what is there now is somebody else's.
    let ours = entry.phase >= plan::Phase::Upgrading;
    let new = new_cluster(entry)?.filter(|_| ours);
    let stray = files::look(&entry.data)?.is_some() || files::look(&configuration(entry))?.is_some();
    Ok(Left {
        phase: entry.phase,
        method: entry.method,
        still_running: !upgrade::survivors(entry).is_empty(),
        old: control::mode(&entry.old)?,
        control_aside: files::look(&entry.old.data.join("global/pg_control.old"))?.is_some(),
        new_mode: match &new {
            Some(new) => control::mode(new)?,
            // initdb starts servers of its own; they end with it.
            None => Mode::Down,
        },
        new: match new {
            Some(_) => Made::Cluster,
            None if stray && ours => Made::Stray,
            None => Made::Nothing,
        },
        old_ran: entry.old.online,
    })
}

fn carry_out(step: Undo, entry: &Entry) -> Result<()> {
    let new = || {
        new_cluster(entry)?.ok_or_else(|| Error::failed(format!("the cluster {} is not there any more", entry.to())))
    };
    match step {
        Undo::EndPrograms => upgrade::end(entry),
        Undo::StopNew => control::stop(&new()?),
        Undo::DropNew => control::drop_cluster(&new()?).and_then(|()| remove_stray(entry)),
        Undo::RemoveStray => remove_stray(entry),
        Undo::StopOld => control::stop(&entry.old),
        Undo::RestoreControl => {
            let directory = entry.old.data.join("global");
            files::rename(&directory.join("pg_control.old"), &directory.join("pg_control"))?;
            files::sync_directory(&directory)
        }
        Undo::RestoreSettings => restore_settings(entry),
        Undo::StartOld => control::start(&entry.old),
    }
}

/// The journal was written when neither of them existed, so they are of our making.
fn remove_stray(entry: &Entry) -> Result<()> {
    tree::remove(&entry.data)?;
    tree::remove(&configuration(entry))
}

fn remove_tablespace_directories(entry: &Entry) -> Result<()> {
    if entry.phase >= plan::Phase::Upgrading {
        for path in control::tablespace_directories(&entry.old, entry.major)? {
            tree::remove(&path)?;
        }
    }
    Ok(())
}

fn restore_settings(entry: &Entry) -> Result<()> {
    if let Some(now) = cluster::find(entry.old.major, &entry.old.name)?
        && now.port != entry.old.port
    {
        control::set_port(&entry.old, entry.old.port)?;
    }
    control::release(&entry.old, entry.old_start.as_deref())
}
