//! What is looked at of what the two databases hold, or may hold.

use std::collections::BTreeSet;

use mm_common::machine::files;
use mm_common::postgres::dump::{identifier, literal};
use mm_common::postgres::properties;
use mm_common::postgres::server::Database;
use mm_common::postgres::untrusted::{self, Schema};
use mm_common::{Context as _, Result};

use super::super::origin::Old;
use super::super::roles::RoleMap;
use super::super::target::{self, Target};
use super::Question;
use crate::preflight::{Seen, shortened};

/// The role of the server must not be a superuser there, and has to make what is carried: tried, and taken back.
pub(super) fn rights(target: &Target, replace: bool, schemas: &[String]) -> Result<Seen> {
    if target.has_role && Target::powers(&target.front, target.role())?["super"] == true {
        return Ok(Seen::fail(
            format!("`{}` is a superuser there", target.role()),
            "what the database holds (functions, constraints) runs as that role: give the server a role of its own",
        ));
    }
    if !target.has_role
        && let Some(why) = cannot_make_role(target)?
    {
        return Ok(Seen::fail(
            format!("the role `{}` is not there, and cannot be made: {why}", target.role()),
            format!("there: CREATE ROLE {} LOGIN PASSWORD '...'", identifier(target.role())),
        ));
    }
    let makes_database = target.own.is_none() || (replace && !target::contents(&target.front_inside())?.is_empty());
    if makes_database {
        return try_database(target);
    }
    let Some(own) = &target.own else { return Ok(Seen::pass("")) };
    let mut sql = String::from("BEGIN;\n");
    if schemas.iter().any(|name| name != "public") {
        sql.push_str("CREATE SCHEMA mm_tools_trial;\n");
    }
    if schemas.iter().any(|name| name == "public") {
        sql.push_str("CREATE TABLE public.mm_tools_trial (n pg_catalog.int4);\n");
    }
    sql.push_str("ROLLBACK");
    Ok(match own.execute_each(&sql) {
        Ok(()) => Seen::pass(format!("tried as `{}`", target.role())),
        Err(error) => Seen::fail(
            error.causes().join("; "),
            format!(
                "there, as an administrator: ALTER DATABASE {} OWNER TO {role}; and in that database: GRANT ALL ON SCHEMA public TO {role}",
                identifier(target.name()),
                role = identifier(target.role())
            ),
        ),
    })
}

/// Why nobody can make the role; tried, and taken back.
fn cannot_make_role(target: &Target) -> Result<Option<String>> {
    let Some(admin) = &target.admin else { return Ok(Some("nobody was named who could make it".into())) };
    let name = identifier(&format!("mm_trial_{}", files::random_hexadecimal(8)?));
    let sql = format!("BEGIN;\nCREATE ROLE {name} LOGIN;\nGRANT {name} TO CURRENT_USER;\nROLLBACK");
    Ok(admin.execute_each(&sql).err().map(|error| error.causes().join("; ")))
}

/// Makes a database of a name that nobody has, renames and drops it.
fn try_database(target: &Target) -> Result<Seen> {
    let maker = target.maker()?;
    let name = identifier(&format!("mm_trial_{}", files::random_hexadecimal(8)?));
    let renamed = identifier(&format!("mm_trial_{}", files::random_hexadecimal(8)?));
    let make = format!("CREATE DATABASE {name} TEMPLATE template0;\nALTER DATABASE {name} RENAME TO {renamed}");
    let tried = maker.execute_each(&make);
    let dropped = maker.execute_each(&format!("DROP DATABASE IF EXISTS {name};\nDROP DATABASE IF EXISTS {renamed}"));
    let given = match (&target.admin, target.has_role) {
        (Some(admin), true) => may_give(admin, target.role())?,
        _ => true,
    };
    Ok(match tried.and(dropped) {
        Ok(()) if given => Seen::pass("tried: a database was made, renamed and dropped again"),
        Ok(()) => Seen::fail(
            format!("the administrator may not give a database to `{}`", target.role()),
            format!("there: GRANT {} TO CURRENT_USER, as the administrator", identifier(target.role())),
        ),
        Err(error) => Seen::fail(
            error.causes().join("; "),
            "create the database there yourself; or ALTER ROLE ... CREATEDB; or name an administrator's data source in line 2",
        ),
    })
}

