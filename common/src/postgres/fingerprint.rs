//! Fingerprints: per table the number of rows and a sum over the hashes of all rows, which does not depend on their
//! order, on the major version or on the collation; and the digest of the message history that no migration changes.
//!
//! From 12 on rows are hashed by PostgreSQL's own hash of texts, which gives the same numbers up to 18 (observed), in less time
//! than MD5. On older servers, and for what was hashed so by earlier releases, the hash of a row is the first 64 bits of
//! the MD5 of its text form, read as a signed number: the same on every major from 10 to 18 (observed).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::guarded::{self, Reading};
use super::held::Held;
use super::server::Database;
use crate::contract::error::{Error, Kind, Result};
use crate::contract::ui;

mod pieces;
mod rows;

pub use rows::{names, tables_at, tables_by};

/// What a table holds, in two numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TablePrint {
    /// Number of rows.
    pub rows: u64,
    /// Sum of the row hashes, as a decimal number.
    pub hash: String,
}

impl TablePrint {
    /// As one text, by which mm-pgbump writes it down.
    #[must_use]
    pub fn in_words(&self) -> String {
        format!("{} rows with hash {}", self.rows, self.hash)
    }
}

/// Every table of every user schema, by `schema.table`.
pub type Fingerprint = BTreeMap<String, TablePrint>;

/// How a row is hashed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The first 64 bits of the MD5 of the row's text form: on every version of PostgreSQL.
    #[default]
    Md5,
    /// PostgreSQL's own 64-bit hash of each column, each seeded with that of the column before: four times as fast,
    /// because no text has to be made of the row. From 11 on, where it gives the same numbers up to 18 (observed).
    /// Of the rows of a table it is the form of earlier releases: what it makes of numbers has 32 bits.
    Hash64,
    /// PostgreSQL's own 64-bit hash of the texts of the values in the order of the names of the columns. From 12 on: 11
    /// writes floating-point numbers otherwise.
    Values,
}

impl Method {
    /// The fastest one for messages that a database has.
    pub fn of(database: &Database) -> Self {
        if database.major() >= 11 { Self::Hash64 } else { Self::Md5 }
    }

    /// The one for whole rows on a server of this major, and on every later one.
    pub fn of_rows(major: u32) -> Self {
        if major >= 12 { Self::Values } else { Self::Md5 }
    }

    /// The sum over all posts.
    fn sum(self, root: &str) -> String {
        if self == Self::Md5 {
            return hash_of(&format!(
                "ROW(id,createat,deleteat,userid,channelid,{root},originalid,message,type,hashtags,filenames,fileids)\
                 ::pg_catalog.text COLLATE \"C\""
            ));
        }
        let seed =
            "pg_catalog.hashint8extended(coalesce(createat,0),pg_catalog.hashint8extended(coalesce(deleteat,0),0))"
                .to_owned();
        let columns =
            ["id", "userid", "channelid", root, "originalid", "type", "hashtags", "filenames", "fileids", "message"];
        let hash = columns.iter().fold(seed, |seed, column| {
            format!("pg_catalog.hashtextextended(coalesce({column},'') COLLATE \"C\",{seed})")
        });
        format!("coalesce(pg_catalog.sum({hash}::pg_catalog.numeric),0)::pg_catalog.text")
    }
}

/// The message history: what users would miss. Equal before and after any Mattermost migration (observed 5.29 to
/// 11.6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Posts created before this time (milliseconds since 1970) are counted; absent when all are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<u64>,
    /// When the newest of them was created (milliseconds since 1970): up to then, nothing may be missing later. Absent
    /// when there is none, and in records of earlier releases of the tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<u64>,
    /// How a post was hashed: what is compared with this has to be hashed so too.
    #[serde(default)]
    pub method: Method,
    /// Rows and hash over the columns of `posts` that no migration changes.
    pub posts: TablePrint,
    /// Rows of other tables in which no migration loses any: `users`, `teams`, `channels`, ...
    pub counts: BTreeMap<String, u64>,
}

/// Reading everything: about 5 s for a million posts from a slow disk (observed), so this is far beyond any server.
pub const LIMIT: Duration = Duration::from_secs(4 * 3600);

/// Tables in which no migration up to 11.6 loses or adds a row (observed).
const COUNTED: &[&str] = &[
    "channelmembers",
    "channels",
    "commands",
    "emoji",
    "fileinfo",
    "incomingwebhooks",
    "reactions",
    "teammembers",
    "teams",
    "users",
];

/// The columns of `posts` that are hashed.
const HASHED: &[&str] = &[
    "id",
    "createat",
    "deleteat",
    "userid",
    "channelid",
    "rootid",
    "parentid",
    "originalid",
    "message",
    "type",
    "hashtags",
    "filenames",
    "fileids",
];

/// The hash of all rows that `row` stands for.
fn hash_of(row: &str) -> String {
    format!(
        "coalesce(pg_catalog.sum(('x'||pg_catalog.substr(pg_catalog.md5({row}),1,16))::pg_catalog.bit(64)::pg_catalog.int8::pg_catalog.numeric),0)::pg_catalog.text"
    )
}

/// Reads as a superuser where that runs nobody else's functions, else as `role`, which runs its own as itself.
pub fn either<T>(superuser: &Database, role: &Database, read: impl Fn(&Database) -> Result<T>) -> Result<T> {
    read(superuser).or_else(|error| {
        if error.kind() != Kind::Refused || role.is_superuser() {
            return Err(error);
        }
        ui::warn(&format!("`{}` is read as its own role, not as a superuser: {}", role.name, error.one_line()));
        read(role)
    })
}

