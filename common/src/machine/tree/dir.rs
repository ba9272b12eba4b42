//! A directory held open: everything in it is reached through its descriptor.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, linkat, symlinkat, unlinkat};

use super::{DEEPEST, Kind, Meta, Time};
use crate::contract::error::{Error, Result};
use crate::machine::files;

/// A directory held open. Its path is for messages only.
#[derive(Debug)]
pub struct Dir {
    file: File,
    path: PathBuf,
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Dir {
    /// Opens a directory. A link as its last component is an error; the components before it must be trusted.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { file: files::open_directory(path)?, path: path.into() })
    }

    /// Opens a directory whose path is trusted altogether, links included.
    pub fn open_following(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::io("open the directory", path, error))?;
        Ok(Self { file, path: path.into() })
    }

    /// The directory at an absolute path, reached component by component, none of them a link, without reading any: who may
    /// pass through it can reach it so. It serves to open entries by name, and not to list them; `None` when there is
    /// nothing.
    pub fn reach(path: &Path) -> Result<Option<Self>> {
        let mut dir = Self::open(Path::new("/"))?;
        for name in path.strip_prefix("/").unwrap_or(path) {
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            dir = match openat(&dir.file, name, flags, Mode::empty()) {
                Ok(fd) => Self { file: fd.into(), path: dir.path.join(name) },
                Err(Errno::ENOENT) => return Ok(None),
                Err(error) => return Err(dir.failed("open the directory", name, error)),
            };
        }
        Ok(Some(dir))
    }

    /// The directory at an absolute path, reached component by component, none of them a link; `None` when there is
    /// nothing. Whoever owns a directory above it leads nowhere by exchanging it for a link.
    ///
    /// # Errors
    /// Refused (exit 5) when a component is a link; failed when it cannot be opened.
    pub fn without_links(path: &Path) -> Result<Option<Self>> {
        Self::enter(path, |_, _| Ok(None))
    }

    /// As [`Dir::without_links`], creating with `mode` what is missing.
    ///
    /// # Errors
    /// As there; failed when a directory cannot be created.
    pub fn without_links_creating(path: &Path, mode: u32) -> Result<Self> {
        let reached = Self::enter(path, |dir, name| {
            let child = dir.create_directory(name)?;
            fchmod(&child.file, Mode::from_bits_truncate(mode)).map_err(|error| dir.failed("create", name, error))?;
            Ok(Some(child))
        })?;
        reached.ok_or_else(|| Error::io("open the directory", path, Errno::ENOENT.desc()))
    }

    fn enter(path: &Path, missing: impl Fn(&Self, &OsStr) -> Result<Option<Self>>) -> Result<Option<Self>> {
        let mut dir = Self::open(Path::new("/"))?;
        for name in path.strip_prefix("/").unwrap_or(path) {
            if dir.look(name)?.is_some_and(|meta| meta.kind == Kind::Symlink) {
                return Err(Error::refused(format!("`{}` is not gone through", path.display()))
                    .because(format!("`{}` is a link", dir.path.join(name).display())));
            }
            dir = match dir.child(name)? {
                Some(child) => child,
                None => match missing(&dir, name)? {
                    Some(child) => child,
                    None => return Ok(None),
                },
            };
        }
        Ok(Some(dir))
    }

    /// Its path, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The descriptor as a file: to change its attributes, to sync it.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// What the file system says about the directory.
    pub fn meta(&self) -> Result<Meta> {
        fstat(&self.file).map(|data| meta_of(&data)).map_err(|error| self.failed("look at", OsStr::new(""), error))
    }

    /// The names in it, in byte order.
    pub fn names(&self) -> Result<Vec<OsString>> {
        let failed = |error| self.failed("read the directory", OsStr::new(""), error);
        let again = openat(&self.file, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
        let mut stream = again.and_then(nix::dir::Dir::from_fd).map_err(failed)?;
        let mut names = Vec::new();
        for entry in stream.iter() {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsStr::from_bytes(name).to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// What the file system says about an entry; `None` when there is none.
    pub fn look(&self, name: &OsStr) -> Result<Option<Meta>> {
        match fstatat(&self.file, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(data) => Ok(Some(meta_of(&data))),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(self.failed("look at", name, error)),
        }
    }

    /// Opens a directory in it; `None` when there is nothing. Anything but a directory is an error, and so is a name that
    /// leads out of it: paths come from databases and configurations.
    pub fn child(&self, name: &OsStr) -> Result<Option<Self>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        if name == ".." || name.as_encoded_bytes().contains(&b'/') {
            return Err(self.failed("open the directory", name, Errno::EXDEV));
        }
        match openat(&self.file, name, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(Self { file: fd.into(), path: self.path.join(name) })),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(self.failed("open the directory", name, error)),
        }
    }

    /// As [`Dir::child`], but anything that is not a directory is `None` too.
    pub fn child_directory(&self, name: &OsStr) -> Result<Option<Self>> {
        match self.look(name)? {
            Some(meta) if meta.kind == Kind::Directory => self.child(name),
            _ => Ok(None),
        }
    }

    /// Opens a directory below it, component by component, none of them a link; `None` when there is nothing.
    pub fn descend(&self, below: &Path) -> Result<Option<Self>> {
        let mut dir = Self { file: self.again()?, path: self.path.clone() };
        for name in below {
            match dir.child(name)? {
                Some(child) => dir = child,
                None => return Ok(None),
            }
        }
        Ok(Some(dir))
    }

    /// As [`Dir::descend`], but anything on the way that is not a directory is `None` too.
    pub fn descend_directories(&self, below: &Path) -> Result<Option<Self>> {
        let mut dir = Self { file: self.again()?, path: self.path.clone() };
        for name in below {
            match dir.child_directory(name)? {
                Some(child) => dir = child,
                None => return Ok(None),
            }
        }
        Ok(Some(dir))
    }

    /// As [`Dir::descend`], creating with mode 0700 what is missing.
    pub fn descend_creating(&self, below: &Path) -> Result<Self> {
        let mut dir = Self { file: self.again()?, path: self.path.clone() };
        for name in below {
            dir = match dir.child(name)? {
                Some(child) => child,
                None => dir.create_directory(name)?,
            };
        }
        Ok(dir)
    }

    /// Creates a directory in it, 0700, and opens it.
    pub fn create_directory(&self, name: &OsStr) -> Result<Self> {
        let failed = |error| self.failed("create the directory", name, error);
        mkdirat(&self.file, name, Mode::S_IRWXU).map_err(failed)?;
        self.child(name)?.ok_or_else(|| failed(Errno::ENOENT))
    }

    /// Opens a regular file in it for reading; `None` when there is nothing any more. A link or a fifo is an error.
    pub fn open_file(&self, name: &OsStr) -> Result<Option<File>> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file: File = match openat(&self.file, name, flags, Mode::empty()) {
            Ok(fd) => fd.into(),
            Err(Errno::ENOENT) => return Ok(None),
            Err(error) => return Err(self.failed("open", name, error)),
        };
        let data = file.metadata().map_err(|error| Error::io("look at", self.path.join(name), error))?;
        if data.is_file() {
            return Ok(Some(file));
        }
        Err(Error::failed(format!("cannot open `{}`", self.path.join(name).display()))
            .because("it is not a regular file"))
    }

    /// Creates a file in it, 0600; that the name is taken is an error.
    pub fn create_file(&self, name: &OsStr) -> Result<File> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(&self.file, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)
            .map(File::from)
            .map_err(|error| self.failed("create", name, error))
    }

    /// The target of a symlink in it.
    pub fn link_target(&self, name: &OsStr) -> Result<OsString> {
        readlinkat(&self.file, name).map_err(|error| self.failed("read the link", name, error))
    }

    /// Creates a symlink in it.
    pub fn create_symlink(&self, name: &OsStr, target: &OsStr) -> Result<()> {
        symlinkat(target, &self.file, name).map_err(|error| self.failed("create the link", name, error))
    }

    /// Gives an entry of `other` a second name in this directory. `false` when the file system does not let it (other
    /// file system, too many names, entry gone): the caller then copies.
    pub fn link(&self, name: &OsStr, other: &Self, other_name: &OsStr) -> Result<bool> {
        match linkat(&other.file, other_name, &self.file, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::EXDEV | Errno::EMLINK | Errno::EPERM | Errno::ENOENT | Errno::EOPNOTSUPP | Errno::ENOSYS) => {
                Ok(false)
            }
            Err(error) => Err(self.failed("give a second name (hard link) to", name, error)),
        }
    }

    /// Removes an entry that is not a directory; that it is gone is fine.
    pub fn remove_entry(&self, name: &OsStr) -> Result<()> {
        self.unlink(name, UnlinkatFlags::NoRemoveDir)
    }

    /// Removes an empty directory in it; that it is gone is fine.
    pub fn remove_directory(&self, name: &OsStr) -> Result<()> {
        self.unlink(name, UnlinkatFlags::RemoveDir)
    }

    /// A path to an entry for calls that have no variant with a descriptor; only its last component can be a link.
    pub(super) fn descriptor_path(&self, name: &OsStr) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd())).join(name)
    }

    /// Refuses a directory that is so many levels below the top of its tree, when that is more than [`DEEPEST`].
    pub fn refuse_deeper_than(&self, depth: usize) -> Result<()> {
        if depth <= DEEPEST {
            return Ok(());
        }
        Err(Error::refused("the tree is too deep")
            .because(format!("`{}` is more than {DEEPEST} directories below its top", shortened(&self.path)))
            .hint("move it away, or leave it out (mm-backup: --exclude)"))
    }

    /// Lets its owner read and empty it, whatever its mode was.
    ///
    /// # Errors
    /// When its mode cannot be changed.
    pub fn let_us_in(&self) -> Result<()> {
        if self.meta()?.mode & 0o700 == 0o700 {
            return Ok(());
        }
        fchmod(&self.file, Mode::S_IRWXU).map_err(|error| self.failed("change the mode of", OsStr::new(""), error))
    }

    pub(super) fn failed(&self, attempt: &str, name: &OsStr, error: Errno) -> Error {
        let path = if name.is_empty() { self.path.clone() } else { self.path.join(name) };
        Error::io(attempt, path, error.desc())
    }

    fn unlink(&self, name: &OsStr, flag: UnlinkatFlags) -> Result<()> {
        match unlinkat(&self.file, name, flag) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(self.failed("remove", name, error)),
        }
    }

    fn again(&self) -> Result<File> {
        self.file.try_clone().map_err(|error| Error::io("open the directory", &self.path, error))
    }
}

