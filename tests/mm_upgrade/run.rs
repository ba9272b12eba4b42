//! The whole upgrade in one command: `scripts/mm-upgrade`.

use std::fs;

use mm_test_support::cluster::Cluster;
use mm_test_support::site::quick;
use mm_test_support::upgrade::{SCRIPTS, Upgrade};
use mm_test_support::{process, tool};
use serde_json::{Value, json};

use crate::reports::{report, table};
use crate::window::closed;

pub(crate) fn good(output: &std::process::Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    said
}

#[test]
fn one_command_arrives_and_leaves_a_report() {
    let upgrade = Upgrade::of(&[quick("9.11.18"), quick("10.5.14"), quick("10.6.1")]);
    let site = &upgrade.site;
    let (history, counts, files) = (site.history(), site.counts(), site.user_files());
    let events = site.directory().join("events");
    let announce = site.directory().join("announce");
    // Between two steps somebody asks from another terminal: a process that mm-upgrade has not started.
    let between = site.directory().join("between");
    let script = format!(
        "#!/bin/sh\necho \"$@\" >>'{}'\n[ \"$1\" = begin ] || exit 0\n\
         setsid -f sh -c '{SCRIPTS}/mm-upgrade status --runs {} >{between}; touch {between}.done'\n\
         until [ -e {between}.done ]; do sleep 0.1; done\n",
        events.display(),
        upgrade.runs().display(),
        between = between.display()
    );
    fs::write(&announce, script).unwrap();
    process::run("chmod", &["755", announce.to_str().unwrap()]);

    let output = upgrade.run("run", &["--to", "10.6.1", "--announce", announce.to_str().unwrap()]);
    let told = good(&output);
    let end = "arrived at 10.6.1; the server runs 10.6.1, public. The report: mm-report --format html ";
    assert!(told.contains(end), "{told}");
    let between = fs::read_to_string(between).unwrap();
    assert!(
        between.contains("state    running\n") && between.contains("between two steps (mm-upgrade run"),
        "{between}"
    );
    assert!(!between.contains("next     "), "{between}");

    assert_eq!(site.running_version().as_deref(), Some("10.6.1"), "public, on its own port");
    assert_eq!((site.history(), site.counts(), site.user_files()), (history, counts, files));
    let record = upgrade.last("final.json");
    assert!(record["path"]["next"].is_null(), "{}", record["path"]);
    let done = record["done"].as_array().unwrap();
    assert_eq!(done.len(), 2);
    assert!(done[0]["swap"]["private_address"].is_string(), "users stay out in between: {}", done[0]["swap"]);
    assert!(done[1]["swap"]["private_address"].is_null(), "{}", done[1]["swap"]);
    let events = fs::read_to_string(events).unwrap();
    assert_eq!(
        events.lines().collect::<Vec<_>>(),
        ["begin", "hop 9.11.18 10.5.14", "hop 10.5.14 10.6.1", "done 10.6.1"]
    );

    let table = table(&upgrade, &["9.11.18", "10.5.14", "10.6.1"]);
    let row = table.lines().find(|line| line.starts_with("server.version")).unwrap_or_default();
    assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["server.version", "pass", "pass", "pass"], "{table}");
    assert!(table.contains("browser.open skipped on 9.11.18, 10.5.14, 10.6.1: --browser no was given"), "{table}");
    assert!(!table.contains("not looked at"), "{table}");

    // Killed when the last hop was verified and its record not written: it is what the documents of the tools say that
    // counts, and no file of the script's own.
    let last = upgrade.runs().join("last");
    assert!(fs::canonicalize(&last).unwrap().starts_with(site.state()), "the run lives in the state directory");
    for name in ["final.json", "current.json", "plan.json"] {
        fs::remove_file(last.join(name)).unwrap();
    }
    assert!(good(&upgrade.run("resume", &[])).contains("arrived already"));
    let record = upgrade.last("final.json");
    let done = record["done"].as_array().unwrap();
    assert_eq!(done.len(), 2, "{record}");

    let status = upgrade.run("status", &[]);
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(status.contains("now      10.6.1") && status.contains("done     9.11.18 to 10.5.14"), "{status}");
    assert!(good(&upgrade.run("resume", &[])).contains("arrived already"));
    // One that ends before its first hop has not arrived, and is not in the way of what can be taken back.
    let code = upgrade.run("run", &["--to", "9.0.0"]).status.code();
    assert_ne!(code, Some(0));
    let output = upgrade.run("resume", &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == code && said.contains("stopped before its first hop"), "{said}");
    assert_eq!(upgrade.last("final.json"), record);

    let markdown = report("markdown", &record);
    assert!(markdown.starts_with("# Mattermost 9.11.18 to 10.6.1\n"), "{markdown}");
    assert!(markdown.contains(" pass |") && !markdown.contains("0 fail"), "{markdown}");
    let point = done[0]["backup"]["id"].as_str().unwrap();
    assert!(markdown.contains(&format!("mm-backup restore {point} ")), "{markdown}");
    // Private between the hops: for users it is one piece.
    assert!(markdown.contains("| Users kept out | about "), "{markdown}");
    let html = report("html", &record);
    assert!(html.contains("<svg") && html.contains(point) && html.trim_end().ends_with("</html>"), "{html}");
}

