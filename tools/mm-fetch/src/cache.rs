//! The cache: `DIR/SHA256/NAME.tar.gz` with the release manifest beside it, `DIR/partial/` for what is on its way and
//! `DIR/refused/` for what came and was wrong. A tarball stands under its final name only when it is proven, synced
//! and has its manifest.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mm_common::contract::error::{Error, Kind, Result};
use mm_common::contract::{digest, ui};
use mm_common::machine::files::{self, Access};
use mm_common::machine::lock::LockGuard;
use mm_common::machine::state::MANIFEST;
use mm_common::machine::{checkpoint, disk, user};
use mm_common::mattermost::manifest::{Limits, Manifest};
use serde::{Deserialize, Serialize};

use crate::answer::Validator;
use crate::plan::{Found, Want};

/// A note about a part is a few hundred bytes.
const MOST_NOTE: u64 = 64 * 1024;

/// The cache of this run.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    root: PathBuf,
}

/// A proven tarball in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    /// The tarball.
    pub(crate) archive: PathBuf,
    /// Its digest.
    pub sha256: String,
    /// Its size.
    pub(crate) bytes: u64,
    /// The manifest beside it.
    pub(crate) manifest: PathBuf,
}

/// What is on its way, for one release.
#[derive(Debug, Clone)]
pub(crate) struct Partial {
    /// The bytes that came so far.
    pub(crate) path: PathBuf,
    note: PathBuf,
}

/// What is known about a part: which file of which server it is the beginning of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    /// Where it comes from.
    pub(crate) url: String,
    /// What tells whether it is still the same file there.
    #[serde(flatten)]
    pub(crate) validator: Validator,
    /// Size of the whole, if the server said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) total: Option<u64>,
}

