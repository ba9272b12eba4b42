//! Restore points from before an upgrade of PostgreSQL: the restored configuration leads to the cluster where the
//! server's data is now.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use mm_test_support::process::{run, wait_until};
use serde_json::Value;

use crate::rig::Rig;

const PATIENCE: Duration = Duration::from_secs(60);

/// Runs mm-backup on the store of the rig and wants this exit code. The answer is the document, and what was said.
fn backup(rig: &Rig, code: i32, arguments: &[&str]) -> (Value, String) {
    let output =
        rig.site.tool("mm-backup").arg("--to").arg(rig.site.store()).args(arguments).arg("-v").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "mm-backup {arguments:?}: {said}");
    (serde_json::from_slice(&output.stdout).unwrap_or_default(), said)
}

/// What psql says of the server's database in the cluster of this major.
fn ask(rig: &Rig, major: u32, sql: &str) -> String {
    let port = rig.site.cluster.port;
    let url = rig.site.cluster.url().replace(&format!(":{port}/"), &format!(":{}/", rig.port_of(major)));
    run(mm_test_support::cluster::psql().to_str().unwrap(), &["-XqAtw", "-c", sql, &url]).trim_end().to_owned()
}

const HISTORY: &str = "SELECT count(*), md5(string_agg(id || message, ',' ORDER BY id)) FROM posts";

/// A restore point, an upgrade, and all messages lost. Returns the restore point and the history in it.
fn point_and_loss(rig: &Rig, flags: &[&str]) -> (String, String) {
    let (made, _) = backup(rig, 0, &[]);
    let history = ask(rig, 13, HISTORY);
    rig.upgrade(0, flags);
    ask(rig, 15, "DELETE FROM posts");
    assert_ne!(ask(rig, 15, HISTORY), history);
    (made["backup"]["id"].as_str().unwrap().to_owned(), history)
}

fn config(rig: &Rig) -> String {
    fs::read_to_string(rig.site.config_path()).unwrap()
}

/// A text with the port of the cluster before the upgrade, as it is with that of the new one.
fn moved(rig: &Rig, text: &str) -> String {
    let (old, new) = (rig.site.cluster.port, rig.port_of(15));
    assert_ne!(old, new);
    let moved = text.replace(&format!("127.0.0.1:{old}/"), &format!("127.0.0.1:{new}/"));
    assert_ne!(moved, text);
    moved
}

fn is_down(rig: &Rig, major: u32) {
    let clusters = rig.clusters();
    assert!(clusters.iter().any(|(of, _, state)| *of == major && state == "down"), "{clusters:?}");
}

#[test]
fn with_keep_port_the_restored_configuration_follows_and_the_server_serves() {
    let rig = Rig::running();
    let before = config(&rig);
    let (id, history) = point_and_loss(&rig, &["--keep-port"]);
    wait_until("the server to answer", PATIENCE, || rig.site.answers());
    let (document, _) = backup(&rig, 0, &["restore", &id, "--stop"]);
    let told = document["msg"].as_str().unwrap();
    let (old, new) = (rig.site.cluster.port, rig.port_of(15));
    assert!(
        told.contains(&format!(
            "at 127.0.0.1, port {new}, where the server's data is, and not at 127.0.0.1, port {old}"
        )),
        "{told}"
    );
    assert!(config(&rig) == moved(&rig, &before));
    wait_until("the server to answer from the new cluster", PATIENCE, || rig.site.answers());
    assert_eq!(ask(&rig, 15, HISTORY), history);
    is_down(&rig, 13);

    // And when the old cluster is there no more.
    rig.pgbump(0, &["drop-old", "--force"]);
    ask(&rig, 15, "DELETE FROM posts");
    backup(&rig, 0, &["restore", &id, "--stop"]);
    assert!(config(&rig) == moved(&rig, &before));
    assert_eq!(ask(&rig, 15, HISTORY), history);
    let (_, said) = backup(&rig, 0, &["list", "--format", "human"]);
    assert!(said.contains("mm-backup: 1 restore point\n"), "{said}");
}

