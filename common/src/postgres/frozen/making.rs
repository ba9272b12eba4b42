//! Making a frozen copy while nobody writes, and removing one.

use std::thread;
use std::time::{Duration, Instant};

use crate::contract::error::{Error, Result};
use crate::contract::ui;
use crate::machine::checkpoint;
use crate::postgres::cluster::FROZEN;
use crate::postgres::dump::{identifier, literal};
use crate::postgres::properties;
use crate::postgres::server::Database;

/// How long `CHECKPOINT` may take beside the running server: what it writes, the copy need not.
const CHECKPOINT_LIMIT: Duration = Duration::from_secs(10);

/// How long a session that makes a copy may take to end.
const END_LIMIT: Duration = Duration::from_secs(60);

/// The pause between two looks at it.
const END_PAUSE: Duration = Duration::from_millis(100);

/// First version that clones files (`file_copy_method`).
const CLONES: u32 = 180_000;

/// First version that looks whether its client is still there while it works (`client_connection_check_interval`).
const SEES_TO_CLIENTS: u32 = 140_000;

/// First version that can copy a database by way of its log, and does so unless told otherwise: slow for a large one.
const COPIES_BY_LOG: u32 = 150_000;

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

/// Makes a copy of the database `name` under the name `copy`, as the superuser `admin`, who is connected to another one and has
/// the time for it. The sessions that the stopped server of `role` has left are ended.
///
/// # Errors
/// Failed when somebody else is connected; nothing is left then.
pub fn make(admin: &Database, (name, role): (&str, &str), copy: &str) -> Result<Made> {
    let attempt = || format!("cannot freeze the database `{name}`");
    let end_sessions = format!(
        "SELECT pg_catalog.json_build_array(pg_catalog.pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity
         WHERE datname = {} AND usename = {} AND pid <> pg_catalog.pg_backend_pid();\n",
        literal(name),
        literal(role)
    );
    let strategy = if admin.version_num >= COPIES_BY_LOG { " STRATEGY FILE_COPY" } else { "" };
    // Should this run be killed, the server gives up: nobody gets into a database while it is being copied.
    let ending =
        if admin.version_num >= SEES_TO_CLIENTS { "SET client_connection_check_interval = '1s';\n" } else { "" };
    let script = |first: &str| {
        format!(
            "{first}{ending}{end_sessions}{3}{1} CONNECTION LIMIT 0{strategy};\n\
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
            if let Err(other) = drop_copy(admin, copy) {
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
    properties::drop(&admin, copy)
}
