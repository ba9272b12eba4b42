//! What the verbs say when there is nothing to do, when they are only asked, and when they may not.

use std::path::PathBuf;
use std::time::Duration;

use mm_test_support::pipeline::{plan, run};
use mm_test_support::process;
use mm_test_support::site::{Site, quick};

use super::{FROM, Said, TO, fetched, swap, verb};

/// A release whose server migrates the database.
const NEXT: &str = "10.6.1";

/// The record of the swap that brought this release.
fn record(site: &Site, version: &str) -> PathBuf {
    let state = std::fs::read_dir(site.state()).unwrap().flatten().next().unwrap().path();
    let records = std::fs::read_dir(state.join("swaps")).unwrap().flatten().map(|entry| entry.path());
    records.into_iter().find(|path| path.display().to_string().ends_with(&format!("-to-{version}.json"))).unwrap()
}

/// It did nothing, and says this.
fn says(said: Said, words: &str) {
    let said = said.with(0);
    assert!(said.document["msg"].as_str().unwrap().contains(words), "{words}: {}", said.document["msg"]);
    assert_eq!(said.document["changed"], false, "{words}");
}

/// Refused with this reason and nothing done.
fn refuses(said: Said, reason: &str) {
    let said = said.with(5);
    assert!(said.document["error"].to_string().contains(reason), "{reason}: {}", said.document["error"]);
    assert!(said.document["error"]["hint"].is_string(), "{}", said.document["error"]);
}

#[test]
fn a_database_that_cannot_be_put_back_is_no_reason_to_stop_the_server() {
    let site = Site::builder(FROM).running().build();
    swap(&site, &quick(NEXT).build(), &[]).with(0);
    let pids = site.pids();
    for words in [&["rollback"][..], &["rollback", "--database"], &["rollback", "--database", "--dry-run"]] {
        refuses(verb(&site, words), "no restore point was made for the hop");
    }
    // One was made, and is gone by now.
    let record = record(&site, NEXT);
    let text = std::fs::read_to_string(&record).unwrap();
    let mut operation: serde_json::Value = serde_json::from_str(&text).unwrap();
    operation["restore_point"] =
        serde_json::json!({"id": "20261122T030000Z", "store": site.store(), "created": "2026-11-22T03:00:00Z"});
    std::fs::write(&record, operation.to_string()).unwrap();
    for words in [&["rollback"][..], &["rollback", "--database"]] {
        refuses(verb(&site, words), "there is no restore point 20261122T030000Z in");
    }
    let made = site.tool("mm-backup").arg("--to").arg(site.store()).output().unwrap();
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    let (id, created) = (made["backup"]["id"].as_str().unwrap(), made["backup"]["created"].as_str().unwrap());
    operation["restore_point"] = serde_json::json!({"id": id, "store": site.store(), "created": created});
    std::fs::write(&record, operation.to_string()).unwrap();
    refuses(verb(&site, &["rollback"]), &format!("posts written since {created} would be lost"));
    let foreseen = verb(&site, &["rollback", "--database", "--dry-run"]);
    says(foreseen, &format!("the database is restored from the restore point {id}"));
    assert_eq!(site.pids(), pids, "the server was stopped");
    assert_eq!(site.running_version().as_deref(), Some(NEXT));
}

#[test]
fn a_database_that_has_moved_since_the_swap_is_not_left_behind() {
    let site = Site::builder(FROM).running().build();
    swap(&site, &quick(TO).build(), &[]).with(0);
    site.stop();
    site.cluster.sql("postgres", "CREATE DATABASE moved TEMPLATE mattermost OWNER mmuser");
    site.set("SqlSettings", "DataSource", site.cluster.url().replace("/mattermost?", "/moved?").into());
    site.start();
    let pids = site.pids();
    for words in [&["rollback"][..], &["rollback", "--dry-run"]] {
        refuses(verb(&site, words), "and the server works on `moved` at 127.0.0.1:");
    }
    assert_eq!(site.pids(), pids, "the server was stopped");
    site.set("SqlSettings", "DataSource", site.cluster.url().into());
    verb(&site, &["rollback"]).with(0);
}

#[test]
fn a_refusal_starts_the_server_that_the_tool_before_has_stopped() {
    let site = Site::builder(FROM).running().build();
    let stop = ["--stop", "--leave-stopped", "--to"];
    let stopped = site.tool("mm-backup").args(stop).arg(site.store()).assert().success();
    assert!(site.pids().is_empty());
    let document = stopped.get_output().stdout.clone();
    let refused = site.tool("mm-swap").write_stdin(document).assert().code(5);
    let said: serde_json::Value = serde_json::from_slice(&refused.get_output().stdout).unwrap();
    assert_eq!(said["error"]["causes"], serde_json::json!(["the document names no next hop"]));
    process::wait_until("the server to answer again", Duration::from_secs(60), || site.answers());
    assert_eq!(site.running_version().as_deref(), Some(FROM));
}

