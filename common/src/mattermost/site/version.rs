//! Which release is installed: by the digest of its executable in a release manifest, by the answer of the running
//! server, and only then by running the executable where it can do no harm.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use semver::Version;
use serde::{Deserialize, Serialize};
use xattr::FileExt as _;

use super::{Supposed, address, isolated};
use crate::contract::error::{Error, Result};
use crate::contract::version::{self, Edition};
use crate::contract::{digest, ui};
use crate::machine::files::{self, Access};
use crate::machine::service::Service;
use crate::machine::service::process::EXECUTABLES;
use crate::machine::signals::Heeding;
use crate::machine::tree::Dir;
use crate::machine::user::User;
use crate::mattermost::api::Server;
use crate::mattermost::config::Config;
use crate::mattermost::manifest::Manifest;

/// Directory of the state directory in which manifests of installed releases are kept.
pub const MANIFESTS: &str = "manifests";

/// Where the answer for this very executable is kept.
const CACHE: &str = "executable.json";

/// A running server answers such a call at once; a hanging one is not waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a version was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The digest of the executable stands in a release manifest.
    Manifest,
    /// The running server says so.
    Server,
    /// The executable was run, cut off from configuration, database and network.
    IsolatedRun,
    /// The executable does not say; a tool has noted that it had installed it.
    Supposed,
}

impl Source {
    /// As it stands in the document.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Server => "server",
            Self::IsolatedRun => "isolated-run",
            Self::Supposed => "supposed",
        }
    }
}

/// What is installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Found {
    pub(super) version: Version,
    pub(super) edition: Edition,
    pub(super) source: Source,
}

/// The executable as the file system knows it. The service user can write to it, but cannot set its change time back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Executable {
    device: u64,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

#[derive(Debug, Serialize, Deserialize)]
struct Cached {
    executable: Executable,
    found: Found,
}

pub(super) fn find(root: &Path, owner: &User, service: &Service, config: &Config) -> Result<Found> {
    let state = service.state.path();
    let (name, file) = open_executable(root)?;
    let failed = |error| Error::io("look at", root.join("bin").join(name), error);
    let data = file.metadata().map_err(failed)?;
    let executable = Executable {
        device: data.dev(),
        inode: data.ino(),
        bytes: data.len(),
        changed: (data.ctime(), data.ctime_nsec()),
    };
    if let Some(cached) = cached(state).filter(|cached| cached.executable == executable) {
        return Ok(cached.found);
    }
    isolated::refuse_huge(&root.join("bin").join(name), data.len())?;
    let has_capabilities = file.get_xattr("security.capability").is_ok_and(|value| value.is_some());
    let sha256 = digest::of_reader(&mut Heeding(file)).map_err(failed)?;
    let found = match by_manifest(&state.join(MANIFESTS), &format!("bin/{name}"), &sha256) {
        Some(found) => found,
        None => match by_server(root, service, config) {
            Some(found) => found,
            // One that is held may not be executed where it is, and one with capabilities not by who may never have them.
            None if data.mode() & 0o111 == 0 || has_capabilities => {
                isolated::run_copy(&root.join("bin").join(name), owner)?
            }
            None => isolated::run(&root.join("bin").join(name), owner)?,
        },
    };
    remember(state, &Cached { executable, found: found.clone() });
    Ok(found)
}

/// The release that is taken for installed when what is there does not say; the error of looking when none is.
pub(super) fn suppose(supposed: Option<&Supposed>, error: Error) -> Result<Found> {
    let Some(Supposed { version, edition }) = supposed.cloned() else { return Err(error) };
    ui::say(&format!("the installed server is taken for {version}: {}", error.one_line()));
    Ok(Found { version, edition, source: Source::Supposed })
}

