//! What takes the place of the database, looked at before anything is made: the plan of a restore holds it, and its run
//! carries it out.

use mm_common::contract::error::{Error, Result};
use mm_common::contract::ui;
use mm_common::machine::disk;
use mm_common::mattermost::site::Installation;
use mm_common::mattermost::way_back::original::Original;
use mm_common::mattermost::way_back::{Administrator, administrator, exists as has};
use mm_common::postgres::cluster::Cluster;
use mm_common::postgres::properties::{self, Properties};
use mm_common::postgres::proven::Claim;
use mm_common::postgres::room::{self, Need};
use mm_common::postgres::server::Database;
use mm_common::postgres::since;
use mm_common::postgres::slots::{self, Slot};
use mm_common::postgres::source::DataSource;

use super::{frozen, login, own};
use crate::manifest::DatabasePart;
use crate::store::Point;

/// How a database is put back.
pub(crate) struct Way<'a> {
    /// On whose behalf.
    pub claim: Claim<'a>,
    /// `--accept superuser-objects`.
    pub accepts_superuser_objects: bool,
    /// `--accept frozen-copy`.
    pub accepts_changes: bool,
    /// When it began.
    pub stamp: &'a str,
    /// `--jobs`.
    pub jobs: usize,
    /// The data source that the server will have, where a restored configuration gives it another role or password.
    pub login: Option<&'a DataSource>,
}

impl Way<'_> {
    /// The data source that the server will have.
    pub(super) fn login<'a>(&'a self, present: &'a DataSource) -> &'a DataSource {
        self.login.unwrap_or(present)
    }
}

/// What takes the place of the database.
pub(crate) struct Ready<'a> {
    pub(super) new: New<'a>,
    /// Replication slots of the database that is there.
    slots: Vec<Slot>,
}

/// Where the new database comes from.
pub(super) enum New<'a> {
    /// The frozen copy of the restore point.
    Copy(Box<frozen::Copy<'a>>),
    /// Its dump.
    Dump(Box<Looked<'a>>),
}

impl Ready<'_> {
    /// The exchange, and what it leaves behind, each after "would".
    pub(crate) fn steps(&self) -> Vec<String> {
        let (name, what) = match &self.new {
            New::Copy(copy) => (&copy.frozen.name, format!("its frozen copy {}", copy.frozen.copy)),
            New::Dump(looked) => {
                (&looked.source.database, format!("one with {}", ui::count(looked.part.tables.len(), "table")))
            }
        };
        let slots =
            self.slots.iter().map(|slot| format!("leave the {} with the database that is there now", slot.in_words()));
        std::iter::once(format!("exchange the database {name} for {what}")).chain(slots).collect()
    }

    /// The room that is needed beside the database that is there: a frozen copy has it already.
    pub(crate) fn needs(&self) -> &[Need] {
        match &self.new {
            New::Copy(_) => &[],
            New::Dump(looked) => &looked.needs,
        }
    }

    /// Says what is left behind, and what to do about it.
    pub(crate) fn tell(&self) {
        for slot in &self.slots {
            ui::warn(&format!(
                "the {} stays with the database that is there now, and keeps its write-ahead log: whoever reads it has to begin anew. \
                 When the restore is done: {} && {}",
                slot.in_words(),
                slot.dropping,
                slot.making
            ));
        }
    }
}

impl New<'_> {
    fn admin(&self) -> (&Database, &str) {
        match self {
            Self::Copy(copy) => (&copy.admin.database, &copy.frozen.name),
            Self::Dump(looked) => (&looked.admin, &looked.source.database),
        }
    }
}

/// The frozen copy of the restore point, where it is there; else its dump.
///
/// # Errors
/// Those that a restore of the database ends with before it makes anything.
pub(crate) fn ready<'a>(point: &'a Point, installation: &'a Installation, how: &Way<'_>) -> Result<Ready<'a>> {
    let new = match frozen::look(point, installation, how)? {
        Some(copy) => New::Copy(Box::new(copy)),
        None => New::Dump(Box::new(look(point, installation, how)?)),
    };
    let (admin, name) = new.admin();
    let slots = slots::of_database(admin, name)?;
    // A role that is not there is made with the password that it is to have.
    if let Some(login) = how.login
        && since::missing(admin, std::slice::from_ref(&login.user))?.is_empty()
    {
        login::require_let_in(login, installation)?;
    }
    Ok(Ready { new, slots })
}

