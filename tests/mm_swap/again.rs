//! `mm-swap rollback` killed, and run again: one command is one hop, whatever cut it off and however often it is repeated.

use std::os::unix::process::ExitStatusExt as _;

use mm_test_support::site::{Site, quick};
use serde_json::Value;

use super::back::{FROM, Lab, NEXT, said};
use super::{killed, swap};

/// What was installed before the first of two hops.
const FIRST: &str = "10.5.12";

const BACK: &[&str] = &["rollback", "--database"];

/// Kills it at each of its checkpoints; `hint` is what the rollbacks that are repeated say of the hop before.
fn killed_everywhere(lab: &Lab, hint: &str) {
    let succeeds = |words: &[&str], after: &str| {
        let output = lab.swap(words, "");
        assert_eq!(output.status.code(), Some(0), "{words:?} after `{after}`: {}", said(&output));
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        document["msg"].as_str().unwrap().to_owned()
    };
    let is_back = |after: &str| assert_eq!(lab.site.running_version().as_deref(), Some(FROM), "after `{after}`");
    let history = lab.site.history();
    succeeds(&["run"], "nothing");
    let log = lab.site.directory().join("checkpoints");
    lab.site.tool("mm-swap").args(BACK).env("MM_CHECKPOINT_LOG", &log).assert().success();
    let names = killed::some(std::fs::read_to_string(&log).unwrap().lines().map(str::to_owned).collect());
    for name in &names {
        succeeds(&["run"], name);
        let output = lab.swap(BACK, name);
        // Where its mm-backup dies, it could not go back.
        let died = output.status.signal() == Some(9) || output.status.code() == Some(3);
        assert!(died, "it was to die at `{name}`: {}", said(&output));
        let foreseen = succeeds(&["rollback", "--database", "--dry-run"], name);
        assert!(!foreseen.contains(FIRST) || foreseen.contains(hint), "after `{name}`: {foreseen}");
        succeeds(BACK, name);
        is_back(name);
        for words in [BACK, &["rollback"]] {
            let said = succeeds(words, name);
            assert!(said.ends_with(hint), "after `{name}`: {said}");
            is_back(name);
            lab.site.tool("mm-swap").args(["prune", "--keep", "9"]).assert().success();
        }
        assert_eq!(lab.site.history(), history, "after `{name}`");
    }
    eprintln!("killed at {} checkpoints: {}", names.len(), names.join(", "));
}

#[test]
fn with_one_hop_on_record_it_is_gone_back() {
    let lab = Lab::of(Site::builder(FROM).running().build(), &quick(NEXT));
    killed_everywhere(&lab, " is back already; nothing is to be done");
}

#[test]
fn with_two_hops_on_record_the_first_one_stays() {
    let site = Site::builder(FIRST).running().build();
    swap(&site, &quick(FROM).build(), &[]).with(0);
    let lab = Lab::of(site, &quick(NEXT));
    let before = format!("mm-swap rollback --to {FIRST} --install {}", lab.site.install().display());
    killed_everywhere(&lab, &format!("; for the hop before: {before}"));

    // It goes back over one more when it is told where to, and over no other.
    let refused = lab.swap(&["rollback", "--to", "10.5.1"], "");
    assert_eq!(refused.status.code(), Some(5), "{}", said(&refused));
    assert!(said(&refused).contains(&before), "{}", said(&refused));
    for _ in 0..2 {
        let output = lab.swap(&["rollback", "--to", FIRST], "");
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert_eq!(lab.site.running_version().as_deref(), Some(FIRST));
    }
    // What is done after it can be gone back over again.
    swap(&lab.site, &quick(FROM).build(), &[]).with(0);
    assert_eq!(lab.swap(&["rollback"], "").status.code(), Some(0));
    assert_eq!(lab.site.running_version().as_deref(), Some(FIRST));
}
