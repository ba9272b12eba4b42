//! What is done while users wait: how many programs the tools start between the end of the old server and the start of the
//! new one.

use std::fs;

use mm_test_support::pipeline::{hop_with, plan, run};
use mm_test_support::site::{Site, quick};

/// No more than these, whichever way.
const PROGRAMS: usize = 8;

/// The programs that were started between two points of the log.
fn between(log: &str, from: &str, to: &str) -> Vec<String> {
    let inside = log.lines().skip_while(|line| *line != from).take_while(|line| *line != to);
    inside.filter_map(|line| line.strip_prefix("  ").map(str::to_owned)).collect()
}

/// Carries out a hop that changes the schema, with these flags of mm-backup, and the way back of it. Returns what is started in
/// the window of each.
fn there_and_back(flags: &str) -> [Vec<String>; 2] {
    let site = Site::builder("10.5.14").running().build();
    let releases = site.releases(&["10.5.14", "10.6.1"].map(|version| quick(version).build()));
    let log = site.directory().join("programs");
    let document = plan(&site, &releases, &["--to", "10.6.1"]);
    let own = |tool: &str| if tool == "mm-backup" { flags.to_owned() } else { String::new() };
    let pipeline = format!("export MM_CHECKPOINT_PROGRAMS={}; {}", log.display(), hop_with(&site, &releases, own));
    run(&pipeline, &document).good();
    let there = fs::read_to_string(&log).expect("the tools are built with the feature `checkpoints`");
    fs::remove_file(&log).unwrap();
    let mut command = site.tool("mm-swap");
    command.args(["rollback", "--database"]).env("MM_CHECKPOINT_PROGRAMS", &log).assert().success();
    assert_eq!(site.running_version().as_deref(), Some("10.5.14"));
    let back = fs::read_to_string(&log).unwrap();
    [there, back].map(|text| {
        let is_passed = |name: &str| text.lines().any(|line| line == name);
        assert!(is_passed("service-stopped") && is_passed("start-commanded"), "{text}");
        between(&text, "service-stopped", "start-commanded")
    })
}

fn assert_few(programs: &[String]) {
    assert!(programs.len() <= PROGRAMS, "{} programs:\n{}", programs.len(), programs.join("\n"));
}

#[test]
fn few_programs_are_started_between_the_stop_and_the_start() {
    let [there, back] = there_and_back("");
    assert!(there.iter().any(|line| line.contains("pg_dump")), "{there:?}");
    assert_few(&there);
    // The dump is restored before the stop.
    assert!(!back.iter().any(|line| line.contains("pg_restore")), "{back:?}");
    assert_few(&back);
}

#[test]
fn few_programs_are_started_where_the_database_is_frozen() {
    let [there, back] = there_and_back("--freeze");
    assert!(!there.iter().any(|line| line.contains("pg_dump")), "{there:?}");
    assert_few(&there);
    assert_few(&back);
}

#[test]
fn a_hop_that_asks_for_no_other_postgresql_is_not_looked_at_once_more() {
    let site = Site::builder("10.5.12").build();
    let releases = site.releases(&["10.5.12", "10.5.14"].map(|version| quick(version).build()));
    let document = plan(&site, &releases, &["--to", "10.5.14"]);
    assert!(document["path"]["next"]["needs"]["postgres"].is_null(), "{}", document["path"]["next"]);
    // Whoever looks finds a server that nobody can make anything of.
    fs::rename(site.config_path(), site.directory().join("config.json")).unwrap();
    let pgbump = |words: &[&str]| {
        let output = site.tool("mm-pgbump").args(words).write_stdin(document.to_string()).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, said) = pgbump(&["--leave-stopped"]);
    assert!(code == Some(0) && said.contains("needs no upgrade"), "{said}");
    assert_ne!(pgbump(&["--to", "15", "--no-backup"]).0, Some(0), "what is asked for is looked at");
}
