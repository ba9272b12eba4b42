//! Dumps that a plain `pg_restore` reads, made under one exported snapshot, and their restoration.
//!
//! The format is `pg_dump`'s own with the lightest compression. Measured on a million posts (602 MB, two cores): it is
//! written in 5.8 s (112 MB), against 15.5 s (104 MB) at the default level and 12.3 s for the directory format with two
//! jobs. The default level restores in 30.6 s with two processes, the directory in 32.1 s; decompression is a small part
//! of that. Plain SQL through zstd is written in 2.9 s, but restores in 40.6 s, and `pg_restore` cannot read it.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::schemas::{self, Right, Space, Spaces};
use super::server::{Database, program_of};
use crate::contract::error::{Context as _, Error, Result};
use crate::machine::command::{self, Cmd};
use crate::machine::files;
use crate::machine::user::User;

/// How long a dump or a restore may take: a day, which at the rates measured is more than a terabyte.
pub const LIMIT: Duration = Duration::from_secs(24 * 3600);

/// How long `pg_dump` waits for a table that somebody holds exclusively, in milliseconds. A migration of a large table
/// takes minutes; a lock held longer is a fault, and the backup should say so.
const LOCK_WAIT: &str = "600000";

/// The argument of `pg_dump` that makes it wait no longer than that.
pub(super) fn lock_wait() -> String {
    format!("--lock-wait-timeout={LOCK_WAIT}")
}

/// What a database has that `pg_restore` does not give to one that is there already.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Properties {
    /// Owner.
    pub owner: String,
    /// Encoding, such as `UTF8`.
    pub encoding: String,
    /// `LC_COLLATE`.
    pub collate: String,
    /// `LC_CTYPE`.
    pub ctype: String,
    /// `i` where ICU sorts (PostgreSQL 15 and later).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// ICU locale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// Settings of `ALTER DATABASE … SET` and `ALTER ROLE … IN DATABASE … SET`.
    #[serde(default)]
    pub settings: Vec<Setting>,
    /// Rights on the database, when they are not the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<Vec<Grant>>,
    /// Roles that own something in it or have rights there.
    #[serde(default)]
    pub roles: Vec<String>,
    /// The schema `public`; absent in restore points of earlier releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<Public>,
    /// Every schema, of which a dump does not tell all; absent in restore points of earlier releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schemas: Option<Spaces>,
    /// Comment on the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// How many may be connected at once, when that is limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_limit: Option<i32>,
}

impl Properties {
    /// The schemas as far as the restore point says: those of earlier releases know `public` alone, or nothing.
    pub fn spaces(&self) -> Option<Spaces> {
        if self.schemas.is_some() {
            return self.schemas.clone();
        }
        let public = self.public.as_ref()?;
        let Some(owner) = &public.owner else { return Some(Spaces::new()) };
        let right = |role: Option<&str>, privilege: &str| Right {
            role: role.map(str::to_owned),
            privilege: privilege.to_owned(),
            grantable: false,
        };
        let grants = match &public.grants {
            Some(grants) => grants.iter().map(|grant| right(grant.role.as_deref(), &grant.privilege)).collect(),
            None => ["USAGE", "CREATE"].map(|privilege| right(Some(owner), privilege)).into(),
        };
        let space = Space { owner: owner.clone(), grants, comment: public.comment.clone() };
        Some([("public".to_owned(), space)].into())
    }
}

/// The schema `public`, which every new database has: each major makes it with other rights, and `pg_dump` of one says
/// nothing where that of another one would.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Public {
    /// Its owner; absent where the database has no such schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Rights on it; absent for those that only an owner has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<Vec<Grant>>,
    /// Its comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// A setting of a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The role it is for; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Name.
    pub name: String,
    /// Value, as the catalogue keeps it.
    pub value: String,
}

/// A right on a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The role; absent for everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// `CONNECT`, `CREATE` or `TEMPORARY`.
    pub privilege: String,
}

