//! Schemas: whose they are, who may use them, what is said of them. A dump does not tell all of that. The schema `public`
//! has other rights in each major, and a dump of one is silent where another one would speak; so it is about a schema that
//! was `public` and was renamed, as migrations from MySQL leave it. So these are read from the catalogue, and given anew.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::dump::{identifier, literal};
use super::server::Database;
use crate::contract::error::{Context as _, Result};

/// A schema.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// Its owner.
    pub owner: String,
    /// Every right on it, the owner's own included.
    pub grants: Vec<Right>,
    /// Its comment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// A right on a schema.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Right {
    /// The role; absent for everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// `USAGE` or `CREATE`.
    pub privilege: String,
    /// Whether the role may pass it on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub grantable: bool,
}

/// The schemas of a database, by name.
pub type Spaces = BTreeMap<String, Space>;

/// Rights in the order in which the catalogue has them; those that nobody has changed are those of the owner.
const ALL: &str = r"SELECT n.nspname AS name, pg_catalog.json_build_object('owner', pg_catalog.pg_get_userbyid(n.nspowner),
    'comment', pg_catalog.obj_description(n.oid, 'pg_namespace'), 'grants', coalesce((
      SELECT pg_catalog.json_agg(pg_catalog.json_build_object('role', CASE WHEN a.grantee <> 0 THEN pg_catalog.pg_get_userbyid(a.grantee) END,
               'privilege', a.privilege_type, 'grantable', a.is_grantable) ORDER BY a.ordinality)
        FROM pg_catalog.aclexplode(coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner))) WITH ORDINALITY AS a), '[]')) AS space
  FROM pg_catalog.pg_namespace n WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema' ORDER BY 1";

/// Reads them.
pub fn read(database: &Database) -> Result<Spaces> {
    let attempt = || format!("cannot read the schemas of the database `{}`", database.name);
    let rows = database.rows(ALL).context(attempt)?;
    rows.into_iter()
        .map(|mut row| {
            let mut space: Space = serde_json::from_value(row["space"].take()).context(attempt)?;
            space.grants = once(space.grants);
            Ok((row["name"].as_str().unwrap_or_default().to_owned(), space))
        })
        .collect()
}

/// Each right once, though several roles may have granted it.
fn once(grants: Vec<Right>) -> Vec<Right> {
    let mut kept: Vec<Right> = Vec::with_capacity(grants.len());
    for right in grants {
        match kept.iter_mut().find(|known| known.role == right.role && known.privilege == right.privilege) {
            Some(known) => known.grantable |= right.grantable,
            None => kept.push(right),
        }
    }
    kept
}

impl Space {
    /// Whether owner, rights and comment are the same, in whatever order the rights stand.
    pub fn is_like(&self, other: &Self) -> bool {
        let sorted = |space: &Self| {
            let mut grants = space.grants.clone();
            grants.sort();
            grants
        };
        self.owner == other.owner && self.comment == other.comment && sorted(self) == sorted(other)
    }

    /// Whether everybody may use it.
    pub fn is_open(&self) -> bool {
        self.grants.iter().any(|right| right.role.is_none() && right.privilege == "USAGE")
    }

    /// In one line, the same for schemas that are alike.
    pub fn in_words(&self) -> String {
        let mut grants: Vec<String> = self
            .grants
            .iter()
            .map(|right| {
                let role = right.role.as_ref().map_or_else(|| "PUBLIC".to_owned(), |role| identifier(role));
                let further = if right.grantable { " with grant option" } else { "" };
                format!("{} to {role}{further}", right.privilege)
            })
            .collect();
        grants.sort();
        let comment =
            self.comment.as_ref().map_or_else(String::new, |comment| format!(", comment {}", literal(comment)));
        format!("owner {}; {}{comment}", identifier(&self.owner), grants.join(", "))
    }
}

/// Whether what a dump calls so is about owner, rights or comment of a schema, or is the schema `public`, which is there
/// before.
pub fn are_of_schemas(object: &str) -> bool {
    object == "SCHEMA public" || object.starts_with("ACL SCHEMA ") || object.starts_with("COMMENT SCHEMA ")
}

/// The schemas as they can be on a server with these roles: what belongs to a role that is not there is `otherwise`'s, and
/// what that role might do is nobody's.
pub fn for_roles(wanted: &Spaces, roles: &[String], otherwise: &str) -> Spaces {
    let is_there = |role: &str| roles.iter().any(|known| known == role);
    let one = |space: &Space| {
        let owner = if is_there(&space.owner) { space.owner.clone() } else { otherwise.to_owned() };
        let mut grants = space.grants.clone();
        for right in &mut grants {
            if right.role.as_ref() == Some(&space.owner) {
                right.role = Some(owner.clone());
            }
        }
        grants.retain(|right| right.role.as_deref().is_none_or(is_there));
        Space { owner, grants: once(grants), comment: space.comment.clone() }
    };
    wanted.iter().map(|(name, space)| (name.clone(), one(space))).collect()
}

