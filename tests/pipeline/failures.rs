//! What is left when a hop fails: a running server of the old version with everything it had, and a document that says
//! who failed, at what, why, and what to do next.

use std::collections::BTreeMap;

use mm_test_support::pipeline::{Outcome, hop_with, plan, run};
use mm_test_support::process;
use mm_test_support::release::Release;
use mm_test_support::site::{Releases, Site, quick};
use serde_json::Value;

/// A server, and what it had before the hop that is to fail.
struct Before {
    site: Site,
    version: String,
    history: String,
    counts: BTreeMap<String, u64>,
    files: BTreeMap<String, String>,
    config: Value,
}

impl Before {
    fn of(version: &str) -> Self {
        let site = Site::builder(version).running().build();
        Self {
            version: version.to_owned(),
            history: site.history(),
            counts: site.counts(),
            files: site.user_files(),
            config: site.config(),
            site,
        }
    }

    /// Releases of which the new one is broken.
    fn offer(&self, to: &str, faults: &[&str]) -> Releases {
        let broken = faults.iter().fold(quick(to), |order, fault| order.fault(fault));
        let releases: Vec<Release> =
            [quick(&self.version), broken].iter().map(mm_test_support::release::Order::build).collect();
        self.site.releases(&releases)
    }

    /// The old server runs, with the old configuration and all it had, and takes a new post.
    fn is_back(&self, outcome: &Outcome, tool: &str) {
        let error = &outcome.document["error"];
        assert_eq!(error["tool"], tool, "{outcome:?}");
        assert_eq!(outcome.code, 6, "{outcome:?}");
        assert_eq!(error["code"], outcome.code);
        assert!(!error["message"].as_str().unwrap_or_default().is_empty(), "{error}");
        assert!(error["hint"].is_string(), "it does not say what to do next: {error}");
        self.serves();
    }

    fn serves(&self) {
        let site = &self.site;
        process::wait_until("the old server to answer", std::time::Duration::from_secs(60), || site.answers());
        assert_eq!(site.running_version().as_deref(), Some(self.version.as_str()));
        assert_eq!(site.history(), self.history, "messages");
        assert_eq!(site.counts(), self.counts, "rows");
        assert_eq!(site.user_files(), self.files, "files of the user");
        assert_eq!(site.config(), self.config, "configuration");
        // Old servers answer a ping on a newer schema and then fail: only a login and a post prove that they are well.
        site.tool("mm-verify").args(["--browser", "no"]).assert().success();
    }
}

/// Carries out a hop to a release with these faults, with short waits.
fn fails(from: &str, to: &str, faults: &[&str]) {
    let before = Before::of(from);
    let releases = before.offer(to, faults);
    let document = plan(&before.site, &releases, &["--to", to]);
    let pipeline = hop_with(&before.site, &releases, |tool| match tool {
        "mm-swap" => "--start-timeout 12".to_owned(),
        _ => String::new(),
    });
    let outcome = run(&pipeline, &document);
    before.is_back(&outcome, "mm-swap");
}

#[test]
fn to_5_31_a_server_that_crashes_at_its_start() {
    fails("5.29.0", "5.31.9", &["crash-at-start"]);
}

#[test]
fn to_5_37_a_migration_that_fails() {
    fails("5.31.9", "5.37.10", &["fail-migration"]);
}

#[test]
fn to_6_3_a_migration_that_fails_after_others_have_changed_the_tables() {
    fails("5.37.10", "6.3.10", &["fail-migration"]);
}

#[test]
fn to_7_1_a_server_that_migrates_and_never_listens() {
    fails("6.3.10", "7.1.9", &["hang-before-listening"]);
}

#[test]
fn to_7_8_a_server_that_refuses_the_database() {
    fails("7.1.9", "7.8.15", &["refuse-database"]);
}

#[test]
fn to_8_1_a_server_that_says_it_is_another_version() {
    fails("7.8.15", "8.1.13", &["wrong-version=8.1.0"]);
}

#[test]
fn to_9_5_a_server_that_listens_and_then_dies() {
    fails("8.1.13", "9.5.14", &["crash-after-listening=0"]);
}

#[test]
fn to_9_11_a_migration_that_fails() {
    fails("9.5.14", "9.11.18", &["fail-migration"]);
}

#[test]
fn to_10_5_a_server_that_crashes_at_its_start() {
    fails("9.11.18", "10.5.14", &["crash-at-start"]);
}

#[test]
fn to_10_6_with_a_new_postgres_a_server_that_never_listens() {
    // The database has moved already when the server fails: the old server runs on whichever cluster is in charge.
    let before = Before::of("10.5.14");
    let releases = before.offer("10.6.1", &["hang-before-listening"]);
    let document = plan(&before.site, &releases, &["--to", "10.6.1", "--postgres", "15"]);
    let pipeline = hop_with(&before.site, &releases, |tool| match tool {
        "mm-swap" => "--start-timeout 12".to_owned(),
        _ => String::new(),
    });
    let outcome = run(&pipeline, &document);
    before.is_back(&outcome, "mm-swap");
}

#[test]
fn a_store_that_cannot_be_written_fails_the_restore_point_and_nothing_else() {
    let before = Before::of("9.11.18");
    let releases = before.offer("10.5.14", &[]);
    let document = plan(&before.site, &releases, &["--to", "10.5.14"]);
    // A file where the store's directory would have to be: root is stopped by nothing less.
    std::fs::write(before.site.store(), "not a directory").unwrap();
    let outcome = run(&hop_with(&before.site, &releases, |_| String::new()), &document);
    assert_eq!(outcome.document["error"]["tool"], "mm-backup", "{outcome:?}");
    assert_eq!(outcome.code, 5, "{outcome:?}");
    before.serves();
}

#[test]
fn a_cluster_that_cannot_be_upgraded_leaves_the_old_one_in_charge() {
    let before = Before::of("10.5.14");
    let releases = before.offer("10.6.1", &[]);
    let document = plan(&before.site, &releases, &["--to", "10.6.1", "--postgres", "15"]);
    // The new cluster's data directory is taken by something that is not a cluster.
    let taken = std::path::Path::new("/var/lib/postgresql/15").join(&before.site.cluster.name);
    std::fs::create_dir_all(&taken).unwrap();
    std::fs::write(taken.join("somebody's"), "data").unwrap();
    let outcome = run(&hop_with(&before.site, &releases, |_| String::new()), &document);
    assert_eq!(outcome.document["error"]["tool"], "mm-pgbump", "{outcome:?}");
    assert_eq!(outcome.code, 5, "{outcome:?}");
    assert!(taken.join("somebody's").exists(), "data of somebody else was removed");
    assert!(before.site.cluster.query("SHOW server_version").starts_with("13."));
    before.serves();
}

#[test]
fn a_check_that_says_no_stops_the_loop_with_4() {
    let before = Before::of("9.11.18");
    let releases = before.offer("10.5.14", &["missing-bundle"]);
    let document = plan(&before.site, &releases, &["--to", "10.5.14"]);
    let outcome = run(&hop_with(&before.site, &releases, |_| String::new()), &document);
    let error = &outcome.document["error"];
    assert_eq!(error["tool"], "mm-verify", "{outcome:?}");
    assert_eq!(outcome.code, 4, "{outcome:?}");
    assert!(error["hint"].is_string(), "{error}");
    let failed: Vec<&Value> = outcome.document["verify"]["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["status"] == "fail")
        .collect();
    assert!(!failed.is_empty(), "{}", outcome.document["verify"]);
    // And back: what it hints at is a way that works.
    before.site.tool("mm-swap").args(["rollback", "--database"]).assert().success();
    before.serves();
}
