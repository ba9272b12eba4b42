//! The built-in roles: made once, and given what each line of releases added, once. What an administrator took away stays away.

use std::collections::{BTreeMap, BTreeSet};

use super::Database;
use crate::emulated::Version;
use crate::error::Result;
use crate::text;

const TABLE: &str = include_str!("../../data/permissions.tsv");

/// The application migration by which a line of releases is known to have touched the roles (a key of table `systems`).
const MARKS: &[(&str, &str)] = &[
    ("", "AdvancedPermissionsMigrationComplete"),
    ("5.30", "about_subsection_permissions"),
    ("6.0", "playbooks_permissions"),
    ("6.4", "custom_groups_permissions"),
    ("7.2", "custom_groups_permission_restore"),
    ("9.0", "add_ip_filtering_permissions"),
    ("9.5", "read_channel_content_permissions"),
    ("9.6", "add_channel_bookmarks_permissions"),
    ("11.0", "add_channel_banner_permissions"),
];

/// Brings the roles to what `version` makes of them. Must run before the keys of `systems` are written.
pub(crate) fn bring(database: &Database, version: Version) -> Result<()> {
    let mut current: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in database.rows("SELECT name, permissions FROM roles", &[])? {
        let held = row.text("permissions").split_whitespace().map(str::to_owned).collect();
        current.insert(row.text("name").to_owned(), held);
    }
    let mut fresh = BTreeSet::new();
    let mut touched = BTreeSet::new();
    for (line, mark) in MARKS {
        if !version.within(line, "") {
            continue;
        }
        let marked = database.system(mark)?.is_some();
        for row in text::rows(TABLE) {
            let [role, permission, from, until] = row.as_slice() else { continue };
            if !current.contains_key(*role) {
                fresh.insert((*role).to_owned());
                current.insert((*role).to_owned(), BTreeSet::new());
            }
            let held = current.entry((*role).to_owned()).or_default();
            let gained = from == line && version.within(from, until) && (!marked || fresh.contains(*role));
            let lost = !until.is_empty() && until == line && !marked && held.contains(*permission);
            if gained && held.insert((*permission).to_owned()) || lost && held.remove(*permission) {
                touched.insert((*role).to_owned());
            }
        }
    }
    // Roles that only later lines know have no permission yet.
    current.retain(|role, held| !held.is_empty() || !fresh.contains(role));
    for role in touched {
        if let Some(held) = current.get(&role) {
            write(database, &role, held, fresh.contains(&role))?;
        }
    }
    Ok(())
}

fn write(database: &Database, role: &str, held: &BTreeSet<String>, fresh: bool) -> Result<()> {
    let now = text::now_ms();
    let permissions = format!(" {}", held.iter().map(String::as_str).collect::<Vec<_>>().join(" "));
    if !fresh {
        let statement = "UPDATE roles SET permissions = $2, updateat = $3 WHERE name = $1";
        return database.execute(statement, &[&role, &permissions, &now]).map(drop);
    }
    let word = match role {
        "system_user" => "global_user",
        "system_admin" => "global_admin",
        other => other,
    };
    let (display, description) =
        (format!("authentication.roles.{word}.name"), format!("authentication.roles.{word}.description"));
    let managed = !role.contains("post_all") && !role.starts_with("system_")
        || matches!(role, "system_user" | "system_admin" | "system_guest");
    let statement = "INSERT INTO roles (id, name, displayname, description, createat, updateat, deleteat, permissions, schememanaged, builtin)
                     VALUES ($1, $2, $3, $4, $5, $5, 0, $6, $7, true)";
    database
        .execute(statement, &[&text::new_id(), &role, &display, &description, &now, &permissions, &managed])
        .map(drop)
}

/// Takes one permission away (a fault).
pub(crate) fn forget(database: &Database, said: &str) -> Result<()> {
    let said = if said.is_empty() { "channel_user:create_post" } else { said };
    let (role, permission) = said.split_once(':').unwrap_or(("channel_user", said));
    let statement = "UPDATE roles SET permissions = ' ' || array_to_string(array_remove(string_to_array(trim(permissions), ' '), $2), ' ') WHERE name = $1";
    database.execute(statement, &[&role, &permission]).map(drop)
}
