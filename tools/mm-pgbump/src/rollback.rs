//! `mm-pgbump rollback`: the old cluster serves again. What was written into the new one since stays there, and is
//! named.

use std::collections::BTreeMap;

use mm_common::contract::ui;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::service::{STOP_LIMIT, Service};
use mm_common::machine::{checkpoint, door, files, signals, threads};
use mm_common::mattermost::config::Spot;
use mm_common::mattermost::handed_on;
use mm_common::mattermost::health::{START_LIMIT, Started};
use mm_common::postgres::cluster::{self, Cluster};
use mm_common::postgres::server::Database;
use mm_common::postgres::{fingerprint, tried};
use mm_common::run::Session;
use mm_common::{Error, Kind, Result};

use crate::evidence::Facts;
use crate::plan::{Ending, Method, Phase, Recovery};
use crate::record::{Entry, Records};
use crate::{Options, aside, control, moving, reach, recover, repoint, undo};

/// Goes back to the cluster before the last upgrade, or to the database before the last move: what is later, unless it is to
/// be the move.
pub(crate) fn run(session: &mut Session, options: &Options, of_move: bool) -> Result<String> {
    if of_move {
        return moving::back::rollback(session, options, &[door::MOVE]);
    }
    if session.ground().map_or(Ok(false), |ground| moving::back::is_latest(ground.state.path()))? {
        return moving::back::rollback(session, options, &[door::PGBUMP, door::MOVE]);
    }
    session.refuse_open_unless_asked(&[door::PGBUMP])?;
    let mut installation = reach::probe(session)?;
    let records = Records::at(installation.state.path());
    let wait = session.lock_wait();
    let guard = if session.dry_run { None } else { Some(installation.state.lock(wait)?) };
    if guard.is_some() {
        // Whoever held the lock may have changed what there is to see.
        session.refuse_open_unless_asked(&[door::PGBUMP])?;
        installation = reach::observe(session)?;
    }
    let open = records.journal.read::<Entry>()?;
    let Some(entry) = open.map_or_else(|| records.last.read::<Entry>(), |entry| Ok(Some(entry)))? else {
        return Err(Error::refused("there is no upgrade to take back")
            .because(format!("`{}` does not exist", records.last.path().display())));
    };
    let recovery = recover::decide(Ending::Back, &entry)?;
    let Some(lock) = guard else {
        return Ok(format!("would {}", recovery.in_words(&entry.from(), &entry.to())));
    };
    signals::check()?;
    // Up to the server that answers again: an old cluster that serves nobody is no way back.
    let _back = signals::finishing(format!("the way back to {} is finished, within some minutes", entry.from()));
    if recovery == Recovery::TakeBack {
        undo::back(&entry, &installation.service, &records, &lock)?;
        session.changed = true;
        installation.reload()?;
        if !options.leave_stopped {
            installation.put_service_back(&lock)?;
        }
        return Ok(format!("the upgrade that was cut off is taken back; {} serves as before", entry.from()));
    }
    let running = installation.service.is_running()?;
    tell_incomplete(&entry);
    let lost = carry_out(&entry, &installation.service, &records, &lock)?;
    session.changed = true;
    installation.reload()?;
    installation.database().and_then(|own| tried::as_the_server(&own, entry.could)).map_err(|error| {
        error.within(format!("{} serves again, but not the server", entry.from())).of_kind(Kind::HalfDone)
    })?;
    if (running || installation.was_running) && !options.leave_stopped {
        Started::command(&installation, &lock)?.wait(&installation, START_LIMIT, &lock)?;
    }
    let since = if lost.is_empty() {
        "nothing had been written since".to_owned()
    } else {
        format!("what was written since is only in {}: {}", entry.to(), lost.join(", "))
    };
    session.human = Some(format!("{} serves again; {since}\n", entry.from()));
    Ok(format!("{} serves again on port {}; {since}", entry.from(), entry.old.port))
}

/// Says of a restore point that was frozen without a copy that its database will not be stored any more.
fn tell_incomplete(entry: &Entry) {
    let point = entry.restore_point.as_ref().filter(|point| point.original);
    if let Some(point) = point
        && handed_on::needs_original(&point.store.join(&point.id)).is_ok_and(|left| left.is_some())
    {
        ui::say(&format!(
            "the restore point {} is not completed any more: the server works with its database again",
            point.id
        ));
    }
}