/// Reads the properties of a database.
pub fn properties(database: &Database) -> Result<Properties> {
    let attempt = || format!("cannot read the properties of the database `{}`", database.name);
    let rows = database
        .rows(
            "SELECT pg_catalog.row_to_json(d) AS d, pg_catalog.shobj_description(d.oid, 'pg_database') AS comment, pg_catalog.pg_encoding_to_char(d.encoding) AS encoding,
               pg_catalog.pg_get_userbyid(d.datdba) AS owner,
               (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('role', r.rolname, 'setting', s.setting) ORDER BY r.rolname)
                FROM pg_catalog.pg_db_role_setting g LEFT JOIN pg_catalog.pg_roles r ON r.oid = g.setrole,
                  pg_catalog.unnest(g.setconfig) AS s(setting)
                WHERE g.setdatabase = d.oid) AS settings,
               (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('role', r.rolname, 'privilege', a.privilege_type))
                FROM pg_catalog.aclexplode(d.datacl) a LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee) AS grants,
               (SELECT pg_catalog.json_agg(DISTINCT r.rolname) FROM pg_catalog.pg_shdepend p
                JOIN pg_catalog.pg_roles r ON r.oid = p.refobjid
                WHERE p.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
                  AND (p.dbid = d.oid OR (p.classid = 'pg_catalog.pg_database'::pg_catalog.regclass AND p.objid = d.oid))) AS roles,
               (SELECT pg_catalog.json_build_object('owner', pg_catalog.pg_get_userbyid(n.nspowner),
                  'comment', pg_catalog.obj_description(n.oid, 'pg_namespace'), 'grants',
                  (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('role', r.rolname, 'privilege', a.privilege_type))
                   FROM pg_catalog.aclexplode(n.nspacl) a LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee))
                FROM pg_catalog.pg_namespace n WHERE n.nspname = 'public') AS public
             FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()",
        )
        .context(attempt)?;
    let row = rows.first().ok_or_else(|| Error::failed(attempt()).because("it is not in pg_database"))?;
    let own = |key: &str| row["d"][key].as_str().map(str::to_owned);
    let text = |value: &Value, key: &str| value[key].as_str().map(str::to_owned);
    let list = |key: &str| row[key].as_array().cloned();
    let limit = row["d"]["datconnlimit"].as_i64().and_then(|limit| i32::try_from(limit).ok());
    Ok(Properties {
        schemas: Some(schemas::read(database)?),
        comment: text(row, "comment"),
        connection_limit: limit.filter(|limit| *limit >= 0),
        owner: text(row, "owner").unwrap_or_default(),
        encoding: text(row, "encoding").unwrap_or_default(),
        collate: own("datcollate").unwrap_or_default(),
        ctype: own("datctype").unwrap_or_default(),
        provider: own("datlocprovider").filter(|provider| provider == "i"),
        // Renamed in PostgreSQL 17.
        locale: own("daticulocale").or_else(|| own("datlocale")),
        settings: list("settings")
            .unwrap_or_default()
            .iter()
            .filter_map(|setting| {
                let (name, value) = setting["setting"].as_str()?.split_once('=')?;
                Some(Setting { role: text(setting, "role"), name: name.into(), value: value.into() })
            })
            .collect(),
        grants: grants(&row["grants"]),
        public: Some(Public {
            owner: text(&row["public"], "owner"),
            grants: grants(&row["public"]["grants"]),
            comment: text(&row["public"], "comment"),
        }),
        roles: list("roles").unwrap_or_default().iter().filter_map(|role| role.as_str().map(str::to_owned)).collect(),
    })
}

fn grants(list: &Value) -> Option<Vec<Grant>> {
    let text = |value: &Value, key: &str| value[key].as_str().map(str::to_owned);
    let grant =
        |value: &Value| Grant { role: text(value, "role"), privilege: text(value, "privilege").unwrap_or_default() };
    Some(list.as_array()?.iter().map(grant).collect())
}

/// Writes a dump of the whole database as `snapshot` shows it to the new file `to` (0600). Returns what `pg_dump`
/// calls itself.
pub fn dump(database: &Database, snapshot: &str, to: &Path) -> Result<String> {
    let attempt = || format!("cannot dump the database `{}`", database.name);
    let command = database.command("pg_dump").context(attempt)?;
    let version = command.clone().arg("--version").run().context(attempt)?.text().trim().to_owned();
    command
        .args(["--format=custom", "--compress=1", "--no-password"])
        .arg(lock_wait())
        .arg(format!("--snapshot={snapshot}"))
        .limit(LIMIT)
        .interruptible()
        .run_into(create(to)?)
        .context(attempt)?;
    Ok(version)
}

/// Writes the definitions of a database, and no rows, to the new file `to` (0600).
pub(super) fn definitions(database: &Database, to: &Path) -> Result<()> {
    let command = database.command("pg_dump")?.args(["--format=custom", "--schema-only", "--no-password"]);
    command.arg(lock_wait()).interruptible().run_into(create(to)?).map(drop)
}

/// Writes the roles of the server to the new file `to` (0600): with their passwords when `database` is reached as a
/// superuser, which is what `true` means.
pub fn globals(database: &Database, to: &Path) -> Result<bool> {
    let attempt = || "cannot dump the roles of the database server".to_owned();
    let superuser =
        database.value("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user").context(attempt)?;
    let passwords = superuser.as_bool().unwrap_or(false);
    let command = database.command("pg_dumpall").context(attempt)?;
    let command = command
        .args(["--globals-only", "--no-password"])
        .arg(format!("--database={}", connection_string(&database.name)));
    let command = if passwords { command } else { command.arg("--no-role-passwords") };
    command.interruptible().run_into(create(to)?).context(attempt)?;
    Ok(passwords)
}

