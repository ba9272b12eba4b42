//! Whether the files of the old release will stay, and can be put back: they are kept in the work area, by exchanging entries,
//! so that has to be possible on this file system.

use std::ffi::OsStr;
use std::path::Path;

use super::trial::Finding;
use crate::contract::error::Result;
use crate::contract::shell;
use crate::machine::files;
use crate::machine::state::work_area;
use crate::machine::tree::{self, Dir};

/// Entries that every release owns as a whole.
const OWNED: &[&str] = &["bin", "fonts", "i18n", "templates"];

/// What was tried is kept in here, beside the work area; what a killed run has left goes with the next one.
const TRIAL: &str = ".mm-trial";

/// Tries it: a directory is made where the work area is to be, and the kernel is asked whether what the release owns could go
/// there. Nothing of the installation is moved.
pub(super) fn stays(root: &Path) -> Option<Finding> {
    let error = tried(root).err()?;
    let parent = work_area(root).ok().and_then(|area| area.parent().map(Path::to_owned));
    let place = shell::word(parent.as_deref().unwrap_or(root));
    Some(Finding::closing(
        format!("the old release could not be kept beside the new one: {}", error.one_line()),
        error.next_step().map_or_else(
            || {
                format!(
                    "see what keeps root from writing there: findmnt -T {place}; lsattr -d {place} {}",
                    shell::word(root)
                )
            },
            str::to_owned,
        ),
    ))
}

fn tried(root: &Path) -> Result<()> {
    let area = work_area(root)?;
    let parent = Dir::open(files::parent(&area)?)?;
    let name = OsStr::new(TRIAL);
    remove(&parent, name)?;
    let made = parent.create_directory(name)?;
    let full = OsStr::new("full");
    let outcome = (|| {
        made.create_directory(full)?.create_file(OsStr::new("full"))?;
        let live = Dir::open(root)?;
        for entry in OWNED.iter().map(OsStr::new) {
            if live.look(entry)?.is_some() {
                live.require_movable(entry, &made, full)?;
            }
        }
        Ok(())
    })();
    outcome.and(remove(&parent, name))
}

fn remove(parent: &Dir, name: &OsStr) -> Result<()> {
    if parent.look(name)?.is_some() { tree::remove_in(parent, name) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_where_nothing_can_be_kept_closes_the_way_back() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("mattermost");
        std::fs::create_dir_all(root.join("bin")).unwrap();
        std::fs::create_dir_all(place.path().join(TRIAL).join("left over")).unwrap();
        assert_eq!(stays(&root), None);
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1, "something was left");
        // A file in the way of the work area's directory, as a mount that is only read would be.
        assert!(stays(&root.join("not there/mattermost")).unwrap().closes);
    }
}
