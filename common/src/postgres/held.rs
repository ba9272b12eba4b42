//! Tables of others that a superuser may read. Whoever plans a statement over a table evaluates what is constant in the
//! expressions of its indexes, of its extended statistics and of its partitioning, and so runs functions of its owner:
//! `CREATE INDEX ON posts ((evil(1)))` is enough, whatever the statement says (observed on 13 and 15). So it is looked at
//! first, and meanwhile nobody may make such things: in a transaction of its own, which sees the present where the one that
//! reads may see the past.

use serde::Deserialize;
use serde_json::Value;

use super::server::Database;
use super::session::LOCK_WAIT;
use super::standing::Standing;
use crate::contract::error::{Context as _, Error, Result};

/// First version whose extended statistics have expressions.
const STATISTICS: u32 = 140_000;

/// Tables that nobody can hang expressions on until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    oids: Vec<u64>,
    _standing: Standing,
}

impl Held {
    /// Holds the tables that a query gives (`oid`, `nspname`, `relname`, `relkind`).
    ///
    /// # Errors
    /// Refused when a function of somebody who is no superuser would run.
    pub(super) fn of(superuser: &Database, tables: &str) -> Result<Self> {
        let attempt = || format!("cannot hold the tables of the database `{}` as they are", superuser.name);
        let standing = superuser.standing(&script(superuser.version_num, tables)).context(attempt)?;
        let said: Value = serde_json::from_str(&standing.said).context(attempt)?;
        let found: Vec<Run> = serde_json::from_value(said["runs"].clone()).context(attempt)?;
        let mut reasons = found.into_iter().filter(Run::is_early).map(|run| run.reason).peekable();
        if reasons.peek().is_some() {
            let error = Error::refused(format!(
                "functions of others would run as a superuser as soon as the database `{}` is read",
                superuser.name
            ));
            return Err(reasons.fold(error, Error::because).hint(
                "read what each of them does; one that does no harm may be given to a superuser: ALTER FUNCTION ... OWNER TO \
                 postgres. Else drop what uses it",
            ));
        }
        let oids = said["oids"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
        Ok(Self { oids, _standing: standing })
    }

    /// The tables that are held, as an array of SQL.
    pub(super) fn oids(&self) -> String {
        let oids: Vec<String> = self.oids.iter().map(ToString::to_string).collect();
        format!("'{{{}}}'::pg_catalog.oid[]", oids.join(","))
    }
}

/// A function or an operator of somebody who is no superuser, in an expression.
#[derive(Debug, Deserialize)]
struct Run {
    reason: String,
    /// Its number in the catalogue.
    number: u64,
    /// It is a function whose call stays one: a text in SQL is put in its place, and defaults are added.
    plain: bool,
    /// The expression, as the catalogue has it.
    tree: String,
}

impl Run {
    /// Whether it may run when a statement is planned: not where every call of it has the value of a column among its
    /// arguments, which is not known then. What could become a constant in any other way is taken for one.
    fn is_early(&self) -> bool {
        let mentions = |node: &str| {
            let calls = [":funcid", ":opno", ":opfuncid"].map(|key| format!("{key} {} ", self.number));
            calls.iter().any(|call| node.contains(call.as_str()))
        };
        let (mut rest, mut met) = (self.tree.clone(), false);
        // From the innermost node outwards: each becomes a letter.
        while let Some(end) = rest.find('}') {
            let Some(start) = rest[..end].rfind('{') else { return true };
            let node = &rest[start + 1..end];
            let letter = letter(node);
            if mentions(node) {
                if letter != COLUMN || !self.plain {
                    return true;
                }
                met = true;
            }
            rest.replace_range(start..=end, letter);
        }
        !met
    }
}

/// What has the value of a column in it.
const COLUMN: &str = "V";

/// What a node of an expression, whose own nodes are letters already, comes to.
fn letter(node: &str) -> &'static str {
    let arguments = |key: &str, end: char| Some(node.split_once(key)?.1.split_once(end)?.0.trim().to_owned());
    let is_column = match node.split(' ').next() {
        Some("VAR") => true,
        Some("CONST") if node.contains(":constisnull false") => return "C",
        Some("RELABELTYPE") => arguments(":arg ", ':').is_some_and(|argument| argument == COLUMN),
        Some("FUNCEXPR" | "OPEXPR") => arguments(":args (", ')').is_some_and(|list| {
            let mut letters = list.split(' ');
            list.contains(COLUMN) && letters.all(|letter| matches!(letter, COLUMN | "C"))
        }),
        _ => false,
    };
    if is_column { COLUMN } else { "?" }
}

