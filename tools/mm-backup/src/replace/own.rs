//! Filling the database as the server's own role, where no superuser can be reached: that role makes what is its own, and sees
//! less. What it could not give, and what it could not compare, is named.

use std::path::Path;

use mm_common::contract::error::{Error, Result};
use mm_common::contract::ui;
use mm_common::postgres::besides;
use mm_common::postgres::definitions;
use mm_common::postgres::dump::identifier;
use mm_common::postgres::schemas;
use mm_common::postgres::server::Database;
use mm_common::postgres::since;
use mm_common::postgres::untrusted;

use super::Prepared;
use crate::equal::{self, Roles};
use crate::fill::Filled;
use crate::manifest::DatabasePart;

/// What only a superuser sees, by the entries of a dump that stand for it.
const UNSEEN: &[(&str, &str)] =
    &[("USER MAPPING ", "the options of user mappings"), ("SUBSCRIPTION ", "subscriptions")];

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
    if let Some(large) = &part.large_objects
        && besides::settled(&restored)? != large.settled
    {
        lacks("owners, rights or comments of large objects are others");
    }
    let entries = untrusted::entries(dump)?;
    let mut unseen = vec!["the passwords of roles"];
    unseen.extend(
        UNSEEN.iter().filter(|(kind, _)| entries.iter().any(|entry| entry.starts_with(kind))).map(|(_, what)| *what),
    );
    ui::say(&format!("not compared, as the server's role is no superuser: {}", unseen.join(", ")));
    Ok(Filled { kept_back: Vec::new(), left_rights, spaces: None, roles, as_replaced: false })
}

/// Whether this role can make all of the dump, and read it afterwards: it makes no roles, and sees no rows that a policy hides.
///
/// # Errors
/// Refused, with the statements that let it.
pub(super) fn require_able(admin: &Database, part: &DatabasePart, dump: &Path) -> Result<()> {
    let text: String = definitions::of_dump(dump)?.into_values().map(|text| text + "\n").collect();
    let sees_all = "SELECT rolsuper OR rolbypassrls FROM pg_catalog.pg_roles WHERE rolname = CURRENT_USER";
    if text.contains(" FORCE ROW LEVEL SECURITY;") && admin.value(sees_all)? != true {
        return Err(Error::refused("what is restored as the server's role could not be compared")
            .because(
                "policies (row-level security) of the restore point hide rows from the owners of tables, too (FORCE)",
            )
            .hint(
                "let a superuser of the database server give the role BYPASSRLS; or run this as root on its machine",
            ));
    }
    let mut gone = since::missing(admin, &part.properties.roles)?;
    gone.retain(|role| names(&text, role));
    if gone.is_empty() {
        return Ok(());
    }
    let made: Vec<String> = gone.iter().map(|role| format!("CREATE ROLE {}", identifier(role))).collect();
    Err(Error::refused("the database cannot be restored as the server's role")
        .because(format!("roles that the restore point names are not there any more: {}", gone.join(", ")))
        .hint(format!("let a superuser of the database server run `{}`", made.join("; "))))
}

/// Whether statements of a dump give something to a role, or take it.
fn names(text: &str, role: &str) -> bool {
    let written = [role.to_owned(), identifier(role)];
    ["TO", "FROM", "ROLE", "FOR", "AUTHORIZATION"].iter().any(|word| {
        written.iter().any(|role| {
            let said = format!(" {word} {role}");
            text.match_indices(&said)
                .any(|(at, _)| !text[at + said.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_'))
        })
    })
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
