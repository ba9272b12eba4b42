//! `mm-pgbump move`: the database goes from the server it is on to the one that is named, or stays where it is.

use std::path::Path as FilePath;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::available_parallelism;
use std::time::Instant;

use mm_common::contract::sections::Pgbump;
use mm_common::contract::{digest, time, ui};
use mm_common::machine::lock::LockGuard;
use mm_common::machine::service::STOP_LIMIT;
use mm_common::machine::{checkpoint, command, door, signals, threads};
use mm_common::mattermost::site::Installation;
use mm_common::mattermost::way_back::Moved;
use mm_common::postgres::server::Database;
use mm_common::postgres::{dump, tried};
use mm_common::run::Session;
use mm_common::{Context as _, Error, Kind, Result};
use serde_json::{Value, json};

use super::look::{self, Looked, Question};
use super::named::Named;
use super::need::{self, Need, is_mysql, need};
use super::record::{Entry, Facts, Of, Phase, Private, Records};
use super::source::Source;
use super::target::Target;
use super::{back, clear, emptied, fill, nodes, point, prove, recover, target, watch};
use crate::{Options, check, restore_point, wish};

/// Moves the database when the hop or the flags ask for it.
pub(crate) fn run(session: &mut Session, options: &Options) -> Result<String> {
    session.refuse_open(&[door::MOVE])?;
    let mut installation = back::probe(session, false)?;
    match need(session, &installation)? {
        Need::Bump => return crate::run::run(session, options),
        Need::Nothing if !need::is_to_be_told(session, &installation)? => {
            session.document.set("pgbump", &Pgbump::default())?;
            return Ok("the database server needs no upgrade".into());
        }
        Need::Nothing | Need::Move => {}
    }
    if session.dry_run {
        return super::verbs::dry_run(session, options, &installation);
    }
    session.ensure_run()?;
    let lock = installation.state.lock(session.lock_wait())?;
    session.refuse_open(&[door::MOVE])?;
    // Whoever held the lock may have changed what there is to see.
    installation = session.probe()?;
    let result = act(session, options, &mut installation, &lock);
    let settled = match &result {
        // Where the database stands half-way the server must not run.
        Err(error) if error.kind() == Kind::HalfDone => Ok(()),
        Ok(_) if options.leave_stopped || !session.changed => Ok(()),
        _ => installation.put_service_back(&lock),
    };
    match (result, settled) {
        (Err(error), Err(service)) => {
            Err(error.because(format!("and the service could not be started again: {}", service.one_line())))
        }
        (Ok(_), Err(service)) => Err(service.within("the database is moved, but the service could not be started")),
        (result, Ok(())) => result,
    }
}

/// Reads the file that names the target.
///
/// # Errors
/// Refused when none was named, or it is not fit.
pub(crate) fn named(options: &Options, installation: &Installation) -> Result<Named> {
    let place = options.target.as_deref().ok_or_else(|| {
        Error::refused("no target is named").hint(
            "mm-pgbump move --target FILE; line 1 of the file (mode 600) is the data source of the new database, line 2, if any, an administrator's",
        )
    })?;
    Named::read(place, &installation.owner)
}

