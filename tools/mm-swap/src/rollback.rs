//! `mm-swap rollback`: back to the release before the last swap, by hand and later. The files alone when the schema has
//! not moved; with `--database` also the database of the restore point, and with it the loss of what was written since.

use std::time::Duration;

use mm_common::contract::error::{Error, Result};
use mm_common::contract::sections::Swap;
use mm_common::machine::files;
use mm_common::mattermost::site::{self, Installation};
use mm_common::postgres::server::Database;
use mm_common::run::Session;

use crate::operation::{self, Operation, Verdict};
use crate::undo::{self, Means};
use crate::{recover, restore_point, run};

/// Carries the verb out.
pub(crate) fn rollback(session: &mut Session, with_database: bool, limit: Duration) -> Result<String> {
    let ground = site::ground(&session.wanted()?)?;
    if session.dry_run {
        let site = session.probe()?;
        let last = last(&site)?;
        let moved = undo::moved(&last, &site.database()?)?;
        let database = if moved { ", with the database of the restore point" } else { "" };
        return Ok(format!("would go back from {} to {}{database}", last.to, last.from));
    }
    let mut lock = ground.state.lock(Duration::from_secs(session.common.lock_wait))?;
    run::refuse_foreign_journal(&ground.state, &ground.root)?;
    if let Some(open) = Operation::open(&ground.state)? {
        lock = recover::finish(session, open, lock, limit)?.lock;
    }
    let site = session.probe()?;
    let mut last = last(&site)?;
    let database = site.database()?;
    if undo::moved(&last, &database)? && (!with_database || last.restore_point.is_none()) {
        return Err(refusal(&last, &database));
    }
    // The state to come back to is that of now: whether it runs.
    (last.was_running, last.start) = (site.was_running, site.was_running);
    let flags = run::backup_flags(&session.common);
    let means = Means { site: &site, flags: &flags, start_limit: limit };
    session.changed = true;
    undo::undo(&means, &mut last, "a rollback was asked for", lock)?;
    session.document.set(
        "swap",
        &Swap {
            from: last.to.clone(),
            to: last.from.clone(),
            exchanged: last.steps.iter().map(|planned| planned.step.path.clone()).collect(),
            retired: Some(last.aside.clone()),
            modified: Vec::new(),
            window_seconds: 0.0,
            healthy_after_seconds: 0.0,
            private_address: None,
        },
    )?;
    Ok(format!("{} has given way to {} again", last.to, last.from))
}

/// The last swap, which brought what is installed and whose old release is still there.
fn last(site: &Installation) -> Result<Operation> {
    let refused = |why: String| {
        Error::refused("there is no release to go back to")
            .because(why)
            .hint("restore files and database with `mm-backup restore ID`")
    };
    let records = operation::records(&site.state)?;
    let last = records.into_iter().rfind(|record| record.verdict == Verdict::Done);
    let last = last.ok_or_else(|| refused("no swap of this installation is on record".into()))?;
    if last.to != site.version {
        return Err(refused(format!("the last swap brought {}, but {} is installed", last.to, site.version)));
    }
    if files::look(&last.aside)?.is_none() {
        return Err(refused(format!("the old release is no longer in `{}`", last.aside.display())));
    }
    Ok(last)
}

fn refusal(last: &Operation, database: &Database) -> Error {
    let error = Error::refused(format!("the server {} has migrated the database", last.to))
        .because(format!("the release {} does not work on it", last.from));
    match &last.restore_point {
        Some(point) => {
            let loss = match restore_point::posts_since(database, point) {
                Ok(posts) => format!("; the {posts} posts written since {} would be lost", point.created),
                Err(_) => format!("; what was written since {} would be lost", point.created),
            };
            error.because(format!("the restore point {} has the database as it was{loss}", point.id)).hint(format!(
                "mm-swap rollback --database --install {}",
                last.root.display()
            ))
        }
        None => error.because("no restore point was made for the swap").hint(
            "restore files and database together from a restore point of your own: `mm-backup list`, `mm-backup restore ID`",
        ),
    }
}
