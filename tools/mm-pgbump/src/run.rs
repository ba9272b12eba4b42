//! `mm-pgbump run`: from the old major to the new one, or back to where it began.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mm_common::contract::digest;
use mm_common::contract::sections::{Backup, Path, Pgbump};
use mm_common::contract::{time, ui};
use mm_common::machine::lock::LockGuard;
use mm_common::machine::service::STOP_LIMIT;
use mm_common::machine::{checkpoint, door, signals, threads};
use mm_common::mattermost::handed_on;
use mm_common::mattermost::site::Installation;
use mm_common::mattermost::way_back::{self, Trial, original};
use mm_common::postgres::cluster::{self, Cluster};
use mm_common::postgres::fingerprint;
use mm_common::postgres::tried;
use mm_common::run::Session;
use mm_common::{Error, Kind, Result};
use serde_json::{Value, json};

use crate::Options;
use crate::control::Starting;
use crate::evidence::{self, Facts};
use crate::open::open;
use crate::plan::{Before, Method, Phase};
use crate::ready::{Ready, ready};
use crate::record::{Entry, Records, RestorePoint};
use crate::repoint::End;
use crate::{aside, check, control, finish, preflight, reach, recover, repoint, restore_point, undo, upgrade, wish};

/// Upgrades the cluster when the hop or the flags ask for it.
pub(crate) fn run(session: &mut Session, options: &Options) -> Result<String> {
    session.refuse_open(&[door::PGBUMP])?;
    if wish::is_needless(session, options)? {
        return needless(session);
    }
    let mut installation = reach::probe(session)?;
    if session.dry_run {
        return check::dry_run(session, options, &installation);
    }
    session.ensure_run()?;
    let lock = installation.state.lock(session.lock_wait())?;
    session.refuse_open(&[door::PGBUMP])?;
    // Whoever held the lock may have changed what there is to see.
    installation = reach::observe(session)?;
    let mut starting = None;
    let result = act(session, options, &mut installation, &mut starting, &lock);
    let settled = match &result {
        // Where the database stands half-way the server must not run.
        Err(error) if error.kind() == Kind::HalfDone => Ok(()),
        // What an earlier tool stopped on purpose is left to the next one when there was nothing to do.
        Ok(_) if options.leave_stopped || !session.changed => Ok(()),
        _ => installation.put_service_back(&lock),
    };
    // The start was tried as the server: what Debian's program has to say of it is no reason for users to wait. They are in by now,
    // or still out; then it ends by itself.
    if let Some(Err(error)) = starting.filter(|_| !options.leave_stopped).map(Starting::end) {
        ui::warn(&error.one_line());
    }
    // What was left stopped was not left so without its statistics.
    if let (Ok(_), Ok(()), true, false) = (&result, &settled, session.changed, options.leave_stopped)
        && let Some(entry) = Records::at(installation.state.path()).last.read::<Entry>()?
        && let Ok(new) = new_cluster(&entry)
    {
        finish::analyze_fully(&new, &entry);
    }
    match (result, settled) {
        (Err(error), Err(service)) => {
            Err(error.because(format!("and the service could not be started again: {}", service.one_line())))
        }
        (Ok(_), Err(service)) => Err(service.within("the database is upgraded, but the service could not be started")),
        (result, Ok(())) => result,
    }
}