impl Cache {
    /// The cache in a directory; nothing is created.
    ///
    /// # Errors
    /// Refused when somebody else could change what is in it between the proof and the use.
    pub(crate) fn at(root: &Path) -> Result<Self> {
        // The administrator's own path: that it is a link to a larger disk is usual.
        let root = match root.canonicalize() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => std::path::absolute(root),
            resolved => resolved,
        }
        .map_err(|error| Error::io("find", root, error))?;
        if let Some(data) = files::look(&root)? {
            let refused = |why: &str| {
                Error::refused(format!("the cache `{}` cannot be trusted", root.display()))
                    .because(why)
                    .hint("choose a directory of your own with --cache DIR, or make it yours: chown root, chmod go-w")
            };
            if !data.is_dir() {
                return Err(refused("it is not a directory"));
            }
            if data.uid() != 0 && !user::User::of_ids(data.uid(), data.gid()).is_current() {
                return Err(refused("it belongs to another user"));
            }
            if data.mode() & 0o022 != 0 {
                return Err(refused("others may write into it"));
            }
        }
        Ok(Self { root })
    }

    /// Its directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Makes its directories.
    pub(crate) fn create(&self) -> Result<()> {
        files::create_directory(&self.root.join("partial"), 0o755)
            .map_err(|error| error.hint("run it as root, or choose a directory of your own with --cache DIR"))
    }

    /// Keeps other processes from fetching the same release into this cache at the same time.
    ///
    /// # Errors
    /// Kind `locked` (exit 75) when one does so for longer than `patience`.
    pub(crate) fn lock(&self, want: &Want, patience: Duration) -> Result<LockGuard> {
        LockGuard::take(&self.root.join("locks").join(key(want)), patience)
    }

    /// What is there of a release, without looking into it.
    pub(crate) fn look(&self, want: &Want) -> Result<Found> {
        if let Some(held) = self.candidates(want)?.into_iter().next() {
            return Ok(Found::Whole(held.sha256));
        }
        match files::look(&self.partial(want).path)? {
            Some(data) if data.len() > 0 => Ok(Found::Part(data.len())),
            _ => Ok(Found::Nothing),
        }
    }

    /// The tarball of a release, hashed again, and its manifest, renewed when it is damaged or was written before
    /// manifests told the migrations. One that has changed is dropped with a warning.
    pub(crate) fn reuse(&self, want: &Want, limits: &Limits, _lock: &LockGuard) -> Result<Option<Held>> {
        for held in self.candidates(want)? {
            let wrong = |why: &str| {
                ui::warn(&format!("`{}` is dropped from the cache: {why}", held.archive.display()));
                files::remove_file(&held.archive)?;
                files::remove_file(&held.manifest)
            };
            if let Ok(manifest) = Manifest::read(&held.manifest)
                && (&manifest.archive_sha256, &manifest.version, manifest.edition)
                    == (&held.sha256, &want.version, want.edition)
                && manifest.migrations.is_some()
            {
                if files::sha256(&held.archive)? == held.sha256 {
                    // A run that was killed just after the last rename leaves its note behind.
                    self.partial(want).remove()?;
                    return Ok(Some(held));
                }
                wrong("its contents have changed")?;
                continue;
            }
            match Manifest::of_archive_within(&held.archive, &want.version, want.edition, &held.sha256, limits) {
                Ok(manifest) => {
                    manifest.write(&held.manifest)?;
                    return Ok(Some(held));
                }
                Err(error) if error.kind() == Kind::Refused => wrong(&error.one_line())?,
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Tarballs in the cache that could be the release: those with an accepted digest, or, when only a signature can
    /// tell, those of its name.
    fn candidates(&self, want: &Want) -> Result<Vec<Held>> {
        let digests = if want.accept.is_empty() { self.digests()? } else { want.accept.clone() };
        let mut found = Vec::new();
        for sha256 in digests {
            let directory = self.root.join(&sha256);
            let archive = directory.join(&want.file);
            if let Some(data) = files::look(&archive)?
                && data.is_file()
            {
                found.push(Held { archive, sha256, bytes: data.len(), manifest: directory.join(MANIFEST) });
            }
        }
        Ok(found)
    }

    fn digests(&self) -> Result<Vec<String>> {
        let entries = match std::fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("list", &self.root, error)),
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut digests: Vec<String> = names.filter(|name| digest::is_sha256(name)).collect();
        digests.sort();
        Ok(digests)
    }

    /// The place for what is on its way.
    pub(crate) fn partial(&self, want: &Want) -> Partial {
        let base = self.root.join("partial").join(key(want));
        Partial { path: beside(&base, ".partial"), note: beside(&base, ".json") }
    }

    /// Gives a proven tarball, which the caller has synced, its final name. Its manifest is there before.
    pub(crate) fn admit(&self, partial: &Partial, want: &Want, manifest: &Manifest, _lock: &LockGuard) -> Result<Held> {
        let sha256 = manifest.archive_sha256.clone();
        let directory = self.root.join(&sha256);
        let held = Held {
            archive: directory.join(&want.file),
            bytes: std::fs::metadata(&partial.path).map_err(|error| Error::io("look at", &partial.path, error))?.len(),
            sha256,
            manifest: directory.join(MANIFEST),
        };
        files::create_directory(&directory, 0o755)?;
        files::sync_directory(&self.root)?;
        manifest.write(&held.manifest)?;
        checkpoint::pass("fetch-manifest-written");
        files::rename(&partial.path, &held.archive)?;
        checkpoint::pass("fetch-archive-named");
        files::sync_directory(&directory)?;
        files::remove_file(&partial.note)?;
        Ok(held)
    }

    /// Keeps a wrong tarball aside, under a name that nobody takes for a release.
    pub(crate) fn refuse(&self, partial: &Partial, want: &Want, what: &str) -> Result<PathBuf> {
        let directory = self.root.join("refused");
        files::create_directory(&directory, 0o700)?;
        let place = directory.join(format!("{}.{what}.REFUSED", want.file));
        files::rename(&partial.path, &place)?;
        files::remove_file(&partial.note)?;
        Ok(place)
    }
}

impl Partial {
    /// What is known about the part.
    pub(crate) fn read_note(&self) -> Note {
        // A note that cannot be read costs a download from the start, nothing else.
        files::read(&self.note, MOST_NOTE).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// Remembers what is known about the part.
    pub(crate) fn write_note(&self, note: &Note) -> Result<()> {
        let text = serde_json::to_vec(note).map_err(|error| Error::io("write", &self.note, error))?;
        files::write(&self.note, &text, Access::PRIVATE)
    }

    /// The error for bytes that could not be written. When the disk is full, the part goes, so that others can go on.
    pub(crate) fn unwritable(&self, error: &io::Error, total: Option<u64>) -> Error {
        let failed = Error::io("write", &self.path, error);
        if !matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return failed;
        }
        // What cannot be removed or asked here changes nothing about the failure. Emptied first, because a file that
        // is still open keeps its space.
        let _ = OpenOptions::new().write(true).truncate(true).open(&self.path);
        let _ = self.remove();
        let free = disk::free(&self.path).unwrap_or(0);
        let failed = match total {
            Some(total) => failed.because(format!(
                "it needs {total} bytes, {free} are free, {} are missing",
                total.saturating_sub(free)
            )),
            None => failed.because(format!("{free} bytes are free, and the size of the file is not known")),
        };
        failed.hint("make room, or choose another place with --cache DIR; no half file was left")
    }

    /// Forgets it all.
    pub(crate) fn remove(&self) -> Result<()> {
        files::remove_file(&self.path)?;
        files::remove_file(&self.note)
    }
}

/// A path with something appended to its last part.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// What a release is called while it is on its way: by its name and by what will prove it, so that parts of two
/// different tarballs of one name are never joined.
fn key(want: &Want) -> String {
    let mut accept = want.accept.clone();
    accept.sort();
    format!("{}-{}", want.file, &digest::of_bytes(accept.join(",").as_bytes())[..12])
}
