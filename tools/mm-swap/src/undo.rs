//! Going back: configuration, database and tree as they were, the old server running again if it ran. Every part looks
//! first and does only what is still to be done, so it can be cut off and run again.
//!
//! From before the decision until the old server stands on its own database, the machine must not start any: it would do
//! so by itself after a power cut, and what users wrote then would go with the database. So the new server is held, and
//! the old one, which takes its place, comes last of all.

use std::path::Path;
use std::time::{Duration, Instant};

use mm_common::contract::error::{Context as _, Error, Kind, Result};
use mm_common::contract::shell;
use mm_common::contract::ui;
use mm_common::machine::checkpoint;
use mm_common::machine::command::Cmd;
use mm_common::machine::journal::state_flag;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::service::hold::{self, Held};
use mm_common::machine::service::{FAILED_STOP, STOP_LIMIT};
use mm_common::machine::signals;
use mm_common::machine::state::State;
use mm_common::mattermost::site::Installation;
use mm_common::mattermost::way_back::{self, WayBack};
use mm_common::postgres::proven::Claim;
use mm_common::postgres::server::Database;

use crate::flip::{Flip, Progress};
use crate::launch::Launch;
use crate::operation::{self, Operation, Verdict};
use crate::{config, private, restore_point, run, shape};

use beside::Restored;

mod beside;

/// How long sessions of a stopped server may take to end once they are told to.
const SESSIONS: Duration = Duration::from_secs(60);

/// What going back needs besides the operation.
pub(crate) struct Means<'a> {
    /// What is read of it again when the way back has changed where its database is.
    pub(crate) site: &'a mut Installation,
    /// Flags that make mm-backup work on the same installation.
    pub(crate) flags: &'a [String],
    /// How long the old server may take to get healthy.
    pub(crate) start_limit: Duration,
    /// How the database goes back, where that was planned before anything was done; else it is decided on the way.
    pub(crate) planned: Option<WayBack>,
}

impl Means<'_> {
    /// How the database goes back.
    fn way(&self, operation: &Operation, database: &Database) -> Result<WayBack> {
        match &self.planned {
            Some(way) => Ok(way.clone()),
            None => way_back::of_hop(operation.hop(), self.site, database, &claim(self.site, false)),
        }
    }
}

/// Undoes `operation` and closes its journal. The tool that puts the database back works under the lock that is held here.
///
/// # Errors
/// Half done (exit 3) when it could not be undone; the hint says what to do. The journal stays open then. Failed when
/// nothing has been done: the operation is done, as before.
pub(crate) fn undo(means: &mut Means<'_>, operation: &mut Operation, reason: &str, lock: &LockGuard) -> Result<()> {
    // Half-way back is the one place to stay out of.
    let _undo = signals::finishing(run::way_back_in_words(operation));
    let attempted = format!("cannot put the server {} back in `{}`", operation.from, means.site.root.display());
    attempt(means, operation, reason, lock).map_err(|error| {
        if operation.verdict == Verdict::Done {
            return error;
        }
        let first = error.next_step().unwrap_or("fix the problem above").to_owned();
        let journal = operation::journal(&means.site.state);
        error
            .within(attempted)
            .because(format!("it was to go back because {reason}"))
            .of_kind(Kind::HalfDone)
            .with_hint(format!(
                "{first}; then: mm-swap recover --install {}{} (its journal is `{}`)",
                shell::word(&means.site.root),
                state_flag(means.site.state.path()),
                journal.display()
            ))
    })
}

fn attempt(means: &mut Means<'_>, operation: &mut Operation, reason: &str, lock: &LockGuard) -> Result<()> {
    let is_done = operation.verdict == Verdict::Done;
    let held = decide(means.site, operation, reason, lock)?;
    checkpoint::pass("undo-decided");
    if is_back(means.site, operation)? {
        checkpoint::pass("undo-exchanged");
        serve(means, operation, lock)?;
    } else {
        ui::say(&format!("going back to {}", operation.from));
        // A server that has failed is stopped at once, and so is one whose way back has been begun.
        let restored = if is_done { beside::restore(means, operation, &held, lock)? } else { None };
        let done = put_back(means, operation, restored.is_some(), lock).and_then(|()| serve(means, operation, lock));
        restored.into_iter().for_each(Restored::tell);
        done?;
    }
    operation.verdict = Verdict::Undone;
    operation.close(&means.site.state, lock)?;
    checkpoint::pass("undone");
    Ok(())
}

