//! Frozen copies in the cluster, written down in the state directory before they are made: so that none is left over when a
//! run is killed, and each goes with what it is for.

use std::path::{Path, PathBuf};

use mm_common::contract::error::{Context as _, Error, Result};
use mm_common::contract::ui;
use mm_common::machine::files::{self, Access};
use mm_common::machine::lock::LockGuard;
use mm_common::machine::pins::{self, Pin, Why};
use mm_common::machine::state::State;
use mm_common::machine::tree;
use mm_common::mattermost::site::Installation;
use mm_common::mattermost::way_back::{administrator, exists};
use mm_common::postgres::frozen;
use mm_common::postgres::properties;
use mm_common::postgres::proven::Claim;
use mm_common::postgres::server::Database;
use serde::{Deserialize, Serialize};

use crate::store::{Point, Store};

/// The directory of the records.
const DIRECTORY: &str = "frozen";

/// A copy, and what it is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The copy's name.
    pub copy: String,
    /// The restore point.
    pub id: String,
    /// The store it is in.
    pub store: PathBuf,
    /// What the store calls itself: what stands in its place when it is not mounted has no such name. It is not known by the
    /// numbers of its file system, which a mount may change (btrfs, NFS), and which are the same on every disk for the
    /// directory at its top. An earlier program wrote none.
    #[serde(default)]
    pub store_mark: String,
    /// The system identifier of the cluster that the copy is in: in another one, where the server has moved, nobody finds it.
    /// Empty where the server did not tell, or an earlier program wrote this.
    #[serde(default)]
    pub cluster: String,
}

/// What a copy is to its restore point.
enum Standing {
    /// There is no such restore point, or it has another copy: what a killed or failed run has left.
    Orphan,
    /// The restore point is there.
    Of(Box<Point>),
    /// The store is not there now, or it is not known to be the same.
    Unknown,
}

impl Record {
    fn path(&self, state: &State) -> PathBuf {
        // A name may be anything; its end is the moment of the copy.
        let stamp = self.copy.rsplit('_').next().unwrap_or_default();
        state.path().join(DIRECTORY).join(format!("{stamp}.json"))
    }

    fn write(&self, state: &State, store: &Store) -> Result<()> {
        let record = Self { store_mark: store.marked()?, ..self.clone() };
        let text = serde_json::to_vec_pretty(&record).context(|| "cannot write down the frozen copy".into())?;
        files::write(&record.path(state), &text, Access::PRIVATE)
    }

    /// Whether this is the directory in which the restore point was to be.
    fn is_of(&self, store: &Store) -> bool {
        store.mark().is_ok_and(|mark| mark.is_some_and(|mark| mark == self.store_mark))
    }

    fn standing(&self) -> Standing {
        let Ok(store) = Store::open(&self.store) else { return Standing::Unknown };
        match files::look(&store.path.join(&self.id)) {
            Ok(None) if self.is_of(&store) => Standing::Orphan,
            // A mount point without its file system holds nothing either.
            Ok(None) | Err(_) => Standing::Unknown,
            Ok(Some(_)) => match store.find(&self.id) {
                Ok(point) => match &point.head.frozen {
                    Some(part) if part.copy.copy == self.copy => Standing::Of(Box::new(point)),
                    _ => Standing::Orphan,
                },
                // A damaged restore point may have nothing but its copy.
                Err(_) => Standing::Unknown,
            },
        }
    }
}

/// Writes down that a copy is about to be made for a restore point of this store.
pub(crate) fn announce(state: &State, record: &Record, store: &Store, _lock: &LockGuard) -> Result<()> {
    files::create_directory(&state.path().join(DIRECTORY), 0o700)?;
    record.write(state, store)
}

/// Has the records name `store` for restore points that are there now: it was moved to another disk, and where it was they are
/// not. Only one that is complete is followed, for its database is stored in it, whatever becomes of another one like it.
pub(crate) fn follow(state: &State, store: &Store, _lock: &LockGuard) -> Result<()> {
    for record in all(state)? {
        let is_known = if record.store == store.path {
            record.is_of(store)
        } else {
            !matches!(record.standing(), Standing::Unknown)
        };
        let there = Record { store: store.path.clone(), ..record };
        if !is_known
            && let Standing::Of(point) = there.standing()
            && point.head.incomplete().is_none()
        {
            there.write(state, store)?;
        }
    }
    Ok(())
}

/// All that are written down, oldest first.
pub(crate) fn all(state: &State) -> Result<Vec<Record>> {
    let directory = state.path().join(DIRECTORY);
    if files::look(&directory)?.is_none() {
        return Ok(Vec::new());
    }
    let mut names = tree::Dir::open(&directory)?.names()?;
    names.sort();
    let is_record = |name: &std::ffi::OsString| Path::new(name).extension().is_some_and(|end| end == "json");
    let read = |name| {
        let path = directory.join(name);
        let text = files::read(&path, 1 << 20)?;
        serde_json::from_slice(&text).map_err(|error| Error::io("understand", &path, error))
    };
    names.into_iter().filter(is_record).map(read).collect()
}