fn act(session: &mut Session, options: &Options, installation: &mut Installation, lock: &LockGuard) -> Result<String> {
    let begun = Instant::now();
    let records = Records::at(installation.state.path());
    let run = session.ensure_run()?.id;
    if let Some(message) = recover::recover(session, installation, &records, lock)? {
        return Ok(message);
    }
    records.sweep()?;
    clear::tell_what_stays(&clear::leftovers(installation, &records, session.common.accepts(clear::ACCEPT), lock)?.1);
    if let Some(last) = need::made(session, installation, &records)? {
        // Done by an earlier run whose report was lost.
        return report(session, &last, &records, begun, &[]);
    }
    if matches!(need(session, installation)?, Need::Nothing) {
        session.document.set("pgbump", &Pgbump::default())?;
        return Ok("the database server needs no upgrade".into());
    }
    if is_mysql(installation) {
        #[cfg(feature = "mysql")]
        return crate::mysql::run::act(session, options, installation, (&records, &run), lock);
        #[cfg(not(feature = "mysql"))]
        return Err(need::without_mysql());
    }
    let source = Source::reach(session, installation, Some(lock))?;
    let mut target = Target::reach(named(options, installation)?, &installation.owner)?;
    if let Some(message) = already(&source, &target, &records)? {
        session.document.set("pgbump", &Pgbump::default())?;
        return Ok(message);
    }
    let question = Question {
        installation,
        source: &source,
        target: &target,
        needed: look::needed(session, options)?,
        replace: options.replace,
    };
    let Looked { mut findings, roles, left_behind } = look::all(&question)?;
    look::accept(&mut findings, &session.common.accept);
    check::set(session, &findings)?;
    let obstacle = format!("the database cannot be moved to {}", target.place()?.label());
    look::judge(&findings, &obstacle)?;
    // The old database stays as it is, which is a way back of its own; a restore point is kept with it where there is one.
    let wanted = match options.restore_point() {
        restore_point::Wanted::OfThisHop if session.document.get("backup").is_none() => restore_point::Wanted::None,
        wanted => wanted,
    };
    let point = crate::run::point_of_hop(session, wanted, installation, (&source.data.database, &[]))?;
    let has_something = target.own.as_ref().map(target::contents).transpose()?.is_some_and(|found| !found.is_empty());
    let replaced = (options.replace && has_something).then(|| beside(target.name()));
    let filled = target.own.as_ref().filter(|_| replaced.is_none());
    let before = filled.map(|own| emptied::before(&source, own)).transpose()?;
    let used = source.roles()?;
    let mut entry = Entry {
        moved: Moved { run, started: time::now(), from: source.place()?, to: target.place()?, proven: false },
        hop: wish::hop_of(session)?,
        phase: Phase::Reading,
        makes_database: target.own.is_none() || replaced.is_some(),
        makes_role: !target.has_role,
        made: None,
        replaced,
        before,
        release: installation.version.clone(),
        roles,
        used,
        restore_point: point,
        hashed: prove::method(&source.own, &target.front),
        could: tried::now(&source.own),
        left_behind,
        repairs: None,
    };
    look::require_free(&entry, &target)?;
    let mut private = Private {
        from: installation.config.data_source()?.0.reveal().to_owned(),
        to: target.named.text.reveal().to_owned(),
        administrator: target.named.administrator.as_ref().map(|text| text.reveal().to_owned()),
        is_of_mysql: false,
        changes: Vec::new(),
        units: Vec::new(),
    };
    // What is empty now holds nothing of an earlier move.
    records.forget_leftovers(|left| left.moved.to.is_at(&entry.moved.to), lock)?;
    records.keep_private(&private, lock)?;
    records.journal.write(&entry, lock)?;
    checkpoint::pass("move-intent");
    let accepted = session.common.accepts(nodes::ACCEPT);
    signals::leads_to(back::in_words(&entry));
    let jobs = options
        .jobs
        .map_or_else(|| available_parallelism().map_or(1, usize::from), |jobs| usize::try_from(jobs).unwrap_or(1));
    let carried =
        carry(&mut entry, (&source, &mut target), (&records, jobs, accepted), installation, lock).and_then(|left| {
            let label = entry.moved.to.label();
            let proven = signals::finishing(format!(
                "{label} is proven; pointing the server at it is finished, within a minute"
            ));
            point_at_target(&mut entry, &mut private, installation, &records, lock).map(|()| (left, proven))
        });
    let (left, _proven) = match carried {
        Ok(left) => left,
        Err(error) => return Err(back::taken_back(error, &entry, installation, &records, lock)),
    };
    session.changed = true;
    close(&mut entry, &records, lock)?;
    report(session, &entry, &records, begun, &left)
}

