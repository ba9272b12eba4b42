//! Filling the database as the server's own role, where no superuser can be reached: that role makes what is its own, and sees
//! less. What it could not give, and what it could not compare, is named.

use std::path::Path;

use mm_common::contract::error::{Error, Result};
use mm_common::contract::ui;
use mm_common::postgres::schemas;
use mm_common::postgres::server::Database;
use mm_common::postgres::untrusted;

use super::Prepared;
use crate::equal::{self, Roles};
use crate::fill::Filled;
use crate::manifest::DatabasePart;

/// What only a superuser sees, by the entries of a dump that stand for it.
const UNSEEN: &[(&str, &str)] = &[
    ("USER MAPPING ", "the options of user mappings"),
    ("SUBSCRIPTION ", "subscriptions"),
    ("BLOB ", "owners and rights of large objects"),
];

/// Restores the dump into the database that `prepared` has made.
pub(super) fn fill(prepared: &Prepared, dump: &Path, part: &DatabasePart, jobs: usize) -> Result<Filled> {
    let restored = prepared.database();
    let left_rights = untrusted::restore_own(dump, &restored, jobs)?;
    for object in &left_rights {
        lacks(&format!("what the dump calls `{object}` is left out"));
    }
    let roles = Roles::of(&prepared.admin)?;
    let owner = prepared.admin.value("SELECT CURRENT_USER::pg_catalog.text AS name")?;
    let mut properties = part.properties.clone();
    owner.as_str().unwrap_or_default().clone_into(&mut properties.owner);
    if let Some(spaces) = equal::spaces(&properties, None, &roles)? {
        for difference in schemas::settle_own(&restored, &spaces)? {
            lacks(&difference);
        }
    }
    let entries = untrusted::entries(dump)?;
    let mut unseen = vec!["the passwords of roles"];
    unseen.extend(
        UNSEEN.iter().filter(|(kind, _)| entries.iter().any(|entry| entry.starts_with(kind))).map(|(_, what)| *what),
    );
    ui::say(&format!("not compared, as the server's role is no superuser: {}", unseen.join(", ")));
    Ok(Filled { kept_back: Vec::new(), left_rights, spaces: None, roles, as_replaced: false })
}

/// Says what of the settings and rights of the database is otherwise now, where `unsettled` does not tell already.
pub(super) fn tell(database: &Database, part: &DatabasePart, unsettled: &[(String, Error)]) -> Result<()> {
    if unsettled.is_empty() {
        equal::of_properties(database, &part.properties)?.iter().for_each(|difference| lacks(difference));
    }
    Ok(())
}

fn lacks(what: &str) {
    ui::warn(&format!("the restored database is not in everything as it was: {what}; a superuser can set it"));
}