/// Makes the schemas of the database that `superuser` is connected to what `wanted` says, as far as they are there; and
/// removes a `public` that is not in it, which every new database has. The roles are those of this server.
///
/// # Errors
/// Failed also when a `public` that is not to be there holds something.
pub fn settle(superuser: &Database, wanted: &Spaces) -> Result<()> {
    let now = read(superuser)?;
    let mut sql = String::new();
    for (name, space) in wanted {
        if let Some(present) = now.get(name).filter(|present| !present.is_like(space)) {
            sql.push_str(&statements(name, present, space));
        }
    }
    if now.contains_key("public") && !wanted.contains_key("public") {
        sql.push_str("DROP SCHEMA public;\n");
    }
    if sql.is_empty() {
        return Ok(());
    }
    superuser
        .execute_verbatim(&sql)
        .context(|| format!("cannot give the schemas of the database `{}` their rights", superuser.name))
}

/// As [`settle`], as a role that is no superuser: each schema as far as that role may. Returns what is not as `wanted` says, in
/// words.
pub fn settle_own(role: &Database, wanted: &Spaces) -> Result<Vec<String>> {
    let now = read(role)?;
    for (name, space) in wanted {
        if let Some(present) = now.get(name).filter(|present| !present.is_like(space)) {
            // What it may not give it does not: that is seen below.
            let _ = role.execute_verbatim(&statements(name, present, space));
        }
    }
    if now.contains_key("public") && !wanted.contains_key("public") {
        let _ = role.execute("DROP SCHEMA public");
    }
    let now = read(role)?;
    let further = now.contains_key("public") && !wanted.contains_key("public");
    Ok(differences(wanted, &now).into_iter().chain(further.then(|| "SCHEMA public: it was not there".into())).collect())
}

/// What of these schemas is otherwise now, in words.
pub fn differences(wanted: &Spaces, now: &Spaces) -> Vec<String> {
    let one = |(name, space): (&String, &Space)| {
        let there = now.get(name).map_or_else(|| "not there".to_owned(), Space::in_words);
        (there != space.in_words()).then(|| format!("SCHEMA {name}: it was `{}` and is `{there}`", space.in_words()))
    };
    wanted.iter().filter_map(one).collect()
}

fn statements(name: &str, present: &Space, space: &Space) -> String {
    let schema = identifier(name);
    let mut sql = Vec::new();
    // By the present owner: what another role has passed on goes with what was passed on to it.
    for role in present.grants.iter().filter_map(|right| right.role.as_deref()).map(Some).chain([None]) {
        let role = role.map_or_else(|| "PUBLIC".to_owned(), identifier);
        sql.push(format!("REVOKE ALL ON SCHEMA {schema} FROM {role} CASCADE;"));
    }
    sql.push(format!("ALTER SCHEMA {schema} OWNER TO {};", identifier(&space.owner)));
    for right in &space.grants {
        // Only the two words there are: this text may come from a file.
        let privilege @ ("USAGE" | "CREATE") = right.privilege.as_str() else { continue };
        let role = right.role.as_deref().map_or_else(|| "PUBLIC".to_owned(), identifier);
        let option = if right.grantable && right.role.is_some() { " WITH GRANT OPTION" } else { "" };
        sql.push(format!("GRANT {privilege} ON SCHEMA {schema} TO {role}{option};"));
    }
    let comment = space.comment.as_deref().map_or_else(|| "NULL".to_owned(), literal);
    sql.push(format!("COMMENT ON SCHEMA {schema} IS {comment};"));
    sql.push(String::new());
    sql.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right(role: Option<&str>, privilege: &str) -> Right {
        Right { role: role.map(str::to_owned), privilege: privilege.into(), grantable: false }
    }

    #[test]
    fn rights_are_taken_away_before_they_are_given() {
        let present = Space { owner: "postgres".into(), grants: vec![right(Some("we\"ird"), "USAGE")], comment: None };
        let wanted = Space {
            owner: "mm".into(),
            grants: vec![right(Some("mm"), "USAGE"), right(None, "CREATE"), right(None, "DROP; --")],
            comment: Some("it's".into()),
        };
        assert_eq!(
            statements("a b", &present, &wanted).lines().collect::<Vec<_>>(),
            [
                "REVOKE ALL ON SCHEMA \"a b\" FROM \"we\"\"ird\" CASCADE;",
                "REVOKE ALL ON SCHEMA \"a b\" FROM PUBLIC CASCADE;",
                "ALTER SCHEMA \"a b\" OWNER TO \"mm\";",
                "GRANT USAGE ON SCHEMA \"a b\" TO \"mm\";",
                "GRANT CREATE ON SCHEMA \"a b\" TO PUBLIC;",
                "COMMENT ON SCHEMA \"a b\" IS 'it''s';",
            ]
        );
        assert!(!present.is_like(&wanted) && wanted.is_like(&wanted.clone()));
    }

    #[test]
    fn what_a_role_had_that_is_not_there_goes_to_another_or_away() {
        let grants =
            vec![right(Some("pg_database_owner"), "USAGE"), right(Some("gone"), "USAGE"), right(None, "USAGE")];
        let spaces: Spaces =
            [("public".to_owned(), Space { owner: "pg_database_owner".into(), grants, comment: None })].into();
        let space = &for_roles(&spaces, &["mm".into()], "mm")["public"];
        assert_eq!(space.owner, "mm");
        assert_eq!(space.grants, [right(Some("mm"), "USAGE"), right(None, "USAGE")]);
    }
}