/// The database with its tables kept as they are for a superuser who plans statements over them: for rows, in one
/// transaction, which ends when this is dropped.
///
/// # Errors
/// Refused when reading would run functions of others.
pub fn hold(superuser: &Database) -> Result<Database> {
    Ok(Held::of(superuser, guarded::ALL)?.database().clone())
}

/// As [`hold`], for the table of this name alone.
///
/// # Errors
/// As there.
pub fn hold_table(superuser: &Database, name: &str) -> Result<Database> {
    Ok(Held::of(superuser, &guarded::named(&superuser.schemas()?, &[name]))?.database().clone())
}

/// Fingerprints the message history up to `cut`.
///
/// # Errors
/// Also when the database holds no Mattermost tables.
pub fn history(database: &Database, cut: Option<u64>) -> Result<History> {
    history_at(database, cut, None)
}

/// As [`history`], hashed by `method`: that of what it will be compared with.
pub fn history_by(database: &Database, method: Method, cut: Option<u64>) -> Result<History> {
    history_with(database, method, cut, None)
}

/// As [`history`], as seen by an exported snapshot (see [`Database::snapshot`]).
pub fn history_at(database: &Database, cut: Option<u64>, snapshot: Option<&str>) -> Result<History> {
    history_with(database, Method::of(database), cut, snapshot)
}

fn history_with(database: &Database, method: Method, cut: Option<u64>, snapshot: Option<&str>) -> Result<History> {
    let attempt = || format!("cannot fingerprint the messages of the database `{}`", database.name);
    let database = &database.clone().with_limit(LIMIT);
    let schemas = database.schemas()?;
    let columns = posts_columns(database, &schemas)?;
    if columns.is_empty() {
        return Err(Error::failed(attempt()).because("it has no table `posts` in the search path of its user"));
    }
    if let Some(column) = columns.iter().find(|column| column["own"] != true && HASHED.contains(&name(column))) {
        // Making text of it would run what its owner has defined.
        return Err(Error::failed(attempt()).because(format!(
            "the column `{}` of `posts` has the type {}",
            name(column),
            column["type"]
        )));
    }
    // Up to 5.39 a reply may name only its parent; the migration of 6.0 makes that the root and drops the column.
    let root = if columns.iter().any(|column| name(column) == "parentid") {
        "coalesce(nullif(rootid,''),parentid,'')"
    } else {
        "coalesce(rootid,'')"
    };
    let cut_at = cut.map_or_else(String::new, |cut| format!(" WHERE createat < {cut}"));
    let posts = format!("{}, pg_catalog.max(createat) AS newest", method.sum(root).replace('%', "%%") + " AS h");
    let statement = format!(
        "pg_catalog.format($mm$SELECT pg_catalog.row_to_json(x) FROM (SELECT %1$L AS t, pg_catalog.count(*) AS n, $mm$
  || CASE relname WHEN 'posts' THEN $mm${posts}$mm$ ELSE $mm$'' AS h$mm$ END || $mm$ FROM $mm$
  || CASE relkind WHEN 'r' THEN 'ONLY ' ELSE '' END || $mm$%2$I.%1$I$mm$
  || CASE relname WHEN 'posts' THEN $mm${cut_at}$mm$ ELSE '' END || ') AS x', relname, nspname)"
    );
    let tables = guarded::named(&schemas, &[COUNTED, &["posts"]].concat());
    let reading =
        Reading { snapshot, settings: "SET LOCAL extra_float_digits = 0;", tables: &tables, statement: &statement };
    let rows = reading.run(database).map_err(|error| error.within(attempt()))?;
    let (posts, counted): (Vec<&Value>, Vec<&Value>) = rows.iter().partition(|row| row["t"] == "posts");
    let first = posts.first().ok_or_else(|| Error::failed(attempt()).because("`posts` is no table"))?;
    let counts = counted
        .into_iter()
        .map(|row| Ok((row["t"].as_str().unwrap_or_default().to_owned(), print(row)?.rows)))
        .collect::<Result<_>>()?;
    Ok(History { cut, newest: first["newest"].as_u64(), method, posts: print(first)?, counts })
}

fn name(column: &Value) -> &str {
    column["name"].as_str().unwrap_or_default()
}

/// The columns of `posts`: the name, the type, and whether that is PostgreSQL's own.
fn posts_columns(database: &Database, schemas: &[String]) -> Result<Vec<Value>> {
    let posts = guarded::named(schemas, &["posts"]);
    database.rows(&format!(
        "SELECT a.attname AS name, pg_catalog.format_type(a.atttypid, a.atttypmod) AS type,
           t.typnamespace OPERATOR(pg_catalog.=) 'pg_catalog'::pg_catalog.regnamespace AS own
         FROM ({posts}) AS p JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) p.oid
         JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) a.atttypid
         WHERE a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped"
    ))
}

fn print(row: &Value) -> Result<TablePrint> {
    let (Some(rows), Some(hash)) = (row["n"].as_u64(), row["h"].as_str()) else {
        return Err(Error::failed("the database gave a fingerprint without its numbers"));
    };
    Ok(TablePrint { rows, hash: hash.to_owned() })
}
