//! What a database is beyond what is in it: owner, locale, rights and settings. A dump says it of the database it was made
//! of only, and `pg_restore` gives it to none that is there already.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::dump::{identifier, literal};
use super::schemas::{self, Right, Space, Spaces};
use super::server::Database;
use crate::contract::error::{Context as _, Error, Result};

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
    /// `i` where ICU sorts (PostgreSQL 15 and later), `b` where PostgreSQL itself does (17 and later); absent where the C
    /// library does, and in restore points of earlier releases of these tools that should say `b`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Locale of ICU or of PostgreSQL itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// Rules of its own by which ICU sorts (PostgreSQL 16 and later).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<String>,
    /// The tablespace it lies in, where that is not the one that every cluster has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tablespace: Option<String>,
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
    /// Whether it is a template, which everybody with CREATEDB may copy and nobody drop.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub template: bool,
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
    /// Whether the role may pass it on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub grantable: bool,
}

/// Reads the properties of a database.
pub fn read(database: &Database) -> Result<Properties> {
    let attempt = || format!("cannot read the properties of the database `{}`", database.name);
    let rows = database
        .rows(
            "SELECT pg_catalog.row_to_json(d) AS d, pg_catalog.shobj_description(d.oid, 'pg_database') AS comment, pg_catalog.pg_encoding_to_char(d.encoding) AS encoding,
               pg_catalog.pg_get_userbyid(d.datdba) AS owner,
               (SELECT t.spcname FROM pg_catalog.pg_tablespace t WHERE t.oid = d.dattablespace AND t.spcname <> 'pg_default') AS tablespace,
               (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('role', r.rolname, 'setting', s.setting) ORDER BY r.rolname, s.place)
                FROM pg_catalog.pg_db_role_setting g LEFT JOIN pg_catalog.pg_roles r ON r.oid = g.setrole,
                  pg_catalog.unnest(g.setconfig) WITH ORDINALITY AS s(setting, place)
                WHERE g.setdatabase = d.oid) AS settings,
               (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('role', r.rolname, 'privilege', a.privilege_type, 'grantable', a.is_grantable))
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
        template: row["d"]["datistemplate"] == true,
        owner: text(row, "owner").unwrap_or_default(),
        encoding: text(row, "encoding").unwrap_or_default(),
        collate: own("datcollate").unwrap_or_default(),
        ctype: own("datctype").unwrap_or_default(),
        provider: own("datlocprovider").filter(|provider| provider != "c"),
        // Renamed in PostgreSQL 17.
        locale: own("daticulocale").or_else(|| own("datlocale")),
        rules: own("daticurules"),
        tablespace: text(row, "tablespace"),
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
    let grant = |value: &Value| Grant {
        role: text(value, "role"),
        privilege: text(value, "privilege").unwrap_or_default(),
        grantable: value["grantable"] == true,
    };
    Some(list.as_array()?.iter().map(grant).collect())
}

/// Creates an empty database with these properties; rights and settings come with [`settle`], after the data. Where the
/// server has no tablespace of that name, or this role may not use it, it lies where the server's databases do.
pub fn create_like(server: &Database, name: &str, properties: &Properties) -> Result<()> {
    let mut sql = format!(
        "CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}{}",
        identifier(name),
        identifier(&properties.owner),
        literal(&properties.encoding),
        literal(&properties.collate),
        literal(&properties.ctype),
        sorting(server.major(), properties),
    );
    if let Some(space) = usable_tablespace(server, properties)? {
        sql.push_str(" TABLESPACE ");
        sql.push_str(&identifier(space));
    }
    server.execute_each(&sql).context(|| format!("cannot create the database `{name}`"))
}

/// By whom it is sorted, as `CREATE DATABASE` says it: what is not said would be as in the template, which may be another.
fn sorting(major: u32, properties: &Properties) -> String {
    let locale = properties.locale.as_deref().map(literal).unwrap_or_default();
    match properties.provider.as_deref() {
        _ if major < 15 => String::new(),
        Some("i") => match &properties.rules {
            Some(rules) if major >= 16 => {
                format!(" LOCALE_PROVIDER icu ICU_LOCALE {locale} ICU_RULES {}", literal(rules))
            }
            _ => format!(" LOCALE_PROVIDER icu ICU_LOCALE {locale}"),
        },
        Some("b") => format!(" LOCALE_PROVIDER builtin BUILTIN_LOCALE {locale}"),
        // Of an earlier release of these tools, on 17 or later: only there it has one.
        None if properties.locale.is_some() && major >= 17 => {
            format!(" LOCALE_PROVIDER builtin BUILTIN_LOCALE {locale}")
        }
        _ => " LOCALE_PROVIDER libc".into(),
    }
}

/// The tablespace that a database with these properties gets on a server, where it is a special one.
///
/// # Errors
/// When the server cannot be asked.
pub fn usable_tablespace<'a>(server: &Database, properties: &'a Properties) -> Result<Option<&'a str>> {
    let Some(space) = properties.tablespace.as_deref() else { return Ok(None) };
    let usable = server.value(&format!(
        "SELECT coalesce((SELECT pg_catalog.has_tablespace_privilege(oid, 'CREATE') FROM pg_catalog.pg_tablespace WHERE spcname = {}), false)",
        literal(space)
    ))?;
    Ok((usable == true).then_some(space))
}

/// Drops a database, where it is there. One that is a template is none first: the server would refuse it.
///
/// # Errors
/// When it is in use, or this role may not.
pub fn drop(server: &Database, name: &str) -> Result<()> {
    dropping(server, name)?.iter().try_for_each(|sql| server.execute_each(sql))
}

