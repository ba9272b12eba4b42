//! Whether the target is what the old database was: every row, and all that a dump says of either, the roles of the one
//! standing for those of the other.

use std::collections::BTreeSet;

use mm_common::machine::threads;
use mm_common::postgres::besides::{self, Besides, LargeObjects};
use mm_common::postgres::definitions::{self, Definitions};
use mm_common::postgres::fingerprint::{self, Fingerprint};
use mm_common::postgres::server::Database;
use mm_common::postgres::{schemas, untrusted};
use mm_common::{Error, Result};

use super::record::{Entry, Facts};
use super::roles::RoleMap;
use crate::evidence;

/// How many differences are told.
const SHOWN: usize = 20;

/// What the large objects are called among the facts.
pub(super) const LARGE_OBJECTS: &str = "large objects";

/// Sequences, materialized views and large objects of a database.
pub(super) fn contents_of(database: &Database) -> Result<evidence::Facts> {
    let large = besides::large_objects(database, None)?;
    Ok(contents(Besides::of(database)?, Some(&large)))
}

/// The same as facts; the large objects are not known of every restore point.
pub(super) fn contents(Besides { sequences, views }: Besides, large: Option<&LargeObjects>) -> evidence::Facts {
    let mut facts = evidence::Facts::new();
    facts.extend(sequences.into_iter().map(|(name, state)| (format!("sequence {name}"), state)));
    facts.extend(views.into_iter().map(|(name, is)| (format!("relation {name}"), format!("filled {is}"))));
    facts.extend(large.map(|large| (LARGE_OBJECTS.to_owned(), format!("{} with hash {}", large.number, large.hash))));
    facts
}

/// How the rows of both sides are hashed: as fast as the earlier one can.
pub(crate) fn method(one: &Database, other: &Database) -> fingerprint::Method {
    fingerprint::Method::of_rows(one.major().min(other.major()))
}

/// Everything about a database. `snapshot` shows the rows, `major` is that of the program that writes the definitions.
pub(crate) fn gather(
    database: &Database,
    hashed: fingerprint::Method,
    snapshot: Option<&str>,
    major: u32,
) -> Result<Facts> {
    let (definitions, rows) = threads::both(
        || definitions::of_database(database, major),
        || match snapshot {
            Some(snapshot) => fingerprint::tables_at(database, hashed, snapshot, threads::fitting()),
            None => fingerprint::tables_by(database, hashed, threads::fitting()),
        },
    );
    Ok(Facts { rows: rows?, contents: contents_of(database)?, definitions: definitions?, of_mysql: None })
}

/// What of the definitions is compared: not the database's own (it may have another name), and not what was said to stay
/// behind. Schemas are compared by themselves.
fn compared(definitions: &Definitions, map: &RoleMap) -> Definitions {
    let names: BTreeSet<&str> = definitions.keys().map(String::as_str).collect();
    let own = ["DATABASE ", "ACL DATABASE ", "COMMENT DATABASE ", "EXTENSION ", "COMMENT EXTENSION "];
    let kept = definitions.iter().filter(|(name, _)| {
        !own.iter().any(|kind| name.starts_with(kind))
            && !untrusted::is_superusers(name)
            && !schemas::are_of_schemas(name)
            && (!name.starts_with("ACL ") || is_of_own(name, &names))
    });
    let kept = kept.map(|(name, text)| (name.clone(), definitions::without_tablespace(text))).collect();
    map.definitions(&kept)
}

/// Whether a right is one on what the dump makes, and not on what an extension brings.
fn is_of_own(right: &str, names: &BTreeSet<&str>) -> bool {
    const RELATIONS: &[&str] = &["TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE", "FOREIGN TABLE", "TYPE", "DOMAIN"];
    let Some((schema, rest)) = right.strip_prefix("ACL ").and_then(|rest| rest.split_once('.')) else { return true };
    let Some((kind, name)) = rest.split_once(' ') else { return true };
    if let Some((function, _)) = name.split_once('(') {
        return ["FUNCTION", "PROCEDURE", "AGGREGATE"].iter().any(|kind| {
            let start = format!("{kind} {schema}.{function}(");
            names.range(start.as_str()..).next().is_some_and(|next| next.starts_with(&start))
        });
    }
    let name = if kind == "COLUMN" { name.rsplit_once('.').map_or(name, |(table, _)| table) } else { name };
    RELATIONS.iter().any(|kind| names.contains(format!("{kind} {schema}.{name}").as_str()))
}

/// What differs, in words.
pub(crate) fn differences(entry: &Entry, then: &Facts, now: &Facts) -> Vec<String> {
    let mut found = of_rows(&then.rows, &now.rows);
    for (name, value) in &then.contents {
        match now.contents.get(name) {
            Some(other) if other == value => {}
            Some(other) => found.push(format!("{name}: it was `{value}` and is `{other}`")),
            None => found.push(format!("{name}: it is not there (it was `{value}`)")),
        }
    }
    found.extend(
        now.contents
            .keys()
            .filter(|name| !then.contents.contains_key(*name))
            .map(|name| format!("{name}: it was not there")),
    );
    let majors = (entry.moved.from.major, entry.moved.to.major);
    found.extend(of_definitions(entry, (&then.definitions, &now.definitions), majors));
    found
}

/// In which definitions two databases of these majors differ, in words, as far as a move carries them.
pub(super) fn of_definitions(
    entry: &Entry,
    (then, now): (&Definitions, &Definitions),
    majors: definitions::Majors,
) -> Vec<String> {
    definitions::differences(&compared(then, &entry.roles), &compared(now, &entry.roles), majors)
}

/// In which tables two fingerprints differ.
pub(crate) fn of_rows(then: &Fingerprint, now: &Fingerprint) -> Vec<String> {
    let mut found = Vec::new();
    for (table, print) in then {
        match now.get(table) {
            Some(other) if other == print => {}
            Some(other) if other.rows == print.rows => {
                found.push(format!("{table}: {} rows, and not the same ones", print.rows));
            }
            Some(other) => found.push(format!("{table}: {} rows then, {} now", print.rows, other.rows)),
            None => found.push(format!("{table}: it is not there")),
        }
    }
    found.extend(
        now.keys().filter(|table| !then.contains_key(*table)).map(|table| format!("{table}: it was not there")),
    );
    found
}

/// Fails where anything differs.
///
/// # Errors
/// Failed, with the first differences.
pub(crate) fn require_equal(entry: &Entry, then: &Facts, now: &Facts) -> Result<()> {
    let found = differences(entry, then, now);
    if found.is_empty() {
        return Ok(());
    }
    let (from, to) = (entry.carried(), entry.moved.to.label());
    let mut error = Error::failed(format!("{to} does not hold what {from} holds"));
    for one in found.iter().take(SHOWN) {
        error = error.because(one);
    }
    if found.len() > SHOWN {
        error = error.because(format!("and {} more differences", found.len() - SHOWN));
    }
    Err(error)
}
