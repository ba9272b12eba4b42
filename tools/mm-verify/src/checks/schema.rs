//! Schema, migrations, indexes.

use std::time::{Duration, Instant};

use mm_common::Result;
use mm_common::contract::ui;
use mm_common::mattermost::schema;
use semver::Version;

use crate::check::{Finding, some};
use crate::look::Look;

pub(crate) fn schema(look: &mut Look) -> Result<Finding> {
    let level = look.level()?;
    let release = look.release().clone();
    let standing = level.against(&release)?;
    let row = level.systems_version.as_deref().unwrap_or("none");
    let at = match (level.highest(), &level.migrations) {
        (Some(highest), Some(all)) => {
            format!("{}, the highest is {highest}; Version row {row}", ui::count(all.len(), "migration"))
        }
        _ => format!("Version row {row}"),
    };
    let finding = if !standing.missing.is_empty() {
        Finding::fail(format!("{at}; not applied: {}", some(&standing.missing, 5)))
            .hint("the server applies what is missing when it starts: look into its log for the one that failed")
    } else if !standing.newer.is_empty() {
        Finding::fail(format!("{at}; the database is newer than the server: {}", some(&standing.newer, 5))).hint(
            "restore the database of the restore point that belongs to this release, or install the newer release again",
        )
    } else if !standing.foreign.is_empty() {
        Finding::warn(format!("{at}; recorded under another name: {}", some(&standing.foreign, 5)))
            .hint("a build of another branch was started on this database; a later release may refuse it")
    } else {
        Finding::pass(at)
    };
    Ok(finding.against(format!("what {release} is known to apply")))
}

/// Servers up to this one may answer before their application migrations are made.
const FIRST_TO_LISTEN_LAST: Version = Version::new(5, 37, 0);

/// 5.29 listens before it makes its application migrations, which take a second or two then (observed); later releases
/// make them first. So a server that has just answered gets this long before they count as missing.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn flags(look: &mut Look) -> Result<Finding> {
    let mut missing = schema::missing_flags(look.database()?, look.release())?;
    let started = Instant::now();
    while !missing.is_empty() && *look.release() < FIRST_TO_LISTEN_LAST && started.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(500));
        missing = schema::missing_flags(look.database()?, look.release())?;
    }
    Ok(if missing.is_empty() {
        Finding::pass("all that this release is known to make are recorded")
    } else {
        Finding::fail(format!("not recorded in systems: {}", some(&missing, 5)))
            .hint("the server makes them while it starts; look into its log, then restart it")
    })
}

pub(crate) fn jobs(look: &mut Look) -> Result<Finding> {
    let jobs = schema::unfinished_jobs(look.database()?)?;
    Ok(if jobs.is_empty() {
        Finding::pass("no job of a migration type is pending or in progress")
    } else {
        Finding::warn(some(&jobs, 5)).hint(
            "they begin within about a minute after a start and take seconds; if it stays so, look into the server's log",
        )
    })
}

pub(crate) fn indexes(look: &mut Look) -> Result<Finding> {
    let database = look.database()?;
    // The view of indexes being built exists from PostgreSQL 12 on; before that all count as broken.
    let building = if database.major() >= 12 {
        "c.oid IN (SELECT index_relid FROM pg_catalog.pg_stat_progress_create_index)"
    } else {
        "false"
    };
    let rows = database.rows(&format!(
        "SELECT c.relname::pg_catalog.text AS name, {building} AS building
         FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = pg_catalog.current_schema() AND NOT (i.indisvalid AND i.indisready) ORDER BY 1"
    ))?;
    let names = |building: bool| -> Vec<String> {
        let rows = rows.iter().filter(|row| row["building"].as_bool() == Some(building));
        rows.filter_map(|row| row["name"].as_str()).map(str::to_owned).collect()
    };
    let (invalid, building) = (names(false), names(true));
    Ok(match (invalid.first(), building.is_empty()) {
        (Some(first), _) => Finding::fail(format!("invalid: {}", some(&invalid, 5)))
            .hint(format!("REINDEX INDEX {first}; duplicates that it reports have to be removed first")),
        (None, false) => Finding::warn(format!("still being built: {}", some(&building, 5))),
        (None, true) => Finding::pass("all are valid"),
    })
}
