//! The rows of all tables: hashed by the server, over several connections where that is worth it, as one state shows them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::pieces::{self, Piece, Size};
use super::{Fingerprint, LIMIT, Method, TablePrint, hash_of};
use crate::contract::error::{Context as _, Error, Result};
use crate::machine::{signals, threads};
use crate::postgres::guarded::{self, Reading};
use crate::postgres::server::Database;

/// The values of a row of the table `c` as texts, in the order of their names: a table that inherits columns comes back with
/// them in another order. A value is its text as the server writes it; that of a type which is not PostgreSQL's own, of an
/// array, of a `char(n)` and of all that is rare is the text of a row of it alone: its owner can define a cast of the type,
/// and of an anonymous row nobody can.
const VALUES: &str = r#"coalesce((SELECT pg_catalog.string_agg(CASE
    WHEN atttypid IN ('pg_catalog.text'::pg_catalog.regtype, 'pg_catalog.varchar'::pg_catalog.regtype, 'pg_catalog.int2'::pg_catalog.regtype,
      'pg_catalog.int4'::pg_catalog.regtype, 'pg_catalog.int8'::pg_catalog.regtype, 'pg_catalog.bool'::pg_catalog.regtype,
      'pg_catalog.json'::pg_catalog.regtype, 'pg_catalog.jsonb'::pg_catalog.regtype)
      THEN pg_catalog.format('"mm row".%I::pg_catalog.text', attname)
    ELSE pg_catalog.format('ROW("mm row".%I)::pg_catalog.text', attname) END, ', ' ORDER BY attname COLLATE "C")
  FROM pg_catalog.pg_attribute WHERE attrelid = t.oid AND attnum > 0 AND NOT attisdropped), '')"#;

/// As [`VALUES`], hashed: for [`Method::Hash64`].
const HASHES: &str = r#"coalesce((SELECT pg_catalog.string_agg(CASE
    WHEN atttypid IN ('pg_catalog.text'::pg_catalog.regtype, 'pg_catalog.varchar'::pg_catalog.regtype) THEN pg_catalog.format('pg_catalog.hashtextextended("mm row".%I::pg_catalog.text COLLATE "C", 0)', attname)
    WHEN atttypid IN ('pg_catalog.int2'::pg_catalog.regtype, 'pg_catalog.int4'::pg_catalog.regtype, 'pg_catalog.int8'::pg_catalog.regtype) THEN pg_catalog.format('pg_catalog.hashint8extended("mm row".%I::pg_catalog.int8, 0)', attname)
    WHEN atttypid = 'pg_catalog.bool'::pg_catalog.regtype THEN pg_catalog.format('pg_catalog.hashint8extended("mm row".%I::pg_catalog.int4::pg_catalog.int8, 0)', attname)
    ELSE pg_catalog.format('pg_catalog.hashtextextended(ROW("mm row".%I)::pg_catalog.text COLLATE "C", 0)', attname) END, ', ' ORDER BY attname COLLATE "C")
  FROM pg_catalog.pg_attribute WHERE attrelid = t.oid AND attnum > 0 AND NOT attisdropped), '')"#;

/// What is read of a table, as a condition on the place of its rows.
const RANGE: &str = r#"CASE WHEN first IS NULL THEN '' ELSE pg_catalog.format(' AND "mm row".ctid >= %L', '(' || first || ',0)') END
  || CASE WHEN behind IS NULL THEN '' ELSE pg_catalog.format(' AND "mm row".ctid < %L', '(' || behind || ',0)') END"#;

/// Up to then a connection that failed did so because there was none to be had, and not because it waited.
const AT_ONCE: Duration = Duration::from_secs(20);

/// What is read in one statement.
struct Part {
    table: String,
    /// The file in which the table was: what rewrites a table gives it another one.
    file: Value,
    rows: u64,
    sum: i128,
}

/// Fingerprints every table of the database, hashed by `method`, over up to `jobs` connections.
///
/// # Errors
/// Also when the user may not read one of them: a fingerprint with gaps proves nothing.
pub fn tables_by(database: &Database, method: Method, jobs: usize) -> Result<Fingerprint> {
    read(database, method, None, jobs)
}

/// As [`tables_by`], as seen by an exported snapshot (see [`Database::snapshot`]).
pub fn tables_at(database: &Database, method: Method, snapshot: &str, jobs: usize) -> Result<Fingerprint> {
    read(database, method, Some(snapshot), jobs)
}

