//! The database that a run has moved its server out of: it was only read, and going back to the start of the run begins with
//! pointing the server at it again.

use mm_common::contract::document::Document;
use mm_common::contract::error::{Error, Kind, Result};
use mm_common::contract::sections::Pgbump;
use mm_common::contract::ui;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::service::hold;
use mm_common::machine::state::State;
use mm_common::machine::{checkpoint, disk, door, journal};
use mm_common::mattermost::site::Ground;
use mm_common::mattermost::way_back::{Moved, exists, last_move};
use mm_common::postgres::room::{self, Need};
use mm_common::postgres::server::Database;
use mm_common::postgres::{cluster, properties};
use mm_common::run::Session;
use mm_common::run::beside::beside;
use serde_json::Value;

use crate::manifest::Head;

/// A move that was cut off, and the one before it.
const MOST: usize = 2;

/// The move that a run has made and that stands.
pub(crate) fn of_run(state: &State, run: &str) -> Result<Option<Moved>> {
    Ok(last_move(state.path())?.filter(|moved| moved.proven && moved.run == run))
}

/// Whether the move was part of the first hop of the run: then its old database is what the run began with.
pub(crate) fn is_of_first_hop(moved: &Moved, base: &Document) -> Result<bool> {
    let done = base.get("done").and_then(Value::as_array).and_then(|done| done.first()?.get("pgbump").cloned());
    let section: Option<Pgbump> = match done {
        Some(section) => serde_json::from_value(section).ok(),
        None if base.get("done").and_then(Value::as_array).is_some_and(|done| !done.is_empty()) => None,
        None => base.section("pgbump")?,
    };
    let labels = section.and_then(|section| section.from.zip(section.to));
    Ok(labels == Some((moved.from.label(), moved.to.label())))
}

/// Requires room for the database of a restore point in the cluster that the server is pointed back to, where that is one of
/// this machine: once it is pointed there, nothing leads back any more.
///
/// # Errors
/// Refused when there is not enough.
pub(crate) fn require_room(moved: &Moved, head: &Head) -> Result<()> {
    let Some(number) = &moved.from.system_identifier else { return Ok(()) };
    let of_major = cluster::all()?.into_iter().filter(|cluster| cluster.major == moved.from.major);
    let Some(cluster) = of_major.into_iter().find(|one| one.system_identifier().is_ok_and(|own| own == *number)) else {
        return Ok(());
    };
    let front = Database::superuser(&cluster, "postgres");
    // A frozen copy is there already, and gets a name.
    let has_copy = head
        .frozen
        .as_ref()
        .is_some_and(|frozen| front.as_ref().is_ok_and(|front| exists(front, &frozen.copy.copy).unwrap_or(false)));
    let Some(part) = head.database.as_ref().filter(|_| !has_copy) else { return Ok(()) };
    let asked = front.and_then(|front| {
        let name = &moved.from.database;
        let present = exists(&front, name)?.then(|| front.sibling(name));
        let space = properties::usable_tablespace(&front, &part.properties)?;
        room::needed(&cluster.data, &front, present.as_ref(), part.bytes, space)
    });
    // Where nobody can be asked, as a stopped cluster, it is looked for where its databases lie.
    let needs = asked.unwrap_or_else(|_| {
        vec![Need { place: cluster.data.clone(), bytes: part.bytes, what: "the restored database" }]
    });
    for need in needs {
        disk::require(&need.place, need.bytes, need.what).map_err(|error| {
            error
                .of_kind(Kind::Refused)
                .with_hint("make room there; the database that is there stays beside it until prune")
        })?;
    }
    Ok(())
}

/// Points the server at the old database again, and leaves it stopped and held until another release takes its place: the
/// installed one would migrate that database. May be repeated.
///
/// # Errors
/// Half done (exit 3) when it was begun and could not be finished; with anything else nothing has changed.
pub(crate) fn point_back(session: &Session, ground: &Ground, run: &str) -> Result<()> {
    if !is_to_do(&ground.state, run)? {
        return Ok(());
    }
    let lock = ground.state.lock(session.lock_wait())?;
    let held = hold::hold(&ground.root, &lock).unwrap_or_else(|error| {
        ui::warn(&format!(
            "should the power fail now, the machine may start the installed server on its old database before this is run again: {}",
            error.one_line()
        ));
        Vec::new()
    });
    checkpoint::pass("restore-held");
    let mut changed = false;
    take_back(session, ground, run, &lock, &mut changed).map_err(|error| {
        if changed || is_open(&ground.state).unwrap_or(true) {
            return error.of_kind(Kind::HalfDone);
        }
        match hold::release(&ground.root, &held, &lock) {
            Ok(()) => error,
            Err(other) => error.because(other.one_line()).of_kind(Kind::HalfDone),
        }
    })
}

fn is_to_do(state: &State, run: &str) -> Result<bool> {
    Ok(of_run(state, run)?.is_some() || is_open(state)?)
}

/// Takes back the move, and leaves an upgrade of the target's cluster as it is that was made after it: there are other databases
/// in that. mm-pgbump gets the lock as its standard input: nobody comes in between.
fn take_back(session: &Session, ground: &Ground, run: &str, lock: &LockGuard, changed: &mut bool) -> Result<()> {
    for _ in 0..MOST {
        if !is_to_do(&ground.state, run)? {
            return Ok(());
        }
        let command = beside("mm-pgbump")?
            .args(["rollback", "--move", "--leave-stopped", "--document", "none", "--format", "json", "--lock-wait"])
            .arg(session.lock_wait().as_secs().to_string())
            .arg("--install")
            .arg(&ground.root)
            .args(session.common.of_installation());
        let output = lock.hand_on().and_then(|lock| command.run_from(lock));
        let output = output.map_err(|error| error.within("cannot point the server at its old database again"))?;
        *changed = true;
        let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        ui::say(document["msg"].as_str().unwrap_or("the server is pointed at its old database again"));
    }
    Err(Error::failed("the server was not pointed at its old database again")
        .hint("mm-pgbump rollback --move --leave-stopped"))
}

/// Whether the move is being taken back, and that was cut off.
fn is_open(state: &State) -> Result<bool> {
    Ok(journal::interrupted(state.path())?.iter().any(|name| name == door::MOVE))
}
