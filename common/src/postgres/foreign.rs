//! Functions and operators that are not a superuser's, in expressions that a superuser would evaluate.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::server::Database;
use crate::contract::error::{Context as _, Result};

/// A function or an operator of somebody who is no superuser, in an expression.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Use {
    /// What uses it, what it is and whose.
    pub(super) reason: String,
    /// The statements after which it is a superuser's.
    given: String,
    /// Its number in the catalogue.
    number: u64,
    /// It is a function whose call stays one: defaults are added, and the text of one in SQL is put in its place.
    plain: bool,
    /// The expression, as the catalogue has it.
    tree: String,
}

impl Use {
    /// The statements after which it is a superuser's.
    pub(super) fn given(&self) -> &str {
        &self.given
    }

    /// Whether it may run when a statement is planned: not where every call of it has the value of a column among its
    /// arguments, which is not known then. What could become a constant in any other way is taken for one.
    pub(super) fn is_early(&self) -> bool {
        is_early(&self.tree, self.plain, |node| {
            let calls = [":funcid", ":opno", ":opfuncid"].map(|key| format!("{key} {} ", self.number));
            calls.iter().any(|call| node.contains(call.as_str()))
        })
    }
}

/// Whether a node of an expression that is `meant` may be computed before any row is known; also where none is found.
pub(super) fn is_early(tree: &str, plain: bool, meant: impl Fn(&str) -> bool) -> bool {
    // The nodes that are open, from the outermost inwards: in each, those that have ended have become a letter.
    let (mut open, mut met) = (vec![String::new()], false);
    let mut characters = tree.chars();
    while let Some(character) = characters.next() {
        match character {
            '{' => open.push(String::new()),
            '}' => {
                let node = open.pop().unwrap_or_default();
                let Some(parent) = open.last_mut() else { return true };
                let letter = letter(&node);
                if meant(&node) {
                    if letter != COLUMN || !plain {
                        return true;
                    }
                    met = true;
                }
                parent.push_str(letter);
            }
            _ => {
                let Some(node) = open.last_mut() else { return true };
                node.push(character);
                // A brace in a name is none of the expression's.
                node.extend((character == '\\').then(|| characters.next()).flatten());
            }
        }
    }
    !met
}

/// What has the value of a column in it.
const COLUMN: &str = "V";

/// What a node of an expression, whose own nodes are letters already, comes to.
fn letter(node: &str) -> &'static str {
    let arguments = |key: &str, end: char| Some(node.split_once(key)?.1.split_once(end)?.0.trim().to_owned());
    let is_column = match node.split(' ').next() {
        Some("VAR" | "COERCETODOMAINVALUE") => true,
        Some("CONST") if node.contains(":constisnull false") => return "C",
        Some("RELABELTYPE" | "COERCEVIAIO") => arguments(":arg ", ':').is_some_and(|argument| argument == COLUMN),
        // The first that is not NULL is taken, and of a column nobody knows that yet. (Up to 15, and from 16 on.)
        Some("COALESCE" | "COALESCEEXPR") => arguments(":args (", ')').is_some_and(|list| list.starts_with(COLUMN)),
        Some("FUNCEXPR" | "OPEXPR") => arguments(":args (", ')').is_some_and(|list| {
            let mut letters = list.split(' ');
            list.contains(COLUMN) && letters.all(|letter| matches!(letter, COLUMN | "C"))
        }),
        _ => false,
    };
    if is_column { COLUMN } else { "?" }
}

/// Expressions in the catalogues, each with the object that depends on what it uses. To be followed by a condition: by
/// nothing, or by one on the table that each ends with.
pub(super) const INDEXES: &str = "SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, indexrelid, 0,
   pg_catalog.concat(indexprs::pg_catalog.text, indpred::pg_catalog.text) FROM pg_catalog.pg_index
   WHERE (indexprs IS NOT NULL OR indpred IS NOT NULL) AND indrelid";
pub(super) const STATISTICS: &str =
    "SELECT 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass, oid, 0, pg_catalog.to_jsonb(s) ->> 'stxexprs' FROM pg_catalog.pg_statistic_ext s
   WHERE stxrelid";
pub(super) const PARTITIONS: &str =
    "SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, partrelid, 0, partexprs::pg_catalog.text FROM pg_catalog.pg_partitioned_table
   WHERE partrelid";

/// What uses functions and operators of somebody who is no superuser, of these expressions. `with` is what their
/// conditions name.
pub(super) fn uses(with: &str, expressions: &[String]) -> String {
    format!(
        "WITH RECURSIVE {with}{}evaluated(kind, object, part, tree) AS ({}),
 used AS (SELECT d.*, coalesce(e.tree, '') AS tree, o.oid AS operator, p.oid AS function, p.pronargdefaults, r.rolname
  FROM evaluated e JOIN pg_catalog.pg_depend d ON d.classid = e.kind AND d.objid = e.object AND d.objsubid = e.part
  LEFT JOIN pg_catalog.pg_operator o ON d.refclassid = 'pg_catalog.pg_operator'::pg_catalog.regclass AND o.oid = d.refobjid
  JOIN pg_catalog.pg_proc p ON p.oid = CASE d.refclassid
    WHEN 'pg_catalog.pg_proc'::pg_catalog.regclass THEN d.refobjid ELSE o.oprcode::pg_catalog.oid END
  JOIN pg_catalog.pg_roles r ON r.oid IN (p.proowner, o.oprowner) AND NOT r.rolsuper),
 {}
 SELECT DISTINCT pg_catalog.format('%s uses the %s of %s', pg_catalog.pg_describe_object(u.classid, u.objid, u.objsubid),
   pg_catalog.pg_describe_object(u.refclassid, u.refobjid, 0), pg_catalog.quote_ident(u.rolname)) AS reason,
   CASE WHEN u.operator IS NOT NULL THEN pg_catalog.format('ALTER OPERATOR %s OWNER TO %I; ',
     (pg_catalog.pg_identify_object(u.refclassid, u.operator, 0)).identity, SESSION_USER) ELSE '' END
   || pg_catalog.format('ALTER FUNCTION %1$s OWNER TO %2$I; ALTER FUNCTION %1$s SECURITY INVOKER;',
     (pg_catalog.pg_identify_object('pg_catalog.pg_proc'::pg_catalog.regclass, u.function, 0)).identity, SESSION_USER) AS given,
   u.refobjid::pg_catalog.int8 AS number, u.tree AS tree,
   u.operator IS NULL AND u.pronargdefaults = 0 AND i.oid IS NULL AS plain
  FROM used u LEFT JOIN inlined i ON i.oid = u.function
 ORDER BY reason",
        if with.is_empty() { "" } else { ",\n " },
        expressions.join("\n  UNION ALL "),
        inlined("SELECT function FROM used"),
    )
}

