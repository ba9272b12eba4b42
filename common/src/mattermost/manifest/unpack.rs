//! Unpacking a release into a staging tree.

use std::fs::{DirBuilder, File, FileTimes, Permissions};
use std::io::{Read, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, fchown};
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{Gid, Uid, fchownat, symlinkat};

use super::archive::{unreadable, walk};
use super::{Entry, EntryKind, Limits, Manifest};
use crate::contract::digest::Hasher;
use crate::contract::error::{Context as _, Error, Result};
use crate::machine::files;

/// Unpacks a release archive below `into` (which is created, 0700 and this process's own, and must not exist). Every
/// entry is checked against `manifest` as it is written and gets the owner `uid:gid`, the mode of the manifest and the
/// time of the archive. Entries are made through directory descriptors; no link is ever followed.
///
/// Nothing is synced: the caller does that once for the whole tree ([`files::sync_file_system`]).
///
/// # Errors
/// Refused when the archive is not the one the manifest describes; failed when something could not be written. What
/// was unpacked by then stays, for the caller to remove.
pub fn unpack(archive: &Path, manifest: &Manifest, into: &Path, uid: u32, gid: u32) -> Result<()> {
    let attempt = || format!("cannot unpack `{}` into `{}`", archive.display(), into.display());
    DirBuilder::new().mode(0o700).create(into).map_err(|error| Error::io("create the directory", into, error))?;
    let mut tree = Tree { root: files::open_directory(into)?, last: None, uid, gid };
    let mut count = 0;
    let mut directories = Vec::new();
    let reader = files::open_nofollow(archive)?;
    let limits = Limits { entries: manifest.entries.len() as u64, file_bytes: manifest.bytes, bytes: manifest.bytes };
    let sha256 = walk(reader, &limits, |member| {
        let Some(expected) = manifest.entry(&member.entry.path) else { return Err(differs(&member.entry.path)) };
        if (Entry { sha256: expected.sha256.clone(), ..member.entry.clone() }) != *expected {
            return Err(differs(&expected.path));
        }
        count += 1;
        if expected.kind == EntryKind::Directory {
            directories.push((expected, member.mtime));
        }
        tree.make(expected, member.mtime, member.data).context(|| format!("cannot unpack `{}`", expected.path))
    })
    .context(attempt)?;
    if count != manifest.entries.len() || sha256 != manifest.archive_sha256 {
        return Err(differs(&archive.to_string_lossy()).within(attempt()));
    }
    // Last, and children before parents: making entries changes the time of the directory they are in.
    for (directory, mtime) in directories.iter().rev() {
        tree.finish_directory(directory, *mtime)
            .context(|| format!("cannot set owner, mode and time of `{}`", directory.path))
            .context(attempt)?;
    }
    Ok(())
}

fn differs(what: &str) -> Error {
    Error::refused(format!("`{what}` is not as the release manifest says"))
        .hint("fetch the release again with mm-fetch; it renews archive and manifest")
}

/// The staging tree.
struct Tree {
    root: File,
    /// The directory used last: archives keep entries of one directory together.
    last: Option<(String, OwnedFd)>,
    uid: u32,
    gid: u32,
}

impl Tree {
    fn make(&mut self, entry: &Entry, mtime: Option<u64>, data: &mut dyn Read) -> Result<()> {
        let (parent, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
        let (uid, gid) = (self.uid, self.gid);
        let directory = self.directory(parent)?;
        match entry.kind {
            EntryKind::Directory => mkdirat(directory, name, Mode::S_IRWXU).map_err(failed),
            EntryKind::Symlink => {
                symlinkat(entry.target.as_deref().unwrap_or_default(), directory, name).map_err(failed)?;
                let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
                fchownat(directory, name, owner.0, owner.1, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(failed)
            }
            EntryKind::File => {
                let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let mut file = File::from(openat(directory, name, flags, Mode::S_IRUSR).map_err(failed)?);
                write(&mut file, entry, data)?;
                settle(&file, entry, mtime, uid, gid)
            }
        }
    }

    /// Opens a directory of the tree, part by part, so that no part can be a link.
    fn directory(&mut self, path: &str) -> Result<&OwnedFd> {
        if self.last.as_ref().is_none_or(|(last, _)| last != path) {
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let mut directory = openat(&self.root, ".", flags, Mode::empty()).map_err(failed)?;
            for part in path.split('/').filter(|part| !part.is_empty()) {
                directory = openat(&directory, part, flags, Mode::empty()).map_err(failed)?;
            }
            self.last = Some((path.to_owned(), directory));
        }
        match &self.last {
            Some((_, directory)) => Ok(directory),
            None => Err(Error::failed(format!("cannot open the directory `{path}`"))),
        }
    }

    fn finish_directory(&mut self, entry: &Entry, mtime: Option<u64>) -> Result<()> {
        let (uid, gid) = (self.uid, self.gid);
        let directory = self.directory(&entry.path)?.try_clone().map_err(|error| io_failed(&error))?;
        settle(&File::from(directory), entry, mtime, uid, gid)
    }
}

fn write(file: &mut File, entry: &Entry, data: &mut dyn Read) -> Result<()> {
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let count = data.read(&mut buffer).map_err(unreadable)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        file.write_all(&buffer[..count]).map_err(|error| io_failed(&error))?;
    }
    if entry.sha256.as_deref() == Some(hasher.finish().as_str()) { Ok(()) } else { Err(differs(&entry.path)) }
}

/// Owner first: a change of owner clears bits of the mode.
fn settle(file: &File, entry: &Entry, mtime: Option<u64>, uid: u32, gid: u32) -> Result<()> {
    fchown(file, Some(uid), Some(gid)).map_err(|error| io_failed(&error))?;
    file.set_permissions(Permissions::from_mode(entry.mode)).map_err(|error| io_failed(&error))?;
    let time = mtime.and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
    match time {
        Some(time) => file.set_times(FileTimes::new().set_modified(time)).map_err(|error| io_failed(&error)),
        None => Ok(()),
    }
}

fn failed(error: nix::errno::Errno) -> Error {
    Error::failed(error.desc())
}

fn io_failed(error: &std::io::Error) -> Error {
    Error::failed(error.to_string())
}
