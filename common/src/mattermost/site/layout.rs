//! What kind of installation it is: a plain one is ours to work on; one that a package manager or an image brought is
//! not, and is refused with the way its own maker offers.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use crate::contract::error::{Error, Result};
use crate::machine::command::{self, Cmd};
use crate::machine::service::process::EXECUTABLES;
use crate::machine::tree::{Dir, Kind};

/// Package databases answer at once, except on a machine that is busy with an upgrade.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where container engines keep the file systems of their containers.
const CONTAINER_STORES: [&str; 4] =
    ["/var/lib/docker/", "/var/lib/containers/", "/var/lib/containerd/", "/var/snap/docker/"];

/// The directory of an install root, symlinks resolved, whatever is in it.
pub(super) fn directory(given: &Path) -> Result<PathBuf> {
    let root = given.canonicalize().map_err(|error| {
        Error::refused(format!("there is no Mattermost server in `{}`", given.display()))
            .because(error)
            .hint("name the install root with --install DIR")
    })?;
    if root.to_str().is_none() {
        return Err(Error::refused(format!("the path `{}` is not UTF-8", root.display()))
            .because("it could not stand in the document")
            .hint("move the installation to a path of plain letters"));
    }
    Ok(root)
}

/// The install root, symlinks resolved.
pub(super) fn root(given: &Path) -> Result<PathBuf> {
    let root = directory(given)?;
    if has_executable(&root)? {
        return Ok(root);
    }
    let error = Error::refused(format!("there is no Mattermost server in `{}`", given.display()));
    Err(if root.join("docker-compose.yml").is_file() || root.join("volumes/app").is_dir() {
        error.because("it is the directory of a container").hint(
            "the server is in the image: set the image's tag in `.env`, one version after the other, then `docker compose up -d`",
        )
    } else {
        error.because("it holds no file bin/mattermost").hint("name the install root with --install DIR")
    })
}

fn has_executable(root: &Path) -> Result<bool> {
    let Some(bin) = Dir::open(root)?.child("bin".as_ref()).ok().flatten() else { return Ok(false) };
    for name in EXECUTABLES {
        if bin.look(name.as_ref())?.is_some_and(|entry| entry.kind == Kind::File) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Refuses installations that somebody else looks after.
pub(super) fn refuse_foreign(root: &Path) -> Result<()> {
    if CONTAINER_STORES.iter().any(|store| root.starts_with(store)) || is_image(root) {
        return Err(foreign(root, "a container image").hint(
            "change the tag of the image instead, one version after the other as mm-path plans it on paper (--from, --edition)",
        ));
    }
    if root.starts_with("/opt/gitlab") {
        return Err(foreign(root, "the GitLab package").hint(
            "move Mattermost out of GitLab first: GitLab 19 no longer brings it (docs.mattermost.com, `Migrate from GitLab Omnibus`)",
        ));
    }
    let name = root.file_name().unwrap_or_default();
    if Path::new("/etc/yunohost/apps").join(name).is_dir() {
        return Err(foreign(root, "YunoHost").hint(format!("yunohost app upgrade {}", name.display())));
    }
    match package_of(&root.join("bin").join(EXECUTABLES[0])) {
        Some((manager, package)) => Err(foreign(root, &format!("the package `{package}`")).hint(format!(
            "let {manager} upgrade it, one version after the other: `apt-get install {package}=VERSION` or what it calls the same"
        ))),
        None => Ok(()),
    }
}

fn foreign(root: &Path, who: &str) -> Error {
    Error::refused(format!("the server in `{}` is not upgraded by replacing its files", root.display()))
        .because(format!("it was installed by {who}"))
}

/// Inside a container of the official image the server is process 1 or its init's child, in `/mattermost`.
fn is_image(root: &Path) -> bool {
    root == Path::new("/mattermost") && (Path::new("/.dockerenv").exists() || Path::new("/run/.containerenv").exists())
}

fn package_of(file: &Path) -> Option<(&'static str, String)> {
    if let Some(package) = debian_package_of(file, Path::new("/var/lib/dpkg/info")) {
        return Some(("apt", package));
    }
    if command::exists("rpm") {
        let found =
            Cmd::new("rpm").args(["-qf", "--queryformat", "%{NAME}"]).arg(file).limit(PATIENCE).output().ok()?;
        if found.status.success() {
            return Some(("dnf", found.text()));
        }
    }
    None
}

/// The installed Debian package that has the file, from dpkg's own lists (deb-files(5) of `dpkg -L`; a list has a path a
/// line): `dpkg-query -S` reads them into a database first, which takes as long as everything else in a short run.
fn debian_package_of(file: &Path, lists: &Path) -> Option<String> {
    let line = [b"\n", file.as_os_str().as_bytes(), b"\n"].concat();
    let line = String::from_utf8(line).ok()?;
    let lists = std::fs::read_dir(lists).ok()?.flatten().map(|entry| entry.path());
    let lists = lists.filter(|path| path.extension().is_some_and(|extension| extension == "list"));
    lists.filter(|list| std::fs::read_to_string(list).is_ok_and(|text| text.contains(&line))).find_map(|list| {
        let name = list.file_stem()?.to_str()?;
        Some(name.split_once(':').map_or(name, |(name, _)| name).to_owned())
    })
}

/// A path without `.` components and doubled slashes; `..` stays, as a link before it would change its meaning.
pub(super) fn tidy(path: &Path) -> PathBuf {
    path.components().filter(|component| *component != Component::CurDir).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_without_a_server_is_refused() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(root(&place.path().join("none")).unwrap_err().code(), 5);
        assert_eq!(root(place.path()).unwrap_err().code(), 5);
        std::fs::create_dir_all(place.path().join("volumes/app")).unwrap();
        assert!(root(place.path()).unwrap_err().next_step().is_some_and(|hint| hint.contains("image")));
    }

    #[test]
    fn a_root_is_the_same_however_it_is_written() {
        let place = tempfile::tempdir().unwrap();
        let real = place.path().canonicalize().unwrap().join("mattermost");
        std::fs::create_dir_all(real.join("bin")).unwrap();
        std::fs::File::create(real.join("bin/mattermost")).unwrap();
        std::os::unix::fs::symlink(&real, place.path().join("current")).unwrap();
        for written in ["mattermost", "mattermost/", "mattermost//.", "mattermost/../mattermost", "current", "current/"]
        {
            assert_eq!(root(&place.path().join(written)).unwrap(), real, "{written}");
        }
    }

    #[test]
    fn a_symlink_in_place_of_the_executable_is_no_server() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("bin")).unwrap();
        std::os::unix::fs::symlink("/bin/sh", place.path().join("bin/mattermost")).unwrap();
        assert_eq!(root(place.path()).unwrap_err().code(), 5);
    }

    #[test]
    fn a_file_of_a_package_is_refused() {
        // Debian's own shell stands for an executable that a package brought.
        assert!(package_of(Path::new("/bin/dash")).or_else(|| package_of(Path::new("/usr/bin/dash"))).is_some());
        assert!(package_of(Path::new("/nowhere/bin/mattermost")).is_none());
        assert_eq!(refuse_foreign(Path::new("/var/lib/docker/overlay2/x/merged/mattermost")).unwrap_err().code(), 5);
    }
}
