//! Rights on what a restore has made. A dump says them as statements; they are given when everything has its owner, each as
//! that owner and nobody else: what the owner itself may do is among them, and no statement reaches farther than the owner's
//! own power. Each is read word by word first, so that it is one right and nothing else.

use std::collections::BTreeSet;
use std::path::Path;

use super::definitions;
use super::dump::identifier;
use super::others;
use super::schemas;
use super::server::Database;
use super::untrusted;
use crate::contract::error::Result;

/// Words before `ON`.
const PRIVILEGES: &[&str] = &[
    "ALL",
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "TRUNCATE",
    "REFERENCES",
    "TRIGGER",
    "MAINTAIN",
    "USAGE",
    "EXECUTE",
    "CREATE",
];

/// Words behind it.
const KINDS: &[&str] = &["TABLE", "SEQUENCE", "FUNCTION", "PROCEDURE", "TYPE", "SCHEMA", "LARGE"];

/// How the rights on an object begin in a dump's table of contents.
const ENTRY: &str = "ACL ";

/// Whether an entry of a dump's table of contents is about rights that are given so: those on what an ordinary role owns in a
/// schema.
pub(super) fn is_given_by_owner(entry: &str, ordinary: &[String]) -> bool {
    let in_schema = entry.starts_with(ENTRY) && !entry.starts_with("ACL - ");
    in_schema && ordinary.iter().any(|role| entry.ends_with(&format!(" {role}")))
}

/// Gives the rights that `dump` says, in the database that `superuser` is connected to, each as one of the roles `ordinary`.
/// Returns what could not be given, in words.
pub fn give(dump: &Path, superuser: &Database, ordinary: &[String]) -> Result<Vec<String>> {
    let entries = untrusted::entries(dump)?;
    let is_own = |entry: &str| is_given_by_owner(entry, ordinary) && !others::is_of_others(entry, &entries);
    let text = untrusted::printed(dump, &is_own)?;
    let (steps, mut left) = steps(&text, &ordinary.iter().map(String::as_str).collect());
    if steps.is_empty() {
        return Ok(left);
    }
    // An owner may be shut out of the schema; for these statements it is not.
    let shut: Vec<String> =
        schemas::read(superuser)?.into_iter().filter(|(_, space)| !space.is_open()).map(|(name, _)| name).collect();
    let each = |before: &str, after: &str| -> String {
        let grant = |name: &String| [before, " USAGE ON SCHEMA ", &identifier(name), " ", after, " PUBLIC;\n"].concat();
        shut.iter().map(grant).collect()
    };
    let (open, close) = (each("GRANT", "TO"), each("REVOKE", "FROM"));
    if superuser.execute_verbatim(&[open.as_str(), &steps.concat(), &close].concat()).is_ok() {
        return Ok(left);
    }
    for step in steps {
        if let Err(error) = superuser.execute_verbatim(&[open.as_str(), &step, &close].concat()) {
            left.push(format!("{} ({})", step.lines().nth(1).unwrap_or_default(), error.one_line()));
        }
    }
    Ok(left)
}

/// The rights that `dump` says on what it makes, one statement each and in order. Those on schemas, and on what extensions or
/// superusers bring, are not among them.
pub fn of_dump(dump: &Path) -> Result<Vec<String>> {
    let entries = untrusted::entries(dump)?;
    let is_own = |entry: &str| {
        entry.starts_with(ENTRY) && !entry.starts_with("ACL - ") && !others::is_of_others(entry, &entries)
    };
    let text = untrusted::printed(dump, &is_own)?;
    let statements = definitions::statements(&text).into_iter().map(|(_, _, statement)| statement);
    Ok(statements.filter(|statement| is_right(statement)).collect())
}

/// Each right with the role that gives it, as it is run; and what is none, or is not for such a role to give.
fn steps(text: &str, ordinary: &BTreeSet<&str>) -> (Vec<String>, Vec<String>) {
    let (mut steps, mut left) = (Vec::new(), Vec::new());
    for (owner, session, statement) in definitions::statements(text) {
        let role = session.as_deref().map_or(owner, bare);
        if is_right(&statement) && ordinary.contains(role.as_str()) {
            steps.push(format!("SET LOCAL ROLE {};\n{statement}\nRESET ROLE;\n", identifier(&role)));
        } else {
            left.push(statement);
        }
    }
    (steps, left)
}

/// A name as it is, of one as it is written.
pub(super) fn bare(written: &str) -> String {
    match written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => written.to_owned(),
    }
}