/// Only a member of a role gives it a database.
fn may_give(admin: &Database, role: &str) -> Result<bool> {
    let sql = format!(
        "SELECT pg_catalog.pg_has_role(oid, 'MEMBER') AS may FROM pg_catalog.pg_roles WHERE rolname = {}",
        literal(role)
    );
    Ok(admin.value(&sql)? == true)
}

pub(super) fn encoding(question: &Question<'_>) -> Result<Seen> {
    let then = &question.origin.properties;
    let Some(own) = &question.target.own else {
        let locale = literal(&then.collate);
        let known = format!(
            "SELECT pg_catalog.count(*) AS n FROM pg_catalog.pg_collation WHERE collcollate = {locale} OR {locale} IN ('C', 'POSIX', 'C.UTF-8', 'C.utf8')"
        );
        if question.target.front.value(&known)? == 0 {
            return Ok(Seen::fail(
                format!("it does not know the locale {}", then.collate),
                format!(
                    "install the locale there; or create the database yourself with another one, as {}",
                    question.target.role()
                ),
            ));
        }
        return Ok(Seen::pass(format!("{}, {}", then.encoding, then.collate)));
    };
    let now = properties::read(own)?;
    if now.encoding != then.encoding {
        return Ok(Seen::fail(
            format!("it is {} here and {} there", then.encoding, now.encoding),
            format!("create it there with ENCODING '{}' TEMPLATE template0", then.encoding),
        ));
    }
    let words = |of: &properties::Properties| {
        let provider = match of.provider.as_deref() {
            Some("i") => "icu",
            Some("b") => "builtin",
            _ => "libc",
        };
        format!(
            "{} {} ({provider}{})",
            of.collate,
            of.ctype,
            of.locale.as_ref().map_or_else(String::new, |it| format!(" {it}"))
        )
    };
    let (then, now) = (words(then), words(&now));
    if then.to_lowercase().replace('-', "") != now.to_lowercase().replace('-', "") {
        return Ok(Seen::warn(
            format!("text is ordered by {then} here and by {now} there"),
            "indexes are built anew there, so nothing is lost; lists of names may come in another order",
        ));
    }
    Ok(Seen::pass(now))
}

/// Names of the extensions in use, with the schema of each, in the order in which they were made: some need earlier ones.
pub(crate) fn extensions_of(database: &Database) -> Result<Vec<(String, String)>> {
    let rows = database.rows(
        "SELECT extname AS name, nspname AS schema FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = extnamespace ORDER BY e.oid",
    )?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    Ok(rows.iter().map(|row| (text(&row["name"]), text(&row["schema"]))).collect())
}

/// Each has to be there, or can be made: by whom may, tried where the database is there.
pub(super) fn extensions(question: &Question<'_>) -> Result<Seen> {
    let target = question.target;
    let there = match &target.own {
        Some(own) if !question.replace => extensions_of(own)?,
        _ => vec![("plpgsql".to_owned(), "pg_catalog".to_owned())],
    };
    let mut missing = Vec::new();
    let mut refused = Vec::new();
    let mut made = Vec::new();
    let inside = target.admin_inside().filter(|_| target.has_database).or_else(|| target.own.clone());
    for (name, schema) in &question.origin.extensions {
        if there.iter().any(|(known, _)| known == name) {
            continue;
        }
        let name = name.clone();
        let available = format!(
            "SELECT pg_catalog.count(*) AS n FROM pg_catalog.pg_available_extensions WHERE name = {}",
            literal(&name)
        );
        if target.front.value(&available)? == 0 {
            missing.push(name);
            continue;
        }
        if let Some(inside) = &inside {
            let schema = identifier(schema);
            let sql = format!(
                "BEGIN;\nCREATE SCHEMA IF NOT EXISTS {schema};\nCREATE EXTENSION {} SCHEMA {schema} CASCADE;\nROLLBACK",
                identifier(&name)
            );
            if !question.replace
                && let Err(error) = inside.execute_each(&sql)
            {
                refused.push(format!("{name} ({})", error.causes().join("; ")));
                continue;
            }
        }
        made.push(name);
    }
    if !missing.is_empty() {
        let hint = "install their packages on the target's server, or drop what uses them here";
        return Ok(Seen::fail(format!("it does not have {}", shortened(&missing)), hint));
    }
    if !refused.is_empty() {
        let hint =
            "let an administrator create them in the target's database, or name one in line 2 of the target's file";
        return Ok(Seen::fail(format!("they may not be created: {}", shortened(&refused)), hint));
    }
    Ok(Seen::pass(if made.is_empty() {
        "none is missing".to_owned()
    } else {
        format!("{} are made", shortened(&made))
    }))
}