/// The functions among these that run more than themselves: the text of one in SQL is put in the place of its call, and
/// what is constant in it is computed then. So nothing that somebody else than a superuser has made may be named there; a
/// name that can be written in several ways is taken to be. Words and signs are looked up and not searched for, so that
/// thousands of functions with thousands of names take no longer than to read them.
pub(super) fn inlined(functions: &str) -> String {
    format!(
        r#"texts(oid, text) AS (
  SELECT p.oid, p.prosrc FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang AND l.lanname = 'sql'
   WHERE p.oid IN ({functions})),
 names(name) AS (
  SELECT f.proname::pg_catalog.text FROM pg_catalog.pg_proc f JOIN pg_catalog.pg_roles w ON w.oid = f.proowner AND NOT w.rolsuper
  UNION SELECT t.typname::pg_catalog.text FROM pg_catalog.pg_type t JOIN pg_catalog.pg_roles w ON w.oid = t.typowner AND NOT w.rolsuper
   LEFT JOIN pg_catalog.pg_class k ON k.oid = t.typrelid
   WHERE t.typelem = 0 AND (k.relkind = 'c' OR k.oid IS NULL OR t.oid IN (SELECT castsource FROM pg_catalog.pg_cast UNION SELECT casttarget FROM pg_catalog.pg_cast))),
 signs(sign) AS (
  SELECT DISTINCT x.oprname::pg_catalog.text FROM pg_catalog.pg_operator x JOIN pg_catalog.pg_proc f ON f.oid = x.oprcode
   JOIN pg_catalog.pg_roles w ON w.oid = f.proowner AND NOT w.rolsuper),
 runs(oid, run) AS (
  SELECT DISTINCT t.oid, m.found[1] FROM texts t, pg_catalog.regexp_matches(t.text, '[-+*/<>=~!@#%^&|`?]+', 'g') AS m(found)
   WHERE EXISTS (SELECT FROM signs)),
 inlined(oid) AS (
  SELECT oid FROM texts WHERE text = '' OR text ~* 'u&"'
    OR EXISTS (SELECT FROM names WHERE name ~ '[^a-zA-Z0-9_]' OR pg_catalog.octet_length(name) > 62)
  UNION SELECT t.oid FROM texts t, pg_catalog.regexp_split_to_table(pg_catalog.concat(pg_catalog.lower(t.text COLLATE pg_catalog."C"),
     -- What the host's language takes for another letter PostgreSQL may take for it too.
     CASE WHEN t.text ~ '[^-]' THEN pg_catalog.concat(' ', pg_catalog.lower(t.text)) END), '[^a-z0-9_]+') AS s(word)
   JOIN names n ON pg_catalog.lower(n.name COLLATE pg_catalog."C") = s.word
  UNION SELECT r.oid FROM runs r JOIN (SELECT d.run FROM (SELECT DISTINCT run FROM runs) AS d
    WHERE EXISTS (SELECT FROM signs g WHERE position(g.sign IN d.run) > 0)) AS h ON h.run = r.run)"#
    )
}

/// What [`uses`] finds in a database.
pub(super) fn read(database: &Database, uses: &str) -> Result<Vec<Use>> {
    let found = database.rows(uses)?;
    serde_json::from_value(found.into()).context(|| format!("cannot understand what `{}` evaluates", database.name))
}

/// What to do about functions of others: `given` are the statements after which they are a superuser's.
pub(super) fn hint<'a>(superuser: &Database, given: impl Iterator<Item = &'a str>) -> String {
    let given: BTreeSet<&str> = given.collect();
    let given: Vec<&str> = given.into_iter().collect();
    format!(
        "read what each function does (\\sf in psql), and drop what uses those that do harm. Give the others to a superuser, and \
         read them once more, as nobody can change them then: {}",
        superuser.shown(&given.join(" "))
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
        let first = |one: &str, other: &str| format!("{{COALESCE :coalescetype 23 :args ({one} {other}) :location 1}}");
        let through_text = format!("{{COERCEVIAIO :arg {column} :resulttype 25 :resultcollid 100 :location 1}}");
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
            (call(&first(constant, column)), true),
            (call(&first(column, constant)), false),
            (call(&first(column, &call(constant))), true),
            (call(&through_text), false),
            (format!("{{SCALARARRAYOPEXPR :opno 98 :opfuncid 16400 :args ({column})}}"), true),
            (String::new(), true),
        ] {
            let run =
                |plain| Use { reason: String::new(), given: String::new(), number: 16400, plain, tree: tree.clone() };
            assert_eq!(run(true).is_early(), early, "{tree}");
            assert!(run(false).is_early(), "{tree}");
        }
    }
}
