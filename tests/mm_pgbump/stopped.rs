//! mm-pgbump asked to stop at its checkpoints: the database is wholly the old one or wholly the new one, as the exit code says, and
//! the server serves from it.

use std::time::Duration;

use mm_test_support::asked::{Asked, nothing_is_open};
use mm_test_support::process::wait_until;

use crate::moving::Moving;
use crate::rig::Rig;

const PATIENCE: Duration = Duration::from_secs(60);

fn serves(rig: &Rig, major: &str, at: &str) {
    wait_until("the server", PATIENCE, || rig.site.answers());
    rig.serves(major);
    nothing_is_open(&rig.site, at);
}

#[test]
fn asked_at_any_step_of_an_upgrade_it_upgrades_or_undoes_it() {
    let rig = Rig::running();
    let asked = Asked::of(&rig.site, "mm-pgbump", &["--to", "15", "--no-backup"]);
    let checkpoints = asked.checkpoints();
    let mut codes = Vec::new();
    serves(&rig, "15", "undisturbed");
    rig.pgbump(0, &["rollback"]);
    asked.at_each(&checkpoints, |ended| {
        codes.push(ended.code);
        if ended.code == 0 {
            serves(&rig, "15", &ended.at);
            rig.pgbump(0, &["rollback"]);
        }
        serves(&rig, "13", &ended.at);
        assert_eq!(rig.starts_with_the_machine(13), "auto", "{}: {}", ended.at, ended.said);
    });
    assert!(codes.contains(&0) && codes.iter().any(|code| *code != 0), "{codes:?} at {checkpoints:?}");
}

#[test]
fn asked_on_the_way_back_it_goes_back() {
    let rig = Rig::running();
    let asked = Asked::of(&rig.site, "mm-pgbump", &["rollback"]);
    rig.upgrade(0, &[]);
    let checkpoints = asked.checkpoints();
    rig.upgrade(0, &[]);
    asked.at_each(&checkpoints, |ended| {
        let major = if ended.code == 0 { "13" } else { "15" };
        serves(&rig, major, &ended.at);
        if ended.code == 0 {
            rig.upgrade(0, &[]);
        }
    });
}

#[test]
fn asked_on_the_way_back_of_a_move_it_goes_back() {
    let moving = Moving::new(true);
    let source = moving.source();
    let file = moving.file(&[&moving.target.url()]);
    let forth = || {
        moving.pgbump(0, &["move", "--target", file.to_str().unwrap()]);
    };
    let asked = Asked::of(&moving.site, "mm-pgbump", &["rollback"]);
    forth();
    let checkpoints = asked.checkpoints();
    moving.empty_target();
    forth();
    asked.at_each(&checkpoints, |ended| {
        if ended.code == 0 {
            assert_eq!(moving.source(), source, "{}: {}", ended.at, ended.said);
            moving.empty_target();
            forth();
        }
        assert_eq!(moving.source(), moving.target.url(), "{}: {}", ended.at, ended.said);
        wait_until("the server", PATIENCE, || moving.site.answers());
        nothing_is_open(&moving.site, &ended.at);
    });
}

#[test]
fn asked_at_any_step_of_a_move_it_moves_or_undoes_it() {
    let moving = Moving::new(true);
    let source = moving.source();
    let file = moving.file(&[&moving.target.url()]);
    let run = ["move", "--target", file.to_str().unwrap()];
    let asked = Asked::of(&moving.site, "mm-pgbump", &run);
    let back = || {
        moving.pgbump(0, &["rollback"]);
        moving.empty_target();
    };
    let checkpoints = asked.checkpoints();
    back();
    let mut codes = Vec::new();
    asked.at_each(&checkpoints, |ended| {
        codes.push(ended.code);
        wait_until("the server", PATIENCE, || moving.site.answers());
        nothing_is_open(&moving.site, &ended.at);
        if ended.code == 0 {
            assert_eq!(moving.source(), moving.target.url(), "{}: {}", ended.at, ended.said);
            back();
        }
        moving.is_as_before(&source);
    });
    assert!(codes.contains(&0) && codes.iter().any(|code| *code != 0), "{codes:?} at {checkpoints:?}");
}

#[test]
fn asked_while_it_ends_what_was_cut_off_it_is_ended_or_can_be() {
    let rig = Rig::running();
    let cut_off = || {
        let mut command = rig.site.tool("mm-pgbump");
        command.args(["--to", "15", "--no-backup"]).env("MM_CHECKPOINT", "proving");
        assert_eq!(command.output().unwrap().status.code(), None);
    };
    cut_off();
    let asked = Asked::of(&rig.site, "mm-pgbump", &["recover"]);
    let checkpoints = asked.checkpoints();
    for (name, signal) in checkpoints.iter().zip(["SIGTERM", "SIGINT"].into_iter().cycle()) {
        cut_off();
        let ended = asked.at(signal, name);
        if ended.code == 1 {
            let again = asked.at("SIGTERM", "never");
            assert_eq!(again.code, 0, "after {}: {}", ended.at, again.said);
        }
        serves(&rig, "13", &ended.at);
    }
}
