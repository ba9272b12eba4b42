//! What mm-verify writes is read back by others' readers; what `watch` and `repair` do for each of their kinds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::lab::{check_of, verify, with_status};
use mm_test_support::process;
use mm_test_support::site::Site;
use mm_test_support::tool;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// An index whose name no report may trip over.
const AWKWARD: &str = "U&\"a<b>&\\0022 ]]> \\001b\\00e9\"";

/// The cases of a JUnit file, as an XML parser sees them: name, and what stands in it. With the numbers of its head.
fn junit(path: &Path) -> (BTreeMap<String, String>, Value) {
    let script = "import sys, json, xml.etree.ElementTree as t\n\
                  suite = t.parse(sys.argv[1]).getroot()\n\
                  cases = {c.get('name').split(':')[0]: ' '.join(e.tag for e in c) for c in suite}\n\
                  print(json.dumps([cases, suite.attrib, [c.get('classname') for c in suite]]))";
    let seen = process::run("python3", &["-c", script, path.to_str().unwrap()]);
    let seen: Value = serde_json::from_str(&seen).unwrap();
    assert!(seen[2].as_array().unwrap().iter().any(|class| class == "database"), "{seen}");
    (serde_json::from_value(seen[0].clone()).unwrap(), seen[1].clone())
}

/// The samples of a file in the Prometheus text format, by name and labels. Each has a help and a type before it.
fn samples(path: &Path) -> BTreeMap<String, f64> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.ends_with('\n'), "{text}");
    let (mut helped, mut typed) = (BTreeSet::new(), BTreeSet::new());
    let mut samples = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(helped.insert(rest.split(' ').next().unwrap()), "twice: {line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(kind == "gauge" && typed.insert(name), "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            assert!(helped.contains(name) && typed.contains(name), "neither help nor type: {line}");
            for label in labels.strip_suffix('}').unwrap().split(',').filter(|label| !label.is_empty()) {
                let (key, value) = label.split_once("=\"").unwrap();
                let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte));
                assert!(plain(key) && plain(value.strip_suffix('"').unwrap()), "{line}");
            }
            assert!(samples.insert(series.to_owned(), value.parse().unwrap()).is_none(), "twice: {line}");
        }
    }
    samples
}

#[test]
fn each_form_of_the_report_says_of_each_check_the_same() {
    let site = Site::builder("9.11.18").running().build();
    assert_eq!(verify(&site, &["--only", "database", "--strict"]).0, 0);
    site.cluster.query(&format!(
        "CREATE INDEX {AWKWARD} ON posts (id);
         UPDATE pg_index SET indisvalid = false FROM pg_class c WHERE c.oid = indexrelid AND c.relname LIKE 'a<b>%';
         INSERT INTO jobs (id, type, status, priority, createat, startat, lastactivityat, progress, data) VALUES
           ('aaaaaaaaaaaaaaaaaaaaaaaaaa', 'delete_empty_drafts_migration', 'pending', 0, 1, 0, 0, 0, '{{}}')"
    ));
    let (xml, prometheus) = (site.directory().join("junit.xml"), site.directory().join("mm.prom"));
    let look = |format: &str| {
        let output = site
            .tool("mm-verify")
            // Nobody drives a browser there.
            .args(["--browser", "http://127.0.0.1:1", "--format", format, "--junit"])
            .arg(&xml)
            .arg("--prometheus")
            .arg(&prometheus)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(4));
        String::from_utf8(output.stdout).unwrap()
    };
    let table = look("human");
    let document: Value = serde_json::from_str(&look("json")).unwrap();
    let checks = document["verify"]["checks"].as_array().unwrap();
    for status in ["pass", "fail", "warn", "skip", "error"] {
        let count = with_status(&document, status).len();
        assert!(count > 0 && document["verify"]["counts"][status] == count, "{status}: {document}");
    }
    assert!(check_of(&document, "database.indexes")["evidence"].to_string().contains("a<b>&"), "{document}");

    let (cases, head) = junit(&xml);
    let samples = samples(&prometheus);
    assert_eq!(cases.len(), checks.len());
    for check in checks {
        let (id, status) = (check["id"].as_str().unwrap(), check["status"].as_str().unwrap());
        let element = match status {
            "fail" => "failure",
            "error" => "error",
            "skip" => "skipped",
            _ => "system-out",
        };
        assert_eq!(cases[id], element, "{id}");
        for other in ["pass", "fail", "warn", "skip", "error"] {
            let value = samples[&format!("mm_verify_check{{id=\"{id}\",status=\"{other}\"}}")];
            assert!((value > 0.5) == (other == status), "{id} {other} {value}");
        }
        let mark = if matches!(status, "fail" | "error") { status.to_uppercase() } else { status.to_owned() };
        let is_line = |line: &str| line.split_whitespace().take(2).eq([mark.as_str(), id]);
        assert!(table.lines().any(is_line), "{mark} {id} is not in\n{table}");
        assert!(check["seconds"].is_number() && check["title"].is_string() && check["evidence"].is_string(), "{check}");
    }
    for (name, status) in [("failures", "fail"), ("errors", "error"), ("skipped", "skip")] {
        assert_eq!(head[name], with_status(&document, status).len().to_string(), "{name}");
    }
    assert!(samples.contains_key("mm_verify_last_run_timestamp_seconds"), "{samples:?}");
    assert!(!table.contains('\u{1b}'), "{table:?}");
}

