//! A dump is code: its functions run when its rows are checked and its indexes are built. So it is never run by a superuser,
//! under whatever name (a function can undo SET ROLE and SET SESSION AUTHORIZATION), but by a role that may log in and
//! nothing else, and that owns the new empty database. What that role may not do is done by a superuser, by statements that
//! are written here.

use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use super::definitions;
use super::dump::{self, contents, identifier, literal};
use super::others;
use super::passfile;
use super::rights;
use super::server::Database;
use crate::contract::error::{Context as _, Error, Result};
use crate::machine::files::{self, Access};

/// The role that runs dumps.
pub const ROLE: &str = "mm_restore";

/// Entries of a dump, as its table of contents names them, that only a superuser can make, or that are not made anew.
const LEFT_OUT: &[&str] = &[
    "EXTENSION ",
    "COMMENT - EXTENSION ",
    "EVENT TRIGGER ",
    "COMMENT - EVENT TRIGGER ",
    "PROCEDURAL LANGUAGE ",
    "ACL - LANGUAGE ",
    "COMMENT - PROCEDURAL LANGUAGE ",
    "FOREIGN DATA WRAPPER ",
    "ACL - FOREIGN DATA WRAPPER ",
    "COMMENT - FOREIGN DATA WRAPPER ",
    "SERVER ",
    "ACL - FOREIGN SERVER ",
    "COMMENT - SERVER ",
    "USER MAPPING ",
    "PUBLICATION ",
    "COMMENT - PUBLICATION ",
    "SUBSCRIPTION ",
    "COMMENT - SUBSCRIPTION ",
    "TRANSFORM ",
    "ACCESS METHOD ",
    "OPERATOR CLASS ",
    "OPERATOR FAMILY ",
    "TEXT SEARCH TEMPLATE ",
    "TEXT SEARCH PARSER ",
    "SECURITY LABEL ",
    "SCHEMA - public ",
    "COMMENT - SCHEMA public ",
    "ACL - SCHEMA public ",
    "DEFAULT ACL ",
];

/// Makes the role in a server that is thrown away afterwards, where nobody else connects.
pub fn create_role(superuser: &Database) -> Result<()> {
    superuser
        .execute(&format!("CREATE ROLE {ROLE} NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS LOGIN"))
}

/// Lets the role fill the empty database `superuser` is connected to: it owns the schema `public`, and the extensions of
/// the dump are there, as far as they are installed and `makes` says so. Returns those that it does not let be made.
pub fn prepare(dump: &Path, superuser: &Database, makes: &dyn Fn(&str) -> bool) -> Result<Vec<String>> {
    let mut left_out = Vec::new();
    superuser.execute(&format!("ALTER SCHEMA public OWNER TO {ROLE}"))?;
    for Extension { name, schema } in extensions(dump)? {
        let available = format!(
            "SELECT pg_catalog.count(*) FROM pg_catalog.pg_available_extensions WHERE name = {} AND installed_version IS NULL",
            literal(&name)
        );
        if superuser.value(&available)? == 0 {
            continue;
        }
        if !makes(&name) {
            left_out.push(name);
            continue;
        }
        let schema = identifier(&schema);
        let make = format!(
            "CREATE SCHEMA IF NOT EXISTS {schema}; CREATE EXTENSION {} SCHEMA {schema}; GRANT ALL ON SCHEMA {schema} TO {ROLE}",
            identifier(&name)
        );
        superuser.execute(&make).context(|| format!("cannot create the extension `{name}`"))?;
    }
    Ok(left_out)
}

/// Restores the rest of a dump into the database that `role` is connected to, and of which it is the owner, on another
/// server: without owners, rights and tablespaces, which are those of the server that it is from.
pub fn restore_elsewhere(dump: &Path, role: &Database, jobs: usize) -> Result<()> {
    let flags = ["--no-privileges", "--no-tablespaces"].map(str::to_owned);
    restore_but(dump, role, jobs, &flags, &|_| false)
}

/// As [`restore_elsewhere`], on the server that it is from: with rights, but for those on what one of the roles `ordinary` is
/// to own, which [`rights::give`] gives afterwards.
pub fn restore_for(dump: &Path, role: &Database, jobs: usize, ordinary: &[String]) -> Result<()> {
    // A cluster that has none of its own cannot have those of the dump.
    let spaces = "SELECT pg_catalog.count(*) AS n FROM pg_catalog.pg_tablespace WHERE spcname !~ '^pg_'";
    let flags = if role.value(spaces)? == 0 { vec!["--no-tablespaces".to_owned()] } else { Vec::new() };
    restore_but(dump, role, jobs, &flags, &|entry| rights::is_given_by_owner(entry, ordinary))
}