/// What a cluster that was upgraded with hard links is restored by: nothing else leads back.
#[test]
fn after_an_upgrade_that_cannot_be_taken_back_the_old_state_comes_into_the_new_cluster() {
    let rig = Rig::new();
    let before = config(&rig);
    let (id, history) = point_and_loss(&rig, &["--keep-port", "--method", "link"]);
    let (_, said) = rig.pgbump(5, &["rollback"]);
    assert!(said.contains("mm-backup restore"), "{said}");
    backup(&rig, 0, &["restore", &id]);
    assert!(config(&rig) == moved(&rig, &before));
    assert_eq!(ask(&rig, 15, HISTORY), history);
}

/// The new cluster has the port of the old one: there is nothing to follow.
#[test]
fn with_exchanged_ports_the_restored_configuration_stays_as_it_was() {
    let rig = Rig::running();
    let before = config(&rig);
    let (id, history) = point_and_loss(&rig, &[]);
    let (document, _) = backup(&rig, 0, &["restore", &id, "--stop"]);
    assert!(!document["msg"].as_str().unwrap().contains("looks for the database"), "{document}");
    assert!(config(&rig) == before);
    assert_eq!(ask(&rig, 15, HISTORY), history);
    wait_until("the server to answer", PATIENCE, || rig.site.answers());
    rig.is_upgraded();
}

#[test]
fn the_variable_that_the_server_reads_follows_and_what_is_not_restored_stays() {
    let rig = Rig::new();
    let file = rig.site.install().join("config/mattermost.environment");
    let port = rig.site.cluster.port;
    let text = format!("# ours\nexport MM_SQLSETTINGS_DATASOURCE='{}'\nTZ=UTC\n", rig.site.cluster.url());
    fs::write(&file, &text).unwrap();
    run("chown", &["mm-test:mm-test", file.to_str().unwrap()]);
    // Not what the server reads.
    rig.site.set("SqlSettings", "DataSource", format!("postgres://old@192.0.2.1:{port}/unused").into());
    let unused = config(&rig);
    let (id, history) = point_and_loss(&rig, &["--keep-port"]);

    // The configuration alone: nobody answers where it leads, until the old cluster runs again.
    let repointed = fs::read_to_string(&file).unwrap();
    backup(&rig, 0, &["restore", &id, "--config"]);
    assert!(fs::read_to_string(&file).unwrap() == repointed && repointed == moved(&rig, &text));
    run("pg_ctlcluster", &["13", &rig.site.cluster.name, "start"]);
    backup(&rig, 0, &["restore", &id, "--config"]);
    assert!(fs::read_to_string(&file).unwrap() == text, "who asks for it gets it as it was");

    // With the database it leads to where that goes: to where the server is at home when it begins.
    fs::write(&file, &repointed).unwrap();
    backup(&rig, 0, &["restore", &id]);
    assert!(fs::read_to_string(&file).unwrap() == repointed);
    assert!(config(&rig) == unused);
    assert_eq!(ask(&rig, 15, HISTORY), history);
    let kept = "SELECT count(*) FROM pg_database WHERE datname LIKE '%_mm_before_%'";
    assert_eq!(rig.site.cluster.sql("postgres", kept), "0", "the old cluster has been written to");
}

#[test]
fn killed_on_the_way_it_leads_to_one_place_with_all_or_nothing_restored() {
    let rig = Rig::new();
    let before = config(&rig);
    let (id, history) = point_and_loss(&rig, &["--keep-port"]);
    let repointed = config(&rig);
    let dies = |checkpoint: &str| {
        let said: PathBuf = rig.site.directory().join("said");
        let status = Command::new(mm_test_support::tool::executable("mm-backup"))
            .args(rig.site.flags())
            .arg("--to")
            .arg(rig.site.store())
            .args(["restore", &id, "-v"])
            .env("MM_CHECKPOINT", checkpoint)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&said).unwrap())
            .status()
            .unwrap();
        let said = fs::read_to_string(said).unwrap();
        assert_eq!(status.signal(), Some(9), "it was to die at `{checkpoint}`: {status}: {said}");
    };
    for checkpoint in ["restore-prepared", "restore-moved", "restore-exchanged"] {
        dies(checkpoint);
        assert!(config(&rig) == repointed, "at {checkpoint} the server has lost its database");
    }
    assert!(repointed == moved(&rig, &before));
    backup(&rig, 0, &["restore", &id]);
    assert!(config(&rig) == repointed);
    assert_eq!(ask(&rig, 15, HISTORY), history);
}
