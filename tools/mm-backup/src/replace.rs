//! Restoring the database into place: under a new name, compared, then renamed; the old one is kept under a name that
//! says so.

use std::path::Path;

use mm_common::contract::error::{Error, Result};
use mm_common::contract::ui;
use mm_common::machine::{checkpoint, disk, files};
use mm_common::mattermost::site::Installation;
use mm_common::mattermost::way_back::{Administrator, administrator, exists as has};
use mm_common::postgres::cluster::Cluster;
use mm_common::postgres::dump::{self, identifier, literal};
use mm_common::postgres::properties::{self, Properties};
use mm_common::postgres::proven::Claim;
use mm_common::postgres::roles;
use mm_common::postgres::room;
use mm_common::postgres::server::Database;
use mm_common::postgres::since;
use mm_common::postgres::source::DataSource;
use mm_common::postgres::tried::{self, Abilities};

use crate::database;
use crate::equal::{self, Comparison};
use crate::fill::{Filled, Filling, SUPERUSER_OBJECTS};
use crate::manifest::DatabasePart;
use crate::store::Point;

mod exchange;
mod frozen;
pub(crate) mod login;
mod own;

pub(crate) use self::exchange::{Exchanged, Renaming, is_done};

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

/// What is known before anything is made.
struct Looked<'a> {
    part: &'a DatabasePart,
    source: &'a DataSource,
    admin: Database,
    cluster: Option<Cluster>,
    is_superuser: bool,
}

fn look<'a>(point: &'a Point, installation: &'a Installation, how: &Way<'_>) -> Result<Looked<'a>> {
    let part = point
        .head
        .database
        .as_ref()
        .ok_or_else(|| Error::refused(format!("the restore point {} holds no database", point.head.id)))?;
    let source = installation.source.as_ref().ok_or_else(|| Error::refused("the server does not use PostgreSQL"))?;
    require_same_name(point, &part.name, &source.database)?;
    let administrator = administrator(installation, &how.claim).map_err(|error| {
        let first = error.next_step().map(|step| format!("{step}; or ")).unwrap_or_default();
        error.with_hint(format!("{first}restore into an empty database with --into-database URL"))
    });
    let Administrator { database: admin, cluster, is_superuser } = administrator?;
    if let Some(data) = cluster.as_ref().and_then(Cluster::data_here) {
        require_space(part, data, &admin, &source.database)?;
    }
    since::require_heir(&admin, &how.login(source).user, &part.properties.owner, &part.properties.roles)?;
    if !is_superuser {
        own::require_able(&admin, part, &point.path.join(&part.dump.path))?;
    }
    Ok(Looked { part, source, admin, cluster, is_superuser })
}

/// The database that would be exchanged, and for what.
pub(crate) fn foresee(point: &Point, installation: &Installation, how: &Way<'_>) -> Result<(String, String)> {
    if let Some(copy) = frozen::look(point, installation, how)? {
        return Ok((copy.frozen.name.clone(), format!("its frozen copy {}", copy.frozen.copy)));
    }
    let looked = look(point, installation, how)?;
    if let Some(login) = how.login
        && since::missing(&looked.admin, std::slice::from_ref(&login.user))?.is_empty()
    {
        login::require_let_in(login, installation)?;
    }
    let tables = ui::count(looked.part.tables.len(), "table");
    Ok((looked.source.database.clone(), format!("one with {tables}")))
}

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
    fn login<'a>(&'a self, present: &'a DataSource) -> &'a DataSource {
        self.login.unwrap_or(present)
    }
}

