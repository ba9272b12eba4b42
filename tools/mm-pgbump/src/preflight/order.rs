//! The order and the completeness of B-tree indexes, by nothing but reading: each is read from one end to the other as
//! PostgreSQL reads it for an `ORDER BY`, every key is compared with the one before it as the collation has it now, and
//! the rows are counted beside those of the table.
//!
//! An index that is out of order makes lookups miss rows that are there: what a new C library does to text. What is
//! not seen in this way are the pages above the leaves; amcheck looks at those as well.

use std::collections::{BTreeMap, BTreeSet};

use mm_common::Result;
use mm_common::contract::ui;
use mm_common::postgres::dump::literal;
use mm_common::postgres::server::Database;
use serde::Deserialize;
use serde_json::Value;

use super::indexes::{FOREIGN_CODE, FOREIGN_WHY};

/// What is known of an index after the look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// Every row is in it, in its order.
    Sound,
    /// What is wrong with it.
    Broken(String),
    /// Why it could not be read in its order.
    Unknown(String),
}

/// An index, as the catalogue describes it.
#[derive(Debug, Deserialize)]
struct Index {
    /// With its schema.
    called: String,
    name: String,
    /// The table, with its schema, quoted.
    table: String,
    /// The condition of a partial index.
    only: Option<String>,
    /// It is not for us to compute its keys.
    foreign: bool,
    keys: Vec<Key>,
}

/// A column of an index, or an expression.
#[derive(Debug, Deserialize)]
struct Key {
    expression: String,
    /// Quoted; `None` for what is no text.
    collation: Option<String>,
    /// The operator that holds between a key and the next: `<`, or `>` for `DESC`, of the operator class.
    before: Option<String>,
    /// The operator class's `=`.
    same: Option<String>,
    nulls_first: bool,
    /// A row type, whose NULLs are not those of SQL.
    composite: bool,
}

const SETTINGS: &str = r"SET search_path = pg_catalog, pg_temp; SET statement_timeout = 0;
SELECT pg_catalog.format('SET %I = off', name) FROM pg_catalog.pg_settings WHERE name IN ('jit', 'enable_bitmapscan', 'enable_sort', 'enable_incremental_sort') \gexec
";
const BY_INDEX: &str = "SET enable_seqscan = off; SET enable_indexscan = on; SET enable_indexonlyscan = on; SET max_parallel_workers_per_gather = 0;\n";
const BY_TABLE: &str = "SET enable_seqscan = on; SET enable_indexscan = off; SET enable_indexonlyscan = off;\n";

/// From here on a statement that fails ends neither the script nor the transaction.
pub(super) const GO_ON: &str = "\\set ON_ERROR_STOP off\n\\set ON_ERROR_ROLLBACK on\n";

/// From here on it ends both again.
pub(super) const GO_ON_NO_MORE: &str = "\\set ON_ERROR_STOP on\n\\set ON_ERROR_ROLLBACK off\n";

fn list() -> String {
    format!(
        r"{SETTINGS}
SELECT pg_catalog.row_to_json(i) FROM (
SELECT x.indexrelid::pg_catalog.regclass::pg_catalog.text AS called, c.relname AS name, x.indrelid::pg_catalog.regclass::pg_catalog.text AS table,
       pg_catalog.pg_get_expr(x.indpred, x.indrelid) AS only, {FOREIGN_CODE} AS foreign,
       (SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
                 'expression', pg_catalog.pg_get_indexdef(x.indexrelid, k, false),
                 'collation', (SELECT pg_catalog.format('%I.%I', nspname, collname) FROM pg_catalog.pg_collation l JOIN pg_catalog.pg_namespace n ON n.oid = collnamespace
                                WHERE l.oid = x.indcollation[k - 1]),
                 'before', (SELECT pg_catalog.format('OPERATOR(%I.%s)', nspname, oprname) FROM pg_catalog.pg_amop JOIN pg_catalog.pg_operator o ON o.oid = amopopr
                              JOIN pg_catalog.pg_namespace n ON n.oid = oprnamespace
                             WHERE amopfamily = opcfamily AND amoplefttype = opcintype AND amoprighttype = opcintype
                               AND amopstrategy = CASE x.indoption[k - 1] & 1 WHEN 1 THEN 5 ELSE 1 END),
                 'same', (SELECT pg_catalog.format('OPERATOR(%I.%s)', nspname, oprname) FROM pg_catalog.pg_amop JOIN pg_catalog.pg_operator o ON o.oid = amopopr
                            JOIN pg_catalog.pg_namespace n ON n.oid = oprnamespace
                           WHERE amopfamily = opcfamily AND amoplefttype = opcintype AND amoprighttype = opcintype AND amopstrategy = 3),
                 'nulls_first', x.indoption[k - 1] & 2 <> 0,
                 'composite', opcintype = 'record'::pg_catalog.regtype) ORDER BY k)
          FROM pg_catalog.generate_series(1, x.indnkeyatts::int) k JOIN pg_catalog.pg_opclass q ON q.oid = x.indclass[k - 1]) AS keys
  FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class c ON c.oid = x.indexrelid JOIN pg_catalog.pg_class t ON t.oid = x.indrelid
 WHERE c.relam = (SELECT oid FROM pg_catalog.pg_am WHERE amname = 'btree') AND c.relkind = 'i' AND c.relpersistence <> 't'
   AND indisvalid AND indisready AND t.relkind = 'r'
   AND t.relnamespace NOT IN ('pg_catalog'::pg_catalog.regnamespace, 'pg_toast'::pg_catalog.regnamespace, 'information_schema'::pg_catalog.regnamespace)
 ORDER BY 1) AS i;
