//! `mm-swap rollback`: back to the release before the last swap, by hand and later. The files alone when the schema has
//! not moved; with `--database` also the database as it was (`mattermost::way_back` says from where), and with it the loss
//! of what was written since.

use std::path::Path;

use mm_common::contract::error::{Error, Result};
use mm_common::contract::sections::Swap;
use mm_common::contract::shell;
use mm_common::machine::files;
use mm_common::machine::journal::state_flag;
use mm_common::machine::signals;
use mm_common::mattermost::config::Copied;
use mm_common::mattermost::site::{Ground, Installation};
use mm_common::mattermost::way_back::{self, WayBack};
use mm_common::postgres::proven;
use mm_common::postgres::server::Database;
use mm_common::postgres::source::DataSource;
use mm_common::run::Session;
use semver::Version;
use serde_json::json;

use crate::arguments::RollbackArguments;
use crate::operation::{self, Operation, SavedConfig, Verdict};
use crate::undo::{self, Means};
use crate::{config, door, recover, standing};

/// Carries the verb out: one hop, whatever cut it off and however often it is run again.
pub(crate) fn rollback(session: &mut Session, asked: &RollbackArguments) -> Result<String> {
    let ground = standing::ground(session)?;
    if session.dry_run {
        return foresee(session, asked, &ground);
    }
    let limit = asked.limit.duration();
    let lock = door::lock(session, &ground.state)?;
    door::refuse_foreign_journal(&ground.state, &ground.root)?;
    let mut begun = None;
    if let Some(open) = Operation::open(&ground.state)? {
        if open.asked && recover::stays_new(&open)? {
            begun = Some(open);
        } else {
            let from = open.from.clone();
            let recovered = recover::finish(session, open, &lock, limit)?;
            if recovered.undone && asked.to.as_ref().is_none_or(|to| *to == from) {
                let hint = hop_before(&operation::records(&ground.state)?, &from, &ground.root, ground.state.path());
                return Ok(format!("{}{hint}", recovered.message));
            }
        }
    }
    let mut site = standing::probe(session, &ground)?;
    let Plan { operation: mut last, database } = match choose(&site, asked, begun.as_ref(), accepts(session)) {
        Ok(Choice::Back(plan)) => *plan,
        Ok(Choice::Nothing(message)) => return Ok(message),
        Err(error) => {
            // The server that was to be taken away stays, and runs again if it ran.
            if let Some(open) = begun {
                recover::finish(session, open, &lock, limit)?;
            }
            return Err(error);
        }
    };
    // The state to come back to is that of now: whether it runs.
    let was_running = site.was_running || begun.is_some_and(|open| open.was_running);
    (last.was_running, last.start, last.asked) = (was_running, was_running, true);
    let flags = session.common.of_installation();
    let mut means = Means { site: &mut site, flags: &flags, start_limit: limit, planned: database };
    signals::check()?;
    session.changed = true;
    undo::undo(&mut means, &mut last, operation::ASKED, &lock)?;
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

/// What a run would do, with nothing touched.
fn foresee(session: &mut Session, asked: &RollbackArguments, ground: &Ground) -> Result<String> {
    door::refuse_foreign_journal(&ground.state, &ground.root)?;
    let open = Operation::open(&ground.state)?;
    if let Some(open) = &open
        && !recover::stays_new(open)?
    {
        let then = match &asked.to {
            Some(to) if *to != open.from => format!(", and then go back to {to}, if that is the hop before"),
            _ => " and nothing more".into(),
        };
        return Ok(format!("would finish the interrupted way back from {} to {}{then}", open.to, open.from));
    }
    let site = standing::probe(session, ground)?;
    match choose(&site, asked, open.as_ref(), accepts(session))? {
        Choice::Nothing(message) => Ok(message),
        Choice::Back(plan) => {
            if let Some(way) = &plan.database {
                session.document.set("plan", &json!({ "mm-swap": { "way_back": way } }))?;
            }
            Ok(format!("would {}", plan.in_words()))
        }
    }
}

/// What a rollback has to do.
enum Choice {
    /// Nothing, and why.
    Nothing(String),
    /// Go back.
    Back(Box<Plan>),
}

/// A way back as it was worked out: what `--dry-run` tells is what a run carries out.
struct Plan {
    /// The exchange to go back over.
    operation: Operation,
    /// How the database goes back, where it has to.
    database: Option<WayBack>,
}

impl Plan {
    /// All of it in one line, after "would".
    fn in_words(&self) -> String {
        let files = format!("go back from {} to {}", self.operation.to, self.operation.from);
        match &self.database {
            Some(way) => format!("{files}, and {}; {}", way.in_words(), way.loss()),
            None => files,
        }
    }
}

/// Chooses the exchange to go back over: the one whose new release an interrupted run has left in place, or the last one
/// that was done.
///
/// # Errors
/// Refused, before the server is stopped, when there is none or its way back is closed.
fn choose(site: &Installation, asked: &RollbackArguments, open: Option<&Operation>, accepted: bool) -> Result<Choice> {
    let records = operation::records(&site.state)?;
    if asked.to.as_ref() == Some(&site.version) {
        return Ok(Choice::Nothing(format!("{} is installed already; nothing is to be done", site.version)));
    }
    let rolled_back = operation::last_finished(&records).filter(|last| last.is_rolled_back() && open.is_none());
    if let Some(back) = rolled_back
        && asked.to.is_none()
    {
        if back.from != site.version {
            let why = format!("the last rollback brought {} back, but {} is installed", back.from, site.version);
            return Err(nowhere(why));
        }
        let hint = hop_before(&records, &site.version, &site.root, site.state.path());
        return Ok(Choice::Nothing(format!("{} is back already; nothing is to be done{hint}", site.version)));
    }
    let last = match open {
        Some(open) => open,
        None => done(&records).ok_or_else(|| nowhere("no swap of this installation is on record".into()))?,
    };
    if last.to != site.version {
        return Err(nowhere(format!("the last swap brought {}, but {} is installed", last.to, site.version)));
    }
    if let Some(to) = asked.to.as_ref().filter(|to| **to != last.from) {
        let error = Error::refused(format!("`mm-swap rollback` does not lead from {} to {to}", last.to));
        return Err(error
            .because(format!("it goes back over one swap, and the last one came from {}", last.from))
            .hint(format!(
                "mm-swap rollback --to {} --install {}{}",
                last.from,
                shell::word(&site.root),
                state_flag(site.state.path())
            )));
    }
    if files::look(&last.aside)?.is_none() {
        return Err(nowhere(format!("the old release is no longer in `{}`", last.aside.display())));
    }
    refuse_another_database(last, site)?;
    let database = way_of_database(last, site, accepted)?;
    if let Some(way) = &database {
        require_way(last, way, site, asked)?;
    }
    Ok(Choice::Back(Box::new(Plan { operation: last.clone(), database })))
}

/// Whether an administrator says that the database is this server's.
fn accepts(session: &Session) -> bool {
    session.common.accepts(proven::ACCEPT)
}

fn nowhere(why: String) -> Error {
    Error::refused("there is no release to go back to")
        .because(why)
        .hint("restore files and database with `mm-backup restore ID`")
}

/// The last exchange whose new release is in place.
fn done(records: &[Operation]) -> Option<&Operation> {
    records.iter().rfind(|record| record.verdict == Verdict::Done)
}

/// How to go back over one exchange more, as the end of a message: nobody goes there by running a command again.
fn hop_before(records: &[Operation], installed: &Version, root: &Path, state: &Path) -> String {
    match done(records).filter(|last| last.to == *installed) {
        Some(last) => {
            let (root, state) = (shell::word(root), state_flag(state));
            let command = format!("mm-swap rollback --to {} --install {root}{state}", last.from);
            format!("; for the hop before: {command}")
        }
        None => String::new(),
    }
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
    if place(&file) != place(now) {
        return Ok(());
    }
    if place(&before) == place(&file) {
        return refuse_shut_out(last, site, (&before, &file), saved);
    }
    let at = |source: &DataSource| format!("`{}` at {}:{}", source.database, source.host, source.port);
    Err(Error::refused(format!("the configuration of {} leads to another database", last.from))
        .because(format!("it is {}, and the server works on {} now", at(&before), at(&file)))
        .hint(
            "where an upgrade of PostgreSQL has moved it: mm-pgbump rollback, then this again; or restore files and \
             database with `mm-backup restore ID`, which follows",
        ))
}

/// As [`refuse_another_database`], of the role and its password, which may be others since.
fn refuse_shut_out(
    last: &Operation,
    site: &Installation,
    (before, file): (&DataSource, &DataSource),
    saved: &SavedConfig,
) -> Result<()> {
    let entry = |source: &DataSource| {
        (source.user.clone(), source.password.as_ref().map(|password| password.reveal().to_owned()))
    };
    if entry(before) == entry(file) || site.source.as_ref().map(entry) != Some(entry(file)) {
        return Ok(());
    }
    // Where the present one does not get in either, that is no matter of the way back.
    if site.database().is_err() {
        return Ok(());
    }
    let Err(error) = Database::connect(before, Some(&site.owner)) else { return Ok(()) };
    Err(Error::refused(format!(
        "the configuration of {} does not let the server into its database any more",
        last.from
    ))
    .because(error.one_line())
    .hint(format!(
        "write SqlSettings.DataSource as it is in {} into {} too, which rollback puts back; then run this again",
        shell::word(&saved.path),
        shell::word(&saved.copy)
    )))
}

/// How the database goes back, where it has to: the new server has migrated it, or it is gone after a move.
fn way_of_database(last: &Operation, site: &Installation, accepted: bool) -> Result<Option<WayBack>> {
    match site.database() {
        Ok(database) if !undo::moved(last, &database)? => Ok(None),
        Ok(database) => way_back::of_hop(last.hop(), site, &database, &undo::claim(site, accepted)).map(Some),
        Err(error) => way_back::of_unreached(last.hop(), site.state.path())?.map(Some).ok_or(error),
    }
}

/// The database has to go back as well when the new server has migrated it.
///
/// # Errors
/// Refused, before the server is stopped, when it has to and may not or cannot.
fn require_way(last: &Operation, way: &WayBack, site: &Installation, asked: &RollbackArguments) -> Result<()> {
    let error = Error::refused(format!("the server {} has migrated the database", last.to))
        .because(format!("the release {} does not work on it", last.from));
    if way.kind == way_back::Kind::Closed {
        let error = way.causes.iter().fold(error, Error::because);
        return Err(error.hint(way.hint.as_deref().unwrap_or("`mm-backup list`, `mm-backup restore ID`")));
    }
    if asked.database {
        return Ok(());
    }
    let to = asked.to.as_ref().map(|to| format!(" --to {to}")).unwrap_or_default();
    Err(error.because(format!("{}; {}", way.in_words(), way.loss())).hint(format!(
        "mm-swap rollback --database{to} --install {}{}",
        shell::word(&last.root),
        state_flag(site.state.path())
    )))
}