/// Stops the server, and puts back configuration, database where that `is_restored` not yet, and tree.
fn put_back(means: &mut Means<'_>, operation: &mut Operation, is_restored: bool, lock: &LockGuard) -> Result<()> {
    means.site.service.stop_or_kill(FAILED_STOP, lock)?;
    checkpoint::pass("undo-stopped");
    if let Some(saved) = operation.config.as_ref().filter(|_| !operation.config_is_back) {
        config::restore(saved, lock)?;
        operation.config_is_back = true;
        operation.write(&means.site.state, lock)?;
    }
    checkpoint::pass("undo-config");
    if !is_restored {
        database(means, operation, lock)?;
    }
    checkpoint::pass("undo-database");
    Flip::of(operation)?.back(lock)?;
    checkpoint::pass("undo-exchanged");
    Ok(())
}

/// The old server runs again, if it ran.
fn serve(means: &Means<'_>, operation: &Operation, lock: &LockGuard) -> Result<()> {
    if operation.was_running { start(means, operation, lock) } else { private::forget(&means.site.state, lock) }
}

/// Holds the new server and then decides, so that after the decision no power cut gives it to users.
fn decide(site: &Installation, operation: &mut Operation, reason: &str, lock: &LockGuard) -> Result<Vec<Held>> {
    let mut all = Vec::new();
    if operation.verdict == Verdict::Done {
        // A finished swap has no journal; a run that is cut off before it has decided leaves the new server as it is.
        operation.verdict = Verdict::Open;
        operation.write(&site.state, lock)?;
    }
    if Flip::of(operation)?.server_is_new()? {
        match hold::hold(&site.root, lock) {
            Ok(held) => {
                all = held;
                checkpoint::pass("undo-held");
            }
            Err(error) => ui::warn(&format!(
                "should the power fail now, the machine may start the server before `mm-swap recover`: {}",
                error.one_line()
            )),
        }
    }
    if operation.verdict == Verdict::Open {
        operation.verdict = Verdict::Undo;
        operation.reason = Some(reason.to_owned());
        operation.write(&site.state, lock)?;
    }
    Ok(all)
}

/// Whether nothing is to be done but to take note of it: the old release is in place, running if it is to run, and
/// nothing has moved.
fn is_back(site: &Installation, operation: &Operation) -> Result<bool> {
    if Flip::of(operation)?.progress()? != Progress::Old || restore_point::is_cut_off(&site.state)? {
        return Ok(false);
    }
    if let Some(saved) = &operation.config
        && !config::is_as_saved(saved)?
    {
        return Ok(false);
    }
    match site.service.process()? {
        Some(process) if operation.was_running && process.executes_what_is_installed(&site.root) => {
            Ok(!moved(operation, &site.database()?)?)
        }
        _ => Ok(false),
    }
}

/// Restores the database when its schema has moved. It is looked at, never guessed: old binaries mostly start on a newer
/// schema, answer ping, and refuse every login (observed).
fn database(means: &mut Means<'_>, operation: &Operation, lock: &LockGuard) -> Result<()> {
    let site = &*means.site;
    let database = match site.database() {
        Ok(database) => database,
        Err(error) => {
            let way = way_back::of_unreached(operation.hop(), site.state.path())?.ok_or(error)?;
            return by_pgbump(means, operation, way, lock);
        }
    };
    end_orphans(&database)?;
    let cut_off = restore_point::is_cut_off(&site.state)?;
    if !moved(operation, &database)? && !cut_off {
        return Ok(());
    }
    let way = means.way(operation, &database)?;
    if matches!(way.kind, way_back::Kind::KeptCluster | way_back::Kind::UntouchedSource) && !cut_off {
        return by_pgbump(means, operation, way, lock);
    }
    let Some(point) = &operation.restore_point else {
        return Err(Error::failed(
            "the new server has migrated the database, and there is no restore point to go back to",
        )
        .because(format!("the release {} cannot work on the schema of {}", operation.from, operation.to))
        .with_hint(format!(
            "restore the database from your own backup; or stay on {0}: fix why its server did not start, then run mm-swap \
             with its release and --no-backup once more, which goes on to {0} instead of back",
            operation.to
        )));
    };
    ui::say(&format!("putting the database back from the restore point {}", point.id));
    let written = way_back::posts_since(&database, &point.created).ok().map(|posts| (posts, point.created.clone()));
    let command = restore_point::command(operation, point, means.flags)?;
    restored(&command, written, lock)?;
    require_unmoved(operation, site, &format!("restore point {}", point.id)).map_err(|error| {
        let store = shell::word(&point.store);
        error.with_hint(format!("compare with `mm-backup verify {} --restore --to {store}`", point.id))
    })
}

