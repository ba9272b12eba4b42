//! `mm-swap run`: everything that can be known or done while the old server runs comes first; then stop, exchange,
//! start, and wait until the new server is healthy; otherwise back.

use std::time::{Duration, Instant};

use mm_common::contract::error::{Error, Kind, Result};
use mm_common::contract::sections::Swap;
use mm_common::contract::{time, ui};
use mm_common::machine::lock::LockGuard;
use mm_common::machine::service::STOP_LIMIT;
use mm_common::machine::{checkpoint, files, signals};
use mm_common::mattermost::schema;
use mm_common::mattermost::site::{self, Installation};
use mm_common::mattermost::way_back::{self, Trial};
use mm_common::postgres::proven::{self, Claim};
use mm_common::postgres::server::Database;
use mm_common::run::Session;

use self::prepare::{Prepared, modified, prepare};
use crate::arguments::RunArguments;
use crate::flip::{self, Flip};
use crate::launch::Launch;
use crate::operation::{self, Operation, Verdict};
use crate::target::{self, Target};
use crate::undo::{self, Means};
use crate::{config, door, private, recover, restore_point, shape, stage};

mod foresee;
mod prepare;

/// Carries the verb out.
pub(crate) fn run(session: &mut Session, arguments: &RunArguments) -> Result<String> {
    session.stopped_for_good = arguments.no_start;
    let ground = site::ground(&session.wanted()?)?;
    if session.dry_run {
        return foresee::foresee(session, arguments);
    }
    let lock = door::lock(session, &ground.state)?;
    door::refuse_foreign_journal(&ground.state, &ground.root)?;
    let mut abandoned = None;
    if let Some(mut open) = Operation::open(&ground.state)? {
        let to = target::of(session, arguments.archive.as_deref()).map(|target| target.manifest.version);
        let goes_on = match to {
            Ok(to) if arguments.no_backup && !restore_point::is_cluster_cut_off(&ground.state)? => {
                recover::give_up(session, &mut open, &to, &lock)?
            }
            _ => false,
        };
        if goes_on {
            abandoned = Some(open);
        } else {
            recover::finish(session, open, &lock, arguments.limit())?;
        }
    }
    let mut site = session.probe()?;
    if let Some(message) = arrived(session, arguments)? {
        // A tool before may have stopped it for a hop.
        return site.put_service_back(&lock).map(|()| message);
    }
    match ready(session, arguments, &site, abandoned.as_ref(), &lock) {
        Ok(Some((operation, database))) => exchange(session, arguments, (&mut site, &database), operation, &lock),
        Ok(None) => already(session, &site, arguments, &lock),
        // The old server must not work on the database that the abandoned release has migrated.
        Err(error) if abandoned.is_some() => Err(error),
        Err(error) => Err(site.after_failure(error, &lock)),
    }
}

/// Everything up to the stop: what is to be done is staged and written down. Nothing when the release is in place already.
/// The database comes along with the session in which it was asked.
fn ready(
    session: &Session,
    arguments: &RunArguments,
    site: &Installation,
    abandoned: Option<&Operation>,
    lock: &LockGuard,
) -> Result<Option<(Operation, Database)>> {
    if target::is_of_database_alone(session, arguments.archive.as_deref())? {
        require_moved(session, site)?;
        return Ok(None);
    }
    let target = target::of(session, arguments.archive.as_deref())?;
    if is_installed(site, &target) {
        return Ok(None);
    }
    let mut prepared = prepare(session, arguments, site, &target)?;
    // Whoever has stopped it has tried this before.
    if prepared.restore_point.is_some() && !arguments.no_backup && site.service.is_running()? {
        let claim = Claim { lock: Some(lock), ..undo::claim(site, session.common.accepts(proven::ACCEPT)) };
        let findings = Trial { site, claim, bump: None, release: true }.run();
        way_back::judge(&findings, true, session.common.accepts(way_back::ACCEPT))?;
    }
    if let Some(Operation { level, shape: columns, .. }) = abandoned {
        // What the old server can work on is still what it was before the first attempt.
        prepared.shape = shape::Shape { level: level.clone(), columns: columns.clone() };
    }
    stage::require_space(&site.root, &target.manifest)?;
    let staged = stage::stage(&site.root, &target.archive, &target.manifest, &prepared.observed, lock)?;
    target::refuse_misnamed(&target, &staged, site)?;
    flip::refuse_immovable(&site.root, &staged, &prepared.plan.steps)?;
    let run = session.document.run()?.map(|run| run.id);
    let operation = Operation { run, ..operation(arguments, site, &target, &prepared, &staged, lock)? };
    for manifest in prepared.old.iter().chain([&target.manifest]) {
        target::keep(&site.state, manifest, lock)?;
    }
    signals::check()?;
    operation.write(&site.state, lock)?;
    Ok(Some((operation, prepared.database)))
}

