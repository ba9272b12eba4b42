//! The schema upgrade of servers up to 6.3: steps from version to version, each committed with its `Version` row. 6.4 to 7.0 still stamp the row, without
//! changing anything (the migrator has run before).

use std::fmt::Write as _;

use serde_json::json;

use super::sections::{self, Step};
use super::{Database, morph};
use crate::emulated::Version;
use crate::error::{Error, Result};
use crate::faults::Faults;
use crate::log;

/// What `Systems.Version` says of a database.
fn stored(database: &Database) -> Result<Option<Version>> {
    if !database.has_table("systems")? {
        return Ok(None);
    }
    Ok(database.system("Version")?.and_then(|text| text.parse().ok()))
}

/// Refuses the schema of a newer major release, warns at that of a newer minor one.
///
/// # Errors
/// The text of the real server.
pub(crate) fn compatible(database: &Database, version: Version) -> Result<()> {
    let Some(stored) = stored(database)? else { return Ok(()) };
    let next = Version::new(version.major + 1, 0, 0);
    // The last schema version the code itself knows: the patch level only counts for a release of its own (5.29.0 says 5.29.0, 5.37.1 says 5.37.1).
    if stored >= next {
        let error = format!(
            "Database schema version {stored} is not supported. This Mattermost server supports only >={version}, <{next}. \
             Please upgrade to at least version {next} before continuing."
        );
        log::line("fatal", "Failed to upgrade database.", json!({"error": error}));
        return Err(Error::new(format!("Failed to upgrade database. {error}")));
    }
    if stored > version {
        log::warn(
            "The database schema version and model versions do not match",
            json!({"schema_version": stored.to_string(), "model_version": version.to_string()}),
        );
    }
    Ok(())
}

/// Brings the schema to `version` in the way of 5.x to 6.3.
pub(crate) fn upgrade(database: &Database, version: Version, faults: &Faults) -> Result<()> {
    compatible(database, version)?;
    let steps: Vec<Step> = sections::steps().into_iter().filter(|step| step.version <= version).collect();
    let Some(mut current) = stored(database)? else {
        database.script(&sections::fresh())?;
        for step in &steps {
            database.script(&step.sql)?;
        }
        database.set_system("Version", &version.to_string())?;
        log::info("The database schema version has been set", json!({"version": version.to_string()}));
        return Ok(());
    };
    let pending: Vec<&Step> = steps.iter().filter(|step| step.version > current).collect();
    let broken = morph::broken(faults, pending.last().map(|step| step.version.to_string()).as_deref());
    let count = pending.len().max(1);
    for step in pending {
        let new = step.version.to_string();
        log::warn(
            "Attempting to upgrade the database schema version",
            json!({"stored_version": current.to_string(), "current_version": version.to_string(), "new_version": new}),
        );
        let mut sql = format!("BEGIN;\n{}", step.sql);
        if broken.as_deref() == Some(new.as_str()) {
            sql.push_str("SELECT stand_in_failing_migration();\n");
        }
        let _ = write!(sql, "UPDATE systems SET value = '{new}' WHERE name = 'Version';\nCOMMIT;\n");
        if let Err(error) = database.script(&sql) {
            let _ = database.script("ROLLBACK");
            log::line("fatal", "Failed to upgrade database.", json!({"error": error.to_string()}));
            return Err(Error::new(format!("Failed to upgrade database. {error}")));
        }
        morph::linger(faults, u32::try_from(count).unwrap_or(1));
        log::warn("The database schema version has been upgraded", json!({"version": new}));
        current = step.version;
    }
    Ok(())
}

/// The rest of it in 6.4 to 7.0: only the row.
pub(crate) fn stamp(database: &Database, version: Version) -> Result<()> {
    let last = Version::new(6, 4, 0);
    compatible(database, version)?;
    let Some(mut current) = stored(database)? else {
        database.set_system("Version", &version.to_string())?;
        log::info("The database schema version has been set", json!({"version": version.to_string()}));
        return Ok(());
    };
    let known = sections::steps().into_iter().map(|step| step.version).chain([last]);
    for step in known.filter(|step| *step > current).collect::<Vec<_>>() {
        log::warn(
            "Attempting to upgrade the database schema version",
            json!({"stored_version": current.to_string(), "current_version": version.to_string(), "new_version": step.to_string()}),
        );
        database.set_system("Version", &step.to_string())?;
        log::warn("The database schema version has been upgraded", json!({"version": step.to_string()}));
        current = step;
    }
    Ok(())
}
