//! The windows of `scripts/mm-upgrade`: no hop begins that would not end inside one, and what is found before it.

use std::fs;

use mm_test_support::site::quick;
use mm_test_support::tool;
use mm_test_support::upgrade::Upgrade;
use serde_json::json;

use crate::run::good;

/// A window of an hour that is over for today, whatever the time.
pub(crate) fn closed() -> String {
    let hour = hours_from_now(22);
    format!("{hour:02}:00-{:02}:00", (hour + 1) % 24)
}

/// An hour of the day.
fn hours_from_now(hours: u32) -> u32 {
    let now = String::from_utf8(tool::shell("date +%H").output().unwrap().stdout).unwrap();
    (now.trim().parse::<u32>().unwrap() + hours) % 24
}

#[test]
fn no_hop_begins_outside_the_window() {
    let upgrade = Upgrade::of(&[quick("9.11.18"), quick("10.5.14")]);
    let pids = upgrade.site.pids();
    let said = good(&upgrade.run("run", &["--to", "10.5.14", "--window", &closed()]));
    assert!(said.contains("not expected to end inside the window"), "{said}");
    assert_eq!(upgrade.site.pids(), pids, "the server was touched");
    assert!(!upgrade.site.store().exists(), "a restore point was begun");
}

#[test]
fn a_hop_that_took_longer_in_the_rehearsal_than_the_window_is_not_begun() {
    let upgrade = Upgrade::of(&[quick("9.11.18"), quick("10.5.14"), quick("10.6.1")]);
    let rehearsal = upgrade.site.directory().join("rehearsal.json");
    let hop = |from: &str, to: &str, seconds: u32| json!({"hop": {"from": from, "to": to}, "seconds": seconds, "swap": {"healthy_after_seconds": 1}});
    // Longer than a day: it fits into no window.
    let done = [hop("9.11.18", "10.5.14", 2), hop("10.5.14", "10.6.1", 100_000)];
    fs::write(&rehearsal, json!({"schema": "mm.upgrade/1", "rehearsal": {"done": done}}).to_string()).unwrap();
    let hour = hours_from_now(0);
    let window = format!("{hour:02}:00-{:02}:00", (hour + 12) % 24);
    let arguments = ["--to", "10.6.1", "--window", &window, "--rehearsal", rehearsal.to_str().unwrap()];
    let said = good(&upgrade.run("run", &arguments));
    assert!(said.contains("the hop to 10.6.1 is not expected to end inside the window"), "{said}");
    assert_eq!(upgrade.site.running_version().as_deref(), Some("10.5.14"), "public, on its own port");
    let estimate = upgrade.last("current.json")["path"]["next"]["estimate"]["basis"].clone();
    assert_eq!(estimate, "measured in a rehearsal");
    fs::write(&rehearsal, "not JSON").unwrap();
    assert_eq!(upgrade.run("run", &arguments).status.code(), Some(65));
}

#[test]
fn what_only_the_release_can_tell_is_told_once_and_before_anything_stops() {
    let upgrade = Upgrade::of(&[quick("9.11.18"), quick("10.5.14")]);
    let site = &upgrade.site;
    let changed = site.install().join("i18n/en.json");
    fs::write(&changed, "[]").unwrap();
    let closed = closed();
    let pids = site.pids();
    let said = good(&upgrade.run("run", &["--to", "10.5.14", "--window", &closed]));
    let found: Vec<&str> = said.lines().filter(|line| line.starts_with("preflight, ")).collect();
    let of_release: Vec<_> = found.iter().filter(|line| line.contains("Files of the release")).collect();
    assert_eq!(of_release.len(), 1, "{said}");
    assert!(of_release[0].contains("i18n/en.json is not as it was released"), "{said}");
    let mut once = found.clone();
    once.sort_unstable();
    once.dedup_by_key(|line| line.split(": ").nth(1).unwrap().to_owned());
    assert_eq!(once.len(), found.len(), "twice: {said}");
    let plan = upgrade.last("plan.json");
    let check = plan["path"]["checks"].as_array().unwrap().iter().find(|check| check["id"] == "release-files").unwrap();
    assert_eq!(check["status"], "warn", "{check}");
    assert_eq!(site.pids(), pids, "the server was touched");
    // The releases are there now: one look is enough.
    let said = good(&upgrade.run("run", &["--to", "10.5.14", "--window", &closed]));
    assert_eq!(said.matches("i18n/en.json is not as it was released").count(), 1, "{said}");
}
