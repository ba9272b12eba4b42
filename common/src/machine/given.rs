//! A directory made for another user. Where it is made, that user or others may be able to make, exchange and remove
//! entries: so its name cannot be known before, it is made and not found, and what is changed of it is changed through its
//! descriptor. It is given away last, and empty or finished: nothing in it is touched by path afterwards but as its owner.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use super::files;
use super::tree::{self, Dir};
use super::user::{self, User};
use crate::contract::error::{Error, Result};

/// Random bytes in a name: nobody guesses them.
const RANDOM: usize = 8;

/// The directory. Removed when dropped.
#[derive(Debug)]
pub struct Given {
    path: PathBuf,
    dir: Dir,
}

impl Given {
    /// Makes a directory in `place`, this process's own and 0700. Its name begins with `prefix`.
    ///
    /// # Errors
    /// Failed when it cannot be made; refused when somebody has put something else in its place.
    pub fn make(place: &Path, prefix: &str) -> Result<Self> {
        let parent = Dir::open_following(place)?;
        let name = format!("{prefix}{}", files::random_hexadecimal(RANDOM)?);
        let dir = parent.create_directory(OsStr::new(&name))?;
        let made = Self { path: place.join(&name), dir };
        // Whoever owns `place` may have exchanged it: for a directory of root's, which would be given away.
        let meta = made.dir.meta()?;
        if meta.uid == user::current().uid && meta.mode == 0o700 && made.dir.names()?.is_empty() {
            return Ok(made);
        }
        let error = Error::refused(format!("`{}` is not the directory that was just made", made.path.display()))
            .because(format!("somebody who may write in `{}` has exchanged it", place.display()));
        // It is not ours to remove.
        std::mem::forget(made);
        Err(error)
    }

    /// Its path: for programs that run as its owner.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory, held open.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Sets its mode, and its group where one is given.
    pub fn open_for(&self, mode: u32, group: Option<u32>) -> Result<()> {
        fchown(self.dir.file(), None, group)
            .and_then(|()| self.dir.file().set_permissions(Permissions::from_mode(mode)))
            .map_err(|error| Error::io("change group and mode of", &self.path, error))
    }

    /// Gives it to `owner`. Nothing in it is touched by path afterwards, but by programs that run as `owner`.
    pub fn give(&self, owner: &User) -> Result<()> {
        if owner.is_current() {
            return Ok(());
        }
        fchown(self.dir.file(), Some(owner.uid), Some(owner.gid))
            .map_err(|error| Error::io("change the owner of", &self.path, error))
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        // What stays is in a directory that only its owner may enter.
        let _ = tree::remove(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn it_is_made_and_not_found_and_its_name_is_nobodys_guess() {
        let place = tempfile::tempdir().unwrap();
        let (one, two) = (Given::make(place.path(), "x.").unwrap(), Given::make(place.path(), "x.").unwrap());
        assert_ne!(one.path(), two.path());
        let data = std::fs::symlink_metadata(one.path()).unwrap();
        assert_eq!(data.mode() & 0o7777, 0o700);
        assert!(one.path().file_name().unwrap().len() >= "x.".len() + 2 * RANDOM);
        let path = one.path().to_owned();
        drop(one);
        assert!(!path.exists() && two.path().exists());
    }

    #[test]
    fn what_is_given_away_is_what_was_made() {
        if !user::is_root() {
            return;
        }
        let nobody = User::named("nobody").unwrap();
        let place = tempfile::tempdir().unwrap();
        let made = Given::make(place.path(), "x.").unwrap();
        // Its place taken by a link to a directory of root's, as the owner of the place could do.
        let roots = place.path().join("roots");
        std::fs::create_dir(&roots).unwrap();
        std::fs::remove_dir(made.path()).unwrap();
        std::os::unix::fs::symlink(&roots, made.path()).unwrap();
        made.give(&nobody).unwrap();
        made.open_for(0o777, None).unwrap();
        let data = std::fs::metadata(&roots).unwrap();
        assert_eq!((data.uid(), data.mode() & 0o777 == 0o777), (0, false));
    }
}
