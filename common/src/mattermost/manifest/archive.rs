//! Walking through a release archive. What is not known to be harmless is refused, never skipped: a release has plain
//! files, directories and perhaps symlinks below one top directory, and nothing else.
//!
//! The blocks are walked here and not by the tar crate, because its iterator reads names of any length into memory,
//! skips over oddities and ends at the first sign of an end.

use std::collections::HashMap;
use std::io::{self, Read};

use semver::Version;
use tar::{EntryType, Header};

use super::extensions::Extensions;
use super::shipped::{Collector, Shipped};
use super::stream::Inflated;
use super::{Entry, EntryKind, names};
use crate::contract::digest::Hasher;
use crate::contract::error::{Error, Result};
use crate::machine::signals;
use crate::mattermost::carried::{Carried, Scanner};

/// Size of a tar block.
const BLOCK: usize = 512;

/// Zeros after the end of the archive: GNU tar fills up to 10 KiB by default, and to any blocking factor asked for.
const MOST_PADDING: u64 = 1024 * 1024;

/// All names together, which are held in memory; releases have about 1 MB of them.
const MOST_NAMES: usize = 16 * 1024 * 1024;

/// The server program, which carries the migrations. They came with 6.4; up to 4.10 it was `bin/platform`.
const PROGRAM: &str = "bin/mattermost";

/// How much an archive may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries. Releases have about 10,000.
    pub entries: u64,
    /// Bytes of one file. The server binary has about 300 MB.
    pub file_bytes: u64,
    /// Bytes of all files. Releases have about 1.5 GB.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 100_000, file_bytes: 2 << 30, bytes: 8 << 30 }
    }
}

/// What an archive turned out to be.
#[derive(Debug, Clone)]
pub struct Looked {
    /// SHA-256 of the archive itself.
    pub sha256: String,
    /// Size of all its files.
    pub bytes: u64,
    /// Its entries, sorted by path.
    pub entries: Vec<Entry>,
    /// The schema migrations that its server program carries.
    pub migrations: Carried,
    /// The plugins that come with it, sorted by path.
    pub plugins: Vec<Shipped>,
}

/// One entry on the way through the archive; the contents of a file can be read from `data`.
pub(super) struct Member<'a> {
    /// The entry; a file's digest is not known yet.
    pub(super) entry: Entry,
    /// Modification time, seconds since 1970; absent for a directory that the archive does not mention itself.
    pub(super) mtime: Option<u64>,
    /// The contents of a file.
    pub(super) data: &'a mut dyn Read,
}

/// Looks through an archive once and learns what is in it.
///
/// # Errors
/// Refused when the archive is not a sound release of that version; failed when it cannot be read.
pub fn look_through(reader: impl Read + Send + 'static, version: &Version, limits: &Limits) -> Result<Looked> {
    let mut entries = Vec::new();
    let mut bytes = 0;
    let mut scanner = Scanner::default();
    let mut plugins = Collector::default();
    let mut buffer = vec![0; 128 * 1024];
    let sha256 = walk(reader, limits, |member| {
        let mut entry = member.entry;
        if entry.kind == EntryKind::File {
            let mut hasher = Hasher::default();
            if plugins.wants(&entry.path) {
                plugins.take(&entry.path, member.data, &mut hasher)?;
            }
            loop {
                match member.data.read(&mut buffer).map_err(unreadable)? {
                    0 => break,
                    count => {
                        hasher.update(&buffer[..count]);
                        if entry.path == PROGRAM {
                            scanner.take(&buffer[..count]);
                        }
                    }
                }
            }
            entry.sha256 = Some(hasher.finish());
            bytes += entry.bytes;
        }
        entries.push(entry);
        Ok(())
    })?;
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    names::check_links(&entries).map_err(Error::refused)?;
    check_layout(&entries, version).map_err(Error::refused)?;
    Ok(Looked { sha256, bytes, entries, migrations: scanner.finish(), plugins: plugins.finish() })
}

/// A release has its server program, its translations and its web client. Before 5.0 the program was `bin/platform`.
fn check_layout(entries: &[Entry], version: &Version) -> Result<(), String> {
    let find = |path: &str| entries.iter().find(|entry| entry.path == path);
    let programs: &[&str] = if version.major < 5 { &["bin/mattermost", "bin/platform"] } else { &["bin/mattermost"] };
    let Some(program) = programs.iter().find_map(|path| find(path)) else {
        return Err("it holds no `bin/mattermost`, so it is not a release of the server".into());
    };
    if program.kind != EntryKind::File || program.mode & 0o111 == 0 || program.bytes == 0 {
        return Err(format!("`{}` in it is not an executable file", program.path));
    }
    match ["client", "i18n"].iter().find(|path| find(path).is_none_or(|entry| entry.kind != EntryKind::Directory)) {
        Some(path) => Err(format!("it holds no directory `{path}`, so it is not a release of the server")),
        None => Ok(()),
    }
}

