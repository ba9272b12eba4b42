//! The database that a hop leaves as it was, because it upgrades PostgreSQL or moves the database: the cluster that was kept,
//! or the source that was only read. A frozen restore point of such a hop has neither copy nor dump until `mm-backup complete`
//! has made one from there. Which point an upgrade or a move was made with is in mm-pgbump's record of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::kept::{self, Record};
use super::moved::{Moved, Place};
use crate::contract::error::{Error, Result};
use crate::contract::secret::Secret;
use crate::machine::door::{MOVE, PGBUMP};
use crate::machine::files;
use crate::machine::journal::Journal;
use crate::mattermost::handed_on;
use crate::postgres::cluster::{self, Cluster};
use crate::postgres::fingerprint::{Fingerprint, Method};
use crate::postgres::properties::Properties;
use crate::postgres::server::Database;

/// Larger than the facts of any server's tables.
const MOST: u64 = 256 << 20;

/// The original, as the manifest of its restore point describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Original {
    /// Where it was when the restore point was made.
    pub place: Place,
    /// Its cluster (`13/main`), in a hop that upgrades that; absent in one that moves the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Its size.
    pub bytes: u64,
    /// Version of its server.
    pub server_version: String,
    /// What a restore gives the database besides what is in it.
    pub properties: Properties,
    /// The other databases of its cluster, with `--whole-cluster`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
}

impl Original {
    /// `13/main`, or `db.example.com:5432/mattermost`.
    pub fn label(&self) -> String {
        self.cluster.clone().unwrap_or_else(|| self.place.label())
    }

    /// Where it is, for people.
    pub fn in_words(&self) -> String {
        match &self.cluster {
            Some(cluster) => format!("in the cluster {cluster}, which the upgrade of the hop keeps"),
            None => format!("{}, which the move of the hop leaves as it is", self.place.label()),
        }
    }
}

/// What has become of an original.
#[derive(Debug)]
pub enum Standing {
    /// The upgrade has kept its cluster.
    Kept(Box<Kept>),
    /// The move has left it.
    Moved(Box<Left>),
    /// No upgrade or move that was made with the restore point stands: the server works with it.
    InUse,
    /// It is gone, and why.
    Gone(String),
}

/// A cluster that an upgrade has kept.
#[derive(Debug)]
pub struct Kept {
    /// The cluster.
    pub cluster: Cluster,
    /// The first transaction that had not begun there when the upgrade was made.
    pub next_transaction: Option<String>,
    /// How its rows were hashed.
    pub hashed: Method,
}

/// A database that a move has left.
#[derive(Debug)]
pub struct Left {
    /// From where to where.
    pub moved: Moved,
    /// The data source that led there.
    pub source: Secret,
    /// How its rows were hashed.
    pub hashed: Method,
}

#[derive(Deserialize)]
struct MoveRecord {
    #[serde(flatten)]
    moved: Moved,
    #[serde(default)]
    restore_point: Option<Named>,
    hashed: Method,
}

/// A restore point in a record of mm-pgbump.
#[derive(Debug, Deserialize)]
pub(super) struct Named {
    pub(super) id: String,
    #[serde(default)]
    store: PathBuf,
    /// It was frozen with neither copy nor dump.
    #[serde(default)]
    original: bool,
}

#[derive(Deserialize)]
struct Private {
    from: String,
}

#[derive(Deserialize)]
struct MoveFacts {
    rows: Fingerprint,
}

/// The records of the upgrade and of the move that were made with a restore point and stand.
fn recorded(state: &Path, id: &str) -> Result<(Option<Record>, Option<MoveRecord>)> {
    let is_it = |named: &Option<Named>| named.as_ref().is_some_and(|named| named.id == id);
    let bump = Journal::finished(state, PGBUMP).read::<Record>()?.filter(|record| is_it(&record.restore_point));
    let moved = Journal::finished(state, MOVE).read::<MoveRecord>()?;
    Ok((bump, moved.filter(|record| record.moved.proven && is_it(&record.restore_point))))
}

