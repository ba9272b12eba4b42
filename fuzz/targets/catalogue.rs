//! A catalogue that a user adds (`--catalogue`): no panic, neither in reading it nor in what is asked of it afterwards.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mm_common::contract::version::Edition;
use mm_common::mattermost::catalogue::{Arch, Catalogue, Line, Overlay};

static EMBEDDED: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::embedded().expect("it is compiled in"));

fuzz_target!(|text: &str| {
    let Ok(overlay) = Overlay::parse("fuzzed", text) else { return };
    let mut catalogue = EMBEDDED.clone();
    catalogue.merge(overlay);
    let versions: Vec<_> = catalogue.releases().map(|release| release.version.clone()).collect();
    for version in &versions {
        let line = Line::of(version);
        let _ = catalogue.releases_of(line).count();
        let _ = (catalogue.requirement(version), catalogue.is_esr(line), catalogue.line(line));
        for edition in [Edition::Team, Edition::Enterprise] {
            for arch in [Arch::Amd64, Arch::Arm64] {
                let artefact = catalogue.artefact(version, edition, arch);
                assert!(artefact.is_none_or(|artefact| !artefact.is_proven() || !artefact.sha256.is_empty()));
            }
        }
    }
    if let (Some(first), Some(last)) = (versions.first(), versions.last()) {
        let _ = (catalogue.notes_between(first, last).count(), catalogue.rates_between(first, last).count());
    }
});
