//! Where the list of a release's files is found after the upgrade to it: with the state of the tools, or in the cache of
//! mm-fetch.

use std::path::{Path, PathBuf};

use semver::Version;

use super::Manifest;
use crate::contract::digest;
use crate::contract::error::{Context as _, Result};
use crate::contract::version::Edition;
use crate::machine::files;
use crate::machine::state::{MANIFEST, State};
use crate::mattermost::catalogue::Arch;
use crate::mattermost::site::MANIFESTS;

/// Where the state directory keeps the manifest of a release that was installed.
pub fn kept(state: &State, version: &Version, edition: Edition) -> PathBuf {
    state.path().join(MANIFESTS).join(format!("{version}-{edition}.json"))
}

impl Manifest {
    /// The manifest of a release for this machine's processor: the one that an upgrade has kept, then one in `cache`.
    /// None where there is neither.
    ///
    /// # Errors
    /// When one that is there cannot be read.
    pub fn find(state: &State, cache: &Path, version: &Version, edition: Edition) -> Result<Option<Self>> {
        let kept = kept(state, version, edition);
        if files::look(&kept)?.is_some() {
            return Self::read(&kept).map(Some);
        }
        // The name of the tarball says which processor it is for; the manifest does not.
        let arch = Arch::of_host().unwrap_or(Arch::Amd64);
        let tarball = format!("-{version}-linux-{}.tar.gz", arch.name());
        for directory in entries(cache)? {
            let is_release = directory.file_name().and_then(|name| name.to_str()).is_some_and(digest::is_sha256);
            let path = directory.join(MANIFEST);
            if !is_release || files::look(&path)?.is_none() {
                continue;
            }
            let has_tarball = entries(&directory)?.iter().any(|path| path.to_string_lossy().ends_with(&tarball));
            if !has_tarball {
                continue;
            }
            let manifest = Self::read(&path)?;
            if manifest.version == *version && manifest.edition == edition {
                return Ok(Some(manifest));
            }
        }
        Ok(None)
    }
}

/// What is in a directory, by name; nothing where it is not there.
fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    if files::look(directory)?.is_none() {
        return Ok(Vec::new());
    }
    let list = std::fs::read_dir(directory).context(|| format!("cannot list `{}`", directory.display()))?;
    let mut paths: Vec<PathBuf> = list.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}
