//! An install root beside the manifest of its release. Everything in it belongs to the service user, so nothing is
//! followed.

use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::path::Path;

use super::{Entry, EntryKind, Manifest};
use crate::contract::digest;
use crate::contract::error::{Error, Result};
use crate::machine::files;
use crate::machine::tree::{self, Dir, Go, Kind};

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
}

/// What became of an entry of the release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Whole,
    Missing,
    Altered,
}

impl Manifest {
    /// Compares an install root with this release. Files for which `hashed` says no are compared by their size alone.
    ///
    /// What the server rewrites when it starts, and what is not the release's any more once it is installed
    /// (`config/`, `logs/`), is left out.
    pub fn compare(&self, root: &Path, hashed: fn(&str) -> bool) -> Result<Difference> {
        let entries: Vec<&Entry> = self.entries.iter().filter(|entry| !is_rewritten(&entry.path)).collect();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let states: Vec<Result<Vec<State>>> = std::thread::scope(|scope| {
            let workers: Vec<_> = entries
                .chunks(entries.len().div_ceil(threads).max(1))
                .map(|part| scope.spawn(move || states(root, part, hashed)))
                .collect();
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
        });
        let states = states.into_iter().collect::<Result<Vec<_>>>()?.concat();
        let of = |wanted: State| {
            let those = entries.iter().zip(&states).filter(move |(_, state)| **state == wanted);
            those.map(|(entry, _)| entry.path.clone())
        };
        Ok(Difference {
            whole: of(State::Whole).count() as u64,
            missing: of(State::Missing).collect(),
            altered: of(State::Altered).collect(),
            foreign: self.foreign(root)?,
        })
    }

    fn foreign(&self, root: &Path) -> Result<Vec<String>> {
        let known: BTreeSet<&Path> = self.entries.iter().map(|entry| Path::new(&entry.path)).collect();
        let mut found = Vec::new();
        for top in OWNED {
            let directory = root.join(top);
            if !files::look(&directory)?.is_some_and(|data| data.is_dir()) {
                continue;
            }
            tree::walk(&directory, &mut |met| {
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

/// Whether the server rewrites this file when it starts (observed on every version), or it is not the release's any
/// more once it is installed.
fn is_rewritten(path: &str) -> bool {
    let is_css = Path::new(path).extension().is_some_and(|extension| extension == "css");
    matches!(path, "client/root.html" | "client/manifest.json")
        || (path.starts_with("client/") && is_css)
        || path.starts_with("config/")
        || path.starts_with("logs/")
}

fn states(root: &Path, entries: &[&Entry], hashed: fn(&str) -> bool) -> Result<Vec<State>> {
    let root = Dir::open(root)?;
    entries.iter().map(|entry| state(&root, entry, hashed(&entry.path))).collect()
}

fn state(root: &Dir, entry: &Entry, hashed: bool) -> Result<State> {
    let path = Path::new(&entry.path);
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(State::Whole) };
    // A directory that has become a link or a file is missing as a directory.
    let Ok(Some(directory)) = root.descend(parent) else { return Ok(State::Missing) };
    let Some(meta) = directory.look(name)? else { return Ok(State::Missing) };
    let same = match (entry.kind, meta.kind) {
        (EntryKind::File, Kind::File) if meta.bytes == entry.bytes && !hashed => true,
        (EntryKind::File, Kind::File) if meta.bytes == entry.bytes => {
            let Some(mut file) = directory.open_file(name)? else { return Ok(State::Missing) };
            let digest =
                digest::of_reader(&mut file).map_err(|error| Error::io("read", root.path().join(path), error))?;
            entry.sha256.as_ref().is_none_or(|wanted| *wanted == digest)
        }
        (EntryKind::Directory, Kind::Directory) | (EntryKind::Symlink, Kind::Symlink) => true,
        _ => false,
    };
    Ok(if same { State::Whole } else { State::Altered })
}

#[cfg(test)]
mod tests {
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
        };
        assert_eq!(difference, expected, "the size of bin/mattermost is right");
        assert_eq!(manifest.compare(root, |_| true).unwrap().altered, ["bin/mattermost", "client/b.js"]);
    }
}
