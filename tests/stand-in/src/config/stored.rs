//! The configuration in a database (`MM_CONFIG=postgres://...`): a row of table `configurations` is active; every change is a new row.

use serde_json::{Value, json};

use super::{complete, render};
use crate::database::{Database, Insert, Source};
use crate::emulated::Version;
use crate::error::{Error, Result};
use crate::text;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS configurations (id varchar(26) PRIMARY KEY, value text NOT NULL, createat bigint NOT NULL, active boolean NULL UNIQUE);
    CREATE TABLE IF NOT EXISTS configurationfiles (name varchar(64) PRIMARY KEY, data text NOT NULL, createat bigint NOT NULL, updateat bigint NOT NULL);";

/// Tables that the releases from 6.0 on add.
const LATER: &str = "
    ALTER TABLE configurations ADD COLUMN IF NOT EXISTS sha char(64) DEFAULT '';
    CREATE TABLE IF NOT EXISTS db_config_migrations (version bigint NOT NULL PRIMARY KEY, name varchar NOT NULL);";

/// Reads the active configuration, completes it for this version, and stores it as a new row when that changed anything.
///
/// # Errors
/// A database that cannot be reached: the server gives up at once.
pub(super) fn load(source: &str, version: Version) -> Result<Value> {
    let failed = |error: Error| Error::new(format!("failed to load configuration: failed to initialize: {error}"));
    let database = Database::new(Source::parse(source));
    database.script(TABLES).map_err(failed)?;
    if version.at_least(6, 0) {
        database.script(LATER).map_err(failed)?;
    }
    let active = database.row("SELECT value FROM configurations WHERE active", &[]).map_err(failed)?;
    let found = active.as_ref().map(|row| row.document("value"));
    let completed = found.as_ref().map_or_else(|| fresh(source, version), |found| complete(found, version));
    let value = render(&completed);
    let sum = text::sha256_hex(value.as_bytes());
    if found.as_ref() != Some(&completed) && !is_said_to_be_stored(&database, version, &sum).map_err(failed)? {
        let row = Insert::into("configurations")
            .text("id", &text::new_id())
            .text("value", &value)
            .int("createat", text::now_ms())
            .bool("active", true)
            .when(version.at_least(6, 0), |row| row.text("sha", &sum));
        let script = format!("BEGIN; UPDATE configurations SET active = NULL WHERE active;\n{}COMMIT;", row.sql());
        database.script(&script).map_err(failed)?;
    }
    Ok(completed)
}

/// From 6.0 on nothing is stored whose sum the active row has already, whatever else its text is (server/config/database.go, `persist`).
fn is_said_to_be_stored(database: &Database, version: Version, sum: &str) -> Result<bool> {
    if !version.at_least(6, 0) {
        return Ok(false);
    }
    let query = "SELECT count(*) FROM configurations WHERE active AND trim(sha) = $1";
    Ok(database.number(query, &[&sum])? > 0)
}

/// The first one says where it lies itself.
fn fresh(source: &str, version: Version) -> Value {
    complete(&json!({"SqlSettings": {"DriverName": "postgres", "DataSource": source}}), version)
}