fn create(path: &Path) -> Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| Error::io("create", path, error))
}

/// Reads a dump to its end with `pg_restore`, which decompresses and checks it. `pg_restore --list` would say yes to a
/// truncated one.
pub fn read_through(dump: &Path) -> Result<()> {
    newest("pg_restore")?
        .args(["--file=/dev/null", "--"])
        .arg(dump)
        .limit(LIMIT)
        .interruptible()
        .run()
        .map(drop)
        .context(|| format!("the dump `{}` cannot be read to its end", dump.display()))
}

/// The roles that own something in a dump.
pub fn owners(dump: &Path) -> Result<BTreeSet<String>> {
    let reader = newest("pg_restore")?.args(["--schema-only", "--file=-", "--"]).arg(dump);
    let text = reader.interruptible().run().context(|| format!("cannot read the dump `{}`", dump.display()))?.text();
    Ok(super::definitions::statements(&text)
        .into_iter()
        .map(|(owner, ..)| owner)
        .filter(|owner| owner != "-")
        .collect())
}

/// The program of the newest major that is installed: it reads the dumps of all earlier ones.
pub(super) fn newest(program: &str) -> Result<Cmd> {
    let path =
        (9..=40).rev().find_map(|major| program_of(program, major)).map_or_else(|| command::find(program), Ok)?;
    Ok(Cmd::new(path.display().to_string()))
}

/// Restores a dump into the empty database `into`. Anything that does not restore is an error. `jobs` processes load
/// tables and build indexes.
pub fn restore(dump: &Path, into: &Database, jobs: usize) -> Result<()> {
    let attempt = || format!("cannot restore `{}` into the database `{}`", dump.display(), into.name);
    restore_with(dump, into, jobs, &[]).context(attempt)
}

pub(super) fn restore_with(dump: &Path, into: &Database, jobs: usize, flags: &[String]) -> Result<()> {
    let command = into
        .command("pg_restore")?
        .args(["--exit-on-error", "--no-password"])
        .args(flags)
        // As a list of parameters: as a mere name it would be read as one where it has a `=`.
        .arg(format!("--dbname={}", connection_string(&into.name)))
        .limit(LIMIT)
        .interruptible();
    let parallel = command.clone().arg(format!("--jobs={jobs}")).arg("--");
    let Some(user) = into.other_user() else { return parallel.arg(dump).run().map(drop) };
    // Several processes open the dump again and again, which that user may not: neither the file nor the directories
    // above it. So the file is of its group for this time, and it reaches it through an open descriptor. Where that cannot
    // be had, one process reads it from its standard input.
    match Lent::to(user, dump) {
        Ok(lent) => parallel.arg("/proc/self/fd/0").run_from(lent.open()?),
        Err(_) => command.run_from(files::open_nofollow(dump)?),
    }
    .map(drop)
}

/// A file that another user may read until this is dropped, by its group; it stays ours. Nobody else can reach it meanwhile
/// who could not before: the directories above it stay closed.
struct Lent<'a> {
    path: &'a Path,
    before: (u32, u32),
}

impl<'a> Lent<'a> {
    fn to(user: &User, path: &'a Path) -> Result<Self> {
        let data = files::open_nofollow(path)?.metadata().map_err(|error| Error::io("look at", path, error))?;
        let lent = Self { path, before: (data.gid(), data.mode() & 0o7777) };
        lent.give(user.gid, (lent.before.1 & 0o700) | 0o040)?;
        Ok(lent)
    }

    fn open(&self) -> Result<File> {
        files::open_nofollow(self.path)
    }

    fn give(&self, gid: u32, mode: u32) -> Result<()> {
        let file = self.open()?;
        std::os::unix::fs::fchown(&file, None, Some(gid))
            .and_then(|()| file.set_permissions(std::fs::Permissions::from_mode(mode)))
            .map_err(|error| Error::io("change the group of", self.path, error))
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        // A killed run leaves it readable for the other user, who cannot get to it any more.
        let _ = self.give(self.before.0, self.before.1);
    }
}

/// Creates an empty database with these properties; rights and settings come with [`settle`], after the data.
pub fn create_like(server: &Database, name: &str, properties: &Properties) -> Result<()> {
    let mut sql = format!(
        "CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}",
        identifier(name),
        identifier(&properties.owner),
        literal(&properties.encoding),
        literal(&properties.collate),
        literal(&properties.ctype),
    );
    if let (Some(_), Some(locale), true) = (&properties.provider, &properties.locale, server.major() >= 15) {
        sql.push_str(" LOCALE_PROVIDER icu ICU_LOCALE ");
        sql.push_str(&literal(locale));
    }
    server.execute_each(&sql).context(|| format!("cannot create the database `{name}`"))
}