/// Restores a dump as a role that is no superuser into a database that it owns. What it may not make is left out: rights on
/// what the dump does not make, as on members of extensions, and extensions that are not for everybody. Returns these, as a
/// dump announces them.
pub fn restore_own(dump: &Path, role: &Database, jobs: usize) -> Result<BTreeSet<String>> {
    let lines = contents(dump)?;
    let entries: BTreeSet<String> = lines.iter().map(|line| entry(line).to_owned()).collect();
    let trusted = if role.major() >= 13 {
        role.rows("SELECT DISTINCT name FROM pg_catalog.pg_available_extension_versions WHERE trusted")?
    } else {
        Vec::new()
    };
    let closed: Vec<String> = extensions(dump)?
        .into_iter()
        .map(|extension| extension.name)
        .filter(|name| !trusted.iter().any(|row| row["name"] == name.as_str()))
        .collect();
    let makes_extension = |what: &str| {
        let name = ["EXTENSION - ", "COMMENT - EXTENSION "].iter().find_map(|kind| what.strip_prefix(kind));
        name.is_some_and(|name| closed.iter().any(|closed| name.trim_end() == closed))
    };
    let is_left = |what: &str| others::is_of_others(what, &entries) || makes_extension(what);
    let mut left = definitions::of_text(&printed(dump, &is_left)?).into_keys().collect::<BTreeSet<_>>();
    if left.is_empty() {
        dump::restore(dump, role, jobs)?;
        return Ok(left);
    }
    let kept: Vec<String> = lines.into_iter().filter(|line| !is_left(entry(line))).collect();
    let list = List::write(&(kept.join("\n") + "\n"), role)?;
    dump::restore_with(dump, role, jobs, &[format!("--use-list={}", list.path.display())])
        .context(|| format!("cannot restore `{}` into the database `{}`", dump.display(), role.name))?;
    left.retain(|object| !object.starts_with("COMMENT EXTENSION "));
    Ok(left)
}

fn restore_but(
    dump: &Path,
    role: &Database,
    jobs: usize,
    flags: &[String],
    is_left: &dyn Fn(&str) -> bool,
) -> Result<()> {
    let attempt = || format!("cannot restore `{}` into the database `{}`", dump.display(), role.name);
    let made: Vec<String> = extensions(dump)?.into_iter().map(|extension| extension.schema).collect();
    let has_server = role.value("SELECT pg_catalog.count(*) AS n FROM pg_catalog.pg_foreign_server")? != 0;
    let lines = contents(dump)?;
    let entries: BTreeSet<String> = lines.iter().map(|line| entry(line).to_owned()).collect();
    // What is about a foreign table goes with it, and that needs its server.
    let without_server: Vec<(&str, &str)> =
        lines.iter().filter(|_| !has_server).filter_map(|line| foreign_table(entry(line))).collect();
    let mut list = String::new();
    for line in &lines {
        let what = entry(line);
        // A superuser has made these, and gives them owner, rights and comment.
        let of_schema =
            ["SCHEMA - ", "COMMENT - SCHEMA ", "ACL - SCHEMA "].iter().find_map(|kind| what.strip_prefix(kind));
        let schema_is_there = of_schema.is_some_and(|rest| {
            made.iter().any(|schema| rest.strip_prefix(schema.as_str()).is_some_and(|rest| rest.starts_with(' ')))
        });
        let needs_server = without_server.iter().any(|(schema, name)| is_about(what, schema, name));
        // A superuser gives these, too.
        let of_others = others::is_of_others(what, &entries);
        if !schema_is_there
            && !needs_server
            && !of_others
            && !is_left(what)
            && !LEFT_OUT.iter().any(|kind| what.starts_with(kind))
        {
            list.push_str(line);
            list.push('\n');
        }
    }
    let list = List::write(&list, role)?;
    let own = ["--no-owner".to_owned(), format!("--use-list={}", list.path.display())];
    dump::restore_with(dump, role, jobs, &[&own, flags].concat()).context(attempt)
}

/// Schema and name of the foreign table that an entry makes.
fn foreign_table(what: &str) -> Option<(&str, &str)> {
    let (table, _owner) = what.strip_prefix("FOREIGN TABLE ")?.rsplit_once(' ')?;
    table.split_once(' ')
}

/// Whether an entry is a table, or something of it or about it.
fn is_about(what: &str, schema: &str, table: &str) -> bool {
    what.split_once(&format!(" {schema} ")).is_some_and(|(_, rest)| rest.split([' ', '.']).any(|word| word == table))
}

/// Large objects of one owner and with the same rights, as a dump of 17 or later announces them: by the first and the last of
/// them, between which there may be others'.
const GROUP: &str = "BLOB METADATA ";

