//! A hop that PostgreSQL was upgraded in is rolled back by one command, its database by what leads back best: the cluster that
//! was kept, or the dump of the restore point.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Output;

use mm_test_support::pipeline::{hop_with, plan, run};
use mm_test_support::site::{Releases, Site, quick};
use mm_test_support::tool::shell;
use serde_json::{Value, json};

use super::back::{FROM, NEXT, said};

pub(super) const BACK: &[&str] = &["rollback", "--database"];

pub(super) struct Hop {
    pub(super) site: Site,
    releases: Releases,
    history: String,
    config: Value,
}

impl Hop {
    pub(super) fn new(fault: Option<&str>) -> Self {
        let site = Site::builder(FROM).running().build();
        let next = fault.into_iter().fold(quick(NEXT), mm_test_support::release::Order::fault);
        let releases = site.releases(&[quick(FROM).build(), next.build()]);
        let (history, config) = (site.history(), site.config());
        Self { site, releases, history, config }
    }

    /// One hop to the next release and to PostgreSQL 15, without the look at its end.
    pub(super) fn forward(&self, pgbump: &str, code: i32) -> String {
        let pipeline = hop_with(&self.site, &self.releases, |tool| match tool {
            "mm-pgbump" => pgbump.to_owned(),
            "mm-swap" => "--start-timeout 12".to_owned(),
            _ => String::new(),
        });
        let pipeline = pipeline.rsplit_once('|').unwrap().0;
        let outcome = run(pipeline, &plan(&self.site, &self.releases, &["--to", NEXT, "--postgres", "15"]));
        assert_eq!(outcome.code, code, "{}", outcome.said);
        outcome.said
    }

    pub(super) fn tool(&self, tool: &str, words: &[&str], checkpoint: &str) -> Output {
        self.site.tool(tool).args(words).env("MM_CHECKPOINT", checkpoint).output().unwrap()
    }

    pub(super) fn swap(&self, words: &[&str], code: i32) -> (Value, String) {
        let output = self.tool("mm-swap", words, "");
        assert_eq!(output.status.code(), Some(code), "{words:?}: {}", said(&output));
        (serde_json::from_slice(&output.stdout).unwrap(), said(&output))
    }

    /// A tool that mm-swap has started, and handed its lock on to, is killed.
    fn dies_asked(&self, command: &str, checkpoint: &str) {
        let state = std::fs::read_dir(self.site.state()).unwrap().flatten().next().unwrap().path();
        let flags = self.site.flags().join(" ");
        let script = format!("exec {command} --document none {flags} <'{}'", state.join("lock").display());
        let output = shell(&script).env("MM_CHECKPOINT", checkpoint).output().unwrap();
        assert_eq!(output.status.signal(), Some(9), "`{command}` at `{checkpoint}`: {}", said(&output));
    }

    pub(super) fn history(&self) -> &str {
        &self.history
    }

    /// The old release serves from the cluster of this major, with everything and as it was configured.
    fn is_back_on(&self, major: u32) {
        let site = &self.site;
        assert_eq!(site.running_version().as_deref(), Some(FROM));
        assert_eq!((site.history(), site.config()), (self.history.clone(), self.config.clone()));
        let serving: Vec<_> = site.cluster.all_of_this_name();
        assert!(serving.contains(&(major, site.cluster.port, "online".into())), "{serving:?}");
        assert!(serving.iter().all(|(of, _, status)| *of == major || status == "down"), "{serving:?}");
    }
}

