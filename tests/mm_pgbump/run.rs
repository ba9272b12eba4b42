//! mm-pgbump on real clusters, 13 to 15, under a server of its own: what it does when all is well.

use std::time::Duration;

use mm_test_support::process::{run, wait_until};
use serde_json::Value;

use crate::rig::{Rig, VERSION};

#[test]
fn the_cluster_is_carried_over_and_back_with_every_row() {
    let rig = Rig::running();
    let counts = rig.site.counts();
    let (document, _) = rig.upgrade(0, &[]);
    assert_eq!(document["changed"], true);
    let section = &document["pgbump"];
    assert_eq!((&section["port"], &section["proof"]["equal"]), (&rig.site.cluster.port.into(), &Value::Bool(true)));
    rig.is_upgraded();
    assert_eq!(rig.site.counts(), counts);
    wait_until("the server", Duration::from_secs(60), || rig.site.running_version().as_deref() == Some(VERSION));

    // Again: nothing to do.
    let (again, _) = rig.upgrade(0, &[]);
    assert_eq!((&again["changed"], &again["pgbump"]["needed"]), (&Value::Bool(false), &Value::Bool(false)));

    // Back, and what was written since is named.
    rig.site.cluster.query("INSERT INTO systems VALUES ('written', 'since')");
    let (back, _) = rig.pgbump(0, &["rollback"]);
    assert!(back["msg"].as_str().unwrap().contains("systems ("), "{back}");
    assert_eq!(rig.clusters(), [(13, true, "online".to_owned()), (15, false, "down".to_owned())]);
    rig.serves("13");
    wait_until("the server", Duration::from_secs(60), || rig.site.answers());
    assert!(rig.pgbump(5, &["rollback"]).1.contains("there is no upgrade to take back"));
}

/// Every method carries everything there can be; `link` cannot be taken back, the others can.
fn carries_everything(method: &str) {
    let rig = Rig::new().enrich();
    let riches = rig.riches();
    // Others' databases are not upgraded unasked.
    let (document, said) = rig.upgrade(5, &["--method", method]);
    assert!(said.contains("--shared-cluster") && said.contains("other of postgres"), "{said}");
    assert_eq!(document["error"]["code"], 5);
    rig.is_as_before();
    let (document, _) = rig.upgrade(0, &["--method", method, "--shared-cluster"]);
    assert_eq!(document["pgbump"]["method"], method);
    assert_eq!(document["pgbump"]["proof"]["databases"], 6);
    rig.is_upgraded();
    assert_eq!(rig.riches(), riches);
    rig.lets_in();
    let environment = std::fs::read_to_string(rig.configuration(15).join("environment")).unwrap();
    assert!(environment.contains("LAB = 'here'"), "{environment}");
    let statistics = rig.site.cluster.sql("other", "SELECT count(*) > 0 FROM pg_stats WHERE tablename = 'pairs'");
    assert_eq!(statistics, "t");
    if method == "link" {
        let (_, said) = rig.pgbump(5, &["rollback"]);
        assert!(said.contains("mm-backup restore"), "{said}");
        rig.is_upgraded();
    } else {
        rig.pgbump(0, &["rollback"]);
        rig.serves("13");
        assert_eq!(rig.riches(), riches);
    }
}

#[test]
fn dump_carries_everything() {
    carries_everything("dump");
}

#[test]
fn upgrade_carries_everything() {
    carries_everything("upgrade");
}

#[test]
fn link_carries_everything_and_has_no_way_back() {
    carries_everything("link");
}

#[test]
fn with_keep_port_the_configuration_follows() {
    let rig = Rig::new();
    let before = rig.site.config();
    let (document, _) = rig.upgrade(0, &["--keep-port"]);
    let port = document["pgbump"]["port"].as_u64().unwrap();
    assert_ne!(port, u64::from(rig.site.cluster.port));
    let mut wanted = before.clone();
    let source = &mut wanted["SqlSettings"]["DataSource"];
    *source = source.as_str().unwrap().replace(&format!(":{}/", rig.site.cluster.port), &format!(":{port}/")).into();
    assert!(rig.site.config() == wanted, "only the data source changes, and in it only the port");
    assert_eq!(
        rig.clusters().iter().map(|(major, own, _)| (*major, *own)).collect::<Vec<_>>(),
        [(13, true), (15, false)]
    );
    rig.pgbump(0, &["rollback"]);
    assert!(rig.site.config() == before);
    rig.serves("13");
}

