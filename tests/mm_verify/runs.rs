//! Runs of mm-verify: killed ones, forbidden sessions, baselines, reports, watches, and what it compares with.

use crate::lab::{check_of, complaints, traces, verify, with_status};
use mm_test_support::process;
use mm_test_support::site::{Site, quick};
use serde_json::Value;

#[test]
fn what_a_killed_run_leaves_behind_is_removed_by_the_next() {
    // A silent WebSocket keeps the run waiting while its user, channel and sessions are in the database.
    let site = Site::builder("10.6.1").order(quick("10.6.1").fault("websocket-broken")).running().build();
    let before = (site.history(), site.counts(), site.user_files());
    let mut command = std::process::Command::new(mm_test_support::tool::executable("mm-verify"));
    let mut child = command
        .args(site.flags())
        .args(["--browser", "no", "--skip", "history"])
        .env_clear()
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let upload =
        "SELECT count(*) FROM fileinfo f JOIN users u ON u.id = f.creatorid WHERE u.username LIKE 'mm-verify-%'";
    process::wait_until("the run to upload its file", std::time::Duration::from_secs(60), || {
        site.cluster.query(upload) == "1"
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert_ne!(traces(&site), "0");

    let (_, document) = verify(&site, &["--only", "server.ping"]);
    assert_eq!(complaints(&document), Vec::<String>::new());
    assert_eq!(traces(&site), "0");
    assert!((site.history(), site.counts(), site.user_files()) == before, "something of the killed run is left");
}

/// As another server of this machine has them: the configuration names its directory, a row its files.
#[test]
fn files_of_somebody_else_are_not_erased_wherever_the_configuration_leads() {
    let site = Site::builder("10.6.1").running().build();
    verify(&site, &["--only", "users.me"]);
    let state = process::run("find", &[site.state().to_str().unwrap(), "-name", "verify"]);
    let record = std::path::Path::new(state.trim()).join("traces.json");
    let (user, channel, others) = ("u".repeat(26), "c".repeat(26), site.directory().join("others"));
    let places = [others.join("users").join(&user), others.join("20260101/channels").join(&channel)];
    for place in &places {
        std::fs::create_dir_all(place).unwrap();
        std::fs::write(place.join("picture"), "x").unwrap();
    }
    let path = |from: &str| format!("{from}20260101/channels/{channel}/x");
    let row = |path: &str| {
        site.cluster.query(&format!(
            "INSERT INTO fileinfo SELECT (pg_catalog.jsonb_populate_record(f, pg_catalog.jsonb_build_object(
               'id', pg_catalog.md5('{path}')::varchar(26), 'creatorid', '{user}', 'path', '{path}'))).* FROM fileinfo f LIMIT 1"
        ))
    };
    row(&path(""));
    row(&path("../../../others/"));
    for directory in [others.to_str().unwrap(), "./data/"] {
        std::fs::write(&record, format!("{{\"users\": [\"{user}\"], \"channels\": [\"{channel}\"]}}")).unwrap();
        site.set("FileSettings", "Directory", serde_json::json!(directory));
        let output = site.tool("mm-verify").args(["--only", "server.ping"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("traces of a run that was cut off are still there"), "{said}");
        assert!(places.iter().all(|place| place.join("picture").is_file()), "{said}");
    }
}

