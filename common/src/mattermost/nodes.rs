//! The nodes of a cluster, as they report themselves in the database.

use crate::contract::error::Result;
use crate::postgres::server::Database;

/// The names of the nodes that have reported in the last ten minutes, sorted. Servers report every minute (facts of 5.29 to
/// 11); one that is no node of a cluster does not. Nothing where there is no table for it.
pub fn reporting(database: &Database) -> Result<Option<Vec<String>>> {
    if database.value("SELECT pg_catalog.to_regclass('clusterdiscovery') IS NULL AS none")? == true {
        return Ok(None);
    }
    let rows = database.rows(
        "SELECT DISTINCT hostname FROM clusterdiscovery \
         WHERE lastpingat > (extract(epoch FROM pg_catalog.now()) - 600) * 1000 ORDER BY 1",
    )?;
    Ok(Some(rows.iter().filter_map(|row| row["hostname"].as_str().map(str::to_owned)).collect()))
}