/// Walks through an archive; `visit` sees every entry once, directories before what is in them. Returns the digest of
/// the archive. What `visit` leaves unread is read over.
pub(super) fn walk(
    reader: impl Read + Send + 'static,
    limits: &Limits,
    mut visit: impl FnMut(Member<'_>) -> Result<()>,
) -> Result<String> {
    let mut tar = Inflated::new(reader)?;
    let mut seen = Seen { limits: *limits, top: None, kinds: HashMap::new(), name_bytes: 0, bytes: 0 };
    let mut extensions = Extensions::default();
    let mut block = [0; BLOCK];
    loop {
        signals::check()?;
        read_block(&mut tar, &mut block)?;
        if block.iter().all(|byte| *byte == 0) {
            break;
        }
        let header = Header::from_byte_slice(&block);
        check_sum(header, &block)?;
        let size = header.entry_size().map_err(unreadable)?;
        if extensions.take(header.entry_type(), size, &mut tar)? {
            continue;
        }
        let extended = std::mem::take(&mut extensions);
        let name = extended.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let target = extended.target.or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
        let found = Found { name: &name, target, size, mode: header.mode().map_err(unreadable)? };
        let Some(entry) = seen.judge(header.entry_type(), found).map_err(Error::refused)? else { continue };
        for path in seen.new_parents(&entry).map_err(Error::refused)? {
            let entry = directory(path);
            visit(Member { entry, mtime: None, data: &mut io::empty() })?;
        }
        if !seen.note(&entry).map_err(Error::refused)? {
            continue;
        }
        let mtime = header.mtime().ok();
        let mut data = Contents { tar: &mut tar, left: size };
        visit(Member { entry, mtime, data: &mut data })?;
        io::copy(&mut data, &mut io::sink()).map_err(unreadable)?;
        skip_padding(&mut tar, size)?;
    }
    if extensions != Extensions::default() {
        return Err(Error::refused("the tar archive ends after an extension header"));
    }
    check_end(&mut tar)?;
    Ok(tar.digest())
}

fn directory(path: String) -> Entry {
    Entry { path, kind: EntryKind::Directory, mode: 0o755, bytes: 0, sha256: None, target: None }
}

/// Damage of the archive is its fault (refused); anything else is a failure to read.
pub(super) fn unreadable(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
            Error::refused("the archive is damaged or is not a gzipped tar archive").because(error)
        }
        // The tar crate has no kind for numbers it cannot read.
        io::ErrorKind::Other => Error::refused("the archive has a broken header").because(error),
        _ => Error::failed("cannot read the archive").because(error),
    }
}

fn read_block(tar: &mut Inflated, block: &mut [u8; BLOCK]) -> Result<()> {
    tar.read_exact(block).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::refused("the tar archive is truncated"),
        _ => unreadable(error),
    })
}

fn check_sum(header: &Header, block: &[u8; BLOCK]) -> Result<()> {
    // The sum is made with its own field, bytes 148 to 155, taken as blanks.
    let field = 148..156;
    let sum: u32 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| if field.contains(&at) { u32::from(b' ') } else { u32::from(*byte) })
        .sum();
    if header.cksum().ok() == Some(sum) {
        return Ok(());
    }
    Err(Error::refused("the tar archive has a damaged header").because("its checksum is wrong"))
}

pub(super) fn skip_padding(tar: &mut Inflated, size: u64) -> Result<()> {
    let block = BLOCK as u64;
    let padding = (block - size % block) % block;
    let skipped = io::copy(&mut tar.take(padding), &mut io::sink()).map_err(unreadable)?;
    if skipped == padding { Ok(()) } else { Err(Error::refused("the tar archive is truncated")) }
}

/// The end is two blocks of zeros, and nothing but zeros after them.
fn check_end(tar: &mut Inflated) -> Result<()> {
    let mut block = [0; BLOCK];
    read_block(tar, &mut block)?;
    let mut rest = block.to_vec();
    let mut padding = 0;
    while !rest.is_empty() {
        if rest.iter().any(|byte| *byte != 0) {
            return Err(Error::refused("something follows after the end of the tar archive"));
        }
        rest.clear();
        padding += tar.take(BLOCK as u64).read_to_end(&mut rest).map_err(unreadable)? as u64;
        if padding > MOST_PADDING {
            return Err(Error::refused("the tar archive is followed by too many zeros"));
        }
    }
    Ok(())
}

/// The contents of one file; an archive that ends inside is an error.
pub(super) struct Contents<'a> {
    pub(super) tar: &'a mut Inflated,
    pub(super) left: u64,
}

impl Read for Contents<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.tar.read(&mut buffer[..most])?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends in the middle of a file"));
        }
        self.left -= count as u64;
        Ok(count)
    }
}

struct Found<'a> {
    name: &'a [u8],
    target: Option<Vec<u8>>,
    size: u64,
    mode: u32,
}