/// Without its move such a hop has not been carried out, whatever runs.
fn require_moved(session: &Session, site: &Installation) -> Result<()> {
    match session.hop_in_place(site)? {
        Some(_) => Ok(()),
        None => Err(Error::refused(format!(
            "the database of {} has not been moved, which is what this hop is for",
            site.version
        ))
        .hint("put `mm-pgbump move --target FILE --leave-stopped` before mm-swap in the pipeline")),
    }
}

/// Whether the document's way has no hop left.
fn arrived(session: &Session, arguments: &RunArguments) -> Result<Option<String>> {
    let version = if arguments.archive.is_none() { session.arrived()? } else { None };
    Ok(version.map(|version| format!("the way has arrived at {version}: nothing is to be done")))
}

fn is_installed(site: &Installation, target: &Target) -> bool {
    site.version == target.manifest.version && site.edition == target.manifest.edition
}

/// The new release is in place: its server is to run. This is also how a run that was cut off after its last step ends.
fn already(session: &mut Session, site: &Installation, arguments: &RunArguments, lock: &LockGuard) -> Result<String> {
    let exchanges = !target::is_of_database_alone(session, arguments.archive.as_deref())?;
    let last = operation::records(&site.state)?.pop().filter(|_| exchanges);
    let mut section = match last.filter(|last| last.to == site.version && last.verdict == Verdict::Done) {
        Some(last) => section(&last),
        None => Swap {
            from: site.version.clone(),
            to: site.version.clone(),
            exchanged: Vec::new(),
            retired: None,
            modified: Vec::new(),
            window_seconds: 0.0,
            healthy_after_seconds: 0.0,
            private_address: None,
        },
    };
    let running = site.service.is_running()?;
    if running {
        section.private_address = private::noted(&site.state)?.map(|address| private::url(&address));
    } else if !arguments.no_start {
        let address = arguments.private.then(private::free_address).transpose()?;
        let database = site.database()?;
        let mut excused = schema::missing_flags(&database, &site.version)?;
        excused.extend(schema::jobs_begun(&database)?);
        let launch = Launch {
            site,
            version: &site.version,
            private: address.as_deref(),
            database: Some(&database),
            excused: &excused,
            limit: arguments.limit(),
        };
        session.changed = true;
        signals::leads_to(format!("the server {} goes on starting and is not waited for", site.version));
        section.healthy_after_seconds = launch.command(lock)?.wait(lock)?.as_secs_f64();
        section.private_address = address.as_deref().map(private::url);
    }
    session.document.set("swap", &section)?;
    Ok(format!("{} is installed already{}", site.version, if running { "" } else { "; its server has been started" }))
}

fn section(operation: &Operation) -> Swap {
    Swap {
        from: operation.from.clone(),
        to: operation.to.clone(),
        exchanged: operation.steps.iter().map(|planned| planned.step.path.clone()).collect(),
        retired: Some(operation.aside.clone()),
        modified: operation.modified.clone(),
        window_seconds: 0.0,
        healthy_after_seconds: 0.0,
        private_address: operation.private.as_deref().map(private::url),
    }
}

fn exchange(
    session: &mut Session,
    arguments: &RunArguments,
    (site, database): (&mut Installation, &Database),
    mut operation: Operation,
    lock: &LockGuard,
) -> Result<String> {
    session.changed = true;
    signals::leads_to(way_back_in_words(&operation));
    let done = act((&*site, database), &mut operation, arguments.limit(), lock);
    let flags = session.common.of_installation();
    match done {
        Ok((window, healthy)) => {
            operation.close_done(&site.state, lock)?;
            checkpoint::pass("done");
            let swap = Swap { window_seconds: window, healthy_after_seconds: healthy, ..section(&operation) };
            session.human = Some(crate::human::swapped(&swap));
            session.document.set("swap", &swap)?;
            Ok(format!("{} has given way to {}", operation.from, operation.to))
        }
        Err(error) => {
            let mut means = Means { site, flags: &flags, start_limit: arguments.limit(), planned: None };
            Err(go_back(&mut means, &mut operation, error, lock))
        }
    }
}

