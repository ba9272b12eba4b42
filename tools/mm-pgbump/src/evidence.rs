//! What a cluster holds, as facts that can be compared: a name for each thing, and what matters of it. The same facts
//! read on both majors give the same text, so an upgrade that lost or changed something shows as a difference.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use mm_common::contract::error::Kind;
use mm_common::contract::ui;
use mm_common::machine::threads;
use mm_common::postgres::besides::{self, Besides};
use mm_common::postgres::cluster::{Cluster, KEPT};
use mm_common::postgres::definitions::{self, Majors};
use mm_common::postgres::server::Database;
use mm_common::postgres::{fingerprint, schemas};
use mm_common::{Error, Result};

/// The facts about a whole cluster, by name.
pub(crate) type Facts = BTreeMap<String, String>;

/// Facts whose difference is worth a word but is no loss: a new major has other settings.
const NOTED: &str = "configuration ";

/// What a definition is listed under, behind the name of its database.
const DEFINITION: &str = "definition of ";

/// What a statement about roles or tablespaces is listed under.
const GLOBAL: &str = "statement of the cluster: ";

/// Of the cluster, besides what a dump says: databases, prepared transactions and settings.
const CLUSTER: &str = r"
SELECT 'database ' || datname AS k, pg_catalog.concat_ws(' ', 'owner', pg_catalog.pg_get_userbyid(datdba), pg_catalog.pg_encoding_to_char(encoding), datcollate,
       datctype, 'template', datistemplate, 'connect', datallowconn, datconnlimit) AS v
  FROM pg_catalog.pg_database
UNION ALL
SELECT 'prepared transaction ' || gid, owner::pg_catalog.text || ' in ' || database FROM pg_catalog.pg_prepared_xacts
UNION ALL
SELECT 'configuration ' || name, setting FROM pg_catalog.pg_settings
 WHERE source = 'configuration file' AND name NOT IN ('cluster_name', 'config_file', 'data_directory', 'external_pid_file',
       'hba_file', 'ident_file', 'port', 'stats_temp_directory')
";

/// The databases of a cluster that can be connected to.
pub(crate) fn databases(cluster: &Cluster, entrance: &str) -> Result<Vec<String>> {
    let rows = Database::superuser(cluster, entrance)?
        .rows("SELECT datname::pg_catalog.text AS name FROM pg_catalog.pg_database WHERE datallowconn ORDER BY 1")?;
    Ok(rows.iter().filter_map(|row| row["name"].as_str().map(str::to_owned)).collect())
}

/// The databases that the tools keep beside that of the server, which this is: former states of it.
pub(crate) fn kept(database: &Database) -> Result<BTreeSet<String>> {
    let rows =
        database.rows(&format!("SELECT datname::pg_catalog.text AS name FROM pg_catalog.pg_database WHERE {KEPT}"))?;
    Ok(rows.iter().filter_map(|row| row["name"].as_str().map(str::to_owned)).collect())
}

/// Reads everything there is to know of a cluster, its rows hashed by `method`, its definitions written by the `pg_dump` of
/// at least `major`. `entrance` is the database of the server.
///
/// # Errors
/// Also when a table cannot be read to its end: a damaged page is found here, before anything was changed.
pub(crate) fn gather(
    cluster: &Cluster,
    entrance: &str,
    method: fingerprint::Method,
    major: u32,
    unwanted: &Arc<AtomicBool>,
) -> Result<Facts> {
    let rows = || -> Result<Facts> {
        let mut facts = Facts::new();
        let kept = kept(&Database::superuser(cluster, entrance)?)?;
        for name in databases(cluster, entrance)? {
            let database = Database::superuser(cluster, &name)?.cancelled_by(unwanted);
            let prints = match fingerprint::tables_by(&database, method, threads::fitting()) {
                // Nobody works with it, and whoever goes back to it has its functions in the server's database again.
                Err(error) if error.kind() == Kind::Refused && kept.contains(&name) => {
                    ui::warn(&format!(
                        "the rows of `{name}`, which a restore has kept, are not compared: {}",
                        error.one_line()
                    ));
                    continue;
                }
                prints => prints?,
            };
            for (table, print) in prints {
                facts.insert(format!("{name}: table {table}"), print.in_words());
            }
        }
        Ok(facts)
    };
    // Users wait for both.
    let (facts, rows) = threads::both(|| catalogue(cluster, entrance, major), rows);
    let mut facts = facts?;
    facts.extend(rows?);
    Ok(facts)
}

