//! From what was asked for (`10.6.1`, `10.6`, `latest`, `latest-esr`) to one release.

use mm_common::contract::error::{Error, Result};
use mm_common::contract::version::Edition;
use mm_common::mattermost::catalogue::{Arch, Catalogue, Line, Release};
use semver::Version;

use crate::wish::{Spot, Target};

/// Finds the release that is meant.
///
/// Refuses (exit 5) a version or line that the catalogue does not know, and an edition in which it was not published.
pub(crate) fn resolve(catalogue: &Catalogue, target: &Target, edition: Edition, arch: Arch) -> Result<Version> {
    let offered =
        |release: &&Release| release.version.pre.is_empty() && catalogue.is_offered(&release.version, edition, arch);
    match target {
        Target::Spot(Spot::Version(version)) => exact(catalogue, version, edition, arch),
        Target::Spot(Spot::Line(line)) => {
            let published = |release: &&Release| release.artefact(edition, arch).is_some();
            let newest = catalogue.releases_of(*line).rfind(offered);
            let newest = newest.or_else(|| catalogue.releases_of(*line).rfind(published));
            newest.map(|release| release.version.clone()).ok_or_else(|| {
                Error::refused(format!("the catalogue knows no {edition} release of {line}"))
                    .with_hint(beyond(catalogue, edition, arch))
            })
        }
        Target::Latest => newest(catalogue, edition, arch, |release| offered(&release)),
        Target::LatestEsr => newest(catalogue, edition, arch, |release| {
            catalogue.is_esr(Line::of(&release.version)) && offered(&release)
        }),
    }
}

fn exact(catalogue: &Catalogue, version: &Version, edition: Edition, arch: Arch) -> Result<Version> {
    let Some(release) = catalogue.release(version) else {
        return Err(Error::refused(format!("the catalogue knows no release {version}"))
            .with_hint(near(catalogue, version, edition, arch)));
    };
    if release.artefact(edition, arch).is_none() {
        return Err(Error::refused(format!("{version} was not published as {edition} edition"))
            .with_hint(near(catalogue, version, edition, arch)));
    }
    Ok(version.clone())
}

fn newest(catalogue: &Catalogue, edition: Edition, arch: Arch, wanted: impl Fn(&Release) -> bool) -> Result<Version> {
    let found = catalogue.releases().rfind(|release| wanted(release)).map(|release| release.version.clone());
    found.ok_or_else(|| {
        Error::refused(format!(
            "the catalogue has no {edition} release for {} with a digest that proves it",
            arch.name()
        ))
        .with_hint("name the release with --to VERSION, or add digests with --catalogue FILE")
    })
}

/// What to ask for instead of a version that is not there.
fn near(catalogue: &Catalogue, version: &Version, edition: Edition, arch: Arch) -> String {
    let line = Line::of(version);
    let known = catalogue.releases_of(line).rfind(|release| release.artefact(edition, arch).is_some());
    match known {
        Some(release) => format!("the newest release of {line} is {}: --to {line}", release.version),
        None => beyond(catalogue, edition, arch),
    }
}

fn beyond(catalogue: &Catalogue, edition: Edition, arch: Arch) -> String {
    let newest = catalogue.releases().rfind(|release| release.artefact(edition, arch).is_some());
    let newest = newest.map(|release| release.version.to_string()).unwrap_or_default();
    format!(
        "the newest release known here is {newest}; read newer ones with `mm-fetch refresh`, add it with --catalogue FILE, or plan with --assume-like X.Y"
    )
}