/// What is known before anything is made.
pub(crate) struct Looked<'a> {
    pub(super) part: &'a DatabasePart,
    pub(super) source: &'a DataSource,
    pub(super) admin: Database,
    pub(super) cluster: Option<Cluster>,
    pub(super) is_superuser: bool,
    /// The room that it takes where it is filled, as far as that is on this machine.
    needs: Vec<Need>,
}

fn look<'a>(point: &'a Point, installation: &'a Installation, how: &Way<'_>) -> Result<Looked<'a>> {
    let part = point
        .head
        .database
        .as_ref()
        .ok_or_else(|| Error::refused(format!("the restore point {} holds no database", point.head.id)))?;
    let source = installation.source.as_ref().ok_or_else(|| Error::refused("the server does not use PostgreSQL"))?;
    require_same_name(point, &part.name, &source.database)?;
    let Administrator { database: admin, cluster, is_superuser } = reach(installation, how)?;
    let needs = needs((part.bytes, &part.properties), cluster.as_ref(), &admin, &source.database)?;
    require_room(&needs)?;
    since::require_heir(&admin, &how.login(source).user, &part.properties.owner, &part.properties.roles)?;
    if !is_superuser {
        own::require_able(&admin, part, &point.path.join(&part.dump.path))?;
    }
    Ok(Looked { part, source, admin, cluster, is_superuser, needs })
}

/// What a restore ends with whose database has to be stored first, as far as that is known before.
///
/// # Errors
/// As [`ready`].
pub(crate) fn foretell(point: &Point, original: &Original, installation: &Installation, how: &Way<'_>) -> Result<()> {
    let source = installation.source.as_ref().ok_or_else(|| Error::refused("the server does not use PostgreSQL"))?;
    require_same_name(point, &original.place.database, &source.database)?;
    let Administrator { database: admin, cluster, .. } = reach(installation, how)?;
    require_room(&needs((original.bytes, &original.properties), cluster.as_ref(), &admin, &source.database)?)
}

fn reach(installation: &Installation, how: &Way<'_>) -> Result<Administrator> {
    administrator(installation, &how.claim).map_err(|error| {
        let first = error.next_step().map(|step| format!("{step}; or ")).unwrap_or_default();
        error.with_hint(format!("{first}restore into an empty database with --into-database URL"))
    })
}

/// A restore goes only into the database that restore point and configuration both name: a configuration that names
/// another one would have that replaced.
pub(crate) fn require_same_name(point: &Point, name: &str, named: &str) -> Result<()> {
    if name == named {
        return Ok(());
    }
    Err(Error::refused(format!("the restore point {} is not one of the database `{named}`", point.head.id))
        .because(format!("it holds the database `{name}`; the configuration names `{named}`"))
        .hint("correct SqlSettings.DataSource, or restore into an empty database with --into-database URL"))
}

/// The room that a database of this size and with these properties takes in a cluster, where it takes the place of `name`;
/// nothing of a cluster of another machine.
pub(super) fn needs(
    (bytes, properties): (u64, &Properties),
    cluster: Option<&Cluster>,
    admin: &Database,
    name: &str,
) -> Result<Vec<Need>> {
    let Some(data) = cluster.and_then(Cluster::data_here) else { return Ok(Vec::new()) };
    let present = has(admin, name)?.then(|| admin.sibling(name));
    let space = properties::usable_tablespace(admin, properties)?;
    room::needed(data, admin, present.as_ref(), bytes, space)
}

/// Requires that there is that much room.
pub(super) fn require_room(needs: &[Need]) -> Result<()> {
    needs.iter().try_for_each(|need| {
        disk::require(&need.place, need.bytes, need.what)
            .map_err(|error| error.with_hint("make room there; the old database stays until prune, so both must fit"))
    })
}
