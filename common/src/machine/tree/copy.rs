//! Copying: contents with their holes, and whole trees with everything `cp -a` keeps.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

use super::{Attributes, Dir, Kind, Meta};
use crate::contract::digest::Hasher;
use crate::contract::error::{Error, Result};
use crate::contract::progress;
use crate::machine::{files, signals};

/// Large enough that system calls do not count, small enough for many threads.
const BUFFER: u64 = 256 * 1024;

/// How many bytes of holes a process copies of what is somebody else's, in all files: minutes of hashing.
const MOST_HOLES: u64 = 128 << 30;

/// How many holes a copy may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holes {
    /// Of files of somebody else, who may make them without end: 128 GiB in all files that a process copies.
    Few,
    /// Of files whose sizes are known and wanted.
    Any,
}

/// Smaller files are not worth the questions.
const SHARED_FROM: u64 = 64 * 1024;

/// What a copy of a tree did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copied {
    /// Regular files copied, further names of one file not counted.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Fifos, sockets and devices, which are not copied.
    pub skipped: Vec<PathBuf>,
    /// Extended attributes that could not be set, as `PATH: NAME`.
    pub attributes_left: Vec<String>,
}

/// Copies what `from` holds at this moment to the empty file `to`, holes as holes, and hashes it on the way: the digest
/// is that of the bytes written. Returns their number, which is less than the size at the start when the file shrinks.
/// Ends with an error on a signal, and where there are more holes than `holes` allows.
pub fn contents(mut from: &File, mut to: &File, hasher: &mut Hasher, holes: Holes) -> io::Result<u64> {
    let data = from.metadata()?;
    let size = data.len();
    let length = usize::try_from(size.clamp(1, BUFFER)).unwrap_or(1);
    let mut buffer = vec![0; length];
    let has_holes = data.blocks() * 512 < size;
    if size >= SHARED_FROM && shares_blocks(from, to)? {
        if has_holes && holes == Holes::Few {
            pass_holes_of(from, size)?;
        }
        return shared(from, to, size, &mut buffer, hasher);
    }
    if !has_holes {
        return range(from, to, size, &mut buffer, hasher);
    }
    let mut at = 0;
    while at < size {
        let start = seek(from, at, Whence::SeekData)?.unwrap_or(size).min(size);
        if holes == Holes::Few {
            pass_hole(start - at)?;
        }
        zeros(start - at, hasher)?;
        if start == size {
            at = size;
            break;
        }
        let end = seek(from, start, Whence::SeekHole)?.unwrap_or(size).min(size);
        from.seek(SeekFrom::Start(start))?;
        to.seek(SeekFrom::Start(start))?;
        let copied = range(from, to, end - start, &mut buffer, hasher)?;
        at = start + copied;
        if copied < end - start {
            break;
        }
    }
    to.set_len(at)?;
    to.flush()?;
    Ok(at)
}

/// Whether both are on one file system on which a copy can share the blocks of its original.
fn shares_blocks(from: &File, to: &File) -> io::Result<bool> {
    if from.metadata()?.dev() != to.metadata()?.dev() {
        return Ok(false);
    }
    let kind = nix::sys::statfs::fstatfs(to)?.filesystem_type();
    Ok(kind == nix::sys::statfs::BTRFS_SUPER_MAGIC || kind == nix::sys::statfs::XFS_SUPER_MAGIC)
}

