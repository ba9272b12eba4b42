//! Rights on what extensions bring. An upgrade may bring an extension in a newer version, whose functions take other arguments and whose
//! views were made anew: rights that somebody has given on those, or taken, follow by the name. `pg_dump` names functions by their
//! arguments, and `ALTER EXTENSION ... UPDATE` drops what it makes anew.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::dump::identifier;
use super::server::Database;
use crate::contract::error::{Context as _, Result};

/// A right: the role, everybody where there is none; what it may; whether it may pass that on.
type Right = (Option<String>, String, bool);

/// A function or a relation of an extension.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Member {
    kind: String,
    schema: String,
    name: String,
    /// Of a function, as `GRANT` wants them: of an ordered-set aggregate it takes no `ORDER BY`.
    arguments: Option<String>,
    /// Rights of others than its owner.
    rights: BTreeSet<Right>,
    /// Those of them that the extension gives by itself.
    initial: BTreeSet<Right>,
}

const MEMBERS: &str = r#"
WITH members AS (
  SELECT d.classid, d.objid, 'ROUTINE' AS kind, n.nspname, p.proname AS name, p.proowner AS owner,
         CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_aggregate g WHERE g.aggfnoid = p.oid AND g.aggkind <> 'n')
              THEN pg_catalog.oidvectortypes(p.proargtypes) ELSE pg_catalog.pg_get_function_identity_arguments(p.oid) END AS arguments,
         p.proacl AS acl, pg_catalog.acldefault('f', p.proowner) AS usual
    FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_proc p ON d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND p.oid = d.objid
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
   WHERE d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e'
  UNION ALL
  SELECT d.classid, d.objid, CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, n.nspname, c.relname, c.relowner, NULL,
         c.relacl, pg_catalog.acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner)
    FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.oid = d.objid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e' AND d.objsubid = 0 AND c.relkind IN ('r', 'v', 'm', 'S', 'f', 'p'))
SELECT kind, nspname::pg_catalog.text AS schema, m.name::pg_catalog.text AS name, arguments,
  (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(r.rolname, a.privilege_type, a.is_grantable)), '[]')
     FROM pg_catalog.aclexplode(coalesce(m.acl, m.usual)) a LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee WHERE a.grantee <> m.owner) AS rights,
  (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_array(r.rolname, a.privilege_type, a.is_grantable)), '[]')
     FROM pg_catalog.aclexplode(coalesce(i.initprivs, m.usual)) a LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee WHERE a.grantee <> m.owner) AS initial
FROM members m LEFT JOIN pg_catalog.pg_init_privs i ON i.classoid = m.classid AND i.objoid = m.objid AND i.objsubid = 0
"#;

/// The functions and relations of all extensions of a database.
///
/// # Errors
/// When the database cannot be asked.
pub fn read(database: &Database) -> Result<Vec<Member>> {
    let attempt = || format!("cannot read the rights on the extensions of the database `{}`", database.name);
    let rows = database.rows(MEMBERS).context(attempt)?;
    serde_json::from_value(rows.into()).context(attempt)
}

/// Gives the members of a database the rights that somebody had given on those of their names, and takes those that somebody had
/// taken.
///
/// # Errors
/// When the database cannot be asked, or does not let its superuser.
pub fn carry(database: &Database, before: &[Member]) -> Result<()> {
    let statements = statements(before, &read(database)?);
    if statements.is_empty() { Ok(()) } else { database.execute_verbatim(&statements.concat()) }
}

/// Whether a complaint is about rights on a function of an extension that takes other arguments now: [`carry`] gives them.
pub fn is_carried(complaint: &str, before: &[Member]) -> bool {
    let Some((_, rest)) = complaint.split_once("ERROR:  function ") else { return false };
    let Some(function) = rest.trim_end().strip_suffix(" does not exist") else { return false };
    before.iter().any(|member| {
        let written = format!("{}.{}(", member.schema, member.name);
        member.arguments.is_some() && member.rights != member.initial && function.starts_with(&written)
    })
}

fn statements(before: &[Member], now: &[Member]) -> Vec<String> {
    let mut statements = Vec::new();
    for then in before.iter().filter(|then| then.rights != then.initial) {
        let of_name =
            |member: &&Member| (&member.kind, &member.schema, &member.name) == (&then.kind, &then.schema, &then.name);
        let same: Vec<&Member> =
            now.iter().filter(of_name).filter(|member| member.arguments == then.arguments).collect();
        let was_there =
            |member: &&Member| before.iter().filter(of_name).any(|other| other.arguments == member.arguments);
        let made_anew = || now.iter().filter(of_name).filter(|member| !was_there(member)).collect();
        for member in if same.is_empty() { made_anew() } else { same } {
            let given = then.rights.difference(&then.initial).filter(|right| !member.has(right));
            statements.extend(given.map(|right| member.grant(right)));
            let taken = then.initial.difference(&then.rights).filter(|right| !then.has(right) && member.has(right));
            statements.extend(taken.map(|right| member.revoke(right)));
        }
    }
    statements
}

