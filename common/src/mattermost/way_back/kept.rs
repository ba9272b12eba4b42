//! The cluster that an upgrade of PostgreSQL has kept: whether the database of a hop can be rolled back by letting it serve
//! again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use super::Hop;
use super::original::Named;
use crate::contract::error::{Context as _, Result};
use crate::machine::door::PGBUMP;
use crate::machine::files;
use crate::machine::journal::Journal;
use crate::machine::threads;
use crate::postgres::cluster::{self, Cluster};
use crate::postgres::fingerprint;
use crate::postgres::server::Database;

/// Larger than the facts of any server's tables.
const MOST_FACTS: u64 = 256 << 20;

/// What was found.
pub(super) enum Look {
    /// No upgrade of PostgreSQL was part of the hop.
    NoBump,
    /// The old cluster can serve again; what was written into the new one from then on is not in it.
    Usable { cluster: String, since: String },
    /// It cannot, and why.
    Unusable(String),
}

/// What mm-pgbump has recorded of its last upgrade, as far as it matters here.
#[derive(Deserialize)]
pub(super) struct Record {
    started: String,
    pub(super) old: Cluster,
    #[serde(default)]
    pub(super) identifier: Option<String>,
    #[serde(default)]
    pub(super) next_transaction: Option<String>,
    major: u32,
    method: String,
    database: String,
    #[serde(default)]
    pub(super) restore_point: Option<Named>,
    #[serde(default)]
    pub(super) hashed: fingerprint::Method,
}

impl Record {
    fn new_label(&self) -> String {
        format!("{}/{}", self.major, self.old.name)
    }

    fn is_of(&self, hop: Hop<'_>) -> bool {
        match (hop.bump, hop.point, &self.restore_point) {
            (Some(bump), ..) => bump.from == self.old.label() && bump.to == self.new_label(),
            // A hop that was made before this was recorded with it: both name the restore point of their hop.
            (None, Some(point), Some(named)) => point.id == named.id,
            _ => false,
        }
    }
}

/// Whether an upgrade of PostgreSQL that began after `since` (RFC 3339, UTC) has led the server to the cluster that it works with.
pub(super) fn led_since(state: &Path, since: &str, database: &Database) -> Result<bool> {
    let record = Journal::finished(state, PGBUMP).read::<Record>()?.filter(|record| record.started.as_str() >= since);
    let Some(record) = record else { return Ok(false) };
    Ok(cluster::of_database(database)?.is_some_and(|serving| serving.label() == record.new_label()))
}

/// Looks whether the cluster of before the hop can serve again.
pub(super) fn look(hop: Hop<'_>, state: &Path, database: &Database) -> Result<Look> {
    let record = Journal::finished(state, PGBUMP).read::<Record>()?.filter(|record| record.is_of(hop));
    let Some(record) = record else {
        return Ok(match hop.bump {
            Some(bump) => Look::Unusable(format!("the cluster {} of before the hop is not kept any more", bump.from)),
            None => Look::NoBump,
        });
    };
    let unusable =
        |why: String| Ok(Look::Unusable(format!("the cluster {} cannot serve again: {why}", record.old.label())));
    // pg_upgrade puts the control file aside with --link and with --swap, whoever ran it.
    if record.method == "link" || files::look(&record.old.data.join("global/pg_control.old"))?.is_some() {
        return unusable("it was upgraded by link or swap, and the new cluster has used its files".into());
    }
    let Some(old) = cluster::find(record.old.major, &record.old.name)? else {
        return unusable("it is gone".into());
    };
    if record.identifier.is_some() && Some(old.system_identifier()?) != record.identifier {
        return unusable("another one has its name now".into());
    }
    if record.database != database.name {
        return unusable(format!("it holds the database {}, the server's is {}", record.database, database.name));
    }
    let serving = cluster::of_database(database)?;
    let Some(new) = serving.filter(|serving| serving.label() == record.new_label()) else {
        return unusable(format!("the server does not work with the cluster {}", record.new_label()));
    };
    match written_by_others(&record, &new, state) {
        Ok(written) if written.is_empty() => Ok(Look::Usable { cluster: old.label(), since: record.started.clone() }),
        Ok(written) => unusable(format!(
            "other applications have written into {} since, which would be lost: {}",
            new.label(),
            written.into_iter().collect::<Vec<_>>().join(", ")
        )),
        Err(error) => unusable(format!(
            "whether other applications have written into {} since cannot be told: {}",
            new.label(),
            error.one_line()
        )),
    }
}

/// What mm-pgbump has read of the old cluster.
fn facts(state: &Path) -> Result<BTreeMap<String, String>> {
    let path = state.join("pgbump.facts");
    let text = files::read(&path, MOST_FACTS)?;
    serde_json::from_slice(&text).context(|| format!("cannot understand `{}`", path.display()))
}

fn of_tables<'a>(facts: &'a BTreeMap<String, String>, database: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let prefix = format!("{database}: table ");
    facts.iter().filter_map(move |(key, print)| Some((key.strip_prefix(&prefix)?, print.as_str())))
}

/// What the tables of a database of the old cluster held.
pub(super) fn tables(state: &Path, database: &str) -> Result<BTreeMap<String, String>> {
    let facts = facts(state)?;
    Ok(of_tables(&facts, database).map(|(table, print)| (table.to_owned(), print.to_owned())).collect())
}

/// The tables of other databases of the new cluster that are not as the upgrade has left them, and databases that it has not
/// left there. What the tools themselves keep is not among them.
fn written_by_others(record: &Record, new: &Cluster, state: &Path) -> Result<BTreeSet<String>> {
    let front = Database::superuser(new, &record.database)?;
    let others = front.rows(&format!(
        "SELECT datname AS name FROM pg_catalog.pg_database WHERE datallowconn AND datname <> pg_catalog.current_database()
           AND NOT {} AND datname !~ '(_mm_new_[0-9]{{8}}T[0-9]{{6}}Z|^mm_trial_.*)$'",
        cluster::KEPT
    ))?;
    let facts = facts(state)?;
    let mut written = BTreeSet::new();
    for name in others.iter().filter_map(|row| row["name"].as_str()) {
        if !facts.contains_key(&format!("database {name}")) {
            written.insert(format!("the database {name}"));
            continue;
        }
        let mut before: BTreeMap<&str, &str> = of_tables(&facts, name).collect();
        for (table, print) in
            fingerprint::tables_by(&Database::superuser(new, name)?, record.hashed, threads::fitting())?
        {
            let now = print.in_words();
            if before.remove(table.as_str()) != Some(now.as_str()) {
                written.insert(format!("{table} of {name}"));
            }
        }
        written.extend(before.keys().map(|table| format!("{table} of {name}")));
    }
    Ok(written)
}
