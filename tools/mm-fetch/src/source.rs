//! Where a release is taken from.

use std::path::{Path, PathBuf};

use mm_common::contract::error::{Error, Result};
use mm_common::machine::files;
use semver::Version;
use url::Url;

/// A place to take a tarball from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// An address.
    Web(Url),
    /// A file of this machine.
    File(PathBuf),
}

impl Source {
    /// As it is written into the document.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Web(url) => url.to_string(),
            Self::File(path) => path.display().to_string(),
        }
    }

    /// The same with `.sig` at its end: where a detached signature stands.
    pub(crate) fn signature(&self) -> Self {
        match self {
            Self::Web(url) => {
                let mut url = url.clone();
                url.set_path(&format!("{}.sig", url.path()));
                Self::Web(url)
            }
            Self::File(path) => Self::File(super::cache::beside(path, ".sig")),
        }
    }
}

/// The places this run may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Places {
    /// Where each release is published.
    Published,
    /// An address with the releases below it.
    Mirror(Url),
    /// A directory with the releases below it.
    Directory(PathBuf),
    /// Only what the cache has.
    Nowhere,
}

impl Places {
    /// From the flags.
    ///
    /// # Errors
    /// Usage when the mirror is neither a directory nor an address, or an address and no network is to be used.
    pub(crate) fn of(mirror: Option<&str>, offline: bool, bundle: Option<&Path>) -> Result<Self> {
        let mirror = match (bundle, mirror) {
            (Some(bundle), _) => {
                return directory(bundle, "name the directory that mm-fetch --bundle has made, as --from-bundle DIR");
            }
            (None, None) if offline => return Ok(Self::Nowhere),
            (None, None) => return Ok(Self::Published),
            (None, Some(mirror)) => mirror,
        };
        if !mirror.contains("://") {
            return directory(Path::new(mirror), MIRROR);
        }
        let mut url = Url::parse(mirror)
            .map_err(|error| Error::usage("--mirror is neither a directory nor an address").because(error))?;
        match url.scheme() {
            "file" => match url.to_file_path() {
                Ok(path) => directory(&path, MIRROR),
                Err(()) => Err(Error::usage("--mirror is a file address of another machine")),
            },
            "http" | "https" if offline => Err(Error::usage("--mirror is an address, and --offline forbids to use it")
                .hint("give a directory as --mirror, or leave --offline out")),
            "http" | "https" => {
                // With a slash at its end, what is joined to it goes below it.
                if !url.path().ends_with('/') {
                    url.set_path(&format!("{}/", url.path()));
                }
                Ok(Self::Mirror(url))
            }
            other => {
                Err(Error::usage(format!("--mirror has the scheme `{other}`")).hint("use http, https, or a directory"))
            }
        }
    }

    /// Where a release is to be taken from; `None` when there is no such place.
    pub(crate) fn source(&self, version: &Version, file: &str, published: &str) -> Result<Option<Source>> {
        match self {
            Self::Nowhere => Ok(None),
            Self::Published if published.is_empty() => Ok(None),
            Self::Published => web(published).map(Some),
            Self::Mirror(base) => web(&format!("{base}{version}/{file}")).map(Some),
            Self::Directory(base) => {
                let path = base.join(version.to_string()).join(file);
                Ok(std::fs::metadata(&path).is_ok_and(|data| data.is_file()).then_some(Source::File(path)))
            }
        }
    }

    /// Why there is no source, for the message.
    pub(crate) fn lacking(&self, version: &Version, file: &str) -> String {
        match self {
            Self::Nowhere => "it is not in the cache, and --offline forbids to download it".into(),
            Self::Published => "nobody says where it is published".into(),
            Self::Mirror(base) => format!("it is not at `{base}`"),
            Self::Directory(base) => {
                format!("`{}` is not there", base.join(version.to_string()).join(file).display())
            }
        }
    }

    /// What to do where there is no source.
    pub(crate) fn elsewhere(&self) -> &'static str {
        match self {
            Self::Nowhere => "leave --offline out, or give a directory that has it as --mirror DIR",
            Self::Published => "give a --mirror that has it",
            Self::Mirror(_) | Self::Directory(_) => {
                "put it there, as VERSION/FILE, or give another --mirror; without --mirror it is fetched from where it is published"
            }
        }
    }
}

fn web(text: &str) -> Result<Source> {
    Url::parse(text)
        .map(Source::Web)
        .map_err(|error| Error::refused(format!("`{text}` is not an address to download from")).because(error))
}

/// What `--mirror` may be.
const MIRROR: &str = "give an http or https address, or a directory";

fn directory(path: &Path, hint: &str) -> Result<Places> {
    match files::look(path)? {
        Some(data) if data.is_dir() || data.is_symlink() => Ok(Places::Directory(path.into())),
        _ => Err(Error::usage(format!("`{}` is not a directory", path.display())).hint(hint)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_has_the_layout_of_the_official_site() {
        let version = Version::new(10, 6, 1);
        for base in ["http://mirror.test/mm", "http://mirror.test/mm/"] {
            let places = Places::of(Some(base), false, None).unwrap();
            let source = places.source(&version, "x.tar.gz", "https://official.test/").unwrap().unwrap();
            assert_eq!(source.shown(), "http://mirror.test/mm/10.6.1/x.tar.gz");
            assert_eq!(source.signature().shown(), "http://mirror.test/mm/10.6.1/x.tar.gz.sig");
        }
    }

    #[test]
    fn offline_allows_directories_only() {
        assert_eq!(Places::of(None, true, None).unwrap(), Places::Nowhere);
        assert_eq!(Places::of(Some("/"), true, None).unwrap(), Places::Directory("/".into()));
        assert_eq!(Places::of(Some("http://mirror.test"), true, None).unwrap_err().code(), 2);
        assert_eq!(Places::of(Some("ftp://mirror.test"), false, None).unwrap_err().code(), 2);
        assert_eq!(Places::of(Some("/no/such/directory"), false, None).unwrap_err().code(), 2);
    }
}
