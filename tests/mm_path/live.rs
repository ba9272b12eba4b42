//! mm-path over a live installation, and as the fold of a loop.

use std::fs;

use assert_cmd::assert::Assert;
use mm_test_support::site::{Site, quick};
use mm_test_support::tool::{shell, tool};
use serde_json::{Value, json};

/// The hops of 5.29.0 to 10.6.1 by the default policy.
const STOPS: [&str; 10] =
    ["5.31.9", "5.37.10", "6.3.10", "7.1.9", "7.8.15", "8.1.13", "9.5.14", "9.11.18", "10.5.14", "10.6.1"];

fn paper(arguments: &[&str]) -> Assert {
    tool("mm-path").args(arguments).assert()
}

fn document(assert: &Assert) -> Value {
    serde_json::from_slice(&assert.get_output().stdout).unwrap_or_else(|error| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        panic!("no document ({error}): {} {}", text(&assert.get_output().stdout), text(&assert.get_output().stderr))
    })
}

fn stops(document: &Value) -> Vec<&str> {
    document["path"]["hops"].as_array().unwrap().iter().map(|hop| hop["to"].as_str().unwrap()).collect()
}

#[test]
fn a_live_installation_is_planned_from_what_it_is() {
    let site = Site::builder("5.29.0").postgres(13).posts(100).build();
    let plan = site.tool("mm-path").args(["--to", "10.6.1", "--postgres", "15"]).assert().success();
    let plan = document(&plan);
    assert_eq!(stops(&plan), STOPS);
    assert_eq!((&plan["site"]["version"], &plan["site"]["edition"]), (&json!("5.29.0"), &json!("team")));
    assert_eq!(plan["site"]["database"]["major"], 13);
    assert_eq!(plan["path"]["hops"][9]["needs"]["postgres"], 15);
    assert!(plan["path"]["hops"][9]["needs"]["postgres_bytes"].as_u64().unwrap() > 1_000_000);
    assert!(plan["path"]["next"]["needs"]["bytes"].as_u64().unwrap() > 1_000_000);
    assert!(plan["path"]["hops"][2]["estimate"]["seconds"].is_number(), "{}", plan["path"]["hops"][2]["estimate"]);
    // Without a target it is said where the server stands; an empty pipe is a tool that has failed.
    let asked = shell(&format!("mm-path {} </dev/null", site.flags().join(" "))).assert().success();
    let verdict = String::from_utf8(asked.get_output().stdout.clone()).unwrap();
    assert!(verdict.starts_with("Mattermost 5.29.0 (team) on PostgreSQL 13 in /"), "{verdict}");
    assert!(
        verdict.contains("Support of 5.29 ended on 2021-02-15") && verdict.contains("--to latest-esr --check"),
        "{verdict}"
    );
    site.tool("mm-path").assert().code(65);
    let brief = site.tool("mm-path").args(["--to", "10.6.1", "--brief", "--format", "human"]).assert().success();
    let brief = String::from_utf8(brief.get_output().stdout.clone()).unwrap();
    assert!(brief.contains(" 10  10.5.14 -> 10.6.1") && brief.lines().count() < 20, "{brief}");
    // Whoever shares the cluster is named, where PostgreSQL is upgraded.
    let shared = |plan: &Value| plan["path"]["notes"].to_string().contains("other databases too: wiki of librarian");
    assert!(!shared(&plan), "{}", plan["path"]["notes"]);
    let kept = "mattermost_mm_before_20261126T022004Z";
    let neighbours = format!("CREATE ROLE librarian; CREATE DATABASE wiki OWNER librarian; CREATE DATABASE \"{kept}\"");
    site.cluster.sql("postgres", &neighbours);
    let again = document(&site.tool("mm-path").args(["--to", "10.6.1", "--postgres", "15"]).assert().success());
    assert!(shared(&again) && !again["path"]["notes"].to_string().contains(kept), "{}", again["path"]["notes"]);
    let alone = document(&site.tool("mm-path").args(["--to", "10.5"]).assert().success());
    assert!(!shared(&alone), "{}", alone["path"]["notes"]);

    let password = site.config()["SqlSettings"]["DataSource"].as_str().unwrap().to_owned();
    let password =
        password.split_once("://").unwrap().1.split_once('@').unwrap().0.split_once(':').unwrap().1.to_owned();
    assert!(!plan.to_string().contains(&password), "the password of the database stands in the document");

    // A hop that is installed when the document comes back is finished, and the next one is set.
    let earlier = document(&paper(&["--from", "5.25.7", "--to", "10.6.1", "--via", "5.29.0"]).success());
    let mut earlier = earlier;
    assert_eq!(earlier["path"]["next"]["to"], "5.29.0");
    earlier["swap"] = json!({"from": "5.25.7", "to": "5.29.0", "exchanged": [], "retired": null});
    earlier["mine"] = json!("kept");
    let folded = document(&site.tool("mm-path").write_stdin(earlier.to_string()).assert().success());
    assert_eq!(folded["done"][0]["hop"]["to"], "5.29.0");
    assert_eq!(folded["done"][0]["swap"]["from"], "5.25.7");
    assert!(folded["done"][0]["finished"].is_string());
    assert_eq!((&folded["swap"], &folded["mine"]), (&Value::Null, &json!("kept")));
    assert_eq!(folded["path"]["next"]["from"], "5.29.0");
    assert_eq!(stops(&folded), STOPS);

    // A round in which nothing was installed is refused, so that a loop ends.
    let mut idle = plan.clone();
    idle["backup"] = json!({"id": "x"});
    let refused = site.tool("mm-path").write_stdin(idle.to_string()).assert().code(5);
    assert!(document(&refused)["error"]["message"].as_str().unwrap().contains("5.29.0 (team) is still installed"));

    // The end: the document says null, and the loop stops.
    let last = document(&paper(&["--from", "5.25.7", "--to", "5.29.0"]).success());
    let finished = document(&site.tool("mm-path").write_stdin(last.to_string()).assert().success());
    assert_eq!((&finished["path"]["next"], finished["done"].as_array().unwrap().len()), (&Value::Null, 1));

    // A dry run goes through all hops without anything installed.
    let mut dry = document(&site.tool("mm-path").args(["--to", "6.3", "--dry-run"]).assert().success());
    let mut rounds = 0;
    while dry["path"]["next"] != Value::Null {
        dry["swap"] = json!({"dry": true});
        dry = document(&site.tool("mm-path").write_stdin(dry.to_string()).assert().success());
        rounds += 1;
        assert!(rounds < 10, "the dry run does not end: {}", dry["path"]);
    }
    assert_eq!((rounds, dry["done"].as_array().unwrap().len()), (3, 3));

    // The database away: what is known is planned, and the rest is said.
    site.cluster.stop();
    let blind = document(&site.tool("mm-path").args(["--to", "10.6.1"]).assert().success());
    for told in ["database-unseen", "support-ended"] {
        let notes = blind["path"]["notes"].as_array().unwrap();
        assert!(notes.iter().any(|note| note["id"] == told), "{notes:?}");
    }
    assert_eq!(stops(&blind), STOPS);

    // A configuration that is not JSON.
    fs::write(site.config_path(), "{ not json").unwrap();
    let broken = site.tool("mm-path").args(["--to", "10.6.1"]).assert().failure();
    let code = broken.get_output().status.code().unwrap();
    assert_eq!(code, 1);
    assert!(document(&broken)["error"].to_string().contains("config.json"), "{}", document(&broken)["error"]);
}

