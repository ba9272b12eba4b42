//! `--freeze` in a hop that upgrades PostgreSQL or moves the database: neither copy nor dump is made, and what the hop leaves as it
//! was is what `mm-backup complete` stores when the server serves again.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use mm_test_support::cluster::Cluster;
use mm_test_support::pipeline::{Outcome, hop_with, plan, run};
use mm_test_support::process::wait_until;
use mm_test_support::site::{Releases, Site, quick};
use mm_test_support::tool::shell;
use serde_json::{Value, json};

const FROM: &str = "10.5.14";
const NEXT: &str = "10.6.1";
const PATIENCE: Duration = Duration::from_secs(60);

struct Hop {
    site: Site,
    releases: Releases,
    history: String,
}

impl Hop {
    fn new() -> Self {
        let site = Site::builder(FROM).running().build();
        let releases = site.releases(&[FROM, NEXT].map(|version| quick(version).build()));
        let history = site.history();
        Self { site, releases, history }
    }

    fn planned(&self) -> Value {
        plan(&self.site, &self.releases, &["--to", NEXT, "--postgres", "15"])
    }

    /// One hop with `--freeze`, without `mm-backup complete` and the look at its end.
    fn run(&self, backup: &str, pgbump: &str) -> Outcome {
        self.go(&self.planned(), backup, pgbump)
    }

    fn go(&self, planned: &Value, backup: &str, pgbump: &str) -> Outcome {
        let pipeline = hop_with(&self.site, &self.releases, |tool| match tool {
            "mm-backup" => format!("--freeze {backup}"),
            "mm-pgbump" => pgbump.to_owned(),
            _ => String::new(),
        });
        let pipeline = pipeline.rsplit_once('|').unwrap().0;
        run(pipeline, planned)
    }

    /// The same, which ends well; its document.
    fn gone() -> (Self, Value) {
        let hop = Self::new();
        let document = hop.run("", "").good();
        (hop, document)
    }

    fn tool(&self, tool: &str, words: &[&str], checkpoint: &str) -> Output {
        self.site.tool(tool).args(words).env("MM_CHECKPOINT", checkpoint).output().unwrap()
    }

    fn ends(&self, tool: &str, words: &[&str], code: i32) -> (Value, String) {
        let output = self.tool(tool, words, "");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{tool} {words:?}: {said}");
        (serde_json::from_slice(&output.stdout).unwrap_or_default(), said)
    }

    fn backup(&self, words: &[&str], code: i32) -> (Value, String) {
        let store = self.site.store();
        self.ends("mm-backup", &[words, &["--to", store.to_str().unwrap()]].concat(), code)
    }

    /// The cluster that was kept, which goes with the site.
    fn kept(&self) -> Cluster {
        let clusters = self.site.cluster.all_of_this_name();
        let (_, port, _) = clusters.iter().find(|(major, ..)| *major == 13).expect("it is kept");
        Cluster::reopen(13, &self.site.cluster.name, *port)
    }

    fn state_of(&self, major: u32) -> String {
        let clusters = self.site.cluster.all_of_this_name();
        clusters.into_iter().find(|(of, ..)| *of == major).map(|(.., state)| state).unwrap_or_default()
    }

    fn is_back_on_the_old_cluster(&self) {
        wait_until("the old release to answer", PATIENCE, || self.site.answers());
        assert_eq!(self.site.running_version().as_deref(), Some(FROM));
        assert_eq!(self.site.history(), self.history);
        assert_eq!(self.state_of(13), "online");
    }
}

fn id_of(document: &Value) -> &str {
    document["backup"]["id"].as_str().unwrap_or_else(|| panic!("no restore point: {document}"))
}

