//! Roles that a restore makes: what is recorded of them are facts, never text to be executed. The server that was backed up
//! may have been anybody's, and may have said anything of its roles.

use super::dump::{identifier, literal};
use super::server::Database;
use super::source::DataSource;
use crate::contract::error::{Context as _, Error, Result};

/// How the later of the two forms begins in which servers keep a password.
const SCRAM: &str = "SCRAM-SHA-256$";

/// What is taken over of a role. That it is a superuser, or may make roles or databases, replicate, or see every row, never
/// is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Role {
    /// Whether it may log in.
    pub(super) can_login: bool,
    /// Connections it may have at once.
    limit: Option<u32>,
    /// Until when its password is good.
    valid_until: Option<String>,
    /// Its password as the server keeps it, or as it is.
    pub(super) verifier: Option<String>,
}

/// What was made of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Created {
    /// Roles that were not there.
    pub roles: Vec<String>,
    /// What they had and did not get, in words.
    pub left_out: Vec<String>,
}

/// Creates the roles of `wanted` that the server does not have, as `globals` (what `pg_dumpall` wrote) describes them. One
/// that is there stays as it is. Of the role of `login`, a data source, the password is known: where the old server kept it
/// as MD5 (before PostgreSQL 14), which `pg_hba.conf` of a later one does not take, or not at all, the new one keeps it in
/// its own form.
///
/// # Errors
/// Refused when one of them is not described.
pub fn create_missing(
    server: &Database,
    globals: &str,
    wanted: &[String],
    login: Option<&DataSource>,
) -> Result<Created> {
    let there = server.rows("SELECT rolname AS name FROM pg_catalog.pg_roles")?;
    let mut created = Created::default();
    for name in wanted.iter().filter(|role| !there.iter().any(|row| row["name"] == role.as_str())) {
        let Some((mut role, powers)) = described(globals, name) else {
            return Err(Error::refused(format!("the database belongs to the role `{name}`, which is not there"))
                .because("the restore point does not say how it was made")
                .hint(format!("create it (CREATE ROLE {}), then run this again", identifier(name))));
        };
        if !role.verifier.as_ref().is_some_and(|verifier| verifier.starts_with(SCRAM))
            && let Some(password) = login.filter(|login| login.user == *name).and_then(|login| login.password.as_ref())
            && !is_verifier(password.reveal())
        {
            role.verifier = Some(password.reveal().to_owned());
        }
        server.execute_unlogged(&statement(name, &role)).context(|| format!("cannot create the role `{name}`"))?;
        created.roles.push(name.clone());
        created.left_out.extend(powers.iter().map(|power| format!("{power} of the role {name}")));
    }
    // Memberships are taken over among the roles that are made here, and in no other.
    for group in &created.roles {
        for member in &created.roles {
            if grants(globals, group, member) {
                let sql = format!("GRANT {} TO {}", identifier(group), identifier(member));
                server.execute_verbatim(&sql).context(|| format!("cannot put the role `{member}` into `{group}`"))?;
            }
        }
    }
    Ok(created)
}

fn statement(name: &str, role: &Role) -> String {
    let login = if role.can_login { "LOGIN" } else { "NOLOGIN" };
    let limit = role.limit.map(|limit| format!(" CONNECTION LIMIT {limit}"));
    let until = role.valid_until.as_ref().map(|until| format!(" VALID UNTIL {}", literal(until)));
    let password = role.verifier.as_ref().map(|verifier| format!(" PASSWORD {}", literal(verifier)));
    let further: String = [limit, until, password].into_iter().flatten().collect();
    let name = identifier(name);
    format!("CREATE ROLE {name} NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS {login}{further}")
}

/// A name as `pg_dumpall` writes it: quoted where it has to be.
fn written(name: &str) -> [String; 2] {
    [name.to_owned(), identifier(name)]
}

/// What `globals` says of a role: what is taken over, and the words of what is not.
pub(super) fn described(globals: &str, name: &str) -> Option<(Role, Vec<String>)> {
    let names = written(name);
    if !globals.lines().any(|line| names.iter().any(|name| line == format!("CREATE ROLE {name};"))) {
        return None;
    }
    let mut role = Role::default();
    let mut powers = Vec::new();
    let options = globals.lines().find_map(|line| {
        names.iter().find_map(|name| line.strip_prefix(&format!("ALTER ROLE {name} WITH "))?.strip_suffix(';'))
    });
    let mut words = words(options.unwrap_or_default()).into_iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "LOGIN" => role.can_login = true,
            "SUPERUSER" | "CREATEROLE" | "CREATEDB" | "REPLICATION" | "BYPASSRLS" => powers.push(word),
            "CONNECTION" => role.limit = words.nth(1).and_then(|limit| limit.parse().ok()),
            "VALID" => role.valid_until = words.nth(1).filter(|until| is_time(until)),
            "PASSWORD" => role.verifier = words.next().filter(|text| is_verifier(text)),
            _ => {}
        }
    }
    Some((role, powers))
}

