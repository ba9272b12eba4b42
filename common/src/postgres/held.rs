//! Tables of others that a superuser may read. Whoever plans a statement over a table evaluates what is constant in the
//! expressions of its indexes, of its extended statistics and of its partitioning, and so runs functions of its owner:
//! `CREATE INDEX ON posts ((evil(1)))` is enough, whatever the statement says (observed on 13 and 15). So nobody may make
//! such things from before it is looked whether there are any, until everything is read.
//!
//! What holds the tables is what reads them. Held by another session, both would wait for each other as soon as anybody
//! wants to change a table in between: the one who reads behind him, he behind the one who holds, and that one for the reader.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::dump::literal;
use super::fingerprint::LIMIT;
use super::foreign::{self, Use};
use super::server::Database;
use super::session::LOCK_WAIT;
use crate::contract::error::{Context as _, Error, Result};

/// First version whose extended statistics have expressions.
const STATISTICS: u32 = 140_000;

/// How often it is begun again where tables are exchanged at that moment.
const ATTEMPTS: usize = 5;

/// Tables that nobody can hang expressions on until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    oids: Vec<u64>,
    database: Database,
}

impl Held {
    /// Holds the tables that a query gives (`oid`, `nspname`, `relname`, `relkind`).
    ///
    /// # Errors
    /// Refused when a function of somebody who is no superuser would run.
    pub(super) fn of(superuser: &Database, tables: &str) -> Result<Self> {
        let attempt = || format!("cannot hold the tables of the database `{}` as they are", superuser.name);
        for _ in 0..ATTEMPTS {
            if let Some(held) = Self::at_once(superuser, tables).map_err(|error| error.within(attempt()))? {
                return Ok(held);
            }
        }
        Err(Error::failed(attempt())
            .because("tables or schemas are exchanged all the time")
            .hint("whoever may change tables there does that: find out who, then run this again"))
    }

    /// None where tables were exchanged meanwhile.
    fn at_once(superuser: &Database, tables: &str) -> Result<Option<Self>> {
        let listed = superuser.rows(&format!(
            "SELECT DISTINCT oid::pg_catalog.int8 AS oid, relkind = 'p' AS divided, pg_catalog.format('%I.%I', nspname, relname) AS name
             FROM ({tables}) AS t ORDER BY name"
        ))?;
        let listed: Vec<Table> =
            serde_json::from_value(listed.into()).context(|| "cannot understand the list".to_owned())?;
        let database = superuser.clone().with_limit(LIMIT).in_one_session();
        if let Err(error) = database.script(&locks(superuser.version_num, &listed)) {
            // One is not there any more: a list that is made now says so.
            let is_gone = superuser.rows(&exchanged(&listed)).is_ok_and(|gone| !gone.is_empty());
            return if is_gone { Ok(None) } else { Err(error) };
        }
        // Asked by another session: it sees the present, where the one that holds may come to see the past.
        if !superuser.rows(&exchanged(&listed))?.is_empty() {
            return Ok(None);
        }
        let oids: Vec<u64> = listed.iter().map(|table| table.oid).collect();
        let early: Vec<Use> = foreign::read(superuser, &evaluated(&oids))?.into_iter().filter(Use::is_early).collect();
        if early.is_empty() { Ok(Some(Self { oids, database })) } else { Err(refusal(superuser, &early)) }
    }

    /// The database as the session sees it that holds the tables: what it is asked is asked in its transaction, which has
    /// seen nothing yet.
    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    /// The tables that are held, as an array of SQL.
    pub(super) fn oids(&self) -> String {
        array(&self.oids)
    }
}

/// A table that is to be held.
#[derive(Debug, Deserialize)]
struct Table {
    oid: u64,
    /// It is partitioned: it has no rows of its own.
    divided: bool,
    /// With its schema, quoted.
    name: String,
}

fn array(oids: &[u64]) -> String {
    let oids: Vec<String> = oids.iter().map(ToString::to_string).collect();
    format!("'{{{}}}'::pg_catalog.oid[]", oids.join(","))
}

/// There is no `--accept`: what a function does can be another thing as soon as it has been read. One that belongs to a
/// superuser stays what it was, and runs as whoever calls it.
fn refusal(superuser: &Database, early: &[Use]) -> Error {
    let reasons: BTreeSet<&str> = early.iter().map(|one| one.reason.as_str()).collect();
    let error = Error::refused(format!(
        "functions of others would run as a superuser as soon as the database `{}` is read",
        superuser.name
    ));
    reasons.into_iter().fold(error, Error::because).hint(foreign::hint(superuser, early.iter().map(Use::given)))
}

/// `ROW EXCLUSIVE` lets others write, and keeps them from making an index, or one that is being made from becoming valid:
/// before that, nobody plans with it. `SHARE` on the list of statistics keeps them from making any, and analyses wait. A
/// partitioned table nobody vacuums, and none gets further partitions.
///
/// Nothing of it sees the database: which state the transaction sees is for who reads to say.
fn locks(version_num: u32, tables: &[Table]) -> String {
    let statistics = if version_num >= STATISTICS {
        "\\if :mm_locks\nLOCK TABLE pg_catalog.pg_statistic_ext IN SHARE MODE;\n\\endif\n"
    } else {
        ""
    };
    let lock = |table: &Table| {
        if table.divided {
            // A standby takes no such lock, and lets nobody make anything either.
            format!("\\if :mm_locks\nLOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE;\n\\endif", table.name)
        } else {
            format!("LOCK TABLE {} IN ROW EXCLUSIVE MODE;", table.name)
        }
    };
    let tables = tables.iter().map(lock).collect::<Vec<_>>().join("\n");
    format!(
        "SELECT NOT pg_catalog.pg_is_in_recovery() AS mm_locks \\gset
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = {LOCK_WAIT}; SET LOCAL idle_in_transaction_session_timeout = 0;
{statistics}{tables}"
    )
}

/// Which of these names are not those of these tables any more.
fn exchanged(tables: &[Table]) -> String {
    let rows: Vec<String> =
        tables.iter().map(|table| format!("({}::pg_catalog.oid, {})", table.oid, literal(&table.name))).collect();
    if rows.is_empty() {
        return "SELECT WHERE false".to_owned();
    }
    format!(
        "SELECT t.name FROM (VALUES {}) AS t(oid, name) WHERE pg_catalog.to_regclass(t.name) IS DISTINCT FROM t.oid::pg_catalog.regclass
           OR (pg_catalog.pg_identify_object('pg_catalog.pg_class'::pg_catalog.regclass, t.oid, 0)).type <> 'table'",
        rows.join(", ")
    )
}

/// What is evaluated to plan statements over these tables, as far as it is somebody's who is no superuser.
fn evaluated(oids: &[u64]) -> String {
    foreign::uses(
        &format!(
            "held AS (SELECT oid FROM pg_catalog.unnest({}) AS t(oid)
  UNION SELECT CASE i.inhparent WHEN h.oid THEN i.inhrelid ELSE i.inhparent END
   FROM pg_catalog.pg_inherits i JOIN held h ON h.oid IN (i.inhparent, i.inhrelid))",
            array(oids)
        ),
        &[foreign::INDEXES, foreign::STATISTICS, foreign::PARTITIONS]
            .map(|of| format!("{of} IN (SELECT oid FROM held)")),
    )
}