/// `mattermost_mm_before_20261122T030000Z`; PostgreSQL keeps 63 bytes of a name.
pub(crate) fn beside(name: &str) -> String {
    let suffix = format!("_mm_before_{}", time::stamp());
    let room = 63_usize.saturating_sub(suffix.len());
    let end = (0..=room.min(name.len())).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    format!("{}{suffix}", &name[..end])
}

/// Whether the server works with the target already.
fn already(source: &Source, target: &Target, records: &Records) -> Result<Option<String>> {
    let Some(own) = &target.own else { return Ok(None) };
    if !look::is_source(source, own)? {
        return Ok(None);
    }
    let last = records.last.read::<Entry>()?;
    if let Some(last) = last.filter(|last| last.moved.proven && last.moved.to.is(own).unwrap_or(false)) {
        return Ok(Some(format!("the database was moved to {} already", last.moved.to.label())));
    }
    Err(Error::refused("the target is the database that the server works with now")
        .hint("name another database in line 1 of the target's file"))
}

/// Stops the server, reads the old database, fills the target, and compares. Returns what could not be given.
fn carry(
    entry: &mut Entry,
    (source, target): (&Source, &mut Target),
    (records, jobs, accepted): (&Records, usize, bool),
    installation: &Installation,
    lock: &LockGuard,
) -> Result<Vec<String>> {
    let (from, to) = (entry.moved.from.label(), entry.moved.to.label());
    ui::say(&format!("moving {from} to {to}"));
    installation.service.stop(STOP_LIMIT, lock)?;
    checkpoint::pass("move-stopped");
    nodes::require_gone(source, accepted)?;
    say_others(source)?;
    ui::progress("reading the old database");
    let program = entry.moved.from.major.max(target.front.major());
    let dump = records.dump();
    let dumped = || std::fs::symlink_metadata(&dump).map_or(0, |data| data.len());
    let tell = |seen: watch::Seen| ui::progress(&format!("reading the old database: {} MB", seen.here / 1_000_000));
    let then = watch::watched(&source.reader, &from, dumped, tell, |reader, failed| {
        read((reader, failed), entry, program, &dump)
    })?;
    records.keep_facts(&then, lock)?;
    checkpoint::pass("move-read");
    signals::check()?;

    look::require_free(entry, target)?;
    entry.phase = Phase::Filling;
    records.journal.write(entry, lock)?;
    signals::leads_to(back::in_words(entry));
    checkpoint::pass("move-filling");
    ui::progress("filling the target");
    let own = fill::make(entry, source, target, (records, lock))?;
    let left = fill::restore(entry, source, target, &own, (records, jobs))?;
    signals::check()?;
    ui::progress("comparing");
    // Read anew: its settings may be others now.
    let own = target.enter()?;
    let now = watch::watched(&own, &to, || 0, |_| (), |own, _| prove::gather(own, entry.hashed, None, program))?;
    checkpoint::pass("move-read-back");
    prove::require_equal(entry, &then, &now)?;
    ui::progress("collecting statistics");
    fill::analyze(&own, &to);
    tried::as_the_server(&own, entry.could)?;
    nodes::require_gone(source, accepted)?;
    signals::check()?;
    entry.phase = Phase::Proven;
    entry.moved.proven = true;
    records.journal.write(entry, lock)?;
    checkpoint::pass("move-proven");
    Ok(left)
}

/// Dumps the old database and reads everything about it, as one snapshot shows it. Where one of them fails, the other is of no
/// use any more.
fn read((reader, failed): (&Database, &AtomicBool), entry: &Entry, major: u32, dump: &FilePath) -> Result<Facts> {
    let snapshot = reader.snapshot()?;
    let done = |ok: bool| failed.fetch_or(!ok, Ordering::Relaxed);
    let (dumped, then) = threads::both(
        || {
            let dumped = dump::dump(reader, snapshot.id(), dump);
            done(dumped.is_ok());
            dumped
        },
        || {
            let then = prove::gather(reader, entry.hashed, Some(snapshot.id()), major);
            done(then.is_ok());
            then
        },
    );
    match (dumped, then) {
        (Err(error), Err(other)) if error.causes().iter().any(|cause| cause == command::CANCELLED) => Err(other),
        (dumped, then) => dumped.and(then),
    }
}

