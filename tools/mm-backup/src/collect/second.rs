//! The pass after the stop, over what the first pass has stored: what is as it was stays, what is not is stored anew.

use std::ffi::OsStr;

use mm_common::contract::error::Result;
use mm_common::machine::tree::{self, Dir, Kind as There};

use super::{Found, Workers};
use crate::collected::Collected;
use crate::guard;
use crate::manifest::Root;

impl Workers<'_> {
    /// The first pass could store a root that is left out now.
    pub(super) fn forget_root(&self, root: &Root) -> Result<()> {
        let below = root.path.strip_prefix("/").unwrap_or(&root.path);
        match self.collection.first {
            Some(_) => tree::remove(&self.collection.target.join(below)),
            None => Ok(()),
        }
    }

    /// Makes the copy of a directory, where the first pass has not.
    pub(super) fn make_directory(&self, target: &Dir, name: &OsStr) -> Result<()> {
        if self.collection.first.is_some() {
            if target.child_directory(name)?.is_some() {
                return Ok(());
            }
            target.remove_entry(name)?;
        }
        target.create_directory(name).map(drop)
    }

    /// Whether the copy that the first pass has made of a file is still what is there.
    pub(super) fn is_kept(&self, entry: &Found<'_>, found: &mut Collected) -> Result<bool> {
        let Some(first) = self.collection.first.filter(|_| entry.meta.kind == There::File) else { return Ok(false) };
        let Ok(meta) = guard::left_out(self.seen(entry), entry.guarded, entry.path)? else { return Ok(false) };
        let Some(is_linked) = first.keep(entry.path, &meta) else { return Ok(false) };
        if is_linked {
            found.linked += 1;
        } else {
            found.added += meta.bytes;
        }
        found.entries.count(&meta);
        Ok(true)
    }
}
