//! Whether what stands in a store can be believed: what is restored from it, root restores.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use mm_common::contract::error::{Error, Result};
use mm_common::contract::shell;
use mm_common::contract::ui;
use mm_common::machine::files;
use mm_common::mattermost::handed_on::{COMPLETION, COMPLETION_DIGEST};
use nix::unistd::geteuid;

use crate::manifest;
use crate::store::Point;

/// The check that `--accept` lets through.
pub(crate) const ACCEPT: &str = "store-owner";

/// Why others than root and the caller could have changed what is at `path`; `None` when they could not.
pub(crate) fn doubt_of(path: &Path) -> Result<Option<String>> {
    let data = std::fs::metadata(path).map_err(|error| Error::io("look at", path, error))?;
    let shown = path.display();
    Ok(if data.uid() != 0 && data.uid() != geteuid().as_raw() {
        Some(format!("`{shown}` belongs to the user {}", data.uid()))
    } else if data.mode() & 0o022 != 0 {
        Some(format!("others may write to `{shown}` (mode {:04o})", data.mode() & 0o7777))
    } else {
        None
    })
}

/// The same for a restore point: the store, its directory, and the manifest by which all else in it is proven.
pub(crate) fn doubt(point: &Point) -> Result<Option<String>> {
    let names = [manifest::NAME, manifest::DIGEST_NAME, COMPLETION, COMPLETION_DIGEST];
    let proofs = names.map(|name| point.path.join(name));
    let places = [files::parent(&point.path)?, &point.path];
    for path in places.into_iter().chain(proofs.iter().map(PathBuf::as_path)) {
        // What is missing is found by those who read it.
        if files::look(path)?.is_some()
            && let Some(doubt) = doubt_of(path)?
        {
            return Ok(Some(doubt));
        }
    }
    Ok(None)
}

/// Says it, for who only reads.
pub(crate) fn tell(point: &Point) {
    match doubt(point) {
        Ok(None) => {}
        Ok(Some(doubt)) => ui::warn(&format!("the restore point {} may have been changed: {doubt}", point.head.id)),
        Err(error) => ui::warn(&error.one_line()),
    }
}

/// Refuses a restore point that others could have changed.
pub(crate) fn require(point: &Point, accepted: bool) -> Result<()> {
    let Some(doubt) = doubt(point)? else { return Ok(()) };
    if accepted {
        ui::warn(&format!("the restore point {} may have been changed: {doubt}", point.head.id));
        return Ok(());
    }
    let place = shell::word(files::parent(&point.path)?);
    Err(Error::refused(format!("the restore point {} is not safe to restore", point.head.id)).because(doubt).hint(format!(
        "where you know that nobody has changed it: chown {} {place} {1} {1}/manifest.json*; chmod go-w {place} {1} \
         {1}/manifest.json*; or restore it as it is with --accept {ACCEPT}",
        geteuid(),
        shell::word(&point.path)
    )))
}