/// What others write from now on is in the old database only.
fn say_others(source: &Source) -> Result<()> {
    // The session of the one who reads is ours, too.
    let reader = source.reader.value("SELECT pg_catalog.pg_backend_pid() AS pid")?.as_u64().unwrap_or_default();
    let rows = source.own.rows(&format!(
        "SELECT DISTINCT usename AS name FROM pg_catalog.pg_stat_activity WHERE datname = pg_catalog.current_database()
           AND pid NOT IN (pg_catalog.pg_backend_pid(), {reader}) AND backend_type = 'client backend' ORDER BY 1"
    ))?;
    let names: Vec<&str> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
    if !names.is_empty() {
        ui::warn(&format!(
            "other programs are connected to the old database, as {}: what they write from now on is not moved",
            names.join(", ")
        ));
    }
    Ok(())
}

/// Points the configuration at the target and lets the server's own data source prove that it gets there. May be repeated.
pub(crate) fn point_at_target(
    entry: &mut Entry,
    private: &mut Private,
    installation: &mut Installation,
    records: &Records,
    lock: &LockGuard,
) -> Result<()> {
    point::forward(private, installation, records, lock)?;
    let label = entry.moved.to.label();
    let database = installation.database().context(|| format!("the server would not get into {label}"))?;
    if entry.moved.to.is(&database)? {
        return tried::as_the_server(&database, entry.could);
    }
    Err(Error::failed(format!("the data source of the server does not lead to {label}")))
}

/// The move is over: the record stays, the journal goes.
pub(crate) fn close(entry: &mut Entry, records: &Records, lock: &LockGuard) -> Result<()> {
    entry.phase = Phase::Done;
    records.journal.write(entry, lock)?;
    checkpoint::pass("move-done");
    records.close(entry, lock)
}

pub(crate) fn report(
    session: &mut Session,
    entry: &Entry,
    records: &Records,
    begun: Instant,
    left: &[String],
) -> Result<String> {
    let Facts { rows, definitions, of_mysql, .. } = records.facts(Of::Last)?;
    let (from, to) = (entry.moved.from.label(), entry.moved.to.label());
    let (tables, total) = match &of_mysql {
        // Of the target's tables some are the release's own.
        Some(Value::Object(found)) => {
            let tables = found.get("tables").and_then(Value::as_object);
            let rows = tables.into_iter().flat_map(serde_json::Map::values).filter_map(|print| print[0].as_u64());
            (tables.map_or(0, serde_json::Map::len), rows.sum())
        }
        _ => (rows.len(), rows.values().map(|print| print.rows).sum::<u64>()),
    };
    let before: Option<Pgbump> = session.document.section("pgbump")?;
    let left_behind = [entry.left_behind.as_slice(), left].concat();
    let roles = entry.roles.of(&entry.used);
    let text = serde_json::to_vec(&(&rows, &definitions)).unwrap_or_default();
    for one in left {
        ui::warn(&format!("not carried: {one}"));
    }
    let section = Pgbump {
        needed: true,
        from: Some(from.clone()),
        to: Some(to.clone()),
        method: Some("move".into()),
        port: Some(entry.moved.to.port),
        checks: before.map(|before| before.checks).unwrap_or_default(),
        proof: Some(json!({
            "equal": true, "databases": 1, "tables": tables, "rows": total,
            "facts": rows.len() + definitions.len(), "sha256": digest::of_bytes(&text),
            "roles": roles, "left_behind": left_behind, "mysql": of_mysql,
        })),
        repointed: point::places(&records.private(Of::Last)?),
        seconds: begun.elapsed().as_secs_f64(),
    };
    session.document.set("pgbump", &section)?;
    let message = format!(
        "{from} is moved to {to}, and the same on both sides: {} with {}",
        ui::count(tables, "table"),
        ui::count(total, "row")
    );
    session.human = Some(format!("{message}\n{from} is left as it was, for mm-pgbump rollback\n"));
    Ok(message)
}
