//! Where a copy is, and what a path of the original is in it. Pure.

use std::path::{Component, Path, PathBuf};

/// The directories of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The directory that the administrator has named, resolved.
    pub directory: PathBuf,
    /// The install root of the original.
    pub install: PathBuf,
}

/// A path that the original's configuration names, in the copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    /// It is below the install root, and stays as it is written.
    Within,
    /// It is elsewhere: this one, below the copy, takes its place.
    Moved(PathBuf),
    /// It is the install root itself or a directory above it: nothing that could be made or given away.
    Above,
}

impl Place {
    /// The files of the copy, each below it under its path in the original.
    pub(crate) fn files(&self) -> PathBuf {
        self.directory.join("files")
    }

    /// The install root of the copy.
    pub(crate) fn root(&self) -> PathBuf {
        self.below(&self.install)
    }

    /// The state directory of the tools for the copy (`--state-dir`).
    pub(crate) fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// What is at this absolute path of the original, in the copy.
    pub(crate) fn below(&self, original: &Path) -> PathBuf {
        self.files().join(original.strip_prefix("/").unwrap_or(original))
    }

    /// A path as the original's configuration has it. As there, a relative one is relative to the install root, and `..` does
    /// not lead above `/`: which is the copy's own top.
    pub(crate) fn named(&self, text: &str) -> Named {
        let path = normal(&self.install.join(text));
        if self.install.starts_with(&path) {
            return Named::Above;
        }
        if Path::new(text).is_relative() && path.starts_with(&self.install) {
            return Named::Within;
        }
        Named::Moved(self.below(&path))
    }
}

/// An absolute path without `.` and `..`, which are taken by the letter.
pub(crate) fn normal(path: &Path) -> PathBuf {
    let mut result = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => result.push(name),
            Component::ParentDir => {
                result.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_named_leaves_the_copy() {
        let place = Place { directory: "/srv/copy".into(), install: "/opt/mattermost".into() };
        assert_eq!(place.root(), Path::new("/srv/copy/files/opt/mattermost"));
        for within in ["./data/", "data", "plugins/../client/plugins"] {
            assert_eq!(place.named(within), Named::Within, "{within}");
        }
        let moved = |path: &str| Named::Moved(path.into());
        assert_eq!(place.named("/srv/uploads/"), moved("/srv/copy/files/srv/uploads"));
        assert_eq!(place.named("../../../etc/cron.d"), moved("/srv/copy/files/etc/cron.d"));
        assert_eq!(place.named("/opt/mattermost/data"), moved("/srv/copy/files/opt/mattermost/data"));
        assert_eq!(place.named("/srv/../../../var/x"), moved("/srv/copy/files/var/x"));
        for above in ["../../..", "..", ".", "", "/", "/opt", "../../../../opt/mattermost"] {
            assert_eq!(place.named(above), Named::Above, "{above}");
        }
    }
}
