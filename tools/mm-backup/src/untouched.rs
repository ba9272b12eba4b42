//! The database that a run has moved its server out of: it was only read, and going back to the start of the run begins with
//! pointing the server at it again.

use mm_common::contract::document::Document;
use mm_common::contract::error::{Error, Result};
use mm_common::contract::sections::Pgbump;
use mm_common::contract::ui;
use mm_common::machine::door;
use mm_common::machine::journal;
use mm_common::machine::state::State;
use mm_common::mattermost::site::Ground;
use mm_common::mattermost::way_back::{Moved, last_move};
use mm_common::run::Session;
use mm_common::run::beside::beside;
use serde_json::Value;

/// More than the ways back of one run: upgrades of PostgreSQL after the move are taken back before it.
const MOST: usize = 4;

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

/// Points the server at the old database again, and leaves it stopped. May be repeated.
///
/// # Errors
/// When that cannot be done; what was begun of it is gone on with by the same restore.
pub(crate) fn point_back(session: &Session, ground: &Ground, run: &str) -> Result<()> {
    for _ in 0..MOST {
        if of_run(&ground.state, run)?.is_none() && !is_open(&ground.state)? {
            return Ok(());
        }
        let command = beside("mm-pgbump")?
            .args(["rollback", "--leave-stopped", "--document", "none", "--format", "json", "--lock-wait"])
            .arg(session.lock_wait().as_secs().to_string())
            .arg("--install")
            .arg(&ground.root)
            .args(session.common.of_installation());
        let output =
            command.run().map_err(|error| error.within("cannot point the server at its old database again"))?;
        let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        ui::say(document["msg"].as_str().unwrap_or("the server is pointed at its old database again"));
    }
    Err(Error::failed("the server was not pointed at its old database again")
        .hint("mm-pgbump rollback, then this again"))
}

/// Whether that was begun and cut off.
pub(crate) fn is_open(state: &State) -> Result<bool> {
    Ok(journal::interrupted(state.path())?.iter().any(|name| name == door::MOVE))
}