/// The frozen copy of the restore point, where it is there; else its dump, restored into a new database beside the one that
/// the server uses, every table compared.
pub(crate) fn prepare(point: &Point, installation: &Installation, how: &Way<'_>) -> Result<Prepared> {
    if let Some(copy) = frozen::look(point, installation, how)? {
        return copy.prepare(installation, how);
    }
    let Way { accepts_superuser_objects, stamp, jobs, .. } = how;
    let (accepts_superuser_objects, jobs) = (*accepts_superuser_objects, *jobs);
    let Looked { part, source, admin, cluster, is_superuser } = look(point, installation, how)?;
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

fn require_space(part: &DatabasePart, data: &Path, admin: &Database, name: &str) -> Result<()> {
    let present = has(admin, name)?.then(|| admin.sibling(name));
    let space = properties::usable_tablespace(admin, &part.properties)?;
    for need in room::needed(data, admin, present.as_ref(), part.bytes, space)? {
        disk::require(&need.place, need.bytes, need.what).map_err(|error| {
            error.with_hint("make room there; the old database stays until prune, so both must fit")
        })?;
    }
    Ok(())
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
    /// Compares what was restored, and gives it rights, settings and statistics.
    fn finish(
        &self,
        point: &Point,
        part: &DatabasePart,
        properties: &Properties,
        filled: &Filled,
        jobs: usize,
    ) -> Result<()> {
        let database = self.database();
        checkpoint::pass("database-restored");
        equal::require(&point.path, part, &database, jobs)?;
        let comparison = Comparison {
            part,
            dump: &point.path.join(&part.dump.path),
            restored: &database,
            kept_back: &filled.kept_back,
            left_rights: &filled.left_rights,
            spaces: filled.spaces.as_ref(),
            roles: &filled.roles,
            as_replaced: filled.as_replaced,
        };
        let mut found = comparison.differences()?;
        let unsettled = properties::settle(&self.admin, &self.new, properties);
        if filled.spaces.is_none() {
            own::tell(&database, part, &unsettled)?;
        } else if unsettled.is_empty() {
            found.extend(equal::of_properties(&database, properties)?);
        }
        equal::refuse_different(&database, found)?;
        for (what, error) in unsettled {
            ui::warn(&format!(
                "the restored database lacks what was set for it: {what} ({}); a superuser can set it, `{}` has it",
                error.one_line(),
                point.path.join("manifest.json").display()
            ));
        }
        // Without statistics the first hours would be slow. PostgreSQL collects them as the owner of each table, whose
        // functions may want a search path of their own.
        let analyzed = database.with_limit(dump::LIMIT).execute_each("ANALYZE");
        if let Err(error) = analyzed {
            ui::warn(&format!(
                "not all statistics could be collected (ANALYZE as the owner does it): {}",
                error.one_line()
            ));
        }
        Ok(())
    }

    /// Lets the server's own role do in the restored database what it does in the present one: connect, read, and make and
    /// drop a table.
    fn try_as_the_server(&mut self, installation: &Installation, how: &Way<'_>) -> Result<()> {
        let present = installation.database();
        let could = present.as_ref().map(tried::now).unwrap_or_default();
        let own = match how.login {
            Some(login) => login::enter(login, installation),
            None => present,
        };
        let Ok(own) = own else { return Ok(()) };
        let restored = own.sibling(&self.new);
        if let Err(error) = restored.value("SELECT 1 AS one") {
            ui::say(&format!("not tried as the server's role before it has its name: {}", error.one_line()));
            self.untried = Some((own.sibling(&self.target), could));
            return Ok(());
        }
        tried::as_the_server(&restored, could)
    }

    /// Takes those settings out of `properties` that only a superuser may make, where the database that is replaced has not
    /// the same value now. Such a setting can name a library that every session loads.
    fn leave_out_privileged(&self, properties: &mut Properties, accepted: bool) -> Result<Vec<String>> {
        if accepted || properties.settings.is_empty() {
            return Ok(Vec::new());
        }
        let list = |sql: &str| -> Result<Vec<String>> {
            let rows = self.admin.rows(sql)?;
            Ok(rows.iter().filter_map(|row| row["name"].as_str().map(str::to_owned)).collect())
        };
        let privileged = list("SELECT name FROM pg_catalog.pg_settings WHERE context <> 'user'")?;
        let superusers = list("SELECT rolname AS name FROM pg_catalog.pg_roles WHERE rolsuper")?;
        let now = if has(&self.admin, &self.target)? {
            properties::read(&self.admin.sibling(&self.target))?.settings
        } else {
            Vec::new()
        };
        let (mut kept, mut left) = (Vec::new(), Vec::new());
        for setting in properties.settings.drain(..) {
            let of_superuser = setting.role.as_ref().is_some_and(|role| superusers.contains(role));
            let is_privileged = privileged.iter().any(|name| name.eq_ignore_ascii_case(&setting.name));
            if (is_privileged || of_superuser) && !now.contains(&setting) {
                let of = setting.role.map_or_else(String::new, |role| format!(" of {role}"));
                left.push(format!("the setting {}{of}", setting.name));
            } else {
                kept.push(setting);
            }
        }
        properties.settings = kept;
        Ok(left)
    }

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
        self.admin.execute_each(&format!("DROP DATABASE IF EXISTS {}", identifier(name)))
    }
}

/// Removes a database that a restore has kept.
pub(crate) fn drop_kept(installation: &Installation, name: &str) -> Result<()> {
    let source = installation.source.as_ref().ok_or_else(|| Error::refused("the server does not use PostgreSQL"))?;
    if !name.contains("_mm_before_") || name == source.database {
        return Err(Error::refused(format!("`{name}` is not the name of a database that was kept")));
    }
    let admin = administrator(installation, &database::claim(installation, false, None))?.database;
    admin.execute_each(&format!("DROP DATABASE IF EXISTS {}", identifier(name)))
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
