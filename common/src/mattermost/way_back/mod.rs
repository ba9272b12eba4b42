//! How the database of a hop is rolled back. Whoever rolls one back, or says beforehand how it would be, asks here: the
//! cluster that an upgrade of PostgreSQL in this hop has kept, else the frozen copy of the database, else the dump of the
//! restore point, else there is no way.

mod administrator;
mod copy;
mod kept;
mod moved;
pub mod original;
mod release;
mod trial;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use administrator::{Administrator, administrator, exists};
pub use moved::{Moved, Place, database_for, last as last_move};
pub use trial::{ACCEPT, Finding, PATRONI_HINT, Trial, checks, judge};

use super::handed_on;
use super::site::Installation;
use crate::contract::error::{self, Context as _, Error, Result};
use crate::contract::shell;
use crate::contract::ui;
use crate::machine::files;
use crate::postgres::proven::Claim;
use crate::postgres::server::Database;
use crate::postgres::since;
use kept::Look;
use original::Standing;

/// Stopping one cluster and starting another, in seconds: observed were 2 to 6.
const EXCHANGE_OF_CLUSTERS: u64 = 10;

/// Renaming a frozen copy, in seconds: observed were 0.3 to 0.5, whatever it holds.
const RENAMING: u64 = 1;

/// Changing the data sources, in seconds.
const POINTING: u64 = 2;

/// What a restore takes beyond the rows: roles, names, statistics.
const AROUND_A_RESTORE: u64 = 10;

/// Bytes of database that a restore makes in a second: 602 MB took 30 s with two processes (see [`crate::postgres::dump`]).
const RESTORED_PER_SECOND: u64 = 20 << 20;

/// About how long it takes to restore the dump of a database of so many bytes, in seconds.
#[must_use]
pub const fn restore_seconds(bytes: u64) -> u64 {
    AROUND_A_RESTORE + bytes / RESTORED_PER_SECOND
}

/// Whether mm-pgbump has led the server to the database that it works with, in an upgrade or a move that began after `since`
/// (RFC 3339, UTC).
///
/// # Errors
/// When its records cannot be read, or the database cannot be asked.
pub fn led_since(state: &Path, since: &str, database: &Database) -> Result<bool> {
    Ok(moved::led_since(state, since, database)? || kept::led_since(state, since, database)?)
}

/// A restore point that a hop can be rolled back with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestorePoint {
    /// Its identifier.
    pub id: String,
    /// The store it is in.
    pub store: PathBuf,
    /// When its snapshot of the database was taken.
    pub created: String,
}

/// The upgrade of PostgreSQL that was part of a hop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bump {
    /// The cluster before: `13/main`.
    pub from: String,
    /// The cluster after.
    pub to: String,
}

/// A hop, as far as it matters to its database.
#[derive(Debug, Clone, Copy)]
pub struct Hop<'a> {
    /// The upgrade of PostgreSQL that was part of it, where that is on record.
    pub bump: Option<&'a Bump>,
    /// Its restore point.
    pub point: Option<&'a RestorePoint>,
}

/// By what a database is rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The cluster of before the hop serves again (`mm-pgbump rollback`).
    KeptCluster,
    /// The frozen copy of the database gets its name (`mm-backup restore ID --database`).
    FrozenCopy,
    /// The server is pointed at the database again that a move of this hop has left as it was (`mm-pgbump rollback`).
    UntouchedSource,
    /// The dump of the restore point is restored (`mm-backup restore ID --database`).
    Dump,
    /// By nothing.
    Closed,
}

/// How the database of a hop would be rolled back now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WayBack {
    /// By what.
    pub kind: Kind,
    /// The cluster, or the restore point.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// What was written from then on is lost (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Posts written since, where they can be counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub posts: Option<u64>,
    /// About how long it takes, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// Why it is not by what comes first, or closed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// What opens it, where it is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl WayBack {
    /// What is lost, for people.
    pub fn loss(&self) -> String {
        match (&self.since, self.posts) {
            (Some(since), Some(posts)) => {
                format!("the {} written since {since} would be lost", ui::count(posts, "post"))
            }
            (Some(since), None) => format!("what was written since {since} would be lost"),
            (None, _) => "what was written since would be lost".into(),
        }
    }

    /// By what and how long, for people.
    pub fn in_words(&self) -> String {
        let to = self.to.as_deref().unwrap_or_default();
        let way = match self.kind {
            Kind::KeptCluster => format!("the cluster {to}, which was kept, serves again"),
            Kind::FrozenCopy => format!("the frozen copy of the restore point {to} takes the place of the database"),
            Kind::UntouchedSource => format!("the server is pointed at {to} again, which the move has left as it was"),
            Kind::Dump => format!("the database is restored from the restore point {to}"),
            Kind::Closed => return format!("there is no way back: {}", self.causes.join("; ")),
        };
        match self.seconds {
            Some(seconds) => format!("{way} (about {seconds} s)"),
            None => way,
        }
    }
}

