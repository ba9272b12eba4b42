//! A dump is code: its functions run when its rows are checked and its indexes are built. So it is never run by a superuser,
//! under whatever name (a function can undo SET ROLE and SET SESSION AUTHORIZATION), but by a role that may log in and
//! nothing else, and that owns the new empty database. What that role may not do is done by a superuser, by statements that
//! are written here.

use std::os::unix::fs::{PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use super::dump::{self, identifier, literal};
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
    "FOREIGN TABLE ",
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
];

/// Makes the role in a server that is thrown away afterwards, where nobody else connects.
pub fn create_role(superuser: &Database) -> Result<()> {
    superuser
        .execute(&format!("CREATE ROLE {ROLE} NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS LOGIN"))
}

/// Lets the role fill the empty database `superuser` is connected to: it owns the schema `public`, and the extensions of
/// the dump are there, as far as they are installed.
pub fn prepare(dump: &Path, superuser: &Database) -> Result<()> {
    superuser.execute(&format!("ALTER SCHEMA public OWNER TO {ROLE}"))?;
    for Extension { name, schema } in extensions(dump)? {
        let available = format!(
            "SELECT pg_catalog.count(*) FROM pg_catalog.pg_available_extensions WHERE name = {} AND installed_version IS NULL",
            literal(&name)
        );
        if superuser.value(&available)? == 0 {
            continue;
        }
        let schema = identifier(&schema);
        let make = format!(
            "CREATE SCHEMA IF NOT EXISTS {schema}; CREATE EXTENSION {} SCHEMA {schema}; GRANT ALL ON SCHEMA {schema} TO {ROLE}",
            identifier(&name)
        );
        superuser.execute(&make).context(|| format!("cannot create the extension `{name}`"))?;
    }
    Ok(())
}

/// Restores the rest of a dump, without owners and rights, into the database that `role` is connected to, and of which it is
/// the owner.
pub fn restore(dump: &Path, role: &Database, jobs: usize) -> Result<()> {
    let attempt = || format!("cannot restore `{}` into the database `{}`", dump.display(), role.name);
    let made: Vec<String> = extensions(dump)?.into_iter().map(|extension| extension.schema).collect();
    let mut list = String::new();
    for line in contents(dump)? {
        let what = entry(&line);
        let schema_is_there = what.strip_prefix("SCHEMA - ").is_some_and(|rest| {
            made.iter().any(|schema| rest.strip_prefix(schema.as_str()).is_some_and(|rest| rest.starts_with(' ')))
        });
        if !schema_is_there && !LEFT_OUT.iter().any(|kind| what.starts_with(kind)) {
            list.push_str(&line);
            list.push('\n');
        }
    }
    let list = List::write(&list, role)?;
    let flags = ["--no-owner".to_owned(), "--no-privileges".into(), format!("--use-list={}", list.path.display())];
    dump::restore_with(dump, role, jobs, &flags).context(attempt)
}

/// The lines of a dump's table of contents.
fn contents(dump: &Path) -> Result<Vec<String>> {
    let listed = dump::newest("pg_restore")?.args(["--list", "--"]).arg(dump).run()?;
    Ok(listed.text().lines().filter(|line| !line.starts_with(';')).map(str::to_owned).collect())
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

/// The extensions of a dump, read from the statements that would make them.
fn extensions(dump: &Path) -> Result<Vec<Extension>> {
    let wanted: Vec<String> =
        contents(dump)?.into_iter().filter(|line| entry(line).starts_with("EXTENSION ")).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let reader = dump::newest("pg_restore")?.args(["--file=-", "--use-list=/dev/stdin", "--"]).arg(dump);
    Ok(reader.run_with(&(wanted.join("\n") + "\n"))?.text().lines().filter_map(extension).collect())
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
        let directory = if crate::machine::user::is_root() { PathBuf::from("/run") } else { std::env::temp_dir() };
        let path = directory.join(format!("mm-tools.{}.{}.list", std::process::id(), reader.name.len()));
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
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_dump_are_understood() {
        assert_eq!(entry("215; 1259 16390 TABLE public my posts mmuser"), "TABLE public my posts mmuser");
        let made = |line: &str| extension(line).map(|found| (found.name, found.schema));
        assert_eq!(
            made("CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\" WITH SCHEMA public;"),
            Some(("uuid-ossp".into(), "public".into()))
        );
        assert_eq!(made("CREATE EXTENSION IF NOT EXISTS x WITH SCHEMA \"a\"\"b\";").unwrap().1, "a\"b");
        assert_eq!(made("DROP ROLE x;"), None);
    }
}
