//! What the checks of the database look at.

use std::collections::BTreeMap;

use mm_common::contract::error::{Context as _, Result};
use mm_common::contract::sections::Preflight;
use mm_common::machine::threads;
use mm_common::mattermost::schema::{Level, level};
use mm_common::postgres::server::Database;
use serde_json::Value;

use super::{Check, Way, access, carried, indexes, json, people, plugin_tables, schema, search};

/// A column as the database describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    /// `character varying`, `jsonb`, ...
    pub(crate) kind: String,
    /// Its default, as an expression.
    pub(crate) default: Option<String>,
}

/// The database, the columns it has, and the way that is checked.
pub(crate) struct DatabaseView<'a> {
    pub(crate) database: &'a Database,
    pub(crate) way: Way<'a>,
    columns: BTreeMap<(String, String), Column>,
    /// What was asked beforehand, by the query.
    answers: BTreeMap<String, Vec<Value>>,
    /// Where the schema stands; two checks ask.
    pub(crate) level: Result<Level>,
}

/// Makes all checks of the database.
///
/// Fails when not even the columns can be read; what a single check cannot see is its finding.
pub fn findings(database: &Database, way: Way<'_>) -> Result<Vec<Preflight>> {
    let (level, (answers, columns)) =
        threads::both(|| level(database), || threads::both(|| answers(database), || columns(database)));
    let view = DatabaseView { database, way, columns: columns?, answers, level };
    Ok(super::all(&checks(), &view))
}

/// The identifiers of all checks of the database, in the order of their findings.
pub fn ids() -> Vec<&'static str> {
    checks().iter().map(|check| check.id).collect()
}

fn checks<'a>() -> Vec<Check<DatabaseView<'a>>> {
    [
        schema::checks(),
        carried::checks(),
        json::checks(),
        indexes::checks(),
        people::checks(),
        access::checks(),
        search::checks(),
        plugin_tables::checks(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The answers to the small questions of all checks, from one run of `psql`: starting one takes longer than they do.
/// Empty when one cannot be answered; then each check asks for itself, and only that one cannot look.
fn answers(database: &Database) -> BTreeMap<String, Vec<Value>> {
    let queries: Vec<String> = [schema::queries(), indexes::queries(database.major())].concat();
    match database.rows_of_all(&queries) {
        Ok(rows) => queries.into_iter().zip(rows).collect(),
        Err(_) => BTreeMap::new(),
    }
}

fn columns(database: &Database) -> Result<BTreeMap<(String, String), Column>> {
    // Not from information_schema: that hides what the user may not read, and what is hidden is not missing.
    let rows = database
        .rows(
            "SELECT c.relname AS table_name, a.attname AS column_name, pg_catalog.format_type(a.atttypid, NULL) AS data_type, \
             pg_catalog.pg_get_expr(d.adbin, d.adrelid) AS column_default FROM pg_catalog.pg_attribute a \
             JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
             WHERE n.nspname = pg_catalog.current_schema() AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped",
        )
        .context(|| "cannot read which tables and columns the database has".to_owned())?;
    Ok(rows
        .iter()
        .map(|row| {
            let default = row["column_default"].as_str().map(str::to_owned);
            ((text(row, "table_name"), text(row, "column_name")), Column { kind: text(row, "data_type"), default })
        })
        .collect())
}

/// A text of a row, empty for NULL.
pub(crate) fn text(row: &Value, key: &str) -> String {
    row[key].as_str().unwrap_or_default().to_owned()
}

impl DatabaseView<'_> {
    /// A column, when there is one of this name.
    pub(crate) fn column(&self, table: &str, column: &str) -> Option<&Column> {
        self.columns.get(&(table.to_owned(), column.to_owned()))
    }

    /// Whether there is a table of this name.
    pub(crate) fn has_table(&self, table: &str) -> bool {
        self.columns.range((table.to_owned(), String::new())..).next().is_some_and(|((name, _), _)| name == table)
    }

    /// The rows of a query, asked now unless it was among [`answers`].
    pub(crate) fn rows(&self, sql: &str) -> Result<Vec<Value>> {
        self.answers.get(sql).map_or_else(|| self.database.rows(sql), |rows| Ok(rows.clone()))
    }

    /// How many rows a condition holds for.
    pub(crate) fn count(&self, table: &'static str, condition: &str) -> Result<u64> {
        Ok(self.counts(&[(table, condition.to_owned())])?.first().copied().unwrap_or(0))
    }

    /// How many rows each condition holds for, in the order given. One command, and one look through each table: a
    /// preflight is made while somebody waits.
    pub(crate) fn counts(&self, wanted: &[(&'static str, String)]) -> Result<Vec<u64>> {
        let mut by_table: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, (table, _)) in wanted.iter().enumerate() {
            by_table.entry(table).or_default().push(index);
        }
        if by_table.is_empty() {
            return Ok(Vec::new());
        }
        let selects: Vec<String> = by_table
            .iter()
            .map(|(table, indexes)| {
                let counts: Vec<String> = indexes
                    .iter()
                    .map(|index| format!("pg_catalog.count(*) FILTER (WHERE {})", wanted[*index].1))
                    .collect();
                format!("(SELECT pg_catalog.json_build_array({}) FROM {table})", counts.join(", "))
            })
            .collect();
        let answer =
            self.database.value(&format!("SELECT pg_catalog.json_build_array({}) AS counts", selects.join(", ")))?;
        let mut counts = vec![0; wanted.len()];
        for (table, indexes) in by_table.values().enumerate() {
            for (place, index) in indexes.iter().enumerate() {
                counts[*index] = answer[table][place].as_u64().unwrap_or(0);
            }
        }
        Ok(counts)
    }
}
