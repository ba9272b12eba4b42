//! `mm-swap rollback`: back to the release before the last swap, by hand and later. The files alone when the schema has
//! not moved; with `--database` also the database of the restore point, and with it the loss of what was written since.

use std::path::Path;
use std::time::Duration;

use mm_common::contract::error::{Error, Result};
use mm_common::contract::sections::Swap;
use mm_common::contract::ui;
use mm_common::machine::files;
use mm_common::mattermost::config::Copied;
use mm_common::mattermost::site::{self, Installation};
use mm_common::postgres::server::Database;
use mm_common::postgres::source::DataSource;
use mm_common::run::Session;

use crate::operation::{self, Operation, Verdict};
use crate::undo::{self, Means};
use crate::{config, recover, restore_point, run};

/// Carries the verb out.
pub(crate) fn rollback(session: &mut Session, with_database: bool, limit: Duration) -> Result<String> {
    let ground = site::ground(&session.wanted()?)?;
    if session.dry_run {
        let site = session.probe()?;
        let last = last(&site)?;
        refuse_another_database(&last, &site)?;
        let moved = allowed(&last, &site.database()?, with_database)?;
        let database = if moved { ", with the database of the restore point" } else { "" };
        return Ok(format!("would go back from {} to {}{database}", last.to, last.from));
    }
    let mut lock = ground.state.lock(session.lock_wait())?;
    run::refuse_foreign_journal(&ground.state, &ground.root)?;
    if let Some(open) = Operation::open(&ground.state)? {
        lock = recover::finish(session, open, lock, limit)?.lock;
    }
    let site = session.probe()?;
    let mut last = last(&site)?;
    refuse_another_database(&last, &site)?;
    allowed(&last, &site.database()?, with_database)?;
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

/// The configuration goes back to what it was before the swap, and with it the place where the server looks for its
/// database, which may have moved since.
///
/// # Errors
/// Refused, before the server is stopped, when the database is not there.
fn refuse_another_database(last: &Operation, site: &Installation) -> Result<()> {
    let (Some(saved), Some(now)) = (&last.config, &site.source) else { return Ok(()) };
    if config::is_as_saved(saved)? {
        return Ok(());
    }
    let of_file = |path: &Path| Ok(Copied::of_files(Some(path), &[])?.data_source(false));
    let place = |source: &DataSource| (source.host.clone(), source.port, source.database.clone());
    let (Some(before), Some(file)) = (of_file(&saved.copy)?, of_file(&saved.path)?) else { return Ok(()) };
    // Where the file does not say where the database is, something else does, and that stays.
    if place(&file) != place(now) || place(&before) == place(&file) {
        return Ok(());
    }
    let at = |source: &DataSource| format!("`{}` at {}:{}", source.database, source.host, source.port);
    Err(Error::refused(format!("the configuration of {} leads to another database", last.from))
        .because(format!("it is {}, and the server works on {} now", at(&before), at(&file)))
        .hint(
            "where an upgrade of PostgreSQL has moved it: mm-pgbump rollback, then this again; or restore files and \
             database with `mm-backup restore ID`, which follows",
        ))
}

/// Whether the database has to go back as well.
///
/// # Errors
/// Refused, before the server is stopped, when it has to and may not or cannot.
fn allowed(last: &Operation, database: &Database, with_database: bool) -> Result<bool> {
    if !undo::moved(last, database)? {
        return Ok(false);
    }
    let error = Error::refused(format!("the server {} has migrated the database", last.to))
        .because(format!("the release {} does not work on it", last.from));
    let elsewhere = "restore files and database together from a restore point of your own: `mm-backup list`, `mm-backup restore ID`";
    let Some(point) = &last.restore_point else {
        return Err(error.because("no restore point was made for the swap").hint(elsewhere));
    };
    if files::look(&point.store.join(&point.id))?.is_none() {
        return Err(error
            .because(format!("there is no restore point {} in `{}` any more", point.id, point.store.display()))
            .hint(format!("mount what it is on; or {elsewhere}")));
    }
    if with_database {
        return Ok(true);
    }
    let loss = match restore_point::posts_since(database, point) {
        Ok(posts) => format!("; the {} written since {} would be lost", ui::count(posts, "post"), point.created),
        Err(_) => format!("; what was written since {} would be lost", point.created),
    };
    Err(error
        .because(format!("the restore point {} has the database as it was{loss}", point.id))
        .hint(format!("mm-swap rollback --database --install {}", last.root.display())))
}