"
    )
}

impl Index {
    /// Why it cannot be asked at all.
    fn obstacle(&self) -> Option<&'static str> {
        if self.foreign {
            Some(FOREIGN_WHY)
        } else if self.keys.iter().any(|key| key.composite || key.before.is_none() || key.same.is_none()) {
            Some("its keys cannot be compared one by one")
        } else {
            None
        }
    }

    fn condition(&self) -> String {
        self.only.as_ref().map(|only| format!(" WHERE ({only})")).unwrap_or_default()
    }

    /// All rows, and those whose key does not belong after the one before.
    fn question(&self) -> String {
        let (mut selected, mut order, mut beside) = (Vec::new(), Vec::new(), Vec::new());
        for (key, n) in self.keys.iter().zip(1..) {
            let collate = key.collation.as_ref().map(|name| format!(" COLLATE {name}")).unwrap_or_default();
            let nulls = if key.nulls_first { "FIRST" } else { "LAST" };
            selected.push(format!("({}){collate} AS k{n}", key.expression));
            order.push(format!("{n} USING {} NULLS {nulls}", key.before.as_deref().unwrap_or_default()));
            beside.push(format!("k{n}, lag(k{n}) OVER w AS p{n}"));
        }
        format!(
            "SELECT pg_catalog.count(*) AS rows, pg_catalog.count(*) FILTER (WHERE later AND ({})) AS wrong FROM (SELECT pg_catalog.lag(true) OVER w AS later, {} \
             FROM (SELECT {} FROM ONLY {}{} ORDER BY {}) AS s WINDOW w AS ()) AS t",
            disordered(&self.keys),
            beside.join(", "),
            selected.join(", "),
            self.table,
            self.condition(),
            order.join(", "),
        )
    }

    /// How many rows it has to hold.
    fn count(&self) -> String {
        format!("SELECT pg_catalog.count(*) AS rows FROM ONLY {}{}", self.table, self.condition())
    }
}

/// Whether the keys `k1, k2, ...` come before `p1, p2, ...`, which stand before them in the index.
fn disordered(keys: &[Key]) -> String {
    let column = |(key, n): (&Key, usize)| {
        let before = key.before.as_deref().unwrap_or_default();
        let nulls = if key.nulls_first {
            format!("k{n} IS NULL AND p{n} IS NOT NULL")
        } else {
            format!("p{n} IS NULL AND k{n} IS NOT NULL")
        };
        (
            format!("k{n} {before} p{n} OR {nulls}"),
            format!("(k{n} {} p{n} OR k{n} IS NULL AND p{n} IS NULL)", key.same.as_deref().unwrap_or_default()),
        )
    };
    let columns: Vec<(String, String)> = keys.iter().zip(1..).map(column).collect();
    columns.into_iter().rfold(String::new(), |rest, (wrong, equal)| {
        if rest.is_empty() { wrong } else { format!("{wrong} OR {equal} AND ({rest})") }
    })
}

/// Why a plan does not read this index from its one end to the other, and nothing else.
fn not_by_index(plan: &Value, name: &str) -> Option<String> {
    let mut node = &plan[0]["Plan"];
    loop {
        match node["Node Type"].as_str().unwrap_or_default() {
            "Aggregate" | "WindowAgg" | "Subquery Scan" => node = &node["Plans"][0],
            "Index Scan" | "Index Only Scan" if node["Index Name"] == name => {
                let whole = node["Scan Direction"] == "Forward" && node.get("Index Cond").is_none();
                return (!whole).then(|| "PostgreSQL does not read it as a whole".to_owned());
            }
            "Index Scan" | "Index Only Scan" => {
                let other = node["Index Name"].as_str().unwrap_or("another");
                return Some(format!("PostgreSQL reads {other} in its place, which has the same order"));
            }
            _ => return Some("PostgreSQL does not read it for its order".to_owned()),
        }
    }
}

