//! A frozen copy: the database as it was when nobody wrote, kept beside itself in its own cluster by `CREATE DATABASE ...
//! TEMPLATE`. Renaming it back takes a fraction of a second, whatever it holds.
//!
//! Nobody but a superuser gets into it: it allows no connection to anybody else (`CONNECTION LIMIT 0`), and belongs to the
//! superuser meanwhile, so that its former owner cannot open it. Connections stay allowed as such (`datallowconn`), since
//! `pg_upgrade` refuses a cluster with a database that allows none.
//!
//! A superuser can still change it. That leaves traces: row versions that are newer than the transaction noted when it was
//! made, the copy's own counters of inserts, updates and deletes, and rows that have gone from its catalogues.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cluster::FROZEN;
use super::dump::{self, identifier, literal};
use super::guarded::{self, Reading};
use super::properties::{self, Properties};
use super::server::Database;
use crate::contract::error::{Context as _, Error, Result};
use crate::contract::ui;
use crate::machine::checkpoint;

/// How long `CHECKPOINT` may take beside the running server: what it writes, the copy need not.
const CHECKPOINT_LIMIT: Duration = Duration::from_secs(10);

/// How long a session that makes a copy may take to end.
const END_LIMIT: Duration = Duration::from_secs(60);

/// The pause between two looks at it.
const END_PAUSE: Duration = Duration::from_millis(100);

/// First version that clones files (`file_copy_method`).
const CLONES: u32 = 180_000;

/// First version that can copy a database by way of its log, and does so unless told otherwise: slow for a large one.
const COPIES_BY_LOG: u32 = 150_000;

/// Catalogues that collecting statistics changes.
const STATISTICS: &str = "'pg_statistic', 'pg_statistic_ext_data'";

/// A frozen copy, as the manifest of its restore point describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Frozen {
    /// The name of the copy.
    pub copy: String,
    /// Its number in the cluster.
    pub oid: u64,
    /// The cluster.
    pub system_identifier: String,
    /// The database it is a copy of.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Version of the server.
    pub server_version: String,
    /// What the database has that a copy does not get: it is given to the copy when that takes its place.
    pub properties: Properties,
    /// What changes are found by.
    pub noted: Noted,
}

/// What a later look at the copy is compared with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {
    /// A transaction (with its epoch) before which everything in the copy was written.
    pub transaction: u64,
    /// Rows of each catalogue of the copy.
    pub catalogs: BTreeMap<String, u64>,
    /// Where its sequences stand, as one hash.
    pub sequences: String,
    /// Since when the cluster counts: a crash begins anew, and what was counted before is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counting_since: Option<String>,
}

/// What the server says of a copy that was just made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The first transaction after it.
    pub transaction: u64,
    /// The copy's number.
    pub oid: u64,
    /// The cluster.
    pub system_identifier: String,
}

/// What has become of a copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// What was changed.
    pub found: Vec<String>,
    /// What could not be proven, and why.
    pub unproven: Vec<String>,
}

/// Writes out what the cluster has in memory, so that making the copy does not wait for that while users are out. Returns
/// whether it could be done.
pub fn write_out(admin: &Database) -> bool {
    match admin.clone().with_limit(CHECKPOINT_LIMIT).execute_each("CHECKPOINT") {
        Ok(()) => true,
        Err(error) => {
            ui::say(&format!("no CHECKPOINT before the stop, so the copy may take longer: {}", error.one_line()));
            false
        }
    }
}