#[test]
fn with_keep_port_the_variable_that_the_server_reads_follows() {
    let rig = Rig::new();
    let (file, url) = (rig.site.install().join("config/mattermost.environment"), rig.site.cluster.url());
    let text = |url: &str| format!("# ours\nMM_OTHER=1\nMM_SQLSETTINGS_DATASOURCE={url}\n# the end\n");
    std::fs::write(&file, text(&url)).unwrap();
    run("chown", &["mm-test:mm-test", file.to_str().unwrap()]);
    let before = std::fs::read(rig.site.config_path()).unwrap();
    let (document, _) = rig.upgrade(0, &["--keep-port"]);
    let port = document["pgbump"]["port"].as_u64().unwrap();
    let moved = url.replace(&format!(":{}/", rig.site.cluster.port), &format!(":{port}/"));
    assert_eq!(document["pgbump"]["repointed"], serde_json::json!([file]));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text(&moved));
    rig.pgbump(0, &["rollback"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text(&url));
    assert_eq!(std::fs::read(rig.site.config_path()).unwrap(), before);
    rig.serves("13");
}

#[test]
fn a_crashed_cluster_is_not_upgraded_before_it_has_recovered() {
    let rig = Rig::new();
    // In the log and nowhere else when the server dies.
    rig.site.cluster.query("SET synchronous_commit = on; CHECKPOINT; CREATE TABLE late AS SELECT 42 AS n");
    let lock = std::fs::read_to_string(rig.data(13).join("postmaster.pid")).unwrap();
    let pid = lock.lines().next().unwrap();
    run("kill", &["-9", pid]);
    // It closes its socket before it is gone, and its processes notice later still.
    wait_until("the server to be gone", Duration::from_secs(60), || {
        let listed =
            std::process::Command::new("pgrep").args(["-f", &format!("13/{}", rig.site.cluster.name)]).output();
        listed.unwrap().stdout.is_empty() && !std::path::Path::new("/proc").join(pid).exists()
    });
    let (document, said) = rig.upgrade(1, &[]);
    assert!(document["error"]["hint"].as_str().unwrap().contains("systemctl start postgresql"), "{said}");
    assert!(!rig.data(15).exists());
    // It replays its log, and then all is as it was.
    run("pg_ctlcluster", &["13", &rig.site.cluster.name, "start"]);
    rig.pgbump(0, &["check", "--to", "15"]);
    rig.is_as_before();

    // And what it replayed is carried over and proven like everything else.
    let (document, _) = rig.upgrade(0, &[]);
    assert_eq!(document["pgbump"]["proof"]["equal"], true, "{document}");
    rig.is_upgraded();
    assert_eq!(rig.site.cluster.query("SELECT n FROM late"), "42");
}

/// `pg_upgradecluster` takes the first port that is free, and writes it down seconds later: two at once take the same.
#[test]
fn two_upgrades_at_once_do_not_get_into_each_others_way() {
    let rigs = [Rig::new(), Rig::new()];
    let ports = std::thread::scope(|scope| {
        let runs =
            rigs.each_ref().map(|rig| scope.spawn(|| rig.upgrade(0, &["--keep-port"]).0["pgbump"]["port"].clone()));
        runs.map(|run| run.join().unwrap())
    });
    assert_ne!(ports[0], ports[1]);
}

