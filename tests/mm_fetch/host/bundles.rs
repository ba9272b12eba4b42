//! Releases carried to a host without internet.

use std::path::Path;

use mm_test_support::process::run;
use predicates::str::contains;
use serde_json::{Value, json};

use super::VERSION;
use crate::fixture::{Place, document, file_name, release, sha256, written};

#[test]
fn a_bundle_carries_a_plan_to_a_host_without_internet() {
    let here = Place::new();
    let (old, one, two) = (release(11, 20_000), release(12, 30_000), release(13, 40_000));
    let mirror = here.mirror(&[("9.5.0", &old), ("9.11.18", &one), ("10.6.1", &two)]);
    let catalogue = here.path("catalogue.json");
    let overlay = json!({"releases": [
        {"version": "9.5.0", "team": {"sha256": [sha256(&old)]}},
        {"version": "9.11.18", "team": {"sha256": [sha256(&one)]}},
        {"version": "10.6.1", "team": {"sha256": [sha256(&two)]}},
    ]});
    std::fs::write(&catalogue, overlay.to_string()).unwrap();
    // What was refreshed here goes along.
    let refreshed = json!({"as_of": "2027-01-05", "releases": [{"version": "12.90.0", "team": {"status": "signed"}}]});
    std::fs::create_dir(here.path("state")).unwrap();
    std::fs::write(here.path("state/catalogue.json"), refreshed.to_string()).unwrap();
    let plan = document("9.5.0", &[("9.11.18", sha256(&one)), ("10.6.1", sha256(&two))]);
    let bundle = here.path("bundle");
    let make = || {
        let mut command = here.tool();
        command.arg("--mirror").arg(&mirror).arg("--bundle").arg(&bundle).arg("--catalogue").arg(&catalogue);
        command.arg("--state-dir").arg(here.path("state"));
        command.write_stdin(plan.to_string()).assert().success()
    };
    let assert = make();
    assert!(written(&assert)["msg"].as_str().unwrap().contains("bundle"), "{}", written(&assert));
    run("bash", &["-c", &format!("cd '{}' && sha256sum --quiet -c SHA256SUMS", bundle.display())]);
    for name in ["bundle.json", "plan.json", "catalogue.json", &format!("10.6.1/{}.release.json", file_name("10.6.1"))]
    {
        assert!(bundle.join(name).is_file(), "{name}");
    }
    let carried: Value = serde_json::from_slice(&std::fs::read(bundle.join("catalogue.json")).unwrap()).unwrap();
    let versions: Vec<&str> =
        carried["releases"].as_array().unwrap().iter().map(|release| release["version"].as_str().unwrap()).collect();
    assert_eq!((versions, &carried["as_of"]), (vec!["12.90.0", "9.5.0", "9.11.18", "10.6.1"], &json!("2027-01-05")));
    // Made again it is completed, not made anew.
    std::fs::write(bundle.join("10.6.1").join(file_name("10.6.1")), "half").unwrap();
    make();
    run("bash", &["-c", &format!("cd '{}' && sha256sum --quiet -c SHA256SUMS", bundle.display())]);

    let there = Place::new();
    let carry = |place: &Place, from: &Path| {
        let mut command = place.tool();
        command.arg("--from-bundle").arg(from).arg("--catalogue").arg(from.join("catalogue.json"));
        command
    };
    let assert = carry(&there, &bundle).write_stdin(plan.to_string()).assert().success();
    assert_eq!(written(&assert)["fetch"]["releases"].as_array().map(Vec::len), Some(3));
    assert_eq!(there.cached(), here.cached());
    // Without a document: everything that is in it.
    let alone = Place::new();
    carry(&alone, &bundle).write_stdin("").assert().success();
    assert_eq!(alone.cached(), here.cached());
}

#[test]
fn a_bundle_does_not_vouch_for_itself() {
    let here = Place::new();
    let (good, bad) = (release(14, 20_000), release(15, 20_000));
    let mirror = here.mirror(&[(VERSION, &good)]);
    let bundle = here.path("bundle");
    let mut command = here.get(mirror.to_str().unwrap(), VERSION, &sha256(&good));
    command.arg("--bundle").arg(&bundle).assert().success();
    // Somebody exchanges the tarball and makes all lists fit.
    for name in ["bundle.json", "SHA256SUMS"] {
        let text = std::fs::read_to_string(bundle.join(name)).unwrap();
        std::fs::write(bundle.join(name), text.replace(&sha256(&good), &sha256(&bad))).unwrap();
    }
    std::fs::write(bundle.join(VERSION).join(file_name(VERSION)), &bad).unwrap();
    let there = Place::new();
    let mut command = there.tool();
    // The catalogue has the published digest of this version, which is neither of the two.
    command.arg("--from-bundle").arg(&bundle).write_stdin("").assert().code(1).stderr(contains(sha256(&bad)));
    let mut command = there.tool();
    command.args(["--edition", "team", VERSION, "--sha256", &sha256(&good), "--from-bundle"]).arg(&bundle);
    command.assert().code(1);
    assert!(there.cached().iter().all(|path| path.starts_with("refused/")), "{:?}", there.cached());
}

#[test]
fn half_a_bundle_and_other_directories_are_refused() {
    let place = Place::new();
    std::fs::create_dir(place.path("empty")).unwrap();
    let from = |directory: &Path| {
        let mut command = place.tool();
        command.arg("--from-bundle").arg(directory);
        command
    };
    from(&place.path("empty")).write_stdin("").assert().code(5).stderr(contains("not a bundle"));
    from(&place.path("none")).write_stdin("").assert().code(5).stderr(contains("not a bundle"));
}
