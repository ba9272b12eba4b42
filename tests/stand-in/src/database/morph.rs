//! The schema migrator of 6.4 and newer: numbered scripts, `db_migrations`, `db_lock`. It compares names, applies what is missing in the order of the
//! numbers, each in its own transaction, and says nothing at info level.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use postgres::Client;
use serde_json::json;

use super::sections::{self, Migration};
use super::{Database, lock};
use crate::emulated::Version;
use crate::error::{During as _, Error, Result};
use crate::faults::Faults;
use crate::log;

/// The migrations that 10.11.16 brought to an older line under other numbers than 11 has them.
const BACKPORTED: [&str; 3] = ["add_schemeid_to_roles", "backfill_roles_schemeid", "add_roles_schemeid_index"];

/// What is applied in a database, newest first.
pub(crate) fn applied(database: &Database) -> Result<Vec<(i64, String)>> {
    if !database.has_table("db_migrations")? {
        return Ok(Vec::new());
    }
    let rows =
        database.with(|client| client.query("SELECT version, name FROM db_migrations ORDER BY version DESC", &[]))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// The migrations of this version that the database does not have.
pub(crate) fn pending(database: &Database, version: Version) -> Result<Vec<Migration>> {
    let names: BTreeSet<String> = applied(database)?.into_iter().map(|(_, name)| name).collect();
    Ok(sections::migrations(version).into_iter().filter(|migration| !names.contains(&migration.name)).collect())
}

/// Makes the two tables of the migrator (a dry run does that too).
pub(crate) fn prepare(database: &Database) -> Result<()> {
    database.script(
        "CREATE TABLE IF NOT EXISTS db_migrations (version bigint NOT NULL PRIMARY KEY, name varchar NOT NULL);
         CREATE TABLE IF NOT EXISTS db_lock (id varchar(64) PRIMARY KEY, expireat bigint);",
    )
}

/// Whether this version corrects the numbers of [`BACKPORTED`] before it migrates (changelog of 11; PR 36866 and those that followed it).
fn corrects_numbers(version: Version) -> bool {
    let since = [(6, 5), (7, 3), (8, 1)];
    version.at_least(11, 9)
        || version.major == 11 && since.iter().any(|&(minor, patch)| version.minor == minor && version.patch >= patch)
}

/// Gives what 10.11.16 and newer have applied under numbers of their own the numbers of this version.
fn correct_numbers(database: &Database, version: Version) -> Result<()> {
    for migration in
        sections::migrations(version).iter().filter(|migration| BACKPORTED.contains(&migration.name.as_str()))
    {
        let update = "UPDATE db_migrations SET version = $1 WHERE name = $2 AND version <> $1";
        database.with(|client| client.execute(update, &[&i64::from(migration.number), &migration.name]))?;
    }
    Ok(())
}

/// Applies what is pending.
///
/// # Errors
/// A failing statement, in the words of the real server; everything before it stays applied. More rows than scripts (up and down counted, as observed).
pub(crate) fn migrate(database: &Database, version: Version, faults: &Faults) -> Result<usize> {
    prepare(database)?;
    let rows = applied(database)?.len();
    if rows > 2 * sections::migrations(version).len() {
        return Err(Error::new(
            "failed to apply database migrations: migration mismatch, there are more migrations applied than those were specified in source",
        ));
    }
    if corrects_numbers(version) {
        correct_numbers(database, version)?;
    }
    let pending = pending(database, version)?;
    if pending.is_empty() {
        return Ok(0);
    }
    let mut client = database.source.connect()?;
    lock::take(&mut client)?;
    let done = apply(&mut client, &pending, faults);
    lock::release(&mut client)?;
    done.map(|()| pending.len())
}

fn apply(client: &mut Client, pending: &[Migration], faults: &Faults) -> Result<()> {
    let broken = broken(faults, pending.last().map(|last| last.name.as_str()));
    let mut refreshed = Instant::now();
    for (at, migration) in pending.iter().enumerate() {
        log::debug(&format!("morph.go:169: ==  {}: migrating (up)  ====", migration.name), json!({}));
        let started = Instant::now();
        let mut sql = migration.sql.clone();
        if broken.as_deref().is_some_and(|broken| broken == migration.name || broken == migration.number.to_string()) {
            sql.push_str("SELECT stand_in_failing_migration();\n");
        }
        if at + 1 == pending.len() {
            slow(client, faults)?;
        }
        let mut transaction = client.transaction().during(|| "opening a transaction".to_owned())?;
        let ran = transaction.batch_execute(&sql).and_then(|()| {
            let row = "INSERT INTO db_migrations (version, name) VALUES ($1, $2)";
            transaction.execute(row, &[&i64::from(migration.number), &migration.name]).map(drop)
        });
        if let Err(error) = ran.and_then(|()| transaction.commit()) {
            let said = super::sentence(&error);
            return Err(Error::new(format!(
                "failed to apply database migrations: driver: postgres, message: failed to execute migration, command: executing_query, \
                 originalError: {said}, query: \n\n{sql}\n"
            )));
        }
        if refreshed.elapsed() > Duration::from_millis(7500) {
            lock::refresh(client)?;
            refreshed = Instant::now();
        }
        let seconds = started.elapsed().as_secs_f64();
        log::debug(&format!("morph.go:186: ==  {}: migrated ({seconds:.4}s)  ====", migration.name), json!({}));
    }
    Ok(())
}

/// The name of the migration that is to fail.
pub(crate) fn broken(faults: &Faults, last: Option<&str>) -> Option<String> {
    let said = faults.value("fail-migration")?;
    Some(if said.is_empty() { last?.to_owned() } else { said.to_owned() })
}

/// A long migration: the lock is kept alive, nothing is said.
fn slow(client: &mut Client, faults: &Faults) -> Result<()> {
    let Some(whole) = faults.seconds("slow-migration", 5.0) else { return Ok(()) };
    let until = Instant::now() + whole;
    while Instant::now() < until {
        thread::sleep(Duration::from_millis(200).min(until - Instant::now()));
        lock::refresh(client)?;
    }
    Ok(())
}

/// The same for the legacy steps, which have no lock.
pub(crate) fn linger(faults: &Faults, share: u32) {
    if let Some(whole) = faults.seconds("slow-migration", 5.0) {
        thread::sleep(whole / share);
    }
}
