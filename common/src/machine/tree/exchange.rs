//! What changes names in a directory held open, and makes it durable.

use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, fchown};

use nix::errno::Errno;
use rustix::fs::RenameFlags;

use super::Dir;
use crate::contract::error::{Context as _, Error, Result};
use crate::machine::files::{self, Access, renameat2};

impl Dir {
    /// Exchanges an entry with one of another directory on the same file system, in one step. Twice undoes it.
    pub fn exchange(&self, name: &OsStr, other: &Self, other_name: &OsStr) -> Result<()> {
        self.rename_with(name, other, other_name, RenameFlags::EXCHANGE, "exchange")
    }

    /// Moves an entry to a name that must be free.
    pub fn move_new(&self, name: &OsStr, other: &Self, other_name: &OsStr) -> Result<()> {
        self.rename_with(name, other, other_name, RenameFlags::NOREPLACE, "move")
    }

    /// Asks the kernel whether an entry could be moved into another directory on the same file system, and moves nothing:
    /// it is to go onto `full`, a directory with something in it, which is refused in any case, after everything else.
    ///
    /// # Errors
    /// Refused when there is another reason: an immutable entry, a mount point, a directory from a lower layer.
    pub fn require_movable(&self, name: &OsStr, other: &Self, full: &OsStr) -> Result<()> {
        let tried = single(name).and_then(|_| single(full));
        let tried = tried.and_then(|_| renameat2(self, name, other, full, RenameFlags::empty()));
        let reason = match tried {
            Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::EISDIR) => return Ok(()),
            Err(Errno::EXDEV) => "the file system does not move directories of a lower layer (overlayfs)",
            Err(Errno::EPERM) => "it, or the directory it is in, is immutable or append-only",
            Err(Errno::EBUSY) => "something is mounted there",
            Err(error) => error.desc(),
            Ok(()) => "nothing was in the way",
        };
        Err(Error::refused(format!("`{}` cannot be exchanged", self.path().join(name).display())).because(reason))
    }

    fn rename_with(&self, name: &OsStr, other: &Self, to: &OsStr, flags: RenameFlags, attempt: &str) -> Result<()> {
        let moved = single(name).and_then(|_| single(to)).and_then(|_| renameat2(self, name, other, to, flags));
        moved.context(|| {
            let (one, two) = (self.path().join(name), other.path().join(to));
            format!("cannot {attempt} `{}` and `{}`", one.display(), two.display())
        })
    }

    /// Reads a regular file in it; refused beyond `most` bytes.
    pub fn read(&self, name: &OsStr, most: u64) -> Result<Vec<u8>> {
        let path = self.path().join(name);
        let file = self.open_file(name)?.ok_or_else(|| Error::io("read", &path, Errno::ENOENT.desc()))?;
        let mut bytes = Vec::new();
        file.take(most + 1).read_to_end(&mut bytes).map_err(|error| Error::io("read", &path, error))?;
        if bytes.len() as u64 > most {
            return Err(Error::io("read", &path, format!("it is larger than {most} bytes")));
        }
        Ok(bytes)
    }

    /// Writes a file in it so that after a crash either the old or the new contents are there, whole.
    pub fn write(&self, name: &OsStr, contents: &[u8], access: Access) -> Result<()> {
        let path = self.path().join(name);
        let temporary = files::temporary_beside(&path)?.file_name().unwrap_or_default().to_owned();
        let mut file = self.create_file(&temporary)?;
        let written = (|| {
            file.write_all(contents)?;
            if let Some((uid, gid)) = access.owner {
                fchown(&file, Some(uid), Some(gid))?;
            }
            file.set_permissions(std::fs::Permissions::from_mode(access.mode))?;
            file.sync_all()?;
            renameat2(self, temporary.as_os_str(), self, single(name)?, RenameFlags::empty())?;
            self.file().sync_all()
        })();
        written.map_err(|error: std::io::Error| {
            let _ = self.remove_entry(&temporary);
            Error::io("write", path, error)
        })
    }

    /// Makes durable what is on its file system.
    pub fn sync_file_system(&self) -> Result<()> {
        nix::unistd::syncfs(self).context(|| format!("cannot sync the file system of `{}`", self.path().display()))
    }

    /// Makes its entries durable.
    pub fn sync(&self) -> Result<()> {
        self.file().sync_all().map_err(|error| Error::io("sync the directory", self.path(), error))
    }
}

/// One name, not a path: what stands between two slashes could be a link.
fn single(name: &OsStr) -> nix::Result<&OsStr> {
    if name.is_empty() || name == ".." || name.as_bytes().contains(&b'/') { Err(Errno::EINVAL) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_exchanged_between_directories() {
        let place = tempfile::tempdir().unwrap();
        let root = Dir::open(place.path()).unwrap();
        let (file, free) = (OsStr::new("file"), OsStr::new("free"));
        let [one, two] = ["one", "two"].map(|name| {
            let dir = root.create_directory(OsStr::new(name)).unwrap();
            dir.write(file, name.as_bytes(), Access::PRIVATE).unwrap();
            dir
        });
        one.exchange(file, &two, file).unwrap();
        assert_eq!(one.read(file, 9).unwrap(), b"two");
        assert!(one.read(file, 2).is_err());
        assert!(one.move_new(file, &two, file).is_err());
        one.move_new(file, &two, free).unwrap();
        assert!(one.look(file).unwrap().is_none());
        assert_eq!(two.names().unwrap(), ["file", "free"]);
    }

    #[test]
    fn what_could_be_moved_is_asked_without_moving_it() {
        let place = tempfile::tempdir().unwrap();
        let root = Dir::open(place.path()).unwrap();
        let [one, full] = ["one", "full"].map(|name| root.create_directory(OsStr::new(name)).unwrap());
        for dir in [&one, &full, &root] {
            dir.write(OsStr::new("f"), b"f", Access::PRIVATE).unwrap();
        }
        for name in ["one", "f"] {
            root.require_movable(OsStr::new(name), &root, OsStr::new("full")).unwrap();
            assert!(root.look(OsStr::new(name)).unwrap().is_some());
        }
        let error = root.require_movable(OsStr::new("none"), &root, OsStr::new("full")).unwrap_err();
        assert_eq!(error.code(), 5);
    }

    #[test]
    fn a_path_is_not_a_name() {
        let place = tempfile::tempdir().unwrap();
        let root = Dir::open(place.path()).unwrap();
        root.create_directory(OsStr::new("d")).unwrap();
        root.write(OsStr::new("f"), b"f", Access::PRIVATE).unwrap();
        assert!(root.move_new(OsStr::new("f"), &root, OsStr::new("d/f")).is_err());
    }
}
