//! A server that mm-backup starts again is waited for: it runs and answers when the tool says so, and what was done before
//! is said to stay done when it does not.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use mm_test_support::process::wait_until;
use mm_test_support::site::Site;
use mm_test_support::tool;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
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

/// What is neither as before nor restored is no place to start a server in.
#[test]
fn a_server_whose_restore_is_half_done_is_not_started() {
    let site = Site::builder("10.5.14").running().build();
    let id = make(&site, &[])["id"].as_str().unwrap().to_owned();
    let (install, aside) = (site.install(), site.directory().join("aside"));
    let started = site.directory().join("started");
    let stop = format!("kill {}", site.pids()[0]);
    let mut restore = Command::new(tool::executable("mm-backup"))
        .args(["restore", &id, "--stop", "--service", "command", "--stop-command", &stop])
        .args(["--start-command", &format!("touch {}", started.display())])
        .arg("--install")
        .arg(&install)
        .arg("--state-dir")
        .arg(site.state())
        .arg("--to")
        .arg(site.store())
        .envs([("MM_CHECKPOINT", "restore-moved"), ("MM_CHECKPOINT_SIGNAL", "SIGSTOP")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(site.directory().join("said")).unwrap())
        .spawn()
        .unwrap();
    let stat = format!("/proc/{}/stat", restore.id());
    let stands = || std::fs::read_to_string(&stat).is_ok_and(|stat| stat.rsplit(')').next().unwrap().starts_with(" T"));
    wait_until("the restore to stand", Duration::from_secs(120), stands);
    // Neither forwards nor back: the database that was to get the name is gone, and another tree stands in the way.
    let new = site.cluster.sql("postgres", "SELECT datname FROM pg_database WHERE datname ~ '_mm_new_'");
    site.cluster.sql("postgres", &format!("DROP DATABASE \"{new}\" WITH (FORCE)"));
    std::fs::rename(&install, &aside).unwrap();
    std::fs::create_dir(&install).unwrap();
    kill(Pid::from_raw(restore.id().cast_signed()), Signal::SIGCONT).unwrap();
    let status = restore.wait().unwrap();
    let said = std::fs::read_to_string(site.directory().join("said")).unwrap();
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(said.contains("then: mm-backup recover"), "{said}");
    assert!(!started.exists(), "the server was started: {said}");
    // What stood in the way is gone.
    std::fs::remove_dir(&install).unwrap();
    std::fs::rename(&aside, &install).unwrap();
    let (code, said, _) = backup(&site, &["recover"], "");
    assert_eq!(code, Some(0), "{said}");
    site.start();
    assert_eq!(site.counts()["posts"], 100);
}
