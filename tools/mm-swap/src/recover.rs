//! Finishing what a run that was killed has left: a tree that is wholly new goes on, any other goes back. Implied by
//! every run, and a verb of its own.

use std::time::Duration;

use mm_common::contract::error::Result;
use mm_common::contract::ui;
use mm_common::machine::door::nothing_of;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::service::{STOP_LIMIT, hold};
use mm_common::machine::signals;
use mm_common::mattermost::site::Installation;
use mm_common::run::Session;
use semver::Version;

use crate::flip::{Flip, Progress};
use crate::launch::Launch;
use crate::operation::{self, Operation, Verdict};
use crate::undo::{self, Means};
use crate::{config, door, private, publish, run, standing};

/// What an interrupted exchange has become.
pub(crate) struct Recovered {
    /// For people.
    pub(crate) message: String,
    /// Whether it was undone, so that the old release is in place.
    pub(crate) undone: bool,
}

/// Carries the verb out.
pub(crate) fn recover(session: &mut Session, limit: Duration) -> Result<String> {
    let ground = standing::ground(session)?;
    if session.dry_run {
        return Ok(match Operation::open(&ground.state)? {
            Some(open) => format!("would recover the interrupted swap from {} to {}", open.from, open.to),
            None => nothing_of("mm-swap", &ground.state, &ground.root)?,
        });
    }
    let lock = door::lock(session, &ground.state)?;
    if let Some(open) = Operation::open(&ground.state)? {
        return finish(session, open, &lock, limit).map(|recovered| recovered.message);
    }
    if door::foreign(&ground.state, &ground.root)?.is_empty() {
        let site = standing::probe(session, &ground)?;
        if let Some(published) = publish::publish_if_private(session, &site, limit, &lock)? {
            return Ok(published);
        }
    }
    nothing_of("mm-swap", &ground.state, &ground.root)
}

/// Finishes or undoes an interrupted exchange.
///
/// # Errors
/// Rolled back (exit 6) when the new release was wholly in place and its server did not get healthy; half done (exit 3)
/// when it could not be undone.
pub(crate) fn finish(
    session: &mut Session,
    mut open: Operation,
    lock: &LockGuard,
    limit: Duration,
) -> Result<Recovered> {
    ui::say(&format!("an earlier run was interrupted on the way from {} to {}", open.from, open.to));
    session.changed = true;
    if let Some(saved) = &open.config {
        config::heal(saved, lock)?;
    }
    let flags = session.common.of_installation();
    let ground = standing::ground(session)?;
    undo::finish_cluster(&ground.root, &ground.state, &flags, lock)?;
    let mut site = standing::probe(session, &ground)?;
    if open.was_running {
        remember_that_it_ran(session)?;
    }
    if stays_new(&open)? {
        signals::leads_to(run::way_back_in_words(&open));
        return match go_on(&site, &open, limit, lock) {
            Ok(()) => {
                open.close_done(&site.state, lock)?;
                let message = format!("the interrupted swap to {} is complete", open.to);
                Ok(Recovered { message, undone: false })
            }
            Err(error) => {
                let mut means = Means { site: &mut site, flags: &flags, start_limit: limit, planned: None };
                Err(run::go_back(&mut means, &mut open, error, lock))
            }
        };
    }
    let reason = if open.asked { operation::ASKED } else { "the run was interrupted" };
    let mut means = Means { site: &mut site, flags: &flags, start_limit: limit, planned: None };
    undo::undo(&mut means, &mut open, reason, lock)?;
    let what = if open.asked { "rollback is complete" } else { "swap is undone" };
    Ok(Recovered { message: format!("the interrupted {what}: {} is in place", open.from), undone: true })
}

/// Whether an interrupted exchange ends with the new release: it is wholly in place, and nothing has been decided. A new
/// server that is held was to be taken away.
pub(crate) fn stays_new(open: &Operation) -> Result<bool> {
    let undecided = matches!(open.verdict, Verdict::Open | Verdict::Done);
    Ok(undecided && Flip::of(open)?.progress()? == Progress::New && !hold::is_held(&open.root)?)
}

/// The server ran when the run that was cut off began, whatever was found of it since: a failure from now on has to leave
/// it running.
fn remember_that_it_ran(session: &mut Session) -> Result<()> {
    let Some(mut site) = session.document.get("site").cloned() else { return Ok(()) };
    site["service"]["was_running"] = true.into();
    session.document.set("site", &site)
}

/// Ends an attempt to go back that nobody can bring to its end: the database was migrated and there is no restore point.
/// The release that migrated the database, which is in place and held, is asked for once more: it is exchanged again, for
/// the one that is given now. Returns whether it did.
pub(crate) fn give_up(session: &mut Session, open: &mut Operation, to: &Version, lock: &LockGuard) -> Result<bool> {
    if open.verdict != Verdict::Undo || open.restore_point.is_some() || open.to != *to {
        return Ok(false);
    }
    let site = session.probe()?;
    if !undo::moved(open, &site.database()?)? {
        return Ok(false);
    }
    ui::say(&format!("there is no way back to {}: going on to {to}", open.from));
    site.service.stop(STOP_LIMIT, lock)?;
    Flip::of(open)?.back(lock)?;
    open.verdict = Verdict::Undone;
    open.close(&site.state, lock)?;
    Ok(true)
}

/// The tree is wholly new: its server is to run and to be healthy.
fn go_on(site: &Installation, open: &Operation, limit: Duration, lock: &LockGuard) -> Result<()> {
    if !open.start {
        return Ok(());
    }
    let database = site.database()?;
    let process = site.service.process()?;
    let running = process.filter(|process| process.executes_what_is_installed(&site.root));
    // A new server that a reboot has started is public, and users may have written since: it stays so.
    let private =
        open.private.as_deref().filter(|address| running.is_none_or(|server| private::is_of(server, address)));
    let launch = Launch { site, version: &open.to, private, database: Some(&database), excused: &open.excused, limit };
    let commanded = if running.is_some() {
        launch.found()
    } else {
        if process.is_some() {
            site.service.stop(STOP_LIMIT, lock)?;
        }
        launch.command(lock)?
    };
    commanded.wait(lock).map(|_| ())
}