#[test]
fn the_cluster_that_was_kept_serves_again_and_the_hop_can_be_gone_once_more() {
    for flags in ["--keep-port", ""] {
        let hop = Hop::new(None);
        hop.forward(flags, 0);
        // It is said beforehand by what, how long it takes, and what is lost.
        let (document, _) = hop.swap(&["rollback", "--database", "--dry-run"], 0);
        let way = &document["plan"]["mm-swap"]["way_back"];
        assert_eq!((&way["kind"], &way["posts"]), (&json!("kept-cluster"), &json!(0)), "{document}");
        assert!(way["to"].as_str().unwrap().starts_with("13/") && way["seconds"].is_u64(), "{way}");
        let (_, refused) = hop.swap(&["rollback"], 5);
        assert!(
            refused.contains("which was kept, serves again") && refused.contains("mm-swap rollback --database"),
            "{refused}"
        );

        // Killed in the middle of it, it is ended by one command; what it asks for is nobody else's to begin.
        assert_eq!(hop.tool("mm-swap", BACK, "undo-config").status.signal(), Some(9));
        let alone = hop.tool("mm-pgbump", &["rollback", "--leave-stopped"], "");
        assert_eq!(alone.status.code(), Some(5), "{}", said(&alone));
        // So is that, with the lock handed on as mm-swap does.
        for checkpoint in ["rollback-intent", "rollback-parked", "rollback-old-started"] {
            hop.dies_asked("mm-pgbump rollback --leave-stopped", checkpoint);
        }
        for _ in 0..2 {
            hop.swap(BACK, 0);
            hop.is_back_on(13);
        }
        if flags.is_empty() {
            let again = hop.forward("", 0);
            assert!(again.contains("_rolled_back_1"), "{again}");
            hop.swap(BACK, 0);
            hop.is_back_on(13);
        }
    }
}

#[test]
fn a_release_that_fails_after_its_migrations_goes_back_with_the_cluster() {
    let hop = Hop::new(Some("hang-before-listening"));
    hop.forward("", 6);
    hop.is_back_on(13);
}

/// A release is not put in place again while the database is between two clusters.
#[test]
fn what_was_cut_off_between_the_clusters_is_finished_before_a_release_is_given_once_more() {
    let hop = Hop::new(None);
    let archive = quick(NEXT).build().tarball;
    let flags = hop.site.flags().join(" ");
    let swap = format!("mm-swap run --no-backup --start-timeout 60 --archive {} {flags}", archive.display());
    let script = format!("mm-pgbump run --to 15 --no-backup --leave-stopped {flags} </dev/null | {swap}");
    let forward = shell(&script).output().unwrap();
    assert_eq!(forward.status.code(), Some(0), "{}", said(&forward));
    assert_eq!(hop.tool("mm-swap", BACK, "undo-config").status.signal(), Some(9));
    hop.dies_asked("mm-pgbump rollback --leave-stopped", "rollback-parked");
    let again = shell(&format!("{swap} </dev/null")).output().unwrap();
    assert_eq!(again.status.code(), Some(0), "{}", said(&again));
    assert_eq!(hop.site.running_version().as_deref(), Some(NEXT));
    let clusters = hop.site.cluster.all_of_this_name();
    assert!(clusters.contains(&(13, hop.site.cluster.port, "online".into())), "{clusters:?}");
    assert_eq!(hop.site.history(), hop.history);
}

#[test]
fn what_other_applications_have_written_since_is_not_taken_from_them() {
    let hop = Hop::new(None);
    hop.site.cluster.sql("postgres", "CREATE DATABASE wiki");
    hop.site.cluster.sql("wiki", "CREATE TABLE pages AS SELECT 'old' AS text");
    let pipeline = hop_with(&hop.site, &hop.releases, |tool| match tool {
        "mm-backup" => "--whole-cluster".to_owned(),
        "mm-pgbump" => "--shared-cluster".to_owned(),
        _ => String::new(),
    });
    let pipeline = pipeline.rsplit_once('|').unwrap().0;
    run(pipeline, &plan(&hop.site, &hop.releases, &["--to", NEXT, "--postgres", "15"])).good();
    let kind = || {
        let (document, _) = hop.swap(&["rollback", "--database", "--dry-run"], 0);
        document["plan"]["mm-swap"]["way_back"].clone()
    };
    assert_eq!(kind()["kind"], "kept-cluster");
    hop.site.cluster.sql("wiki", "INSERT INTO pages VALUES ('new')");
    let way = kind();
    assert_eq!(way["kind"], "dump", "{way}");
    assert!(way["causes"][0].as_str().unwrap().contains("public.pages of wiki"), "{way}");
    hop.swap(BACK, 0);
    hop.is_back_on(15);
    assert_eq!(hop.site.cluster.sql("wiki", "SELECT count(*) FROM pages"), "2");
}