/// What a dump holds, as its table of contents says it: `TABLE public posts mmuser`. Every large object stands for itself
/// (`BLOB - 4712 mmuser`), whatever major has written the dump.
pub fn entries(dump: &Path) -> Result<BTreeSet<String>> {
    let listed = contents(dump)?;
    let (groups, others): (Vec<&str>, Vec<&str>) =
        listed.iter().map(|line| entry(line)).partition(|entry| entry.starts_with(GROUP));
    let mut all: BTreeSet<String> = others.into_iter().map(str::to_owned).collect();
    if !groups.is_empty() {
        all.extend(large_objects(&printed(dump, &|entry| entry.starts_with(GROUP))?));
    }
    Ok(all)
}

/// The large objects that a printed dump makes, each with its owner, as earlier dumps announce them.
fn large_objects(text: &str) -> Vec<String> {
    let one = |(owner, _, statement): (String, Option<String>, String)| {
        let number = statement.strip_prefix("SELECT pg_catalog.lo_create('")?.split('\'').next()?;
        Some(format!("BLOB - {number} {owner}"))
    };
    definitions::statements(text).into_iter().filter_map(one).collect()
}

/// What only a superuser makes, and other objects need.
pub const BEFORE: &[&str] = &[
    "PROCEDURAL LANGUAGE ",
    "FOREIGN DATA WRAPPER ",
    "SERVER ",
    "USER MAPPING ",
    "ACL - LANGUAGE ",
    "ACL - FOREIGN DATA WRAPPER ",
    "ACL - FOREIGN SERVER ",
];

/// What only a superuser makes, of objects that are there and whose owners are settled.
pub const AFTER: &[&str] = &["EVENT TRIGGER ", "PUBLICATION ", "SUBSCRIPTION "];

/// Makes the entries of these kinds that `wanted` names, from a dump that a superuser may be trusted with: one of the
/// database that is replaced, or one that an administrator vouches for. Returns what was made.
pub fn make_as_superuser(
    dump: &Path,
    superuser: &Database,
    kinds: &[&str],
    wanted: &BTreeSet<String>,
) -> Result<BTreeSet<String>> {
    let lines: Vec<String> = contents(dump)?
        .into_iter()
        .filter(|line| kinds.iter().any(|kind| entry(line).starts_with(kind)) && wanted.contains(entry(line)))
        .collect();
    if lines.is_empty() {
        return Ok(BTreeSet::new());
    }
    let list = List::write(&(lines.join("\n") + "\n"), superuser)?;
    dump::restore_with(dump, superuser, 1, &[format!("--use-list={}", list.path.display())])
        .context(|| format!("cannot make in `{}` what only a superuser can make", superuser.name))?;
    // Who fills the database uses the servers that are there.
    let servers =
        superuser.rows("SELECT pg_catalog.format('%I', srvname) AS name FROM pg_catalog.pg_foreign_server")?;
    for name in servers.iter().filter_map(|row| row["name"].as_str()).filter(|_| kinds == BEFORE) {
        superuser.execute(&format!("GRANT USAGE ON FOREIGN SERVER {name} TO {ROLE}"))?;
    }
    Ok(lines.iter().map(|line| entry(line).to_owned()).collect())
}

/// A dump of the definitions in a database, for as long as this lives.
pub struct Schema {
    /// Where it is.
    pub path: PathBuf,
}

impl Schema {
    /// Dumps those of `database`.
    pub fn of(database: &Database) -> Result<Self> {
        Self::by(database, database.major())
    }

    /// The same by the program of at least `major`.
    pub fn by(database: &Database, major: u32) -> Result<Self> {
        let schema = Self { path: passfile::directory().join(format!("mm-tools.{}.schema.dump", std::process::id())) };
        files::remove_file(&schema.path)?;
        dump::definitions(database, major, &schema.path)?;
        Ok(schema)
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        let _ = files::remove_file(&self.path);
    }
}

/// Whether a superuser makes an object, or says something of it, that a dump announces so (`EVENT TRIGGER x`): it may be
/// left out of a restore.
pub fn is_superusers(object: &str) -> bool {
    let announced = |kind: &str| object.starts_with(&kind.replace(" - ", " "));
    LEFT_OUT.iter().any(|kind| *kind != "DEFAULT ACL " && announced(kind)) || object.starts_with("FOREIGN TABLE ")
}

/// Those of `entries` that only a superuser makes and that are not made, in words. Extensions and the schema `public` are
/// seen to by themselves.
pub fn superusers(entries: &BTreeSet<String>, made: &BTreeSet<String>) -> Vec<String> {
    let own = ["EXTENSION ", "SCHEMA - public ", "DEFAULT ACL "];
    let is_left = |entry: &str| {
        LEFT_OUT.iter().any(|kind| entry.starts_with(kind) && !own.contains(kind))
            && !entry.starts_with("COMMENT ")
            && !entry.starts_with("ACL ")
    };
    entries.iter().filter(|entry| is_left(entry) && !made.contains(*entry)).cloned().collect()
}