/// Makes a copy of the database `name` under the name `copy`, as the superuser `admin`, who is connected to another one. The
/// sessions that the stopped server of `role` has left are ended.
///
/// # Errors
/// Failed when somebody else is connected; nothing is left then.
pub fn make(admin: &Database, (name, role): (&str, &str), copy: &str, cancel: &Arc<AtomicBool>) -> Result<Made> {
    let attempt = || format!("cannot freeze the database `{name}`");
    let admin = admin.clone().with_limit(dump::LIMIT).cancelled_by(cancel);
    let end_sessions = format!(
        "SELECT pg_catalog.json_build_array(pg_catalog.pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity
         WHERE datname = {} AND usename = {} AND pid <> pg_catalog.pg_backend_pid();\n",
        literal(name),
        literal(role)
    );
    let strategy = if admin.version_num >= COPIES_BY_LOG { " STRATEGY FILE_COPY" } else { "" };
    let script = |first: &str| {
        format!(
            "{first}{end_sessions}{3}{1} CONNECTION LIMIT 0{strategy};\n\
             REVOKE ALL ON DATABASE {0} FROM PUBLIC;\n\
             SELECT pg_catalog.json_build_object('transaction', pg_catalog.txid_current(), 'oid', d.oid::pg_catalog.int8,
               'cluster', c.system_identifier::pg_catalog.text)
             FROM pg_catalog.pg_database d, pg_catalog.pg_control_system() c WHERE d.datname = {2};\n",
            identifier(copy),
            identifier(name),
            literal(copy),
            creating(copy)
        )
    };
    let cloned = (admin.version_num >= CLONES).then(|| admin.script(&script("SET file_copy_method = clone;\n")));
    let made = match cloned {
        Some(Ok(rows)) => Ok(rows),
        // A file system that cannot clone.
        _ => admin.script(&script("")),
    };
    let rows = match made {
        Ok(rows) => rows,
        Err(error) => {
            // What came before the failing statement stays.
            if let Err(other) = drop_copy(&admin, copy) {
                ui::warn(&format!("the database `{copy}` may be left over: {}", other.one_line()));
            }
            return Err(error.within(attempt()));
        }
    };
    checkpoint::pass("freeze-copied");
    let made = rows.iter().find_map(|row| {
        let transaction = row["transaction"].as_u64()?;
        Some(Made { transaction, oid: row["oid"].as_u64()?, system_identifier: row["cluster"].as_str()?.to_owned() })
    });
    made.ok_or_else(|| Error::failed(attempt()).because("the server does not tell what it has made"))
}

/// How the statement that makes a copy begins.
fn creating(copy: &str) -> String {
    format!("CREATE DATABASE {} TEMPLATE ", identifier(copy))
}

/// Ends the session that still makes this copy: the server goes on with it when the client is gone.
fn end_making(admin: &Database, copy: &str) -> Result<()> {
    let begun = Instant::now();
    let end = format!(
        "SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(pid)) AS making FROM pg_catalog.pg_stat_activity
         WHERE pid <> pg_catalog.pg_backend_pid() AND state = 'active' AND pg_catalog.strpos(query, {}) = 1",
        literal(&creating(copy))
    );
    while admin.value(&end)? != 0 {
        if begun.elapsed() >= END_LIMIT {
            return Err(Error::failed(format!("the server still makes the database `{copy}`"))
                .because(format!("it was told to end that {} seconds ago", END_LIMIT.as_secs())));
        }
        thread::sleep(END_PAUSE);
    }
    Ok(())
}

/// Removes a copy, also one that is still being made, and when this run is to end. Only a name that a copy has is removed.
///
/// # Errors
/// Refused for any other name; failed when the server does not stop making it.
pub fn drop_copy(admin: &Database, copy: &str) -> Result<()> {
    let admin = admin.clone().not_cancelled();
    let is_copy = admin.value(&format!("SELECT {} ~ '{FROZEN}' AS is_copy", literal(copy)))?;
    if is_copy != true {
        return Err(Error::refused(format!("`{copy}` is not the name of a frozen copy")));
    }
    end_making(&admin, copy)?;
    admin.execute_each(&format!("DROP DATABASE IF EXISTS {}", identifier(copy)))
}

/// What a later look is compared with. `copy` is reached as a superuser.
pub fn note(copy: &Database, transaction: u64) -> Result<Noted> {
    let facts = facts(copy)?;
    Ok(Noted { transaction, catalogs: catalogs(copy)?, sequences: facts.sequences, counting_since: facts.since })
}

/// The number of a database of this name, and the identifier of its cluster; absent when there is none.
fn identity(admin: &Database, name: &str) -> Result<Option<(u64, String)>> {
    let rows = admin.rows(&format!(
        "SELECT d.oid::pg_catalog.int8 AS oid, c.system_identifier::pg_catalog.text AS cluster
         FROM pg_catalog.pg_database d, pg_catalog.pg_control_system() c WHERE d.datname = {}",
        literal(name)
    ))?;
    Ok(rows.first().and_then(|row| Some((row["oid"].as_u64()?, row["cluster"].as_str()?.to_owned()))))
}

impl Frozen {
    /// The copy, where it is still there and the one that was made. `admin` is a superuser.
    pub fn find(&self, admin: &Database) -> Result<Option<Database>> {
        let is_own = identity(admin, &self.copy)?
            .is_some_and(|(oid, cluster)| oid == self.oid && cluster == self.system_identifier);
        Ok(is_own.then(|| admin.sibling(&self.copy)))
    }

