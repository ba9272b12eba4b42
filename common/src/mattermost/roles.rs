//! Roles and their permissions: what the built-in roles of a release were seen with, and what a database has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use semver::Version;
use serde::Deserialize;

use crate::contract::error::{Context as _, Error, Result};
use crate::postgres::server::Database;

/// Permissions by role. Their order means nothing: the server returns them in a random one (observed).
pub type Roles = BTreeMap<String, BTreeSet<String>>;

/// The roles of a database, without those that are deleted.
pub fn read(database: &Database) -> Result<Roles> {
    let rows = database
        .rows("SELECT name, permissions FROM roles WHERE coalesce(deleteat, 0) = 0")
        .context(|| "cannot read the roles".to_owned())?;
    Ok(rows
        .iter()
        .map(|row| {
            let permissions = row["permissions"].as_str().unwrap_or_default();
            let name = row["name"].as_str().unwrap_or_default();
            (name.to_owned(), permissions.split_whitespace().map(str::to_owned).collect())
        })
        .collect())
}

/// The built-in roles as `release` makes them when nobody has changed anything: at least what the last observed
/// release up to it had.
pub fn built_in(release: &Version) -> Result<Roles> {
    let mut roles = Roles::new();
    for (role, sets) in &known()?.roles {
        for set in sets {
            if set.since <= *release && set.until.as_ref().is_none_or(|until| release <= until) {
                roles.entry(role.clone()).or_default().extend(set.permissions.iter().cloned());
            }
        }
    }
    Ok(roles)
}

/// What a permission is called in `release`; some were renamed, the right stayed.
pub fn name_in<'a>(permission: &'a str, release: &Version) -> Result<&'a str>
where
    'static: 'a,
{
    let renamed = known()?.renamed.iter().find(|entry| entry.from == permission && *release >= entry.since);
    Ok(renamed.map_or(permission, |entry| entry.to.as_str()))
}

/// Whether a role holds a permission, by its old name or by its new one: which release renamed it is not known exactly.
pub fn holds(held: &BTreeSet<String>, permission: &str) -> Result<bool> {
    let renamed = known()?.renamed.iter().find(|entry| entry.from == permission);
    Ok(held.contains(permission) || renamed.is_some_and(|entry| held.contains(&entry.to)))
}

#[derive(Deserialize)]
struct Known {
    renamed: Vec<Renamed>,
    roles: BTreeMap<String, Vec<Set>>,
}

#[derive(Deserialize)]
struct Renamed {
    from: String,
    to: String,
    since: Version,
}

#[derive(Deserialize)]
struct Set {
    since: Version,
    #[serde(default)]
    until: Option<Version>,
    permissions: Vec<String>,
}

fn known() -> Result<&'static Known> {
    static KNOWN: OnceLock<std::result::Result<Known, String>> = OnceLock::new();
    KNOWN
        .get_or_init(|| {
            serde_json::from_str(include_str!("../../catalogue/roles.json")).map_err(|error| error.to_string())
        })
        .as_ref()
        .map_err(|error| Error::failed("cannot read the built-in catalogue of roles").because(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_come_with_the_release_that_brought_them() {
        let old = built_in(&Version::new(5, 29, 0)).unwrap();
        let new = built_in(&Version::new(10, 6, 1)).unwrap();
        assert_eq!(old.len(), 17);
        assert!(old["channel_user"].contains("create_post") && !old["channel_user"].contains("read_channel_content"));
        assert!(new["channel_user"].contains("read_channel_content"));
        assert!(old["system_user"].contains("list_public_teams") && old["system_user"].contains("join_public_teams"));
        assert_eq!(old["system_admin"].len(), 107);
        assert_eq!(built_in(&Version::new(9, 10, 0)).unwrap()["system_admin"].len(), 279);
    }

    #[test]
    fn a_renamed_permission_is_known_by_both_names() {
        let (old, new) = ("manage_slash_commands", "manage_own_slash_commands");
        assert_eq!(name_in(old, &Version::new(9, 10, 0)).unwrap(), old);
        assert!(holds(&BTreeSet::from([new.to_owned()]), old).unwrap());
        assert!(!holds(&BTreeSet::from([old.to_owned()]), new).unwrap());
        assert_eq!(name_in(old, &Version::new(11, 6, 0)).unwrap(), new);
        assert_eq!(name_in("create_post", &Version::new(11, 6, 0)).unwrap(), "create_post");
    }
}