fn check<'a>(document: &'a Value, id: &str) -> &'a Value {
    let checks = document["path"]["checks"].as_array().unwrap_or_else(|| panic!("no checks: {}", document["error"]));
    checks.iter().find(|check| check["id"] == id).unwrap_or_else(|| panic!("no check {id}"))
}

#[test]
fn a_licence_in_the_environment_or_in_a_file_is_one() {
    let mut enterprise = quick("10.5.14");
    enterprise.edition = "enterprise".into();
    let site = Site::builder("10.5.14").order(enterprise).postgres(13).posts(100).build();
    let looked = || {
        let plan = document(&site.tool("mm-path").args(["--to", "11.2", "--check"]).assert());
        let notes = plan["path"]["hops"].to_string() + &plan["path"]["notes"].to_string();
        let finding = check(&plan, "licence").clone();
        let told = (finding["status"].as_str().unwrap().to_owned(), finding["evidence"].as_str().unwrap().to_owned());
        (told, notes.contains("Mattermost Entry"), check(&plan, "entry-history")["evidence"].clone(), plan)
    };
    let file = site.install().join("config/mattermost.mattermost-license");
    let ((status, evidence), ..) = looked();
    assert!(status == "skip" && evidence.contains(file.to_str().unwrap()), "{status} {evidence}");

    // {"sku_short_name":"enterprise"}
    let licence = "eyJza3Vfc2hvcnRfbmFtZSI6ImVudGVycHJpc2UifQ==";
    fs::write(&file, licence).unwrap();
    let ((status, evidence), entry, history, plan) = looked();
    assert!(status == "pass" && evidence.contains("enterprise accepted"), "{status} {evidence}");
    assert!(!entry && history == "there is a licence", "{history} {plan}");
    assert!(!plan.to_string().contains(licence), "the licence stands in the document");

    fs::rename(&file, site.install().join("config/other")).unwrap();
    site.set("ServiceSettings", "LicenseFileLocation", "config/other".into());
    assert_eq!(looked().0.0, "pass");
    fs::write(site.install().join("config/other"), "hunter2 hunter2 hunter2").unwrap();
    let ((status, evidence), .., plan) = looked();
    assert!(status == "error" && evidence.contains("config/other`"), "{status} {evidence}");
    assert!(!plan.to_string().contains("hunter2"), "what is in the file stands in the document");

    fs::write(site.install().join("config/mattermost.environment"), format!("MM_LICENSE={licence}\n")).unwrap();
    let ((status, _), .., plan) = looked();
    assert_eq!(status, "pass");
    assert!(!plan.to_string().contains(licence), "the licence stands in the document");
}

