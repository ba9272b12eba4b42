//! The database schema of a Mattermost server: `db_migrations`, the `Version` row of `systems`, the flags of the
//! application migrations, pending migration jobs; and what a release is known to have of each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::contract::error::{Context as _, Error, Result};
use crate::postgres::server::Database;

/// Where the schema stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// The `Version` row of `systems`. Not the schema's version once `migrations` is there: it freezes at 6.4.0, or at
    /// the old value after a jump (observed).
    pub systems_version: Option<String>,
    /// Rows of `db_migrations` (from 6.4 on): number and name, ascending. Absent when there is no such table.
    pub migrations: Option<Vec<(u64, String)>>,
}

/// How a schema compares with what a release is known to have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Migrations that every server of this release has applied and this database has not.
    pub missing: Vec<String>,
    /// Migrations recorded under a number that is known by another name: a build of another branch was here.
    pub foreign: Vec<String>,
    /// Migrations that only later releases were seen with: the database is newer than the server.
    pub newer: Vec<String>,
}

impl Standing {
    /// Whether nothing that the release needs is missing.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }
}

/// Asks of both tables what is in them, of each only when it is there.
const LEVEL: &str = r"
SELECT CASE WHEN pg_catalog.to_regclass('systems') IS NOT NULL THEN $$
    SELECT pg_catalog.json_build_object('systems', (SELECT value FROM systems WHERE name = 'Version' LIMIT 1)) $$ END \gexec
SELECT CASE WHEN pg_catalog.to_regclass('db_migrations') IS NOT NULL THEN $$
    SELECT pg_catalog.json_build_object('migrations', (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(version, name) ORDER BY version), '[]')
        FROM db_migrations)) $$ END \gexec
";

/// Reads where the schema stands.
pub fn level(database: &Database) -> Result<Level> {
    let attempt = || "cannot read where the database schema stands".to_owned();
    // One run of psql: what is not there is not asked for.
    let answers = database.script(LEVEL).context(attempt)?;
    let of = |key: &str| answers.iter().find_map(|answer| answer.get(key));
    let systems_version = of("systems").and_then(Value::as_str).map(str::to_owned);
    let migrations = of("migrations").and_then(Value::as_array).map(|rows| {
        rows.iter()
            .map(|row| (row[0].as_u64().unwrap_or_default(), row[1].as_str().unwrap_or_default().into()))
            .collect()
    });
    if systems_version.is_none() && migrations.is_none() {
        return Err(Error::failed(attempt())
            .because("neither `systems` nor `db_migrations` is in the search path of the server's user")
            .hint("see whether the data source names the database that Mattermost uses"));
    }
    Ok(Level { systems_version, migrations })
}

/// Rows of `jobs` of migration types that are pending or in progress. They appear within about a minute after a start
/// and take seconds (observed), so an empty answer right after a start proves little.
pub fn unfinished_jobs(database: &Database) -> Result<Vec<String>> {
    let rows = database
        .rows(
            "SELECT type, status, createat FROM jobs WHERE status IN ('pending', 'in_progress') \
             AND type ~ '(^migrations$|_migration$|^fix_channel_unreads_for_crt$)' ORDER BY createat",
        )
        .context(|| "cannot read the migration jobs".to_owned())?;
    Ok(rows.iter().map(|row| format!("{} ({})", text(row, "type"), text(row, "status"))).collect())
}

/// Those of [`unfinished_jobs`] that are in progress: once the server has ended, nobody works on them any more. A server
/// that was killed leaves such rows, and the next one takes up pending jobs only.
pub fn jobs_begun(database: &Database) -> Result<Vec<String>> {
    let jobs = unfinished_jobs(database)?;
    Ok(jobs.into_iter().filter(|job| job.ends_with(BEGUN)).collect())
}

/// How [`unfinished_jobs`] names the state of a job that somebody has taken up.
const BEGUN: &str = " (in_progress)";

