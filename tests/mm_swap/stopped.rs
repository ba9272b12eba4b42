//! mm-swap asked to stop with real signals, at its checkpoints: the exit code says what is true, and the server runs.

use std::process::Output;

use mm_test_support::asked::{Asked, nothing_is_open};
use mm_test_support::matrix;
use mm_test_support::process;
use mm_test_support::release::Release;
use mm_test_support::site::{Site, quick};

use crate::killed::some;

/// Two patches of one line: the schema is the same, so one site serves for all.
const FROM: &str = "10.5.12";
const TO: &str = "10.5.14";

/// A run that gets `signal` at each of the checkpoints, which are separated by commas.
fn asked(site: &Site, release: &Release, signal: &str, checkpoints: &str) -> Output {
    let mut command = site.tool("mm-swap");
    command.env("MM_CHECKPOINT_SIGNAL", signal).env("MM_CHECKPOINT", checkpoints);
    command.args(["--no-backup", "--start-timeout", "20", "--archive"]).arg(&release.tarball).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What the exit code has to be, by what runs.
fn is_true(site: &Site, output: &Output, at: &str) -> i32 {
    let said = said(output);
    let code = output.status.code().unwrap_or_else(|| panic!("{at}: {said}"));
    let running = site.running_version();
    match code {
        0 => assert_eq!(running.as_deref(), Some(TO), "{at}: {said}"),
        1 | 6 => assert_eq!(running.as_deref(), Some(FROM), "{at}: {said}"),
        other => panic!("{at}: exit status {other}: {said}"),
    }
    let status = site.tool("mm-swap").arg("status").output().unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["status"]["interrupted"], serde_json::Value::Null, "{at}: {said}");
    code
}

#[test]
fn asked_at_any_step_it_ends_with_a_server_that_runs_and_the_code_that_is_true() {
    let site = Site::builder(FROM).running().build();
    let release = quick(TO).build();
    let log = site.directory().join("checkpoints");
    let mut command = site.tool("mm-swap");
    command.env("MM_CHECKPOINT_LOG", &log).args(["--no-backup", "--archive"]).arg(&release.tarball).assert().success();
    let names = some(std::fs::read_to_string(&log).unwrap().lines().map(str::to_owned).collect());
    site.tool("mm-swap").arg("rollback").assert().success();
    for needed in ["stopped", "exchanged", "start-commanded", "healthy"] {
        assert!(names.iter().any(|name| name == needed), "{names:?}");
    }
    let mut codes = Vec::new();
    for name in matrix::some(names.clone()).into_iter().chain(["exchanged".to_owned(), "start-commanded".to_owned()]) {
        for signal in ["SIGTERM", "SIGINT"] {
            let output = asked(&site, &release, signal, &name);
            let code = is_true(&site, &output, &format!("{signal} at `{name}`"));
            codes.push(code);
            if code == 6 {
                let said = said(&output);
                let answer = format!("mm-swap: stopping: undoing the exchange, the server will be back on {FROM}");
                assert!(said.contains(&answer) && said.contains(signal), "{name}: {said}");
            }
            if code == 0 {
                site.tool("mm-swap").arg("rollback").assert().success();
                site.tool("mm-swap").args(["prune", "--keep", "0"]).assert().success();
            }
        }
    }
    assert!(codes.contains(&6) && codes.contains(&0), "{codes:?}");
}

/// The undo waits for the old server's start: neither the signal that led to it nor a further one stops that.
#[test]
fn asked_again_while_it_undoes_it_says_since_when_and_undoes() {
    let site = Site::builder(FROM).running().build();
    let release = quick(TO).build();
    let all = "start-commanded,undo-decided,undo-stopped,undo-exchanged";
    let output = asked(&site, &release, "SIGTERM", all);
    assert_eq!(is_true(&site, &output, all), 6);
    let said = said(&output);
    assert!(said.contains("(asked "), "{said}");
    // A rollback by hand is finished, too.
    let output = asked(&site, &release, "SIGTERM", "never");
    assert_eq!(is_true(&site, &output, "undisturbed"), 0);
    let mut command = site.tool("mm-swap");
    let command = command.env("MM_CHECKPOINT_SIGNAL", "SIGTERM").env("MM_CHECKPOINT", "undo-stopped,undo-exchanged");
    let output = command.arg("rollback").output().unwrap();
    let said = self::said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains(&format!("the server will be back on {FROM}")), "{said}");
    assert_eq!(site.running_version().as_deref(), Some(FROM), "{said}");
}