#[test]
fn an_unused_cluster_of_the_packages_makes_way_and_a_used_one_does_not() {
    let rig = Rig::new();
    run("pg_createcluster", &["15", &rig.site.cluster.name, "--start", "--", "--no-sync"]);
    let port = rig.site.cluster.all_of_this_name()[1].1.to_string();
    let role = |sql: &str| {
        run("runuser", &["-u", "postgres", "--", "psql", "-XqAtw", "-p", &port, "-d", "postgres", "-c", sql])
    };
    role("CREATE ROLE somebody");
    let (_, said) = rig.upgrade(5, &[]);
    assert!(said.contains("holds the role somebody"), "{said}");
    run("pg_ctlcluster", &["15", &rig.site.cluster.name, "stop"]);
    assert!(rig.upgrade(5, &[]).1.contains("has been used"));
    run("pg_dropcluster", &["15", &rig.site.cluster.name]);
    run("pg_createcluster", &["15", &rig.site.cluster.name, "--", "--no-sync"]);
    rig.upgrade(0, &[]);
    rig.is_upgraded();
}

/// A run has several hops, and each says what was done in it.
#[test]
fn a_later_hop_does_not_report_what_an_earlier_one_did() {
    let rig = Rig::new();
    let hop = |run: Option<&Value>| -> Value {
        let output = rig.site.tool("mm-path").args(["--to", "10.6.1"]).output().unwrap();
        let mut document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(document["path"]["next"]["from"], VERSION, "{document}");
        if let Some(run) = run {
            document["run"]["id"] = run.clone();
        }
        document
    };
    let with = |document: &Value| -> Value {
        let mut tool = rig.site.tool("mm-pgbump");
        let output = tool.arg("--no-backup").write_stdin(document.to_string()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let mut earlier = hop(None);
    earlier["path"]["next"]["needs"]["postgres"] = 15.into();
    let done = with(&earlier);
    assert_eq!(done["pgbump"]["needed"], true, "{done}");
    // The same hop once more, as after a report that was lost.
    assert_eq!(with(&earlier)["pgbump"]["to"], done["pgbump"]["to"]);
    let mut later = hop(Some(&done["run"]["id"]));
    later["path"]["next"]["from"] = "10.6.0".into();
    let said = with(&later);
    assert_eq!((&said["pgbump"]["needed"], &said["changed"]), (&false.into(), &false.into()), "{said}");
}

#[test]
fn the_old_cluster_is_dropped_only_when_that_is_safe() {
    let rig = Rig::new();
    assert!(rig.pgbump(0, &["drop-old"]).0["msg"].as_str().unwrap().contains("no old cluster"));
    let (document, _) = rig.upgrade(0, &[]);
    let (_, said) = rig.pgbump(5, &["drop-old"]);
    assert!(said.contains("has not been verified"), "{said}");
    let mut verified = document;
    verified["verify"] = serde_json::json!({ "counts": { "pass": 40, "fail": 1 }, "checks": [] });
    let with = |document: &Value| {
        let output = rig.site.tool("mm-pgbump").arg("drop-old").write_stdin(document.to_string()).output().unwrap();
        output.status.code()
    };
    assert_eq!(with(&verified), Some(5));
    verified["verify"]["counts"]["fail"] = 0.into();
    // Never by the run that made the upgrade.
    assert_eq!(with(&verified), Some(5));
    verified["run"]["id"] = "another".into();
    let name = &rig.site.cluster.name;
    let run = mm_test_support::process::run;
    run("pg_ctlcluster", &["13", name, "start"]);
    assert!(rig.pgbump(5, &["drop-old", "--force"]).1.contains("something uses it again"));
    run("pg_ctlcluster", &["13", name, "stop"]);
    assert!(rig.pgbump(0, &["drop-old", "--force", "--dry-run"]).0["msg"].as_str().unwrap().starts_with("would drop"));
    // Another one has its name by now.
    let (kept, data) = (rig.site.directory().join("kept"), rig.data(13));
    run("mv", &[data.to_str().unwrap(), kept.to_str().unwrap()]);
    let initdb =
        ["-u", "postgres", "--", "/usr/lib/postgresql/13/bin/initdb", "--no-sync", "-D", data.to_str().unwrap()];
    run("runuser", &initdb);
    for words in [&["drop-old", "--force"][..], &["rollback"]] {
        assert!(rig.pgbump(5, words).1.contains("is another one now"), "{words:?}");
    }
    run("rm", &["-r", data.to_str().unwrap()]);
    run("mv", &[kept.to_str().unwrap(), data.to_str().unwrap()]);
    assert_eq!(with(&verified), Some(0));
    assert_eq!(rig.clusters(), [(15, true, "online".to_owned())]);
    rig.serves("15");
    assert!(rig.pgbump(5, &["rollback"]).1.contains("no upgrade to take back"));
}

#[test]
fn check_and_dry_run_change_nothing() {
    let rig = Rig::running();
    let (document, _) = rig.pgbump(0, &["check", "--to", "15"]);
    let checks = document["pgbump"]["checks"].as_array().unwrap();
    assert!(checks.len() > 15 && checks.iter().all(|check| check["status"] != "error"), "{document:#}");
    let (document, _) = rig.upgrade(0, &["--dry-run"]);
    assert_eq!(document["changed"], false);
    assert!(document["msg"].as_str().unwrap().starts_with("would upgrade"), "{document}");
    rig.is_as_before();
    assert!(rig.site.answers());
    // Other tests have scratch clusters there at the same time.
    let scratch = format!(".mm-pgbump.{}.", rig.site.cluster.name);
    let entries = std::fs::read_dir("/var/lib/postgresql/15").into_iter().flatten().flatten();
    let left: Vec<_> = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&scratch)).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_restore_point_of_a_shared_cluster_holds_all_of_it() {
    let rig = Rig::new();
    rig.site.cluster.sql("postgres", "CREATE DATABASE wiki");
    rig.site.cluster.sql("wiki", "CREATE TABLE pages AS SELECT 1 AS n");
    let store = rig.site.store();
    let backup = |flags: &[&str]| {
        let mut tool = rig.site.tool("mm-backup");
        tool.args(["create", "--to", store.to_str().unwrap()])
            .args(flags)
            .assert()
            .success()
            .get_output()
            .stdout
            .clone()
    };
    let upgrade = |document: Vec<u8>| {
        let mut tool = rig.site.tool("mm-pgbump");
        tool.args(["--to", "15", "--shared-cluster", "-v"]).write_stdin(document).output().unwrap()
    };
    let output = upgrade(backup(&[]));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("wiki missing") && said.contains("mm-backup create --whole-cluster"), "{said}");
    rig.is_as_before();
    let output = upgrade(backup(&["--whole-cluster"]));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    rig.is_upgraded();
}

