//! Checks of indexes and of the order of text they rest on.

use mm_common::contract::error::Result;
use mm_common::mattermost::catalogue::Severity;

use super::database::{DatabaseView, text};
use super::{Bad, Check, Outcome};

pub(super) fn checks<'a>() -> Vec<Check<DatabaseView<'a>>> {
    vec![
        Check {
            id: "duplicates",
            title: "Rows that a unique index should have refused",
            source: "mattermost/mattermost#21146; what a changed order of text leaves behind",
            look: duplicates,
        },
        Check {
            id: "invalid-indexes",
            title: "Indexes that were not built to their end",
            source: "PostgreSQL: pg_index.indisvalid",
            look: invalid,
        },
        Check {
            id: "collation",
            title: "Order of text of the C library",
            source: "mattermost/mattermost#25712; PostgreSQL: pg_collation, pg_database.datcollversion",
            look: collation,
        },
    ]
}

const INVALID: &str = "SELECT c.relname AS name, t.relname AS of FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
         JOIN pg_catalog.pg_class t ON t.oid = i.indrelid JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace \
         WHERE n.nspname = pg_catalog.current_schema() AND NOT (i.indisvalid AND i.indisready) ORDER BY 1";

const COLLATIONS: &str = "SELECT collname AS name, collversion AS then, pg_catalog.pg_collation_actual_version(oid) AS now FROM pg_catalog.pg_collation \
         WHERE collversion IS NOT NULL AND collversion <> pg_catalog.pg_collation_actual_version(oid) \
         AND (oid IN (SELECT attcollation FROM pg_catalog.pg_attribute) OR oid IN (SELECT pg_catalog.unnest(indcollation) FROM pg_catalog.pg_index)) ORDER BY 1";

/// The major from which on PostgreSQL records the version of the database's own collation.
const RECORDED: u32 = 15;
const DATABASE_COLLATION: &str = "SELECT datcollversion AS then, pg_catalog.pg_database_collation_actual_version(oid) AS now FROM pg_catalog.pg_database \
             WHERE datname = pg_catalog.current_database() AND datcollversion <> pg_catalog.pg_database_collation_actual_version(oid)";

/// What the checks of this module ask of any database of this major.
pub(super) fn queries(major: u32) -> Vec<String> {
    let recorded = (major >= RECORDED).then_some(DATABASE_COLLATION);
    [INVALID, COLLATIONS].into_iter().chain(recorded).map(str::to_owned).collect()
}

/// Columns that are unique together, in tables of a size that can be looked through at once.
const UNIQUE: [(&str, &[&str]); 8] = [
    ("teams", &["name"]),
    ("users", &["username"]),
    ("users", &["email"]),
    ("channels", &["name", "teamid"]),
    ("publicchannels", &["name", "teamid"]),
    ("emoji", &["name", "deleteat"]),
    ("roles", &["name"]),
    ("systems", &["name"]),
];

fn duplicates(view: &DatabaseView<'_>) -> Result<Outcome> {
    let there =
        UNIQUE.into_iter().filter(|(table, columns)| columns.iter().all(|column| view.column(table, column).is_some()));
    let selects: Vec<String> = there.map(|(table, columns)| repeated(table, columns)).collect();
    let rows = if selects.is_empty() { Vec::new() } else { view.database.rows(&selects.join(" UNION ALL "))? };
    let evidence: Vec<String> = rows
        .iter()
        .map(|row| format!("{}: {}, for example `{}`", text(row, "what"), row["n"], text(row, "example")))
        .collect();
    // Dump and restore, and REINDEX, stop at them; pg_upgradecluster goes on and loses the table.
    let bump = view.way.bump();
    let severity = if bump.is_some() { Severity::Block } else { Severity::Action };
    Ok(Outcome::of(evidence, "there are none", |evidence| Bad {
        severity,
        evidence,
        hop: bump.map(|hop| hop.to.clone()),
        fix: "rename or merge them, then REINDEX the table".into(),
    }))
}

/// One row when there are keys that stand more than once.
fn repeated(table: &str, columns: &[&str]) -> String {
    // An expression keeps PostgreSQL from reading the very index that is in doubt; the order of bytes is the same on
    // every system.
    let keys: Vec<String> =
        columns.iter().map(|column| format!("({column}::pg_catalog.text || '') COLLATE \"C\"")).collect();
    let known = columns.iter().map(|column| format!("{column} IS NOT NULL")).collect::<Vec<_>>().join(" AND ");
    format!(
        "SELECT '{table} ({})' AS what, pg_catalog.count(*) AS n, pg_catalog.min(d.example) AS example FROM (SELECT {} AS example FROM {table} \
         WHERE {known} GROUP BY {} HAVING pg_catalog.count(*) > 1) AS d HAVING pg_catalog.count(*) > 0",
        columns.join(", "),
        keys[0],
        keys.join(", "),
    )
}

fn invalid(view: &DatabaseView<'_>) -> Result<Outcome> {
    let rows = view.rows(INVALID)?;
    let evidence = rows.iter().map(|row| format!("{} on {}", text(row, "name"), text(row, "of"))).collect();
    Ok(Outcome::of(evidence, "all are valid", |evidence| {
        Bad {
        severity: Severity::Warn,
        evidence,
        hop: None,
        fix: "REINDEX INDEX CONCURRENTLY the index, or drop it when it is a leftover of an interrupted CREATE INDEX CONCURRENTLY".into(),
    }
    }))
}

fn collation(view: &DatabaseView<'_>) -> Result<Outcome> {
    let mut evidence = Vec::new();
    let rows = view.rows(COLLATIONS)?;
    evidence.extend(rows.iter().map(|row| {
        format!("collation {} was made with {} and is {} now", text(row, "name"), text(row, "then"), text(row, "now"))
    }));
    let recorded = view.database.major() >= RECORDED;
    if recorded {
        let rows = view.rows(DATABASE_COLLATION)?;
        evidence.extend(rows.iter().map(|row| {
            format!("the database was made with {} and the C library is {} now", text(row, "then"), text(row, "now"))
        }));
    }
    let good = if recorded {
        "unchanged since the database was made"
    } else {
        "unchanged where it is recorded; this PostgreSQL does not record that of the database itself"
    };
    Ok(Outcome::of(evidence, good, |evidence| Bad {
        severity: Severity::Action,
        evidence,
        hop: None,
        fix: "REINDEX DATABASE, see that no duplicates are left, then ALTER DATABASE ... REFRESH COLLATION VERSION"
            .into(),
    }))
}
