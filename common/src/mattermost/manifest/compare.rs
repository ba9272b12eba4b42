//! An install root beside the manifest of its release. Everything in it belongs to the service user, so nothing is
//! followed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Entry, EntryKind, Manifest};
use crate::contract::digest;
use crate::contract::error::{Error, Result};
use crate::machine::budget::Budget;
use crate::machine::signals::Heeding;
use crate::machine::tree::{self, Dir, Go, Kind, Meta};
use crate::machine::{files, threads};

/// Directories of a release in which nothing else belongs (`client/plugins` excepted).
pub const OWNED: [&str; 6] = ["bin", "client", "fonts", "i18n", "prepackaged_plugins", "templates"];

/// How an install root differs from its release. Paths are relative to the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Number of entries that are as they were released.
    pub whole: u64,
    /// Entries of the release that are not there, or not as what they were.
    pub missing: Vec<String>,
    /// Files with other contents.
    pub altered: Vec<String>,
    /// Files in the release's own directories that are not the release's.
    pub foreign: Vec<String>,
    /// Entries of the release that not everybody may read; whether the server's user may, the kernel has to be asked.
    pub closed: Vec<String>,
}

/// What a file looked like when it was hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    bytes: u64,
    mode: u32,
    seconds: i64,
    nanoseconds: u32,
}

impl Stamp {
    fn of(meta: &Meta) -> Self {
        let (seconds, nanoseconds) = (meta.mtime.seconds, meta.mtime.nanoseconds);
        Self { bytes: meta.bytes, mode: meta.mode, seconds, nanoseconds }
    }
}

/// The files of a release that were hashed and found as released, with their size, mode and time of that moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proven {
    /// Digest of the release's tarball.
    archive_sha256: String,
    files: BTreeMap<String, Stamp>,
}

impl Proven {
    /// How many of these files `earlier` does not hold as they are: those that were hashed since.
    pub fn new_since(&self, earlier: &Self) -> usize {
        self.files.iter().filter(|(path, stamp)| earlier.files.get(*path) != Some(*stamp)).count()
    }
}

/// Whether a file's contents are to be looked at.
type Hash<'a> = dyn Fn(&str, &Stamp) -> bool + Sync + 'a;

/// What became of an entry of the release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Whole,
    Missing,
    Altered,
}

/// What was seen of an entry.
#[derive(Debug, Clone, Copy)]
struct Seen {
    state: State,
    /// What it looks like, where it is a file that is whole or altered.
    stamp: Option<Stamp>,
    is_closed: bool,
}

impl Seen {
    const fn only(state: State) -> Self {
        Self { state, stamp: None, is_closed: false }
    }
}