#[test]
fn what_a_restore_has_kept_goes_along() {
    let rig = Rig::new();
    let kept = "mattermost_mm_before_20261126T022004Z";
    rig.site.cluster.sql("postgres", &format!("CREATE DATABASE \"{kept}\""));
    rig.site.cluster.sql(kept, "CREATE TABLE posts AS SELECT 42 AS n");
    // What another restore has kept, of a database whose name the server's begins with.
    let foreign = "matter_mm_before_20261126T022004Z";
    rig.site.cluster.sql("postgres", &format!("CREATE DATABASE \"{foreign}\""));
    let (_, said) = rig.upgrade(5, &[]);
    assert!(said.contains(foreign) && !said.contains(kept), "{said}");
    rig.is_as_before();

    rig.site.cluster.sql("postgres", &format!("DROP DATABASE \"{foreign}\""));
    rig.upgrade(0, &[]);
    rig.is_upgraded();
    assert_eq!(rig.site.cluster.sql(kept, "SELECT n FROM posts"), "42");
}

#[test]
fn no_restore_point_no_upgrade() {
    let rig = Rig::new();
    let (document, said) = rig.pgbump(5, &["--to", "15"]);
    assert!(said.contains("there is no restore point"), "{said}");
    assert!(document["error"]["hint"].as_str().unwrap().contains("mm-backup create"));
    rig.is_as_before();
}
