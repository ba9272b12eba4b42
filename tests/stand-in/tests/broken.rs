//! Broken on demand: each word does what the README says.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::format_push_string,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test fails by panicking, and its files need not outlive a power cut"
)]

mod lab;

use std::fs;
use std::os::unix::process::ExitStatusExt as _;

use lab::{Lab, QUICK, Site};
use stand_in::release::{self, Edition, Request};

/// A started server with this fault on a seeded database.
fn with(lab: &Lab, database: &str, fault: &str) -> Site {
    let mut site = lab.install("9.5.14", database);
    site.start(fault);
    site
}

#[test]
fn each_word_breaks_its_thing_and_nothing_else() {
    let lab = Lab::new();
    lab.seeded("x");
    drop(lab.server("5.37.10", "x"));

    let mut site = with(&lab, "x", "crash-at-start");
    assert_eq!(site.ended().code(), Some(1));
    assert_eq!(lab.sql("x", "SELECT to_regclass('db_migrations') IS NULL"), "t", "it crashed before the database");

    let mut site = with(&lab, "x", "refuse-database");
    assert_eq!(site.ended().code(), Some(1));
    assert!(site.console().contains("minimum Postgres version requirements not met. Found: 1"), "{}", site.console());
    assert_eq!(lab.sql("x", "SELECT to_regclass('db_migrations') IS NULL"), "t");

    let mut site = with(&lab, "x", "crash-after-listening=0.5");
    assert_eq!(site.ended().code(), Some(2));
    assert!(site.log().contains("Server is listening"));

    let mut site = with(&lab, "x", "wrong-version=9.5.13");
    site.wait();
    assert_eq!(site.get("/api/v4/config/client?format=old", "").json()["Version"], "9.5.13");
    drop(site);

    let mut site = with(&lab, "x", "login-broken");
    site.wait();
    assert_eq!(site.login("alice").status, 401);
    drop(site);

    let mut site = with(&lab, "x", "missing-bundle");
    site.wait();
    let page = String::from_utf8(site.get("/", "").body).unwrap();
    let scripts: Vec<&str> = page.split("src=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let statuses: Vec<u16> = scripts.iter().map(|path| site.get(path, "").status).collect();
    assert_eq!(statuses, [200, 404], "{scripts:?}");
    drop(site);

    let channels = |site: &Site| {
        let team = lab.sql("x", "SELECT id FROM teams WHERE name = 'alpha'");
        let listed = site.get(&format!("/api/v4/users/me/teams/{team}/channels"), &site.token("alice")).json();
        let direct = listed.as_array().unwrap().iter().filter(|channel| channel["type"] == "D").count();
        (listed.as_array().unwrap().len() - direct, direct)
    };
    let mut site = with(&lab, "x", "direct-messages-hidden");
    site.wait();
    let (of_team, direct) = channels(&site);
    assert!(of_team > 0 && direct == 0);
    drop(site);
    let mut site = with(&lab, "x", "");
    site.wait();
    assert!(channels(&site).0 == of_team && channels(&site).1 > 0);
    drop(site);

    let channel = lab.sql(
        "x",
        "SELECT c.id FROM channels c JOIN teams t ON t.id = c.teamid WHERE c.name = 'dev' AND t.name = 'alpha'",
    );
    let post = format!(r#"{{"channel_id":"{channel}","message":"x"}}"#);
    let mut site = with(&lab, "x", "post-broken");
    site.wait();
    assert_eq!(site.call("POST", "/api/v4/posts", &site.token("alice"), &post).status, 500);
    drop(site);

    let mut site = with(&lab, "x", "missing-permission=channel_user:create_post");
    site.wait();
    let answer = site.call("POST", "/api/v4/posts", &site.token("alice"), &post);
    assert_eq!((answer.status, answer.id().as_str()), (403, "api.context.permissions.app_error"));
    assert_eq!(
        site.call("POST", "/api/v4/posts", &site.token("carol"), &post).status,
        201,
        "guests have a role of their own"
    );
    drop(site);

    let mut site = with(&lab, "x", "ignore-sigterm");
    site.wait();
    site.signal("TERM");
    site.until_log("Stopping Server...");
    assert!(site.alive());
    site.signal("KILL");
    assert_eq!(site.ended().signal(), Some(9));
}

#[test]
fn a_stuck_job_stays_pending_and_a_sound_one_does_not() {
    let lab = Lab::new();
    lab.seeded("x");
    let mut site = with(&lab, "x", "job-stuck");
    site.wait();
    let pending = "SELECT count(*) FROM jobs WHERE type = 'delete_empty_drafts_migration' AND status = 'pending'";
    lab.until("x", pending, "1");
    site.stop();
    let site = lab.server("9.5.14", "x");
    lab.until("x", "SELECT status || progress FROM jobs WHERE type = 'delete_empty_drafts_migration'", "success100");
    assert_eq!(
        site.get("/api/v4/jobs/type/delete_empty_drafts_migration", &site.token("admin")).json()[0]["status"],
        "success"
    );
}

#[test]
fn a_lost_message_and_an_inactive_plugin_are_there_to_be_found() {
    let lab = Lab::new();
    lab.seeded("x");
    let before: u32 = lab.sql("x", "SELECT count(*) FROM posts").parse().unwrap();
    let mut site = lab.install("9.5.14", "x");
    let plugin = site.root.join("plugins/com.example.plugin");
    fs::create_dir_all(&plugin).unwrap();
    fs::write(plugin.join("plugin.json"), r#"{"id":"com.example.plugin","name":"Example","version":"1.2.3"}"#).unwrap();
    let path = site.root.join("config/config.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(
        &path,
        text.replace(r#""com.mattermost.nps":{"#, r#""com.example.plugin":{"Enable":true},"com.mattermost.nps":{"#),
    )
    .unwrap();
    site.start("lose-message");
    site.wait();
    assert_eq!(lab.sql("x", "SELECT count(*) FROM posts").parse::<u32>().unwrap(), before - 1);
    let token = site.token("admin");
    assert_eq!(site.get("/api/v4/plugins", &token).json()["active"][0]["id"], "com.example.plugin");
    assert_eq!(site.get("/api/v4/plugins/statuses", &token).json()[0]["state"], 2);
    site.stop();
    site.start("plugin-inactive=com.example.plugin");
    site.wait();
    let token = site.token("admin");
    assert_eq!(site.get("/api/v4/plugins", &token).json()["inactive"][0]["id"], "com.example.plugin");
    assert_eq!(site.get("/api/v4/plugins/statuses", &token).json()[0]["state"], 3);
}

#[test]
fn words_come_from_the_release_and_from_the_file_beside_the_program() {
    let lab = Lab::new();
    lab.create("x");
    let mut site = lab.install("9.5.14", "x");
    fs::write(site.root.join("bin/.stand-in-faults"), "# both\ncrash-at-start@9.5.13\nwrong-version=1.2.3@9.5.14\n")
        .unwrap();
    let output = site.run(&["version"]);
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("Version: 1.2.3\n"));
    site.start("build-number=4711");
    site.wait();
    let answer = site.get("/api/v4/config/client?format=old", "");
    assert_eq!((&answer.json()["Version"], &answer.json()["BuildNumber"]), (&"1.2.3".into(), &"4711".into()));
    assert!(answer.header("X-Version-Id").unwrap().starts_with("1.2.3.4711."));
    drop(site);

    let executable = std::path::Path::new(env!("CARGO_BIN_EXE_stand-in"));
    let out = lab.path().join("faulty");
    let request = Request {
        faults: vec!["crash-at-start".to_owned()],
        ..Request::new("9.5.14", Edition::Enterprise, &out, executable)
    };
    let made = release::build(&request).unwrap();
    assert_eq!(made.url_path, "/9.5.14/mattermost-9.5.14-linux-amd64.tar.gz");
    assert!(
        std::process::Command::new("tar")
            .arg("-xzf")
            .arg(&made.tarball)
            .arg("-C")
            .arg(&out)
            .status()
            .unwrap()
            .success()
    );
    let output = std::process::Command::new(out.join("mattermost/bin/mattermost"))
        .current_dir(out.join("mattermost"))
        .env("STAND_IN_FAULTS", QUICK)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("panic: stand-in: crash-at-start"));
}

#[test]
fn a_release_is_the_same_every_time_and_another_one_for_every_version() {
    let directory = tempfile::tempdir().unwrap();
    let executable = std::path::Path::new(env!("CARGO_BIN_EXE_stand-in"));
    let build = |version: &str, out: &str| {
        let request = Request {
            files: 3,
            bytes: 1000,
            ..Request::new(version, Edition::Team, &directory.path().join(out), executable)
        };
        release::build(&request).unwrap()
    };
    let (one, again, other) = (build("9.5.14", "a"), build("9.5.14", "b"), build("9.5.13", "a"));
    assert_eq!(one.sha256, again.sha256);
    assert_ne!(one.sha256, other.sha256);
    assert_eq!(one.size, fs::metadata(&one.tarball).unwrap().len());
    let sums = directory.path().join("a");
    release::write_sums(&sums, std::slice::from_ref(&one)).unwrap();
    release::write_sums(&sums, &[other]).unwrap();
    let text = fs::read_to_string(sums.join("SHA256SUMS")).unwrap();
    assert!(
        text.lines().count() == 2
            && text.contains(&format!("{}  9.5.14/mattermost-team-9.5.14-linux-amd64.tar.gz\n", one.sha256)),
        "{text}"
    );

    let listed = std::process::Command::new("tar").arg("-tvzf").arg(&one.tarball).output().unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let has = |mode: &str, name: &str| listed.lines().any(|line| line.starts_with(mode) && line.ends_with(name));
    assert!(
        has("-rwxr-xr-x", " mattermost/bin/mattermost") && has("-rw-------", " mattermost/config/config.json"),
        "{listed}"
    );
    for name in [
        "MIT-COMPILED-LICENSE.md",
        "NOTICE.txt",
        "README.md",
        "manifest.txt",
        "bin/mmctl",
        "client/root.html",
        "client/manifest.json",
        "config/README.md",
        "logs/",
    ] {
        assert!(listed.lines().any(|line| line.ends_with(&format!(" mattermost/{name}"))), "{name}: {listed}");
    }
    assert!(!listed.contains("mattermost/data") && !listed.contains("bin/platform"));
}
