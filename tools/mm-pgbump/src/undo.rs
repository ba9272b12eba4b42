//! The way back to the old cluster: what is there is looked at, the steps are worked out, each is done.

use std::path::PathBuf;

use mm_common::contract::secret::Secret;
use mm_common::contract::ui;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::{checkpoint, files, tree};
use mm_common::mattermost::config::Origin;
use mm_common::mattermost::site::Installation;
use mm_common::postgres::cluster::{self, Cluster};
use mm_common::{Error, Kind, Result};

use crate::control;
use crate::plan::{self, Left, Made, Mode, Undo};
use crate::record::{Entry, Records};
use crate::{repoint, upgrade};

/// Takes an upgrade back that did not come to its end, and closes its journal. May be repeated.
///
/// # Errors
/// Half done (exit 3) when it cannot be taken back.
pub(crate) fn back(entry: &Entry, installation: &Installation, records: &Records, lock: &LockGuard) -> Result<()> {
    let result = attempt(entry, installation, lock);
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

fn attempt(entry: &Entry, installation: &Installation, lock: &LockGuard) -> Result<()> {
    let steps = plan::undo(&left(entry)?)?;
    for step in steps {
        ui::detail(&format!("undoing: {step:?}"));
        carry_out(step, entry)?;
        checkpoint::pass("undo-step");
    }
    remove_tablespace_directories(entry)?;
    control::forget_shut(&entry.old)?;
    if let Some((before, _)) = entry.repointed {
        point_at(installation, before, lock)?;
    }
    Ok(())
}

/// Makes the configuration of the server name this port, unless it does already.
pub(crate) fn point_at(installation: &Installation, port: u16, lock: &LockGuard) -> Result<Option<PathBuf>> {
    let (text, _) = installation.config.data_source()?;
    let changed: Secret = repoint::with_port(&text, port)?;
    if changed == text {
        return Ok(None);
    }
    installation.config.repoint(&changed, lock).map(Some)
}

/// Whether the configuration of the server can be made to name another port at all.
///
/// # Errors
/// Refused when its data source stands where no file can be changed.
pub(crate) fn can_point_elsewhere(installation: &Installation) -> Result<()> {
    let place = match installation.config.data_source()?.1 {
        Origin::File(_) | Origin::Environment { file: Some(_), .. } => return Ok(()),
        Origin::Environment { name, file: None } => format!("it is set by the variable {name}, and no file sets that"),
        Origin::Database => "the configuration is in the database itself".to_owned(),
    };
    Err(Error::refused("the data source of the server cannot be changed, which --keep-port asks for")
        .because(place)
        .hint(
            "leave out --keep-port: the new cluster takes over the port of the old one, and nothing has to be changed",
        ))
}

/// The new cluster, once it is one. `pg_upgradecluster` copies the old configuration before it changes the data
/// directory in it: killed in between, it leaves a cluster that names the data of the old one, and dropping that one
/// would delete them (observed).
fn new_cluster(entry: &Entry) -> Result<Option<Cluster>> {
    Ok(cluster::find(entry.major, &entry.old.name)?.filter(|new| new.data == entry.data))
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
