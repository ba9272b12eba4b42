//! What a database holds besides the rows of its tables: large objects, where its sequences stand, and which materialized
//! views are filled.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fingerprint::LIMIT;
use super::server::Database;
use super::{definitions, guarded, untrusted};
use crate::contract::error::{Context as _, Error, Result};

/// The large objects of a database, in three values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LargeObjects {
    /// How many there are.
    pub number: u64,
    /// A sum of the hashes of what is in them.
    pub hash: String,
    /// A sum of the hashes of their owners, rights and comments.
    pub settled: String,
}

/// Each is read in pieces, as a hole is read as zeros: a dump writes zeros where there was a hole, and nothing else
/// tells them apart. 262144 is `INV_READ`, 2 `SEEK_END`.
const CONTENTS: &str = r"SELECT pg_catalog.json_build_object('number', pg_catalog.count(DISTINCT oid), 'hash', coalesce(pg_catalog.sum(h), 0)::pg_catalog.text)
 FROM (SELECT o.oid, ('x' || pg_catalog.substr(pg_catalog.md5(pg_catalog.concat_ws(' ', o.oid, o.size, g.place, pg_catalog.md5(pg_catalog.lo_get(o.oid, g.place, 16777216)))), 1, 16))::pg_catalog.bit(64)::pg_catalog.int8::pg_catalog.numeric AS h
   FROM (SELECT oid, pg_catalog.lo_lseek64(fd, 0, 2) AS size, pg_catalog.lo_close(fd) AS closed
      FROM (SELECT oid, pg_catalog.lo_open(oid, 262144) AS fd FROM pg_catalog.pg_largeobject_metadata OFFSET 0) AS opened OFFSET 0) AS o
   CROSS JOIN LATERAL pg_catalog.generate_series(0::pg_catalog.int8, greatest(o.size - 1, 0), 16777216) AS g(place) WHERE o.closed = 0) AS pieces;
";

const SETTLED: &str = r#"SELECT pg_catalog.to_json(coalesce(pg_catalog.sum(('x' || pg_catalog.substr(pg_catalog.md5(pg_catalog.concat_ws(' ', oid,
         pg_catalog.pg_get_userbyid(lomowner), pg_catalog.obj_description(oid, 'pg_largeobject'), (
         SELECT pg_catalog.string_agg(one, ',' ORDER BY one) FROM (
           SELECT pg_catalog.concat_ws(' ', CASE WHEN grantee <> 0 THEN pg_catalog.pg_get_userbyid(grantee) END, privilege_type, is_grantable) COLLATE "C" AS one
             FROM pg_catalog.aclexplode(coalesce(lomacl, pg_catalog.acldefault('L', lomowner)))) AS rights))), 1, 16))::pg_catalog.bit(64)::pg_catalog.int8::pg_catalog.numeric), 0)::pg_catalog.text)
  FROM pg_catalog.pg_largeobject_metadata;
"#;

/// The state of every sequence, each asked by itself.
const SEQUENCES: &str = r"SELECT pg_catalog.format('SELECT pg_catalog.row_to_json(x) FROM (SELECT %L AS k, last_value || '' '' || is_called AS v FROM %I.%I) AS x',
       nspname || '.' || relname, nspname, relname)
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
 WHERE relkind = 'S' AND relpersistence <> 't' AND nspname !~ '^pg_' AND nspname <> 'information_schema' \gexec
";

const FILLED: &str = r"SELECT pg_catalog.json_build_object('k', nspname || '.' || relname, 'v', relispopulated)
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace WHERE relkind = 'm';
";

/// The large objects, in the present or as an exported snapshot shows them.
///
/// # Errors
/// Also when the role may not read one of them: a dump fails at it, too.
pub fn large_objects(database: &Database, snapshot: Option<&str>) -> Result<LargeObjects> {
    let rows = asked(database, snapshot, &[CONTENTS, SETTLED].concat())?;
    let read = |rows: &[Value]| {
        let [contents, settled] = rows else { return None };
        Some(LargeObjects {
            number: contents["number"].as_u64()?,
            hash: contents["hash"].as_str()?.to_owned(),
            settled: settled.as_str()?.to_owned(),
        })
    };
    read(&rows).ok_or_else(|| unanswered(database))
}

/// A sum of the hashes of owners, rights and comments of the large objects, as [`LargeObjects::settled`] has it.
pub fn settled(database: &Database) -> Result<String> {
    let rows = asked(database, None, SETTLED)?;
    rows.first().and_then(Value::as_str).map(str::to_owned).ok_or_else(|| unanswered(database))
}

