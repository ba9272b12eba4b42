//! Durable files: temporary name in the same directory, mode and owner set, fsync, rename, fsync of the directory.
//! A failed fsync is not retried: the kernel may have dropped the pages and would say yes the second time.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag};
use rustix::fs::RenameFlags;
use rustix::path::Arg;

use crate::contract::digest;
use crate::contract::error::{Context as _, Error, Result};
use crate::machine::signals::Heeding;

/// Mode and owner of a file to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Permission bits.
    pub mode: u32,
    /// Owner and group; this process's own when absent.
    pub owner: Option<(u32, u32)>,
}

impl Access {
    /// Only this process's user may read it.
    pub const PRIVATE: Self = Self { mode: 0o600, owner: None };
    /// Everybody may read it.
    pub const PUBLIC: Self = Self { mode: 0o644, owner: None };

    /// The access a file has now.
    pub fn of(path: &Path) -> Result<Self> {
        let data = std::fs::symlink_metadata(path).map_err(|error| Error::io("look at", path, error))?;
        Ok(Self { mode: data.mode() & 0o7777, owner: Some((data.uid(), data.gid())) })
    }
}

/// Writes a file so that after a crash either the old or the new contents are there, whole.
pub fn write(path: &Path, contents: &[u8], access: Access) -> Result<()> {
    let directory = parent(path)?;
    let temporary = temporary_beside(path)?;
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(&temporary)?;
        file.write_all(contents)?;
        if let Some((uid, gid)) = access.owner {
            fchown(&file, Some(uid), Some(gid))?;
        }
        file.set_permissions(std::fs::Permissions::from_mode(access.mode))?;
        file.sync_all()
    })();
    if let Err(error) = written {
        let _ = std::fs::remove_file(&temporary);
        return Err(Error::io("write", path, error));
    }
    if let Err(error) = rename(&temporary, path) {
        let _ = std::fs::remove_file(&temporary);
        return Err(error);
    }
    sync_directory(directory)
}

/// Renames within one file system. The directory is not synced: see [`sync_directory`].
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    #[expect(clippy::disallowed_methods, reason = "this is the place the others are sent to")]
    std::fs::rename(from, to).context(|| format!("cannot rename `{}` to `{}`", from.display(), to.display()))
}

/// Renames, and fails if `to` is there already.
pub fn rename_new(from: &Path, to: &Path) -> Result<()> {
    renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::NOREPLACE)
        .context(|| format!("cannot rename `{}` to the new name `{}`", from.display(), to.display()))
}

/// renameat2(2), asked of the kernel and not of glibc, which has it from 2.28 on only: servers as old as the releases that
/// are upgraded have an older one. (Linux has it from 3.15 on.)
pub(super) fn renameat2(
    from: impl AsFd,
    name: impl Arg,
    to: impl AsFd,
    new_name: impl Arg,
    flags: RenameFlags,
) -> nix::Result<()> {
    rustix::fs::renameat_with(from, name, to, new_name, flags).map_err(|error| Errno::from_raw(error.raw_os_error()))
}

/// A name that is free in `directory`: `stem` and `extension`, with a number between them when that is taken, as it is
/// when two runs fall into one second. The caller holds whatever lock keeps others from taking it first.
pub fn free_name(directory: &Path, stem: &str, extension: &str) -> Result<String> {
    for number in 1..1000 {
        let number = if number == 1 { String::new() } else { format!("-{number}") };
        let name = format!("{stem}{number}{extension}");
        if look(&directory.join(&name))?.is_none() {
            return Ok(name);
        }
    }
    Err(Error::failed(format!("no name like `{stem}{extension}` is free in `{}`", directory.display())))
}

/// Makes the entries of a directory durable.
pub fn sync_directory(path: &Path) -> Result<()> {
    open_directory(path)?.sync_all().map_err(|error| Error::io("sync the directory", path, error))
}

/// Makes everything on the file system of `path` durable.
pub fn sync_file_system(path: &Path) -> Result<()> {
    let directory = open_directory(path)?;
    nix::unistd::syncfs(&directory).context(|| format!("cannot sync the file system of `{}`", path.display()))
}

/// Opens a directory; a symlink in its place is an error.
pub fn open_directory(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW).bits())
        .open(path)
        .map_err(|error| Error::io("open the directory", path, error))
}