/// The statements that drop a database, each for itself.
///
/// # Errors
/// When the server cannot be asked.
pub fn dropping(server: &Database, name: &str) -> Result<Vec<String>> {
    let quoted = identifier(name);
    let templates = format!(
        "SELECT datname AS name FROM pg_catalog.pg_database WHERE datistemplate AND datname = {}",
        literal(name)
    );
    let is_template = !server.rows(&templates)?.is_empty();
    let none_first = is_template.then(|| format!("ALTER DATABASE {quoted} IS_TEMPLATE false"));
    Ok(none_first.into_iter().chain([format!("DROP DATABASE IF EXISTS {quoted}")]).collect())
}

/// Gives a database the rights and settings of `properties`, each by itself, and returns what could not be given, and why:
/// who is no superuser may not set everything, and a setting may be of another PostgreSQL.
pub fn settle(server: &Database, name: &str, properties: &Properties) -> Vec<(String, Error)> {
    let settled = settling(name, properties).into_iter().map(|(what, sql)| (what, server.execute_verbatim(&sql)));
    settled.filter_map(|(what, done)| Some((what, done.err()?))).collect()
}

/// Gives a database the settings of `properties` and its comment, and neither rights nor a limit of connections: those open
/// it. Returns what could not be given, and why.
pub fn settle_closed(server: &Database, name: &str, properties: &Properties) -> Vec<(String, Error)> {
    let all = settings(name, &Properties { connection_limit: None, template: false, ..properties.clone() });
    let sql = all.iter().map(|(_, sql)| format!("{sql};\n")).collect::<Vec<_>>().concat();
    if sql.is_empty() || server.execute_verbatim(&sql).is_ok() {
        return Vec::new();
    }
    all.into_iter().filter_map(|(what, sql)| Some((what, server.execute_verbatim(&sql).err()?))).collect()
}

/// Makes settings and comment of the database that `own` is connected to what they were, where they are others `now`. Returns
/// what could not be made so, and why.
pub fn bring_back(own: &Database, before: &Properties) -> Result<Vec<(String, Error)>> {
    let sql = bringing_back(&own.name, before, &read(own)?);
    let done = sql.into_iter().map(|(what, sql)| (what, own.execute_verbatim(&sql)));
    Ok(done.filter_map(|(what, done)| Some((what, done.err()?))).collect())
}

fn bringing_back(name: &str, before: &Properties, now: &Properties) -> Vec<(String, String)> {
    let database = identifier(name);
    let mut sql: Vec<(String, String)> = now
        .settings
        .iter()
        .filter(|is| !before.settings.iter().any(|was| (&was.role, &was.name) == (&is.role, &is.name)))
        .map(|Setting { role, name, .. }| match role.as_deref().map(identifier) {
            None => (name.clone(), format!("ALTER DATABASE {database} RESET {}", identifier(name))),
            Some(role) => (
                format!("{name} for {role}"),
                format!("ALTER ROLE {role} IN DATABASE {database} RESET {}", identifier(name)),
            ),
        })
        .collect();
    let other = before.settings.iter().filter(|was| !now.settings.contains(was)).cloned().collect();
    sql.extend(settings(name, &Properties { settings: other, ..Properties::default() }));
    if before.comment != now.comment {
        let comment = before.comment.as_deref().map_or_else(|| "NULL".to_owned(), literal);
        sql.push(("its comment".into(), format!("COMMENT ON DATABASE {database} IS {comment}")));
    }
    if before.connection_limit != now.connection_limit {
        let limit = before.connection_limit.unwrap_or(-1);
        sql.push(("its limit of connections".into(), format!("ALTER DATABASE {database} CONNECTION LIMIT {limit}")));
    }
    if before.template != now.template {
        let sets = format!("ALTER DATABASE {database} IS_TEMPLATE {}", before.template);
        sql.push(("whether it is a template".into(), sets));
    }
    sql
}

/// What is set, in words without its value, and by which statement.
fn settling(name: &str, properties: &Properties) -> Vec<(String, String)> {
    [rights(name, properties), settings(name, properties)].concat()
}

/// The rights on the database, in words, and by which statement.
pub(super) fn rights(name: &str, properties: &Properties) -> Vec<(String, String)> {
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
                let option = if grant.grantable && grant.role.is_some() { " WITH GRANT OPTION" } else { "" };
                let sql = format!("GRANT {privilege} ON DATABASE {database} TO {role}{option}");
                settling.push((format!("{privilege} for {role}"), sql));
            }
        }
    }
    settling
}

/// All else that is set.
fn settings(name: &str, properties: &Properties) -> Vec<(String, String)> {
    let database = identifier(name);
    let mut settling = Vec::new();
    if let Some(comment) = &properties.comment {
        settling.push(("its comment".into(), format!("COMMENT ON DATABASE {database} IS {}", literal(comment))));
    }
    if let Some(limit) = properties.connection_limit {
        settling
            .push(("its limit of connections".into(), format!("ALTER DATABASE {database} CONNECTION LIMIT {limit}")));
    }
    if properties.template {
        settling.push(("that it is a template".into(), format!("ALTER DATABASE {database} IS_TEMPLATE true")));
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

/// A list of names as `pg_db_role_setting` has it (`"$user", public, "a,b"`), as literals.
fn list(value: &str) -> String {
    let mut names = vec![String::new()];
    let mut quoted = false;
    let mut characters = value.chars().peekable();
    while let Some(character) = characters.next() {
        let Some(name) = names.last_mut() else { break };
        match character {
            // Doubled it is one of the name.
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                name.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => names.push(String::new()),
            ' ' if !quoted => {}
            other => name.push(other),
        }
    }
    names.iter().map(|name| literal(name)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
