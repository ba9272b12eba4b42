//! `mm-swap rollback` killed, and run again: one command is one hop, whatever cut it off and however often it is repeated.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::time::Duration;

use mm_test_support::matrix;
use mm_test_support::process::wait_until;
use mm_test_support::site::{Site, quick};
use serde_json::Value;

use super::back::{FROM, Lab, NEXT, PATIENCE, said};
use super::{killed, swap};

/// What was installed before the first of two hops.
const FIRST: &str = "10.5.12";

const BACK: &[&str] = &["rollback", "--database"];

/// Kills it at these checkpoints, or at its own; `hint` is what the rollbacks that are repeated say of the hop
/// before.
fn killed_at(only: &[&str], lab: &Lab, hint: &str) {
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
    let mut names = killed::some(std::fs::read_to_string(&log).unwrap().lines().map(str::to_owned).collect());
    if only.is_empty() {
        names = matrix::some(names);
    } else {
        names.retain(|name| only.contains(&name.as_str()));
    }
    for name in &names {
        succeeds(&["run"], name);
        let output = lab.swap(BACK, name);
        assert_eq!(output.status.signal(), Some(9), "it was to die at `{name}`: {}", said(&output));
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
    let names = ["undo-held", "undo-restored", "undone"];
    killed_at(&names, &lab, " is back already; nothing is to be done");
}

#[test]
fn with_two_hops_on_record_the_first_one_stays() {
    let site = Site::builder(FIRST).running().build();
    swap(&site, &quick(FROM).build(), &[]).with(0);
    let lab = Lab::of(site, &quick(NEXT));
    let (install, state) = (lab.site.install(), lab.site.state());
    let before =
        format!("mm-swap rollback --to {FIRST} --install {} --state-dir {}", install.display(), state.display());
    killed_at(&[], &lab, &format!("; for the hop before: {before}"));

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

/// The power fails while the database is put back: mm-backup, which mm-swap has asked for it, has a journal of its own.
#[test]
fn a_restore_that_was_cut_off_on_the_way_back_is_finished_with_it() {
    let lab = Lab::of(Site::builder(FROM).running().build(), &quick(NEXT));
    let history = lab.site.history();
    let document: Value = serde_json::from_str(&lab.document).unwrap();
    let point = document["backup"]["id"].as_str().unwrap();
    for checkpoint in ["restore-moved", "restore-exchanged"] {
        assert_eq!(lab.swap(&["run"], "").status.code(), Some(0));
        assert_eq!(lab.swap(BACK, "undo-config").status.signal(), Some(9));
        let restore = {
            // The lock is open here no longer than there.
            let mut restore = Command::new(mm_test_support::tool::executable("mm-backup"));
            restore.args(["restore", point, "--database", "--document", "none", "--to"]).arg(lab.site.store());
            restore.args(lab.site.flags()).env("MM_CHECKPOINT", checkpoint);
            restore.stdin(std::fs::File::open(lab.lock_file()).unwrap()).output().unwrap()
        };
        assert_eq!(restore.status.signal(), Some(9), "{}", said(&restore));
        for _ in 0..2 {
            let output = lab.swap(BACK, "");
            assert_eq!(output.status.code(), Some(0), "after `{checkpoint}`: {}", said(&output));
            assert_eq!(lab.site.running_version().as_deref(), Some(FROM), "after `{checkpoint}`");
        }
        assert_eq!(lab.site.history(), history, "after `{checkpoint}`");
        // Nothing is left open: another tool goes on.
        let mut create = lab.site.tool("mm-backup");
        create.args(["--no-database", "--to"]).arg(lab.site.store()).assert().success();
    }
}

/// mm-swap, killed alone or with all that it has started once `moment` is over, and the same command again at once: whatever
/// it has left behind, that ends the way back.
fn killed_after(lab: &Lab, history: &str, moment: impl FnOnce(), alone: bool) {
    let output = lab.swap(&["run"], "");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let mut running = lab.begin(BACK);
    moment();
    // It may have come to its end meanwhile.
    let _ = running.kill();
    if !alone {
        lab.end_all();
    }
    running.wait().unwrap();
    if !alone && !lab.lock_file().with_file_name("swap.journal").exists() {
        // The server was ended too. Nothing was begun, or all was done: nobody but an administrator knows that it ran.
        lab.site.start();
    }
    let output = lab.swap(BACK, "");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(lab.site.running_version().as_deref(), Some(FROM), "{}", said(&output));
    assert_eq!(lab.site.history(), history, "{}", said(&output));
}

/// What it has asked another tool for goes on for a moment with the lock.
#[test]
fn killed_alone_while_another_tool_works_for_it_the_same_command_ends_it() {
    let lab = Lab::of(Site::builder(FROM).running().build(), &quick(NEXT));
    let history = lab.site.history();
    let works = || {
        wait_until("mm-backup to work under the lock", PATIENCE, || lab.works("mm-backup"));
    };
    killed_after(&lab, &history, works, true);
}

/// Whoever waits for the lock does not get it in the middle of the way back, where another tool puts the database back.
#[test]
fn nobody_gets_the_lock_before_the_way_back_has_ended() {
    let lab = Lab::of(Site::builder(FROM).running().build(), &quick(NEXT));
    assert_eq!(lab.swap(&["run"], "").status.code(), Some(0));
    let mut running = lab.begin(BACK);
    let lock = std::fs::File::open(lab.lock_file()).unwrap();
    let is_open = || lab.lock_file().with_file_name("swap.journal").exists();
    wait_until("the way back to have begun", PATIENCE, is_open);
    let mut looks = 0;
    while running.try_wait().unwrap().is_none() {
        if lock.try_lock().is_ok() {
            // It ends with the journal, or the end was seen a moment late.
            assert!(!is_open(), "the lock was free while the way back was under way, after {looks} looks");
            lock.unlock().unwrap();
        }
        looks += 1;
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(running.wait().unwrap().success() && looks > 100, "{looks}");
    assert_eq!(lab.site.running_version().as_deref(), Some(FROM));
}

#[test]
#[ignore = "long: the end of it is tried with every change"]
fn killed_at_random_moments_the_same_command_ends_it() {
    let mut number = 0_u64;
    for hops in [1, 2] {
        let site = Site::builder(if hops == 1 { FROM } else { FIRST }).running().build();
        if hops == 2 {
            swap(&site, &quick(FROM).build(), &[]).with(0);
        }
        let lab = Lab::of(site, &quick(NEXT));
        let history = lab.site.history();
        for turn in 0..50 {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let moment = Duration::from_millis((number >> 33) % 4000);
            eprintln!("{hops} on record, {turn}: killed after {moment:?}");
            killed_after(&lab, &history, || std::thread::sleep(moment), turn % 2 == 0);
        }
        // With two hops on record, that is tried with every change.
        if hops == 1 {
            killed_at(&[], &lab, " is back already; nothing is to be done");
        }
    }
}

#[test]
fn from_a_server_that_is_gone_there_is_a_way_back_with_the_database() {
    let lab = Lab::of(Site::builder(FROM).running().build(), &quick(NEXT));
    let history = lab.site.history();
    assert_eq!(lab.swap(&["run"], "").status.code(), Some(0));
    // It runs on, as it does when its file is deleted under it.
    std::fs::remove_file(lab.site.install().join("bin/mattermost")).unwrap();
    assert_eq!(lab.status()["installed"], NEXT);
    let output = lab.swap(BACK, "undo-database");
    assert_eq!(output.status.signal(), Some(9), "{}", said(&output));
    for words in [&["recover"][..], BACK] {
        let output = lab.swap(words, "");
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", said(&output));
        assert_eq!(lab.site.running_version().as_deref(), Some(FROM));
    }
    assert_eq!(lab.site.history(), history);
}