/// A `watch` that has looked once, and its report.
fn watching(site: &Site) -> (Child, std::path::PathBuf) {
    let report = site.directory().join("watch.prom");
    let _ = std::fs::remove_file(&report);
    let child = Command::new(tool::executable("mm-verify"))
        .args(site.flags())
        .args(["watch", "--for", "1h", "--every", "1s", "--format", "json", "--prometheus"])
        .arg(&report)
        .env_clear()
        .env("PATH", process::PATH)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    process::wait_until("the first look", PATIENCE, || report.exists());
    (child, report)
}

/// The checks that made it end, long before its hour is over.
fn ended(child: Child) -> Vec<String> {
    let output = child.wait_with_output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(4), "{document}");
    with_status(&document, "fail")
}

#[test]
fn a_watch_ends_with_4_for_each_way_of_getting_worse() {
    let site = Site::builder("9.11.18").running().build();
    site.tool("mm-verify").args(["baseline", "--browser", "no", "--only", "server.ping"]).assert().success();

    let (watch, report) = watching(&site);
    let log = site.install().join("logs/mattermost.log");
    let mut text = std::fs::read_to_string(&log).unwrap();
    text.push_str(&"{\"level\":\"error\",\"msg\":\"the store is on fire\"}\n".repeat(10));
    std::fs::write(&log, text).unwrap();
    assert_eq!(ended(watch), ["watch.errors"]);
    let seen = samples(&report);
    assert!((seen["mm_verify_up"] - 1.0).abs() < 0.1 && seen["mm_verify_database_connections_max"] > 1.0, "{seen:?}");
    assert!(seen["mm_verify_check{id=\"watch.errors\",status=\"fail\"}"] > 0.5, "{seen:?}");

    let (watch, _) = watching(&site);
    let mut clients: Vec<Child> = Vec::new();
    let count = || -> u32 {
        let used = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'mattermost'";
        site.cluster.sql("mattermost", used).trim().parse().unwrap()
    };
    // More than nine tenths of those that a cluster of the tests allows, the one that is counted by not among them.
    while count() < 38 && clients.len() < 40 {
        let before = count();
        let client = process::as_user("postgres", mm_test_support::cluster::psql())
            .args(["-XAtq", "-p", &site.cluster.port.to_string(), "-d", "mattermost"])
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        clients.push(client);
        process::wait_until("a connection", PATIENCE, || count() > before);
    }
    let failed = ended(watch);
    for client in &mut clients {
        client.kill().unwrap();
        client.wait().unwrap();
    }
    assert!(failed.contains(&"watch.connections".to_owned()), "{failed:?}");

    site.stop();
    std::fs::write(site.install().join("bin/.stand-in-faults"), "slow-calls=1").unwrap();
    site.start();
    let (watch, _) = watching(&site);
    assert!(ended(watch).contains(&"watch.latency".to_owned()));
}

