//! Restoring the database into place: under a new name, compared, then renamed; the old one is kept under a name that
//! says so.

use mm_common::contract::error::{Error, Result};
use mm_common::contract::ui;
use mm_common::machine::{checkpoint, files};
use mm_common::mattermost::site::Installation;
use mm_common::mattermost::way_back::{administrator, exists as has};
use mm_common::postgres::dump::literal;
use mm_common::postgres::properties;
use mm_common::postgres::roles;
use mm_common::postgres::server::Database;
use mm_common::postgres::since;
use mm_common::postgres::source::DataSource;
use mm_common::postgres::tried::Abilities;

use crate::database;
use crate::fill::{Filling, SUPERUSER_OBJECTS};
use crate::manifest::DatabasePart;
use crate::store::Point;

mod exchange;
mod finish;
mod frozen;
pub(crate) mod login;
mod own;
mod ready;

pub(crate) use self::exchange::{Exchanged, Renaming, is_done};
use self::ready::{Looked, New};
pub(crate) use self::ready::{Ready, Way, foretell, ready, require_same_name};

/// PostgreSQL cuts longer names off.
const LONGEST_NAME: usize = 63;

/// A restored database that waits for its name.
pub(crate) struct Prepared {
    /// Connected to another database of the server, as somebody who may rename.
    admin: Database,
    target: String,
    new: String,
    kept: String,
    /// What it is, for people.
    said: String,
    /// Of a frozen copy: what opens it under its name, and what closes it again.
    frozen: Option<frozen::Opening>,
    /// The role of the server, which does not get into a database of another name, and what it could do.
    untried: Option<(Database, Abilities)>,
}

/// The frozen copy of the restore point, or its dump, restored into a new database beside the one that the server uses,
/// every table compared.
pub(crate) fn prepare(point: &Point, ready: Ready<'_>, installation: &Installation, how: &Way<'_>) -> Result<Prepared> {
    match ready.new {
        New::Copy(copy) => copy.prepare(installation, how),
        New::Dump(looked) => fill_beside(point, *looked, installation, how),
    }
}

fn fill_beside(point: &Point, looked: Looked<'_>, installation: &Installation, how: &Way<'_>) -> Result<Prepared> {
    let Way { accepts_superuser_objects, stamp, jobs, .. } = how;
    let (accepts_superuser_objects, jobs) = (*accepts_superuser_objects, *jobs);
    let Looked { part, source, admin, cluster, is_superuser, .. } = looked;
    let target = source.database.clone();
    let login = how.login(source);
    let mut prepared = Prepared {
        untried: None,
        new: beside(&target, &format!("_mm_new_{stamp}")),
        kept: beside(&target, &format!("_mm_before_{stamp}")),
        admin,
        target,
        said: format!("{}, equal to the manifest", ui::count(part.tables.len(), "table")),
        frozen: None,
    };
    prepared.drop_leftovers()?;
    // The files have been staged since it was looked at, maybe beside the cluster, which a full disk would end.
    let size = (part.bytes, &part.properties);
    ready::require_room(&ready::needs(size, cluster.as_ref(), &prepared.admin, &prepared.target)?)?;
    if is_superuser {
        create_roles(point, part, &prepared.admin, login)?;
    }
    if how.login.is_some() {
        login::require_let_in(login, installation)?;
    }
    let mut properties = part.properties.clone();
    if let Some(space) = &properties.tablespace
        && properties::usable_tablespace(&prepared.admin, &properties)?.is_none()
    {
        ui::warn(&format!(
            "the database lay in the tablespace {space}, which is not there to be used: it is restored where the cluster's others lie"
        ));
    }
    if is_superuser {
        for left in prepared.leave_out_privileged(&mut properties, accepts_superuser_objects)? {
            ui::warn(&format!(
                "left out: {left}: it is a superuser's to set, and the database has not got it now; give --accept {SUPERUSER_OBJECTS} to take it over"
            ));
        }
    } else {
        // Who is no superuser can give a database to itself only.
        properties.owner.clone_from(&source.user);
    }
    let filled = match cluster.filter(|_| is_superuser) {
        Some(cluster) => {
            let replaced = has(&prepared.admin, &prepared.target)?.then(|| prepared.admin.sibling(&prepared.target));
            let filling = Filling {
                admin: &prepared.admin,
                name: &prepared.new,
                replaced,
                dump: point.path.join(&part.dump.path),
                properties: &properties,
                cluster: &cluster,
                role: &login.user,
                accepted: accepts_superuser_objects,
            };
            filling.fill(jobs)
        }
        None => properties::create_like(&prepared.admin, &prepared.new, &properties).and_then(|()| {
            checkpoint::pass("database-created");
            own::fill(&prepared, &point.path.join(&part.dump.path), part, jobs)
        }),
    };
    let finished = filled
        .and_then(|filled| prepared.finish(point, part, &properties, &filled, jobs))
        .and_then(|()| prepared.try_as_the_server(installation, how));
    if let Err(error) = finished {
        prepared.give_up();
        return Err(error);
    }
    Ok(prepared)
}