/// As [`gather`], without the contents of the tables: quick, so it is tried before the service is stopped. The databases are
/// read beside each other: most of it is starting programs and sessions.
pub(crate) fn catalogue(cluster: &Cluster, entrance: &str, major: u32) -> Result<Facts> {
    let of_cluster = || -> Result<Facts> {
        let mut facts = Facts::new();
        let front = Database::superuser(cluster, entrance)?;
        add(&mut facts, "", &front.rows(CLUSTER)?)?;
        let globals = definitions::of_server(&front, major)?;
        facts.extend(globals.into_iter().map(|(statement, said)| (format!("{GLOBAL}{statement}"), said)));
        Ok(facts)
    };
    let of_databases = || -> Result<Vec<Facts>> {
        let names = databases(cluster, entrance)?;
        threads::each(threads::fitting(), &names, |name| of_database(cluster, name, major)).into_iter().collect()
    };
    let (facts, databases) = threads::both(of_cluster, of_databases);
    let mut facts = facts?;
    facts.extend(databases?.into_iter().flatten());
    Ok(facts)
}

/// What there is to know of one database, without the contents of its tables.
fn of_database(cluster: &Cluster, name: &str, major: u32) -> Result<Facts> {
    let mut facts = Facts::new();
    let database = Database::superuser(cluster, name)?.with_limit(fingerprint::LIMIT);
    let prefix = format!("{name}: ");
    let Besides { sequences, views } = Besides::of(&database)?;
    facts.extend(sequences.into_iter().map(|(name, state)| (format!("{prefix}sequence {name}"), state)));
    facts.extend(views.into_iter().map(|(name, is)| (format!("{prefix}relation {name}"), format!("filled {is}"))));
    let large = besides::large_objects(&database, None)?;
    facts.insert(format!("{prefix}large objects"), format!("{} with hash {}", large.number, large.hash));
    facts.insert(format!("{prefix}owners of large objects"), format!("{} with hash {}", large.number, large.settled));
    for (schema, space) in schemas::read(&database)? {
        facts.insert(format!("{prefix}schema {schema}"), space.in_words());
    }
    for (object, text) in definitions::of_members_by_name(definitions::of_database(&database, major)?) {
        // What a dump says of the rights of a schema depends on what the schema was called at first.
        if !schemas::are_of_schemas(&object) {
            facts.insert(format!("{prefix}{DEFINITION}{object}"), text);
        }
    }
    Ok(facts)
}

fn add(facts: &mut Facts, prefix: &str, rows: &[serde_json::Value]) -> Result<()> {
    for row in rows {
        let (Some(key), value) = (row["k"].as_str(), row["v"].as_str().unwrap_or_default()) else {
            return Err(Error::failed("the database named a fact without its name"));
        };
        facts.insert(format!("{prefix}{key}"), value.to_owned());
    }
    Ok(())
}

/// What differs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Differences {
    /// What was lost or changed.
    pub faults: Vec<String>,
    /// What merely differs.
    pub notes: Vec<String>,
}

