//! Which releases are wanted, what proves each of them, and what has to be done to have it. Pure.

use std::collections::BTreeMap;

use mm_common::contract::error::{Error, Result};
use mm_common::contract::version::Edition;
use mm_common::mattermost::catalogue::{Arch, Catalogue, Trust};
use semver::Version;

use crate::arguments::Given;

/// The proof of a release without a trusted digest.
pub const SIGNATURE: &str = "signature";

/// The proof of a release that an administrator takes without any.
pub const UNSIGNED: &str = "unsigned";

/// The id by which an administrator vouches for the digests that stand in the document (`--accept`).
pub const DOCUMENT_DIGEST: &str = "document-digest";

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Releases, in the order in which they will be needed.
    pub releases: Vec<Release>,
    /// Digests that the administrator vouches for.
    pub given: Vec<Given>,
    /// The administrator vouches for the document's digests, where the catalogue has none.
    pub accept_document: bool,
}

/// A release that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Its version.
    pub version: Version,
    /// Its edition.
    pub edition: Edition,
    /// Where the document says that it is published.
    pub url: Option<String>,
    /// The digests that the document has for it, of which the document is no proof.
    pub sha256: Vec<String>,
    /// The upgrade cannot do without it. The running release is only looked at for its list of files.
    pub needed: bool,
}

/// A release with what proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Its version.
    pub version: Version,
    /// Its edition.
    pub edition: Edition,
    /// File name of the tarball.
    pub file: String,
    /// Where it is published.
    pub url: String,
    /// Digests of which one has to match; empty when only a signature can prove it.
    pub accept: Vec<String>,
    /// Who vouches for the digests: `catalogue`, `document` or `given`; `signature` without any.
    pub proof: &'static str,
    /// Who computed the digest, where that was not Mattermost.
    pub source: Option<String>,
    /// The upgrade cannot do without it.
    pub needed: bool,
}

impl Want {
    /// What is attempted, for errors.
    pub fn attempt(&self) -> String {
        format!("cannot fetch the {} release {}", self.edition, self.version)
    }
}

/// Decides for every release what proves it: a digest, or, where none can be trusted, its signature.
///
/// # Errors
/// Usage when digests were given that fit nothing.
pub fn wants(asked: &Asked, catalogue: &Catalogue, arch: Arch) -> Result<Vec<Want>> {
    let mut given = assign(asked, catalogue, arch)?;
    let mut wants: Vec<Want> = Vec::new();
    for release in &asked.releases {
        if wants.iter().any(|want| want.version == release.version && want.edition == release.edition) {
            continue;
        }
        let proven = given
            .remove(&release.version)
            .map_or_else(|| trusted(release, asked, catalogue, arch), |digests| Some((digests, "given")));
        let (accept, proof) = proven.unwrap_or((Vec::new(), SIGNATURE));
        let artefact = catalogue.artefact(&release.version, release.edition, arch);
        let source =
            artefact.as_ref().filter(|artefact| accept == artefact.sha256).and_then(|artefact| artefact.source);
        let source = source.map(str::to_owned);
        let published = artefact.map(|artefact| artefact.url);
        wants.push(Want {
            version: release.version.clone(),
            edition: release.edition,
            file: file_name(&release.version, release.edition, arch),
            url: release.url.clone().or(published).unwrap_or_default(),
            accept,
            proof,
            source,
            needed: release.needed,
        });
    }
    Ok(wants)
}

/// The digests that can be trusted: those of the catalogue. A document may come from anywhere, so its own count only
/// where the catalogue has none and an administrator vouches for them; never those that the catalogue doubts.
fn trusted(release: &Release, asked: &Asked, catalogue: &Catalogue, arch: Arch) -> Option<(Vec<String>, &'static str)> {
    let artefact = catalogue.artefact(&release.version, release.edition, arch);
    if let Some(artefact) = artefact.as_ref().filter(|artefact| artefact.is_proven()) {
        let by = if artefact.trust == Trust::ThirdParty { "third-party" } else { "catalogue" };
        return Some((artefact.sha256.to_vec(), by));
    }
    let doubtful = |digest: &String| artefact.as_ref().is_some_and(|artefact| artefact.sha256.contains(digest));
    let document: Vec<String> = release.sha256.iter().filter(|digest| !doubtful(digest)).cloned().collect();
    (asked.accept_document && !document.is_empty()).then_some((document, "document"))
}