fn act(
    session: &mut Session,
    options: &Options,
    installation: &mut Installation,
    starting: &mut Option<Starting>,
    lock: &LockGuard,
) -> Result<String> {
    let begun = Instant::now();
    let records = Records::at(installation.state.path());
    let run = session.ensure_run()?.id;
    if let Some(message) = recover::end(session, installation, &records, options.leave_stopped, lock)? {
        return Ok(message);
    }
    let hop = wish::hop_of(session)?;
    if let Some(last) = records
        .last
        .read::<Entry>()?
        .filter(|last| last.run == run && wish::is_of_hop(last.hop.as_deref(), hop.as_deref()))
    {
        // Done by an earlier run whose report was lost.
        return report(session, &last, &records, begun, &Carried::default());
    }
    let Some(Ready { wish, plan, from_end }) = ready(session, options, installation, Some(lock))? else {
        return needless(session);
    };
    let question = wish.question(options, Some(lock));
    let others = preflight::other_databases(&question)?;
    let point = point_of_hop(session, options.restore_point(), installation, (&wish.database, &others))?;
    refuse_link(plan.method, point.as_ref(), installation)?;
    if options.restore_point() != restore_point::Wanted::None && installation.service.is_running()? {
        let release = session.document.section::<Path>("path")?.is_some_and(|path| path.next.is_some());
        let trial = Trial { site: installation, claim: question.claim, bump: Some(plan.major), release };
        way_back::judge(&trial.run(), true, session.common.accepts(way_back::ACCEPT))?;
    }
    match &plan.before {
        Before::Nothing => {}
        Before::Drop(empty) => {
            ui::say(&format!("dropping the cluster {}, which has never held anything", empty.label()));
            control::stop(empty)?;
            control::drop_cluster(empty)?;
        }
        Before::Rename(kept) => aside::put_aside(kept)?,
    }
    let mut entry = Entry {
        run,
        hop,
        started: time::now(),
        phase: Phase::Reading,
        identifier: Some(plan.old.system_identifier()?),
        next_transaction: None,
        old_start: control::start_conf(&plan.old)?,
        old: plan.old,
        major: plan.major,
        data: plan.data,
        log: plan.log,
        method: plan.method,
        keep_port: plan.keep_port,
        force_packages: plan.force_packages,
        hashed: fingerprint::Method::of_rows(wish.old.major),
        database: wish.database,
        restore_point: point,
        could: installation.database().map(|own| tried::now(&own)).unwrap_or_default(),
        group: None,
        from_end,
        to_end: End::default(),
        changes: Vec::new(),
    };
    records.journal.write(&entry, lock)?;
    checkpoint::pass("intent");
    signals::leads_to(undo::in_words(&entry));
    let accepted = session.common.accepts(preflight::USER_CODE);
    let carried = match carry(&mut entry, (options, accepted), installation, &records, lock) {
        Ok((carried, watched)) => {
            *starting = watched;
            carried
        }
        Err(error) => return Err(taken_back(error, &entry, installation, &records, lock)),
    };
    session.changed = true;
    close(&mut entry, &records, lock)?;
    report(session, &entry, &records, begun, &carried)
}

fn needless(session: &mut Session) -> Result<String> {
    session.ensure_run()?;
    session.document.set("pgbump", &Pgbump::default())?;
    Ok("the database server needs no upgrade".into())
}

/// The restore point of this hop, as far as it is wanted: of this installation, and with these databases in it.
///
/// # Errors
/// Refused when it is not as wanted, and when an earlier one needs what this hop would make nobody remember.
pub(crate) fn point_of_hop(
    session: &Session,
    wanted: restore_point::Wanted,
    installation: &Installation,
    (database, others): (&str, &[String]),
) -> Result<Option<RestorePoint>> {
    original::refuse_needed(installation.state.path(), &installation.root)?;
    let backup: Option<Backup> = session.document.section("backup")?;
    restore_point::check(backup.as_ref(), wanted, others, age)?;
    let Some(backup) = backup else { return Ok(None) };
    match handed_on::require_own(&backup, &installation.root, database) {
        Err(error) if wanted == restore_point::Wanted::None => {
            ui::warn(&format!("it is not kept as a way back: {}", error.one_line()));
            Ok(None)
        }
        Err(error) => Err(error),
        Ok(()) => {
            handed_on::require_complete(&backup, &installation.root, installation.state.path())?;
            let original = handed_on::needs_original(&backup.path)?.is_some();
            Ok(Some(RestorePoint { id: backup.id, store: backup.store, original }))
        }
    }
}

