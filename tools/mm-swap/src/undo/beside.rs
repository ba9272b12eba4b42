//! The way back that somebody has asked for, while the new server serves: the dump is restored beside it, compared and
//! given its statistics, or the frozen copy is looked at and made ready, and the server is stopped when nothing is left but to
//! exchange names. What users write meanwhile goes with what they have written since the restore point, as they would have
//! been told of it a moment later.

use mm_common::contract::error::{Error, Kind, Result};
use mm_common::contract::shell;
use mm_common::contract::ui;
use mm_common::machine::checkpoint;
use mm_common::machine::journal::state_flag;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::service::hold::{self, Held};
use mm_common::mattermost::way_back::{self, RestorePoint};
use mm_common::postgres::dump::literal;
use mm_common::postgres::server::Database;

use super::{Means, moved, require_unmoved, say_lost};
use crate::operation::Operation;
use crate::restore_point;

/// A database that was put back.
pub(super) struct Restored {
    database: Database,
    point: RestorePoint,
    before: Option<u64>,
    said: String,
}

impl Restored {
    /// Says what of the users' is not in it. Counting that is for when the server serves again.
    pub(super) fn tell(self) {
        let Self { database, point, before, said } = self;
        say_lost(written(&database, &point).or(before), &point.created, &said);
    }
}

/// Puts the database back while the server runs, where a restore point is what it goes back to; the server is stopped then, and
/// the database is proven to be that of before.
///
/// # Errors
/// Failed when it could not be restored: the new server serves as before, and the operation is done again. Half done when it
/// has been stopped already.
pub(super) fn restore(
    means: &mut Means<'_>,
    operation: &mut Operation,
    held: &[Held],
    lock: &LockGuard,
) -> Result<Option<Restored>> {
    let site = &*means.site;
    let Some(point) = operation.restore_point.clone().filter(|_| site.service.is_running().unwrap_or(false)) else {
        return Ok(None);
    };
    // What cannot be reached is no longer used by anybody, and the way back is another one or none.
    let Ok(database) = site.database() else { return Ok(None) };
    if !moved(operation, &database)? {
        return Ok(None);
    }
    let way = means.way(operation, &database)?;
    if !matches!(way.kind, way_back::Kind::Dump | way_back::Kind::FrozenCopy) {
        return Ok(None);
    }
    ui::say(&format!(
        "putting the database back beside the running server: {}; what is written until it is stopped goes as well",
        way.in_words()
    ));
    let command = restore_point::command(operation, &point, means.flags)?.args(["--stop", "--leave-stopped"]);
    let said = match restore_point::restore(&command, lock) {
        Ok(said) => said,
        Err(error) => return Err(stays(means, operation, held, error, lock)),
    };
    checkpoint::pass("undo-restored");
    let restored = Restored { database, before: way.posts, said, point };
    if let Err(error) = require_unmoved(operation, site, &format!("restore point {}", restored.point.id)) {
        restored.tell();
        return Err(error);
    }
    Ok(Some(restored))
}

/// Posts in the database that was put aside: it has what came in until the stop.
fn written(database: &Database, point: &RestorePoint) -> Option<u64> {
    let prefix = literal(&format!("{}_mm_before_", database.name));
    let newest = format!(
        "SELECT datname AS name FROM pg_catalog.pg_database WHERE pg_catalog.starts_with(datname, {prefix})
         ORDER BY datname DESC LIMIT 1"
    );
    let rows = database.rows(&newest).ok()?;
    let kept = database.sibling(rows.first()?["name"].as_str()?);
    way_back::posts_since(&kept, &point.created).ok()
}

/// The new server goes on, and nothing has been decided, where nothing has been done.
fn stays(means: &Means<'_>, operation: &mut Operation, held: &[Held], error: Error, lock: &LockGuard) -> Error {
    let site = &*means.site;
    let is_as_before =
        || -> Result<bool> { Ok(!restore_point::is_cut_off(&site.state)? && moved(operation, &site.database()?)?) };
    if !is_as_before().unwrap_or(false) {
        return error;
    }
    let undecided = hold::release(&site.root, held, lock).and_then(|()| {
        // Stopped for the exchange, which could not be made: only now can it be started.
        if !site.service.is_running()? {
            site.service.start(&[], lock)?;
        }
        operation.reason = None;
        operation.close_done(&site.state, lock)
    });
    if let Err(other) = undecided {
        return error.because(other.one_line());
    }
    let first = error.next_step().unwrap_or("fix the problem above").to_owned();
    let again =
        format!("mm-swap rollback --database --install {}{}", shell::word(&site.root), state_flag(site.state.path()));
    error
        .within(format!("the server {} runs as before, and nothing was exchanged", operation.to))
        .of_kind(Kind::Failed)
        .with_hint(format!("{first}; or, once that is fixed, again: {again}"))
}