/// Lets the copy share the blocks (`copy_file_range`, which the standard library uses for files, does so where it can),
/// and hashes what the copy holds.
fn shared(mut from: &File, mut to: &File, size: u64, buffer: &mut [u8], hasher: &mut Hasher) -> io::Result<u64> {
    from.rewind()?;
    let copied = io::copy(&mut from.take(size), &mut to)?;
    to.rewind()?;
    let mut left = copied;
    while left > 0 {
        signals::check_io()?;
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        match to.read(&mut buffer[..most]) {
            Ok(0) => break,
            Ok(count) => {
                hasher.update(&buffer[..count]);
                left -= count as u64;
                progress::passed(count as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(copied - left)
}

fn range(mut from: &File, mut to: &File, length: u64, buffer: &mut [u8], hasher: &mut Hasher) -> io::Result<u64> {
    let mut left = length;
    while left > 0 {
        signals::check_io()?;
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        match from.read(&mut buffer[..most]) {
            Ok(0) => break,
            Ok(count) => {
                hasher.update(&buffer[..count]);
                to.write_all(&buffer[..count])?;
                left -= count as u64;
                progress::passed(count as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length - left)
}

/// `None` when there is nothing of that kind up to the end.
fn seek(file: &File, at: u64, whence: Whence) -> io::Result<Option<u64>> {
    match lseek(file, i64::try_from(at).unwrap_or(i64::MAX), whence) {
        Ok(found) => Ok(u64::try_from(found).ok()),
        Err(Errno::ENXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Takes note of all holes of a file, where its contents are not copied one piece after the other.
fn pass_holes_of(file: &File, size: u64) -> io::Result<()> {
    let mut at = 0;
    while at < size {
        signals::check_io()?;
        let start = seek(file, at, Whence::SeekData)?.unwrap_or(size).min(size);
        pass_hole(start - at)?;
        at = if start < size { seek(file, start, Whence::SeekHole)?.unwrap_or(size) } else { size };
    }
    Ok(())
}

/// Takes note of a hole. It costs whoever makes it nothing, and hashing it takes time.
fn pass_hole(bytes: u64) -> io::Result<()> {
    static PASSED: AtomicU64 = AtomicU64::new(0);
    if PASSED.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= MOST_HOLES {
        return Ok(());
    }
    let most = MOST_HOLES >> 30;
    Err(io::Error::other(format!(
        "with it, what is copied has more than {most} GiB of holes: nothing that a server stores has; it can be left out"
    )))
}

fn zeros(mut count: u64, hasher: &mut Hasher) -> io::Result<()> {
    const ZEROS: [u8; 8192] = [0; 8192];
    while count > 0 {
        signals::check_io()?;
        let some = usize::try_from(count).unwrap_or(ZEROS.len()).min(ZEROS.len());
        hasher.update(&ZEROS[..some]);
        count -= some as u64;
        progress::passed(some as u64);
    }
    Ok(())
}

/// Copies a tree (or a single file or link) to the new name `to`: modes, owners (as root), times, extended attributes,
/// symlinks as symlinks, hard links among themselves, holes. Nothing is synced.
pub fn copy(from: &Path, to: &Path) -> Result<Copied> {
    let mut copying = Copying { copied: Copied::default(), linked: HashMap::new(), top: to.into() };
    let (source, name) = (Dir::open_following(files::parent(from)?)?, name_of(from)?);
    let (target, new_name) = (Dir::open_following(files::parent(to)?)?, name_of(to)?);
    let meta = source.look(name)?.ok_or_else(|| Error::io("copy", from, "there is nothing"))?;
    copying.entry(&source, name, &meta, &target, new_name, 0)?;
    Ok(copying.copied)
}

fn name_of(path: &Path) -> Result<&OsStr> {
    path.file_name().ok_or_else(|| Error::io("copy", path, "it has no name"))
}

struct Copying {
    copied: Copied,
    /// Where the first name of a file with several was copied to.
    linked: HashMap<(u64, u64), PathBuf>,
    top: PathBuf,
}

impl Copying {
    fn entry(
        &mut self,
        source: &Dir,
        name: &OsStr,
        meta: &Meta,
        target: &Dir,
        new_name: &OsStr,
        depth: usize,
    ) -> Result<()> {
        let (shown, to_shown) = (source.path().join(name), target.path().join(new_name));
        let left = match meta.kind {
            Kind::Special => {
                self.copied.skipped.push(shown);
                return Ok(());
            }
            Kind::Symlink => {
                target.create_symlink(new_name, &source.link_target(name)?)?;
                Attributes::of_symlink(source, name, meta)?.apply_to_symlink(target, new_name)?
            }
            Kind::Directory => {
                let Some(dir) = source.child(name)? else { return Ok(()) };
                dir.refuse_deeper_than(depth)?;
                let made = target.create_directory(new_name)?;
                for name in dir.names()? {
                    if let Some(meta) = dir.look(&name)? {
                        self.entry(&dir, &name, &meta, &made, &name, depth + 1)?;
                    }
                }
                // Last, because filling the directory changes its times.
                Attributes::of_file(dir.file(), &dir.meta()?, &shown)?.apply(made.file(), &to_shown)?
            }
            Kind::File => {
                if meta.names > 1
                    && let Some(first) = self.linked.get(&(meta.dev, meta.ino))
                    && self.link(target, new_name, &first.clone())?
                {
                    return Ok(());
                }
                let Some(file) = source.open_file(name)? else { return Ok(()) };
                let attributes = Attributes::of_file(&file, meta, &shown)?;
                let made = target.create_file(new_name)?;
                let bytes = contents(&file, &made, &mut Hasher::default(), Holes::Any).map_err(|error| {
                    Error::io("copy", &shown, error).because(format!("to `{}`", to_shown.display()))
                })?;
                if meta.names > 1 {
                    self.linked.insert((meta.dev, meta.ino), to_shown.clone());
                }
                self.copied.files += 1;
                self.copied.bytes += bytes;
                attributes.apply(&made, &to_shown)?
            }
        };
        self.copied.attributes_left.extend(left.into_iter().map(|name| format!("{}: {name}", to_shown.display())));
        Ok(())
    }

    /// The first name is reached from the top of the copy, which is our own.
    fn link(&self, target: &Dir, new_name: &OsStr, first: &Path) -> Result<bool> {
        let Ok(below) = first.strip_prefix(&self.top) else { return Ok(false) };
        let parent = below.parent().unwrap_or(Path::new(""));
        match Dir::open(&self.top)?.descend(parent)? {
            Some(dir) => target.link(new_name, &dir, name_of(first)?),
            None => Ok(false),
        }
    }
}
