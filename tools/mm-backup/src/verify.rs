//! `verify`: proves a restore point by hashing everything again, reading the dump to its end and, when asked,
//! restoring it into a throw-away server.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use mm_common::contract::error::{Error, Kind, Result};
use mm_common::contract::progress::Meter;
use mm_common::contract::{digest, ui};
use mm_common::machine::signals::Heeding;
use mm_common::machine::tree::{Finder, Kind as There};
use mm_common::machine::{files, signals, threads};
use mm_common::postgres::scratch::Scratch;
use mm_common::postgres::server::Database;
use mm_common::postgres::{dump, others, owners, rights, roles, schemas, untrusted};
use serde_json::{Value, json};

use crate::equal::{self, Comparison, Roles};
use crate::manifest::{self, DatabasePart, Entry, Kind as What, Reader, Stored};
use crate::store::Point;
use crate::suspects::{self, Suspect};

/// How many findings are named; the rest is counted.
const NAMED: usize = 10;

/// The name of a restored database in it.
const COPY: &str = "mm restored";

/// Entries that a thread takes at a time.
const BATCH: usize = 64;

/// Proves a restore point and says what was looked at.
///
/// # Errors
/// A failed check (exit 4), with every finding, when it is not as it was made.
pub(crate) fn verify(point: &Point, jobs: usize, restore: bool) -> Result<Value> {
    let started = Instant::now();
    let mut findings = Vec::new();
    if let Err(error) = point.proven_manifest() {
        findings.push(error.one_line());
    }
    let (files, bytes, suspects) = entries(point, jobs, &mut findings)?;
    if let Err(error) = files::parent(&point.path).and_then(|store| suspects::note(store, &point.head.id, &suspects)) {
        ui::warn(&format!("{}; make the next one with --rehash", error.one_line()));
    }
    for part in point.head.databases() {
        database(point, part, &mut findings);
    }
    findings.extend(point.head.mysql.iter().flat_map(|part| part.findings(&point.path)));
    let mut proof = json!({ "files": files, "bytes": bytes });
    if let Some(part) = &point.head.mysql {
        proof["mysql_rows"] = part.tables.values().sum::<u64>().into();
        if restore {
            ui::warn("the dump of MySQL is read to its end and its rows are counted; it is not loaded anywhere");
        }
    }
    let is_whole = findings.is_empty();
    let mut advice = None;
    if restore && is_whole {
        let mut tables = 0;
        for part in point.head.databases() {
            tables += restored(point, part, jobs, (&mut findings, &mut advice))?;
        }
        proof["restored_tables"] = tables.into();
    }
    ui::progress_done();
    proof["seconds"] = started.elapsed().as_secs_f64().into();
    if findings.is_empty() {
        return match point.require_complete() {
            Ok(()) => Ok(proof),
            // Its files are as they were stored; that does not make it one that can be restored anywhere.
            Err(error) => Err(error.of_kind(Kind::CheckSaysNo)),
        };
    }
    let count = findings.len();
    let is = if is_whole { "does not come back as it was" } else { "is damaged" };
    let message = format!("the restore point {} {is}: {}", point.head.id, ui::count(count, "finding"));
    let mut error = Error::new(Kind::CheckSaysNo, message);
    for finding in findings.into_iter().take(NAMED) {
        error = error.because(finding);
    }
    if count > NAMED {
        error = error.because(format!("and {} more", count - NAMED));
    }
    Err(match (is_whole, advice) {
        (true, Some(advice)) => error.hint(advice),
        (true, None) => error.hint(
            "every byte of it is as it was stored, so no disk is the cause: it is what PostgreSQL says above, about the database \
             itself or about this machine. Remove that cause, and make a new one (mm-backup create)",
        ),
        (false, _) => error.hint(
            "make a new one now (mm-backup create), which stores the damaged files anew; look at the disk and its log",
        ),
    })
}

