//! Whose things are on the other server: which of its roles stands for each role of the old one.

use std::collections::{BTreeMap, BTreeSet};

use mm_common::postgres::definitions::Definitions;
use mm_common::postgres::dump::identifier;
use mm_common::postgres::schemas::{Right, Space, Spaces};
use serde::{Deserialize, Serialize};

/// The map. The role of the old data source becomes that of the new one, and whatever a third role owned is the new
/// role's too: nobody else could be given it without a superuser. Rights of other roles go to the roles of their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RoleMap {
    /// The role of the old data source.
    pub from: String,
    /// The role of the new one.
    pub to: String,
    /// The roles of the new server.
    pub there: BTreeSet<String>,
}

impl RoleMap {
    /// Who has, on the new server, the rights that `role` had; nobody where there is no such role.
    pub(crate) fn holder(&self, role: &str) -> Option<&str> {
        if role == self.from { Some(&self.to) } else { self.there.get(role).map(String::as_str) }
    }

    /// Who owns what `role` owned.
    pub(crate) fn owner<'a>(&'a self, role: &'a str) -> &'a str {
        // A role that PostgreSQL makes stands for the owner of the database anyway.
        if role == "pg_database_owner" && self.there.contains(role) { role } else { &self.to }
    }

    /// The roles of `used` with what stands for each, for people and the report.
    pub(crate) fn of(&self, used: &[String]) -> BTreeMap<String, Option<String>> {
        used.iter().map(|role| (role.clone(), self.holder(role).map(str::to_owned))).collect()
    }

    /// A statement that gives, takes or passes on a right, with the roles of the new server in it. `None` where it is
    /// about a role that is not there, or about the owner's own rights, which it has anyway.
    pub(crate) fn right(&self, statement: &str) -> Option<String> {
        let body = statement.strip_suffix(';')?;
        let (body, granted_by) = body.split_once(" GRANTED BY ").map_or((body, false), |(body, _)| (body, true));
        let (body, option) = match body.strip_suffix(" WITH GRANT OPTION") {
            Some(body) => (body, " WITH GRANT OPTION"),
            None => (body, ""),
        };
        let word = if statement.contains("REVOKE ") && !body.contains(" TO ") { " FROM " } else { " TO " };
        let (before, role) = body.rsplit_once(word)?;
        let role = bare(role);
        let holder = if role == "PUBLIC" { "PUBLIC".to_owned() } else { identifier(self.holder(&role)?) };
        if granted_by || (holder == identifier(&self.to) && !before.starts_with("ALTER DEFAULT PRIVILEGES")) {
            return None;
        }
        Some(format!("{}{word}{holder}{option};", self.default_of(before)))
    }

    /// `ALTER DEFAULT PRIVILEGES FOR ROLE x` with the new owner.
    fn default_of(&self, before: &str) -> String {
        const START: &str = "ALTER DEFAULT PRIVILEGES FOR ROLE ";
        let Some(rest) = before.strip_prefix(START) else { return before.to_owned() };
        match split_name(rest) {
            Some((role, rest)) => format!("{START}{}{rest}", identifier(self.owner(&role))),
            None => before.to_owned(),
        }
    }

    /// Definitions as they are where the roles of the new server stand for those of the old one.
    pub(crate) fn definitions(&self, definitions: &Definitions) -> Definitions {
        let mut all = Definitions::new();
        for (name, text) in definitions {
            let is_default = name.starts_with("DEFAULT ACL ");
            let is_right = is_default || name.starts_with("ACL ");
            // What others make later is theirs; their default privileges are not carried.
            if is_default && name.rsplit_once(" of ").is_none_or(|(_, role)| role != self.from && role != self.to) {
                continue;
            }
            let lines: Vec<String> = if is_right {
                let mut lines: Vec<String> =
                    text.lines().filter_map(|line| self.right(without_grantor(line))).collect();
                lines.sort();
                lines.dedup();
                lines
            } else {
                text.lines().map(|line| self.owned(line)).collect()
            };
            if !(is_right && lines.is_empty()) {
                all.insert(self.named(name), lines.join("\n"));
            }
        }
        all
    }

    /// `ALTER TABLE x OWNER TO y;` with the new owner.
    fn owned(&self, line: &str) -> String {
        let parts =
            line.strip_suffix(';').filter(|_| line.starts_with("ALTER ")).and_then(|it| it.rsplit_once(" OWNER TO "));
        match parts {
            Some((before, role)) => format!("{before} OWNER TO {};", identifier(self.owner(&bare(role)))),
            None => line.to_owned(),
        }
    }

