//! Records in a state directory that earlier programs filled: the ways back that they describe are still there.

use std::fs;

use mm_test_support::pipeline::{hop, plan, run};
use mm_test_support::site::{Site, quick};

use crate::{ask, document, filled, good, only, put, said, state};

#[test]
fn the_record_of_an_earlier_swap_leads_back() {
    let site = Site::builder("10.5.14").running().build();
    let releases = site.releases(&["10.5.14", "10.6.1"].map(|version| quick(version).build()));
    let history = site.history();
    let steps = hop(&site, &releases);
    run(steps.rsplit_once(" | ").unwrap().0, &plan(&site, &releases, &["--to", "10.6.1"])).good();
    put(&only(&state(&site).join("swaps")), "state/swap.json");
    let status = good(&site, "mm-swap", &["status"])["status"].clone();
    assert_eq!(status["kept"].as_array().map(Vec::len), Some(1), "{status}");
    let refused = document(&ask(&site, "mm-swap", &["rollback"]), 5);
    let hint = refused["error"]["hint"].as_str().unwrap();
    assert!(hint.contains("mm-swap rollback --database"), "{hint}");
    good(&site, "mm-swap", &["rollback", "--database"]);
    assert_eq!((site.running_version().as_deref(), site.history()), (Some("10.5.14"), history));
}

/// The baseline of an earlier mm-verify, the document and the record of an earlier mm-pgbump.
#[test]
fn the_record_of_an_earlier_upgrade_of_postgresql_leads_back() {
    let site = Site::builder("10.5.14").running().build();
    let history = site.history();
    good(&site, "mm-verify", &["baseline", "--browser", "no"]);
    put(&state(&site).join("verify/baseline.json"), "state/baseline.json");
    let done = good(&site, "mm-pgbump", &["run", "--to", "15", "--no-backup"]);
    put(&state(&site).join("pgbump.finished"), "state/pgbump.finished");
    let mut verify = site.tool("mm-verify");
    verify.args(["--browser", "no"]).write_stdin(filled("documents/mm-pgbump.json", &done).to_string());
    let verified = document(&verify.output().unwrap(), 0);
    let checks = verified["verify"]["checks"].as_array().unwrap();
    let history_of = checks.iter().find(|check| check["id"] == "history.posts").unwrap();
    assert!(
        history_of["status"] == "pass" && history_of["compared_with"].to_string().contains("baseline of 2026-11-30"),
        "{history_of}"
    );
    let told = document(&ask(&site, "mm-pgbump", &["rollback", "--dry-run"]), 0);
    assert!(told["msg"].as_str().unwrap().starts_with("would stop 15/"), "{}", told["msg"]);
    good(&site, "mm-pgbump", &["rollback"]);
    let clusters = site.cluster.all_of_this_name();
    assert!(clusters.contains(&(13, site.cluster.port, "online".into())), "{clusters:?}");
    assert_eq!(site.history(), history);
}

#[test]
fn what_an_earlier_restore_has_kept_is_pruned() {
    let site = Site::builder("10.5.14").build();
    let store = site.store().display().to_string();
    let point = good(&site, "mm-backup", &["--to", &store])["backup"]["id"].as_str().unwrap().to_owned();
    good(&site, "mm-backup", &["restore", &point, "--to", &store]);
    let record = only(&state(&site).join("kept"));
    put(&record, "state/kept.json");
    let kept = crate::read(&record);
    let directory = kept["directories"][0].as_str().unwrap().to_owned();
    let count =
        format!("SELECT count(*) FROM pg_database WHERE datname = '{}'", kept["databases"][0].as_str().unwrap());
    assert!(fs::exists(&directory).unwrap() && site.cluster.query(&count) == "1");
    let pruned = ask(&site, "mm-backup", &["prune", "--keep-last", "1", "--to", &store, "-v"]);
    assert!(pruned.status.success(), "{}", said(&pruned));
    assert!(!fs::exists(&directory).unwrap() && site.cluster.query(&count) == "0", "{}", said(&pruned));
    assert!(!record.exists());
}