/// Decides how the database of a hop is rolled back. `database` is the server's own, as it is now. Only looks.
///
/// # Errors
/// When something cannot be looked at; that there is no way is no error.
pub fn of_hop(hop: Hop<'_>, site: &Installation, database: &Database, claim: &Claim<'_>) -> Result<WayBack> {
    let mut causes = Vec::new();
    // What cannot be looked at of either closes that way, and not the one through the dump.
    match moved::look(hop, site.state.path(), database) {
        Ok(moved::Look::Usable { label, since }) => {
            let posts = posts_since(database, &since).ok();
            let (to, since, seconds) = (Some(label), Some(since), Some(POINTING));
            return Ok(WayBack { kind: Kind::UntouchedSource, to, since, posts, seconds, causes, hint: None });
        }
        Ok(moved::Look::Unusable(why)) => causes.push(why),
        Ok(moved::Look::NoMove) => {}
        Err(error) => causes.push(format!("whether a move can be taken back cannot be told: {}", error.one_line())),
    }
    let look = kept::look(hop, site.state.path(), database).unwrap_or_else(|error| {
        Look::Unusable(format!("whether a kept cluster can serve again cannot be told: {}", error.one_line()))
    });
    match look {
        Look::Usable { cluster, since } => {
            let posts = posts_since(database, &since).ok();
            let (to, since, seconds) = (Some(cluster), Some(since), Some(EXCHANGE_OF_CLUSTERS));
            return Ok(WayBack { kind: Kind::KeptCluster, to, since, posts, seconds, causes, hint: None });
        }
        Look::Unusable(why) => causes.push(why),
        Look::NoBump => {}
    }
    let by = |kind, point: &RestorePoint, seconds, causes| WayBack {
        kind,
        to: Some(point.id.clone()),
        since: Some(point.created.clone()),
        posts: posts_since(database, &point.created).ok(),
        seconds: Some(seconds),
        causes,
        hint: None,
    };
    match copy::look(hop, site, claim) {
        copy::Look::Usable(point) => return Ok(by(Kind::FrozenCopy, point, RENAMING, causes)),
        copy::Look::Unusable(why) => causes.push(why),
        copy::Look::NotFrozen => {}
    }
    match dump(hop, site, claim) {
        Ok((point, seconds)) => Ok(by(Kind::Dump, point, seconds, causes)),
        Err(error) => {
            causes.push(error.one_line());
            let hint = error.next_step().map(str::to_owned);
            Ok(WayBack { kind: Kind::Closed, to: None, since: None, posts: None, seconds: None, causes, hint })
        }
    }
}

/// How the database of a hop is rolled back where the server's present one cannot be reached: the one that was moved from needs
/// nothing of it. None where the hop has moved nothing.
///
/// # Errors
/// When the record cannot be read.
pub fn of_unreached(hop: Hop<'_>, state: &Path) -> Result<Option<WayBack>> {
    let moved = moved::of_hop(hop, state)?.filter(|moved| moved.proven);
    Ok(moved.map(|moved| WayBack {
        kind: Kind::UntouchedSource,
        to: Some(moved.from.label()),
        since: Some(moved.started),
        posts: None,
        seconds: Some(POINTING),
        causes: Vec::new(),
        hint: None,
    }))
}

/// Whether the dump of the restore point can be restored, and about how long that takes.
fn dump<'a>(hop: Hop<'a>, site: &Installation, claim: &Claim<'_>) -> Result<(&'a RestorePoint, u64)> {
    let elsewhere = "restore files and database together from a restore point of your own: `mm-backup list`, `mm-backup restore ID`";
    let point = hop.point.ok_or_else(|| Error::refused("no restore point was made for the hop").hint(elsewhere))?;
    let path = point.store.join(&point.id);
    if files::look(&path)?.is_none() {
        let gone = format!("there is no restore point {} in `{}` any more", point.id, point.store.display());
        return Err(
            Error::refused(gone).hint(format!("mount what is on {}; or {elsewhere}", shell::word(&point.store)))
        );
    }
    let name = site.source.as_ref().map_or("", |source| source.database.as_str());
    let held = handed_on::held(&path, &point.id, &site.root, name)?;
    if !held.dumped {
        let frozen =
            Error::refused(format!("the restore point {} is frozen: its database is not stored in it", point.id));
        let is_left = held.original.is_some()
            && matches!(original::standing(site.state.path(), &point.id)?, Standing::Kept(_) | Standing::Moved(_));
        return Err(if is_left {
            let command = handed_on::completing((&point.id, &point.store), &site.root, site.state.path());
            frozen.hint(format!("{command}, then this again; or {elsewhere}"))
        } else {
            frozen.hint(elsewhere)
        });
    }
    match administrator(site, claim) {
        Ok(admin) => {
            let role = site.source.as_ref().map_or("", |source| source.user.as_str());
            since::require_heir(&admin.database, role, &held.owner, &held.roles)?;
        }
        Err(error) if error.kind() == error::Kind::Refused => return Err(error),
        // What cannot be seen now is for the restore to say.
        Err(_) => {}
    }
    Ok((point, restore_seconds(held.bytes)))
}

/// Posts created since a moment (RFC 3339): what a return to it takes from the users.
///
/// # Errors
/// When they cannot be counted.
pub fn posts_since(database: &Database, since: &str) -> Result<u64> {
    let attempt = || "cannot count the posts written since".to_owned();
    let since: Timestamp = since.parse().map_err(|_| Error::failed(attempt()))?;
    let count = database
        .value(&format!("SELECT pg_catalog.count(*) FROM posts WHERE createat > {}", since.as_millisecond()))
        .context(attempt)?;
    count.as_u64().ok_or_else(|| Error::failed(attempt()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_by_what_how_long_and_what_is_lost() {
        let way = WayBack {
            kind: Kind::KeptCluster,
            to: Some("13/main".into()),
            since: Some("2026-11-22T03:00:00Z".into()),
            posts: Some(1),
            seconds: Some(10),
            causes: Vec::new(),
            hint: None,
        };
        assert_eq!(way.in_words(), "the cluster 13/main, which was kept, serves again (about 10 s)");
        assert_eq!(way.loss(), "the 1 post written since 2026-11-22T03:00:00Z would be lost");
        let closed = WayBack { kind: Kind::Closed, causes: vec!["a".into(), "b".into()], ..way };
        assert_eq!(closed.in_words(), "there is no way back: a; b");
        assert_eq!(serde_json::to_value(&closed).unwrap()["kind"], "closed");
    }
}