    /// Default privileges are announced with the role whose objects they are about.
    fn named(&self, name: &str) -> String {
        match name.rsplit_once(" of ").filter(|_| name.starts_with("DEFAULT ACL ")) {
            Some((before, role)) => format!("{before} of {}", self.owner(role)),
            None => name.to_owned(),
        }
    }

    /// The schemas as they are to be on the new server.
    pub(crate) fn spaces(&self, spaces: &Spaces) -> Spaces {
        let one = |space: &Space| {
            let mut grants: Vec<Right> = Vec::new();
            for right in &space.grants {
                let role = match right.role.as_deref() {
                    None => None,
                    Some(role) if role == space.owner => Some(self.owner(role).to_owned()),
                    Some(role) => match self.holder(role) {
                        Some(holder) => Some(holder.to_owned()),
                        None => continue,
                    },
                };
                let right = Right { role, ..right.clone() };
                match grants.iter_mut().find(|it| it.role == right.role && it.privilege == right.privilege) {
                    Some(known) => known.grantable |= right.grantable,
                    None => grants.push(right),
                }
            }
            Space { owner: self.owner(&space.owner).to_owned(), grants, comment: space.comment.clone() }
        };
        spaces.iter().map(|(name, space)| (name.clone(), one(space))).collect()
    }
}

/// A right that another role than the owner has passed on is given by the owner on the new server.
fn without_grantor(line: &str) -> &str {
    let place = [": GRANT ", ": REVOKE "].iter().find_map(|word| line.find(word)).filter(|_| line.starts_with("as "));
    place.map_or(line, |at| &line[at + 2..])
}

/// A name as it is, of one as it is written.
fn bare(written: &str) -> String {
    match written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => written.to_owned(),
    }
}

/// The name that a text begins with, and what follows it.
fn split_name(text: &str) -> Option<(String, &str)> {
    let end = match text.strip_prefix('"') {
        Some(quoted) => quoted.replace("\"\"", "__").find('"')? + 2,
        None => text.find(' ')?,
    };
    Some((bare(&text[..end]), &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> RoleMap {
        RoleMap { from: "mm".into(), to: "app".into(), there: ["app", "reader", "odd \"x"].map(str::to_owned).into() }
    }

    #[test]
    fn a_right_goes_to_the_role_of_the_same_name_and_the_owner_has_its_own() {
        let map = map();
        for (statement, wanted) in [
            (
                "GRANT SELECT ON TABLE public.posts TO reader;",
                Some("GRANT SELECT ON TABLE public.posts TO \"reader\";"),
            ),
            (
                "GRANT SELECT ON TABLE t TO \"odd \"\"x\" WITH GRANT OPTION;",
                Some("GRANT SELECT ON TABLE t TO \"odd \"\"x\" WITH GRANT OPTION;"),
            ),
            ("REVOKE ALL ON FUNCTION f() FROM PUBLIC;", Some("REVOKE ALL ON FUNCTION f() FROM PUBLIC;")),
            ("REVOKE ALL ON TABLE public.posts FROM mm;", None),
            ("GRANT ALL ON TABLE public.posts TO mm;", None),
            ("GRANT SELECT ON TABLE public.posts TO gone;", None),
            (
                "ALTER DEFAULT PRIVILEGES FOR ROLE mm IN SCHEMA public GRANT SELECT ON TABLES TO reader;",
                Some(
                    "ALTER DEFAULT PRIVILEGES FOR ROLE \"app\" IN SCHEMA public GRANT SELECT ON TABLES TO \"reader\";",
                ),
            ),
        ] {
            assert_eq!(map.right(statement).as_deref(), wanted, "{statement}");
        }
    }

    #[test]
    fn definitions_are_equal_up_to_the_map() {
        let map = map();
        let of = |owner: &str, grants: &str| -> Definitions {
            [
                (
                    "TABLE public.posts".to_owned(),
                    format!("CREATE TABLE public.posts ();\nALTER TABLE public.posts OWNER TO {owner};"),
                ),
                ("ACL public.TABLE posts".to_owned(), grants.to_owned()),
            ]
            .into()
        };
        let then =
            of("postgres", "GRANT ALL ON TABLE public.posts TO mm;\nGRANT SELECT ON TABLE public.posts TO reader;");
        let now = of("app", "GRANT SELECT ON TABLE public.posts TO reader;");
        assert_eq!(map.definitions(&then), map.definitions(&now));
        let other = of("app", "GRANT INSERT ON TABLE public.posts TO reader;");
        assert_ne!(map.definitions(&then), map.definitions(&other));
    }
}
