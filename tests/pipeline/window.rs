//! What is done while users wait: how many programs the tools start between the end of the old server and the start of the
//! new one.

use std::fs;

use mm_test_support::pipeline::{hop, plan, run};
use mm_test_support::site::{Site, quick};

/// As many as there are; who adds one has to say why here. Two of them hold tables while a superuser reads them, once for
/// the rows and once for the history: else functions of others would run as that superuser.
const PROGRAMS: usize = 10;

/// The programs that were started between two points of the log.
fn between(log: &str, from: &str, to: &str) -> Vec<String> {
    let inside = log.lines().skip_while(|line| *line != from).take_while(|line| *line != to);
    inside.filter_map(|line| line.strip_prefix("  ").map(str::to_owned)).collect()
}

#[test]
fn few_programs_are_started_between_the_stop_and_the_start() {
    let site = Site::builder("10.5.12").running().build();
    let releases = site.releases(&["10.5.12", "10.5.14"].map(|version| quick(version).build()));
    let log = site.directory().join("programs");
    let document = plan(&site, &releases, &["--to", "10.5.14"]);
    let pipeline = format!("export MM_CHECKPOINT_PROGRAMS={}; {}", log.display(), hop(&site, &releases));
    run(&pipeline, &document).good();
    let text = fs::read_to_string(&log).expect("the tools are built with the feature `checkpoints`");
    let programs = between(&text, "service-stopped", "start-commanded");
    assert!(programs.iter().any(|line| line.contains("pg_dump")), "{text}");
    assert!(programs.len() <= PROGRAMS, "{} programs:\n{}", programs.len(), programs.join("\n"));
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