fn open_executable(root: &Path) -> Result<(&'static str, std::fs::File)> {
    if let Some(bin) = Dir::open(root)?.child("bin".as_ref())? {
        for name in EXECUTABLES {
            if let Some(file) = bin.open_file(name.as_ref())? {
                return Ok((name, file));
            }
        }
    }
    Err(Error::refused(format!("there is no Mattermost server in `{}`", root.display())))
}

fn by_manifest(directory: &Path, path: &str, sha256: &str) -> Option<Found> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory).ok()?.flatten().map(|entry| entry.path()).collect();
    files.sort();
    files.iter().filter_map(|file| Manifest::read(file).ok()).find_map(|manifest| {
        let entry = manifest.entries.iter().find(|entry| entry.path == path)?;
        (entry.sha256.as_deref() == Some(sha256)).then(|| Found {
            version: manifest.version.clone(),
            edition: manifest.edition,
            source: Source::Manifest,
        })
    })
}

/// Only a server that executes the installed file and itself holds the port is asked: another one may have been
/// started, or this one replaced, since.
fn by_server(root: &Path, service: &Service, config: &Config) -> Option<Found> {
    let process = service.process().ok()??;
    let (listen, tls) = (address::listen(config), address::speaks_tls(config));
    if !process.executes_what_is_installed(root) || !process.listens_on(address::port(&listen, tls)?) {
        return None;
    }
    let url = format!("{}{}", address::local(&listen, tls), address::subpath(config));
    let answer = Server::with_limit(url, PATIENCE)
        .get("/api/v4/config/client?format=old", None)
        .ok()
        .filter(|answer| answer.status == 200)?;
    let text = |key: &str| answer.body.get(key).and_then(|value| value.as_str());
    let edition = if text("BuildEnterpriseReady")? == "true" { Edition::Enterprise } else { Edition::Team };
    let version = precise(version::parse(text("Version")?).ok()?, text("BuildNumber"));
    Some(Found { version, edition, source: Source::Server })
}

/// Releases of some lines name the line's first release as their version and the patch as build number; released
/// builds may carry any other number there.
pub fn precise(version: Version, build: Option<&str>) -> Version {
    let line = (version.major, version.minor);
    build
        .and_then(|build| version::parse(build).ok())
        .filter(|build| (build.major, build.minor) == line)
        .unwrap_or(version)
}

fn cached(state: &Path) -> Option<Cached> {
    serde_json::from_slice(&files::read(&state.join(CACHE), 64 * 1024).ok()?).ok()
}

/// Looking creates nothing: before a tool that changes something has made the state directory, and where this user may
/// not write, it is found out anew each time.
fn remember(state: &Path, cached: &Cached) {
    if let Ok(text) = serde_json::to_vec_pretty(cached)
        && state.is_dir()
    {
        let _ = files::write(&state.join(CACHE), &text, Access::PRIVATE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mattermost::manifest::{Entry, EntryKind};

    #[test]
    fn a_manifest_that_knows_the_executable_names_the_release() {
        let place = tempfile::tempdir().unwrap();
        let sha256 = digest::of_bytes(b"server");
        let entry = Entry {
            path: "bin/mattermost".into(),
            kind: EntryKind::File,
            mode: 0o755,
            bytes: 6,
            sha256: Some(sha256.clone()),
            target: None,
        };
        let manifest = Manifest {
            schema: "mm.release/1".into(),
            version: Version::new(9, 11, 18),
            edition: Edition::Team,
            archive_sha256: digest::of_bytes(b"archive"),
            bytes: 6,
            entries: vec![entry],
            migrations: None,
            plugins: None,
        };
        manifest.write(&place.path().join("a.json")).unwrap();
        let found = by_manifest(place.path(), "bin/mattermost", &sha256).unwrap();
        assert_eq!((found.version, found.source), (Version::new(9, 11, 18), Source::Manifest));
        assert!(by_manifest(place.path(), "bin/mattermost", "other").is_none());
        assert!(by_manifest(&place.path().join("none"), "bin/mattermost", &sha256).is_none());
    }
}
