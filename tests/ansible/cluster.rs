//! App nodes on hosts of their own, with the database of the first one.

use mm_test_support::site::quick;
use serde_json::Value;

use crate::fixture::Play;

const NODES: [&str; 2] = ["one", "two"];

#[test]
fn the_nodes_of_a_cluster_are_stopped_together_when_the_schema_changes() {
    let mut play = Play::of(&[quick("9.11.18"), quick("10.5.14")], &NODES);
    play.set("mm_tools_to", "10.5.14");
    let history = play.history();
    let (recap, seen) = play.watched(|| play.run("cluster.yml", &[]));
    let recap = recap.good();
    assert!(NODES.iter().all(|node| recap.count(node, "changed") > 0), "{}", recap.said);
    assert_eq!(play.running_versions(), ["10.5.14"; 2], "{}", recap.said);
    assert_eq!(play.history(), history);
    for look in seen {
        let mixed = look[0].as_deref() == Some("10.5.14") && look[1].as_deref() == Some("9.11.18");
        assert!(!mixed, "an old server ran on the new schema");
    }
}

#[test]
#[ignore = "long: minutes of Ansible"]
fn a_check_a_second_run_and_a_limited_one_change_nothing() {
    let mut play = Play::of(&[quick("9.11.18"), quick("10.5.14")], &NODES);
    play.set("mm_tools_to", "10.5.14");
    let check = play.run("cluster.yml", &["--check"]).good();
    assert!(check.said.contains("All nodes are stopped, one is upgraded"), "{}", check.said);
    assert_eq!(play.running_versions(), ["9.11.18"; 2]);
    play.run("cluster.yml", &[]).good();
    assert_eq!(play.running_versions(), ["10.5.14"; 2]);
    play.run("cluster.yml", &[]).unchanged(&NODES);
    let limited = play.run("cluster.yml", &["--limit", "one"]);
    assert!(limited.code == Some(2) && limited.said.contains("Without --limit"), "{}", limited.said);
}

#[test]
#[ignore = "long: minutes of Ansible"]
fn the_other_nodes_serve_again_when_the_first_one_fails() {
    let play = Play::of(&[quick("9.11.18"), quick("10.5.14").fault("crash-at-start")], &NODES);
    let failed = play.run("cluster.yml", &["-e", "mm_tools_to=10.5.14"]);
    assert_eq!(failed.code, Some(2), "{}", failed.said);
    assert!(failed.said.contains("9.11.18 to 10.5.14: mm-swap: ") && failed.said.contains(". Next: "));
    assert_eq!((failed.count("one", "failed"), failed.count("two", "failed")), (1, 0), "{}", failed.said);
    assert_eq!(play.running_versions(), ["9.11.18"; 2], "{}", failed.said);
}

#[test]
#[ignore = "long: minutes of Ansible"]
fn the_nodes_are_stopped_together_when_nothing_may_be_done_in_turn() {
    let mut play = Play::of(&[quick("10.5.6"), quick("10.5.14")], &NODES);
    play.set("mm_tools_to", "10.5.14");
    play.set("mm_tools_rolling", "never");
    let recap = play.run("cluster.yml", &[]).good();
    assert!(recap.said.contains("All nodes are stopped, one is upgraded"), "{}", recap.said);
    assert_eq!(play.running_versions(), ["10.5.14"; 2], "{}", recap.said);
    // Each was stopped for a restore point of its own; in turn, only the cluster has one, of a server that runs.
    for host in &play.hosts {
        let list: Value = serde_json::from_str(&host.run("mm-backup list --to /srv/backup --format json")).unwrap();
        let cold: Vec<&Value> = list["points"].as_array().unwrap().iter().map(|point| &point["cold"]).collect();
        assert_eq!(cold, [true], "{}: {}", host.name, recap.said);
    }
    play.run("cluster.yml", &[]).unchanged(&NODES);
}

#[test]
#[ignore = "long: minutes of Ansible"]
fn the_nodes_of_a_cluster_are_upgraded_in_turn_when_the_schema_stays() {
    let mut play = Play::of(&[quick("10.5.6"), quick("10.5.14")], &NODES);
    play.set("mm_tools_to", "10.5.14");
    let (recap, seen) = play.watched(|| play.run("cluster.yml", &[]));
    let recap = recap.good();
    assert!(recap.said.contains("One node after the other"), "{}", recap.said);
    assert_eq!(play.running_versions(), ["10.5.14"; 2], "{}", recap.said);
    assert!(seen.iter().all(|look| look.iter().any(Option::is_some)), "nobody served at some moment: {}", recap.said);
    play.run("cluster.yml", &[]).unchanged(&NODES);
}
