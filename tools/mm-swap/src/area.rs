//! The work area: where releases are staged and retired. It is on the file system of the install root, because only
//! there can entries be exchanged, and root's own, because what is staged there will be run.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use mm_common::contract::error::{Error, Result};
use mm_common::contract::shell;
use mm_common::machine::state::work_area;
use mm_common::machine::tree::Dir;
use mm_common::machine::{files, user};

/// Where the work area of an install root is to be: beside it, or inside when the root is itself a mount point or its
/// parent is another file system.
pub(crate) fn place(root: &Path) -> Result<PathBuf> {
    work_area(root)
}

/// Makes the work area, or checks the one that is there: it has to be root's own and closed to everybody else.
pub(crate) fn make(root: &Path) -> Result<PathBuf> {
    let path = place(root)?;
    if path.starts_with(root) {
        check_around(root, &path)?;
    }
    files::create_directory(&path, 0o700)?;
    check(&path)?;
    Ok(path)
}

/// Whoever may rename entries of the directory that a work area is in can exchange it for another one. Beside the
/// install root only root can.
fn check_around(root: &Path, area: &Path) -> Result<()> {
    let handle = Dir::open(root)?;
    let data = handle.file().metadata().map_err(|error| Error::io("look at", root, error))?;
    if data.uid() == user::current().uid && data.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(Error::refused(format!("a work area in `{}` would not be safe", root.display()))
        .because(format!("`{}` has to be inside, as the root is a file system of its own", area.display()))
        .because(format!(
            "user {} may rename entries there (mode {:o}), so something else could be put in its place while root works in it",
            data.uid(),
            data.mode() & 0o7777
        ))
        .hint(format!(
            "let the directory itself, not what is in it, be root's: chown root {0} && chmod go-w {0}",
            shell::word(root)
        )))
}

/// Refuses a work area that somebody else could have prepared.
pub(crate) fn check(path: &Path) -> Result<()> {
    let handle = Dir::open(path)?;
    let data = handle.file().metadata().map_err(|error| Error::io("look at", path, error))?;
    if data.uid() == user::current().uid && data.mode().trailing_zeros() >= 6 {
        return Ok(());
    }
    Err(Error::refused(format!("the work area `{}` is not ours alone", path.display()))
        .because(format!("it belongs to user {} and has mode {:o}", data.uid(), data.mode() & 0o7777))
        .hint("move it away, then run this again"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_work_area_that_others_could_have_prepared_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let set = |mode| std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        for mode in [0o701, 0o750, 0o777] {
            set(mode);
            assert_eq!(check(place.path()).unwrap_err().code(), 5, "{mode:o}");
        }
        set(0o700);
        check(place.path()).unwrap();
        if user::is_root() {
            std::os::unix::fs::chown(place.path(), Some(1), None).unwrap();
            assert_eq!(check(place.path()).unwrap_err().code(), 5, "somebody else's");
        }
        let link = place.path().join("link");
        std::os::unix::fs::symlink("/", &link).unwrap();
        assert!(check(&link).is_err(), "a link in its place is not followed");
    }
}