/// Names of the application migrations that a start of `release` records in `systems` and that are not there.
pub fn missing_flags(database: &Database, release: &Version) -> Result<Vec<String>> {
    let rows =
        database.rows("SELECT name FROM systems").context(|| "cannot read the application migrations".to_owned())?;
    let there: BTreeSet<String> = rows.iter().map(|row| text(row, "name")).collect();
    Ok(known()?
        .flags
        .iter()
        .filter(|flag| flag.since <= *release && !there.contains(&flag.name))
        .map(|f| f.name.clone())
        .collect())
}

impl Level {
    /// The number of the highest migration.
    pub fn highest(&self) -> Option<u64> {
        self.migrations.as_ref()?.last().map(|(number, _)| *number)
    }

    /// Compares with what `release` is known to have. Between two observed releases the truth is not known exactly:
    /// what the earlier one had must be there, what the later one had may be.
    pub fn against(&self, release: &Version) -> Result<Standing> {
        let known = known()?;
        match &self.migrations {
            Some(applied) => Ok(compare(applied, known, release)),
            None => self.legacy(known, release),
        }
    }

    /// Up to 6.3 the `Version` row is the schema's version; the patch is not kept (observed).
    fn legacy(&self, known: &Known, release: &Version) -> Result<Standing> {
        if *release >= FIRST_WITH_MIGRATIONS {
            let missing = "the table db_migrations: no server from 6.4 on has been started on this database";
            return Ok(Standing { missing: vec![missing.into()], ..Standing::default() });
        }
        let row = self.systems_version.as_deref().unwrap_or_default();
        let at = line(row).ok_or_else(|| Error::failed(format!("the Version row of `systems` says `{row}`")))?;
        let mut standing = Standing::default();
        let needed = known.legacy.iter().rev().find(|step| step.release <= *release);
        if let Some(step) = needed.filter(|step| line(&step.version_row).is_some_and(|needed| at < needed)) {
            standing.missing.push(format!("the steps up to {} (the Version row says {row})", step.version_row));
        }
        if at > (release.major, release.minor) {
            standing.newer.push(format!("the Version row says {row}"));
        }
        Ok(standing)
    }
}

/// The release from which `db_migrations` is used.
const FIRST_WITH_MIGRATIONS: Version = Version::new(6, 4, 0);

fn compare(applied: &[(u64, String)], known: &Known, release: &Version) -> Standing {
    let by_number: BTreeMap<u64, &str> = applied.iter().map(|(number, name)| (*number, name.as_str())).collect();
    let next = known.observed.iter().find(|observed| *observed >= release);
    let is_later = |migration: &Migration| next.is_some_and(|next| migration.since > *next);
    let mut standing = Standing::default();
    let mut gap = false;
    for migration in &known.migrations {
        let label = format!("{} {}", migration.number, migration.name);
        match by_number.get(&migration.number) {
            None if migration.since <= *release => standing.missing.push(label),
            Some(name) if *name != migration.name => {
                standing.foreign.push(format!("{} {name} (known as {})", migration.number, migration.name));
            }
            // A dot release may bring a migration of a later line (7.8.11 brings 113), without those before it. A newer
            // server has applied them all.
            None => gap = true,
            Some(_) if is_later(migration) && !gap => standing.newer.push(label),
            Some(_) => {}
        }
    }
    standing
}

