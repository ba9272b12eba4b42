//! One release and its tarballs.

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::contract::version::Edition;

/// How far a digest can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// Published by Mattermost for this tarball.
    #[default]
    Published,
    /// Computed by somebody else who downloaded the tarball.
    ThirdParty,
    /// Released, and no digest of it is known yet: its signature proves it.
    Signed,
    /// Only in a draft of the archive page that was never merged.
    Draft,
    /// Published, but another release has the same value: one of the two is wrong.
    Suspect,
    /// No digest was ever published, and the release itself may be missing from the archive.
    Unknown,
}

impl Trust {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    fn is_usual(&self) -> bool {
        *self == Self::Published
    }
}

/// A processor that releases are built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    /// x86-64.
    Amd64,
    /// 64-bit ARM.
    Arm64,
}

impl Arch {
    /// The processor of this machine, where releases exist for it.
    pub fn of_host() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::Amd64),
            "aarch64" => Some(Self::Arm64),
            _ => None,
        }
    }

    /// The name that Mattermost's file names use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
}

/// The tarball of one release for one edition and processor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artefact<'a> {
    /// Where Mattermost publishes it.
    pub url: String,
    /// Lower-case SHA-256 values of which one must match; empty when none is known.
    pub sha256: &'a [String],
    /// How far the values can be trusted.
    pub trust: Trust,
    /// Who computed the values, where that was not Mattermost.
    pub source: Option<&'a str>,
}

impl Artefact<'_> {
    /// Whether a match of the digest proves the tarball.
    pub fn is_proven(&self) -> bool {
        matches!(self.trust, Trust::Published | Trust::ThirdParty) && !self.sha256.is_empty()
    }

    /// Whether it was released for certain: its digest is known, or only its signature.
    pub fn is_released(&self) -> bool {
        self.is_proven() || self.trust == Trust::Signed
    }
}

/// A release as the catalogue writes it down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Its version.
    pub version: Version,
    /// The day it was published (`2022-08-31`), where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    team: Option<Tarball>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    enterprise: Option<Tarball>,
}

/// What differs from the usual: the address only when it is not the pattern, the trust only when it is not `published`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tarball {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sha256: Vec<String>,
    #[serde(default, skip_serializing_if = "Trust::is_usual")]
    status: Trust,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arm64: Option<Box<Tarball>>,
}

impl Release {
    /// A release of both editions of which nothing is known but its version.
    pub(super) fn unproven(version: Version) -> Self {
        let tarball = Tarball { status: Trust::Unknown, ..Tarball::default() };
        Self { version, released: None, team: Some(tarball.clone()), enterprise: Some(tarball) }
    }

    fn tarball(&self, edition: Edition) -> Option<&Tarball> {
        match edition {
            Edition::Team => self.team.as_ref(),
            Edition::Enterprise => self.enterprise.as_ref(),
        }
    }

    /// The tarball for an edition and processor; none when the release has no such edition.
    ///
    /// A processor without a record of its own gets the usual address and no digest.
    pub fn artefact(&self, edition: Edition, arch: Arch) -> Option<Artefact<'_>> {
        let tarball = self.tarball(edition)?;
        let usual = || usual_url(&self.version, edition, arch);
        Some(match arch {
            Arch::Amd64 => tarball.artefact(usual),
            Arch::Arm64 => {
                if let Some(built) = &tarball.arm64 {
                    built.artefact(usual)
                } else {
                    let released = tarball.artefact(String::new).is_released();
                    let trust = if released { Trust::Signed } else { Trust::Unknown };
                    Artefact { url: usual(), sha256: &[], trust, source: None }
                }
            }
        })
    }

    /// Whether a tarball for ARM has a record of its own.
    pub(super) fn has_arm64(&self) -> bool {
        [&self.team, &self.enterprise].into_iter().flatten().any(|tarball| tarball.arm64.is_some())
    }

    /// Takes over what another record of the same release proves and this one does not: one that was read when no digest
    /// was published yet hides none that has become known since.
    pub(super) fn keep_proofs_of(&mut self, other: &Self) {
        if self.released.is_none() {
            self.released.clone_from(&other.released);
        }
        for (own, theirs) in [(&mut self.team, &other.team), (&mut self.enterprise, &other.enterprise)] {
            let Some(theirs) = theirs else { continue };
            match own {
                Some(own) => own.keep_proofs_of(theirs),
                None => *own = Some(theirs.clone()),
            }
        }
    }

    /// What is wrong with the record, if anything is: used on overlays, whose authors are people.
    pub(super) fn fault(&self) -> Option<String> {
        if self.team.is_none() && self.enterprise.is_none() {
            return Some(format!("release {} has neither `team` nor `enterprise`", self.version));
        }
        let tarballs = [&self.team, &self.enterprise].into_iter().flatten();
        tarballs
            .flat_map(|tarball| [Some(tarball), tarball.arm64.as_deref()])
            .flatten()
            .find_map(|tarball| tarball.fault(&self.version))
    }
}

impl Tarball {
    fn artefact(&self, usual: impl FnOnce() -> String) -> Artefact<'_> {
        let trust = match self.status {
            Trust::Signed => Trust::Signed,
            _ if self.sha256.is_empty() => Trust::Unknown,
            status => status,
        };
        let url = self.url.clone().unwrap_or_else(usual);
        Artefact { url, sha256: &self.sha256, trust, source: self.source.as_deref() }
    }

    fn is_proven(&self) -> bool {
        self.artefact(String::new).is_proven()
    }

    fn keep_proofs_of(&mut self, other: &Self) {
        let arm64 = match (self.arm64.take(), &other.arm64) {
            (Some(mut own), Some(theirs)) => {
                own.keep_proofs_of(theirs);
                Some(own)
            }
            (own, theirs) => own.or_else(|| theirs.clone()),
        };
        if !self.is_proven() && other.is_proven() {
            self.clone_from(other);
        }
        self.arm64 = arm64;
    }

    fn fault(&self, version: &Version) -> Option<String> {
        let hex =
            |digest: &&String| digest.len() != 64 || !digest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if let Some(digest) = self.sha256.iter().find(hex) {
            return Some(format!("release {version}: `{digest}` is not a SHA-256 of 64 lower-case hexadecimal digits"));
        }
        if self.sha256.is_empty() && self.status == Trust::Published {
            return Some(format!("release {version} has no `sha256`: say so with \"status\": \"unknown\""));
        }
        None
    }
}

/// The address by the pattern that every release since 3.1 follows.
fn usual_url(version: &Version, edition: Edition, arch: Arch) -> String {
    let prefix = match edition {
        Edition::Team => "team-",
        Edition::Enterprise => "",
    };
    format!("https://releases.mattermost.com/{version}/mattermost-{prefix}{version}-linux-{}.tar.gz", arch.name())
}