/// Whether a statement is `GRANT` or `REVOKE` of rights on an object, and one statement.
pub(super) fn is_right(statement: &str) -> bool {
    let Some(words) = words(statement) else { return false };
    let mut words = words.iter().map(String::as_str).peekable();
    if !matches!(words.next(), Some("GRANT" | "REVOKE")) {
        return false;
    }
    if words.peek() == Some(&"GRANT")
        && [words.next(), words.next(), words.next()] != [Some("GRANT"), Some("OPTION"), Some("FOR")]
    {
        return false;
    }
    let mut any = false;
    for word in words.by_ref() {
        if word == "ON" {
            return any && words.next().is_some_and(|kind| KINDS.contains(&kind));
        }
        // `SELECT(id),UPDATE(id)`: what stands in brackets are columns.
        if !word.split(',').filter(|part| !part.is_empty()).all(|part| PRIVILEGES.contains(&part)) {
            return false;
        }
        any = true;
    }
    false
}

/// The words of a statement, without quoted names and without what stands in brackets; `None` when it is not one statement
/// of such words, with a semicolon at its end.
fn words(statement: &str) -> Option<Vec<String>> {
    let mut bare = String::new();
    let mut depth = 0_u32;
    let mut characters = statement.strip_suffix(';')?.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                // A doubled quote is one of the name.
                loop {
                    if characters.next()? == '"' {
                        if characters.peek() != Some(&'"') {
                            break;
                        }
                        characters.next();
                    }
                }
                if depth == 0 {
                    bare.push('?');
                }
            }
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1)?,
            // A colon is none of a type's or a name's: `psql` would read a variable behind it.
            ';' | '\'' | '\\' | '$' | '*' | ':' => return None,
            '-' if characters.peek() == Some(&'-') => return None,
            _ if depth > 0 => {}
            other => bare.push(other),
        }
    }
    (depth == 0).then(|| bare.split_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_right_is_one() {
        for right in [
            "GRANT SELECT ON TABLE public.posts TO reader;",
            "GRANT SELECT(id),UPDATE(\"a ; b\") ON TABLE public.\"odd \"\" name\" TO reader WITH GRANT OPTION;",
            "REVOKE ALL ON TABLE public.posts FROM mm;",
            "REVOKE GRANT OPTION FOR SELECT ON TABLE public.posts FROM mm;",
            "GRANT SELECT,INSERT ON TABLE public.posts TO a;",
            "GRANT ALL ON FUNCTION public.f(a integer, b text) TO mm;",
        ] {
            assert!(is_right(right), "{right}");
        }
        for other in [
            "GRANT postgres TO mm;",
            "GRANT \"SELECT ON TABLE x\" TO mm;",
            "GRANT SELECT ON DATABASE x TO mm;",
            "GRANT ALL ON LANGUAGE c TO mm;",
            "GRANT SELECT ON TABLE x TO mm; ALTER ROLE mm SUPERUSER;",
            "GRANT SELECT ON TABLE x TO mm -- ;",
            "ALTER ROLE mm SUPERUSER;",
            "RESET ROLE;",
            "GRANT ON TABLE x TO mm;",
            "GRANT ALL ON FUNCTION f(:DBNAME) TO mm;",
            "GRANT ALL ON TABLE f TO :USER;",
            "GRANT ALL ON TABLE :\"DBNAME\" TO mm;",
        ] {
            assert!(!is_right(other), "{other}");
        }
    }

    #[test]
    fn each_right_is_given_by_the_owner_or_by_whom_it_was_passed_on() {
        let text = "-- Name: TABLE t; Type: ACL; Schema: public; Owner: mm\n\nREVOKE ALL ON TABLE public.t FROM mm;\n\
            SET SESSION AUTHORIZATION reader;\nGRANT SELECT ON TABLE public.t TO b;\nRESET SESSION AUTHORIZATION;\n\
            SET SESSION AUTHORIZATION postgres;\nGRANT SELECT ON TABLE public.t TO c;\nRESET SESSION AUTHORIZATION;\n";
        let (steps, left) = steps(text, &["mm", "reader"].into());
        assert_eq!(
            steps,
            [
                "SET LOCAL ROLE \"mm\";\nREVOKE ALL ON TABLE public.t FROM mm;\nRESET ROLE;\n",
                "SET LOCAL ROLE \"reader\";\nGRANT SELECT ON TABLE public.t TO b;\nRESET ROLE;\n"
            ]
        );
        assert_eq!(left, ["GRANT SELECT ON TABLE public.t TO c;"]);
    }
}
