//! Which release is to be installed, and what is known of the one that is.

use std::path::{Path, PathBuf};

use mm_common::contract::error::{Context as _, Error, Result};
use mm_common::contract::sections::{Fetch, Fetched, Hop};
use mm_common::contract::ui;
use mm_common::contract::version::{self, Edition};
use mm_common::machine::files;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::state::State;
use mm_common::mattermost::catalogue::{Arch, Catalogue};
use mm_common::mattermost::manifest::{self, Manifest};
use mm_common::mattermost::site::{self, Installation};
use mm_common::run::Session;
use semver::Version;

/// The release to install.
pub(crate) struct Target {
    pub(crate) archive: PathBuf,
    pub(crate) manifest: Manifest,
    /// Nothing but the name of the file says which release it is.
    pub(crate) unproven: bool,
}

/// The release that `--archive` or the document names.
///
/// # Errors
/// Refused when there is none, or what was fetched is not what the hop asks for.
pub(crate) fn of(session: &Session, archive: Option<&Path>) -> Result<Target> {
    if let Some(archive) = archive {
        return given(archive, session.common.state_dir.as_deref());
    }
    let path: Option<mm_common::contract::sections::Path> = session.document.section("path")?;
    let hop = path.and_then(|path| path.next).ok_or_else(|| {
        Error::refused("there is no release to install")
            .because("the document names no next hop")
            .hint("begin the pipeline with mm-path and mm-fetch, or name a release with --archive FILE")
    })?;
    let fetched = fetched(session, &hop.to, hop.edition)?.ok_or_else(|| {
        Error::refused(format!("the release {} ({}) has not been fetched", hop.to, hop.edition))
            .hint("put mm-fetch before mm-swap in the pipeline")
    })?;
    let manifest = Manifest::of_cache(&fetched)?;
    Ok(Target { archive: fetched.archive, manifest, unproven: false })
}

/// Whether the next hop exchanges no release.
pub(crate) fn is_of_database_alone(session: &Session, archive: Option<&Path>) -> Result<bool> {
    let path: Option<mm_common::contract::sections::Path> = session.document.section("path")?;
    Ok(archive.is_none() && path.and_then(|path| path.next).is_some_and(|hop| hop.is_of_database_alone()))
}

/// The next hop, when its release is not at hand: in a dry run mm-fetch fetches nothing.
pub(crate) fn unfetched(session: &Session) -> Result<Option<Hop>> {
    let path: Option<mm_common::contract::sections::Path> = session.document.section("path")?;
    let Some(hop) = path.and_then(|path| path.next) else { return Ok(None) };
    Ok(if fetched(session, &hop.to, hop.edition)?.is_none() { Some(hop) } else { None })
}

/// The manifest of the installed release: as it was fetched, or as an earlier run kept it.
pub(crate) fn installed(session: &Session, site: &Installation) -> Result<Option<Manifest>> {
    if let Some(fetched) = fetched(session, &site.version, site.edition)? {
        return Manifest::of_cache(&fetched).map(Some);
    }
    let kept = manifest::kept(&site.state, &site.version, site.edition);
    Ok(if files::look(&kept)?.is_some() { Some(Manifest::read(&kept)?) } else { None })
}

/// Keeps a manifest: it tells the version of the installed executable, and what the release owns.
pub(crate) fn keep(state: &State, manifest: &Manifest, _lock: &LockGuard) -> Result<()> {
    let path = manifest::kept(state, &manifest.version, manifest.edition);
    files::create_directory(files::parent(&path)?, 0o700)?;
    manifest.write(&path)
}

fn fetched(session: &Session, version: &Version, edition: Edition) -> Result<Option<Fetched>> {
    let fetch: Option<Fetch> = session.document.section("fetch")?;
    let releases = fetch.map(|fetch| fetch.releases).unwrap_or_default();
    Ok(releases.into_iter().find(|release| release.version == *version && release.edition == edition))
}