/// Which release each given digest is for. One without a version is for the only release, or for the only one that
/// has no trusted digest.
fn assign(asked: &Asked, catalogue: &Catalogue, arch: Arch) -> Result<BTreeMap<Version, Vec<String>>> {
    let open: Vec<&Version> = match asked.releases.as_slice() {
        [only] => vec![&only.version],
        all => all
            .iter()
            .filter(|release| release.needed && trusted(release, asked, catalogue, arch).is_none())
            .map(|release| &release.version)
            .collect(),
    };
    let mut assigned: BTreeMap<Version, Vec<String>> = BTreeMap::new();
    for given in &asked.given {
        let version = match (&given.version, open.as_slice()) {
            (Some(version), _) if asked.releases.iter().any(|release| release.version == *version) => version,
            (Some(version), _) => {
                return Err(Error::usage(format!("--sha256 names {version}, which is not fetched in this run")));
            }
            (None, [only]) => only,
            (None, _) => {
                return Err(Error::usage("it is not clear which release --sha256 is for")
                    .because(format!("{} releases are without a trusted digest", open.len()))
                    .hint("write --sha256 VERSION=HEX"));
            }
        };
        assigned.entry(version.clone()).or_default().push(given.sha256.clone());
    }
    Ok(assigned)
}

/// The file name that every release since 3.1 follows.
pub fn file_name(version: &Version, edition: Edition, arch: Arch) -> String {
    let edition = match edition {
        Edition::Team => "team-",
        Edition::Enterprise => "",
    };
    format!("mattermost-{edition}{version}-linux-{}.tar.gz", arch.name())
}

/// What of a release is there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The tarball with this digest.
    Whole(String),
    /// The beginning: so many bytes.
    Part(u64),
    /// Nothing.
    Nothing,
}

/// What has to be done for one release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Hash what the cache has once more and use it.
    Reuse,
    /// Get it, beginning at this byte if the source allows that.
    Get(u64),
    /// It is not in the cache, and there is nothing to get it from.
    Lacking,
}

