//! Whether the schema has moved. Rows of `db_migrations` tell most of it; the legacy migrations up to 6.3 change tables
//! before they record it, so the columns themselves are compared too.

use mm_common::contract::error::{Context as _, Result};
use mm_common::mattermost::schema::{self, Level};
use mm_common::postgres::server::Database;

/// The state of a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) level: Level,
    /// Digest over all columns with type, nullability and default.
    pub(crate) columns: String,
}

/// Reads it.
pub(crate) fn of(database: &Database) -> Result<Shape> {
    let level = schema::level(database)?;
    let columns = database
        .value(
            "SELECT pg_catalog.md5(coalesce(pg_catalog.string_agg(pg_catalog.concat_ws('|', table_name, column_name, udt_name, \
             character_maximum_length, is_nullable, column_default), E'\\n' \
             ORDER BY table_name COLLATE \"C\", column_name COLLATE \"C\"), '')) \
             FROM information_schema.columns WHERE table_schema = pg_catalog.current_schema()",
        )
        .context(|| "cannot read the columns of the database schema".to_owned())?;
    Ok(Shape { level, columns: columns.as_str().unwrap_or_default().to_owned() })
}