#[test]
fn a_terminal_that_is_gone_stops_nothing() {
    let site = Site::builder(FROM).running().build();
    let release = quick(TO).build();
    let output = asked(&site, &release, "SIGHUP", "stopped,exchanged,start-commanded,healthy");
    assert_eq!(is_true(&site, &output, "SIGHUP"), 0);
}

#[test]
fn asked_while_it_stages_the_server_is_not_touched_and_nothing_half_made_stays() {
    let site = Site::builder(FROM).running().build();
    let release = quick(TO).build();
    let pids = site.pids();
    let asked = Asked::of(&site, "mm-swap", &["stage", "--archive", release.tarball.to_str().unwrap()]);
    let staged = || {
        let place = site.directory().join("opt").display().to_string();
        process::run("find", &[&place, "-name", "staged-*", "-o", "-name", "building"])
    };
    let away = || staged().lines().for_each(|path| std::fs::remove_dir_all(path).unwrap());
    let checkpoints = asked.checkpoints();
    assert!(staged().contains("staged-"), "{}", staged());
    away();
    asked.at_each(&checkpoints, |ended| {
        assert!(!staged().contains("building"), "{}: {}", ended.at, ended.said);
        assert_eq!(site.pids(), pids, "{}: {}", ended.at, ended.said);
        nothing_is_open(&site, &ended.at);
        let again = asked.at("SIGTERM", "never");
        assert_eq!(again.code, 0, "after {}: {}", ended.at, again.said);
        away();
    });
}

#[test]
fn asked_while_it_lets_users_in_it_lets_them_in_or_changes_nothing() {
    let site = Site::builder(FROM).running().build();
    let release = quick(TO).build();
    let keep_out = || {
        let flags = ["--no-backup", "--private", "--start-timeout", "20", "--archive"];
        site.tool("mm-swap").args(flags).arg(&release.tarball).assert().success();
        assert!(!site.answers());
    };
    let again = || {
        site.tool("mm-swap").arg("rollback").assert().success();
        site.tool("mm-swap").args(["prune", "--keep", "0"]).assert().success();
    };
    keep_out();
    let asked = Asked::of(&site, "mm-swap", &["publish"]);
    let checkpoints = asked.checkpoints();
    assert!(site.answers());
    again();
    for (name, signal) in checkpoints.iter().zip(["SIGTERM", "SIGINT"].into_iter().cycle()) {
        keep_out();
        let ended = asked.at(signal, name);
        assert!(!site.pids().is_empty(), "{}: {}", ended.at, ended.said);
        assert_eq!(site.answers(), ended.code == 0, "{}: {}", ended.at, ended.said);
        nothing_is_open(&site, &ended.at);
        again();
    }
}

#[test]
fn asked_while_it_ends_what_was_cut_off_it_is_ended_or_can_be() {
    let site = Site::builder(FROM).running().build();
    let release = quick(TO).build();
    let cut_off = |checkpoint: &str| {
        let mut command = site.tool("mm-swap");
        command.env("MM_CHECKPOINT", checkpoint).args(["--no-backup", "--start-timeout", "20", "--archive"]);
        assert_eq!(command.arg(&release.tarball).output().unwrap().status.code(), None, "{checkpoint}");
    };
    let asked = Asked::of(&site, "mm-swap", &["recover"]);
    // One that is undone, and one that goes on.
    for (checkpoint, signal) in [("stopped", "SIGTERM"), ("exchanged", "SIGINT")] {
        cut_off(checkpoint);
        let names = asked.checkpoints();
        assert!(!names.is_empty());
        for name in names {
            if site.running_version().as_deref() == Some(TO) {
                site.tool("mm-swap").arg("rollback").assert().success();
                site.tool("mm-swap").args(["prune", "--keep", "0"]).assert().success();
            }
            cut_off(checkpoint);
            let ended = asked.at(signal, &name);
            if ended.code == 1 {
                let again = asked.at("SIGTERM", "never");
                assert_eq!(again.code, 0, "after {}: {}", ended.at, again.said);
            }
            assert!(site.answers(), "{checkpoint}, {}: {}", ended.at, ended.said);
            nothing_is_open(&site, &ended.at);
        }
    }
}