fn asked(database: &Database, snapshot: Option<&str>, sql: &str) -> Result<Vec<Value>> {
    let asking = database.clone().with_limit(LIMIT);
    let rows = asking.script(&guarded::script(snapshot, "", sql)?);
    rows.context(|| format!("cannot read the large objects of the database `{}`", database.name))
}

fn unanswered(database: &Database) -> Error {
    Error::failed(format!("the database `{}` does not tell what its large objects are", database.name))
}

/// What stands beside the rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Besides {
    /// Of every sequence (`schema.name`), its last value and whether it was given out: `12 true`.
    pub sequences: BTreeMap<String, String>,
    /// Of every materialized view, whether it is filled.
    pub views: BTreeMap<String, bool>,
}

impl Besides {
    /// What is so in a database.
    pub fn of(database: &Database) -> Result<Self> {
        let attempt = || format!("cannot read the sequences of the database `{}`", database.name);
        let database = database.clone().with_limit(LIMIT);
        let body = [FILLED, SEQUENCES].concat();
        let mut besides = Self::default();
        for row in database.script(&guarded::script(None, "", &body)?).context(attempt)? {
            let name = row["k"].as_str().unwrap_or_default().to_owned();
            match row["v"].as_bool() {
                Some(filled) => drop(besides.views.insert(name, filled)),
                None => drop(besides.sequences.insert(name, row["v"].as_str().unwrap_or_default().to_owned())),
            }
        }
        Ok(besides)
    }

    /// What a dump will make so. A sequence goes on while it is dumped, whatever snapshot the rest is of: so what the dump
    /// says of it is what counts.
    pub fn of_dump(dump: &Path) -> Result<Self> {
        let is_about = |entry: &str| ["SEQUENCE SET ", "MATERIALIZED VIEW "].iter().any(|kind| entry.starts_with(kind));
        let mut besides = Self::default();
        let mut filled = BTreeSet::new();
        for (object, text) in definitions::of_text(&untrusted::printed(dump, &is_about)?) {
            if let Some(name) = object.strip_prefix("SEQUENCE SET ") {
                if let Some(state) = state(&text) {
                    besides.sequences.insert(name.to_owned(), state);
                }
            } else if let Some(name) = object.strip_prefix("MATERIALIZED VIEW DATA ") {
                filled.insert(name.to_owned());
            } else if let Some(name) = object.strip_prefix("MATERIALIZED VIEW ") {
                besides.views.insert(name.to_owned(), false);
            }
        }
        for name in filled {
            besides.views.insert(name, true);
        }
        Ok(besides)
    }

    /// What `now` has otherwise, in words. What is not there at all is seen among the definitions.
    pub fn differences(&self, now: &Self) -> Vec<String> {
        let mut found = Vec::new();
        for (name, then) in &self.sequences {
            if let Some(now) = now.sequences.get(name).filter(|now| *now != then) {
                found.push(format!("the sequence {name} is at `{now}` and was at `{then}`"));
            }
        }
        for (name, then) in &self.views {
            if now.views.get(name).is_some_and(|now| now != then) {
                let word = if *then { "is not filled" } else { "is filled and was not" };
                found.push(format!("the materialized view {name} {word}"));
            }
        }
        found
    }
}

/// `12 true` of `SELECT pg_catalog.setval('public.s', 12, true);`.
fn state(statement: &str) -> Option<String> {
    let line = statement.lines().find(|line| line.starts_with("SELECT pg_catalog.setval("))?;
    let (rest, called) = line.strip_suffix(");")?.rsplit_once(", ")?;
    let (_, value) = rest.rsplit_once(", ")?;
    Some(format!("{value} {called}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_said() {
        let state = state("SELECT pg_catalog.setval('public.\"a, b\"', 12, true);").unwrap();
        assert_eq!(state, "12 true");
        let then = Besides {
            sequences: [("public.s".to_owned(), state)].into(),
            views: [("public.v".to_owned(), true), ("public.w".to_owned(), false)].into(),
        };
        assert!(then.differences(&then).is_empty());
        let mut now = then.clone();
        now.sequences.insert("public.s".into(), "12 false".into());
        now.views.insert("public.v".into(), false);
        assert_eq!(
            then.differences(&now),
            [
                "the sequence public.s is at `12 false` and was at `12 true`",
                "the materialized view public.v is not filled"
            ]
        );
    }
}