/// The names of the tables of a database.
pub fn names(database: &Database) -> Result<Vec<String>> {
    let names = format!(
        "SELECT pg_catalog.to_json(nspname || '.' || relname) FROM ({}) AS t ORDER BY nspname, relname;\n",
        guarded::ALL
    );
    let rows = database.script(&guarded::script(None, "", &names)?)?;
    Ok(rows.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect())
}

fn read(database: &Database, method: Method, snapshot: Option<&str>, jobs: usize) -> Result<Fingerprint> {
    let database = &database.clone().with_limit(LIMIT);
    let attempt = || format!("cannot fingerprint the tables of the database `{}`", database.name);
    let parts = if jobs > 1 && lots(database, snapshot, jobs)?.len() > 1 {
        // All see one state.
        let own = if snapshot.is_none() { Some(database.snapshot()?) } else { None };
        let snapshot = own.as_ref().map(crate::postgres::server::Snapshot::id).or(snapshot);
        Hashing { database, method, snapshot }.over(&lots(database, snapshot, jobs)?)
    } else {
        Hashing { database, method, snapshot }.all()
    };
    Ok(joined(parts.context(attempt)?))
}

/// How the tables are divided among connections.
fn lots(database: &Database, snapshot: Option<&str>, jobs: usize) -> Result<Vec<Vec<Piece>>> {
    let sizes = guarded::script(
        snapshot,
        "",
        &format!(
            "SELECT pg_catalog.json_build_array(t.oid::pg_catalog.int8,
  coalesce(pg_catalog.pg_relation_size(t.oid) / pg_catalog.current_setting('block_size')::pg_catalog.int8, 0), coalesce(pg_catalog.pg_table_size(t.oid), 0))
 FROM ({}) AS t;\n",
            guarded::ALL
        ),
    )?;
    let rows = database.script(&sizes)?;
    let size = |row: &Value| Some(Size { oid: row[0].as_u64()?, blocks: row[1].as_u64()?, bytes: row[2].as_u64()? });
    let sizes: Option<Vec<Size>> = rows.iter().map(size).collect();
    let sizes = sizes.ok_or_else(|| Error::failed("the database does not tell the sizes of its tables"))?;
    Ok(pieces::divide(&sizes, database.major(), jobs))
}

struct Hashing<'a> {
    database: &'a Database,
    method: Method,
    snapshot: Option<&'a str>,
}