/// Asks the executable of a staged release which version it is, when only the file's name has said so.
///
/// # Errors
/// Refused when it is another one.
pub(crate) fn refuse_misnamed(target: &Target, staged: &Path, site: &Installation) -> Result<()> {
    if !target.unproven {
        return Ok(());
    }
    let version = site::version_of(&staged.join("bin/mattermost"), &site.owner)?;
    if version == target.manifest.version {
        return Ok(());
    }
    Err(Error::refused(format!("`{}` is not what its name says", target.archive.display()))
        .because(format!("its server is {version}, not {}", target.manifest.version))
        .hint("give it the name it was published under"))
}

/// A file that the administrator names: its manifest is the one that mm-fetch left beside it, or is made from it.
fn given(archive: &Path, base: Option<&Path>) -> Result<Target> {
    let archive = archive.canonicalize().map_err(|error| {
        Error::refused(format!("there is no release archive `{}`", archive.display())).because(error)
    })?;
    let name = archive.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (version, edition) = parse_name(&name)?;
    let sha256 = files::sha256(&archive)?;
    if let Some(manifest) = beside(&archive, &sha256) {
        return Ok(Target { archive, manifest, unproven: false });
    }
    compare_with_published(base, &name, &version, edition, &sha256)?;
    let manifest = Manifest::of_archive(&archive, &version, edition, &sha256)?;
    Ok(Target { archive, manifest, unproven: true })
}

fn beside(archive: &Path, sha256: &str) -> Option<Manifest> {
    let directory = std::fs::read_dir(archive.parent()?).ok()?;
    let files = directory.flatten().map(|entry| entry.path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .filter_map(|path| Manifest::read(&path).ok())
        .find(|manifest| manifest.archive_sha256 == sha256)
}

/// An administrator may have a build of their own, so another digest than the published one is told, not refused.
fn compare_with_published(
    base: Option<&Path>,
    name: &str,
    version: &Version,
    edition: Edition,
    sha256: &str,
) -> Result<()> {
    let catalogue = Catalogue::load(None, base)?;
    let artefact = Arch::of_host().and_then(|arch| catalogue.artefact(version, edition, arch));
    let known = artefact.map(|artefact| artefact.sha256.to_vec()).unwrap_or_default();
    if known.is_empty() {
        ui::warn(&format!("no published digest of {version} ({edition}) is known: `{name}` is taken on your word"));
    } else if !known.iter().any(|known| known == sha256) {
        ui::warn(&format!(
            "`{name}` (SHA-256 {sha256}) is not the release {version} ({edition}) as it was published: it is taken on your word"
        ));
    }
    Ok(())
}

/// `mattermost-team-10.6.1-linux-amd64.tar.gz`; without an edition, or with `enterprise`, it is Enterprise.
fn parse_name(name: &str) -> Result<(Version, Edition)> {
    let refused = || {
        Error::refused(format!("the name `{name}` does not tell which release it is"))
            .hint("keep the name it was published under, as in `mattermost-team-10.6.1-linux-amd64.tar.gz`")
    };
    let rest = name.strip_prefix("mattermost-").ok_or_else(refused)?;
    let (rest, edition) = match (rest.strip_prefix("team-"), rest.strip_prefix("enterprise-")) {
        (Some(rest), _) => (rest, Edition::Team),
        (_, Some(rest)) => (rest, Edition::Enterprise),
        _ => (rest, Edition::Enterprise),
    };
    let (number, _) = rest.split_once("-linux").ok_or_else(refused)?;
    let version = version::parse(number).context(|| refused().message().to_owned())?;
    Ok((version, edition))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_archive_tells_release_and_edition() {
        let team = parse_name("mattermost-team-10.6.1-linux-amd64.tar.gz").unwrap();
        assert_eq!(team, (Version::new(10, 6, 1), Edition::Team));
        let enterprise = parse_name("mattermost-10.6.1-linux-amd64.tar.gz").unwrap();
        assert_eq!(enterprise, (Version::new(10, 6, 1), Edition::Enterprise));
        assert!(parse_name("release.tar.gz").is_err());
        assert!(parse_name("mattermost-team-latest-linux-amd64.tar.gz").is_err());
    }
}