#[test]
fn a_run_that_stopped_before_its_first_hop_is_begun_by_a_resume() {
    let upgrade = Upgrade::of(&[quick("10.5.14"), quick("10.6.1")]);
    let site = &upgrade.site;
    let (config, aside) = (site.config_path(), site.directory().join("aside"));
    fs::rename(&config, &aside).unwrap();
    let output = upgrade.run("run", &["--to", "10.6.1"]);
    assert_ne!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    fs::rename(&aside, &config).unwrap();
    let said = good(&upgrade.run("resume", &[]));
    assert!(said.contains("it is begun now"), "{said}");
    assert_eq!(site.running_version().as_deref(), Some("10.6.1"));
}

#[test]
fn a_run_that_stopped_during_its_downloads_is_gone_on_with_as_it_was_called() {
    let upgrade = Upgrade::of(&[quick("10.5.14"), quick("10.6.1"), quick("10.11.23")]);
    let site = &upgrade.site;
    good(&upgrade.run("run", &["--to", "10.6.1"]));
    let first = fs::canonicalize(upgrade.runs().join("last")).unwrap();
    // In place of mm-fetch, once: the run is there, and mm-upgrade is killed before it knows.
    upgrade.shim("mm-fetch", "REAL \"$@\" >/dev/null\nkill -KILL $PPID");
    let there = site.directory().join("there");
    let output = upgrade.run("run", &["--to", "10.11.23", "--store", there.to_str().unwrap()]);
    assert_eq!(output.status.code(), None, "killed: {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::canonicalize(upgrade.runs().join("last")).unwrap(), first);
    let status = String::from_utf8(upgrade.run("status", &[]).stdout).unwrap();
    assert!(status.contains("10.11.23"), "{status}");
    let pids = site.pids();
    good(&upgrade.run("rollback", &[]));
    assert_eq!(
        (site.pids(), site.running_version().as_deref()),
        (pids, Some("10.6.1")),
        "the older run was taken back"
    );
    good(&upgrade.run("resume", &[]));
    assert_eq!(site.running_version().as_deref(), Some("10.11.23"));
    assert!(there.exists(), "the restore point went where the older run had put its own");
    assert!(upgrade.last("0000-mm-path-plan.json")["upgrade"]["arguments"].to_string().contains("10.11.23"));

    // mm-upgrade goes on with the newest run, and takes back that one: its commands are not said of an older one.
    for (run, is_newest) in [(first.file_name().unwrap().to_str().unwrap(), false), ("last", true)] {
        let output = site.tool("mm-path").args(["--status", "--run", run]).output().unwrap();
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        // Each has arrived, also where another release is installed since.
        assert_eq!(
            (&status["status"]["how"], &status["status"]["next"]),
            (&"finished".into(), &Value::Null),
            "{status}"
        );
        assert_eq!(status["status"]["done"][0]["to"], if is_newest { "10.11.23" } else { "10.6.1" }, "{status}");
        let commands = [&status["status"]["next"], &status["status"]["end"]["back"]];
        assert!(commands.iter().any(|command| command.is_string()), "{status}");
        assert_eq!(
            commands.iter().any(|command| command.to_string().contains("mm-upgrade ")),
            is_newest,
            "{commands:?}"
        );
    }
}

#[test]
fn what_the_host_says_is_what_is_upgraded() {
    let upgrade = Upgrade::of(&[quick("10.5.14"), quick("10.6.1")]);
    let site = &upgrade.site;
    let mut arguments = upgrade.arguments("run", &["--to", "10.6.1"]);
    for flag in ["--install", "--store"] {
        let at = arguments.iter().position(|word| word == flag).unwrap();
        arguments.drain(at..at + 2);
    }
    let run = |install: &std::path::Path, store: &str| {
        let mut command = tool::shell(&upgrade.script());
        command.env("MM_INSTALL", install).env("MM_STORE", store).arg("mm-upgrade").args(&arguments).output().unwrap()
    };
    good(&run(&site.install(), site.store().to_str().unwrap()));
    assert_eq!(site.running_version().as_deref(), Some("10.6.1"));
    assert_eq!(upgrade.last("final.json")["done"][0]["backup"]["store"], site.store().to_str().unwrap());
    // What comes later needs none of it.
    good(&upgrade.run("rollback", &[]));
    assert_eq!(site.running_version().as_deref(), Some("10.5.14"));
}

#[test]
fn the_edition_can_change_on_the_way() {
    let mut enterprise = quick("10.5.14");
    enterprise.edition = "enterprise".into();
    let upgrade = Upgrade::of(&[quick("9.11.18"), enterprise]);
    let site = &upgrade.site;
    let (history, files) = (site.history(), site.user_files());
    good(&upgrade.run("run", &["--to", "10.5.14", "--edition", "enterprise"]));
    let record = upgrade.last("final.json");
    assert_eq!(
        (&record["done"][0]["hop"]["edition"], &record["site"]["edition"]),
        (&json!("enterprise"), &json!("enterprise"))
    );
    assert!(record["path"]["next"].is_null(), "{}", record["path"]);
    assert_eq!(site.running_version().as_deref(), Some("10.5.14"), "public, on its own port");
    assert_eq!((site.history(), site.user_files()), (history, files));
    // The preflight knew where the restore points go.
    let plan = upgrade.last("plan.json");
    let disk = plan["path"]["checks"].as_array().unwrap().iter().find(|check| check["id"] == "disk").unwrap();
    assert!(disk["evidence"].as_str().unwrap().contains(site.store().to_str().unwrap()), "{disk}");
}

#[test]
fn another_applications_database_is_upgraded_only_with_leave_and_outlives_the_way_back() {
    let upgrade = Upgrade::of(&[quick("9.11.18"), quick("10.5.14"), quick("10.6.1")]);
    let site = &upgrade.site;
    site.cluster.sql("postgres", "CREATE ROLE librarian LOGIN; CREATE DATABASE wiki OWNER librarian");
    site.cluster.sql("wiki", "CREATE TABLE pages AS SELECT n, md5(n::text) AS text FROM generate_series(1, 500) n");
    let wiki =
        || site.cluster.sql("wiki", "SELECT count(*), md5(string_agg(text, '' ORDER BY n)) FROM pages WHERE n <= 500");
    let (history, files, config, pages, pids) = (site.history(), site.user_files(), site.config(), wiki(), site.pids());
    let way = ["--to", "10.6.1", "--postgres", "15"];

    let output = upgrade.run("run", &way);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("wiki of librarian") && said.contains("give --shared-cluster"), "{said}");
    assert_eq!(site.pids(), pids, "the server was touched");
    assert!(!site.cache().exists() && !site.store().exists(), "downloads or a restore point were begun");

    // Not begun yet, as a run that waits for its window; what goes on knows what was agreed. A flag that `restore` does
    // not have is none of its business.
    let closed = closed();
    let agreed = ["--shared-cluster", "--flag", "mm-backup=--keep-last=9", "--window", &closed];
    good(&upgrade.run("run", &[&way[..], &agreed].concat()));
    assert_eq!(site.pids(), pids, "the server was touched");
    // The flags of the run said once more, as from the shell's history, are the same flags.
    let again = upgrade.arguments("run", &["--window", "00:00-00:00"]);
    let again: Vec<&str> = again.iter().map(String::as_str).collect();
    let first = again.iter().position(|word| *word == "--flag").expect("a run has flags of its own");
    let last = again.iter().position(|word| *word == "--install").expect("and an installation behind them");
    good(&upgrade.run("resume", &[&again[first..last], &["--window", "00:00-00:00"]].concat()));
    let version = site.cluster.sql("wiki", "SHOW server_version");
    assert!(version.starts_with("15"), "{version}");
    assert_eq!((wiki(), site.history()), (pages.clone(), history.clone()));
    let done = upgrade.last("final.json")["done"].as_array().unwrap().clone();
    let (bumped, others): (Vec<_>, Vec<_>) = done.iter().partition(|hop| hop["pgbump"]["needed"] == true);
    assert_eq!((bumped.len(), others.len()), (1, 1), "{done:?}");
    assert!(bumped[0]["backup"]["databases"].as_array().unwrap().contains(&json!("wiki")), "{}", bumped[0]["backup"]);
    assert_eq!(others[0]["backup"]["databases"], json!(["mattermost"]), "it is not copied where it is not touched");
    let proof = &bumped[0]["pgbump"]["proof"];
    assert_eq!((&proof["equal"], &proof["databases"]), (&json!(true), &json!(5)), "{proof}");

    site.cluster.sql("wiki", "INSERT INTO pages VALUES (501, 'written since')");
    good(&upgrade.run("rollback", &[]));
    process::wait_until("the first server to answer", std::time::Duration::from_secs(60), || site.answers());
    assert_eq!(site.running_version().as_deref(), Some("9.11.18"));
    assert_eq!((site.history(), site.user_files(), site.config()), (history, files, config));
    assert_eq!(wiki(), pages);
    assert_eq!(site.cluster.sql("wiki", "SELECT text FROM pages WHERE n = 501"), "written since");
}