#[test]
fn the_preflight_looks_at_the_host_too() {
    let site = Site::builder("5.29.0").postgres(13).posts(100).build();
    let (store, cache) = (site.store(), site.cache());
    let flags = ["--to", "7.1", "--check", "--store", store.to_str().unwrap(), "--cache", cache.to_str().unwrap()];
    let look = || document(&site.tool("mm-path").args(flags).assert());
    let status = |document: &Value, id: &str| check(document, id)["status"].as_str().unwrap().to_owned();
    let root = site.install();

    let healthy = look();
    assert_eq!(healthy["path"]["blockers"], json!([]));
    for finding in healthy["path"]["checks"].as_array().unwrap() {
        // Nothing has been fetched, so what the release brought is not known.
        let expected = if finding["id"] == "release-files" { ["error", "error"] } else { ["pass", "skip"] };
        assert!(expected.contains(&finding["status"].as_str().unwrap()), "{finding}");
    }
    assert!(check(&healthy, "release-files")["fix"].as_str().unwrap().starts_with("mm-fetch 5.29.0 --edition team"));
    assert!(
        check(&healthy, "disk")["evidence"]
            .as_str()
            .unwrap()
            .contains(&format!("{} for the restore points", store.display())),
        "{}",
        check(&healthy, "disk")
    );
    assert!(
        check(&healthy, "own-entries")["evidence"].as_str().unwrap().contains("custom"),
        "{}",
        check(&healthy, "own-entries")
    );

    // A directory of the release that is a symlink cannot be exchanged; one of the user's may be where it likes.
    fs::rename(root.join("fonts"), site.directory().join("fonts")).unwrap();
    std::os::unix::fs::symlink(site.directory().join("fonts"), root.join("fonts")).unwrap();
    let environment = "MM_SERVICESETTINGS_SESSIONLENGTHWEBINDAYS=30\nMM_EMAILSETTINGS_SMTPPASSWORD=not-to-be-seen\n";
    fs::write(root.join("config/mattermost.environment"), environment).unwrap();
    site.set("ServiceSettings", "ListenAddress", json!(":443"));
    let plugin = root.join("plugins/com.example.old");
    fs::create_dir_all(plugin.join("server/dist")).unwrap();
    let manifest = json!({"id": "com.example.old", "version": "1.0.0", "min_server_version": "99.0.0",
        "server": {"executables": {"linux-amd64": "server/dist/plugin-linux-amd64"}}});
    fs::write(plugin.join("plugin.json"), manifest.to_string()).unwrap();
    fs::write(plugin.join("server/dist/plugin-linux-amd64"), b"\x7fELF...go1.22.1\0...").unwrap();
    std::os::unix::fs::chown(root.join("logs"), Some(0), Some(0)).unwrap();
    site.cluster.query(r#"UPDATE posts SET props = '{"a": "\u0000"}' WHERE id = (SELECT min(id) FROM posts)"#);

    let plan = site.tool("mm-path").args(flags).assert().code(5);
    let broken = document(&plan);
    for (id, expected) in [
        ("directories", "fail"),
        ("session-length", "fail"),
        ("capabilities", "warn"),
        ("plugins", "warn"),
        ("ownership", "warn"),
        ("json-text", "fail"),
    ] {
        assert_eq!(status(&broken, id), expected, "{}", check(&broken, id));
    }
    assert!(check(&broken, "directories")["evidence"].as_str().unwrap().contains("fonts is a symlink"));
    let plugins = check(&broken, "plugins")["evidence"].as_str().unwrap().to_owned();
    assert!(plugins.contains("99.0.0") && plugins.contains("Go 1.22"), "{plugins}");
    assert_eq!(check(&broken, "session-length")["hop"], "7.1.9");
    assert!(check(&broken, "variables")["evidence"].as_str().unwrap().contains("MM_EMAILSETTINGS_SMTPPASSWORD"));
    assert!(!broken.to_string().contains("not-to-be-seen"), "a value of the environment stands in the document");
    assert_eq!(broken["path"]["blockers"][0]["id"], "json-text");
    assert_eq!(stops(&broken).last(), Some(&"7.1.9"), "a blocked path still says what it knows");

    let table = site.tool("mm-path").args(flags).args(["--format", "human"]).assert().code(5);
    let table = String::from_utf8(table.get_output().stdout.clone()).unwrap();
    assert!(table.contains("Checks") && table.contains("[session-length]"), "{table}");
    assert!(table.contains("  info   Files of the administrator's own in the install root: custom"), "{table}");
    // A command is never broken, and has its line for itself.
    let fits = |line: &str| line.chars().count() <= 100 || line.trim_start().starts_with("mm-fetch ");
    assert!(table.lines().all(fits), "{table}");

    // The right capability, and a plugin of today.
    let bin = root.join("bin/mattermost");
    assert_cmd::Command::new("setcap").arg("cap_net_bind_service=+ep").arg(&bin).assert().success();
    let manifest = json!({"id": "com.example.old", "version": "1.0.0", "min_server_version": "5.0.0"});
    fs::write(plugin.join("plugin.json"), manifest.to_string()).unwrap();
    let fixed = look();
    assert_eq!((status(&fixed, "capabilities"), status(&fixed, "plugins")), ("pass".into(), "pass".into()));

    // Without the database its checks are unseen, and the others are made.
    site.cluster.stop();
    let blind = look();
    assert_eq!(status(&blind, "database"), "error");
    assert_eq!(status(&blind, "directories"), "fail");
}

#[test]
fn what_only_the_environment_says_counts() {
    let site = Site::builder("9.11.18").build();
    let environment = site.install().join("config/mattermost.environment");
    let ids = |lines: &str| -> Vec<String> {
        fs::write(&environment, lines).unwrap();
        let plan = site.tool("mm-path").args(["--to", "12.0.0", "--edition", "enterprise"]).assert().code(5);
        let plan = document(&plan);
        let blockers = plan["path"]["blockers"].as_array().unwrap();
        blockers.iter().map(|blocker| blocker["id"].as_str().unwrap().to_owned()).collect()
    };
    let with = |lines: &str, id: &str| ids(lines).iter().any(|blocker| blocker == id);
    // {"features":{"compliance":true}}
    let old_licence = "MM_LICENSE=eyJmZWF0dXJlcyI6eyJjb21wbGlhbmNlIjp0cnVlfX0=";
    for (line, id) in [(old_licence, "10.8-111"), ("MM_FEATUREFLAGS_APPSENABLED=true", "12.0-004")] {
        assert!(with(line, id), "{line} is not seen");
        // Something else blocks, so that the same question can be asked.
        assert!(!with("MM_FEATUREFLAGS_MOVETHREADSENABLED=1", id), "{id} without {line}");
    }
}

#[test]
fn somebody_who_may_not_read_is_told_so() {
    let site = Site::builder("5.29.0").postgres(13).posts(100).build();
    let mut command = assert_cmd::Command::new("setpriv");
    command
        .args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"])
        .arg(mm_test_support::tool::executable("mm-path"));
    let refused =
        command.args(site.flags()).args(["--to", "10.6.1"]).env_clear().env("PATH", "/usr/bin:/bin").assert().failure();
    let code = refused.get_output().status.code().unwrap();
    assert_eq!(code, 1);
    let error = document(&refused)["error"].clone();
    assert!(error.to_string().to_lowercase().contains("permission denied"), "{error}");
}

#[test]
fn a_version_that_cannot_be_found_out_is_a_clear_error() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    for name in ["bin", "config"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    fs::write(root.join("bin/mattermost"), "#!/bin/sh\nexit 1\n").unwrap();
    fs::write(root.join("config/config.json"), "{}").unwrap();
    let root = root.to_str().unwrap();
    let state = format!("{root}/state");
    let flags = ["--install", root, "--state-dir", state.as_str(), "--service", "exec", "--to", "10.6.1"];
    let refused = paper(&flags).failure();
    let code = refused.get_output().status.code().unwrap();
    assert_eq!(code, 1);
    let error = document(&refused)["error"].clone();
    assert!(
        error["message"].as_str().unwrap().contains("version") || error["causes"].to_string().contains("version"),
        "{error}"
    );
    assert!(error["hint"].is_string(), "{error}");
}

#[test]
fn a_run_that_was_cut_off_comes_first() {
    let site = Site::builder("9.11.18").build();
    let plan = document(&site.tool("mm-path").args(["--to", "10.5.14"]).assert().success());
    assert_eq!(plan["path"]["blockers"], json!([]));
    assert!(!site.state().exists(), "looking leaves something behind");
    // Taking the lock makes the state directory.
    site.tool("mm-swap").arg("recover").assert().success();
    let state = fs::read_dir(site.state()).unwrap().next().unwrap().unwrap().path();
    fs::write(state.join("swap.journal"), "{}").unwrap();
    let plan = document(&site.tool("mm-path").args(["--to", "10.5.14"]).assert().code(5));
    assert_eq!(plan["path"]["blockers"][0]["id"], "interrupted-run");
    assert!(plan["error"]["hint"].as_str().unwrap().starts_with("mm-swap recover --install "), "{}", plan["error"]);
}
