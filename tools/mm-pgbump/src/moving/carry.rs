//! The work of a move while the server is stopped: the old database is read, or its restore point is, the target is filled, and both
//! are compared.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::available_parallelism;

use mm_common::Result;
use mm_common::contract::sections::Backup;
use mm_common::contract::ui;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::service::STOP_LIMIT;
use mm_common::machine::{checkpoint, command, signals, threads};
use mm_common::mattermost::site::Installation;
use mm_common::mattermost::stored::{self, Stored};
use mm_common::postgres::server::Database;
use mm_common::postgres::{dump, tried};
use mm_common::run::Session;

use super::origin::{Old, Origin};
use super::record::{Entry, Facts, Phase, Records};
use super::source::Source;
use super::target::Target;
use super::{back, fill, look, nodes, prove, stored as storing, watch};
use crate::Options;
use crate::record::RestorePoint;

/// What is carried, and with what.
pub(super) struct Work<'a> {
    pub old: &'a Old,
    pub origin: &'a Origin,
    pub target: &'a mut Target,
    pub records: &'a Records,
    pub installation: &'a Installation,
    pub lock: &'a LockGuard,
}

impl Work<'_> {
    /// Stops the server, fills the target, and compares. Returns what could not be given.
    pub(super) fn carry(&mut self, entry: &mut Entry, session: &Session, options: &Options) -> Result<Vec<String>> {
        let jobs = options
            .jobs
            .map_or_else(|| available_parallelism().map_or(1, usize::from), |jobs| usize::try_from(jobs).unwrap_or(1));
        let (records, old) = (self.records, self.old);
        let to = entry.moved.to.label();
        ui::say(&format!("moving {} to {to}", old.label(&entry.moved.from)));
        let could = matches!(old, Old::Stored(_)) && self.installation.database().is_ok();
        self.installation.service.stop(STOP_LIMIT, self.lock)?;
        checkpoint::pass("move-stopped");
        let accepted = session.common.accepts(nodes::ACCEPT);
        let (mut then, dump) = match old {
            Old::Living(source) => {
                nodes::require_gone(source, accepted)?;
                say_others(source)?;
                let held = entry.restore_point.as_ref().and_then(|point| held(session, self.installation, point));
                self.read(source, entry, held.as_ref())?
            }
            Old::Stored(point) => {
                let newer = session.common.accepts(storing::NEWER);
                storing::require_nothing_newer(point, self.installation, (could, newer))?;
                (storing::facts(point)?, point.dump.clone())
            }
        };
        records.keep_facts(&then, self.lock)?;
        checkpoint::pass("move-read");
        signals::check()?;

        look::require_free(entry, self.target)?;
        entry.phase = Phase::Filling;
        records.journal.write(entry, self.lock)?;
        signals::leads_to(back::in_words(entry));
        checkpoint::pass("move-filling");
        ui::progress("filling the target");
        let own = fill::make(entry, self.origin, self.target, (records, self.lock))?;
        let left = fill::restore(entry, self.origin, self.target, &own, (&dump, jobs))?;
        signals::check()?;
        ui::progress("comparing");
        // Read anew: its settings may be others now.
        let own = self.target.enter()?;
        let program = entry.moved.from.major.max(self.target.front.major());
        let now = match old {
            Old::Living(_) => {
                watch::watched(&own, &to, || 0, |_| (), |own, _| prove::gather(own, entry.hashed, None, program))?
            }
            Old::Stored(point) => storing::compared(point, &own, &mut then)?,
        };
        checkpoint::pass("move-read-back");
        prove::require_equal(entry, &then, &now)?;
        ui::progress("collecting statistics");
        fill::analyze(&own, &to);
        tried::as_the_server(&own, entry.could)?;
        if let Old::Living(source) = old {
            nodes::require_gone(source, accepted)?;
        }
        signals::check()?;
        entry.phase = Phase::Proven;
        entry.moved.proven = true;
        records.journal.write(entry, self.lock)?;
        checkpoint::pass("move-proven");
        Ok(left)
    }

    /// Everything about the old database, and a dump of it: that of the restore point `held`, where the database is as it was then.
    fn read(&self, source: &Source, entry: &mut Entry, held: Option<&Stored>) -> Result<(Facts, PathBuf)> {
        let from = entry.moved.from.label();
        ui::progress("reading the old database");
        let program = entry.moved.from.major.max(self.target.front.major());
        if let Some(point) = held {
            let gather = |reader: &Database, _: &AtomicBool| {
                let snapshot = reader.snapshot()?;
                prove::gather(reader, entry.hashed, Some(snapshot.id()), program)
            };
            let then = watch::watched(&source.reader, &from, || 0, |_| (), gather)?;
            if storing::is_of(point, (entry, &source.reader), &then)? {
                ui::say(&format!("the database is as in the restore point {}, whose dump is loaded", point.id));
                entry.loaded_from = entry.restore_point.clone();
                return Ok((then, point.dump.clone()));
            }
        }
        let dump = self.records.dump();
        let dumped = || std::fs::symlink_metadata(&dump).map_or(0, |data| data.len());
        let tell = |seen: watch::Seen| ui::progress(&format!("reading the old database: {} MB", seen.here / 1_000_000));
        let then = watch::watched(&source.reader, &from, dumped, tell, |reader, failed| {
            dump_and_gather((reader, failed), entry, program, &dump)
        })?;
        Ok((then, dump))
    }
}

/// The restore point of the hop, where it has a dump that was made with the server stopped, and can be used.
fn held(session: &Session, installation: &Installation, point: &RestorePoint) -> Option<Stored> {
    let backup: Option<Backup> = session.document.section("backup").ok()?;
    backup.filter(|backup| backup.cold && backup.database && backup.id == point.id)?;
    let accepted = session.common.accepts(stored::ACCEPT);
    match Stored::find(&point.store, &installation.root, &point.id, accepted) {
        Ok(found) => Some(found),
        Err(error) => {
            ui::warn(&format!("the old database is dumped anew: {}", error.one_line()));
            None
        }
    }
}

/// Dumps the old database and reads everything about it, as one snapshot shows it. Where one of them fails, the other is of no
/// use any more.
fn dump_and_gather(
    (reader, failed): (&Database, &AtomicBool),
    entry: &Entry,
    major: u32,
    dump: &Path,
) -> Result<Facts> {
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
