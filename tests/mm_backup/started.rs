//! A server that mm-backup starts again is waited for: it runs and answers when the tool says so, and what was done before
//! is said to stay done when it does not.

use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt as _;

use mm_test_support::site::Site;
use serde_json::{Value, json};

use crate::{listed, make};

/// Exit code, what was said, and the document.
fn backup(site: &Site, words: &[&str], checkpoint: &str) -> (Option<i32>, String, Value) {
    let mut command = site.tool("mm-backup");
    command.args(words).arg("--to").arg(site.store()).env("MM_CHECKPOINT", checkpoint);
    let output = command.output().unwrap();
    let code = output.status.code().or(output.status.signal().map(|signal| 128 + signal));
    (
        code,
        String::from_utf8_lossy(&output.stderr).into_owned(),
        serde_json::from_slice(&output.stdout).unwrap_or_default(),
    )
}

#[test]
fn a_server_that_cannot_listen_any_more_is_told_of_and_the_work_stays() {
    let site = Site::builder("10.5.14").running().build();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = site.config()["ServiceSettings"]["ListenAddress"].clone();
    let other = format!("127.0.0.1:{}", held.local_addr().unwrap().port());
    site.set("ServiceSettings", "ListenAddress", json!(other));

    let (code, said, document) = backup(&site, &["create", "--stop"], "");
    assert_eq!((code, &document["changed"]), (Some(1), &json!(true)), "{said}");
    assert!(said.contains("is made, but the server did not get healthy again"), "{said}");
    assert!(said.contains("address already in use"), "its log is not quoted: {said}");
    let points = listed(&site).0;
    assert_eq!(points.len(), 1, "{said}");

    site.set("ServiceSettings", "ListenAddress", port);
    site.start();
    let (code, said, document) = backup(&site, &["restore", &points[0], "--stop"], "");
    assert_eq!((code, &document["changed"]), (Some(1), &json!(true)), "{said}");
    assert!(said.contains("everything is restored, but the server did not get healthy again"), "{said}");
}

#[test]
fn a_restore_that_was_cut_off_leaves_the_server_running_when_it_is_run_again() {
    let site = Site::builder("10.5.14").running().build();
    let id = make(&site, &[])["id"].as_str().unwrap().to_owned();
    let words = ["restore", id.as_str(), "--stop"];
    let status = || {
        let output = site.tool("mm-swap").args(["status", "--format", "json"]).output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["status"].clone()
    };
    assert_eq!(status()["open"], json!([]));
    for checkpoint in ["restore-moved", "restore-exchanged"] {
        let (code, said, _) = backup(&site, &words, checkpoint);
        assert_eq!(code, Some(137), "{said}");
        assert!(site.pids().is_empty());
        let open = &status()["open"][0];
        assert_eq!((&open["tool"], &open["journal"]), (&json!("mm-backup"), &json!("restore")));
        let command = open["command"].as_str().unwrap();
        assert!(command.starts_with("mm-backup recover --install /"), "{command}");

        let (code, said, _) = backup(&site, &words, "");
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(site.running_version().as_deref(), Some("10.5.14"), "after `{checkpoint}`: {said}");
        assert_eq!(status()["open"], json!([]));
    }
}
