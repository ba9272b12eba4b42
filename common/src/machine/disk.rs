//! Room on file systems.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::sys::statvfs::statvfs;

use crate::contract::error::{Context as _, Error, Result};

/// Bytes that may still be written on the file system of `path`, or of the nearest directory above it that exists.
pub fn free(path: &Path) -> Result<u64> {
    let there = existing(path)?;
    let numbers = statvfs(there).context(|| format!("cannot find out the free space of `{}`", there.display()))?;
    Ok(numbers.blocks_available() * numbers.fragment_size())
}

/// The device of the file system `path` is, or would be, on.
pub fn device(path: &Path) -> Result<u64> {
    let there = existing(path)?;
    Ok(std::fs::symlink_metadata(there).map_err(|error| Error::io("look at", there, error))?.dev())
}

/// Refuses when fewer than `bytes` are free at `path`. `what` says what they are for.
pub fn require(path: &Path, bytes: u64, what: &str) -> Result<()> {
    let free = free(path)?;
    if free >= bytes {
        return Ok(());
    }
    Err(Error::refused(format!("there is not enough space at `{}` for {what}", path.display()))
        .because(format!("{bytes} bytes are needed, {free} are free, {} are missing", bytes - free))
        .hint("make room on that file system, then run this again; nothing has been changed"))
}

fn existing(path: &Path) -> Result<&Path> {
    path.ancestors()
        .find(|path| path.symlink_metadata().is_ok())
        .ok_or_else(|| Error::failed(format!("neither `{}` nor any directory above it exists", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_much_is_missing() {
        let error = require(Path::new("/tmp/not/there"), u64::MAX, "everything").unwrap_err();
        assert_eq!(error.code(), 5);
        assert!(error.causes()[0].contains("are missing"), "{error:?}");
        require(Path::new("/tmp"), 1, "a byte").unwrap();
    }
}