impl Hashing<'_> {
    /// Every table, by one connection.
    fn all(&self) -> Result<Vec<Part>> {
        self.run(&format!(
            "SELECT a.*, NULL::pg_catalog.int8 AS first, NULL::pg_catalog.int8 AS behind FROM ({}) AS a",
            guarded::ALL
        ))
    }

    /// Each lot by a connection of its own. Where one cannot be had, what it was to read is read when the others are done.
    fn over(&self, lots: &[Vec<Piece>]) -> Result<Vec<Part>> {
        let done = threads::each(lots.len(), lots, |lot| {
            let started = Instant::now();
            (self.these(lot), started.elapsed())
        });
        let mut parts = Vec::new();
        for ((read, took), lot) in done.into_iter().zip(lots) {
            parts.extend(match read {
                Err(_) if took < AT_ONCE && signals::caught().is_none() => self.these(lot)?,
                read => read?,
            });
        }
        let rewritten = rewritten(&parts);
        if !rewritten.is_empty() {
            parts.retain(|part| !rewritten.contains(&part.table));
            parts.extend(self.all()?.into_iter().filter(|part| rewritten.contains(&part.table)));
        }
        Ok(parts)
    }

    fn these(&self, lot: &[Piece]) -> Result<Vec<Part>> {
        let bound = |bound: Option<u64>| bound.map_or_else(|| "NULL::pg_catalog.int8".to_owned(), |at| at.to_string());
        let rows: Vec<String> = lot
            .iter()
            .map(|piece| format!("({}::pg_catalog.oid, {}, {})", piece.oid, bound(piece.from), bound(piece.to)))
            .collect();
        let parts = self.run(&format!(
            "SELECT a.*, p.first, p.behind FROM ({}) AS a JOIN (VALUES {}) AS p(oid, first, behind) ON p.oid = a.oid",
            guarded::ALL,
            rows.join(", ")
        ))?;
        if parts.len() == lot.len() {
            return Ok(parts);
        }
        Err(Error::failed("the tables are not those any more that were listed").because(format!(
            "{} of {} could be read",
            parts.len(),
            lot.len()
        )))
    }

    fn run(&self, tables: &str) -> Result<Vec<Part>> {
        // The alias is no name a column would have: `t::text` would mean the column `t` of a table that has one. And the row
        // is put together anew: a cast of the table's own row type can be defined by its owner, one of an anonymous row by
        // nobody. Their texts are the same.
        let (settings, columns, hash) = match self.method {
            Method::Md5 => (
                "SET LOCAL extra_float_digits = 0;",
                "NULL::pg_catalog.text",
                hash_of("ROW(\"mm row\".*)::pg_catalog.text COLLATE \"C\""),
            ),
            Method::Hash64 => {
                let row =
                    "pg_catalog.hashint8extended(pg_catalog.hash_array_extended(ARRAY[%4$s]::pg_catalog.int8[], 0), 0)";
                ("SET LOCAL extra_float_digits = 1;", HASHES, sum_of(row))
            }
            Method::Values => {
                let row = "pg_catalog.hashtextextended('' COLLATE \"C\", pg_catalog.hash_array_extended(ARRAY[%4$s]::pg_catalog.text[] COLLATE \"C\", 0))";
                ("SET LOCAL extra_float_digits = 1; SET LOCAL lc_monetary = 'C';", VALUES, sum_of(row))
            }
        };
        // Of the earlier forms two names with a dot in them may be one.
        let name = match self.method {
            Method::Values => {
                "CASE WHEN nspname || relname LIKE '%.%' THEN pg_catalog.format('%I.%I', nspname, relname) ELSE nspname || '.' || relname END"
            }
            _ => "nspname || '.' || relname",
        };
        let select = format!(
            "SELECT pg_catalog.row_to_json(x) FROM (SELECT %1$L AS t, %6$L AS f, pg_catalog.count(*) AS n, {hash} AS h FROM ONLY %2$I.%3$I AS \"mm row\" WHERE true%5$s) AS x"
        );
        let statement = format!(
            "pg_catalog.format($mm${select}$mm$, {name}, nspname, relname, {columns}, {RANGE}, pg_catalog.pg_relation_filenode(oid))"
        );
        let reading = Reading { snapshot: self.snapshot, settings, tables, statement: &statement };
        reading.run(self.database)?.iter().map(part).collect()
    }
}

/// The tables that were rewritten between two connections: their ranges are not those of one and the same file.
fn rewritten(parts: &[Part]) -> BTreeSet<String> {
    let mut files: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for part in parts {
        files.entry(&part.table).or_default().insert(part.file.to_string());
    }
    files.into_iter().filter(|(_, files)| files.len() > 1).map(|(table, _)| table.to_owned()).collect()
}

fn sum_of(row: &str) -> String {
    format!("coalesce(pg_catalog.sum({row}), 0)::pg_catalog.text")
}

fn part(row: &Value) -> Result<Part> {
    let read = || {
        let (table, rows) = (row["t"].as_str()?.to_owned(), row["n"].as_u64()?);
        Some(Part { table, rows, sum: row["h"].as_str()?.parse().ok()?, file: row["f"].clone() })
    };
    read().ok_or_else(|| Error::failed("the database gave a fingerprint without its numbers"))
}

/// One print of each table.
fn joined(parts: Vec<Part>) -> Fingerprint {
    let mut sums: BTreeMap<String, (u64, i128)> = BTreeMap::new();
    for Part { table, rows, sum, .. } in parts {
        let whole = sums.entry(table).or_default();
        // The sum of as many 64-bit numbers as there can be rows fits.
        *whole = (whole.0 + rows, whole.1.wrapping_add(sum));
    }
    sums.into_iter().map(|(table, (rows, sum))| (table, TablePrint { rows, hash: sum.to_string() })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(table: &str, file: u64, rows: u64, sum: i128) -> Part {
        Part { table: table.into(), file: file.into(), rows, sum }
    }

    #[test]
    fn ranges_of_a_table_are_added_and_one_that_was_rewritten_meanwhile_is_known() {
        let parts = vec![piece("a", 7, 2, -5), piece("b", 9, 1, 1), piece("a", 7, 3, 4)];
        assert!(rewritten(&parts).is_empty());
        assert_eq!(joined(parts)["a"], TablePrint { rows: 5, hash: "-1".into() });
        let parts = [piece("a", 7, 2, -5), piece("b", 9, 1, 1), piece("a", 8, 3, 4)];
        assert_eq!(rewritten(&parts), ["a".to_owned()].into());
    }
}