fn entries(point: &Point, jobs: usize, findings: &mut Vec<String>) -> Result<(u64, u64, Vec<Suspect>)> {
    let reader = Mutex::new(Reader::open(&point.path)?);
    let found = Mutex::new((0, 0, Vec::new(), Vec::new()));
    let _meter = Meter::passing("verifying", Some(point.head.totals.bytes));
    let work = || -> Result<()> {
        let mut finder = point.files()?;
        loop {
            signals::check()?;
            let mut batch = Vec::with_capacity(BATCH);
            {
                let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
                while batch.len() < BATCH
                    && let Some(entry) = reader.next()?
                {
                    batch.push(entry);
                }
            }
            if batch.is_empty() {
                return Ok(());
            }
            let mut suspects = Vec::new();
            let said: Vec<String> = batch.iter().filter_map(|entry| fault(&mut finder, entry, &mut suspects)).collect();
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            for entry in batch.iter().filter(|entry| entry.kind == What::File) {
                found.0 += 1;
                found.1 += entry.bytes;
            }
            found.2.extend(said);
            found.3.append(&mut suspects);
        }
    };
    for result in threads::several(jobs, work) {
        match result {
            Ok(()) => {}
            Err(error) if signals::caught().is_some() => return Err(error),
            // A manifest that cannot be read on is a finding like any other.
            Err(error) => findings.push(error.one_line()),
        }
    }
    let (files, bytes, mut said, suspects) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    said.sort();
    findings.append(&mut said);
    Ok((files, bytes, suspects))
}

/// What is wrong with the copy of an entry. One with other contents, which only reading it shows, is a suspect.
fn fault(finder: &mut Finder, entry: &Entry, suspects: &mut Vec<Suspect>) -> Option<String> {
    let wrong = wrong(finder, entry, suspects).unwrap_or_else(|error| Some(error.one_line()));
    wrong.map(|wrong| format!("the copy of `{}`: {wrong}", entry.path))
}

fn wrong(finder: &mut Finder, entry: &Entry, suspects: &mut Vec<Suspect>) -> Result<Option<String>> {
    let missing = || Ok(Some("it is missing".to_owned()));
    let (parent, name) = manifest::place(entry.path());
    let Some(dir) = finder.directory(parent)? else { return missing() };
    let Some(there) = dir.look(name)? else { return missing() };
    Ok(match entry.kind {
        What::Directory => (there.kind != There::Directory).then(|| "it is no directory".to_owned()),
        What::Symlink => {
            let target = (there.kind == There::Symlink).then(|| dir.link_target(name)).transpose()?;
            let wanted = entry.target.as_ref().map(|wanted| &wanted.0);
            (target.as_ref() != wanted).then(|| "it points elsewhere".to_owned())
        }
        What::File if there.kind != There::File => Some("it is no regular file".to_owned()),
        What::File if there.bytes != entry.bytes => {
            Some(format!("it has {} bytes, {} were stored", there.bytes, entry.bytes))
        }
        // Its contents are those of the first name, which is looked at by itself.
        What::File if entry.same_as.is_some() => None,
        What::File => {
            let Some(file) = dir.open_file(name)? else { return missing() };
            let read = digest::of_reader(&mut Heeding(file));
            signals::check()?;
            if read.as_ref().is_ok_and(|found| entry.sha256.is_some_and(|stored| stored.to_string() == *found)) {
                return Ok(None);
            }
            suspects.push(Suspect { path: entry.path.clone(), ino: there.ino });
            Some(read.map_or_else(|error| error.to_string(), |_| "its contents have changed (SHA-256)".to_owned()))
        }
    })
}

fn database(point: &Point, part: &DatabasePart, findings: &mut Vec<String>) {
    for stored in [Some(&part.dump), part.globals.as_ref()].into_iter().flatten() {
        if let Some(finding) = stored_fault(&point.path, stored) {
            findings.push(finding);
        }
    }
    if let Err(error) = dump::read_through(&point.path.join(&part.dump.path)) {
        findings.push(error.one_line());
    }
}