fn head(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn completion(document: &Value) -> Value {
    head(&Path::new(document["backup"]["path"].as_str().unwrap()).join("database.json"))
}

#[test]
fn what_an_upgrade_has_kept_is_stored_when_the_server_serves_again() {
    let (hop, document) = Hop::gone();
    let id = id_of(&document);
    let freeze = &document["backup"]["freeze"];
    let label = hop.site.cluster.label();
    assert_eq!((&freeze["original"], &freeze["copy"], &freeze["reason"]), (&json!(label), &Value::Null, &Value::Null));
    assert_eq!(hop.site.cluster.sql("postgres", "SELECT count(*) FROM pg_database WHERE datname LIKE '%frozen%'"), "0");
    let manifest = head(Path::new(document["backup"]["manifest"].as_str().unwrap()));
    assert!(manifest["database"].is_null() && manifest["original"]["database"]["cluster"] == label.as_str());

    // Until then it is none that can be restored elsewhere, and nobody drops what it needs.
    let (into, url) = (hop.site.directory().join("into"), format!("{}_x", hop.site.cluster.url()));
    let into = into.to_str().unwrap();
    for (words, code) in [
        (&["verify", id][..], 4),
        (&["export", id], 5),
        (&["copy", id, "--into", into], 5),
        (&["restore", id, "--into", into], 5),
        (&["restore", id, "--into-database", &url], 5),
    ] {
        let (_, said) = hop.backup(words, code);
        assert!(said.contains(&format!("hint: mm-backup complete {id} --install")), "{words:?}: {said}");
    }
    let (_, said) = hop.ends("mm-pgbump", &["drop-old", "--force"], 5);
    assert!(said.contains(&format!("hint: mm-backup complete {id} --install")), "{said}");
    let list = hop.backup(&["list", "--format", "human"], 0).0;
    let output = hop.tool("mm-backup", &["list", "--to", hop.site.store().to_str().unwrap(), "--format", "human"], "");
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(list.is_null() && table.contains("FROZEN") && table.contains(&label), "{table}");
    let (_, said) = hop.backup(&["prune", "--keep-last", "0", "-v"], 0);
    assert_eq!(hop.backup(&["list", "--format", "json"], 0).0["points"][0]["frozen"]["original"], label, "{said}");

    // What users write meanwhile is not in it.
    hop.site.cluster.query("DELETE FROM reactions; UPDATE posts SET message = 'changed'");
    let mut command = hop.site.tool("mm-backup");
    let done = command.arg("complete").write_stdin(document.to_string()).assert().success();
    let done: Value = serde_json::from_slice(&done.get_output().stdout).unwrap();
    assert!(done["backup"]["freeze"]["completed"].is_string(), "{done}");
    assert_eq!(done["backup"]["manifest_sha256"], document["backup"]["manifest_sha256"]);
    assert_eq!(hop.state_of(13), "down");
    assert!(completion(&document)["unproven"].is_null(), "{}", completion(&document)["unproven"]);
    hop.backup(&["verify", id, "--restore"], 0);
    hop.backup(&["complete", id], 0);
    hop.ends("mm-pgbump", &["drop-old", "--force"], 0);
    hop.backup(&["restore", id, "--stop"], 0);
    wait_until("the restored server to answer", PATIENCE, || hop.site.answers());
    assert_eq!((hop.site.running_version().as_deref(), hop.site.history()), (Some(FROM), hop.history.clone()));
}

#[test]
fn the_kept_cluster_is_the_way_back_before_and_after_it_is_stored() {
    for completes in [false, true] {
        let (hop, document) = Hop::gone();
        let id = id_of(&document);
        if completes {
            hop.backup(&["complete", id], 0);
        }
        let (dry, _) = hop.ends("mm-swap", &["rollback", "--database", "--dry-run"], 0);
        assert_eq!(dry["plan"]["mm-swap"]["way_back"]["kind"], "kept-cluster", "{dry}");
        hop.ends("mm-swap", &["rollback", "--database"], 0);
        hop.is_back_on_the_old_cluster();
        let (_, said) = hop.backup(&["complete", id], if completes { 0 } else { 5 });
        assert!(completes || said.contains("the server works with it"), "{said}");
        hop.backup(&["verify", id], if completes { 0 } else { 4 });
    }
}

#[test]
fn files_that_both_clusters_would_share_are_no_restore_point() {
    let hop = Hop::new();
    let outcome = hop.run("", "--method link");
    assert_eq!(outcome.code, 5, "{}", outcome.said);
    assert!(outcome.said.contains("--method link does not go with the restore point"), "{}", outcome.said);
    assert!(outcome.said.contains("mm-backup create --stop --install"), "{}", outcome.said);
    hop.is_back_on_the_old_cluster();
}

/// What was frozen for a hop that was not made is the database that the server works with: the next point is the first one of the
/// run then.
#[test]
fn a_run_goes_back_to_the_first_point_that_has_a_database() {
    let hop = Hop::new();
    let planned = hop.planned();
    let refused = hop.go(&planned, "", "--method link");
    assert_eq!(refused.code, 5, "{}", refused.said);
    let made = hop.go(&planned, "", "").good();
    let pins = fs::read_dir(hop.site.store()).unwrap().flatten().map(|entry| entry.path());
    let pins: Vec<Value> =
        pins.filter(|path| path.to_str().unwrap().contains("/.pin-")).map(|path| head(&path)).collect();
    let told: Vec<_> = pins.iter().map(|pin| (pin["id"].as_str().unwrap(), pin["why"].as_str().unwrap())).collect();
    assert_eq!(told, [(id_of(&made), "first")]);
    // It can be removed, and is no reason not to upgrade again.
    hop.backup(&["complete", id_of(&made)], 0);
    hop.backup(&["prune", "--keep-last", "1"], 0);
    assert_eq!(hop.backup(&["list", "--format", "json"], 0).0["points"].as_array().unwrap().len(), 1);
}

/// A release that migrates the only database there is would leave no way back.
#[test]
fn a_release_is_not_put_in_place_before_the_database_was_left() {
    let hop = Hop::new();
    let pipeline =
        hop_with(
            &hop.site,
            &hop.releases,
            |tool| {
                if tool == "mm-backup" { "--freeze".to_owned() } else { String::new() }
            },
        );
    let stages: Vec<&str> = pipeline.split(" | ").filter(|stage| !stage.starts_with("mm-pgbump")).collect();
    let pipeline = stages[..stages.len() - 1].join(" | ");
    let outcome = run(&pipeline, &hop.planned());
    assert_eq!(outcome.code, 5, "{}", outcome.said);
    assert!(outcome.said.contains("PostgreSQL has not been upgraded"), "{}", outcome.said);
    hop.is_back_on_the_old_cluster();
}

#[test]
fn whoever_writes_into_the_kept_cluster_is_found() {
    let (hop, document) = Hop::gone();
    let (id, kept) = (id_of(&document), hop.kept());
    kept.start();
    let (_, said) = hop.backup(&["complete", id], 5);
    assert!(said.contains("runs") && said.contains("pg_ctlcluster 13"), "{said}");
    kept.query("UPDATE posts SET message = 'changed' WHERE id = (SELECT min(id) FROM posts)");
    kept.stop();
    let (_, said) = hop.backup(&["complete", id], 4);
    assert!(said.contains("transactions were made in it since the upgrade"), "{said}");
    assert!(said.contains("public.posts of mattermost held"), "{said}");
    assert_eq!(hop.state_of(13), "down");
    hop.backup(&["verify", id], 4);
    hop.backup(&["complete", id, "--accept", "frozen-copy"], 0);
    let unproven = &completion(&document)["unproven"];
    assert!(unproven.as_array().is_some_and(|found| found.len() == 2), "{unproven}");
}

/// Whoever only looks changes nothing.
#[test]
fn a_kept_cluster_that_was_started_and_read_is_what_it_was() {
    let (hop, document) = Hop::gone();
    let kept = hop.kept();
    kept.start();
    assert_ne!(kept.query("SELECT count(*) FROM posts"), "0");
    kept.stop();
    hop.backup(&["complete", id_of(&document)], 0);
    assert!(completion(&document)["unproven"].is_null());
}

#[test]
fn storing_it_is_killed_at_every_checkpoint() {
    let (hop, document) = Hop::gone();
    let id = id_of(&document);
    let store = hop.site.store();
    let words = ["complete", id, "--to", store.to_str().unwrap()];
    let names = [
        "complete-begun",
        "complete-original-started",
        "database-dumped",
        "complete-original-stopped",
        "complete-stored",
        "complete-placed",
    ];
    for name in names {
        let output = hop.tool("mm-backup", &words, name);
        assert_eq!(output.status.signal(), Some(9), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let runs = ["complete-original-started", "database-dumped"].contains(&name);
        assert_eq!(hop.state_of(13) == "online", runs, "{name}");
    }
    // One that was left running serves again as well as one that was not.
    let output = hop.tool("mm-backup", &words, "complete-original-started");
    assert_eq!(output.status.signal(), Some(9));
    hop.backup(&["complete", id], 0);
    assert_eq!(hop.state_of(13), "down");
    assert!(completion(&document)["unproven"].is_null());
    hop.backup(&["verify", id, "--restore"], 0);
}

/// It is left running by a run that was killed, and by a failure of power in disorder.
#[test]
fn what_a_killed_run_has_left_running_is_no_obstacle() {
    let (hop, document) = Hop::gone();
    let store = hop.site.store();
    let words = ["complete", id_of(&document), "--to", store.to_str().unwrap()];
    assert_eq!(hop.tool("mm-backup", &words, "complete-original-started").status.signal(), Some(9));
    let pid = fs::read_to_string(hop.kept().data_directory().join("postmaster.pid")).unwrap();
    let pid = pid.lines().next().unwrap();
    shell(&format!("kill -9 {pid}; while kill -0 {pid} 2>/dev/null; do :; done")).assert().success();
    hop.backup(&["complete", id_of(&document)], 0);
    assert!(completion(&document)["unproven"].is_null());

    let (hop, document) = Hop::gone();
    let store = hop.site.store();
    let words = ["complete", id_of(&document), "--to", store.to_str().unwrap()];
    assert_eq!(hop.tool("mm-backup", &words, "complete-original-started").status.signal(), Some(9));
    hop.ends("mm-swap", &["rollback", "--database"], 0);
    hop.is_back_on_the_old_cluster();
}

/// Where the way back is the dump, it is made first.
#[test]
fn a_restore_stores_it_first() {
    let (hop, document) = Hop::gone();
    hop.site.cluster.query("DELETE FROM reactions; UPDATE posts SET message = 'changed'");
    let (dry, _) = hop.backup(&["restore", id_of(&document), "--stop", "--dry-run"], 0);
    assert!(dry["msg"].as_str().unwrap().contains("first store its database"), "{dry}");
    hop.backup(&["restore", id_of(&document), "--stop"], 0);
    wait_until("the restored server to answer", PATIENCE, || hop.site.answers());
    assert_eq!((hop.site.running_version().as_deref(), hop.site.history()), (Some(FROM), hop.history.clone()));
    assert_eq!((hop.state_of(13), hop.state_of(15)), ("down".into(), "online".into()));
}

#[test]
fn the_other_databases_of_the_cluster_are_stored_with_it() {
    let hop = Hop::new();
    hop.site.cluster.sql("postgres", "CREATE DATABASE wiki");
    hop.site.cluster.sql("wiki", "CREATE TABLE pages AS SELECT 'home' AS name");
    let document = hop.run("--whole-cluster", "--shared-cluster").good();
    let databases = document["backup"]["databases"].as_array().unwrap();
    assert!(databases.contains(&json!("wiki")) && databases.contains(&json!("mattermost")), "{databases:?}");
    hop.backup(&["complete", id_of(&document)], 0);
    let others: Vec<Value> = completion(&document)["other_databases"].as_array().unwrap().clone();
    assert!(
        others.iter().any(|part| part["name"] == "wiki" && part["tables"]["public.pages"]["rows"] == 1),
        "{others:?}"
    );
    hop.backup(&["verify", id_of(&document), "--restore"], 0);
}

/// A server whose database is on no cluster that this machine knows, in a hop that moves it to one.
fn moved() -> (Hop, Cluster, Value) {
    let hop = Hop::new();
    let target = Cluster::create(15);
    hop.site.cluster.hide(hop.site.directory());
    let file = hop.site.directory().join("target");
    fs::write(&file, target.url()).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let document = hop.run("", &format!("move --target {}", file.display())).good();
    (hop, target, document)
}

#[test]
fn what_a_move_has_left_is_stored_and_whoever_writes_into_it_is_found() {
    let (hop, target, document) = moved();
    let id = id_of(&document);
    let original = document["backup"]["freeze"]["original"].as_str().unwrap();
    assert!(original.ends_with(&format!(":{}/mattermost", hop.site.cluster.port)), "{original}");
    target.query("UPDATE posts SET message = 'changed'");
    hop.site.cluster.query("UPDATE posts SET message = 'other' WHERE id = (SELECT min(id) FROM posts)");
    let (_, said) = hop.backup(&["complete", id], 4);
    assert!(said.contains("public.posts of mattermost held"), "{said}");
    hop.backup(&["complete", id, "--accept", "frozen-copy"], 0);
    hop.backup(&["verify", id, "--restore"], 0);
}

#[test]
fn a_move_is_taken_back_before_and_after_its_source_is_stored() {
    for completes in [false, true] {
        let (hop, _target, document) = moved();
        if completes {
            hop.backup(&["complete", id_of(&document)], 0);
            assert!(completion(&document)["unproven"].is_null());
            hop.backup(&["verify", id_of(&document)], 0);
        }
        hop.ends("mm-swap", &["rollback", "--database"], 0);
        wait_until("the old release to answer", PATIENCE, || hop.site.answers());
        assert_eq!(hop.site.history(), hop.history);
        let (_, said) = hop.backup(&["complete", id_of(&document)], if completes { 0 } else { 5 });
        assert!(completes || said.contains("the server works with it"), "{said}");
    }
}
