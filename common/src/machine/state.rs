//! What the tools remember about an installation between runs: `/var/lib/mm-tools/NAME-HASH/`, root's own, 0700.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::lock::{self, LockGuard};
use super::{disk, files, mounts};
use crate::contract::digest;
use crate::contract::error::Result;

/// Where state directories are unless `--state-dir` says otherwise.
pub const BASE: &str = "/var/lib/mm-tools";

/// Where fetched releases are kept unless `--cache` says otherwise: `CACHE/SHA256/` holds a tarball and [`MANIFEST`].
pub const CACHE: &str = "/var/cache/mm-tools";

/// Name of the catalogue that lies over the built-in one, in the directory of the state directories.
pub const CATALOGUE: &str = "catalogue.json";

/// Where the refreshed catalogue is. A build for tests never looks at the machine's own.
pub fn catalogue(base: Option<&Path>) -> Option<PathBuf> {
    let base = if cfg!(feature = "checkpoints") { base } else { base.or(Some(Path::new(BASE))) };
    base.map(|base| base.join(CATALOGUE))
}

/// Name of the release manifest beside a tarball in the cache.
pub const MANIFEST: &str = "release.json";

/// Where restore points are kept unless the command line says otherwise.
pub const STORE: &str = "/var/backups/mattermost";

/// How the directories in a work area begin in which `mm-backup restore` keeps what was there before; the others are of
/// mm-swap.
pub const KEPT_BY_RESTORE: &str = "restore-";

/// Where releases are staged and retired: beside the install root, on its file system, or inside it when the root is
/// itself a mount point. The first that applies is used; a search looks in both.
pub fn work_areas(install: &Path) -> [PathBuf; 2] {
    let name = install.file_name().unwrap_or_default().to_string_lossy();
    let hidden = format!(".{name}.mm");
    [install.parent().unwrap_or(install).join(&hidden), install.join(hidden)]
}

/// The one of the work areas that is used.
pub fn work_area(install: &Path) -> Result<PathBuf> {
    let [beside, inside] = work_areas(install);
    let same = disk::device(files::parent(&beside)?)? == disk::device(install)?;
    let is_mounted = mounts::below(install)?.iter().any(|point| point == install);
    Ok(if same && !is_mounted { beside } else { inside })
}

/// The state directory of one installation.
#[derive(Debug, Clone)]
pub struct State {
    path: PathBuf,
}

impl State {
    /// The state directory of the installation at `install` (resolved), below `base`. Nothing is created.
    pub fn of(install: &Path, base: Option<&Path>) -> Self {
        let name = install.file_name().unwrap_or_default().to_string_lossy();
        let hash = digest::of_bytes(install.as_os_str().as_encoded_bytes());
        let base = base.unwrap_or(Path::new(BASE));
        Self { path: base.join(format!("{name}-{}", &hash[..12])) }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the lock of this installation, creating the directory if need be.
    ///
    /// # Errors
    /// Kind `locked` (exit 75) when another run holds it for longer than `wait`.
    pub fn lock(&self, wait: Duration) -> Result<LockGuard> {
        files::create_directory(&self.path, 0o700)?;
        LockGuard::take(&self.path.join(lock::NAME), wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_installations_of_one_name_do_not_share_state() {
        let one = State::of(Path::new("/opt/mattermost"), None);
        let two = State::of(Path::new("/srv/mattermost"), None);
        assert_ne!(one.path(), two.path());
        assert!(one.path().starts_with(BASE));
    }
}
