//! How many bytes a restore point will add to the store.

use mm_common::contract::error::Result;
use mm_common::machine::files;
use mm_common::machine::tree::{self, Go, Kind};

use crate::plan::{Excludes, Plan};
use crate::previous::Previous;

/// An inode and its directory entry take up to this much beside the contents.
const PER_ENTRY: u64 = 512;

/// Bytes of all files that are not in the previous restore point already.
pub(crate) fn new_bytes(plan: &Plan, previous: Option<&Previous>) -> Result<u64> {
    let excludes = Excludes::new(&plan.exclude);
    let mut bytes = 0;
    for root in &plan.roots {
        match files::look(&root.path)? {
            Some(data) if data.is_dir() => tree::walk(&root.path, &mut |met| {
                let path = root.path.join(met.path);
                if excludes.has(&path, met.path) {
                    return Ok(Go::Past);
                }
                let is_known = previous.is_some_and(|before| before.unchanged(&path, &met.meta).is_some());
                if met.meta.kind == Kind::File && !is_known {
                    bytes += met.meta.allocated.min(met.meta.bytes);
                }
                bytes += PER_ENTRY;
                Ok(Go::In)
            })?,
            Some(data) => bytes += data.len(),
            None => {}
        }
    }
    Ok(bytes)
}