#[test]
fn asked_what_they_would_do_they_say_it_and_do_nothing() {
    let site = Site::builder(FROM).running().build();
    let release = fetched(&site, &quick(TO).build());
    says(verb(&site, &["recover", "--dry-run"]), "nothing was interrupted");
    says(verb(&site, &["recover"]), "nothing was interrupted");
    says(verb(&site, &["publish", "--dry-run"]), "the server is public");
    says(verb(&site, &["prune", "--keep", "0", "--dry-run"]), "would remove 0 releases");
    says(verb(&site, &["prune", "--keep", "0"]), "removed 0 releases");
    refuses(verb(&site, &["rollback", "--dry-run"]), "no swap of this installation is on record");

    swap(&site, &release, &["--private"]).with(0);
    says(verb(&site, &["publish", "--dry-run"]), "would start the server on its public address");
    verb(&site, &["publish"]).with(0);
    says(swap(&site, &release, &["--dry-run"]), "is installed already; nothing would be done");
    says(verb(&site, &["rollback", "--dry-run"]), "would go back from 10.5.14 to 10.5.12");

    // The retired release goes, and with it the way back.
    let area = site.directory().join("opt/.mattermost.mm");
    says(verb(&site, &["prune", "--keep", "0", "--dry-run"]), "would remove 1 release,");
    // What `mm-backup restore` keeps there is no release: it may hold the only copy of what users have uploaded.
    let kept = area.join("restore-20261126T030000Z");
    std::fs::create_dir(&kept).unwrap();
    says(verb(&site, &["prune", "--keep", "1"]), "removed 0 releases");
    std::fs::remove_dir(&kept).unwrap();
    let retired = std::fs::read_dir(&area).unwrap().flatten().next().unwrap().path();
    std::fs::rename(&retired, site.directory().join("elsewhere")).unwrap();
    refuses(verb(&site, &["rollback"]), "the old release is no longer in");
    assert_eq!(site.running_version().as_deref(), Some(TO));
}

#[test]
fn a_server_that_was_not_to_be_started_is_started_by_the_next_run() {
    let site = Site::builder(FROM).running().build();
    let release = quick(TO).build();
    swap(&site, &release, &["--no-start"]).with(0);
    assert!(site.pids().is_empty());
    says(swap(&site, &release, &["--no-start"]), "is installed already");
    assert!(site.pids().is_empty());
    let said = swap(&site, &release, &[]).with(0);
    assert_eq!((&said.document["swap"]["from"], &said.document["changed"]), (&FROM.into(), &true.into()));
    assert_eq!(site.running_version().as_deref(), Some(TO));
    // Without a record it is not told where it came from.
    std::fs::remove_file(record(&site, TO)).unwrap();
    let said = swap(&site, &release, &[]).with(0);
    assert_eq!(said.document["swap"]["from"], TO);
    refuses(verb(&site, &["rollback"]), "no swap of this installation is on record");
}

#[test]
fn at_the_target_already_no_tool_touches_anything() {
    let site = Site::builder(FROM).running().build();
    let releases = site.releases(&[quick(FROM).build()]);
    let (flags, mirror, store) = (site.flags().join(" "), releases.site.url(), site.store().display().to_string());
    let fetch = format!("mm-fetch {flags} --mirror {mirror} --catalogue {}", releases.catalogue.display());
    let fetch = format!("{fetch} --cache {}", site.cache().display());
    let pids = site.pids();
    let backup = format!("mm-backup {flags} --to {store} --stop --leave-stopped");
    let pipeline = format!("{fetch} | {backup} | mm-pgbump {flags} --leave-stopped | mm-swap {flags}");
    for more in [&["--to", FROM][..], &["--to", FROM, "--dry-run"]] {
        let outcome = run(&pipeline, &plan(&site, &releases, more));
        assert_eq!((outcome.code, &outcome.document["changed"]), (0, &false.into()), "{outcome:?}");
        assert!(outcome.document["msg"].as_str().unwrap().contains("nothing is to be done"), "{outcome:?}");
    }
    assert!(site.pids() == pids && !site.store().exists(), "something was done");
}

#[test]
fn a_release_is_staged_while_the_old_server_runs_and_the_run_takes_it_as_it_stands() {
    use std::os::unix::fs::MetadataExt as _;

    let site = Site::builder(FROM).running().build();
    let (archive, pids) = (quick(TO).build().tarball, site.pids());
    let stage = |more: &[&str]| {
        let mut command = site.tool("mm-swap");
        command.args(["stage", "--archive"]).arg(&archive).args(more);
        Said::from(command.output().unwrap())
    };
    let area = site.directory().join("opt/.mattermost.mm");
    assert!(stage(&["--dry-run"]).with(0).document["msg"].as_str().unwrap().starts_with("would unpack"));
    assert!(!area.exists(), "a dry run unpacked");
    assert_eq!(stage(&[]).with(0).document["changed"], true);
    let staged = std::fs::read_dir(&area).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    assert_eq!(staged.len(), 1, "{staged:?}");
    let inode = std::fs::metadata(staged[0].join("bin/mattermost")).unwrap().ino();
    assert_eq!(stage(&[]).with(0).document["changed"], false);
    assert_eq!((site.pids(), site.running_version().as_deref()), (pids, Some(FROM)), "the old server runs on");

    let mut command = site.tool("mm-swap");
    let run = Said::from(command.args(["--no-backup", "--archive"]).arg(&archive).output().unwrap()).with(0);
    assert!(!run.stderr.contains("unpacking"), "{}", run.stderr);
    assert_eq!(std::fs::metadata(site.install().join("bin/mattermost")).unwrap().ino(), inode);
    assert_eq!(site.running_version().as_deref(), Some(TO));
    assert!(stage(&[]).with(0).document["msg"].as_str().unwrap().contains("installed already"));

    // At the end of a path there is nothing to stage, and that is no error.
    let done = r#"{"schema": "mm.upgrade/1", "path": {"current": "10.6.1", "target": "10.6.1", "policy": "esr", "hops": [], "next": null}}"#;
    let end = site.tool("mm-swap").arg("stage").write_stdin(done).output().unwrap();
    assert_eq!(Said::from(end).with(0).document["changed"], false);
}
