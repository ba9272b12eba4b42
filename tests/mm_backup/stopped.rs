//! mm-backup asked to stop at its checkpoints: what it says is true, nothing half-made stays, and the server runs.

use mm_test_support::asked::{Asked, nothing_is_open};
use mm_test_support::process::wait_until;
use mm_test_support::site::Site;
use serde_json::json;

use crate::interruptions::{PATIENCE, leftovers};
use crate::{listed, make, verify};

const VERSION: &str = "10.5.14";

#[test]
fn asked_while_it_makes_a_restore_point_it_makes_it_or_leaves_none() {
    let site = Site::builder(VERSION).running().build();
    let store = site.store().display().to_string();
    let asked = Asked::of(&site, "mm-backup", &["--to", &store, "--stop"]);
    let checkpoints = asked.checkpoints();
    let mut codes = Vec::new();
    asked.at_each(&checkpoints, |ended| {
        let before = codes.iter().filter(|code| **code == 0).count() + 1;
        let (points, damaged) = listed(&site);
        assert_eq!(points.len(), before + usize::from(ended.code == 0), "{}: {}", ended.at, ended.said);
        assert!(damaged.is_empty() && leftovers(&site).is_empty(), "{}: {}", ended.at, ended.said);
        wait_until("the server", PATIENCE, || site.answers());
        nothing_is_open(&site, &ended.at);
        codes.push(ended.code);
    });
    assert!(codes.contains(&1), "{codes:?} at {checkpoints:?}");
    let (code, said) = verify(&site, &[]);
    assert_eq!(code, 0, "{said}");
    // And one that nobody disturbs is as good as ever.
    make(&site, &["--stop"]);
}

#[test]
fn asked_while_it_stores_a_frozen_database_it_stores_it_or_goes_on_the_next_time() {
    let site = Site::builder(VERSION).running().build();
    let freeze = || {
        let frozen = make(&site, &["--stop", "--freeze"]);
        assert!(frozen["freeze"]["copy"].is_string(), "{frozen}");
        json!({ "schema": "mm.upgrade/1", "backup": frozen })
    };
    let checkpoints = Asked::of(&site, "mm-backup", &["complete"]).given(&freeze()).checkpoints();
    let mut document = freeze();
    for (name, signal) in checkpoints.iter().zip(["SIGTERM", "SIGINT"].into_iter().cycle()) {
        let ended = Asked::of(&site, "mm-backup", &["complete"]).given(&document).at(signal, name);
        let id = document["backup"]["id"].as_str().unwrap();
        if ended.code != 0 {
            let again = site.tool("mm-backup").arg("complete").write_stdin(document.to_string()).output().unwrap();
            assert!(again.status.success(), "{}: {}", ended.at, String::from_utf8_lossy(&again.stderr));
        }
        let (code, said) = verify(&site, &[id]);
        assert_eq!(code, 0, "{}: {said}", ended.at);
        assert!(site.answers(), "{}", ended.at);
        document = freeze();
    }
}

#[test]
fn asked_while_it_restores_it_restores_or_leaves_what_was_there() {
    let site = Site::builder(VERSION).running().build();
    let point = make(&site, &["--stop"]);
    let id = point["id"].as_str().unwrap();
    wait_until("the server", PATIENCE, || site.answers());
    let stored = (site.history(), site.user_files());
    let change = || {
        site.cluster.query("UPDATE posts SET message = message || '.' WHERE id = (SELECT min(id) FROM posts)");
        std::fs::write(site.install().join("data/own"), "since").unwrap();
        (site.history(), site.user_files())
    };
    let store = site.store().display().to_string();
    let asked = Asked::of(&site, "mm-backup", &["restore", id, "--to", &store, "--stop"]);
    change();
    let checkpoints = asked.checkpoints();
    let mut changed = change();
    let mut codes = Vec::new();
    asked.at_each(&checkpoints, |ended| {
        wait_until("the server", PATIENCE, || site.answers());
        let is = (site.history(), site.user_files());
        assert_eq!(is, if ended.code == 0 { stored.clone() } else { changed.clone() }, "{}: {}", ended.at, ended.said);
        nothing_is_open(&site, &ended.at);
        if ended.code == 0 {
            changed = change();
        }
        codes.push(ended.code);
    });
    assert!(codes.contains(&0) && codes.iter().any(|code| *code != 0), "{codes:?} at {checkpoints:?}");
}

#[test]
fn asked_while_it_ends_a_restore_that_was_cut_off_it_is_ended_or_can_be() {
    let site = Site::builder(VERSION).running().build();
    let point = make(&site, &["--stop"]);
    let id = point["id"].as_str().unwrap();
    let store = site.store().display().to_string();
    let cut_off = || {
        std::fs::write(site.install().join("NOTICE.txt"), "since").unwrap();
        let mut command = site.tool("mm-backup");
        command.args(["restore", id, "--to", &store, "--stop"]).env("MM_CHECKPOINT", "restore-moved");
        assert_eq!(command.output().unwrap().status.code(), None);
    };
    cut_off();
    let asked = Asked::of(&site, "mm-backup", &["recover"]);
    let checkpoints = asked.checkpoints();
    for (name, signal) in checkpoints.iter().zip(["SIGTERM", "SIGINT"].into_iter().cycle()) {
        cut_off();
        let ended = asked.at(signal, name);
        if ended.code != 0 {
            let again = asked.at("SIGTERM", "never");
            assert_eq!(again.code, 0, "after {}: {}", ended.at, again.said);
        }
        let notice = std::fs::read_to_string(site.install().join("NOTICE.txt")).unwrap();
        assert_eq!(notice, "since", "{}: it was undone", ended.at);
        wait_until("the server", PATIENCE, || site.answers());
        nothing_is_open(&site, &ended.at);
    }
}
