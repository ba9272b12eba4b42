//! The work of a move out of MySQL while the server is stopped: every row is carried and compared.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use mm_common::contract::ui;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::service::STOP_LIMIT;
use mm_common::machine::{checkpoint, signals, threads};
use mm_common::mattermost::site::Installation;
use mm_common::postgres::server::Database;
use mm_common::postgres::{fingerprint, tried};
use mm_common::{Error, Result};
use serde_json::json;

use super::copy::{self, Undo};
use super::indexes::{self, Indexes};
use super::pieces::{self, Part};
use super::print::Print;
use super::prove;
use super::run::Begun;
use super::shape::{Pair, Shapes};
use super::source::Source;
use crate::moving::record::{Facts, Phase, Records};
use crate::moving::{fill, target, watch};

/// How many seconds each part has taken.
struct Parts(Instant, BTreeMap<&'static str, f64>);

impl Parts {
    fn end(&mut self, part: &'static str) {
        self.1.insert(part, self.0.elapsed().as_secs_f64());
        self.0 = Instant::now();
    }
}

/// What is carried and compared at once.
type Pieces<'a, T> = Vec<(&'a Pair, T)>;

impl Begun {
    /// Stops the server, carries every row, and compares.
    pub(super) fn carry(
        &mut self,
        installation: &Installation,
        (own, shapes): (&Database, &Shapes),
        (records, lock): (&Records, &LockGuard),
        (mends_nul, other_nodes): (bool, bool),
    ) -> Result<()> {
        let Self { source, entry, jobs, marks, .. } = self;
        ui::say(&format!("moving {} to {}", entry.moved.from.label(), entry.moved.to.label()));
        installation.service.stop(STOP_LIMIT, lock)?;
        checkpoint::pass("move-stopped");
        require_alone(source, other_nodes)?;
        target::end_sessions(own, &own.name)?;
        let tables: Vec<String> = shapes.pairs.iter().map(|pair| pair.from.clone()).collect();
        let further = source.freeze_with(*jobs - 1, &tables)?;
        let sessions = further.len() + 1;
        let mut parts = Parts(Instant::now(), BTreeMap::new());
        copy::empty(own, shapes)?;
        let indexes = Indexes::set_aside(own, shapes)?;
        checkpoint::pass("move-indexes-aside");
        let path = records.repairs(entry).ok_or_else(|| Error::failed("no file for repairs was written down"))?;
        let undo = Mutex::new(Undo::at(&path));
        let sent = carry_all((source, further), (own, shapes, marks), mends_nul, &undo)?;
        checkpoint::pass("move-carried");
        let undo = undo.into_inner().unwrap_or_else(PoisonError::into_inner);
        let repairs = undo.count;
        let repaired = undo.close()?;
        parts.end("carry");
        let there = read_all(own, (shapes, marks), *jobs)?;
        for pair in &shapes.pairs {
            let of = |prints: &BTreeMap<String, Print>| prints.get(&pair.told()).copied().unwrap_or_default();
            prove::table(source, own, (shapes, pair), (of(&sent), of(&there), mends_nul))?;
        }
        parts.end("compare");
        checkpoint::pass("move-read-back");
        require_alone(source, other_nodes)?;
        source.thaw()?;
        ui::progress("building indexes");
        indexes.build(own, (shapes, &entry.moved.to.label()))?;
        parts.end("index");
        checkpoint::pass("move-indexed");
        indexes::refresh(own, shapes)?;
        ui::progress("collecting statistics");
        let to = entry.moved.to.label();
        fill::analyze(own, &to);
        tried::as_the_server(own, entry.could)?;
        entry.moved.to.identify(own)?;
        let hash = |own: &Database, _: &AtomicBool| {
            Ok((fingerprint::tables_by(own, entry.hashed, threads::fitting())?, fingerprint::history(own, None)?))
        };
        // Every row of it is as it was read, as was just seen.
        let (rows, history) = watch::watched(own, &to, || 0, |_| (), hash)?;
        let facts = Facts {
            rows,
            contents: BTreeMap::new(),
            definitions: BTreeMap::new(),
            of_mysql: Some(json!({
                "engine": source.engine, "sessions": sessions, "seconds": parts.1, "tables": sent, "repaired": repairs, "repairs": repaired, "history": history,
            })),
        };
        records.keep_facts(&facts, lock)?;
        signals::check()?;
        entry.phase = Phase::Proven;
        entry.moved.proven = true;
        records.journal.write(entry, lock)?;
        checkpoint::pass("move-proven");
        Ok(())
    }
}