/// Exchanges the clusters back. May be repeated after any part of it. Tells the tables that were written to since.
///
/// # Errors
/// Refused for an upgrade by link or swap: both clusters are one set of files, and the new one has used them.
pub(crate) fn carry_out(entry: &Entry, service: &Service, records: &Records, lock: &LockGuard) -> Result<Vec<String>> {
    // pg_upgrade puts the control file aside with --link and with --swap, whoever ran it.
    let aside = files::look(&entry.old.data.join("global/pg_control.old"))?.is_some();
    if entry.method == Method::Link || aside {
        return Err(Error::refused(format!("there is no way back to {}", entry.from()))
            .because("it was upgraded by link or swap, and the new cluster has used the files that were its own")
            .hint("restore the restore point that was made before the upgrade: mm-backup restore ID"));
    }
    signals::check()?;
    let _back = signals::finishing(format!("the way back to {} is finished, within a minute", entry.from()));
    let mut intent = entry.clone();
    intent.phase = Phase::RollingBack;
    let (new, _) = both(entry)?;
    records.journal.write(&intent, lock)?;
    checkpoint::pass("rollback-intent");
    let steps = || -> Result<Vec<String>> {
        service.stop(STOP_LIMIT, lock)?;
        let lost = written_since(entry, &new, &records.facts()?).unwrap_or_else(|error| {
            ui::warn(&format!("what was written since cannot be told: {}", error.one_line()));
            Vec::new()
        });
        exchange(entry)?;
        repoint::back(entry, service, lock)?;
        Ok(lost)
    };
    let lost = steps().map_err(|error| {
        let first = error.next_step().unwrap_or("remove the cause").to_owned();
        error
            .within(format!("cannot go back to the cluster {}", entry.from()))
            .of_kind(Kind::HalfDone)
            .with_hint(format!("{first}; then run mm-pgbump rollback again: it goes on where it stopped"))
    })?;
    aside::remember(entry, &new, records.state(), lock)?;
    records.last.close(lock)?;
    records.journal.close(lock)?;
    Ok(lost)
}

/// The new and the old cluster.
fn both(entry: &Entry) -> Result<(Cluster, Cluster)> {
    let new = cluster::find(entry.major, &entry.old.name)?
        .ok_or_else(|| Error::failed(format!("the cluster {} is not there any more", entry.to())))?;
    let old = entry.old_now()?.ok_or_else(|| {
        Error::refused(format!("the cluster {} is not there any more", entry.from()))
            .hint("it was dropped; restore the restore point that was made before the upgrade: mm-backup restore ID")
    })?;
    Ok((new, old))
}

/// Lets the old cluster serve again where it did, and the new one no more. The server must not run. May be repeated.
pub(crate) fn exchange(entry: &Entry) -> Result<()> {
    let (new, old) = both(entry)?;
    control::stop(&new)?;
    checkpoint::pass("rollback-new-stopped");
    control::set_manual(&new)?;
    if !entry.keep_port && new.port == entry.old.port {
        // The old cluster was parked on a free one; it serves as well for parking the new one.
        let parking = if old.port == entry.old.port { new.port } else { old.port };
        control::set_port(&new, parking)?;
    }
    checkpoint::pass("rollback-parked");
    control::stop(&old)?;
    if old.port != entry.old.port {
        control::set_port(&old, entry.old.port)?;
    }
    control::release(&old, entry.old_start.as_deref())?;
    control::start(&old)?;
    checkpoint::pass("rollback-old-started");
    Ok(())
}

/// The tables of the new cluster that are not as the upgrade left them.
fn written_since(entry: &Entry, new: &Cluster, before: &Facts) -> Result<Vec<String>> {
    if !new.online {
        return Ok(Vec::new());
    }
    let database = Database::superuser(new, &entry.database)?;
    let now: BTreeMap<_, _> = fingerprint::tables_by(&database, entry.hashed, threads::fitting())?;
    let held = fingerprint::hold(&database)?;
    let rows_of_ours = entry.changes.iter().filter_map(|change| match &change.spot {
        Spot::Row { id } => Some(id),
        _ => None,
    });
    // The one new row of the configuration is ours.
    let is_ours = |table: &str, rows: u64, then: &str| {
        let unchanged = |id: &String| {
            let sql = format!("SELECT pg_catalog.count(*) FROM {table} WHERE active AND id = '{id}'");
            then.parse::<u64>().is_ok_and(|then| then + 1 == rows) && held.value(&sql).is_ok_and(|count| count == 1)
        };
        table == "public.configurations" && rows_of_ours.clone().any(unchanged)
    };
    let changed = now.iter().filter_map(|(table, print)| {
        let text = print.in_words();
        let then = before.get(&format!("{}: table {table}", entry.database));
        let rows = then.and_then(|then| then.split(' ').next()).unwrap_or("0");
        (then != Some(&text) && !is_ours(table, print.rows, rows))
            .then(|| format!("{table} ({} then, {} now)", ui::count(rows, "row"), print.rows))
    });
    Ok(changed.collect())
}
