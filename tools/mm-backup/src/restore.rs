//! `restore`: everything, or what the flags name; into place, or elsewhere.

mod in_place;
mod plan;
mod ready;

use mm_common::contract::error::Result;
use mm_common::contract::ui;
use mm_common::machine::door;
use mm_common::machine::state::State;
use mm_common::postgres::dump;
use mm_common::postgres::server::Database;
use mm_common::run::Session;
use serde_json::json;

use crate::arguments::RestoreArguments;
use crate::manifest::{DatabasePart, Head};
use crate::restore_files;
use crate::store::{Point, Store};
use crate::whose::{self, Whose};
use crate::wish::{self, Wish};
use crate::{equal, flip, kept, salvage, target};

use plan::{Below, Elsewhere};

/// The restore point that is requested.
///
/// # Errors
/// Refused when there is none, and when another machine's would be put over what is installed here. One that mm-swap asks for
/// while it undoes a swap is on its record, wherever it was made.
pub(crate) fn choose(session: &Session, store: &Store, wanted: &RestoreArguments) -> Result<Point> {
    let whose = Whose::of(session)?;
    let id = wanted.id.as_deref().unwrap_or("latest");
    if wanted.is_elsewhere() {
        return whose.to_read(store, id);
    }
    let accepted = session.common.accepts(whose::ACCEPT);
    let is_begun = |head: &Head| is_begun(&session.state(&head.install), &head.id);
    let may = |head: &Head| Ok(accepted || is_begun(head)?);
    let point = whose.to_restore(store, id, &may, ("restore", &wish::said(wanted)))?;
    if !door::is_undoing_swap(&session.state(&point.head.install)) && !is_begun(&point.head)? {
        whose.require(&point, accepted)?;
    }
    Ok(point)
}

/// Whether a restore of it was begun here, or done: what is installed here is, or was to be, what it holds.
fn is_begun(state: &State, id: &str) -> Result<bool> {
    if flip::interrupted(state)?.is_some_and(|open| open.id == id) {
        return Ok(true);
    }
    Ok(kept::all(state)?.iter().any(|(_, kept)| kept.id == id))
}

/// Restores. Returns the line that says what was done.
pub(crate) fn restore(
    session: &mut Session,
    point: &Point,
    wanted: &RestoreArguments,
    wish: &Wish,
    jobs: usize,
) -> Result<String> {
    point.proven_manifest()?;
    if !wanted.is_elsewhere() {
        return in_place::restore(session, point, wanted, wish, jobs);
    }
    let plan = ready::elsewhere(point, wanted, wish)?;
    if session.dry_run {
        return foretell(session, point, wish, &plan.steps());
    }
    elsewhere(session, point, plan, jobs)
}

/// Says what a run would do.
fn foretell(session: &mut Session, point: &Point, wish: &Wish, steps: &[String]) -> Result<String> {
    session.human = Some(steps.iter().fold(String::new(), |text, step| text + "would " + step + "\n"));
    session.document.set("plan", &json!({ "mm-backup": { "restore": point.head.id, "steps": steps } }))?;
    Ok(format!("would restore {} of {}: {}", wish.in_words(), point.head.id, steps.join(", ")))
}

fn elsewhere(session: &mut Session, point: &Point, plan: Elsewhere<'_>, jobs: usize) -> Result<String> {
    let (mut done, mut left_out) = (Vec::new(), Vec::new());
    if let Some(Below { directory, selection, .. }) = plan.files {
        let count;
        (count, left_out) = restore_files::below(point, selection, directory)?;
        done.push(format!("{} below {}", ui::count(count, "entry"), directory.display()));
        session.changed = true;
    }
    if let Some((database, part)) = plan.database {
        into_database(point, part, &database, jobs)?;
        done.push(format!(
            "{} in the database {}, equal to the manifest",
            ui::count(part.tables.len(), "table"),
            database.name
        ));
        session.changed = true;
    }
    salvage::all_or_most(&point.head, &left_out, format!("restored {}", done.join(" and ")))
}

/// Restores the dump into an empty database and compares every table.
fn into_database(point: &Point, part: &DatabasePart, database: &Database, jobs: usize) -> Result<()> {
    target::refuse_filled(database)?;
    dump::restore(&point.path.join(&part.dump.path), database, jobs)?;
    equal::require(&point.path, part, database, jobs)
}
