//! Makes the target what the old database is. What the dump holds is run by the role of the server, which has power over its
//! own database and nothing else; statements of an administrator are written here.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use mm_common::contract::ui;
use mm_common::machine::checkpoint;
use mm_common::machine::lock::LockGuard;
use mm_common::postgres::dump::{self, identifier, literal};
use mm_common::postgres::properties::{self, Grant, Properties, Setting};
use mm_common::postgres::schemas;
use mm_common::postgres::server::Database;
use mm_common::postgres::{rights, untrusted};
use mm_common::{Context as _, Error, Result};

use super::origin::Origin;
use super::record::{Entry, Records};
use super::roles::RoleMap;
use super::target::{self, Target};
use super::watch;

/// Makes role, database and extensions, as far as they are not there. Returns the database as the server will reach it.
pub(crate) fn make(
    entry: &mut Entry,
    origin: &Origin,
    target: &mut Target,
    (records, lock): (&Records, &LockGuard),
) -> Result<Database> {
    let like = Properties { owner: target.role().to_owned(), ..origin.properties.clone() };
    let own = ground(entry, &like, target, (records, lock))?;
    for (name, schema) in origin.missing_extensions(&own)? {
        if !matches!(schema.as_str(), "public" | "pg_catalog") {
            own.execute_verbatim(&format!("CREATE SCHEMA IF NOT EXISTS {}", identifier(&schema)))?;
        }
        let sql = format!("CREATE EXTENSION {} SCHEMA {}", identifier(&name), identifier(&schema));
        target.as_either(&own, &sql).context(|| format!("cannot create the extension `{name}`"))?;
    }
    if entry.makes_role && !target.is_superuser {
        let admin = target.admin.as_ref();
        let sql = format!("REVOKE {} FROM CURRENT_USER", identifier(target.role()));
        admin.map_or(Ok(()), |admin| admin.execute_verbatim(&sql))?;
    }
    Ok(own)
}

/// Makes role and database, as far as they are not there, the database as `like` says. Returns it as the server will reach it.
pub(crate) fn ground(
    entry: &mut Entry,
    like: &Properties,
    target: &mut Target,
    (records, lock): (&Records, &LockGuard),
) -> Result<Database> {
    if entry.makes_role {
        make_role(target)?;
        checkpoint::pass("move-role-made");
    }
    if let Some(kept) = &entry.replaced {
        let maker = target.maker()?;
        target::end_sessions(&maker, target.name())?;
        let sql = format!("ALTER DATABASE {} RENAME TO {}", identifier(target.name()), identifier(kept));
        maker.execute_each(&sql).context(|| format!("cannot rename the database `{}`", target.name()))?;
        checkpoint::pass("move-replaced");
    }
    if entry.makes_database {
        let maker = target.maker()?;
        properties::create_like(&maker, target.name(), like)?;
        checkpoint::pass("move-database-made");
        // Before anything is put into it: an undo drops this one, and no other of that name.
        entry.made = target::oid(&maker, target.name())?;
        records.journal.write(entry, lock)?;
    }
    let own = target.enter()?;
    entry.moved.to.identify(&own)?;
    records.journal.write(entry, lock)?;
    Ok(own)
}

fn make_role(target: &Target) -> Result<()> {
    let admin = target.admin.as_ref().ok_or_else(|| Error::refused("nobody was named who could make the role"))?;
    let role = identifier(target.role());
    let made = |password: &str| {
        let password = if password.is_empty() { String::new() } else { format!(" PASSWORD {}", literal(password)) };
        format!("CREATE ROLE {role} NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS LOGIN{password}")
    };
    let password = target.named.source.password.as_ref().map_or("", |password| password.reveal());
    let done = if target.is_superuser {
        admin.execute_unlogged(&made(password))
    } else if password.is_empty() {
        admin.execute_verbatim(&made(""))
    } else {
        // Nobody but a superuser keeps a statement out of the log, so this one holds nothing that lets anybody in.
        admin.execute_verbatim(&made(&postgres_protocol::password::scram_sha_256(password.as_bytes())))
    };
    done.context(|| format!("cannot create the role `{}`", target.role()))?;
    if target.is_superuser {
        return Ok(());
    }
    // Only a member of a role gives it a database.
    admin
        .execute_verbatim(&format!("GRANT {role} TO CURRENT_USER"))
        .context(|| format!("cannot become a member of the role `{}`", target.role()))
}