/// A restore point that reads the old cluster later needs its files to stay as they are.
fn refuse_link(method: Method, point: Option<&RestorePoint>, installation: &Installation) -> Result<()> {
    let Some(point) = point.filter(|point| point.original && method == Method::Link) else { return Ok(()) };
    let command = handed_on::making(&point.store, &installation.root, installation.state.path());
    Err(Error::refused(format!("--method link does not go with the restore point {}", point.id))
        .because("it is frozen: its database is the old cluster, whose files the new one would change")
        .hint(format!("leave out --method link; or make a new one, which dumps the database: {command}")))
}

/// What a run that carried the cluster over has to say of it.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    /// What differs and is no loss.
    notes: Vec<String>,
    /// Seconds of each part, from the service being stopped to the new cluster being open.
    seconds: Vec<(&'static str, f64)>,
}

impl Carried {
    fn part(&mut self, name: &'static str, since: &mut Instant) {
        self.seconds.push((name, since.elapsed().as_secs_f64()));
        *since = Instant::now();
    }
}

/// The upgrade itself. Whatever fails in here is taken back by the caller.
fn carry(
    entry: &mut Entry,
    (options, user_code): (&Options, bool),
    installation: &mut Installation,
    records: &Records,
    lock: &LockGuard,
) -> Result<(Carried, Option<Starting>)> {
    let (mut carried, mut since) = (Carried::default(), Instant::now());
    ui::say(&format!("upgrading {} to {} with --method {}", entry.from(), entry.to(), entry.method.name()));
    installation.service.stop(STOP_LIMIT, lock)?;
    carried.part("stop", &mut since);
    checkpoint::pass("service-stopped");
    ui::progress("reading every table of the old cluster");
    control::stop(&entry.old)?;
    control::start_shut(&entry.old)?;
    checkpoint::pass("old-shut");
    let code = || preflight::require_no_user_code(&entry.old, &entry.database, (entry.method, entry.major), user_code);
    // Where this is refused nobody waits for the rows.
    let refused = Arc::new(AtomicBool::new(false));
    let read = || evidence::gather(&entry.old, &entry.database, entry.hashed, entry.major, &refused);
    let prepare = || {
        let kept = code().and_then(|()| finish::Kept::of(&entry.old, &entry.database));
        refused.store(kept.is_err(), Ordering::Relaxed);
        kept
    };
    let (before, kept) = threads::both(read, prepare);
    let (kept, before) = (kept?, before?);
    records.keep_facts(&before, lock)?;
    carried.part("read", &mut since);
    signals::check()?;

    entry.phase = Phase::Upgrading;
    records.journal.write(entry, lock)?;
    signals::leads_to(undo::in_words(entry));
    control::hold(&entry.old)?;
    checkpoint::pass("upgrading");
    upgrade::run(entry, &kept, options.jobs, records, lock)?;
    if entry.method != Method::Link {
        // Whoever reads the old cluster later sees by this that nobody has written into it.
        entry.next_transaction = Some(entry.old.control_file()?.next_transaction);
    }
    carried.part("upgrade", &mut since);
    signals::check()?;

    entry.phase = Phase::Proving;
    records.journal.write(entry, lock)?;
    signals::leads_to(undo::in_words(entry));
    checkpoint::pass("proving");
    carried.notes = prove(entry, &before, &kept)?;
    carried.part("compare", &mut since);
    signals::check()?;

    entry.phase = Phase::Finishing;
    records.journal.write(entry, lock)?;
    checkpoint::pass("finishing");
    let _proven = signals::finishing(format!("{} is proven; opening it is finished, within a minute", entry.to()));
    let starting = open(entry, installation, records, options.leave_stopped, lock)?;
    carried.part("finish", &mut since);
    Ok((carried, starting))
}

/// The cluster that an upgrade has made.
pub(crate) fn new_cluster(entry: &Entry) -> Result<Cluster> {
    cluster::find(entry.major, &entry.old.name)?
        .ok_or_else(|| Error::failed(format!("pg_upgradecluster made no cluster {}", entry.to())))
}