/// The beginning of a path that may be longer than any terminal shows.
fn shortened(path: &Path) -> String {
    let text = path.display().to_string();
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

impl Meta {
    /// What the file system says about an open file.
    pub fn of(file: &File, shown: &Path) -> Result<Self> {
        fstat(file).map(|data| meta_of(&data)).map_err(|error| Error::io("look at", shown, error.desc()))
    }
}

fn meta_of(data: &FileStat) -> Meta {
    let kind = match SFlag::from_bits_truncate(data.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFREG => Kind::File,
        SFlag::S_IFDIR => Kind::Directory,
        SFlag::S_IFLNK => Kind::Symlink,
        _ => Kind::Special,
    };
    Meta {
        kind,
        mode: data.st_mode & 0o7777,
        uid: data.st_uid,
        gid: data.st_gid,
        bytes: u64::try_from(data.st_size).unwrap_or_default(),
        allocated: u64::try_from(data.st_blocks).unwrap_or_default() * 512,
        mtime: Time { seconds: data.st_mtime, nanoseconds: u32::try_from(data.st_mtime_nsec).unwrap_or_default() },
        ctime: Time { seconds: data.st_ctime, nanoseconds: u32::try_from(data.st_ctime_nsec).unwrap_or_default() },
        ino: data.st_ino,
        dev: data.st_dev,
        names: data.st_nlink,
    }
}