impl Manifest {
    /// Compares an install root with this release. Files for which `hashed` says no are compared by their size alone.
    ///
    /// What the server rewrites when it starts, and what is not the release's any more once it is installed
    /// (`config/`, `logs/`), is left out.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn compare(&self, root: &Path, hashed: fn(&str) -> bool) -> Result<Difference> {
        self.compare_by(root, &|path, _| hashed(path)).map(|(difference, _)| difference)
    }

    /// The same without hashing again what was `proven` of this release and has size, mode and time of that moment. What
    /// is proven now is returned too.
    ///
    /// # Errors
    /// As [`Manifest::compare`].
    pub fn compare_since(&self, root: &Path, proven: &Proven) -> Result<(Difference, Proven)> {
        let is_same = proven.archive_sha256 == self.archive_sha256;
        self.compare_by(root, &|path, stamp| !is_same || proven.files.get(path) != Some(stamp))
    }

    fn compare_by(&self, root: &Path, hash: &Hash<'_>) -> Result<(Difference, Proven)> {
        let entries: Vec<&Entry> = self.entries.iter().filter(|entry| !is_rewritten(&entry.path)).collect();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let parts: Vec<_> = entries.chunks(entries.len().div_ceil(threads).max(1)).collect();
        let seen: Vec<Result<Vec<Seen>>> = threads::each(threads, &parts, |part| look(root, part, hash));
        let seen = seen.into_iter().collect::<Result<Vec<_>>>()?.concat();
        let paths = |is_one: &dyn Fn(&Seen) -> bool| -> Vec<String> {
            let those = entries.iter().zip(&seen).filter(|(_, seen)| is_one(seen));
            those.map(|(entry, _)| entry.path.clone()).collect()
        };
        let difference = Difference {
            whole: seen.iter().filter(|seen| seen.state == State::Whole).count() as u64,
            missing: paths(&|seen| seen.state == State::Missing),
            altered: paths(&|seen| seen.state == State::Altered),
            foreign: self.foreign(root)?,
            closed: paths(&|seen| seen.is_closed),
        };
        let whole = entries.iter().zip(&seen).filter(|(_, seen)| seen.state == State::Whole);
        let files = whole.filter_map(|(entry, seen)| Some((entry.path.clone(), seen.stamp?))).collect();
        Ok((difference, Proven { archive_sha256: self.archive_sha256.clone(), files }))
    }

    fn foreign(&self, root: &Path) -> Result<Vec<String>> {
        let known: BTreeSet<&Path> = self.entries.iter().map(|entry| Path::new(&entry.path)).collect();
        let mut found = Vec::new();
        let budget = Budget::new("entries of the release's directories", MOST_ENTRIES, u64::MAX, LONGEST);
        for top in OWNED {
            let directory = root.join(top);
            if !files::look(&directory)?.is_some_and(|data| data.is_dir()) {
                continue;
            }
            tree::walk(&directory, &mut |met| {
                budget.spend(0)?;
                let path = Path::new(top).join(met.path);
                if path == Path::new("client/plugins") {
                    return Ok(Go::Past);
                }
                if met.meta.kind != Kind::Directory && !known.contains(path.as_path()) {
                    found.push(path.display().to_string());
                }
                Ok(Go::In)
            })?;
        }
        Ok(found)
    }
}

/// A release has less than 20,000 entries.
const MOST_ENTRIES: u64 = 1_000_000;
const LONGEST: Duration = Duration::from_secs(300);

/// Whether the server rewrites this file when it starts (observed on every version), or it is not the release's any
/// more once it is installed.
fn is_rewritten(path: &str) -> bool {
    let is_css = Path::new(path).extension().is_some_and(|extension| extension == "css");
    matches!(path, "client/root.html" | "client/manifest.json")
        || (path.starts_with("client/") && is_css)
        || path.starts_with("config/")
        || path.starts_with("logs/")
}

fn look(root: &Path, entries: &[&Entry], hash: &Hash<'_>) -> Result<Vec<Seen>> {
    let root = Dir::open(root)?;
    entries.iter().map(|entry| look_at(&root, entry, hash)).collect()
}

