//! The service, the document, retention and the figures for monitoring.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use mm_test_support::process;
use mm_test_support::site::Site;
use serde_json::Value;

use crate::{listed, make, verify};

#[test]
fn the_service_is_stopped_and_started_as_asked() {
    let site = Site::builder("5.29.0").running().build();
    let first = site.pids();
    let backup = make(&site, &["--stop"]);
    assert_eq!((backup["cold"].as_bool(), backup["left_stopped"].as_bool()), (Some(true), Some(false)));
    process::wait_until("the server to answer again", Duration::from_secs(60), || site.answers());
    assert_ne!(site.pids(), first);
    let backup = make(&site, &["--stop", "--leave-stopped"]);
    assert_eq!((backup["cold"].as_bool(), backup["left_stopped"].as_bool()), (Some(true), Some(true)));
    assert!(site.pids().is_empty());

    // The next tool's failure brings it back: here the next tool is mm-backup again, whose store is a file.
    let document = site.tool("mm-backup").args(["--dry-run", "--to"]).arg(site.store()).assert().success();
    let mut document: Value = serde_json::from_slice(&document.get_output().stdout).unwrap();
    document["run"]["dry_run"] = false.into();
    document["site"]["service"]["was_running"] = true.into();
    let file = site.directory().join("a file");
    fs::write(&file, "").unwrap();
    let failed = site.tool("mm-backup").arg("--to").arg(&file).write_stdin(document.to_string()).output().unwrap();
    assert_eq!(failed.status.code(), Some(5), "{}", String::from_utf8_lossy(&failed.stderr));
    process::wait_until("the server to answer again", Duration::from_secs(60), || site.answers());
}

#[test]
fn a_retention_that_fails_is_told_and_leaves_no_server_stopped() {
    let site = Site::builder("5.29.0").running().build();
    let first = make(&site, &[]);
    let manifest = first["manifest"].as_str().unwrap();
    let damaged = fs::read_to_string(manifest).unwrap().replace(first["created"].as_str().unwrap(), "some day");
    fs::write(manifest, damaged).unwrap();
    let flags = ["--stop", "--leave-stopped", "--keep-last", "1", "--to"];
    let failed = site.tool("mm-backup").args(flags).arg(site.store()).output().unwrap();
    assert_eq!(failed.status.code(), Some(1), "{}", String::from_utf8_lossy(&failed.stderr));
    let document: Value = serde_json::from_slice(&failed.stdout).unwrap();
    assert_eq!(document["backup"]["left_stopped"], false);
    assert_eq!(verify(&site, &[document["backup"]["id"].as_str().unwrap()]).0, 0);
    assert_eq!(listed(&site).0.len(), 2, "the damaged one is not removed");
    // The next tool does nothing after a failure.
    process::wait_until("the server to answer again", Duration::from_secs(60), || site.answers());
}

#[test]
fn a_service_that_was_not_running_is_not_started() {
    let site = Site::builder("5.29.0").build();
    let backup = make(&site, &["--stop"]);
    assert_eq!(backup["cold"], true);
    assert!(site.pids().is_empty());
}

#[test]
fn a_dry_run_says_what_it_would_do_and_does_nothing() {
    let site = Site::builder("5.29.0").running().build();
    let before = site.pids();
    let run = site.tool("mm-backup").args(["--dry-run", "--stop", "--to"]).arg(site.store()).assert().success();
    let document: Value = serde_json::from_slice(&run.get_output().stdout).unwrap();
    assert_eq!(document["changed"], false);
    assert_eq!(document["plan"]["mm-backup"]["stop"], true);
    assert_eq!(document["plan"]["mm-backup"]["roots"][0]["path"], site.install().to_str().unwrap());
    assert!(!site.store().exists());
    assert_eq!(site.pids(), before);
    make(&site, &[]);
    make(&site, &[]);
    let all = listed(&site).0;
    let prune = ["prune", "--keep-last", "1", "--dry-run", "--to"];
    let run = site.tool("mm-backup").args(prune).arg(site.store()).assert().success();
    assert!(String::from_utf8_lossy(&run.get_output().stdout).contains(&all[0]));
    // Where no table shows it, a report for people says it in a line.
    let run = site.tool("mm-backup").args(prune).arg(site.store()).args(["--format", "human"]).assert().success();
    assert_eq!(String::from_utf8_lossy(&run.get_output().stdout), format!("would remove {}\n", all[0]));
    assert_eq!(listed(&site).0, all);
}

#[test]
fn a_restore_point_that_a_journal_names_is_not_removed() {
    let site = Site::builder("5.29.0").build();
    let ids: Vec<String> = (0..3).map(|_| make(&site, &[])["id"].as_str().unwrap().to_owned()).collect();
    let state: PathBuf = fs::read_dir(site.state()).unwrap().next().unwrap().unwrap().path();
    let journal = state.join("swap.journal");
    fs::write(&journal, format!("{{\"backup\": \"{}\"}}", ids[0])).unwrap();
    let prune = || site.tool("mm-backup").args(["prune", "--keep-last", "1", "--to"]).arg(site.store()).assert();
    // Nothing is removed and nothing is begun while another tool's work is half done.
    prune().code(5);
    assert_eq!(listed(&site).0, ids);
    let refused = site.tool("mm-backup").arg("--to").arg(site.store()).output().unwrap();
    assert_eq!(refused.status.code(), Some(5));
    fs::remove_file(journal).unwrap();
    prune().success();
    assert_eq!(listed(&site).0, [ids[2].clone()]);
}

#[test]
fn monitoring_is_told_of_success_and_failure() {
    let site = Site::builder("5.29.0").build();
    let figures = site.directory().join("mm.prom");
    let path = figures.to_str().unwrap();
    let backup = make(&site, &["--prometheus", path]);
    let good = fs::read_to_string(&figures).unwrap();
    assert!(good.contains("\nmm_backup_success 1\n"), "{good}");
    assert!(good.contains(&format!("\nmm_backup_size_bytes {}\n", backup["bytes"])), "{good}");
    let line = |text: &str| -> String {
        let line = text.lines().find(|line| line.starts_with("mm_backup_last_success_timestamp_seconds "));
        line.unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    site.cluster.stop();
    let failed = site.tool("mm-backup").args(["--prometheus", path, "--to"]).arg(site.store()).output().unwrap();
    assert_eq!(failed.status.code(), Some(1));
    let bad = fs::read_to_string(&figures).unwrap();
    assert!(bad.contains("\nmm_backup_success 0\n"), "{bad}");
    assert_eq!(line(&good), line(&bad));
}