#[test]
fn the_way_back_leads_the_old_configuration_to_the_cluster_that_was_upgraded() {
    let upgrade = Upgrade::of(&[quick("10.5.14"), quick("10.6.1")]);
    let site = &upgrade.site;
    let sql = "SELECT count(*), md5(string_agg(id || message, ',' ORDER BY id)) FROM posts";
    let (history, files) = (site.cluster.query(sql), site.user_files());
    let config = fs::read_to_string(site.config_path()).unwrap();
    good(&upgrade.run("run", &["--to", "10.6.1", "--postgres", "15", "--flag", "mm-pgbump=--keep-port"]));
    let ports = site.cluster.all_of_this_name();
    let new = ports.iter().find(|(major, ..)| *major == 15).unwrap().1;
    assert_ne!(new, site.cluster.port);
    // Tools that have been replaced since and have lost a flag of that run: it goes on no more, and back all the same.
    let recorded = upgrade.runs().join("last/0000-mm-path-plan.json");
    let mut plan = upgrade.last("0000-mm-path-plan.json");
    plan["upgrade"]["arguments"].as_array_mut().unwrap().extend([json!("--flag"), json!("mm-backup=--of-old")]);
    fs::write(&recorded, plan.to_string()).unwrap();
    assert_eq!(upgrade.run("resume", &[]).status.code(), Some(2));
    good(&upgrade.run("rollback", &[]));
    process::wait_until("the first server to answer", std::time::Duration::from_secs(60), || site.answers());
    assert_eq!(site.running_version().as_deref(), Some("10.5.14"));
    let moved = config.replace(&format!(":{}/", site.cluster.port), &format!(":{new}/"));
    assert!(fs::read_to_string(site.config_path()).unwrap() == moved && moved != config);
    let cluster = Cluster::reopen(15, &site.cluster.name, new);
    assert_eq!((cluster.query(sql), site.user_files()), (history, files));
    assert_eq!(site.cluster.all_of_this_name(), ports, "another cluster serves");
}