/// What has become of the original of the restore point with this identifier.
///
/// # Errors
/// When records or clusters cannot be looked at.
pub fn standing(state: &Path, id: &str) -> Result<Standing> {
    let (bump, moved) = recorded(state, id)?;
    if let Some(MoveRecord { moved, hashed, .. }) = moved {
        let Private { from } = read(&state.join(format!("{MOVE}.finished.private")))?;
        return Ok(Standing::Moved(Box::new(Left { moved, source: Secret::new(from), hashed })));
    }
    let Some(record) = bump else { return Ok(Standing::InUse) };
    let label = record.old.label();
    let Some(cluster) = cluster::find(record.old.major, &record.old.name)? else {
        return Ok(Standing::Gone(format!("the cluster {label}, which the upgrade had kept, is gone")));
    };
    if record.identifier.is_some() && Some(cluster.system_identifier()?) != record.identifier {
        return Ok(Standing::Gone(format!("another cluster has the name of {label} now")));
    }
    let Record { next_transaction, hashed, .. } = record;
    Ok(Standing::Kept(Box::new(Kept { cluster, next_transaction, hashed })))
}

/// What the tables of a database held when it was carried over, as they were hashed then.
///
/// # Errors
/// When mm-pgbump's records of that cannot be read.
pub fn tables(state: &Path, standing: &Standing, database: &str) -> Result<BTreeMap<String, String>> {
    match standing {
        Standing::Moved(_) => {
            let MoveFacts { rows } = read(&state.join(format!("{MOVE}.finished.facts")))?;
            Ok(rows.into_iter().map(|(table, print)| (table, print.in_words())).collect())
        }
        Standing::Kept(_) => kept::tables(state, database),
        Standing::InUse | Standing::Gone(_) => Ok(BTreeMap::new()),
    }
}

/// Requires that the original was left: that an upgrade or a move was made with this restore point, and that `database`,
/// which the server works with now, is another one. Else what comes next would change the only one there is.
///
/// # Errors
/// Refused when it was not.
pub fn require_left(state: &Path, id: &str, original: &Original, database: &Database) -> Result<()> {
    let (bump, moved) = recorded(state, id)?;
    if (bump.is_some() || moved.is_some()) && !original.place.is(database)? {
        return Ok(());
    }
    let made =
        if original.cluster.is_some() { "PostgreSQL has not been upgraded" } else { "the database was not moved" };
    Err(Error::refused(format!("the restore point `{id}` cannot be relied on"))
        .because(format!("it is frozen without a copy, as its hop leaves the database {}: {made}", original.in_words()))
        .hint("put mm-pgbump before mm-swap in the pipeline; or make a new one without --freeze, which dumps the database"))
}

/// Refuses whatever would forget or remove the original of a restore point that has no dump yet.
///
/// # Errors
/// Refused, with the command that makes the dump; also when the store is not there and cannot tell.
pub fn refuse_needed(state: &Path, root: &Path) -> Result<()> {
    let bump = Journal::finished(state, PGBUMP).read::<Record>()?.and_then(|record| record.restore_point);
    let moved = Journal::finished(state, MOVE).read::<MoveRecord>()?.and_then(|record| record.restore_point);
    for Named { id, store, .. } in [bump, moved].into_iter().flatten().filter(|named| named.original) {
        let path = store.join(&id);
        // What is gone, or works for the server again, nobody can store any more.
        let is_left = || Ok::<_, Error>(!matches!(standing(state, &id)?, Standing::Gone(_) | Standing::InUse));
        if files::look(&store)?.is_none() {
            if !is_left()? {
                continue;
            }
            let unseen = format!("whether the restore point {id} still needs the database of before cannot be told");
            return Err(Error::refused(unseen)
                .because(format!("its store `{}` is not there", store.display()))
                .hint(format!("mount it; {}", handed_on::completing((&id, &store), root, state))));
        }
        if files::look(&path)?.is_none() {
            continue;
        }
        if let Some(original) = handed_on::needs_original(&path)?
            && is_left()?
        {
            return Err(Error::refused(format!("the restore point {id} is frozen: its database is not stored yet"))
                .because(format!("it is {}", original.in_words()))
                .hint(handed_on::completing((&id, &store), root, state)));
        }
    }
    Ok(())
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = files::read(path, MOST)?;
    // The parser's words could quote what it stumbled over.
    serde_json::from_slice(&text).map_err(|_| Error::failed(format!("cannot understand `{}`", path.display())))
}