/// Everything a repair may touch, in one digest.
fn digest(site: &Site) -> String {
    let tables = ["channels", "channelmembers", "teammembers", "roles", "sidebarcategories", "threadmemberships"];
    let rows = tables.map(|table| format!("SELECT '{table} ' || t::text AS line FROM {table} t"));
    site.cluster.query(&format!(
        "SELECT md5(string_agg(line, ',' ORDER BY line COLLATE \"C\")) FROM ({} UNION ALL
           SELECT concat_ws(' ', table_name, column_name, coalesce(column_default, '-')) FROM information_schema.columns
             WHERE table_schema = 'public') AS x",
        rows.join(" UNION ALL ")
    ))
}

#[test]
fn each_repair_fixes_what_it_is_for_and_its_way_back_is_exact() {
    let site = Site::builder("9.11.18").build();
    let repair = |arguments: &[&str]| -> Value {
        let done = site.tool("mm-verify").arg("repair").args(arguments).args(["--format", "json"]).assert().success();
        serde_json::from_slice(&done.get_output().stdout).unwrap_or_default()
    };
    let known = repair(&["--list"])["repair"].clone();
    let needed = |list: &Value| -> Vec<String> {
        let needed = list.as_array().unwrap().iter().filter(|repair| !repair["needed"].as_array().unwrap().is_empty());
        needed.map(|repair| repair["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(needed(&known), Vec::<String>::new());
    site.tool("mm-verify").args(["repair", "--fix", "nothing"]).assert().code(2);

    let cases = [
        (
            "null-counts",
            "database.nulls",
            "UPDATE channels SET totalmsgcountroot = NULL; UPDATE channelmembers SET msgcountroot = NULL;
             UPDATE sidebarcategories SET muted = NULL; UPDATE threadmemberships SET unreadmentions = NULL",
        ),
        (
            "last-root-post",
            "database.nulls",
            "ALTER TABLE channels ALTER lastrootpostat DROP NOT NULL; UPDATE channels SET lastrootpostat = NULL",
        ),
        (
            "scheme-guest",
            "database.nulls",
            "UPDATE channelmembers SET schemeguest = NULL; UPDATE teammembers SET schemeguest = NULL",
        ),
        (
            "permissions",
            "database.permissions",
            "UPDATE roles SET permissions = replace(permissions, 'create_post', '') WHERE name = 'channel_user'",
        ),
    ];
    let all: Vec<&str> = known.as_array().unwrap().iter().map(|repair| repair["id"].as_str().unwrap()).collect();
    assert_eq!(all, cases.map(|(id, ..)| id), "repairs of mm-verify, and cases here");
    for (id, check, sabotage) in cases {
        let status = || check_of(&verify(&site, &["--only", check]).1, check)["status"].as_str().unwrap().to_owned();
        let good = digest(&site);
        site.cluster.query(sabotage);
        let broken = digest(&site);
        assert_ne!(good, broken, "{id}");
        // What hurts in one release only is no failure in this one.
        let said = if id == "scheme-guest" { "warn" } else { "fail" };
        assert_eq!((needed(&repair(&["--list"])["repair"]), status()), (vec![id.to_owned()], said.to_owned()));
        repair(&["--fix", id, "--dry-run"]);
        assert_eq!(digest(&site), broken, "{id}: a dry run changes nothing");
        let done = repair(&["--fix", id]);
        assert_eq!((&done["changed"], status()), (&Value::Bool(true), "pass".to_owned()), "{id}: {done}");
        let undo = done["repaired"]["undo"][0].as_str().unwrap();
        site.cluster.query(&std::fs::read_to_string(undo).unwrap());
        assert_eq!(digest(&site), broken, "{id}: the way back");
        repair(&["--fix", "all"]);
        assert_eq!(status(), "pass", "{id}");
    }
}
