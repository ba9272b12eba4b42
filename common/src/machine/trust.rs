//! Whose a file or a directory is: what root, or whoever runs the tool, works by must not be somebody else's to write.

use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::files;
use crate::contract::error::{Error, Result};

/// Why others than root and the user of this process could have written what `data` describes; `None` when they could
/// not.
pub fn fault(data: &Metadata) -> Option<String> {
    if data.uid() != 0 && data.uid() != nix::unistd::geteuid().as_raw() {
        return Some(format!("it belongs to the user {}, not to root", data.uid()));
    }
    (data.mode() & 0o022 != 0).then(|| format!("others may write it: its mode is {:03o}", data.mode() & 0o777))
}

/// Refuses an open file or directory that others could have written; `path` is for the message.
///
/// # Errors
/// Refused (exit 5). The hint is the caller's business.
pub fn check(file: &File, path: &Path) -> Result<()> {
    let data = file.metadata().map_err(|error| Error::io("look at", path, error))?;
    match fault(&data) {
        Some(why) => Err(Error::refused(format!("`{}` is not trusted", path.display())).because(why)),
        None => Ok(()),
    }
}

/// Refuses a directory that is there and that others could have prepared. A link to one is followed where the link
/// itself is root's or the caller's.
///
/// # Errors
/// Refused (exit 5). The hint is the caller's business.
pub fn check_directory(path: &Path) -> Result<()> {
    let refused = |why: String| Err(Error::refused(format!("`{}` is not trusted", path.display())).because(why));
    let Some(entry) = files::look(path)? else { return Ok(()) };
    if !entry.is_symlink() {
        return fault(&entry).map_or(Ok(()), refused);
    }
    if entry.uid() != 0 && entry.uid() != nix::unistd::geteuid().as_raw() {
        return refused(format!("it is a link of the user {}", entry.uid()));
    }
    let data = std::fs::metadata(path).map_err(|error| Error::io("look at", path, error))?;
    fault(&data).map_or(Ok(()), refused)
}

/// Reads a file that a document names: whole, at most `most` bytes, and only where nobody else could have written it.
///
/// # Errors
/// Refused (exit 5) when others could; failed when it cannot be read.
pub fn read_text(path: &Path, most: u64) -> Result<String> {
    let file = files::open_nofollow(&path.canonicalize().map_err(|error| Error::io("find", path, error))?)?;
    check(&file, path)?;
    let mut text = String::new();
    file.take(most).read_to_string(&mut text).map_err(|error| Error::io("read", path, error))?;
    Ok(text)
}