/// What a signal leads to while an exchange may still be undone.
pub(crate) fn way_back_in_words(operation: &Operation) -> String {
    let from = &operation.from;
    if operation.was_running {
        format!("undoing the exchange, the server will be back on {from}; its start is waited for, mostly some seconds")
    } else {
        format!("undoing the exchange, {from} will be in place again within some seconds")
    }
}

/// Undoes after a failure; the failure itself is what is reported.
pub(crate) fn go_back(means: &mut Means<'_>, operation: &mut Operation, error: Error, lock: &LockGuard) -> Error {
    ui::progress_done();
    // The old server's start is waited for, too.
    let _undo = signals::undoing(way_back_in_words(operation));
    ui::warn(&format!("{}; going back to {}", error.one_line(), operation.from));
    match undo::undo(means, operation, &error.one_line(), lock) {
        Ok(()) => error
            .within(format!("the swap from {} to {} failed and was rolled back", operation.from, operation.to))
            .of_kind(Kind::RolledBack)
            .hint("the reason stands above; the old server runs as before. Fix it and run this again"),
        Err(undo) => error.causes().iter().fold(undo.because(error.message()), Error::because),
    }
}

fn operation(
    arguments: &RunArguments,
    site: &Installation,
    target: &Target,
    prepared: &Prepared,
    staged: &std::path::Path,
    lock: &LockGuard,
) -> Result<Operation> {
    let to = &target.manifest.version;
    let modified = modified(site, prepared)?;
    let area = files::parent(staged)?;
    let id = files::free_name(area, &format!("{}-{}-to-{to}", time::stamp(), site.version), "")?;
    let aside = area.join(&id);
    files::rename_new(staged, &aside)?;
    let steps = flip::identify(&site.root, &aside, prepared.plan.steps.clone())?;
    files::sync_file_system(&aside)?;
    let config = site.config.path.as_deref().map(|path| config::save(path, &site.state, &id, lock)).transpose()?;
    Ok(Operation {
        number: operation::next_number(&operation::records(&site.state)?),
        run: None,
        verdict: Verdict::Open,
        asked: false,
        reason: None,
        from: site.version.clone(),
        to: to.clone(),
        edition: target.manifest.edition,
        root: site.root.clone(),
        aside,
        steps,
        modified,
        was_running: site.was_running,
        start: !arguments.no_start,
        private: if arguments.private && !arguments.no_start { Some(private::free_address()?) } else { None },
        config,
        level: prepared.shape.level.clone(),
        shape: prepared.shape.columns.clone(),
        excused: prepared.excused.clone(),
        restore_point: prepared.restore_point.clone(),
        bump: prepared.bump.clone(),
        config_is_back: false,
        id,
    })
}

/// Stop, exchange, start, health. Returns the seconds between stop and start, and those until it was healthy.
fn act(
    (site, database): (&Installation, &Database),
    operation: &mut Operation,
    limit: Duration,
    lock: &LockGuard,
) -> Result<(f64, f64)> {
    let flip = Flip::of(operation)?;
    ui::say(&format!("stopping the server {}", operation.from));
    site.service.stop(STOP_LIMIT, lock)?;
    let stopped = Instant::now();
    checkpoint::pass("stopped");
    if let Some(saved) = &operation.config {
        config::refresh(saved, lock)?;
    }
    flip.forward(lock)?;
    checkpoint::pass("exchanged");
    if !operation.start {
        return Ok((stopped.elapsed().as_secs_f64(), 0.0));
    }
    let launch = Launch {
        site,
        version: &operation.to,
        private: operation.private.as_deref(),
        database: Some(database),
        excused: &operation.excused,
        limit,
    };
    let commanded = launch.command(lock)?;
    let window = commanded.at.duration_since(stopped).as_secs_f64();
    let healthy = commanded.wait(lock)?;
    Ok((window, healthy.as_secs_f64()))
}