#[test]
fn wrong_usage_and_a_second_run_are_refused() {
    let upgrade = Upgrade::of(&[quick("9.11.18"), quick("10.5.14")]);
    for (arguments, code) in [
        (&["--to"][..], 2),
        (&["--nonsense"][..], 2),
        (&["--to", "10.5.14", "--window", "2-5"][..], 2),
        (&["--to", "10.5.14", "--window", "24:00-05:00"][..], 2),
        (&["--to", "10.5.14", "--on-failure", "pray"][..], 2),
        (&["--to", "10.5.14", "--edition", "entry"][..], 2),
        (&["--to", "10.5.14", "--flag", "mm-swap=--start-timeoutt=5"][..], 2),
        (&["--to", "10.5.14", "--flag", "mm-swap=--start-timeout=soon"][..], 2),
        (&["--to", "10.5.14", "--flag", "mm-swop=--start-timeout=5"][..], 2),
        (&["--to", "10.5.14", "--flag", "mm-swap=--format=human"][..], 2),
        (&["--to", "10.5.14", "--flag", "mm-backup=--to=/elsewhere"][..], 2),
        (&["--to", "10.5.14", "--flag", "mm-verify=--for=1h"][..], 2),
        (&["--to", "10.5.14", "--flag", "mm-backup=--no-database"][..], 2),
        (&["--to", "10.5.14", "--accept", "roll-back"][..], 2),
        (&["--to", "9.5.14"][..], 5),
    ] {
        let output = upgrade.run("run", arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let lock = upgrade.runs().join("lock");
    let held = fs::File::options().create(true).append(true).open(&lock).unwrap();
    held.lock().unwrap();
    let output = upgrade.run("run", &["--to", "10.5.14"]);
    assert_eq!(output.status.code(), Some(75), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(upgrade.site.running_version().as_deref(), Some("9.11.18"));
}
