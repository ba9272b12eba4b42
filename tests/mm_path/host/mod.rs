//! The preflight checks of the host, each on a site where nothing is wrong and on one where the one thing it is about
//! is.

mod cases;
mod lab;

use std::collections::BTreeSet;
use std::fs;
use std::sync::LazyLock;

use mm_common::contract::error::Error;
use mm_common::contract::sections::{Preflight, Status};
use mm_common::mattermost::catalogue::Catalogue;
use mm_common::mattermost::site::MANIFESTS;
use mm_path::check::host;
use mm_test_support::site::quick;

use cases::{CASES, sound_unit};
use lab::{Lab, text};

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::embedded().unwrap());

/// The release of the site.
const INSTALLED: &str = "5.29.0";

fn find<'a>(findings: &'a [Preflight], id: &str) -> &'a Preflight {
    findings.iter().find(|finding| finding.id == id).unwrap_or_else(|| panic!("no check {id}"))
}

#[test]
fn each_check_is_silent_and_bites() {
    let lab = Lab::new();
    lab.reset();
    for finding in lab.look(INSTALLED, sound_unit) {
        assert_eq!((finding.status, finding.severity.as_str()), (Status::Pass, ""), "nothing is wrong: {finding:?}");
    }
    for case in CASES {
        lab.reset();
        let _undone = (case.makes)(&lab);
        let findings = lab.look(case.version, case.unit);
        let finding = find(&findings, case.check);
        assert_eq!(finding.severity, case.severity, "{}: {finding:?}", case.check);
        assert!(finding.evidence.contains(case.evidence), "{}: {finding:?}", case.check);
        assert_eq!(finding.status == Status::Pass, case.severity == "info", "{finding:?}");
        assert!(!finding.fix.is_empty() && !finding.source.is_empty(), "{finding:?}");
        assert!(!finding.evidence.contains("secret"), "{finding:?}");
    }
}

#[test]
fn a_bundle_that_is_as_new_as_it_has_to_be_or_that_nothing_runs_is_no_fault() {
    let lab = Lab::new();
    let status = || find(&lab.look(INSTALLED, sound_unit), "plugin-bundles").clone();
    lab.reset();
    lab.bundle("data/plugins/focalboard.tar.gz", "focalboard", "7.8.2", 40);
    lab.bundle("prepackaged_plugins/mattermost-plugin-boards-v7.8.2.tar.gz", "focalboard", "7.8.2", 40);
    lab.boards_migrated_to(40);
    assert_eq!(status().status, Status::Pass, "{:?}", status());
    // An older one that is switched off, and a file that is no bundle.
    lab.bundle("data/plugins/focalboard.tar.gz", "focalboard", "0.15.0", 18);
    fs::write(lab.root().join("data/plugins/broken.tar.gz"), "no archive").unwrap();
    assert_eq!(status().status, Status::Fail, "{:?}", status());
    lab.site.set("PluginSettings", "PluginStates", serde_json::json!({"focalboard": {"Enable": false}}));
    assert_eq!(status().status, Status::Pass, "{:?}", status());
    lab.site.set("FileSettings", "DriverName", serde_json::json!("amazons3"));
    assert_eq!(status().status, Status::Skip, "{:?}", status());
}

#[test]
fn every_check_of_the_host_has_a_case() {
    let cases: BTreeSet<&str> = CASES.iter().map(|case| case.check).collect();
    assert_eq!(cases, host::ids().into_iter().collect::<BTreeSet<_>>());
}

#[test]
fn what_cannot_be_looked_at_is_said_and_is_no_fault() {
    let lab = Lab::new();
    lab.reset();
    let state = lab.installation().unwrap().state.path().join(MANIFESTS);
    fs::remove_dir_all(&state).unwrap();
    let findings = lab.look(INSTALLED, |_| Err(Error::failed("systemctl is away")));
    for id in ["unit-timeout", "unit-postgres", "unit-platform", "release-files"] {
        assert_eq!(find(&findings, id).status, Status::Error, "{:?}", find(&findings, id));
    }
    let unseen = find(&findings, "release-files");
    assert!(unseen.fix.starts_with("mm-fetch 5.29.0 --edition team --cache "), "{unseen:?}");
    assert!(unseen.evidence.contains("5.29.0 (team)"), "{unseen:?}");

    // With the release in the cache of mm-fetch, proven by another digest than the catalogue's, it is looked at.
    let release = quick("5.29.0").build();
    let releases = lab.site.releases(std::slice::from_ref(&release));
    let mut fetch = mm_test_support::tool::tool("mm-fetch");
    fetch.args(["5.29.0", "--edition", "team", "--mirror", releases.site.url()]);
    fetch.args(["--sha256", &release.sha256, "--cache", text(&lab.site.cache())]).assert().success();
    assert_eq!(find(&lab.look(INSTALLED, sound_unit), "release-files").status, Status::Pass);
}