/// Every B-tree index of the users' tables in a database, whose tables are held as they are ([`mm_common::postgres::fingerprint::hold`]).
///
/// # Errors
/// When the database cannot be asked; what is the matter with one index is its state.
pub(super) fn of_all(database: &Database) -> Result<Vec<(String, State)>> {
    let listed = database.script(&list())?;
    let indexes: Vec<Index> =
        listed.into_iter().map(serde_json::from_value).collect::<std::result::Result<_, _>>().map_err(|error| {
            mm_common::Error::failed(format!("cannot understand the indexes of the database `{}`", database.name))
                .because(error)
        })?;
    let mut states: Vec<State> = indexes
        .iter()
        .map(|index| State::Unknown(index.obstacle().unwrap_or("PostgreSQL did not answer").to_owned()))
        .collect();
    let mut chosen: Vec<usize> = (0..indexes.len()).filter(|at| indexes[*at].obstacle().is_none()).collect();
    if chosen.is_empty() {
        return Ok(called(&indexes, states));
    }
    let explain = chosen.iter().map(|at| {
        format!("EXPLAIN (FORMAT JSON, COSTS OFF) {};\n{}", indexes[*at].question(), or_else("SELECT 'null'"))
    });
    let plans =
        database.script(&format!("{SETTINGS}{BY_INDEX}{GO_ON}{}{GO_ON_NO_MORE}", explain.collect::<String>()))?;
    let mut plans = plans.iter();
    chosen.retain(|at| {
        let why = not_by_index(plans.next().unwrap_or(&Value::Null), &indexes[*at].name);
        let good = why.is_none();
        if let Some(why) = why {
            states[*at] = State::Unknown(why);
        }
        good
    });
    let tables: BTreeSet<String> = chosen.iter().map(|at| indexes[*at].count()).collect();
    let tables: Vec<String> = tables.into_iter().collect();
    let answers = answers(&database.script(&script(&indexes, &chosen, &tables))?);
    for at in chosen {
        let table = tables.iter().position(|count| *count == indexes[at].count()).unwrap_or_default();
        if let (Some(index), Some(table)) = (answers.get(&(true, at)), answers.get(&(false, table))) {
            states[at] = judge(index, table);
        }
    }
    Ok(called(&indexes, states))
}

fn called(indexes: &[Index], states: Vec<State>) -> Vec<(String, State)> {
    indexes.iter().map(|index| index.called.clone()).zip(states).collect()
}

/// A statement for when the one before it has failed.
fn or_else(sql: &str) -> String {
    format!("\\if :ERROR\n{sql};\n\\endif\n")
}

/// As a statement that says nothing where it succeeds, and what failed of what it is about (`of`) where it does not.
pub(super) fn or_error(sql: &str, of: &str) -> String {
    let failed =
        or_else(&format!("SELECT pg_catalog.json_build_object('of', {}, 'error', :'LAST_ERROR_MESSAGE')", literal(of)));
    format!("{sql};\n{failed}")
}

/// Asks for all of them under one snapshot. What fails is told as an answer, and the others are asked all the same.
fn script(indexes: &[Index], chosen: &[usize], tables: &[String]) -> String {
    let ask = |index: bool, at: usize, sql: &str| {
        let of = format!("'index', {index}, 'at', {at}");
        let wrong = if index { ", 'wrong', wrong" } else { "" };
        let failed = or_else(&format!("SELECT pg_catalog.json_build_object({of}, 'error', :'LAST_ERROR_MESSAGE')"));
        format!("SELECT pg_catalog.json_build_object({of}, 'rows', rows{wrong}) FROM ({sql}) AS q;\n{failed}")
    };
    let by_table: String = tables.iter().zip(0..).map(|(sql, at)| ask(false, at, sql)).collect();
    let by_index: String = chosen.iter().map(|at| ask(true, *at, &indexes[*at].question())).collect();
    format!("{SETTINGS}{GO_ON}{BY_TABLE}{by_table}{BY_INDEX}{by_index}{GO_ON_NO_MORE}")
}

/// By what was asked (an index, or a table) and its number.
fn answers(rows: &[Value]) -> BTreeMap<(bool, usize), Value> {
    let key = |row: &Value| Some((row["index"].as_bool()?, usize::try_from(row["at"].as_u64()?).ok()?));
    rows.iter().filter_map(|row| Some((key(row)?, row.clone()))).collect()
}

/// What the two answers say together.
fn judge(index: &Value, table: &Value) -> State {
    if let Some(error) = index["error"].as_str() {
        return State::Broken(format!("it cannot be read: {error}"));
    }
    let (Some(held), Some(wrong)) = (index["rows"].as_u64(), index["wrong"].as_u64()) else {
        return State::Unknown("PostgreSQL did not answer".to_owned());
    };
    if wrong > 0 {
        return State::Broken(format!(
            "out of the order of its collation or type: {wrong} of {}",
            ui::count(held, "row")
        ));
    }
    match table["rows"].as_u64() {
        Some(rows) if rows == held => State::Sound,
        Some(rows) => State::Broken(format!("it holds {} where the table has {rows}", ui::count(held, "row"))),
        None => State::Unknown(format!("its table cannot be counted: {}", table["error"].as_str().unwrap_or("?"))),
    }
}