/// Roles that row policies name. Of a restore point they are not known before it is loaded, which fails where one is not there.
fn of_policies(question: &Question<'_>) -> Result<Vec<serde_json::Value>> {
    let Old::Living(source) = question.old else { return Ok(Vec::new()) };
    source.reader.rows(
        "SELECT DISTINCT r.rolname AS name FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_roles r ON r.oid = ANY (p.polroles)",
    )
}

pub(super) fn roles(question: &Question<'_>, map: &RoleMap) -> Result<Seen> {
    let policies = of_policies(question)?;
    let named: Vec<&str> = policies.iter().filter_map(|row| row["name"].as_str()).collect();
    let lost: Vec<String> =
        named.iter().filter(|role| !map.there.contains(**role)).map(|role| (*role).to_owned()).collect();
    if !lost.is_empty() {
        return Ok(Seen::fail(
            format!("row policies name roles that are not there: {}", shortened(&lost)),
            "create them on the target (CREATE ROLE)",
        ));
    }
    let used = &question.origin.roles;
    let absent: Vec<String> = used.iter().filter(|role| map.holder(role).is_none()).cloned().collect();
    if absent.is_empty() {
        let words: Vec<String> = map
            .of(used)
            .into_iter()
            .map(|(role, holder)| match holder {
                Some(holder) if holder != role => format!("{role} becomes {holder}"),
                _ => role,
            })
            .collect();
        return Ok(Seen::pass(shortened(&words)));
    }
    Ok(Seen::warn(
        format!(
            "not there: {}; what they own becomes `{}`'s, what they may do is not carried",
            shortened(&absent),
            map.to
        ),
        "create them on the target first (CREATE ROLE) where they are to keep their rights",
    ))
}

/// What only a superuser makes: said before anything is stopped.
pub(super) fn left_behind(question: &Question<'_>, found: &mut Vec<String>) -> Result<Seen> {
    let attempt = || "cannot read the definitions of the database".to_owned();
    let entries = match question.old {
        Old::Living(source) => {
            let schema = Schema::of(&source.reader).context(attempt)?;
            untrusted::entries(&schema.path).context(attempt)?
        }
        Old::Stored(point) => untrusted::entries(&point.dump).context(attempt)?,
    };
    *found = untrusted::superusers(&entries, &BTreeSet::new());
    found.extend(entries.iter().filter(|entry| entry.starts_with("FOREIGN TABLE ")).cloned());
    let spaces = "SELECT DISTINCT t.spcname AS name FROM pg_catalog.pg_class c JOIN pg_catalog.pg_tablespace t ON t.oid = c.reltablespace WHERE t.spcname !~ '^pg_'";
    let spaces = match question.old {
        Old::Living(source) => source.reader.rows(spaces)?,
        Old::Stored(_) => Vec::new(),
    };
    let spaces: Vec<&str> = spaces.iter().filter_map(|row| row["name"].as_str()).collect();
    if found.is_empty() && !spaces.is_empty() {
        let said = format!("tables lie in tablespaces ({}); there they lie where the database does", spaces.join(", "));
        return Ok(Seen::warn(said, "move them there afterwards (ALTER TABLE ... SET TABLESPACE)"));
    }
    Ok(Seen::list(
        found,
        "nothing needs a superuser",
        Seen::fail,
        "they need a superuser and are not made on the target: make them there after the move, and say so with --accept move-left-behind",
    ))
}
