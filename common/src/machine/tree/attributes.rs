//! Owner, mode, times and extended attributes (capabilities and ACLs are some) of an entry.

use std::ffi::OsStr;
use std::fs::File;
use std::io;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, UtimensatFlags, fchmod, futimens, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat};
use xattr::FileExt as _;

use super::{Dir, Meta};
use crate::contract::error::{Error, Result};
use crate::machine::user;

/// A point in time as file systems keep it, since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Seconds.
    pub seconds: i64,
    /// Nanoseconds of the second.
    pub nanoseconds: u32,
}

impl From<Time> for TimeSpec {
    fn from(time: Time) -> Self {
        Self::new(time.seconds, i64::from(time.nanoseconds))
    }
}

/// What an entry has besides name and contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits with set-uid, set-gid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of the contents.
    pub mtime: Time,
    /// Extended attributes by name.
    pub xattrs: Vec<(String, Vec<u8>)>,
}

impl Attributes {
    /// Those of an open file or directory.
    pub fn of_file(file: &File, meta: &Meta, shown: &std::path::Path) -> Result<Self> {
        let xattrs = read(|| file.list_xattr(), |name| file.get_xattr(name))
            .map_err(|error| Error::io("read the extended attributes of", shown, error))?;
        Ok(Self::new(meta, xattrs))
    }

    /// Those of a symlink itself.
    pub fn of_symlink(dir: &Dir, name: &OsStr, meta: &Meta) -> Result<Self> {
        let path = dir.descriptor_path(name);
        let xattrs = read(|| xattr::list(&path), |name| xattr::get(&path, name))
            .map_err(|error| Error::io("read the extended attributes of", dir.path().join(name), error))?;
        Ok(Self::new(meta, xattrs))
    }

    fn new(meta: &Meta, xattrs: Vec<(String, Vec<u8>)>) -> Self {
        Self { mode: meta.mode, uid: meta.uid, gid: meta.gid, mtime: meta.mtime, xattrs }
    }

    /// Gives them to an open file or directory. The owner comes first, because changing it takes away set-uid bits and
    /// capabilities. Without root the owner stays as it is. Returns the names of attributes that this file system or
    /// user cannot set.
    pub fn apply(&self, file: &File, shown: &std::path::Path) -> Result<Vec<String>> {
        let failed = |what: &str, error: Errno| Error::io(what, shown, error.desc());
        if user::is_root() {
            fchown(file, Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))
                .map_err(|error| failed("change the owner of", error))?;
        }
        fchmod(file, Mode::from_bits_truncate(self.mode)).map_err(|error| failed("change the mode of", error))?;
        let mut left = Vec::new();
        for (name, value) in &self.xattrs {
            match file.set_xattr(name, value) {
                Ok(()) => {}
                Err(error) if is_unsupported(&error) => left.push(name.clone()),
                Err(error) => return Err(Error::io("set an extended attribute of", shown, error).because(name)),
            }
        }
        Self::touch(file, self.mtime, shown)?;
        Ok(left)
    }

    /// Sets the time of the last change of an open file or directory, and nothing else.
    pub fn touch(file: &File, mtime: Time, shown: &std::path::Path) -> Result<()> {
        futimens(file, &TimeSpec::UTIME_OMIT, &mtime.into())
            .map_err(|error| Error::io("set the times of", shown, error.desc()))
    }

    /// Gives them to a symlink itself; it has no mode.
    pub fn apply_to_symlink(&self, dir: &Dir, name: &OsStr) -> Result<Vec<String>> {
        if user::is_root() {
            let (uid, gid) = (Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)));
            fchownat(dir, name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW)
                .map_err(|error| dir.failed("change the owner of", name, error))?;
        }
        let path = dir.descriptor_path(name);
        let mut left = Vec::new();
        for (key, value) in &self.xattrs {
            if xattr::set(&path, key, value).is_err() {
                left.push(key.clone());
            }
        }
        utimensat(dir, name, &TimeSpec::UTIME_OMIT, &self.mtime.into(), UtimensatFlags::NoFollowSymlink)
            .map_err(|error| dir.failed("set the times of", name, error))?;
        Ok(left)
    }
}

fn read(
    list: impl FnOnce() -> io::Result<xattr::XAttrs>,
    get: impl Fn(&OsStr) -> io::Result<Option<Vec<u8>>>,
) -> io::Result<Vec<(String, Vec<u8>)>> {
    let names = match list() {
        Ok(names) => names,
        Err(error) if is_unsupported(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for name in names {
        // Names of attributes are ASCII by the kernel's own prefixes; one that is not cannot be written down.
        let Some(text) = name.to_str() else { continue };
        if let Some(value) = get(&name)? {
            found.push((text.to_owned(), value));
        }
    }
    found.sort();
    Ok(found)
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EOPNOTSUPP | Errno::EPERM | Errno::EACCES))
}