/// The default privileges of a dump, as statements: each is read word by word, and is for a role of `roles`.
pub fn default_privileges(dump: &Path, roles: &[String]) -> Result<Vec<String>> {
    Ok(statements(dump, "DEFAULT ACL ")?.iter().filter_map(|line| default_privilege(line, roles)).collect())
}

fn default_privilege(line: &str, roles: &[String]) -> Option<String> {
    let rest = line.strip_prefix("ALTER DEFAULT PRIVILEGES FOR ROLE ")?.strip_suffix(';')?;
    let mut words = Vec::new();
    let mut rest = rest;
    while !rest.is_empty() {
        let (word, after) = if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.replace("\"\"", "__").find('"')?;
            (identifier(&quoted[..end].replace("\"\"", "\"")), &quoted[end + 1..])
        } else {
            let end = rest.find(' ').unwrap_or(rest.len());
            let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ',');
            (rest[..end].chars().all(is_plain).then(|| rest[..end].to_owned())?, &rest[end..])
        };
        words.push(word);
        rest = after.strip_prefix(' ').unwrap_or(after);
    }
    let role = words.first()?;
    let is_known = roles.iter().any(|known| role == known || *role == identifier(known));
    is_known.then(|| format!("ALTER DEFAULT PRIVILEGES FOR ROLE {}", words.join(" ")))
}

/// The lines that `pg_restore` would print for the entries of one kind.
fn statements(dump: &Path, kind: &str) -> Result<Vec<String>> {
    Ok(printed(dump, &|entry| entry.starts_with(kind))?.lines().map(str::to_owned).collect())
}

/// What `pg_restore` would print for these entries.
pub(super) fn printed(dump: &Path, is_wanted: &dyn Fn(&str) -> bool) -> Result<String> {
    let wanted: Vec<String> = contents(dump)?.into_iter().filter(|line| is_wanted(entry(line))).collect();
    if wanted.is_empty() {
        return Ok(String::new());
    }
    let reader = dump::newest("pg_restore")?.args(["--file=-", "--use-list=/dev/stdin", "--"]).arg(dump);
    Ok(reader.run_with(&(wanted.join("\n") + "\n"))?.text())
}

/// What a line (`215; 1259 16390 TABLE public posts mmuser`) is about: `TABLE public posts mmuser`.
fn entry(line: &str) -> &str {
    line.splitn(4, ' ').nth(3).unwrap_or_default()
}

/// An extension of a dump, and the schema it is in.
#[derive(Debug, PartialEq, Eq)]
struct Extension {
    name: String,
    schema: String,
}

/// The extensions of a dump and the schema of each, in the order in which they are made.
pub fn extensions_of(dump: &Path) -> Result<Vec<(String, String)>> {
    Ok(extensions(dump)?.into_iter().map(|extension| (extension.name, extension.schema)).collect())
}

/// The extensions of a dump, read from the statements that would make them.
fn extensions(dump: &Path) -> Result<Vec<Extension>> {
    Ok(statements(dump, "EXTENSION ")?.iter().filter_map(|line| extension(line)).collect())
}

/// Reads `CREATE EXTENSION IF NOT EXISTS name WITH SCHEMA schema;`. Both are quoted anew where they are used.
fn extension(line: &str) -> Option<Extension> {
    let (name, schema) =
        line.strip_prefix("CREATE EXTENSION IF NOT EXISTS ")?.strip_suffix(';')?.split_once(" WITH SCHEMA ")?;
    let bare = |text: &str| match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => text.to_owned(),
    };
    Some(Extension { name: bare(name), schema: bare(schema) })
}

/// The list of what is restored, in a file that the user of `pg_restore` can read. Removed when dropped.
struct List {
    path: PathBuf,
}

impl List {
    fn write(text: &str, reader: &Database) -> Result<Self> {
        let path = passfile::directory().join(format!("mm-tools.{}.{}.list", std::process::id(), reader.name.len()));
        files::remove_file(&path)?;
        let list = Self { path };
        files::write(&list.path, text.as_bytes(), Access::PRIVATE)?;
        if let Some(user) = reader.other_user() {
            let file = files::open_nofollow(&list.path)?;
            fchown(&file, None, Some(user.gid))
                .and_then(|()| file.set_permissions(std::fs::Permissions::from_mode(0o640)))
                .map_err(|error| Error::io("change the group of", &list.path, error))?;
        }
        Ok(list)
    }
}

impl Drop for List {
    fn drop(&mut self) {
        let _ = files::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests;