/// `5.37` of `5.37.0` or `5.37`.
fn line(text: &str) -> Option<(u64, u64)> {
    let mut parts = text.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

fn text(row: &Value, column: &str) -> String {
    row[column].as_str().unwrap_or_default().to_owned()
}

#[derive(Deserialize)]
struct Known {
    observed: Vec<Version>,
    legacy: Vec<LegacyStep>,
    migrations: Vec<Migration>,
    flags: Vec<Flag>,
}

#[derive(Deserialize)]
struct LegacyStep {
    release: Version,
    version_row: String,
}

#[derive(Deserialize)]
struct Migration {
    number: u64,
    name: String,
    since: Version,
}

#[derive(Deserialize)]
struct Flag {
    name: String,
    since: Version,
}

fn known() -> Result<&'static Known> {
    static KNOWN: OnceLock<std::result::Result<Known, String>> = OnceLock::new();
    KNOWN
        .get_or_init(|| {
            serde_json::from_str(include_str!("../../catalogue/schema.json")).map_err(|error| error.to_string())
        })
        .as_ref()
        .map_err(|error| Error::failed("cannot read the built-in catalogue of migrations").because(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(release: &str) -> Vec<(u64, String)> {
        let release = Version::parse(release).unwrap();
        let migrations = known().unwrap().migrations.iter();
        migrations.filter(|known| known.since <= release).map(|known| (known.number, known.name.clone())).collect()
    }

    fn standing(applied: Vec<(u64, String)>, release: &str) -> Standing {
        let level = Level { systems_version: Some("6.4.0".into()), migrations: Some(applied) };
        level.against(&Version::parse(release).unwrap()).unwrap()
    }

    #[test]
    fn every_observed_release_is_complete_at_its_own_level() {
        for (release, rows, highest) in [
            ("6.7.0", 83, 83),
            ("7.1.0", 88, 88),
            ("8.1.0", 109, 109),
            ("9.5.0", 118, 119),
            ("9.10.0", 120, 121),
            ("11.6.0", 158, 159),
        ] {
            let applied = at(release);
            assert_eq!((applied.len(), applied.last().unwrap().0), (rows, highest), "{release}");
            assert_eq!(standing(applied, release), Standing::default(), "{release}");
        }
    }

    #[test]
    fn a_release_between_two_observed_ones_needs_the_earlier_and_may_have_the_later() {
        assert!(standing(at("9.10.0"), "10.6.1").is_complete());
        assert_eq!(standing(at("11.6.0"), "10.6.1"), Standing::default());
        assert_eq!(standing(at("9.5.0"), "10.6.1").missing.len(), 2);
        assert_eq!(
            standing(at("9.10.0"), "9.4.0").newer,
            ["120 create_channelbookmarks_table", "121 remove_true_up_review_history"]
        );
    }

    #[test]
    fn a_migration_brought_back_to_a_dot_release_does_not_make_the_database_newer() {
        let mut applied = at("7.8.0");
        applied.extend([105, 107, 113].map(|number| {
            let name = known().unwrap().migrations.iter().find(|known| known.number == number).unwrap().name.clone();
            (number, name)
        }));
        assert_eq!(standing(applied, "7.8.15"), Standing::default());
        let mut applied = at("9.5.0");
        applied.push((122, "preferences_value_length".into()));
        assert_eq!(standing(applied, "9.5.14"), Standing::default());
        assert_eq!(standing(at("9.5.0"), "7.8.15").newer.first().unwrap(), "111 update_vacuuming");
    }

    #[test]
    fn a_number_under_another_name_is_told() {
        let mut applied = at("9.10.0");
        applied.last_mut().unwrap().1 = "something_else".into();
        assert_eq!(
            standing(applied, "9.10.0").foreign,
            ["121 something_else (known as remove_true_up_review_history)"]
        );
    }

    #[test]
    fn up_to_6_3_the_version_row_decides() {
        let legacy = |row: &str, release: &str| {
            let level = Level { systems_version: Some(row.into()), migrations: None };
            level.against(&Version::parse(release).unwrap()).unwrap()
        };
        assert_eq!(legacy("5.37.0", "5.37.10"), Standing::default());
        assert_eq!(legacy("5.29.0", "5.29.0"), Standing::default());
        assert!(!legacy("5.29.0", "5.37.1").is_complete());
        assert!(!legacy("6.3.0", "6.3.10").newer.iter().any(|_| true));
        assert_eq!(legacy("6.3.0", "5.39.3").newer.len(), 1);
        assert!(!legacy("5.29.0", "10.6.1").is_complete());
    }
}