pub(crate) fn stored_fault(point: &Path, stored: &Stored) -> Option<String> {
    let path = point.join(&stored.path);
    match files::sha256(&path) {
        Ok(digest) if digest == stored.sha256 => None,
        Ok(_) => Some(format!("`{}`: its contents have changed (SHA-256)", path.display())),
        Err(error) => Some(error.one_line()),
    }
}

/// Restores a dump into a throw-away server and compares. Returns the number of tables.
fn restored(
    point: &Point,
    part: &DatabasePart,
    jobs: usize,
    (findings, advice): (&mut Vec<String>, &mut Option<String>),
) -> Result<usize> {
    let major = part.server_version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
    let scratch = Scratch::start(major)?;
    let server = scratch.database("postgres")?;
    let globals = match &part.globals {
        Some(globals) => files::read_text(&point.path.join(&globals.path), 64 << 20)?,
        None => String::new(),
    };
    let path = point.path.join(&part.dump.path);
    roles::create_missing(&server, &globals, &wanted_roles(part, &path, &globals)?, None)?;
    untrusted::create_role(&server)?;
    // A name of its own: `postgres` and `template1` are there already.
    let name = dump::identifier(COPY);
    let encoding = dump::literal(&part.properties.encoding);
    // Fingerprints do not depend on the collation, and the machine may not have that of the original.
    server.execute_each(&format!(
        "CREATE DATABASE {name} OWNER {} TEMPLATE template0 ENCODING {encoding} LC_COLLATE 'C' LC_CTYPE 'C'",
        untrusted::ROLE
    ))?;
    let copy = scratch.database(COPY)?;
    let roles = Roles::of(&server)?;
    untrusted::prepare(&path, &copy, &|_| true)?;
    let role = scratch.database_as(untrusted::ROLE, COPY)?;
    if let Err(error) = untrusted::restore_for(&path, &role, jobs, &roles.ordinary) {
        findings.push(error.one_line());
        *advice = error.next_step().map(str::to_owned);
        return Ok(0);
    }
    findings.extend(equal::of_contents(part, &path, (&copy, Some(&role)), jobs)?);
    match settled(part, &path, &copy, &roles) {
        Ok(found) => findings.extend(found),
        Err(error) if signals::caught().is_some() => return Err(error),
        Err(error) => findings.push(error.one_line()),
    }
    Ok(part.tables.len())
}

/// The roles that own something in the dump or have rights there. Who owns something as the first superuser is not among
/// those that the database depends on.
fn wanted_roles(part: &DatabasePart, path: &Path, globals: &str) -> Result<Vec<String>> {
    let mut wanted = part.properties.roles.clone();
    let further = dump::owners(path)?.into_iter().chain([part.properties.owner.clone()]);
    wanted.extend(further.filter(|role| roles::is_described(globals, role)));
    wanted.sort();
    wanted.dedup();
    Ok(wanted)
}

/// Gives what was restored to its owners, with all rights, and compares the definitions.
fn settled(part: &DatabasePart, path: &Path, copy: &Database, roles: &Roles) -> Result<Vec<String>> {
    let properties = &part.properties;
    let owner = if roles.all.contains(&properties.owner) { &properties.owner } else { "postgres" };
    // Nothing here is run any more, so nothing is kept from a superuser.
    let kept_back = owners::give(copy, None, &untrusted::entries(path)?, owner, true)?;
    let mut found: Vec<String> = rights::give(path, copy, &roles.ordinary)?
        .into_iter()
        .map(|right| format!("a right cannot be given: {right}"))
        .collect();
    let left = others::give(path, copy, Some(path))?;
    for sql in untrusted::default_privileges(path, &roles.all)? {
        copy.execute_verbatim(&sql)?;
    }
    let spaces = equal::spaces(properties, None, roles)?;
    if let Some(spaces) = &spaces {
        schemas::settle(copy, spaces)?;
    }
    let comparison = Comparison {
        part,
        dump: path,
        restored: copy,
        kept_back: &kept_back,
        left_rights: &left,
        spaces: spaces.as_ref(),
        roles,
        as_replaced: false,
    };
    found.extend(comparison.differences()?);
    Ok(found)
}