/// `ROW EXCLUSIVE` lets others write, and keeps them from making an index, or one that is being made from becoming valid:
/// before that, nobody plans with it. `SHARE` on the list of statistics keeps them from making any, and analyses wait. A
/// partitioned table nobody vacuums, and none gets further partitions.
fn script(version_num: u32, tables: &str) -> String {
    let statistics = if version_num >= STATISTICS {
        "SELECT NOT pg_catalog.pg_is_in_recovery() AS mm_locks \\gset
\\if :mm_locks
LOCK TABLE pg_catalog.pg_statistic_ext IN SHARE MODE;
\\endif
"
    } else {
        ""
    };
    format!(
        "BEGIN;
SET LOCAL lock_timeout = {LOCK_WAIT};
{statistics}SELECT pg_catalog.format('LOCK TABLE %I.%I IN %s MODE', t.nspname, t.relname,
  CASE t.relkind WHEN 'p' THEN 'SHARE UPDATE EXCLUSIVE' ELSE 'ROW EXCLUSIVE' END)
 FROM ({tables}) AS t \\gexec
WITH RECURSIVE held AS (SELECT oid FROM ({tables}) AS t
  UNION SELECT CASE i.inhparent WHEN h.oid THEN i.inhrelid ELSE i.inhparent END
   FROM pg_catalog.pg_inherits i JOIN held h ON h.oid IN (i.inhparent, i.inhrelid)),
 evaluated AS (
  SELECT 'pg_catalog.pg_class'::pg_catalog.regclass AS kind, indexrelid AS object,
   pg_catalog.concat(indexprs::pg_catalog.text, indpred::pg_catalog.text) AS tree FROM pg_catalog.pg_index
   WHERE indrelid IN (SELECT oid FROM held) AND (indexprs IS NOT NULL OR indpred IS NOT NULL)
  UNION ALL SELECT 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass, oid, pg_catalog.to_jsonb(s) ->> 'stxexprs' FROM pg_catalog.pg_statistic_ext s
   WHERE stxrelid IN (SELECT oid FROM held)
  UNION ALL SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, partrelid, partexprs::pg_catalog.text FROM pg_catalog.pg_partitioned_table
   WHERE partrelid IN (SELECT oid FROM held)),
 runs AS (SELECT DISTINCT pg_catalog.format('%s uses the %s of %s', pg_catalog.pg_describe_object(d.classid, d.objid, 0),
   pg_catalog.pg_describe_object(d.refclassid, d.refobjid, 0), pg_catalog.quote_ident(r.rolname)) AS reason,
   d.refobjid::pg_catalog.int8 AS number, coalesce(e.tree, '') AS tree,
   coalesce(p.pronargdefaults = 0 AND l.lanname <> 'sql', false) AS plain
  FROM evaluated e JOIN pg_catalog.pg_depend d ON d.classid = e.kind AND d.objid = e.object
  LEFT JOIN pg_catalog.pg_proc p ON d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND p.oid = d.refobjid
  LEFT JOIN pg_catalog.pg_language l ON l.oid = p.prolang
  LEFT JOIN pg_catalog.pg_operator o ON d.refclassid = 'pg_catalog.pg_operator'::pg_catalog.regclass AND o.oid = d.refobjid
  JOIN pg_catalog.pg_roles r ON r.oid = coalesce(p.proowner, o.oprowner) AND NOT r.rolsuper)
SELECT pg_catalog.jsonb_build_object(
  'oids', (SELECT coalesce(pg_catalog.jsonb_agg(oid::pg_catalog.int8), '[]') FROM held),
  'runs', (SELECT coalesce(pg_catalog.jsonb_agg(runs ORDER BY reason), '[]') FROM runs));
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expressions as PostgreSQL 15 writes them, shortened.
    #[test]
    fn a_call_with_a_column_among_its_arguments_waits_for_it() {
        let call =
            |arguments: &str| format!("{{FUNCEXPR :funcid 16400 :funcresulttype 25 :args ({arguments}) :location 9}}");
        let (column, constant) = (
            "{VAR :varno 1 :varattno 2 :location 5}",
            "{CONST :consttype 23 :constisnull false :constvalue 4 [ 1 0 0 0 ]}",
        );
        let null = "{CONST :consttype 23 :constisnull true :constvalue <>}";
        let as_text = format!("{{RELABELTYPE :arg {column} :resulttype 25 :relabelformat 2}}");
        let either = format!("{{COALESCE :coalescetype 23 :args ({constant} {column}) :location 1}}");
        let lower = |arguments: &str| format!("{{FUNCEXPR :funcid 870 :args ({arguments}) :location 1}}");
        for (tree, early) in [
            (call(column), false),
            (call(&as_text), false),
            (call(&format!("{constant} {}", lower(column))), false),
            (format!("({} {})", call(column), call(column)), false),
            (call(constant), true),
            (call(""), true),
            (call(&format!("{column} {}", call(constant))), true),
            // Strict functions of NULL are NULL; and what COALESCE takes first is taken.
            (call(&lower(&format!("{column} {null}"))), true),
            (call(&either), true),
            (format!("{{SCALARARRAYOPEXPR :opno 98 :opfuncid 16400 :args ({column})}}"), true),
            (String::new(), true),
        ] {
            let run = |plain| Run { reason: String::new(), number: 16400, plain, tree: tree.clone() };
            assert_eq!(run(true).is_early(), early, "{tree}");
            assert!(run(false).is_early(), "{tree}");
        }
    }
}