/// The kept cluster serves again, or the server is pointed at the database that it was moved from.
fn by_pgbump(means: &mut Means<'_>, operation: &Operation, way: WayBack, lock: &LockGuard) -> Result<()> {
    ui::say(&format!("putting the database back: {}", way.in_words()));
    let written = way.posts.zip(way.since);
    let command = restore_point::cluster_command(&means.site.root, means.flags)?;
    restored(&command, written, lock)?;
    // Where the clusters have not exchanged their ports, or the database had moved, the data source has been led back.
    if means.site.database().and_then(|database| moved(operation, &database)).unwrap_or(true) {
        means.site.reload()?;
    }
    require_unmoved(operation, means.site, "the database of before")
}

/// Runs another tool under the lock, and says what of the users' goes: the posts, and since when.
fn restored(command: &Cmd, written: Option<(u64, String)>, lock: &LockGuard) -> Result<()> {
    let said = restore_point::restore(command, lock)?;
    checkpoint::pass("undo-restored");
    if let Some((posts, since)) = written {
        say_lost(Some(posts), &since, &said);
    }
    Ok(())
}

fn say_lost(posts: Option<u64>, since: &str, said: &str) {
    if let Some(posts @ 1..) = posts {
        let posts = ui::count(posts, "post");
        ui::warn(&format!("not in the database that is put back: {posts} written since {since}; {said}"));
    }
}

fn require_unmoved(operation: &Operation, site: &Installation, whence: &str) -> Result<()> {
    if !moved(operation, &site.database()?)? {
        return Ok(());
    }
    Err(Error::failed("the database that was put back is not as it was before the swap")
        .because(format!("its schema differs from the one that was noted ({whence})")))
}

/// On whose behalf a superuser looks at the database.
///
/// `accepted` is an administrator's word that the database is this server's (`--accept database`).
pub(crate) fn claim(site: &Installation, accepted: bool) -> Claim<'_> {
    let role = site.source.as_ref().map_or("", |source| source.user.as_str());
    Claim { role, state: site.state.path(), accepted, lock: None }
}

/// mm-pgbump was cut off while it let the old cluster serve again: until that is done there may be no database, and nothing
/// that needs one can be looked at.
pub(crate) fn finish_cluster(root: &Path, state: &State, flags: &[String], lock: &LockGuard) -> Result<()> {
    if !restore_point::is_cluster_cut_off(state)? {
        return Ok(());
    }
    restored(&restore_point::cluster_command(root, flags)?, None, lock)
}

/// Whether the schema is another one than before the exchange.
pub(crate) fn moved(operation: &Operation, database: &Database) -> Result<bool> {
    let now = shape::of(database)?;
    Ok(operation.level != now.level || operation.shape != now.columns)
}

/// A session of the stopped server may live on and finish, and thereby commit, what it was at. Sessions of people have
/// a name.
fn end_orphans(database: &Database) -> Result<()> {
    let attempt = || "cannot end the sessions that the stopped server has left in the database".to_owned();
    let begun = Instant::now();
    let ours = "datname = pg_catalog.current_database() AND usename = current_user AND pid <> pg_catalog.pg_backend_pid() \
                AND application_name = '' AND backend_type = 'client backend'";
    loop {
        let told = database.rows(&format!(
            "SELECT pid, pg_catalog.pg_terminate_backend(pid) AS told FROM pg_catalog.pg_stat_activity WHERE {ours}"
        ));
        let left = told.context(attempt)?;
        if left.is_empty() {
            return Ok(());
        }
        if begun.elapsed() > SESSIONS {
            return Err(Error::failed(attempt()).because(format!("{} of them are still there", left.len())));
        }
        // They end at once; users wait.
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The old server is started publicly, even if it ran privately: users are not to be locked out by a failure.
fn start(means: &Means<'_>, operation: &Operation, lock: &LockGuard) -> Result<()> {
    let site = &*means.site;
    let launch = Launch {
        site,
        version: &operation.from,
        private: None,
        database: None,
        excused: &[],
        limit: means.start_limit,
    };
    if let Some(process) = site.service.process()? {
        if process.executes_what_is_installed(&site.root) {
            return Ok(());
        }
        site.service.stop(STOP_LIMIT, lock)?;
    }
    launch.command(lock)?.wait(lock).map(|_| ())
}
