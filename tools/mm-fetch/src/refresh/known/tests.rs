use super::*;
use crate::refresh::page::{Row, Tag};

fn tarball(version: &str, edition: Edition, digit: char) -> Tarball {
    let sha256 = Some(digit.to_string().repeat(64));
    Tarball {
        version: version.parse().unwrap(),
        edition,
        arch: Arch::Amd64,
        sha256,
        is_published: true,
        page: String::new(),
    }
}

fn of(found: &Found) -> News {
    news(&Catalogue::embedded().unwrap(), found)
}

fn kinds(news: &News) -> Vec<&str> {
    news.contradictions.iter().map(|one| one.kind).collect()
}

#[test]
fn a_new_release_is_added_with_what_proves_it() {
    let tarballs = vec![tarball("12.99.0", Edition::Team, 'a'), tarball("12.99.0", Edition::Enterprise, 'b')];
    let tags = vec![Tag { version: Version::new(12, 98, 1), released: "2026-12-01".parse().ok() }];
    let news = of(&Found { tarballs, tags, ..Found::default() });
    assert_eq!((news.contradictions.len(), news.left_out.len(), news.added.len()), (0, 0, 2));
    let record =
        |version: &str| serde_json::from_value::<Release>(news.releases[&version.parse().unwrap()].clone()).unwrap();
    assert!(record("12.99.0").artefact(Edition::Enterprise, Arch::Amd64).unwrap().is_proven());
    let tagged = record("12.98.1");
    assert_eq!(tagged.artefact(Edition::Team, Arch::Amd64).unwrap().trust, Trust::Signed);
    assert_eq!(tagged.released.as_deref(), Some("2026-12-01"));
}

#[test]
fn a_digest_for_a_release_that_only_its_signature_proved_is_taken_and_the_rest_of_it_kept() {
    let catalogue = Catalogue::embedded().unwrap();
    let signed =
        |release: &&Release| release.artefact(Edition::Team, Arch::Amd64).is_some_and(|one| one.trust == Trust::Signed);
    let version = catalogue.releases().find(signed).unwrap().version.to_string();
    let news = of(&Found { tarballs: vec![tarball(&version, Edition::Team, 'a')], ..Found::default() });
    assert_eq!((kinds(&news), news.proven.len(), news.added.len()), (vec![], 1, 0));
    let record = &news.releases[&version.parse().unwrap()];
    assert_eq!(record["enterprise"]["status"], "signed");
    assert_eq!(record["released"].as_str(), catalogue.release(&version.parse().unwrap()).unwrap().released.as_deref());
}

#[test]
fn what_packagers_have_computed_counts_for_arm64_alone_and_is_named() {
    let by = |version: &str, arch: Arch, digit: char| Tarball {
        arch,
        is_published: false,
        page: "manifest.toml".into(),
        ..tarball(version, Edition::Team, digit)
    };
    let amd64 = tarball("12.99.0", Edition::Team, 'a');
    let both = vec![by("12.99.0", Arch::Amd64, 'a'), by("12.99.0", Arch::Arm64, 'b'), amd64.clone()];
    let news = of(&Found { tarballs: both, ..Found::default() });
    let release: Release = serde_json::from_value(news.releases[&Version::new(12, 99, 0)].clone()).unwrap();
    let arm64 = release.artefact(Edition::Team, Arch::Arm64).unwrap();
    assert_eq!((arm64.trust, arm64.source), (Trust::ThirdParty, Some("manifest.toml")));
    assert_eq!(release.artefact(Edition::Team, Arch::Amd64).unwrap().trust, Trust::Published);
    assert_eq!((news.left_out.len(), kinds(&news)), (0, vec![]), "{:?}", news.left_out);

    // It does not show that a line has ended with the release it is of, and what differs from the published is told.
    let old = of(&Found { tarballs: vec![by("10.5.1", Arch::Arm64, 'c')], ..Found::default() });
    assert!(!kinds(&old).contains(&"release-gone"), "{:?}", old.contradictions);
    let differs = of(&Found { tarballs: vec![by("10.6.1", Arch::Arm64, 'c')], ..Found::default() });
    assert_eq!(kinds(&differs), ["digest-changed"]);
    let alone = of(&Found { tarballs: vec![by("12.99.0", Arch::Amd64, 'a')], ..Found::default() });
    assert_eq!(alone.releases[&Version::new(12, 99, 0)]["team"], json!({"status": "signed"}));
    assert_eq!(alone.left_out.len(), 1);
    let two = vec![by("12.99.0", Arch::Arm64, 'a'), by("12.99.0", Arch::Arm64, 'b')];
    assert_eq!(of(&Found { tarballs: two, ..Found::default() }).left_out.len(), 1);
}

#[test]
fn what_contradicts_the_catalogue_is_told() {
    let changed = of(&Found { tarballs: vec![tarball("10.5.7", Edition::Team, 'a')], ..Found::default() });
    assert_eq!(kinds(&changed)[0], "digest-changed");
    let back = of(&Found {
        tarballs: vec![Tarball { sha256: None, ..tarball("9.11.1", Edition::Team, 'a') }],
        ..Found::default()
    });
    assert_eq!(kinds(&back), ["release-gone"]);
    let row = |line: &str, end: &str| Row {
        line: line.parse().unwrap(),
        released: None,
        end_of_support: end.parse().ok(),
        esr: false,
        newest: None,
    };
    assert_eq!(kinds(&of(&Found { rows: vec![row("10.11", "2021-08-15")], ..Found::default() })), ["date-moved"]);
    let moved = of(&Found { rows: vec![row("10.11", "2027-08-15")], ..Found::default() });
    assert_eq!((kinds(&moved), moved.lines.len()), (vec![], 1));
    assert_eq!(moved.lines[&"10.11".parse().unwrap()]["esr"], true, "a row cannot take it away");
    let tags = vec![Tag { version: Version::new(10, 6, 1), released: "2015-01-01".parse().ok() }];
    assert_eq!(kinds(&of(&Found { tags, ..Found::default() })), ["date-moved"]);
}

#[test]
fn what_cannot_be_is_left_out() {
    let tarballs = vec![
        tarball("99.0.0", Edition::Team, 'a'),
        tarball("12.98.0", Edition::Team, 'b'),
        tarball("12.99.0", Edition::Team, 'b'),
    ];
    let news = of(&Found { tarballs, ..Found::default() });
    assert_eq!((news.left_out.len(), news.releases.len()), (3, 0), "{:?}", news.left_out);
}

#[test]
fn notes_are_unread_beyond_the_newest_that_is_known() {
    let notes = ["5.4.0", "12.98.0", "12.99.0"].map(|version| version.parse().unwrap()).into();
    assert_eq!(of(&Found { notes, ..Found::default() }).unread, 2);
}

#[test]
fn nothing_new_is_nothing_to_write() {
    let catalogue = Catalogue::embedded().unwrap();
    let tags = catalogue.releases().map(|release| Tag { version: release.version.clone(), released: None }).collect();
    let news = of(&Found { tags, ..Found::default() });
    assert!(news.releases.is_empty() && news.lines.is_empty() && news.contradictions.is_empty());
}
