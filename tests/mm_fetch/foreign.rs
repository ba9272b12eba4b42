//! Documents from elsewhere: what they say proves no release.

use std::os::unix::fs::chown;

use mm_test_support::process::{TEST_USER, ids};
use predicates::str::contains;
use serde_json::json;

use crate::fixture::{Place, complete, document, release, sha256, written};

#[test]
fn a_foreign_document_does_not_prove_its_own_tarball() {
    let (place, evil) = (Place::new(), release(61, 2000));
    // One that the catalogue knows, and one that it does not.
    let mirror = place.mirror(&[("10.6.1", &evil), ("99.0.0", &evil)]);
    let fetch = |version: &str| {
        let mut command = place.tool();
        command.arg("--mirror").arg(&mirror);
        command.write_stdin(document("10.5.0", &[(version, sha256(&evil))]).to_string());
        command
    };
    fetch("10.6.1").assert().code(1).stderr(contains("the published one is"));
    fetch("99.0.0").assert().code(5).stderr(contains("--accept document-digest"));
    assert!(place.cached().iter().all(|path| path.starts_with("refused/")), "{:?}", place.cached());
    fetch("10.6.1").args(["--accept", "document-digest"]).assert().code(1);
    // An administrator may vouch for what nobody else knows.
    let assert = fetch("99.0.0").args(["--accept", "document-digest"]).assert().success();
    assert_eq!(written(&assert)["fetch"]["releases"][0]["proof"], "document");
    assert!(complete("99.0.0", &evil).iter().all(|path| place.cached().contains(path)), "{:?}", place.cached());
}

#[test]
fn a_catalogue_that_a_document_names_counts_only_where_nobody_else_could_have_written_it() {
    let (place, tarball) = (Place::new(), release(62, 2000));
    let mirror = place.mirror(&[("10.6.1", &tarball)]);
    let hops = [("10.6.1", sha256(&tarball))];
    let catalogue = place.catalogue(&hops);
    let mut document = document("10.5.0", &hops);
    document["path"]["wish"] = json!({ "catalogue": catalogue });
    let fetch = || {
        let mut command = place.tool();
        command.arg("--mirror").arg(&mirror).write_stdin(document.to_string());
        command
    };
    chown(&catalogue, Some(ids(TEST_USER).0), None).unwrap();
    fetch().assert().code(5).stderr(contains("belongs to the user")).stderr(contains("--catalogue"));
    assert_eq!(place.cached(), [""; 0]);
    fetch().arg("--catalogue").arg(&catalogue).assert().success();
    chown(&catalogue, Some(0), None).unwrap();
    fetch().assert().success();
}
