//! `restore`: everything, or what the flags name; into place, or elsewhere.

use mm_common::contract::error::Result;
use mm_common::contract::ui;
use mm_common::postgres::dump;
use mm_common::postgres::server::Database;
use mm_common::postgres::source::DataSource;
use mm_common::run::Session;

use crate::arguments::RestoreArguments;
use crate::manifest::DatabasePart;
use crate::restore_files;
use crate::store::Point;
use crate::wish::Wish;
use crate::{equal, foresee, into_place, salvage, target};

/// Restores. Returns the line that says what was done.
pub(crate) fn restore(
    session: &mut Session,
    point: &Point,
    wanted: &RestoreArguments,
    wish: &Wish,
    jobs: usize,
) -> Result<String> {
    if session.dry_run {
        return foresee::foresee(session, point, wanted, wish);
    }
    point.proven_manifest()?;
    if wanted.into.is_some() || wanted.into_database.is_some() {
        return elsewhere(session, point, wanted, wish, jobs);
    }
    into_place::restore(session, point, wanted, wish, jobs)
}

fn elsewhere(
    session: &mut Session,
    point: &Point,
    wanted: &RestoreArguments,
    wish: &Wish,
    jobs: usize,
) -> Result<String> {
    point.require_complete()?;
    let (mut done, mut left_out) = (Vec::new(), Vec::new());
    if let (Some(directory), Some(selection)) = (&wanted.into, &wish.files) {
        let count;
        (count, left_out) = restore_files::below(point, selection, directory)?;
        done.push(format!("{} below {}", ui::count(count, "entry"), directory.display()));
        session.changed = true;
    }
    let head = &point.head;
    let part = if wish.configuration { &head.config_database } else { &head.database };
    if let (Some(url), Some(part)) = (&wanted.into_database, part) {
        let database = Database::connect(&DataSource::parse(url)?, None)?;
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
