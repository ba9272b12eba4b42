//! Room for a restore point in its store: looked at before the service is stopped.

use mm_common::contract::error::Result;
use mm_common::machine::disk;

use super::Order;
use crate::previous::Previous;
use crate::store::Point;
use crate::{database, measure, pinning};

/// Requires it. Returns about how many bytes of files there are to store or to link.
pub(super) fn require(order: &Order<'_>, previous: Option<&Point>) -> Result<u64> {
    let mut needed = 0;
    if order.plan.database {
        // Dumps were 19 % of the size of the database (observed); half leaves room for what compresses badly.
        let database = order.installation.database()?;
        needed += database::bytes(&database)? / 2;
        if order.plan.whole_cluster {
            for other in database::others(&database, &order.claim(None))? {
                needed += database::bytes(&other)? / 2;
            }
        }
    }
    needed += order.mysql.as_ref().map_or(0, |ready| ready.bytes / 2);
    let free = disk::free(&order.store.path)?;
    // Most of it will be links. If there is room for all of it again, there is no need to look.
    let before = previous.map(|point| point.head.file_bytes());
    if let Some(files) = before.filter(|_| previous.is_some_and(|point| needed + point.head.totals.bytes * 2 < free)) {
        return Ok(files);
    }
    let known = match previous {
        Some(point) if !order.rehash => Previous::read(point).ok(),
        _ => None,
    };
    let new = measure::new_bytes(order.plan, known.as_ref())?;
    needed += new;
    disk::require(&order.store.path, needed, "the restore point")
        .map_err(|error| error.with_hint("make room there (mm-backup prune), or give another store with --to"))
        .map_err(|error| pinning::name_pins(error, order.store))?;
    Ok(before.unwrap_or(new))
}
