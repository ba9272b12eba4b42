//! Rows that a role does not get to see. A policy (row-level security) holds for everybody but the owner of its table, with
//! FORCE for that, too. What is read with policies in force would be less than there is, and `pg_dump` fails at it; so it is
//! refused before anything is begun.

use super::dump::identifier;
use super::server::Database;
use crate::contract::error::{Error, Result};

/// Whether its role sees every row of `database`.
///
/// # Errors
/// Refused where policies would hide some, with the statement that lets it see them.
pub fn refuse(database: &Database) -> Result<()> {
    let rows = database.rows(
        r"SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, CURRENT_USER::pg_catalog.text AS role
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p') AND c.relrowsecurity AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
           AND pg_catalog.row_security_active(c.oid) ORDER BY 1",
    )?;
    let Some(first) = rows.first() else { return Ok(()) };
    let (name, role) = (first["name"].as_str().unwrap_or_default(), first["role"].as_str().unwrap_or_default());
    Err(Error::refused(format!("not every row of the database `{}` can be read as `{role}`", database.name))
        .because(format!("policies (row-level security) of {} of its tables hold for that role: {name}", rows.len()))
        .hint(format!(
            "let a superuser of the database server run `ALTER ROLE {} BYPASSRLS`, which lets it see them all; where the table is \
             its own and nobody needs the policy to hold for its owner: ALTER TABLE {name} NO FORCE ROW LEVEL SECURITY",
            identifier(role)
        )))
}