    /// What was changed in the copy since it was made. Only with `rows` its tables are read; without, what takes no time is
    /// looked at.
    pub fn changes(&self, copy: &Database, rows: bool) -> Result<Changes> {
        let attempt = || format!("cannot look for changes in the frozen copy `{}`", copy.name);
        let noted = &self.noted;
        let mut changes = Changes::default();
        let facts = facts(copy).context(attempt)?;
        changes.found.extend(facts.counted);
        if facts.since != noted.counting_since {
            changes.unproven.push(
                "whether rows were deleted: the server has begun to count anew since, as it does after a crash".into(),
            );
        }
        if facts.sequences != noted.sequences {
            changes.found.push("a sequence has moved on".into());
        }
        let now = catalogs(copy).context(attempt)?;
        for (catalog, rows) in &noted.catalogs {
            let there = now.get(catalog).copied().unwrap_or_default();
            if there != *rows {
                changes.found.push(format!("{catalog} has {}, and had {rows}", ui::count(there, "row")));
            }
        }
        let (newer, next) = newer(copy, noted.transaction, rows).context(attempt)?;
        if !tells_age(noted.transaction, next) {
            changes.unproven.push(
                "whether rows were written: too many transactions have begun since for their numbers to tell".into(),
            );
        } else if next >> 32 == 0 {
            changes.found.extend(newer);
        } else if !newer.is_empty() {
            // The numbers of transactions have come round: a very old row may look like a new one.
            let which = newer.join(", ");
            changes.unproven.push(format!("whether these are new, for their numbers have come round once: {which}"));
        }
        Ok(changes)
    }

    /// The statements that give it, under the name that the database had, to its owner, with its rights.
    pub fn opening(&self) -> String {
        let database = identifier(&self.name);
        let limit = self.properties.connection_limit.unwrap_or(-1);
        let given = if self.properties.grants.is_some() {
            let rights = properties::rights(&self.name, &self.properties);
            rights.iter().map(|(_, right)| format!("{right};\n")).collect::<Vec<_>>().concat()
        } else {
            // What every database has that nobody has set rights on.
            format!("GRANT CONNECT, TEMPORARY ON DATABASE {database} TO PUBLIC;\n")
        };
        format!(
            "ALTER DATABASE {database} OWNER TO {};\nALTER DATABASE {database} CONNECTION LIMIT {limit};\n{given}",
            identifier(&self.properties.owner)
        )
    }

    /// The statements that close it to everybody again.
    pub fn closing(&self) -> String {
        let database = identifier(&self.copy);
        let of = |grant: &properties::Grant| grant.role.as_deref().map(identifier);
        let revoked = self
            .properties
            .grants
            .iter()
            .flatten()
            .filter_map(of)
            .map(|role| format!("REVOKE ALL ON DATABASE {database} FROM {role};\n"))
            .collect::<Vec<_>>()
            .concat();
        format!(
            "ALTER DATABASE {database} CONNECTION LIMIT 0;\n{revoked}REVOKE ALL ON DATABASE {database} FROM PUBLIC;\n\
             ALTER DATABASE {database} OWNER TO CURRENT_USER;\n"
        )
    }
}

/// What the server counts and where sequences stand.
struct Facts {
    /// Tables in which rows were written, in words.
    counted: Vec<String>,
    sequences: String,
    since: Option<String>,
}

fn facts(copy: &Database) -> Result<Facts> {
    let queries = [
        "SELECT schemaname || '.' || relname AS called, n_tup_ins AS ins, n_tup_upd AS upd, n_tup_del AS del
         FROM pg_catalog.pg_stat_user_tables WHERE n_tup_ins + n_tup_upd + n_tup_del > 0 ORDER BY 1",
        "SELECT pg_catalog.md5(coalesce(pg_catalog.string_agg(pg_catalog.format('%I.%I=%s', schemaname, sequencename, last_value), ','
           ORDER BY schemaname, sequencename), '')) AS sequences FROM pg_catalog.pg_sequences",
        "SELECT stats_reset::pg_catalog.text AS since FROM pg_catalog.pg_stat_bgwriter",
    ];
    let answers = copy.rows_of_all(&queries.map(str::to_owned))?;
    let row = |index: usize| answers.get(index).and_then(|rows| rows.first()).cloned().unwrap_or_default();
    let counted = answers.first().into_iter().flatten().map(|row| {
        format!(
            "the server has counted {} inserted, {} changed and {} deleted in {}",
            row["ins"],
            row["upd"],
            row["del"],
            row["called"].as_str().unwrap_or_default()
        )
    });
    Ok(Facts {
        counted: counted.collect(),
        sequences: row(1)["sequences"].as_str().unwrap_or_default().to_owned(),
        since: row(2)["since"].as_str().map(str::to_owned),
    })
}

/// The catalogues of a database that only definitions change.
fn of_catalogs(statement: &str) -> String {
    format!(
        "SELECT pg_catalog.format({statement}, relname) FROM pg_catalog.pg_class
         WHERE relnamespace = 'pg_catalog'::pg_catalog.regnamespace AND relkind = 'r' AND NOT relisshared
           AND relname NOT IN ({STATISTICS}) ORDER BY 1 \\gexec\n"
    )
}

