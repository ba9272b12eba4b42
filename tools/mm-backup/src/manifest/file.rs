//! The manifest as a file, with its digest beside it: written as a whole, read entry by entry.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use mm_common::contract::digest::{Hasher, is_sha256};
use mm_common::contract::error::{Context as _, Error, Result};
use mm_common::machine::files;

use super::{Entry, Head, SCHEMA};
use crate::entries::Sorted;

/// The manifest's name in a restore point.
pub(crate) const NAME: &str = "manifest.json";
/// Its digest, as `sha256sum -c` reads it.
pub(crate) const DIGEST_NAME: &str = "manifest.json.sha256";
/// The line after which the entries stand.
const ENTRIES: &str = "\"entries\": [";

/// Writes a manifest and the file with its digest; returns the digest. Not synced: the whole point is, later.
pub(crate) fn write(directory: &Path, head: &Head, mut entries: Sorted) -> Result<String> {
    let path = directory.join(NAME);
    let failed = |error: std::io::Error| Error::io("write", &path, error);
    let mut file = std::io::BufWriter::with_capacity(256 * 1024, create(&path)?);
    let mut hasher = Hasher::default();
    let mut put = |bytes: &[u8]| {
        hasher.update(bytes);
        file.write_all(bytes)
    };
    let text = serde_json::to_string_pretty(head).context(|| format!("cannot write `{}`", path.display()))?;
    let open = text.trim_end().trim_end_matches('}').trim_end();
    put(format!("{open},\n  {ENTRIES}").as_bytes()).map_err(failed)?;
    let mut end = "\n";
    while let Some(entry) = entries.next()? {
        put(end.as_bytes()).map_err(failed)?;
        put(&serde_json::to_vec(&entry).context(|| format!("cannot write `{}`", path.display()))?).map_err(failed)?;
        end = ",\n";
    }
    put(b"\n  ]\n}\n").map_err(failed)?;
    file.flush().map_err(failed)?;
    let digest = hasher.finish();
    let path = directory.join(DIGEST_NAME);
    let mut file = create(&path)?;
    file.write_all(format!("{digest}  {NAME}\n").as_bytes()).map_err(|error| Error::io("write", &path, error))?;
    Ok(digest)
}

fn create(path: &Path) -> Result<std::fs::File> {
    std::fs::File::create_new(path).map_err(|error| Error::io("create", path, error))
}

/// A manifest being read: the head is there, the entries follow one by one.
pub(crate) struct Reader {
    /// Everything but the entries.
    pub head: Head,
    lines: std::io::BufReader<std::fs::File>,
    path: PathBuf,
    line: Vec<u8>,
    ended: bool,
    position: u64,
}

impl Reader {
    /// Opens the manifest of a restore point and reads its head.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        let path = directory.join(NAME);
        let mut lines = std::io::BufReader::with_capacity(256 * 1024, files::open_nofollow(&path)?);
        let mut head = String::new();
        let mut position = 0;
        loop {
            let start = head.len();
            let count = lines.read_line(&mut head).map_err(|error| Error::io("read", &path, error))?;
            if count == 0 {
                return Err(broken(&path, "it ends before its entries"));
            }
            position += count as u64;
            if head[start..].trim() == ENTRIES {
                head.truncate(start);
                break;
            }
        }
        let text = format!("{}}}", head.trim_end().trim_end_matches(','));
        let head: Head = serde_json::from_str(&text).map_err(|error| broken(&path, &error.to_string()))?;
        if head.schema != SCHEMA {
            return Err(broken(&path, &format!("its schema is `{}`, this tool reads `{SCHEMA}`", head.schema)));
        }
        Ok(Self { head, lines, path, line: Vec::new(), ended: false, position })
    }

    /// The next entry; `None` after the last.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>> {
        if self.ended {
            return Ok(None);
        }
        self.line.clear();
        let read =
            self.lines.read_until(b'\n', &mut self.line).map_err(|error| Error::io("read", &self.path, error))?;
        self.position += read as u64;
        let line = self.line.trim_ascii();
        if read == 0 {
            return Err(broken(&self.path, "it is truncated"));
        }
        if line == b"]" {
            self.ended = true;
            return Ok(None);
        }
        understand(line).map(Some).map_err(|error| broken(&self.path, &error.to_string()))
    }

    /// Where the next entry begins.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }
}

/// Of the files with several names, those under which they were stored: all that has to be held while others are read one
/// by one.
pub(crate) fn shared(directory: &Path) -> Result<HashSet<OsString>> {
    let mut reader = Reader::open(directory)?;
    let mut shared = HashSet::new();
    while let Some(entry) = reader.next()? {
        shared.extend(entry.same_as.map(|first| first.0));
    }
    Ok(shared)
}

/// The entry of a line.
pub(crate) fn understand(line: &[u8]) -> serde_json::Result<Entry> {
    let line = line.trim_ascii();
    serde_json::from_slice(line.strip_suffix(b",").unwrap_or(line))
}

fn broken(path: &Path, why: &str) -> Error {
    Error::failed(format!("cannot use the manifest `{}`", path.display()))
        .because(why)
        .hint("this restore point is damaged; use another one (mm-backup list)")
}

/// The digest that stands beside a manifest.
pub(crate) fn recorded_digest(directory: &Path) -> Result<String> {
    let path = directory.join(DIGEST_NAME);
    let text = files::read_text(&path, 4096)?;
    match text.split_whitespace().next() {
        Some(digest) if is_sha256(digest) => Ok(digest.to_owned()),
        _ => Err(broken(&path, "it holds no digest")),
    }
}