#[test]
fn somebody_else_is_never_erased_for_being_in_the_record() {
    let site = Site::builder("10.6.1").running().build();
    verify(&site, &["--only", "users.me"]);
    let alice = site.cluster.query("SELECT id FROM users WHERE username = 'alice'");
    let state = process::run("find", &[site.state().to_str().unwrap(), "-name", "verify"]);
    let record = std::path::Path::new(state.trim()).join("traces.json");
    std::fs::write(&record, format!("{{\"users\": [\"{alice}\"]}}")).unwrap();
    let output = site.tool("mm-verify").args(["--only", "server.ping"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("is recorded as ours, but is not"), "{said}");
    assert_eq!(site.cluster.query("SELECT count(*) FROM users WHERE username = 'alice'"), "1");
    assert!(record.exists());
}

#[test]
fn sessions_can_be_forbidden_and_an_account_given_instead() {
    let site = Site::builder("9.11.18").running().build();
    let (code, document) = verify(&site, &["--no-sessions"]);
    assert_eq!(code, 0, "{document}");
    let skipped = with_status(&document, "skip");
    assert!(
        skipped.iter().any(|id| id == "users.members") && skipped.iter().any(|id| id == "users.post"),
        "{skipped:?}"
    );
    // Nothing that was not looked at passes when one is strict.
    assert_eq!(verify(&site, &["--no-sessions", "--strict"]).0, 4);

    let alice = site.users.as_array().unwrap().iter().find(|user| user["username"] == "alice").unwrap();
    let file = site.directory().join("password");
    std::fs::write(&file, format!("{}\n", alice["password"].as_str().unwrap())).unwrap();
    let with = |file: &std::path::Path| {
        let file = file.to_str().unwrap();
        verify(&site, &["--no-sessions", "--only", "users", "--user", "alice", "--password-file", file])
    };
    let (code, document) = with(&file);
    assert_eq!((code, complaints(&document)), (0, vec![]), "{document}");
    assert!(with_status(&document, "pass").contains(&"users.members".to_owned()), "{document}");
    std::fs::write(&file, "wrong").unwrap();
    let (code, document) = with(&file);
    assert_eq!(code, 1, "{document}");
    assert!(document["error"].to_string().contains("cannot sign in as `alice`"), "{document}");
    assert_eq!(traces(&site), "0");
}

#[test]
fn what_was_broken_before_the_upgrade_is_not_blamed_on_it() {
    let site = Site::builder("9.11.18").running().build();
    let index = |valid: bool| {
        site.cluster
            .query(&format!("UPDATE pg_index SET indisvalid = {valid} WHERE indexrelid = 'posts_pkey'::regclass"));
    };
    index(false);
    site.tool("mm-verify").args(["baseline", "--browser", "no"]).assert().success();
    let (code, document) = verify(&site, &[]);
    assert_eq!((code, with_status(&document, "warn")), (0, vec!["database.indexes".to_owned()]));
    assert!(complaints(&document)[0].contains("it was so before the upgrade"), "{:?}", complaints(&document));
    index(true);
    assert_eq!(complaints(&verify(&site, &[]).1), Vec::<String>::new());
}

#[test]
fn reports_are_written_for_build_servers_and_dashboards_and_a_dry_run_touches_nothing() {
    let site = Site::builder("9.11.18").running().build();
    let dry = site.tool("mm-verify").args(["--dry-run", "--format", "json"]).assert().success();
    let document: Value = serde_json::from_slice(&dry.get_output().stdout).unwrap();
    assert!(with_status(&document, "skip").len() > 30, "{document}");
    // The probe may remember the version of a binary there; nothing of ours is.
    assert_eq!(process::run("find", &[site.directory().to_str().unwrap(), "-name", "verify"]), "");
    assert_eq!(traces(&site), "0");

    let (junit, prometheus) = (site.directory().join("junit.xml"), site.directory().join("mm.prom"));
    let (code, _) = verify(
        &site,
        &["--skip", "users", "--junit", junit.to_str().unwrap(), "--prometheus", prometheus.to_str().unwrap()],
    );
    assert_eq!(code, 0);
    let junit = std::fs::read_to_string(junit).unwrap();
    assert!(junit.contains("failures=\"0\" errors=\"0\"") && junit.contains("database.nulls"), "{junit}");
    let prometheus = std::fs::read_to_string(prometheus).unwrap();
    assert!(prometheus.contains("mm_verify_check{id=\"database.nulls\",status=\"pass\"} 1\n"), "{prometheus}");
    assert!(!junit.contains("users.post") && !prometheus.contains("users.post"));

    let table = site.tool("mm-verify").args(["--only", "database", "--format", "human"]).assert().success();
    let table = String::from_utf8_lossy(&table.get_output().stdout).into_owned();
    assert!(table.starts_with("Database\n  pass   database.schema"), "{table}");
    site.tool("mm-verify").args(["--only", "databse"]).assert().code(2);
}

#[test]
fn a_server_without_database_is_told_from_a_check_that_could_not_look() {
    let site = Site::builder("9.11.18").running().build();
    site.cluster.stop();
    let (code, document) = verify(&site, &[]);
    assert_eq!(code, 4, "{document}");
    let failed = with_status(&document, "fail");
    // The plain ping says OK over a dead database; the other one does not.
    assert!(failed.contains(&"server.status".to_owned()) && !failed.contains(&"server.ping".to_owned()), "{failed:?}");
    let unknown = with_status(&document, "error");
    assert!(
        unknown.contains(&"database.schema".to_owned()) && unknown.contains(&"users.members".to_owned()),
        "{unknown:?}"
    );
}

#[test]
fn a_watch_ends_with_4_as_soon_as_the_server_gets_worse() {
    let site = Site::builder("9.11.18").running().build();
    let prometheus = site.directory().join("watch.prom");
    let watch = |length: &str| {
        let file = prometheus.to_str().unwrap();
        let output = site
            .tool("mm-verify")
            .args(["watch", "--for", length, "--every", "1s", "--prometheus", file, "--format", "json"])
            .output()
            .unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code().unwrap(), document)
    };
    let (code, document) = watch("2s");
    assert_eq!((code, complaints(&document)), (0, vec![]));
    let metrics = std::fs::read_to_string(&prometheus).unwrap();
    assert!(metrics.contains("mm_verify_up 1\n") && metrics.contains("mm_verify_latency_seconds 0."), "{metrics}");

    site.cluster.stop();
    // It does not go on for an hour: two bad looks are enough.
    let (code, document) = watch("1h");
    assert_eq!((code, with_status(&document, "fail")), (4, vec!["watch.answers".to_owned()]));
    assert!(std::fs::read_to_string(&prometheus).unwrap().contains("mm_verify_up 0\n"));
}