/// A name beside that of a database, cut to what PostgreSQL keeps.
pub(crate) fn beside(name: &str, suffix: &str) -> String {
    let room = LONGEST_NAME.saturating_sub(suffix.len());
    let end = (0..=room.min(name.len())).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    format!("{}{suffix}", &name[..end])
}

fn create_roles(point: &Point, part: &DatabasePart, admin: &Database, source: &DataSource) -> Result<()> {
    let globals = match &part.globals {
        Some(globals) => files::read_text(&point.path.join(&globals.path), 64 << 20)?,
        None => String::new(),
    };
    let created = roles::create_missing(admin, &globals, &part.properties.roles, Some(source))?;
    for changed in since::changed(admin, &globals, &part.properties.roles)? {
        ui::say(&changed);
    }
    for role in &created.roles {
        ui::say(&format!("the role {role} was not there and has been created"));
    }
    for power in &created.left_out {
        ui::warn(&format!("left out: {power}; if it is to have that, a superuser can give it (ALTER ROLE)"));
    }
    Ok(())
}

impl Prepared {
    /// Another database of the same server, as somebody who may rename.
    pub(crate) fn admin(&self) -> &Database {
        &self.admin
    }

    /// The restored database, under its name until the exchange.
    pub(crate) fn database(&self) -> Database {
        self.admin.sibling(&self.new)
    }

    /// Removes the restored database again. A frozen copy stays.
    pub(crate) fn give_up(&self) {
        if self.frozen.is_some() {
            return;
        }
        if let Err(error) = self.drop_database(&self.new) {
            ui::warn(&format!("the database `{}` is left over: {}", self.new, error.one_line()));
        }
    }

    /// Restored databases of runs that were cut off.
    fn drop_leftovers(&self) -> Result<()> {
        let prefix = beside(&self.target, &format!("_mm_new_{}", "0".repeat(16)));
        let prefix = &prefix[..prefix.len() - 16];
        let rows = self.admin.rows(&format!(
            "SELECT datname AS name FROM pg_catalog.pg_database WHERE pg_catalog.starts_with(datname, {})",
            literal(prefix)
        ))?;
        for name in rows.iter().filter_map(|row| row["name"].as_str()) {
            self.drop_database(name)?;
        }
        Ok(())
    }

    fn drop_database(&self, name: &str) -> Result<()> {
        properties::drop(&self.admin, name)
    }
}

/// Removes a database that a restore has kept.
pub(crate) fn drop_kept(installation: &Installation, name: &str) -> Result<()> {
    let source = installation.source.as_ref().ok_or_else(|| Error::refused("the server does not use PostgreSQL"))?;
    if !name.contains("_mm_before_") || name == source.database {
        return Err(Error::refused(format!("`{name}` is not the name of a database that was kept")));
    }
    let admin = administrator(installation, &database::claim(installation, false, None))?.database;
    properties::drop(&admin, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_stay_within_what_postgresql_keeps() {
        let name = beside(&"ä".repeat(40), "_mm_before_20261122T030000Z");
        assert!(name.len() <= LONGEST_NAME && name.ends_with("_mm_before_20261122T030000Z"), "{name}");
        assert_eq!(beside("mattermost", "_x"), "mattermost_x");
    }
}