/// Carries every table, the large ones in pieces, over all sessions at once. What others refer to comes first, by itself.
fn carry_all(
    (source, further): (&mut Source, Vec<Source>),
    (own, shapes, marks): (&Database, &Shapes, &BTreeMap<String, Vec<String>>),
    mends_nul: bool,
    undo: &Mutex<Undo>,
) -> Result<BTreeMap<String, Print>> {
    let (bound, free): (Vec<&Pair>, Vec<&Pair>) = shapes.pairs.iter().partition(|pair| shapes.bound.contains(&pair.to));
    let whole = |pair| (pair, Part::default());
    let mut pieces: Pieces<'_, Part> = Vec::new();
    let none = Vec::new();
    for pair in free {
        let parts = pieces::parts(pair, marks.get(&pair.from).unwrap_or(&none));
        pieces.extend(parts.into_iter().map(|part| (pair, part)));
    }
    let number = further.len() + 1;
    let pool: Mutex<Vec<Source>> = Mutex::new(further);
    let main = Mutex::new(source);
    let failed = AtomicBool::new(false);
    let load = |(pair, part): &(&Pair, Part)| -> Result<(String, Print)> {
        ui::progress(&format!("carrying {}", pair.from));
        let spare = pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let print = if let Some(mut one) = spare {
            let print = copy::load(&mut one, own, (shapes, pair, part), mends_nul, undo)?;
            pool.lock().unwrap_or_else(PoisonError::into_inner).push(one);
            print
        } else {
            let mut main = main.lock().unwrap_or_else(PoisonError::into_inner);
            copy::load(&mut main, own, (shapes, pair, part), mends_nul, undo)?
        };
        checkpoint::pass("move-table-carried");
        Ok((pair.told(), print))
    };
    // Where one fails, nobody waits for the others.
    let unless_failed = |piece: &(&Pair, Part)| {
        let done = (!failed.load(Ordering::Relaxed)).then(|| load(piece))?;
        failed.fetch_or(done.is_err(), Ordering::Relaxed);
        Some(done)
    };
    let mut sent: BTreeMap<String, Print> = BTreeMap::new();
    let first = bound.into_iter().map(whole).map(|piece| unless_failed(&piece)).collect::<Vec<_>>();
    for carried in first.into_iter().chain(threads::each(number, &pieces, unless_failed)).flatten() {
        let (table, print) = carried?;
        sent.entry(table).or_default().join(print);
    }
    let split: BTreeSet<&str> =
        pieces.iter().filter(|(_, part)| *part != Part::default()).map(|(pair, _)| pair.from.as_str()).collect();
    let mut main = main.lock().unwrap_or_else(PoisonError::into_inner);
    for pair in shapes.pairs.iter().filter(|pair| split.contains(pair.from.as_str())) {
        let (there, read) = (main.count(&pair.from)?, sent.get(&pair.told()).map_or(0, |print| print.rows));
        if there != read {
            return Err(Error::failed(format!("the table `{}` was not carried whole", pair.from))
                .because(format!("it has {there} rows, and {read} were read in pieces"))
                .hint("with --jobs 1 it is read in one piece"));
        }
    }
    Ok(sent)
}

/// What every table of PostgreSQL holds, the large ones read in pieces.
fn read_all(
    own: &Database,
    (shapes, marks): (&Shapes, &BTreeMap<String, Vec<String>>),
    jobs: usize,
) -> Result<BTreeMap<String, Print>> {
    let mut pieces: Pieces<'_, String> = Vec::new();
    for pair in &shapes.pairs {
        let number = marks.get(&pair.from).map_or(1, |keys| (keys.len() + 1).min(jobs));
        pieces.extend(prove::parts(own, (shapes, pair), number)?.into_iter().map(|clause| (pair, clause)));
    }
    let read = |(pair, clause): &(&Pair, String)| -> Result<(String, Print)> {
        ui::progress(&format!("comparing {}", pair.from));
        Ok((pair.told(), prove::print(own, (shapes, pair, clause))?))
    };
    let mut there: BTreeMap<String, Print> = BTreeMap::new();
    for print in threads::each(jobs, &pieces, read) {
        let (table, print) = print?;
        there.entry(table).or_default().join(print);
    }
    Ok(there)
}

/// With our server stopped nobody else works as its user.
fn require_alone(source: &mut Source, accepted: bool) -> Result<()> {
    let begun = Instant::now();
    let mut others = source.others()?;
    // Sessions of a server that has ended take a moment to go.
    while !others.is_empty() && begun.elapsed().as_secs() < 5 {
        std::thread::sleep(std::time::Duration::from_millis(250));
        others = source.others()?;
    }
    if others.is_empty() {
        return Ok(());
    }
    let said = format!("others are connected to the old database: {}", others.join(", "));
    if accepted {
        ui::warn(&format!("{said}; what is written there from now on is not moved (accepted with --accept)"));
        return Ok(());
    }
    Err(Error::refused(said).because("what they write during and after the move is not moved").hint(
        "stop them; another node of a cluster is pointed at the new database after the move. --accept move-nodes where they write nothing that is to be kept",
    ))
}