#[test]
fn the_release_and_the_restore_point_of_the_hop_are_what_it_compares_with() {
    let site = Site::builder("9.11.18").running().build();
    let releases = site.releases(&[quick("9.11.18").build()]);
    let fetched = site
        .tool("mm-fetch")
        .args(["9.11.18", "--edition", "team", "--mirror", releases.site.url(), "--catalogue"])
        .arg(&releases.catalogue)
        .arg("--cache")
        .arg(site.cache())
        .assert()
        .success();
    let backed_up = site
        .tool("mm-backup")
        .args(["--stop", "--to", site.store().to_str().unwrap()])
        .write_stdin(fetched.get_output().stdout.clone())
        .assert()
        .success();
    let document = backed_up.get_output().stdout.clone();
    let check = || {
        let output = site
            .tool("mm-verify")
            .args(["--browser", "no", "--skip", "users"])
            .write_stdin(document.clone())
            .output()
            .unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code().unwrap(), document)
    };
    let (code, document) = check();
    assert_eq!((code, complaints(&document)), (0, vec![]));
    for id in ["files.release", "files.settings", "history.posts", "history.counts"] {
        let checks = document["verify"]["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["id"] == id).unwrap();
        assert_eq!(check["status"], "pass", "{check}");
        let with = check["compared_with"].as_str().unwrap();
        assert!(with.contains("restore point") || with.contains("manifest of 9.11.18"), "{check}");
    }

    let i18n = site.install().join("i18n/en.json");
    let altered = std::fs::read_to_string(&i18n).unwrap() + " ";
    std::fs::write(&i18n, altered).unwrap();
    std::fs::remove_file(site.install().join("NOTICE.txt")).unwrap();
    std::fs::write(site.install().join("bin/left-over"), "").unwrap();
    site.set("ServiceSettings", "SiteURL", "".into());
    site.set("EmailSettings", "SMTPPassword", "a-secret-word".into());
    site.cluster.query("DELETE FROM posts WHERE id = (SELECT max(id) FROM posts WHERE rootid <> '')");
    let (code, document) = check();
    assert_eq!(code, 4);
    let failed = with_status(&document, "fail");
    for id in ["files.release", "files.settings", "history.posts"] {
        assert!(failed.iter().any(|failed| failed == id), "{id}: {failed:?}");
    }
    let words = complaints(&document).join("\n");
    for word in
        ["missing: NOTICE.txt", "altered: i18n/en.json", "not of this release: bin/left-over", "1 message missing"]
    {
        assert!(words.contains(word), "`{word}` is not said:\n{words}");
    }
    // A value of the configuration may be a secret: none is ever shown.
    assert!(!document.to_string().contains("a-secret-word"), "{words}");

    let manifest = document["backup"]["manifest"].as_str().unwrap().to_owned();
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text + "\n").unwrap();
    let (_, document) = check();
    assert!(with_status(&document, "error").contains(&"history.posts".to_owned()), "{:?}", complaints(&document));
}