fn look_at(root: &Dir, entry: &Entry, hash: &Hash<'_>) -> Result<Seen> {
    let path = Path::new(&entry.path);
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(Seen::only(State::Whole)) };
    // A directory that has become a link or a file is missing as a directory.
    let Ok(Some(directory)) = root.descend(parent) else { return Ok(Seen::only(State::Missing)) };
    let Some(meta) = directory.look(name)? else { return Ok(Seen::only(State::Missing)) };
    let stamp = Stamp::of(&meta);
    let same = match (entry.kind, meta.kind) {
        (EntryKind::File, Kind::File) if meta.bytes != entry.bytes => false,
        (EntryKind::File, Kind::File) if hash(&entry.path, &stamp) => {
            let Some(file) = directory.open_file(name)? else { return Ok(Seen::only(State::Missing)) };
            let digest = digest::of_reader(&mut Heeding(file))
                .map_err(|error| Error::io("read", root.path().join(path), error))?;
            entry.sha256.as_ref().is_none_or(|wanted| *wanted == digest)
        }
        (EntryKind::File, Kind::File)
        | (EntryKind::Directory, Kind::Directory)
        | (EntryKind::Symlink, Kind::Symlink) => true,
        _ => false,
    };
    let for_everybody = match meta.kind {
        Kind::Directory => 0o005,
        Kind::File => 0o004,
        _ => 0,
    };
    Ok(Seen {
        state: if same { State::Whole } else { State::Altered },
        stamp: (entry.kind == EntryKind::File).then_some(stamp),
        is_closed: meta.mode & for_everybody != for_everybody,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use semver::Version;

    use super::*;
    use crate::contract::version::Edition;

    fn entry(path: &str, contents: Option<&str>) -> Entry {
        Entry {
            path: path.into(),
            kind: if contents.is_some() { EntryKind::File } else { EntryKind::Directory },
            mode: 0o755,
            bytes: contents.map_or(0, |text| text.len() as u64),
            sha256: contents.map(|text| digest::of_bytes(text.as_bytes())),
            target: None,
        }
    }

    #[test]
    fn tells_missing_altered_and_foreign_files_apart() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path();
        for (path, text) in [
            ("bin/mattermost", "patched server"),
            ("client/a.js", "as released"),
            ("client/b.js", "as PATCHED!"),
            ("client/main.css", "rewritten by the server"),
            ("client/own.js", "own"),
            ("client/plugins/p/x.js", "a plugin's"),
        ] {
            std::fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            std::io::Write::write_all(&mut std::fs::File::create(root.join(path)).unwrap(), text.as_bytes()).unwrap();
        }
        let manifest = Manifest {
            schema: super::super::SCHEMA.into(),
            version: Version::new(10, 6, 1),
            edition: Edition::Team,
            archive_sha256: digest::of_bytes(b""),
            bytes: 0,
            migrations: None,
            plugins: None,
            entries: vec![
                entry("bin/mattermost", Some("genuine server")),
                entry("client", None),
                entry("client/a.js", Some("as released")),
                entry("client/b.js", Some("as released")),
                entry("client/main.css", Some("released")),
                entry("templates/mail.html", Some("mail")),
            ],
        };
        let difference = manifest.compare(root, |path| !path.starts_with("bin/")).unwrap();
        let expected = Difference {
            whole: 3,
            missing: vec!["templates/mail.html".into()],
            altered: vec!["client/b.js".into()],
            foreign: vec!["client/own.js".into()],
            closed: vec![],
        };
        assert_eq!(difference, expected, "the size of bin/mattermost is right");
        let close = |path: &str, mode: u32| {
            std::fs::set_permissions(root.join(path), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        close("client/a.js", 0o640);
        close("client", 0o754);
        assert_eq!(manifest.compare(root, |_| false).unwrap().closed, ["client", "client/a.js"]);
        close("client/a.js", 0o644);
        assert_eq!(manifest.compare(root, |_| true).unwrap().altered, ["bin/mattermost", "client/b.js"]);

        // What was proven is not read again until its size, mode or time is another one.
        let (difference, proven) = manifest.compare_since(root, &Proven::default()).unwrap();
        assert_eq!((difference.altered.len(), proven.new_since(&Proven::default())), (2, 1));
        let path = root.join("client/a.js");
        let times = std::fs::FileTimes::new().set_modified(std::fs::metadata(&path).unwrap().modified().unwrap());
        let write = |text: &str| {
            let mut file = std::fs::File::create(&path).unwrap();
            std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
            file
        };
        write("as RELEASED").set_times(times).unwrap();
        let (difference, again) = manifest.compare_since(root, &proven).unwrap();
        assert_eq!((difference.altered.len(), again.new_since(&proven)), (2, 0));
        let touched = std::fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
        write("as RELEASED").set_times(touched).unwrap();
        assert_eq!(manifest.compare_since(root, &proven).unwrap().0.altered.len(), 3);
    }

    #[test]
    fn what_the_server_rewrites_is_not_compared() {
        let rewritten =
            ["client/root.html", "client/manifest.json", "client/a/b.css", "config/config.json", "logs/mattermost.log"];
        let others =
            ["bin/mattermost", "templates/a.css", "client/main.js", "configuration", "root.html", "i18n/config/x"];
        assert_eq!((rewritten.map(is_rewritten), others.map(is_rewritten)), ([true; 5], [false; 6]));
    }
}
