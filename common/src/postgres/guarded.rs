//! Reading whole tables that somebody else owns. Their owner can exchange a table for a view, or its schema for another
//! one, between the statement that lists it and the one that reads it, and the view's functions would run as whoever
//! reads. So every table is locked by name, looked at again under the lock, and only then read.
//!
//! A superuser does not even plan a statement over a table before it is known to be safe ([`Held`]).

use serde_json::Value;

use super::dump::literal;
use super::held::Held;
use super::server::Database;
use super::session::LOCK_WAIT;
use crate::contract::error::{Error, Result};

/// Runs one statement for each of some tables, all in one transaction that sees one state.
pub(super) struct Reading<'a> {
    /// The exported snapshot to see, or the present.
    pub snapshot: Option<&'a str>,
    /// Further settings, each a `SET LOCAL` with its semicolon: what the texts of values depend on.
    pub settings: &'a str,
    /// Query that gives `oid`, `schema`, `nspname`, `relname` and `relkind` of each table.
    pub tables: &'a str,
    /// Expression over these columns: the text of the statement that reads the table. It gives one JSON value.
    pub statement: &'a str,
}

impl Reading<'_> {
    /// Runs it, and returns what the statements gave, in the order of their text.
    ///
    /// # Errors
    /// Failed also when a table is not the one any more that was listed.
    pub(super) fn run(&self, database: &Database) -> Result<Vec<Value>> {
        let held = if database.is_superuser() { Some(Held::of(database, self.tables)?) } else { None };
        let script = self.script(database, held.as_ref())?;
        let rows = held.as_ref().map_or(database, Held::database).script(&script)?;
        drop(held);
        if let Some(which) = rows.iter().find_map(|row| row["exchanged"].as_str()) {
            return Err(Error::failed(format!(
                "tables of the database `{}` were exchanged while they were read",
                database.name
            ))
            .because(which.to_owned())
            .hint("whoever may change tables there did that: find out who, then run this again"));
        }
        Ok(rows)
    }

    fn script(&self, database: &Database, held: Option<&Held>) -> Result<String> {
        let Self { settings, tables, statement, .. } = self;
        // A schema that is locked so keeps its name. Only a superuser may, and no standby can; there nobody renames.
        let lock_schemas = if database.is_superuser() && !database.is_alone() {
            format!(
                "SELECT NOT pg_catalog.pg_is_in_recovery() AS mm_locks \\gset
\\if :mm_locks
SELECT pg_catalog.count(*) AS mm_schemas FROM (SELECT FROM pg_catalog.pg_namespace
  WHERE oid IN (SELECT schema FROM ({tables}) AS t) FOR KEY SHARE) AS s \\gset
\\endif
"
            )
        } else {
            String::new()
        };
        let not_held = held.map_or_else(String::new, |held| format!("\n    OR NOT oid = ANY ({})", held.oids()));
        let body = format!(
            "{lock_schemas}SELECT pg_catalog.format('LOCK TABLE ONLY %I.%I IN ACCESS SHARE MODE', nspname, relname) FROM ({tables}) AS t \\gexec
SELECT pg_catalog.count(*) > 0 AS mm_exchanged,
  coalesce(pg_catalog.string_agg(pg_catalog.format('%I.%I', nspname, relname), ', '), '') AS mm_which
 FROM ({tables}) AS t
 WHERE pg_catalog.to_regclass(pg_catalog.format('%I.%I', nspname, relname)) IS DISTINCT FROM oid::pg_catalog.regclass
    OR (pg_catalog.pg_identify_object('pg_catalog.pg_class'::pg_catalog.regclass, oid, 0)).type <> 'table'{not_held} \\gset
\\if :mm_exchanged
SELECT pg_catalog.json_build_object('exchanged', :'mm_which'); ROLLBACK;
\\quit
\\endif
SET TRANSACTION READ ONLY;
SELECT {statement} FROM ({tables}) AS t ORDER BY 1 \\gexec
"
        );
        let script = script(self.snapshot, settings, &body)?;
        // What holds the tables has begun the transaction.
        Ok(if held.is_some() { script.replacen(BEGIN, "", 1) } else { script })
    }
}

const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ;\n";

/// A script that sees one state, and in which names, operators and the texts of values depend on nobody's settings.
pub(super) fn script(snapshot: Option<&str>, settings: &str, body: &str) -> Result<String> {
    let snapshot = match snapshot {
        None => String::new(),
        Some(id) if id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') => {
            format!("SET TRANSACTION SNAPSHOT '{id}';\n")
        }
        Some(id) => return Err(Error::failed(format!("`{id}` is not the name of a snapshot"))),
    };
    Ok(format!(
        "{BEGIN}{snapshot}SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL intervalstyle = postgres; {settings}
SET LOCAL timezone = 'UTC'; SET LOCAL bytea_output = hex; SET LOCAL row_security = off;
SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = {LOCK_WAIT}; SET LOCAL idle_in_transaction_session_timeout = 0;
SET LOCAL standard_conforming_strings = on; SET LOCAL transform_null_equals = off;
{body}COMMIT;
"
    ))
}

/// The tables of all schemas of users.
pub(super) const ALL: &str = r"SELECT c.oid, n.oid AS schema, n.nspname, c.relname, c.relkind
 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'";

/// The tables of these names, each in the first of `schemas` that has anything of that name.
pub(super) fn named(schemas: &[String], names: &[&str]) -> String {
    let list = |texts: &mut dyn Iterator<Item = &str>| texts.map(literal).collect::<Vec<_>>().join(", ");
    format!(
        "SELECT oid, schema, nspname, relname, relkind FROM (
  SELECT DISTINCT ON (c.relname) c.oid, n.oid AS schema, n.nspname, c.relname, c.relkind
  FROM pg_catalog.unnest(ARRAY[{}]::pg_catalog.text[]) WITH ORDINALITY AS s(name, place)
  JOIN pg_catalog.pg_namespace n ON n.nspname = s.name
  JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = ANY (ARRAY[{}]::pg_catalog.name[])
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY c.relname, s.place) AS first WHERE relkind IN ('r', 'p')",
        list(&mut schemas.iter().map(String::as_str)),
        list(&mut names.iter().copied())
    )
}
