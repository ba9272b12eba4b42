//! From whatever schema is there to the one of the emulated version, in the way of that version.

use serde_json::json;

use super::{Database, legacy, morph};
use crate::emulated::Version;
use crate::error::{Error, Result};
use crate::faults::Faults;
use crate::log;

pub(crate) use super::morph::{applied, pending, prepare};

/// The lowest PostgreSQL that a version accepts, where it checks at all (sources of the releases: 5.32, 8.0, 10.6, 11.0, 12.0).
const MINIMUM: &[(&str, u32)] = &[("5.32", 10), ("8.0", 11), ("10.6", 13), ("11.0", 14), ("12.0", 15)];

/// Refuses a database server that is too old.
///
/// # Errors
/// The texts of the versions.
pub(crate) fn check_server(database: &Database, version: Version, faults: &Faults) -> Result<()> {
    let Some((_, wanted)) = MINIMUM.iter().rev().find(|(from, _)| version.within(from, "")) else { return Ok(()) };
    let number = database.number("SELECT current_setting('server_version_num')::bigint", &[])?;
    let wanted = if faults.has("refuse-database") { 99 } else { i64::from(*wanted) };
    let (major, minor) = (number / 10_000, number % 10_000);
    if major >= wanted {
        return Ok(());
    }
    if !version.at_least(6, 0) {
        let text = format!("minimum required postgres version is {wanted}.0; found {major}.{minor}");
        log::line("fatal", "Failed to check DB version.", json!({"error": text}));
        return Err(Error::new(text));
    }
    let text = format!("minimum Postgres version requirements not met. Found: {major}.{minor}, Wanted: {wanted}.0");
    if version.at_least(9, 0) {
        return Err(Error::new(format!("error while checking DB version: {text}")));
    }
    log::line("fatal", "Error while checking DB version.", json!({"error": text}));
    Err(Error::new(text))
}

/// Migrates. Gives the number of migrations applied (always 0 up to 6.3).
pub(crate) fn schema(database: &Database, version: Version, faults: &Faults) -> Result<usize> {
    let newest = faults.has("lose-message").then(|| newest_post(database)).flatten();
    let count = if version.at_least(6, 4) {
        let count = morph::migrate(database, version, faults)?;
        if !version.at_least(7, 1) {
            legacy::stamp(database, version)?;
        }
        count
    } else {
        legacy::upgrade(database, version, faults)?;
        0
    };
    if let Some(id) = newest {
        database.execute("DELETE FROM posts WHERE id = $1", &[&id])?;
    }
    Ok(count)
}

fn newest_post(database: &Database) -> Option<String> {
    let row = database.row("SELECT id FROM posts ORDER BY createat DESC, id LIMIT 1", &[]).ok()??;
    Some(row.text("id").to_owned())
}

/// The newest version all of whose migrations are applied.
pub(crate) fn version_of(applied: &[(i64, String)]) -> Version {
    let names: std::collections::BTreeSet<&str> = applied.iter().map(|(_, name)| name.as_str()).collect();
    let fits =
        |version: &Version| super::sections::migrations(*version).iter().all(|one| names.contains(one.name.as_str()));
    super::sections::set_versions().into_iter().rev().find(fits).unwrap_or(Version::new(6, 4, 0))
}