/// Gives a database the rights and settings of `properties`, each by itself, and returns what could not be given, and why:
/// who is no superuser may not set everything, and a setting may be of another PostgreSQL.
pub fn settle(server: &Database, name: &str, properties: &Properties) -> Vec<(String, Error)> {
    let settled = settling(name, properties).into_iter().map(|(what, sql)| (what, server.execute(&sql)));
    settled.filter_map(|(what, done)| Some((what, done.err()?))).collect()
}

/// What is set, in words without its value, and by which statement.
fn settling(name: &str, properties: &Properties) -> Vec<(String, String)> {
    let database = identifier(name);
    let mut settling = Vec::new();
    if let Some(grants) = &properties.grants {
        settling.push(("no rights for PUBLIC".into(), format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC")));
        let own = grants.iter().filter(|grant| grant.role.as_ref() == Some(&properties.owner)).count();
        if (1..3).contains(&own) {
            let owner = identifier(&properties.owner);
            settling.push((format!("rights of {owner}"), format!("REVOKE ALL ON DATABASE {database} FROM {owner}")));
        }
        for grant in grants {
            let role = grant.role.as_deref().map_or_else(|| "PUBLIC".to_owned(), identifier);
            // Only the three words there are: this text comes from a file.
            if let privilege @ ("CONNECT" | "CREATE" | "TEMPORARY") = grant.privilege.as_str() {
                let sql = format!("GRANT {privilege} ON DATABASE {database} TO {role}");
                settling.push((format!("{privilege} for {role}"), sql));
            }
        }
    }
    if let Some(comment) = &properties.comment {
        settling.push(("its comment".into(), format!("COMMENT ON DATABASE {database} IS {}", literal(comment))));
    }
    if let Some(limit) = properties.connection_limit {
        settling
            .push(("its limit of connections".into(), format!("ALTER DATABASE {database} CONNECTION LIMIT {limit}")));
    }
    for Setting { role, name, value } in &properties.settings {
        let quoted = identifier(name);
        // The catalogue keeps lists of names quoted as they have to be written.
        let value = match name.as_str() {
            "search_path" | "temp_tablespaces" | "session_preload_libraries" | "local_preload_libraries" => list(value),
            _ => literal(value),
        };
        settling.push(match role.as_deref().map(identifier) {
            None => (name.clone(), format!("ALTER DATABASE {database} SET {quoted} TO {value}")),
            Some(role) => {
                let sql = format!("ALTER ROLE {role} IN DATABASE {database} SET {quoted} TO {value}");
                (format!("{name} for {role}"), sql)
            }
        });
    }
    settling
}

/// A list of names as `pg_db_role_setting` has it (`"$user", public`), as literals.
fn list(value: &str) -> String {
    let names: Vec<String> = value.split(',').map(|name| literal(name.trim().trim_matches('"'))).collect();
    names.join(", ")
}

/// A database by its name and nothing else, for programs that take a name and a list of libpq's parameters in one argument.
pub fn connection_string(name: &str) -> String {
    format!("dbname='{}'", name.replace('\\', r"\\").replace('\'', r"\'"))
}

/// An SQL identifier, quoted.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// An SQL literal, quoted.
pub fn literal(text: &str) -> String {
    // E'' where there is a backslash: what a plain one means depends on a setting.
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_and_settings_are_quoted() {
        let properties = Properties {
            grants: Some(vec![
                Grant { role: Some("we\"ird".into()), privilege: "CONNECT".into() },
                Grant { role: None, privilege: "DROP; --".into() },
            ]),
            settings: vec![
                Setting { role: None, name: "search_path".into(), value: "\"$user\", public".into() },
                Setting { role: Some("mm".into()), name: "work_mem".into(), value: "it's".into() },
            ],
            ..Properties::default()
        };
        let (words, statements): (Vec<String>, Vec<String>) = settling("d b", &properties).into_iter().unzip();
        assert_eq!(
            statements,
            [
                "REVOKE ALL ON DATABASE \"d b\" FROM PUBLIC",
                "GRANT CONNECT ON DATABASE \"d b\" TO \"we\"\"ird\"",
                "ALTER DATABASE \"d b\" SET \"search_path\" TO '$user', 'public'",
                "ALTER ROLE \"mm\" IN DATABASE \"d b\" SET \"work_mem\" TO 'it''s'",
            ]
        );
        assert_eq!(words[2..], ["search_path", "work_mem for \"mm\""]);
    }

    #[test]
    fn a_damaged_dump_is_not_read_through() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.dump");
        files::write(&path, b"PGDMP and nothing more", files::Access::PRIVATE).unwrap();
        assert_eq!(read_through(&path).unwrap_err().code(), 1);
    }
}