/// What of the archive has been seen.
struct Seen {
    limits: Limits,
    top: Option<String>,
    /// By path; true when the archive has the entry itself, false for a directory known only from what is in it.
    kinds: HashMap<String, (EntryKind, bool)>,
    name_bytes: usize,
    bytes: u64,
}

impl Seen {
    /// What a header announces, if it may stand in a release; `None` for the top directory itself.
    fn judge(&mut self, kind: EntryType, found: Found<'_>) -> Result<Option<Entry>, String> {
        let (top, path) = names::split(found.name)?;
        let shown = if path.is_empty() { top } else { path };
        let kind = match kind {
            EntryType::Regular if found.name.ends_with(b"/") => {
                return Err(format!("`{shown}` has the name of a directory and is none"));
            }
            EntryType::Regular => EntryKind::File,
            EntryType::Directory => EntryKind::Directory,
            EntryType::Symlink => EntryKind::Symlink,
            EntryType::Link => return Err(format!("`{shown}` is a hard link")),
            EntryType::Char | EntryType::Block => return Err(format!("`{shown}` is a device")),
            EntryType::Fifo => return Err(format!("`{shown}` is a fifo")),
            EntryType::GNUSparse => return Err(format!("`{shown}` is a sparse file")),
            other => {
                let byte = char::from(other.as_byte()).escape_debug().to_string();
                return Err(format!("`{shown}` is an entry of the unknown kind `{byte}`"));
            }
        };
        // On a directory they only pass the group on, as in a shared build directory; it does not get them here.
        if kind != EntryKind::Directory && found.mode & 0o6000 != 0 {
            return Err(format!("`{shown}` is set-uid or set-gid"));
        }
        if kind != EntryKind::File && found.size != 0 {
            return Err(format!("`{shown}` is not a file and has contents"));
        }
        if found.size > self.limits.file_bytes {
            return Err(format!("`{shown}` has {} bytes; the limit is {}", found.size, self.limits.file_bytes));
        }
        self.bytes = self.bytes.saturating_add(found.size);
        if self.bytes > self.limits.bytes {
            return Err(format!("its files have more than {} bytes", self.limits.bytes));
        }
        if top.is_empty() || path.is_empty() {
            if kind != EntryKind::Directory {
                return Err(format!("`{shown}` is not below a top directory"));
            }
            if top.is_empty() {
                return Ok(None);
            }
        }
        match &self.top {
            None => self.top = Some(top.to_owned()),
            Some(first) if first == top => {}
            Some(first) => return Err(format!("it has more than one top directory: `{first}` and `{top}`")),
        }
        if path.is_empty() {
            return Ok(None);
        }
        let target = match (kind, found.target) {
            (EntryKind::Symlink, Some(target)) => {
                Some(String::from_utf8(target).map_err(|_| format!("the target of the link `{path}` is not UTF-8"))?)
            }
            (EntryKind::Symlink, None) => return Err(format!("the link `{path}` has no target")),
            _ => None,
        };
        let mode = names::mode(path, kind, found.mode);
        Ok(Some(Entry { path: path.into(), kind, mode, bytes: found.size, sha256: None, target }))
    }

    /// The directories above an entry that have not been seen, outermost first.
    fn new_parents(&mut self, entry: &Entry) -> Result<Vec<String>, String> {
        let mut new = Vec::new();
        for (at, _) in entry.path.match_indices('/') {
            let parent = &entry.path[..at];
            match self.kinds.get(parent) {
                Some((EntryKind::Directory, _)) => {}
                Some((EntryKind::File, _)) => return Err(format!("`{parent}` is a file and also a directory")),
                Some((EntryKind::Symlink, _)) => return Err(format!("`{}` leads through a symlink", entry.path)),
                None => new.push(parent.to_owned()),
            }
        }
        for parent in &new {
            self.insert(parent, EntryKind::Directory, false)?;
        }
        Ok(new)
    }

    /// Notes an entry; false when it is a directory that is known already from what is in it.
    fn note(&mut self, entry: &Entry) -> Result<bool, String> {
        match self.insert(&entry.path, entry.kind, true)? {
            None => Ok(true),
            Some((EntryKind::Directory, false)) if entry.kind == EntryKind::Directory => Ok(false),
            Some(_) => Err(format!("`{}` is there twice", entry.path)),
        }
    }

    fn insert(&mut self, path: &str, kind: EntryKind, itself: bool) -> Result<Option<(EntryKind, bool)>, String> {
        self.name_bytes += path.len();
        if self.kinds.len() as u64 >= self.limits.entries && !self.kinds.contains_key(path) {
            return Err(format!("it has more than {} entries", self.limits.entries));
        }
        if self.name_bytes > MOST_NAMES {
            return Err(format!("the names in it have more than {MOST_NAMES} bytes"));
        }
        Ok(self.kinds.insert(path.to_owned(), (kind, itself)))
    }
}
