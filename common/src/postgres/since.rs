//! What has become of the roles of a restore point since it was made: they are the whole cluster's, no restore changes one, and
//! what is restored is theirs by name. A role that was renamed, dropped or shut out meanwhile is found before anything is
//! stopped.

use serde_json::Value;

use super::dump::{identifier, literal};
use super::roles::{Role, described};
use super::server::Database;
use crate::contract::digest;
use crate::contract::error::{Error, Result};

/// Those of `names` that the server does not have.
pub fn missing(server: &Database, names: &[String]) -> Result<Vec<String>> {
    let rows = server.rows("SELECT rolname AS name FROM pg_catalog.pg_roles")?;
    Ok(names.iter().filter(|name| !rows.iter().any(|row| row["name"] == name.as_str())).cloned().collect())
}

/// Whether the server, as `role`, could work in what a restore point brings back: in that point, of the database of `owner`
/// and whose roles were `then`, it owns something or has rights, or it is a member of a role that does. A role that is not there at all is made by a
/// superuser, as the point describes it.
///
/// # Errors
/// Refused when it could not, with the statements that let it.
pub fn require_heir(server: &Database, role: &str, owner: &str, then: &[String]) -> Result<()> {
    // Points of earlier releases do not always say.
    if then.is_empty() {
        return Ok(());
    }
    let names = then.iter().map(|name| literal(name)).collect::<Vec<_>>().join(", ");
    let rows = server.rows(&format!(
        "SELECT r.oid IS NOT NULL AS there, r.rolcanlogin AS gets_in, EXISTS (SELECT FROM pg_catalog.pg_roles o
           WHERE o.rolname = ANY (ARRAY[{names}]::pg_catalog.name[]) AND pg_catalog.pg_has_role(r.oid, o.oid, 'MEMBER')) AS fits
         FROM (SELECT 1) AS one LEFT JOIN pg_catalog.pg_roles r ON r.rolname = {}",
        literal(role)
    ))?;
    let is = |what: &str| rows.first().is_some_and(|row| row[what] == true);
    let is_named = role == owner || then.iter().any(|name| name == role);
    let fix = |sql: &str| {
        if server.is_superuser() {
            server.shown(sql)
        } else {
            format!("let a superuser of the database server run `{sql}`")
        }
    };
    let attempt = format!("the server's role `{role}` could not work in what the restore point brings back");
    match (is("there"), is_named || is("fits")) {
        (true, true) if is("gets_in") => Ok(()),
        (true, true) => Err(Error::refused(attempt)
            .because("it may not log in any more")
            .hint(fix(&format!("ALTER ROLE {} LOGIN", identifier(role))))),
        (false, true) if server.is_superuser() => Ok(()),
        (false, true) => Err(Error::refused(attempt)
            .because("it is not there any more")
            .hint(fix(&format!("CREATE ROLE {} LOGIN", identifier(role))))),
        (_, false) => {
            let gone = missing(server, then)?;
            let heir = whose(owner, then, &gone);
            let is_gone = gone.iter().any(|name| name == heir);
            let why = if is_gone { ", and was renamed or dropped since" } else { "" };
            let mut made = if is_gone { format!("CREATE ROLE {}; ", identifier(heir)) } else { String::new() };
            if !is("there") {
                made.extend(["CREATE ROLE ", &identifier(role), " LOGIN; "]);
            }
            Err(Error::refused(attempt)
                .because(format!(
                    "when the point was made, what is in the database was `{heir}`'s{why}; `{role}` had nothing there"
                ))
                .hint(fix(&format!("{made}GRANT {} TO {}", identifier(heir), identifier(role)))))
        }
    }
}

/// Whose what is in the database was, where it was not the server's: the owner's of the database; where he had nothing in it,
/// that of a role that is gone, which may be the server's under its former name.
fn whose<'a>(owner: &str, then: &'a [String], gone: &'a [String]) -> &'a str {
    then.iter().find(|name| *name == owner).or(gone.first()).or(then.first()).map_or("", String::as_str)
}

/// What is otherwise now with the roles `wanted`, of which `globals` (what `pg_dumpall` wrote) say what they were, in words.
/// Passwords are compared by their digests where both are known, and never shown.
pub fn changed(server: &Database, globals: &str, wanted: &[String]) -> Result<Vec<String>> {
    // `sha256` is there from 11 on.
    let (password, from) = if server.is_superuser() && server.major() >= 11 {
        ("pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(rolpassword, 'UTF8')), 'hex')", "pg_authid")
    } else {
        ("NULL::pg_catalog.text", "pg_roles")
    };
    let rows = server.rows(&format!(
        "SELECT rolname AS name, rolcanlogin AS can_login, {password} AS password, pg_catalog.array_remove(ARRAY[
           CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcreaterole THEN 'CREATEROLE' END,
           CASE WHEN rolcreatedb THEN 'CREATEDB' END, CASE WHEN rolreplication THEN 'REPLICATION' END,
           CASE WHEN rolbypassrls THEN 'BYPASSRLS' END], NULL) AS powers FROM pg_catalog.{from}"
    ))?;
    let mut found = Vec::new();
    for name in wanted {
        let now = rows.iter().find(|row| row["name"] == name.as_str());
        let Some((now, (then, powers))) = now.zip(described(globals, name)) else { continue };
        let words = differences(&then, &powers, now);
        if !words.is_empty() {
            found.push(format!(
                "the role {name} is not as it was when the restore point was made, and stays as it is: {}",
                words.join(", ")
            ));
        }
    }
    Ok(found)
}

fn differences(then: &Role, powers: &[String], now: &Value) -> Vec<String> {
    let has: Vec<&str> = now["powers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut words: Vec<String> =
        powers.iter().filter(|power| !has.contains(&power.as_str())).map(|power| format!("it had {power}")).collect();
    words.extend(has.iter().filter(|has| !powers.iter().any(|power| power == *has)).map(|has| format!("it has {has}")));
    match (then.can_login, now["can_login"] == true) {
        (true, false) => words.push("it could log in".into()),
        (false, true) => words.push("it can log in".into()),
        _ => {}
    }
    if let (Some(verifier), Some(now)) = (&then.verifier, now["password"].as_str())
        && digest::of_bytes(verifier.as_bytes()) != now
    {
        words.push("its password was set anew".into());
    }
    words
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_in_a_database_was_its_owners_if_he_had_anything_there() {
        let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let then = of(&["alpha", "boss", "gone"]);
        assert_eq!(whose("boss", &then, &of(&["gone"])), "boss");
        assert_eq!(whose("postgres", &then, &of(&["gone"])), "gone");
        assert_eq!(whose("postgres", &then, &[]), "alpha");
    }

    #[test]
    fn what_a_role_was_and_is_not_is_said_and_no_password() {
        let verifier = "md50123456789abcdef0123456789abcdef";
        let globals = format!("CREATE ROLE mm;\nALTER ROLE mm WITH LOGIN CREATEDB PASSWORD '{verifier}';\n");
        let (then, powers) = described(&globals, "mm").unwrap();
        let same =
            json!({"can_login": true, "powers": ["CREATEDB"], "password": digest::of_bytes(verifier.as_bytes())});
        assert!(differences(&then, &powers, &same).is_empty());
        let unknown = json!({"can_login": true, "powers": ["CREATEDB"], "password": null});
        assert!(differences(&then, &powers, &unknown).is_empty());
        let now = json!({"can_login": false, "powers": ["SUPERUSER"], "password": "0f"});
        assert_eq!(
            differences(&then, &powers, &now),
            ["it had CREATEDB", "it has SUPERUSER", "it could log in", "its password was set anew"]
        );
    }
}
