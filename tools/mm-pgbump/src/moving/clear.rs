//! What a move has put at its target goes when the move is taken back: the target is gone, or empty, or the database that was
//! renamed has its name again. A target that cannot be reached then is remembered; the server does not wait for it.

use mm_common::contract::ui;
use mm_common::machine::checkpoint;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::user::User;
use mm_common::mattermost::site::Installation;
use mm_common::mattermost::way_back::{self, Place};
use mm_common::postgres::dump::{identifier, literal};
use mm_common::postgres::server::Database;
use mm_common::postgres::source::DataSource;
use mm_common::{Error, Kind, Result};

use super::command;
use super::emptied;
use super::named::Named;
use super::record::{Entry, Leftover, Private, Records};
use super::target::{self, Target};

/// What lets go of a target that is gone for good.
pub(crate) const ACCEPT: &str = "move-leftovers";

/// Makes the target what it was before we filled it. May be repeated.
///
/// # Errors
/// When it cannot be reached, or what is there is not ours.
pub(super) fn clear(entry: &Entry, private: &Private, owner: &User) -> Result<()> {
    let mut target = reach(private, owner)?;
    require_other_than_source(entry, private, &target, owner)?;
    let name = target.name().to_owned();
    if entry.makes_database {
        match &entry.replaced {
            // It was not renamed yet: what has the name is not ours.
            Some(kept) if !way_back::exists(&target.front, kept)? => {}
            Some(kept) => {
                drop_made(entry, &target)?;
                let sql = format!("ALTER DATABASE {} RENAME TO {}", identifier(kept), identifier(&name));
                target.maker()?.execute_each(&sql)?;
            }
            None => drop_made(entry, &target)?,
        }
        drop_role(entry, &target);
        return Ok(());
    }
    let own = target.enter()?;
    if entry.moved.to.oid.is_some() && !entry.moved.to.is(&own)? {
        return Err(not_ours(&name));
    }
    target::end_sessions(&own, &name)?;
    emptied::empty(&target, &own, &entry.before.clone().unwrap_or_default())
}

/// The target of a move, as it was reached then.
fn reach(private: &Private, owner: &User) -> Result<Target> {
    let lines = [Some(private.to.as_str()), private.administrator.as_deref()];
    let text: Vec<&str> = lines.into_iter().flatten().collect();
    Target::reach(Named::parse(&text.join("\n"), owner)?, owner)
}

/// Whatever the address of the target leads to by now, the old database is not touched. Two servers tell it by their numbers;
/// else the old database is asked itself, and what cannot be told is not cleared.
fn require_other_than_source(entry: &Entry, private: &Private, target: &Target, owner: &User) -> Result<()> {
    let inside = target.own.clone().or_else(|| target.admin_inside().filter(|_| target.has_database));
    let Some(inside) = inside.filter(|_| !private.is_of_mysql) else { return Ok(()) };
    let (from, mut there) = (&entry.moved.from, Place::default());
    there.identify(&inside)?;
    let is_source = if from.system_identifier.is_some() && there.system_identifier.is_some() {
        (&from.system_identifier, from.oid) == (&there.system_identifier, there.oid)
    } else {
        let source = DataSource::parse_for(&private.from, &owner.name)?;
        match Database::connect(&source, Some(owner)) {
            Ok(before) => before.is_same_as(&inside)?,
            // One that cannot be reached is not the one that was just reached.
            Err(_) if entry.is_of_store_alone() => false,
            Err(error) => return Err(error),
        }
    };
    if !is_source {
        return Ok(());
    }
    let (from, to) = (from.label(), entry.moved.to.label());
    Err(Error::failed(format!("{to} leads to {from} by now, which is the old database and is not touched")))
}

/// Drops the database that we have made. Where it is not written down which one that was, only one that holds nothing can be
/// it: it was not filled before.
fn drop_made(entry: &Entry, target: &Target) -> Result<()> {
    let name = target.name();
    let Some(there) = target::oid(&target.front, name)? else { return Ok(()) };
    let is_ours = match entry.made {
        Some(made) => made == there,
        None => match target.own.clone().or_else(|| target.admin_inside()) {
            Some(inside) => target::contents(&inside)?.is_empty(),
            None => false,
        },
    };
    if is_ours { target::drop_database(&target.owners(), name) } else { Err(not_ours(name)) }
}

fn not_ours(name: &str) -> Error {
    Error::failed(format!("the database `{name}` at the target is not the one that the move has filled"))
        .hint(format!("rename it there (ALTER DATABASE {} RENAME TO ...)", identifier(name)))
}