impl Member {
    /// Whether it has this right, whoever has given it.
    fn has(&self, (role, privilege, grantable): &Right) -> bool {
        self.rights.contains(&(role.clone(), privilege.clone(), true))
            || (!grantable && self.rights.contains(&(role.clone(), privilege.clone(), false)))
    }

    fn grant(&self, (role, privilege, grantable): &Right) -> String {
        let option = if *grantable { " WITH GRANT OPTION" } else { "" };
        format!("GRANT {privilege} ON {} TO {}{option};\n", self.written(), written(role.as_deref()))
    }

    fn revoke(&self, (role, privilege, _): &Right) -> String {
        format!("REVOKE {privilege} ON {} FROM {};\n", self.written(), written(role.as_deref()))
    }

    fn written(&self) -> String {
        let arguments = self.arguments.as_ref().map(|arguments| format!("({arguments})")).unwrap_or_default();
        format!("{} {}.{}{arguments}", self.kind, identifier(&self.schema), identifier(&self.name))
    }
}

fn written(role: Option<&str>) -> String {
    role.map_or_else(|| "PUBLIC".to_owned(), identifier)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right(role: &str, privilege: &str, grantable: bool) -> Right {
        ((!role.is_empty()).then(|| role.to_owned()), privilege.to_owned(), grantable)
    }

    fn member(kind: &str, arguments: Option<&str>, rights: &[Right], initial: &[Right]) -> Member {
        Member {
            kind: kind.into(),
            schema: "m".into(),
            name: "reset".into(),
            arguments: arguments.map(str::to_owned),
            rights: rights.iter().cloned().collect(),
            initial: initial.iter().cloned().collect(),
        }
    }

    #[test]
    fn what_was_given_and_taken_follows_the_name() {
        let (read, public) = ([right("reader", "EXECUTE", false)], [right("", "EXECUTE", false)]);
        let then = [member("ROUTINE", Some("oid"), &read, &public)];
        let now = [member("ROUTINE", Some("oid, boolean"), &public, &public)];
        let target = "ROUTINE \"m\".\"reset\"(oid, boolean)";
        let wanted = [
            format!("GRANT EXECUTE ON {target} TO \"reader\";\n"),
            format!("REVOKE EXECUTE ON {target} FROM PUBLIC;\n"),
        ];
        assert_eq!(statements(&then, &now), wanted);
        assert!(statements(&then, &then).is_empty(), "it is there already");
        // One that was beside it is another one.
        let beside = member("ROUTINE", Some("oid, boolean"), &[], &[]);
        assert!(statements(&[then[0].clone(), beside.clone()], &[beside]).is_empty());
        // What the extension itself gives is its own.
        let usual = [member("TABLE", None, &[right("", "SELECT", false)], &[right("", "SELECT", false)])];
        assert!(statements(&usual, &[member("TABLE", None, &[], &[])]).is_empty());
        let passed = [member("TABLE", None, &[right("reader", "SELECT", true)], &[])];
        assert_eq!(
            statements(&passed, &[member("TABLE", None, &[right("reader", "SELECT", false)], &[])]),
            ["GRANT SELECT ON TABLE \"m\".\"reset\" TO \"reader\" WITH GRANT OPTION;\n"]
        );
    }

    #[test]
    fn only_what_will_be_given_is_no_complaint() {
        let then = [member("ROUTINE", Some("oid"), &[right("reader", "EXECUTE", false)], &[])];
        assert!(is_carried("ERROR:  function m.reset(oid) does not exist", &then));
        assert!(is_carried("psql:<stdin>:7: ERROR:  function m.reset(oid) does not exist", &then));
        for other in [
            "ERROR:  function m.reset_all(oid) does not exist",
            "ERROR:  relation m.reset does not exist",
            "FATAL:  function m.reset(oid) does not exist",
            "ERROR:  function m.reset(oid) is not unique",
        ] {
            assert!(!is_carried(other, &then), "{other}");
        }
        assert!(!is_carried(
            "ERROR:  function m.reset(oid) does not exist",
            &[member("ROUTINE", Some("oid"), &[], &[])]
        ));
    }
}