/// Restores the dump into the empty database, and gives rights, schemas and settings. Returns what could not be given.
pub(crate) fn restore(
    entry: &Entry,
    origin: &Origin,
    target: &Target,
    own: &Database,
    (dump, jobs): (&Path, usize),
) -> Result<Vec<String>> {
    let (label, begun, whole) = (entry.moved.to.label(), Instant::now(), origin.bytes);
    let tell = |seen: watch::Seen| {
        ui::progress(&format!("filling the target: {}", watch::so_far(seen.size, whole, begun.elapsed())));
    };
    watch::watched(own, &label, || 0, tell, |own, _| untrusted::restore_elsewhere(dump, own, jobs))?;
    checkpoint::pass("move-restored");
    let map = &entry.roles;
    let mut left = Vec::new();
    let mut sql: Vec<String> = rights::of_dump(dump)?.iter().filter_map(|right| map.right(right)).collect();
    let defaults = untrusted::default_privileges(dump, std::slice::from_ref(&map.from))?;
    sql.extend(defaults.iter().filter_map(|right| map.right(&format!("{right};"))));
    if !sql.is_empty() && own.execute_verbatim(&sql.join("\n")).is_err() {
        for one in &sql {
            if let Err(error) = own.execute_verbatim(one) {
                left.push(format!("{one} ({})", error.causes().join("; ")));
            }
        }
    }
    left.extend(spaces(origin, own, map)?);
    left.extend(settings(entry, origin, target, own));
    find_tables(&origin.path, own)?;
    Ok(left)
}

/// Owners, rights and comments of the schemas. One that belongs to somebody else stays as it is.
fn spaces(origin: &Origin, own: &Database, map: &RoleMap) -> Result<Vec<String>> {
    // Restore points of earlier releases do not tell.
    let Some(spaces) = origin.properties.spaces() else { return Ok(Vec::new()) };
    let wanted = map.spaces(&spaces);
    if schemas::settle(own, &wanted).is_ok() {
        return Ok(Vec::new());
    }
    let mut left = Vec::new();
    for (name, space) in schemas::read(own)? {
        // Alone, so that nothing else is settled, and `public` is not removed because it is not in the list.
        let Some(one) = wanted.get(&name) else { continue };
        let mut list: schemas::Spaces = [(name.clone(), one.clone())].into();
        list.entry("public".to_owned())
            .or_insert_with(|| schemas::read(own).ok().and_then(|mut all| all.remove("public")).unwrap_or_default());
        if !space.is_like(one) && schemas::settle(own, &list).is_err() {
            left.push(format!("the schema {name} stays as it is there ({})", space.in_words()));
        }
    }
    Ok(left)
}

/// Settings of the database, and of roles in it.
fn settings(entry: &Entry, origin: &Origin, target: &Target, own: &Database) -> Vec<String> {
    let mut wanted = origin.properties.clone();
    let map = &entry.roles;
    let owner = wanted.owner.clone();
    let role = |role: Option<String>| -> Option<Option<String>> {
        match role {
            None => Some(None),
            Some(name) => map.holder(&name).map(|holder| Some(holder.to_owned())),
        }
    };
    let settings = std::mem::take(&mut wanted.settings);
    wanted.settings = settings
        .into_iter()
        .filter_map(|setting| Some(Setting { role: role(setting.role)?, ..Setting { role: None, ..setting } }))
        .collect();
    // Rights on a database that somebody else has made are his to give.
    wanted.grants = wanted.grants.filter(|_| entry.makes_database).map(|grants| {
        let given = grants.into_iter().filter_map(|grant| {
            let holder =
                if grant.role.as_ref() == Some(&owner) { Some(Some(map.to.clone())) } else { role(grant.role) }?;
            Some(Grant { role: holder, privilege: grant.privilege, grantable: grant.grantable })
        });
        given.collect()
    });
    target.role().clone_into(&mut wanted.owner);
    let setter = target.setter(own);
    let unsettled = properties::settle(&setter, target.name(), &wanted);
    unsettled.into_iter().map(|(what, error)| format!("{what} ({})", error.causes().join("; "))).collect()
}

/// Lets the role find its tables where the old one found them, whatever either is called.
fn find_tables(then: &[String], own: &Database) -> Result<()> {
    // A session that began before the settings were given does not have them.
    let now = own.sibling(&own.name).schemas()?;
    if then == now || then.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = then.iter().map(|name| identifier(name)).collect();
    let sql = format!(
        "SELECT pg_catalog.set_config('search_path', {}, false);\nALTER ROLE CURRENT_USER IN DATABASE {} SET search_path FROM CURRENT",
        literal(&list.join(", ")),
        identifier(&own.name)
    );
    own.execute(&sql).context(|| "cannot let the role find its tables".to_owned())
}

/// Statistics; a server without them would be slow for its first hours.
pub(crate) fn analyze(own: &Database, label: &str) {
    let analyze = |own: &Database, _: &AtomicBool| {
        own.clone().with_limit(dump::LIMIT).execute_each("SET statement_timeout = 0; ANALYZE")
    };
    if let Err(error) = watch::watched(own, label, || 0, |_| (), analyze) {
        ui::warn(&format!("not all statistics could be collected: {}", error.one_line()));
    }
}