/// Starts the new cluster for nobody else and compares it with the old one, fact by fact.
fn prove(entry: &Entry, before: &Facts, kept: &finish::Kept) -> Result<Vec<String>> {
    let new = new_cluster(entry)?;
    finish::carry_files(&entry.old, &new)?;
    control::stop(&new)?;
    control::start_shut(&new)?;
    ui::progress("reading every table of the new cluster");
    finish::fill_views(&new, &entry.database, before)?;
    kept.carry(&new, entry.method)?;
    let after = evidence::gather(&new, &entry.database, entry.hashed, entry.major, &Arc::default())?;
    let differences = evidence::compare(before, &after, (entry.old.major, entry.major));
    if differences.faults.is_empty() {
        return Ok(differences.notes);
    }
    let mut error = Error::failed(format!("the cluster {} does not hold what {} held", entry.to(), entry.from()));
    for fault in differences.faults.iter().take(20) {
        error = error.because(fault);
    }
    if differences.faults.len() > 20 {
        error = error.because(format!("and {} more differences", differences.faults.len() - 20));
    }
    Err(error.hint("the old cluster serves as before; mm-pgbump check names what usually causes this"))
}

/// The upgrade is over: the record stays, the journal goes.
pub(crate) fn close(entry: &mut Entry, records: &Records, lock: &LockGuard) -> Result<()> {
    control::forget_shut(&entry.old)?;
    entry.phase = Phase::Done;
    records.last.write(entry, lock)?;
    checkpoint::pass("recorded");
    records.journal.close(lock)
}

/// Goes back after a failure; the next start of the server is then one with the configuration as it was.
pub(crate) fn taken_back(
    error: Error,
    entry: &Entry,
    installation: &mut Installation,
    records: &Records,
    lock: &LockGuard,
) -> Error {
    let error = undo::taken_back(error, entry, &installation.service, records, lock);
    match installation.reload() {
        Err(unread) if error.kind() == Kind::RolledBack => error.because(unread.one_line()),
        _ => error,
    }
}

fn age(created: &str) -> Option<Duration> {
    let created: jiff::Timestamp = created.parse().ok()?;
    Duration::try_from(jiff::Timestamp::now().duration_since(created)).ok()
}

pub(crate) fn report(
    session: &mut Session,
    entry: &Entry,
    records: &Records,
    begun: Instant,
    carried: &Carried,
) -> Result<String> {
    let facts = records.facts()?;
    let (databases, tables, rows) = evidence::summary(&facts);
    let before: Option<Pgbump> = session.document.section("pgbump")?;
    let new = new_cluster(entry)?;
    let text = serde_json::to_vec(&facts).unwrap_or_default();
    let section = Pgbump {
        needed: true,
        from: Some(entry.from()),
        to: Some(entry.to()),
        method: Some(entry.method.name().into()),
        port: Some(new.port),
        checks: before.map(|before| before.checks).unwrap_or_default(),
        proof: Some(proof(databases, tables, rows, facts.len(), &digest::of_bytes(&text), carried)),
        repointed: repoint::places(entry),
        seconds: begun.elapsed().as_secs_f64(),
    };
    session.document.set("pgbump", &section)?;
    let message = format!(
        "{} is upgraded to {} on port {}, and the same on both sides: {} with {} in {}",
        entry.from(),
        entry.to(),
        new.port,
        ui::count(tables, "table"),
        ui::count(rows, "row"),
        ui::count(databases, "database")
    );
    session.human =
        Some(format!("{message}\nThe old cluster is kept. Weeks later, to drop it: mm-verify | mm-pgbump drop-old\n"));
    Ok(message)
}

fn proof(databases: usize, tables: usize, rows: u64, facts: usize, sha256: &str, carried: &Carried) -> Value {
    let seconds: serde_json::Map<String, Value> =
        carried.seconds.iter().map(|(part, seconds)| ((*part).to_owned(), json!(seconds))).collect();
    json!({
        "equal": true, "databases": databases, "tables": tables, "rows": rows, "facts": facts, "sha256": sha256,
        "notes": carried.notes, "seconds": seconds,
    })
}