/// Whether `globals` describe a role.
pub fn is_described(globals: &str, name: &str) -> bool {
    described(globals, name).is_some()
}

/// Whether a line makes `member` a member of `group`, whoever granted it.
fn grants(globals: &str, group: &str, member: &str) -> bool {
    let pairs = written(group).into_iter().flat_map(|group| written(member).map(|member| (group.clone(), member)));
    let starts: Vec<String> = pairs.map(|(group, member)| format!("GRANT {group} TO {member}")).collect();
    globals.lines().any(|line| {
        let rest = starts.iter().find_map(|start| line.strip_prefix(start.as_str()));
        rest.is_some_and(|rest| rest == ";" || rest.starts_with(" GRANTED BY ") || rest.starts_with(" WITH "))
    })
}

/// Words divided by blanks; one in single quotes is one word, without them.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('\'') {
            Some(quoted) => quoted.split_once('\'').unwrap_or((quoted, "")),
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words
}

/// The two forms in which servers keep a password (`pg_authid`, PostgreSQL's manual). Any other text would be taken for the
/// password itself.
fn is_verifier(text: &str) -> bool {
    let is_base64 =
        |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
    if let Some(hash) = text.strip_prefix("md5") {
        return hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    }
    let Some((salted, keys)) = text.strip_prefix(SCRAM).and_then(|rest| rest.split_once('$')) else {
        return false;
    };
    let Some(((rounds, salt), (stored, server))) = salted.split_once(':').zip(keys.split_once(':')) else {
        return false;
    };
    rounds.parse::<u32>().is_ok() && [salt, stored, server].into_iter().all(is_base64)
}

fn is_time(text: &str) -> bool {
    text == "infinity" || text.bytes().all(|byte| byte.is_ascii_digit() || b"-:+. ".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERIFIER: &str = "SCRAM-SHA-256$4096:c2FsdHNhbHQ=$c3RvcmVk:c2VydmVy";

    fn globals() -> String {
        format!(
            "CREATE ROLE mmuser;\nALTER ROLE mmuser WITH SUPERUSER INHERIT CREATEROLE CREATEDB LOGIN REPLICATION BYPASSRLS \
             CONNECTION LIMIT 7 PASSWORD '{VERIFIER}' VALID UNTIL '2040-01-01 00:00:00+00';\nCREATE ROLE \"re porter\";\n\
             ALTER ROLE \"re porter\" WITH NOSUPERUSER NOLOGIN PASSWORD 'x'' SUPERUSER';\n\
             GRANT \"re porter\" TO mmuser GRANTED BY postgres;\nGRANT postgres TO mmuser GRANTED BY postgres;\n"
        )
    }

    #[test]
    fn no_power_is_taken_over() {
        let (role, powers) = described(&globals(), "mmuser").unwrap();
        assert_eq!(powers, ["SUPERUSER", "CREATEROLE", "CREATEDB", "REPLICATION", "BYPASSRLS"]);
        assert_eq!(
            statement("mmuser", &role),
            format!(
                "CREATE ROLE \"mmuser\" NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS LOGIN CONNECTION LIMIT 7 \
                 VALID UNTIL '2040-01-01 00:00:00+00' PASSWORD '{VERIFIER}'"
            )
        );
        let (role, _) = described(&globals(), "re porter").unwrap();
        assert_eq!(role, Role::default(), "what is no verifier is no password");
        assert!(described(&globals(), "nobody").is_none());
    }

    #[test]
    fn memberships_are_those_between_the_two() {
        assert!(grants(&globals(), "re porter", "mmuser") && grants(&globals(), "postgres", "mmuser"));
        assert!(!grants(&globals(), "mmuser", "re porter"));
    }

    #[test]
    fn only_the_two_known_forms_are_verifiers() {
        assert!(is_verifier(VERIFIER) && is_verifier("md50123456789abcdef0123456789abcdef"));
        for text in ["", "secret", "md5x", "SCRAM-SHA-256$x:c2Fs$a:b", "SCRAM-SHA-256$4096:c2Fs$a'b:c", "md5 SUPERUSER"]
        {
            assert!(!is_verifier(text), "{text}");
        }
    }
}