/// Removes a copy and the record of it.
pub(crate) fn remove(admin: &Database, state: &State, record: &Record, _lock: &LockGuard) -> Result<()> {
    frozen::drop_copy(admin, &record.copy)?;
    files::remove_file(&record.path(state))
}

/// Forgets a copy that has another name now.
pub(crate) fn forget(state: &State, copy: &str, _lock: &LockGuard) -> Result<()> {
    all(state)?
        .iter()
        .filter(|record| record.copy == copy)
        .try_for_each(|record| files::remove_file(&record.path(state)))
}

/// Which copies go. One whose restore point is not complete only does when it is of no restore point.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Going<'a> {
    /// Those of no restore point.
    Orphans,
    /// All but that of the first restore point of this run, of any run where there is none, and the newest.
    Superseded(Option<&'a str>),
    /// All but that of the first: there is no room for more.
    Tight(Option<&'a str>),
    /// All that are not pinned.
    Released,
    /// All: an upgrade of PostgreSQL would carry them along.
    Stored,
}

impl Going<'_> {
    /// Whether the copy of a complete restore point goes.
    fn takes(self, pin: Option<&Pin>, is_newest: bool) -> bool {
        let is_first =
            |run: Option<&str>| pin.is_some_and(|pin| pin.why == Why::First && run.is_none_or(|run| pin.run == run));
        match self {
            Self::Orphans => false,
            Self::Superseded(run) => !is_newest && !is_first(run),
            Self::Tight(run) => !is_first(run),
            Self::Released => pin.is_none(),
            Self::Stored => true,
        }
    }
}

/// Removes the copies that are to go, and forgets those that are gone. Returns how many were removed.
///
/// # Errors
/// Failed when one cannot be removed.
pub(crate) fn sweep(
    installation: &Installation,
    claim: &Claim<'_>,
    going: Going<'_>,
    lock: &LockGuard,
) -> Result<usize> {
    let state = &installation.state;
    let mut condemned = Vec::new();
    let standing = all(state)?.into_iter().map(|record| (record.standing(), record)).collect::<Vec<_>>();
    let newest = standing.iter().rposition(|(standing, _)| matches!(standing, Standing::Of(_)));
    for (index, (standing, record)) in standing.into_iter().enumerate() {
        let goes = match standing {
            Standing::Orphan => true,
            Standing::Unknown => {
                unknown(installation, claim, &record)?;
                false
            }
            Standing::Of(point) => {
                let pin = pins::all(&record.store)?.into_iter().find(|pin| pin.id == record.id);
                point.head.incomplete().is_none() && going.takes(pin.as_ref(), Some(index) == newest)
            }
        };
        if goes {
            condemned.push(record);
        }
    }
    if condemned.is_empty() {
        return Ok(0);
    }
    let admin = administrator(installation, claim)?.database;
    for record in &condemned {
        remove(&admin, state, record, lock)?;
        ui::say(&format!("removed the frozen copy {} of the restore point {}", record.copy, record.id));
    }
    Ok(condemned.len())
}

/// Which cluster this is; empty where it does not tell.
pub(crate) fn identifier_of(admin: &Database) -> String {
    let sql = "SELECT system_identifier::pg_catalog.text AS identifier FROM pg_catalog.pg_control_system()";
    admin.value(sql).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Says of a copy that it stays, and how it goes. One that somebody has removed is forgotten.
fn unknown(installation: &Installation, claim: &Claim<'_>, record: &Record) -> Result<()> {
    let stays = format!(
        "the frozen copy {} stays: `{}` does not tell whether the restore point {} is gone",
        record.copy,
        record.store.display(),
        record.id
    );
    let admin = match administrator(installation, claim) {
        Ok(admin) => admin.database,
        Err(error) => {
            ui::say(&format!("{stays} ({})", error.one_line()));
            return Ok(());
        }
    };
    if !exists(&admin, &record.copy)? {
        if !record.cluster.is_empty() && identifier_of(&admin) == record.cluster {
            return files::remove_file(&record.path(&installation.state));
        }
        ui::say(&format!("{stays}; it is in the cluster that had the database of the server when it was made"));
        return Ok(());
    }
    let drop: Vec<String> = properties::dropping(&admin, &record.copy)?.iter().map(|sql| admin.shown(sql)).collect();
    ui::say(&format!("{stays}; once it is known to be: {}", drop.join(" && ")));
    Ok(())
}
