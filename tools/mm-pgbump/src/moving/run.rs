//! `mm-pgbump move`: the database goes from the server it is on to the one that is named, or stays where it is.

use std::time::Instant;

use mm_common::contract::sections::Pgbump;
use mm_common::contract::{digest, time, ui};
use mm_common::machine::lock::LockGuard;
use mm_common::machine::{checkpoint, door, signals};
use mm_common::mattermost::site::Installation;
use mm_common::mattermost::way_back::Moved;
use mm_common::postgres::source::DataSource;
use mm_common::postgres::tried;
use mm_common::run::Session;
use mm_common::{Context as _, Error, Kind, Result};
use serde_json::{Value, json};

use super::carry::Work;
use super::look::{self, Looked, Question};
use super::named::Named;
use super::need::{self, Need, is_mysql, need};
use super::origin::Old;
use super::record::{Entry, Facts, Of, Phase, Private, Records};
use super::target::Target;
use super::{back, clear, emptied, point, recover, target};
use crate::record::RestorePoint;
use crate::{Options, check, restore_point, wish};

/// Moves the database when the hop or the flags ask for it.
pub(crate) fn run(session: &mut Session, options: &Options) -> Result<String> {
    session.refuse_open(&[door::MOVE])?;
    let mut installation = back::probe(session, false)?;
    match need(session, options, &installation)? {
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
    if matches!(need(session, options, installation)?, Need::Nothing) {
        session.document.set("pgbump", &Pgbump::default())?;
        return Ok("the database server needs no upgrade".into());
    }
    if is_mysql(installation) {
        #[cfg(feature = "mysql")]
        return crate::mysql::run::act(session, options, installation, (&records, &run), lock);
        #[cfg(not(feature = "mysql"))]
        return Err(need::without_mysql());
    }
    let data = data_of(installation)?;
    let old = Old::find(session, options, installation, Some(lock))?;
    let mut target = Target::reach(named(options, installation)?, &installation.owner)?;
    if let Some(message) = already(&old, installation, &target, &records)? {
        session.document.set("pgbump", &Pgbump::default())?;
        return Ok(message);
    }
    let origin = old.origin(&data)?;
    let question = Question {
        installation,
        data: &data,
        old: &old,
        origin: &origin,
        target: &target,
        needed: look::needed(session, options)?,
        replace: options.replace,
    };
    let Looked { mut findings, roles, left_behind } = look::all(&question)?;
    look::accept(&mut findings, &session.common.accept);
    check::set(session, &findings)?;
    let obstacle = format!("the database cannot be moved to {}", target.place()?.label());
    look::judge(&findings, &obstacle)?;
    let point = held(session, options, installation, (&old, &data.database))?;
    let has_something = target.own.as_ref().map(target::contents).transpose()?.is_some_and(|found| !found.is_empty());
    let replaced = (options.replace && has_something).then(|| beside(target.name()));
    let filled = target.own.as_ref().filter(|_| replaced.is_none());
    let before = filled.map(|own| emptied::before(&origin, own)).transpose()?;
    let (hashed, could) = old.measures(&target);
    let mut entry = Entry {
        moved: Moved { run, started: time::now(), from: old.place(&data)?, to: target.place()?, proven: false },
        hop: wish::hop_of(session)?,
        phase: Phase::Reading,
        makes_database: target.own.is_none() || replaced.is_some(),
        makes_role: !target.has_role,
        made: None,
        replaced,
        before,
        release: installation.version.clone(),
        roles,
        used: origin.roles.clone(),
        restore_point: point,
        loaded_from: old.point(),
        hashed,
        could,
        left_behind,
        repairs: None,
    };
    look::require_free(&entry, &target)?;
    let mut private = private_of(installation, &target)?;
    // What is empty now holds nothing of an earlier move.
    records.forget_leftovers(|left| left.moved.to.is_at(&entry.moved.to), lock)?;
    records.keep_private(&private, lock)?;
    records.journal.write(&entry, lock)?;
    checkpoint::pass("move-intent");
    signals::leads_to(back::in_words(&entry));
    let mut work = Work { old: &old, origin: &origin, target: &mut target, records: &records, installation, lock };
    let carried = work.carry(&mut entry, session, options).and_then(|left| {
        let label = entry.moved.to.label();
        let proven =
            signals::finishing(format!("{label} is proven; pointing the server at it is finished, within a minute"));
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

/// The restore point of the hop. The old database stays as it is, which is a way back of its own; a restore point is kept with it where
/// there is one.
fn held(
    session: &Session,
    options: &Options,
    installation: &Installation,
    (old, database): (&Old, &str),
) -> Result<Option<RestorePoint>> {
    let wanted = match options.restore_point() {
        restore_point::Wanted::OfThisHop if session.document.get("backup").is_none() => restore_point::Wanted::None,
        wanted => wanted,
    };
    match old {
        Old::Living(_) => crate::run::point_of_hop(session, wanted, installation, (database, &[])),
        Old::Stored(_) => Ok(None),
    }
}

/// What the way back needs that nobody else may read.
fn private_of(installation: &Installation, target: &Target) -> Result<Private> {
    Ok(Private {
        from: installation.config.data_source()?.0.reveal().to_owned(),
        to: target.named.text.reveal().to_owned(),
        administrator: target.named.administrator.as_ref().map(|text| text.reveal().to_owned()),
        is_of_mysql: false,
        changes: Vec::new(),
        units: Vec::new(),
    })
}

/// `mattermost_mm_before_20261122T030000Z`; PostgreSQL keeps 63 bytes of a name.
pub(crate) fn beside(name: &str) -> String {
    let suffix = format!("_mm_before_{}", time::stamp());
    let room = 63_usize.saturating_sub(suffix.len());
    let end = (0..=room.min(name.len())).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    format!("{}{suffix}", &name[..end])
}

/// The data source of the server.
///
/// # Errors
/// Refused when that does not use PostgreSQL.
pub(super) fn data_of(installation: &Installation) -> Result<DataSource> {
    installation.source.clone().ok_or_else(|| Error::refused("the server does not use PostgreSQL"))
}

/// Whether the server works with the target already.
fn already(old: &Old, installation: &Installation, target: &Target, records: &Records) -> Result<Option<String>> {
    let Some(own) = &target.own else { return Ok(None) };
    if !look::is_source(old, installation, own)? {
        return Ok(None);
    }
    let last = records.last.read::<Entry>()?;
    if let Some(last) = last.filter(|last| last.moved.proven && last.moved.to.is(own).unwrap_or(false)) {
        return Ok(Some(format!("the database was moved to {} already", last.moved.to.label())));
    }
    Err(look::refuse_source(old))
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
    let to = entry.moved.to.label();
    let from = entry.carried();
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
            "loaded_from": entry.loaded_from.as_ref().map(|point| &point.id),
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
    let before = entry.moved.from.label();
    let kept = if entry.is_of_store_alone() {
        format!("mm-pgbump rollback points the server at {before} again")
    } else {
        format!("{before} is left as it was, for mm-pgbump rollback")
    };
    session.human = Some(format!("{message}\n{kept}\n"));
    Ok(message)
}