/// A role that is left can log in and owns nothing: worth a word, and nothing to stop for.
fn drop_role(entry: &Entry, target: &Target) {
    let Some(admin) = target.admin.as_ref().filter(|_| entry.makes_role) else { return };
    let sql = format!("DROP ROLE IF EXISTS {}", identifier(target.role()));
    if let Err(error) = admin.execute(&sql) {
        ui::warn(&format!("the role `{}` stays at the target: {}", target.role(), error.one_line()));
    }
}

/// Remembers what could not be removed from a target.
pub(super) fn remember(entry: &Entry, private: Private, records: &Records, lock: &LockGuard) -> Result<()> {
    records.forget_leftovers(|other| other.moved == entry.moved, lock)?;
    let mut left = records.leftovers()?;
    left.push(Leftover { entry: entry.clone(), private: Private { changes: Vec::new(), ..private } });
    records.keep_leftovers(&left, lock)?;
    checkpoint::pass("move-remembered");
    Ok(())
}

/// Whoever works in what was left has made something else of it. The sessions of a move itself may hang there for hours.
fn require_unused(entry: &Entry, private: &Private, owner: &User) -> Result<()> {
    let target = reach(private, owner)?;
    let sql = format!(
        "SELECT DISTINCT usename AS name FROM pg_catalog.pg_stat_activity
         WHERE datname = {} AND backend_type = 'client backend' AND pid <> pg_catalog.pg_backend_pid()
           AND application_name NOT IN ('pg_dump', 'pg_restore', 'psql') ORDER BY 1",
        literal(target.name())
    );
    let rows = target.front.rows(&sql)?;
    let names: Vec<&str> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(Error::refused(format!("somebody works in {}, as {}", entry.moved.to.label(), names.join(", "))))
}

/// Whether the server works with the target by now, by whatever name.
fn is_servers_own(installation: &Installation, entry: &Entry, private: &Private) -> Result<bool> {
    // Nothing of PostgreSQL is the own of a server that works with MySQL.
    if installation.source.is_none() {
        return Ok(false);
    }
    let (database, to) = (installation.database()?, &entry.moved.to);
    let is_there = (to.host.as_str(), to.port) == database.reached_at() && to.database == database.name;
    if is_there || to.is(&database)? {
        return Ok(true);
    }
    let target = reach(private, &installation.owner)?;
    let inside = target.own.clone().or_else(|| target.admin_inside().filter(|_| target.has_database));
    inside.map_or(Ok(false), |inside| database.is_same_as(&inside))
}

/// Warns of what [`leftovers`] has not removed.
pub(crate) fn tell_what_stays(failed: &[Error]) {
    for error in failed {
        ui::warn(&format!("{}; {}", error.one_line(), error.next_step().unwrap_or_default()));
    }
}

/// Removes what earlier moves have left at their targets, as far as these can be reached now; with `forget`, what is left then
/// is not remembered any more. Returns what was removed and what was not, in words.
///
/// # Errors
/// When what is remembered cannot be read or written.
pub(crate) fn leftovers(
    installation: &Installation,
    records: &Records,
    forget: bool,
    lock: &LockGuard,
) -> Result<(Vec<String>, Vec<Error>)> {
    let (mut removed, mut failed, mut left) = (Vec::new(), Vec::new(), Vec::new());
    for leftover in records.leftovers()? {
        let Leftover { entry, private } = &leftover;
        let label = entry.moved.to.label();
        let cleared = match is_servers_own(installation, entry, private) {
            // Somebody has made it the server's own since.
            Ok(true) => Ok(format!("what a move had left at {label} is the server's own now, and stays")),
            Ok(false) => require_unused(entry, private, &installation.owner)
                .and_then(|()| clear(entry, private, &installation.owner))
                .map(|()| format!("what a move had left at {label} is removed")),
            // What cannot be told from the server's own stays.
            Err(error) => Err(error),
        };
        match cleared {
            Ok(words) => removed.push(words),
            Err(error) => {
                let recover = command("recover", &installation.root, installation.state.path());
                let hint = format!(
                    "when it can be reached: {recover}; if that server is gone for good: {recover} --accept {ACCEPT}"
                );
                let error = error.within(format!("what a move has left at {label} is not removed"));
                failed.push(error.of_kind(Kind::Failed).with_hint(hint));
                left.push(leftover);
            }
        }
    }
    if forget {
        left.clear();
    }
    records.keep_leftovers(&left, lock)?;
    Ok((removed, failed))
}