/// The step for a release. `source` tells whether there is a place to get it from.
pub fn step(found: &Found, source: bool) -> Step {
    match (found, source) {
        (Found::Whole(_), _) => Step::Reuse,
        (Found::Part(bytes), true) => Step::Get(*bytes),
        (Found::Nothing, true) => Step::Get(0),
        (_, false) => Step::Lacking,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(version: &str, sha256: &[&str], needed: bool) -> Release {
        Release {
            version: version.parse().unwrap(),
            edition: Edition::Team,
            url: None,
            sha256: sha256.iter().map(|digest| (*digest).to_owned()).collect(),
            needed,
        }
    }

    fn plan(releases: Vec<Release>, given: &[&str]) -> Result<Vec<Want>> {
        let given = given.iter().map(|text| text.parse().unwrap()).collect();
        wants(&Asked { releases, given, accept_document: false }, &Catalogue::embedded().unwrap(), Arch::Amd64)
    }

    fn digest(digit: char) -> String {
        String::from(digit).repeat(64)
    }

    #[test]
    fn a_published_digest_proves() {
        let wants = plan(vec![release("10.6.1", &[], true)], &[]).unwrap();
        assert_eq!(wants[0].proof, "catalogue");
        assert!(wants[0].accept[0].starts_with("4fcc6417"));
        assert_eq!(wants[0].file, "mattermost-team-10.6.1-linux-amd64.tar.gz");
        assert!(wants[0].url.ends_with("/10.6.1/mattermost-team-10.6.1-linux-amd64.tar.gz"));
    }

    #[test]
    fn several_published_digests_are_a_set_of_which_one_matches() {
        let wants = plan(vec![release("9.5.5", &[], true)], &[]).unwrap();
        assert!(wants[0].accept.len() > 1, "{wants:?}");
    }

    #[test]
    fn a_release_without_a_trusted_digest_is_proven_by_its_signature() {
        // Never in the archive; announced, with no digest known; listed with the digest of 3.9.1.
        for version in ["10.5.0", "12.1.0", "3.9.2", "99.0.0"] {
            let wants = plan(vec![release(version, &[], true)], &[]).unwrap();
            assert_eq!((wants[0].proof, wants[0].accept.len()), (SIGNATURE, 0), "{version}");
        }
    }

    #[test]
    fn a_doubtful_digest_does_not_become_trusted_by_standing_in_the_document() {
        let catalogue = Catalogue::embedded().unwrap();
        let version: Version = "3.9.2".parse().unwrap();
        let artefact = catalogue.artefact(&version, Edition::Team, Arch::Amd64).unwrap();
        let listed: Vec<&str> = artefact.sha256.iter().map(String::as_str).collect();
        assert!(!listed.is_empty());
        assert_eq!(plan(vec![release("3.9.2", &listed, true)], &[]).unwrap()[0].proof, SIGNATURE);
    }

    #[test]
    fn a_documents_digest_proves_nothing_unless_an_administrator_vouches_for_it() {
        let own = digest('a');
        let plan = |version: &str, accept_document| {
            let asked = Asked { releases: vec![release(version, &[&own], true)], given: Vec::new(), accept_document };
            wants(&asked, &Catalogue::embedded().unwrap(), Arch::Amd64).unwrap().remove(0)
        };
        let foreign = plan("99.0.0", false);
        assert_eq!((foreign.proof, foreign.accept.len()), (SIGNATURE, 0));
        let vouched = plan("99.0.0", true);
        assert_eq!((vouched.proof, &vouched.accept), ("document", &vec![own.clone()]));
        // What the catalogue knows, a document does not know better, whoever vouches for it.
        for accept in [false, true] {
            let known = plan("10.6.1", accept);
            assert_eq!(known.proof, "catalogue");
            assert!(!known.accept.contains(&own));
        }
    }

    #[test]
    fn a_given_digest_goes_to_the_release_it_names_or_to_the_only_one_without() {
        let own = digest('b');
        let wants = plan(vec![release("10.6.1", &[], true)], &[&own]).unwrap();
        assert_eq!((wants[0].proof, &wants[0].accept), ("given", &vec![own.clone()]));
        let two = || vec![release("10.5.0", &[], true), release("10.6.1", &[], true)];
        let wants = plan(two(), &[&own]).unwrap();
        assert_eq!((wants[0].proof, wants[1].proof), ("given", "catalogue"));
        let open = vec![release("10.5.0", &[], true), release("10.4.0", &[], true)];
        assert_eq!(plan(open, &[&own]).unwrap_err().code(), 2);
        assert_eq!(plan(two(), &[&format!("9.9.9={own}")]).unwrap_err().code(), 2);
    }

    #[test]
    fn the_arm64_digests_of_third_parties_prove_and_are_named() {
        let asked = Asked { releases: vec![release("10.6.1", &[], true)], ..Asked::default() };
        let wants = wants(&asked, &Catalogue::embedded().unwrap(), Arch::Arm64).unwrap();
        assert_eq!((wants[0].proof, wants[0].source.as_deref()), ("third-party", Some("YunoHost-Apps/mattermost_ynh")));
    }

    #[test]
    fn what_is_there_decides_the_step() {
        assert_eq!(step(&Found::Whole(digest('a')), false), Step::Reuse);
        assert_eq!(step(&Found::Part(7), true), Step::Get(7));
        assert_eq!(step(&Found::Nothing, true), Step::Get(0));
        assert_eq!(step(&Found::Part(7), false), Step::Lacking);
    }
}
