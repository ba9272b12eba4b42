//! What the server's own role can do in its database, tried and not worked out: after a database has been restored, upgraded
//! or given back, rights that look right are not enough.

use serde::{Deserialize, Serialize};

use super::server::Database;
use crate::contract::error::Result;

/// What it can do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abilities {
    /// Reads the messages.
    pub reads: bool,
    /// Makes tables in its schema, which every migration does.
    pub creates: bool,
}

const READ: &str = "SELECT pg_catalog.count(*) AS n FROM (SELECT 1 FROM posts LIMIT 1) AS first";

const CREATE: &str = "BEGIN; CREATE TABLE mm_tools_tried (n pg_catalog.int4); DROP TABLE mm_tools_tried; COMMIT;\n";

/// What it can do now, in `own`, a database reached as the server reaches it. Nothing is changed.
pub fn now(own: &Database) -> Abilities {
    let may = "SELECT coalesce(pg_catalog.has_schema_privilege(pg_catalog.current_schema(), 'CREATE'), false) AS may";
    Abilities { reads: own.value(READ).is_ok(), creates: own.value(may).is_ok_and(|may| may == true) }
}

/// Lets it do, in `own`, what it could: connect, read, make a table and drop it.
///
/// # Errors
/// When it cannot do any more what `could` says that it could.
pub fn as_the_server(own: &Database, could: Abilities) -> Result<()> {
    let read = if could.reads { READ } else { "SELECT 1 AS one" };
    let create = if could.creates { CREATE } else { "" };
    // In one go: users may be waiting.
    own.script(&format!("{read};\n{create}")).map(drop).map_err(|error| {
        error
            .within(format!("the server's own role cannot work in the database `{}`", own.name))
            .hint("compare owners and rights of its schema with those of before (\\dn+ as the superuser)")
    })
}