/// Compares the facts of two clusters of these majors.
pub(crate) fn compare(before: &Facts, after: &Facts, majors: Majors) -> Differences {
    let (before, after) = (levelled(before, majors), levelled(after, majors));
    let mut differences = Differences::default();
    let mut say = |name: &str, text: String| {
        if name.starts_with(NOTED) { differences.notes.push(text) } else { differences.faults.push(text) }
    };
    for (name, value) in &before {
        let object = definition(name);
        match after.get(name) {
            Some(now) if now == value => {}
            Some(now) => match object {
                Some(object) => say(name, format!("{name}: {}", definitions::difference(object, value, now))),
                None => say(name, format!("{name}: it was `{value}` and is `{now}`")),
            },
            None if object.is_some() || name.starts_with(GLOBAL) => say(name, format!("{name}: it is gone")),
            None => say(name, format!("{name}: it is gone (it was `{value}`)")),
        }
    }
    for (name, value) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
        if definition(name).is_some() || name.starts_with(GLOBAL) {
            say(name, format!("{name}: it was not there before"));
        } else {
            say(name, format!("{name}: it was not there before (it is `{value}`)"));
        }
    }
    differences
}

/// What is defined: `TABLE public.posts`. No database is called so that this could be another fact.
fn definition(name: &str) -> Option<&str> {
    name.split_once(": ")?.1.strip_prefix(DEFINITION)
}

/// Facts without what each major writes in its own way.
fn levelled(facts: &Facts, majors: Majors) -> Facts {
    let one = |(name, value): (&String, &String)| {
        if let Some(statement) = name.strip_prefix(GLOBAL) {
            return (format!("{GLOBAL}{}", definitions::level_name(statement, majors)), value.clone());
        }
        match definition(name) {
            Some(object) => {
                let database = name.strip_suffix(object).unwrap_or_default();
                let levelled = definitions::level_name(object, majors);
                (format!("{database}{levelled}"), definitions::level(object, value, majors))
            }
            None => (name.clone(), value.clone()),
        }
    };
    facts.iter().map(one).collect()
}

/// Numbers for the report: databases, tables and rows.
pub(crate) fn summary(facts: &Facts) -> (usize, usize, u64) {
    let databases = facts.keys().filter(|name| name.starts_with("database ")).count();
    let tables: Vec<_> = facts.iter().filter(|(name, _)| name.contains(": table ")).collect();
    let rows = tables.iter().filter_map(|(_, value)| value.split(' ').next()?.parse::<u64>().ok()).sum();
    (databases, tables.len(), rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(pairs: &[(&str, &str)]) -> Facts {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_lost_row_is_a_fault_and_a_setting_is_a_note() {
        let before =
            facts(&[("mm: table public.teams", "1001 rows with hash 7"), ("configuration a", "1"), ("role x", "t")]);
        let after =
            facts(&[("mm: table public.teams", "0 rows with hash 0"), ("configuration a", "2"), ("role y", "t")]);
        let differences = compare(&before, &after, (13, 15));
        assert_eq!(differences.faults.len(), 3, "{differences:?}");
        assert!(differences.faults[0].contains("it was `1001 rows with hash 7` and is `0 rows with hash 0`"));
        assert_eq!(differences.notes.len(), 1);
        assert_eq!(compare(&before, &before, (13, 15)), Differences::default());
        assert_eq!(summary(&before), (0, 1, 1001));
    }

    #[test]
    fn rights_on_a_procedure_are_named_otherwise_by_each_major() {
        let right = "GRANT ALL ON PROCEDURE x.noop(a integer) TO reader;";
        let before = facts(&[("mm: definition of ACL x.PROCEDURE noop(a integer)", right)]);
        let now = right.replace("(a ", "(IN a ");
        let after = facts(&[("mm: definition of ACL x.PROCEDURE noop(IN a integer)", &now)]);
        assert_eq!(compare(&before, &after, (13, 15)), Differences::default());
        let lost = compare(&before, &Facts::new(), (13, 15));
        assert_eq!(lost.faults, ["mm: definition of ACL x.PROCEDURE noop(a integer): it is gone"]);
    }
}
