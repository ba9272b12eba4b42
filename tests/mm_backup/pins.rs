//! What the way back of an upgrade needs is kept, whatever the retention of the night says.

use std::fs;

use mm_test_support::site::Site;
use serde_json::{Value, json};

use crate::{listed, make};

/// Makes a restore point in a hop of an upgrade run, and returns its identifier.
fn make_in_run(site: &Site, run: &str, flags: &[&str]) -> String {
    let hop = json!({ "from": "5.29.0", "to": "5.37.10", "edition": "team", "url": "", "sha256": [] });
    let document = json!({
        "schema": "mm.upgrade/1",
        "run": { "id": run, "started": "2026-11-22T03:00:00Z" },
        "path": { "current": "5.29.0", "target": "5.37.10", "policy": "esr", "hops": [hop], "next": hop },
    });
    let mut command = site.tool("mm-backup");
    let made = command.arg("--to").arg(site.store()).args(flags).write_stdin(document.to_string()).assert().success();
    let document: Value = serde_json::from_slice(&made.get_output().stdout).unwrap();
    document["backup"]["id"].as_str().unwrap().to_owned()
}

/// The pinned restore points with the reason of each.
fn pinned(site: &Site) -> Vec<(String, String)> {
    let shown = site.tool("mm-backup").arg("--to").arg(site.store()).args(["list", "--format", "json"]).assert();
    let list: Value = serde_json::from_slice(&shown.success().get_output().stdout).unwrap();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let pin = |point: &Value| Some((text(&point["id"])?, text(&point["pinned"]["why"])?));
    list["points"].as_array().unwrap().iter().filter_map(pin).collect()
}

fn run(site: &Site, flags: &[&str]) -> (Option<i32>, String) {
    let output = site.tool("mm-backup").arg("--to").arg(site.store()).args(flags).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    (output.status.code(), said)
}

#[test]
fn the_night_of_an_upgrade_leaves_its_way_back() {
    let site = Site::builder("5.29.0").build();
    let first = make_in_run(&site, "run", &[]);
    let second = make_in_run(&site, "run", &[]);
    let third = make_in_run(&site, "run", &[]);
    let first_and_newest = [(first.clone(), "first".to_owned()), (third.clone(), "newest".to_owned())].to_vec();
    assert_eq!(pinned(&site), first_and_newest);

    // The line of cron, on the same day, with nothing of this machine's state at hand.
    fs::remove_dir_all(site.state()).unwrap();
    let nightly = make(&site, &["--keep-daily", "7"]);
    let nightly = nightly["id"].as_str().unwrap();
    assert_eq!(listed(&site).0, [&first, &third, nightly], "{second} was not pinned any more");
    let (code, said) = run(&site, &["prune", "--keep-last", "1", "-v"]);
    assert!(code == Some(0) && said.contains("2 kept that are pinned"), "{said}");
    assert!(said.contains(&format!("{first}: it is the first of the upgrade run run")), "{said}");
    assert!(said.contains("mm-swap prune") && said.contains("mm-backup unpin"), "{said}");
    let (_, said) = run(&site, &["list", "--format", "human"]);
    assert!(said.contains(&format!("{third}  PINNED: it is that of the newest hop")), "{said}");

    assert_eq!(run(&site, &["unpin", &first, "--dry-run"]).0, Some(0));
    let (code, said) = run(&site, &["unpin", &first]);
    assert!(code == Some(0) && said.contains("is released"), "{said}");
    let (code, said) = run(&site, &["unpin", &first]);
    assert!(code == Some(0) && said.contains("is not pinned"), "{said}");
    assert_eq!(run(&site, &["unpin", "20200101T000000Z"]).0, Some(5));
    run(&site, &["prune", "--keep-last", "1"]);
    assert_eq!(listed(&site).0, [&third, nightly]);
}

#[test]
fn every_hop_is_pinned_when_asked_for_and_what_came_to_nothing_is_not() {
    let site = Site::builder("5.29.0").build();
    let first = make_in_run(&site, "run", &["--pin-all"]);
    let second = make_in_run(&site, "run", &["--pin-all"]);
    let third = make_in_run(&site, "run", &["--pin-all"]);
    let other = make_in_run(&site, "other", &[]);
    let whys: Vec<_> = pinned(&site).into_iter().collect();
    let expected = [(&first, "first"), (&second, "asked"), (&third, "asked"), (&other, "first")];
    assert_eq!(whys, expected.map(|(id, why)| (id.clone(), why.to_owned())));
    make(&site, &["--keep-last", "1"]);
    assert_eq!(listed(&site).0.len(), 5);

    // A pin that nobody can read keeps its restore point, and a retention works all the same.
    fs::write(site.store().join(format!(".pin-{other}.json")), "odd").unwrap();
    for id in [&first, &second, &third] {
        assert_eq!(run(&site, &["unpin", id]).0, Some(0));
    }
    run(&site, &["prune", "--keep-last", "1"]);
    let left = listed(&site).0;
    assert!(left.len() == 2 && left[0] == other, "{left:?}");
}