#[test]
fn alone_too_the_files_of_the_release_are_compared_with_its_list() {
    let site = Site::builder("9.11.18").running().build();
    let cache = site.cache();
    let alone = |more: &[&str]| {
        let given = ["--only", "files.release", "--cache", cache.to_str().unwrap()];
        let (code, document) = verify(&site, &[&given, more].concat());
        let check = check_of(&document, "files.release");
        let text = |key: &str| check[key].as_str().unwrap().to_owned();
        (code, text("status"), text("evidence"))
    };
    let (code, status, evidence) = alone(&[]);
    assert_eq!((code, status.as_str()), (0, "skip"), "{evidence}");
    let missed = evidence.strip_prefix("no list of the files of 9.11.18 (team) is ").unwrap();
    let kept = std::path::PathBuf::from(missed.split(" or in ").next().unwrap());

    let releases = site.releases(&[quick("9.11.18").build()]);
    let mut fetch = site.tool("mm-fetch");
    fetch
        .args(["9.11.18", "--edition", "team", "--mirror", releases.site.url(), "--catalogue"])
        .arg(&releases.catalogue);
    fetch.arg("--cache").arg(&cache).assert().success();
    let (code, status, evidence) = alone(&[]);
    assert_eq!((code, status.as_str()), (0, "pass"), "{evidence}");
    assert!(!evidence.contains("(0 files hashed)"), "{evidence}");
    assert!(alone(&[]).2.ends_with("(0 files hashed)"), "{}", alone(&[]).2);
    assert!(alone(&["--files", "all"]).2 == evidence, "{}", alone(&["--files", "all"]).2);

    // What an upgrade has kept serves without the cache.
    let find = format!("cp $(find {} -name release.json) {}", cache.display(), kept.display());
    std::fs::create_dir_all(kept.parent().unwrap()).unwrap();
    process::run("bash", &["-ec", &find]);
    std::fs::remove_dir_all(&cache).unwrap();
    assert_eq!(alone(&[]).1, "pass");

    // A chunk that no page names: the page is served, and stays white.
    let client = site.install().join("client");
    let is_chunk = |name: &str| name.starts_with("8901.");
    let chunk = std::fs::read_dir(&client).unwrap().map(|entry| entry.unwrap().path());
    let chunk = chunk.into_iter().find(|path| is_chunk(path.file_name().unwrap().to_str().unwrap())).unwrap();
    let text = std::fs::read(&chunk).unwrap();
    std::fs::remove_file(&chunk).unwrap();
    let (code, status, evidence) = alone(&[]);
    assert_eq!((code, status.as_str()), (4, "fail"), "{evidence}");
    assert!(evidence.contains("missing: client/8901."), "{evidence}");
    std::fs::write(&chunk, text.to_ascii_uppercase()).unwrap();
    assert!(alone(&[]).2.contains("altered: client/8901."), "{}", alone(&[]).2);
}
