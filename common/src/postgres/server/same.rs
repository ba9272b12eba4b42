//! Whether two ways lead to one database. Names and addresses do not tell: there are other names for a host, tunnels and
//! poolers; and not every server tells everybody the number of its cluster.

use super::Database;
use crate::contract::error::{Context as _, Result};
use crate::machine::files;
use crate::postgres::standing::Standing;

impl Database {
    /// Whether `other` leads to the very same database as this. Tried, and not concluded: a transaction of this one holds a
    /// lock of a number that nobody else has thought of, and the other one looks for it. Nothing is written.
    ///
    /// # Errors
    /// When one of them cannot be asked.
    pub fn is_same_as(&self, other: &Self) -> Result<bool> {
        let attempt = || format!("cannot tell whether `{}` and `{}` are one database", self.name, other.name);
        let [high, low] = [files::random_hexadecimal(4)?, files::random_hexadecimal(4)?]
            .map(|digits| u32::from_str_radix(&digits, 16).unwrap_or_default());
        let key = i64::from_ne_bytes(((u64::from(high) << 32) | u64::from(low)).to_ne_bytes());
        let script = format!("BEGIN READ ONLY;\nSELECT 'held' FROM pg_catalog.pg_advisory_xact_lock({key});\n");
        let _held = Standing::open(&self.psql()?, &script).context(attempt)?;
        // How a lock of one number shows: its halves, and 1 (the manual of pg_locks).
        let count = other.value(&format!(
            "SELECT pg_catalog.count(*) AS n FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_database d ON d.oid = l.database
             WHERE d.datname = pg_catalog.current_database() AND l.locktype = 'advisory' AND l.granted
               AND l.classid::pg_catalog.int8 = {high} AND l.objid::pg_catalog.int8 = {low} AND l.objsubid = 1"
        ));
        Ok(count.context(attempt)? == 1)
    }
}