/// Opens a regular file for reading; a symlink, a fifo or a device in its place is an error.
pub fn open_nofollow(path: &Path) -> Result<File> {
    let failed = |error| Error::io("open", path, error);
    let file = OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
        .open(path)
        .map_err(failed)?;
    if file.metadata().map_err(failed)?.is_file() {
        return Ok(file);
    }
    Err(Error::failed(format!("cannot open `{}`", path.display())).because("it is not a regular file"))
}

/// Reads a file that may be written by somebody else: not followed if it is a symlink, and refused beyond `most` bytes.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_nofollow(path)?.take(most + 1).read_to_end(&mut bytes).map_err(|error| Error::io("read", path, error))?;
    if bytes.len() as u64 > most {
        return Err(Error::failed(format!("cannot read `{}`", path.display()))
            .because(format!("it is larger than {most} bytes")));
    }
    Ok(bytes)
}

/// As [`read`], as text.
pub fn read_text(path: &Path, most: u64) -> Result<String> {
    String::from_utf8(read(path, most)?).map_err(|error| Error::io("read", path, error))
}

/// SHA-256 of a regular file, read to its end; not followed if it is a symlink. Ends with an error on a signal.
pub fn sha256(path: &Path) -> Result<String> {
    digest::of_reader(&mut Heeding(open_nofollow(path)?)).map_err(|error| Error::io("read", path, error))
}

/// Creates a directory (and those above it) with the given mode; one that is there already keeps its mode.
pub fn create_directory(path: &Path, mode: u32) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|error| Error::io("create the directory", path, error))
}

/// So many random bytes of the kernel's, in hexadecimal: a password that nobody is told.
pub fn random_hexadecimal(bytes: usize) -> Result<String> {
    use std::io::Read as _;
    let path = Path::new("/dev/urandom");
    let mut random = vec![0; bytes];
    File::open(path)
        .and_then(|mut file| file.read_exact(&mut random))
        .map_err(|error| Error::io("read", path, error))?;
    Ok(random
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|half| char::from_digit(half.into(), 16))
        .collect())
}

/// Removes a file; that it is not there is fine.
pub fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path, error)),
        _ => Ok(()),
    }
}

/// Metadata of the entry itself; `None` when there is nothing.
pub fn look(path: &Path) -> Result<Option<std::fs::Metadata>> {
    match std::fs::symlink_metadata(path) {
        Ok(data) => Ok(Some(data)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("look at", path, error)),
    }
}

/// The directory a path is in.
pub fn parent(path: &Path) -> Result<&Path> {
    match path.parent() {
        Some(directory) if directory.as_os_str().is_empty() => Ok(Path::new(".")),
        Some(directory) => Ok(directory),
        None => Err(Error::failed(format!("`{}` has no parent directory", path.display()))),
    }
}

/// A free name beside `path` that says what it is: `.NAME.PID.N.tmp`.
pub fn temporary_beside(path: &Path) -> Result<PathBuf> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name =
        path.file_name().ok_or_else(|| Error::failed(format!("`{}` is not the name of a file", path.display())))?;
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.{number}.tmp", std::process::id()));
    Ok(parent(path)?.join(temporary))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_with_the_mode_asked_for_and_leaves_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        write(&path, b"one", Access::PRIVATE).unwrap();
        write(&path, b"two", Access { mode: 0o640, owner: None }).unwrap();
        assert_eq!(read(&path, 10).unwrap(), b"two");
        assert_eq!(Access::of(&path).unwrap().mode, 0o640);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn two_runs_in_one_second_get_names_of_their_own() {
        let directory = tempfile::tempdir().unwrap();
        let mut given = Vec::new();
        for _ in 0..3 {
            let name = free_name(directory.path(), "20261122T030000Z-undo", ".sql").unwrap();
            write(&directory.path().join(&name), b"", Access::PRIVATE).unwrap();
            given.push(name);
        }
        let expected = ["20261122T030000Z-undo.sql", "20261122T030000Z-undo-2.sql", "20261122T030000Z-undo-3.sql"];
        assert_eq!(given, expected);
    }

    #[test]
    fn links_fifos_and_large_files_are_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link, fifo) = (directory.path().join("f"), directory.path().join("l"), directory.path().join("p"));
        write(&file, b"12345", Access::PRIVATE).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(read(&link, 10).is_err());
        assert!(read(&fifo, 10).is_err());
        assert!(read(&file, 4).is_err());
        assert!(look(&directory.path().join("none")).unwrap().is_none());
    }
}