fn catalogs(copy: &Database) -> Result<BTreeMap<String, u64>> {
    let statement =
        "'SELECT pg_catalog.json_build_object(''catalog'', %1$L, ''rows'', pg_catalog.count(*)) FROM pg_catalog.%1$I'";
    let rows = copy.script(&of_catalogs(statement))?;
    Ok(rows.iter().filter_map(|row| Some((row["catalog"].as_str()?.to_owned(), row["rows"].as_u64()?))).collect())
}

/// Whether `age` tells what was written between these two transactions: it is a difference of 32 bits with a sign.
fn tells_age(transaction: u64, next: u64) -> bool {
    next.checked_sub(transaction).is_some_and(|distance| distance < i32::MAX as u64)
}

/// What a row version has to be of, to be of `transaction` or later. Rows keep the number of their transaction for good, so
/// that one from more than half a round ago has an age below zero; what initdb has made is of the highest age there is.
fn is_new(transaction: u64) -> String {
    let number = transaction & u64::from(u32::MAX);
    format!("WHERE pg_catalog.age(xmin) BETWEEN 0 AND pg_catalog.age('{number}'::pg_catalog.xid)")
}

/// The catalogues, and with `tables` the tables, that have row versions of `transaction` or later, in words; and the next
/// transaction after that look.
fn newer(copy: &Database, transaction: u64, tables: bool) -> Result<(Vec<String>, u64)> {
    let copy = copy.clone().with_limit(dump::LIMIT);
    let is_new = is_new(transaction);
    let in_literal = is_new.replace('\'', "''");
    let statement = format!(
        "'SELECT pg_catalog.json_build_object(''called'', %1$L, ''rows'', pg_catalog.count(*)) FROM pg_catalog.%1$I {in_literal}'"
    );
    let mut rows = copy.script(&of_catalogs(&statement))?;
    if tables {
        let statement = format!(
            "pg_catalog.format($mm$SELECT pg_catalog.json_build_object('called', %1$L, 'rows', pg_catalog.count(*)) FROM ONLY %2$I.%3$I {is_new}$mm$, nspname || '.' || relname, nspname, relname)"
        );
        let reading = Reading { snapshot: None, settings: "", tables: guarded::ALL, statement: &statement };
        rows.extend(reading.run(&copy)?);
    }
    let next = copy.value("SELECT pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot()) AS next")?;
    let next = next.as_u64().ok_or_else(|| Error::failed("the server does not tell its next transaction"))?;
    let said = |row: &Value| {
        let count = row["rows"].as_u64().filter(|count| *count > 0)?;
        Some(format!(
            "{} has {} written after the freeze",
            row["called"].as_str().unwrap_or_default(),
            ui::count(count, "row version")
        ))
    };
    Ok((rows.iter().filter_map(said).collect(), next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::properties::Grant;

    fn frozen(grants: Option<Vec<Grant>>) -> Frozen {
        Frozen {
            copy: "m_mm_frozen_20261122T030000Z".into(),
            oid: 1,
            system_identifier: "7".into(),
            name: "m".into(),
            bytes: 1,
            server_version: "13.16".into(),
            properties: Properties { owner: "we\"ird".into(), grants, ..Properties::default() },
            noted: Noted::default(),
        }
    }

    #[test]
    fn the_age_of_a_row_tells_only_half_a_round() {
        let half = 1 << 31;
        assert!(tells_age(5, 5) && tells_age(half, half + 1000) && tells_age((1 << 32) - 1, (1 << 32) + 3));
        assert!(!tells_age(5, half + 4) && !tells_age(5, half + 5) && !tells_age(6, 5));
        assert!(is_new((3 << 32) + 7).ends_with("BETWEEN 0 AND pg_catalog.age('7'::pg_catalog.xid)"));
    }

    #[test]
    fn a_copy_is_opened_as_the_database_was_and_closed_to_everybody() {
        let plain = frozen(None).opening();
        assert!(plain.starts_with("ALTER DATABASE \"m\" OWNER TO \"we\"\"ird\";\n"), "{plain}");
        assert!(plain.contains("CONNECTION LIMIT -1") && plain.contains("GRANT CONNECT, TEMPORARY"), "{plain}");
        let grant = Grant { role: Some("a\"b".into()), privilege: "CONNECT".into(), grantable: false };
        let closed = frozen(Some(vec![grant])).closing();
        for part in ["CONNECTION LIMIT 0", "FROM \"a\"\"b\"", "FROM PUBLIC", "OWNER TO CURRENT_USER"] {
            assert!(closed.contains(part), "{closed}");
        }
    }
}
