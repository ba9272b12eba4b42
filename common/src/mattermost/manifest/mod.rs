//! The release manifest (`mm.release/1`): every entry of a release with its digest, so that what a release owns is
//! known file by file.

mod archive;
mod cached;
mod compare;
mod extensions;
mod find;
mod names;
mod shipped;
mod stream;
#[cfg(test)]
mod tests;
mod unpack;

use std::path::Path;

use semver::Version;
use serde::{Deserialize, Serialize};

pub use archive::{Limits, Looked, look_through};
pub use compare::{Difference, OWNED, Proven};
pub use find::kept;
pub use shipped::Shipped;
pub use unpack::unpack;

use crate::contract::digest;
use crate::contract::error::{Context as _, Error, Result};
use crate::contract::version::Edition;
use crate::machine::files::{self, Access};
use crate::mattermost::carried::Carried;

/// The schema of a manifest.
pub const SCHEMA: &str = "mm.release/1";

/// Larger than any manifest: 100,000 entries of 300 bytes.
const MOST: u64 = 64 * 1024 * 1024;

/// What a release consists of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// `mm.release/1`.
    pub schema: String,
    /// The release.
    pub version: Version,
    /// Its edition.
    pub edition: Edition,
    /// Digest of the tarball.
    pub archive_sha256: String,
    /// Unpacked size in bytes.
    pub bytes: u64,
    /// Its entries, sorted by path.
    pub entries: Vec<Entry>,
    /// The schema migrations that its server program carries; absent in manifests of earlier versions of these tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migrations: Option<Carried>,
    /// The plugins that come with it; absent in manifests of earlier versions of these tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugins: Option<Vec<Shipped>>,
}

/// One entry of a release; the path is relative to the install root (the top directory of the archive is stripped).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Path relative to the install root.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits it has once unpacked: 0755 for directories and what the archive says is executable, 0600 for
    /// `config/config.json`, which holds secrets later, 0644 for every other file. Never what an archive asks for
    /// beyond that.
    pub mode: u32,
    /// Size of a file.
    #[serde(default)]
    pub bytes: u64,
    /// SHA-256 of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Target of a symlink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// The kinds of entry a release may have; anything else makes an archive hostile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symlink that stays inside the release.
    Symlink,
}

impl Manifest {
    /// Reads a manifest and checks that its paths are such as [`Manifest::of_archive`] lets through: they are used
    /// below an install root.
    ///
    /// # Errors
    /// Failed when it cannot be read; refused when it is not a manifest.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&files::read(path, MOST)?, path)
    }

    fn parse(text: &[u8], path: &Path) -> Result<Self> {
        let refused = || Error::refused(format!("`{}` is not a release manifest", path.display()));
        let manifest: Self = serde_json::from_slice(text).map_err(|error| refused().because(error))?;
        manifest.check().map_err(|reason| refused().because(reason))?;
        Ok(manifest)
    }

    /// Writes it, durably.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(self)
            .context(|| format!("cannot write the release manifest `{}`", path.display()))?;
        text.push(b'\n');
        files::write(path, &text, Access::PUBLIC)
    }

    /// The schema migrations of the release; none where they are not known.
    pub fn carried(&self) -> Option<&Carried> {
        self.migrations.as_ref().filter(|carried| carried.is_known())
    }

    /// The entry at a path relative to the install root.
    pub fn entry(&self, path: &str) -> Option<&Entry> {
        self.entries.binary_search_by(|entry| entry.path.as_str().cmp(path)).ok().map(|at| &self.entries[at])
    }

    /// Looks through a release archive once, streaming: gzip and tar sound, the digest as given, one top directory,
    /// nothing outside, no devices, the expected layout. Hostile or wrong archives are refused and named.
    ///
    /// # Errors
    /// Refused (exit 5) when the archive is not what it should be; failed when it cannot be read.
    pub fn of_archive(archive: &Path, version: &Version, edition: Edition, sha256: &str) -> Result<Self> {
        Self::of_archive_within(archive, version, edition, sha256, &Limits::default())
    }

    /// As [`Manifest::of_archive`], with limits of the caller's choice.
    pub fn of_archive_within(
        archive: &Path,
        version: &Version,
        edition: Edition,
        sha256: &str,
        limits: &Limits,
    ) -> Result<Self> {
        let refused = || format!("the release archive `{}` is refused", archive.display());
        let looked = look_through(files::open_nofollow(archive)?, version, limits).context(refused)?;
        if looked.sha256 != sha256 {
            return Err(Error::refused(refused())
                .because(format!("its SHA-256 is {}, not {sha256}", looked.sha256))
                .hint("fetch it again with mm-fetch"));
        }
        Ok(Self::of_looked(looked, version, edition))
    }

    /// The manifest of an archive that [`look_through`] found sound.
    pub fn of_looked(looked: Looked, version: &Version, edition: Edition) -> Self {
        Self {
            schema: SCHEMA.into(),
            version: version.clone(),
            edition,
            archive_sha256: looked.sha256,
            bytes: looked.bytes,
            entries: looked.entries,
            migrations: Some(looked.migrations),
            plugins: Some(looked.plugins),
        }
    }

    fn check(&self) -> Result<(), String> {
        if self.schema != SCHEMA {
            return Err(format!("its schema is `{}`, not `{SCHEMA}`", self.schema));
        }
        if !digest::is_sha256(&self.archive_sha256) {
            return Err("it names no SHA-256 of its archive".into());
        }
        if !self.entries.is_sorted_by(|one, next| one.path < next.path) {
            return Err("its entries are not sorted, or one is there twice".into());
        }
        for entry in &self.entries {
            names::check(&entry.path)?;
            let complete = match entry.kind {
                EntryKind::File => entry.sha256.as_deref().is_some_and(digest::is_sha256) && entry.target.is_none(),
                EntryKind::Directory => entry.sha256.is_none() && entry.target.is_none(),
                EntryKind::Symlink => entry.sha256.is_none() && entry.target.is_some(),
            };
            if !complete || entry.mode & !0o755 != 0 {
                return Err(format!("its entry `{}` is not as it should be", entry.path));
            }
        }
        self.migrations.as_ref().map_or(Ok(()), Carried::check)?;
        self.plugins.as_deref().map_or(Ok(()), shipped::check)?;
        names::check_links(&self.entries)
    }
}
