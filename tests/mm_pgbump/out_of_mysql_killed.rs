//! A move out of `MariaDB` killed with -9 at each of its steps, and one whose source goes away in the middle.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mm_test_support::matrix::some;
use mm_test_support::process::{run, wait_until};

use crate::moving::Moving;
use crate::out_of_mysql::Leaving;

fn started(leaving: &Leaving, checkpoint: &str, signal: &str, arguments: &[&str]) -> Child {
    Command::new(mm_test_support::tool::executable("mm-pgbump"))
        .args(leaving.moving.site.flags())
        .args(arguments)
        .env("MM_CHECKPOINT", checkpoint)
        .env("MM_CHECKPOINT_SIGNAL", signal)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn dies_at(leaving: &Leaving, checkpoint: &str, arguments: &[&str]) {
    let output = started(leaving, checkpoint, "SIGKILL", arguments).wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(9), "it was to die at `{checkpoint}`: {} {said}", output.status);
}

#[test]
fn killed_before_it_is_proven_a_move_out_of_mysql_is_taken_back_and_after_that_it_is_finished() {
    let leaving = Leaving::new();
    let source = leaving.mariadb.state();
    let file = leaving.moving.file(&[&leaving.moving.target.url()]);
    let run = ["move", "--target", file.to_str().unwrap()];
    let early = [
        "move-intent",
        "move-schema-made",
        "move-examined",
        "move-stopped",
        "move-table-carried",
        "move-carried",
        "move-read-back",
    ];
    for checkpoint in some(early) {
        dies_at(&leaving, checkpoint, &run);
        leaving.moving.pgbump(0, &["recover"]);
        leaving.is_as_before();
    }
    dies_at(&leaving, "move-examined", &["check", "--target", file.to_str().unwrap()]);
    leaving.moving.pgbump(0, &["recover"]);
    leaving.is_as_before();
    for checkpoint in ["move-proven", "move-repoint-intent"] {
        dies_at(&leaving, checkpoint, &run);
        leaving.moving.pgbump(0, &["recover"]);
        leaving.is_as_before();
    }
    dies_at(&leaving, "move-carried", &run);
    dies_at(&leaving, "move-undo-pointed", &["recover"]);
    dies_at(&leaving, "move-undo-cleared", &["recover"]);
    leaving.moving.pgbump(0, &["recover"]);
    leaving.is_as_before();
    for checkpoint in some(["move-repointed", "move-done", "move-recorded"]) {
        dies_at(&leaving, checkpoint, &run);
        let (document, said) = leaving.moving.pgbump(0, &["recover"]);
        assert_eq!(document["pgbump"]["proof"]["equal"], true, "{checkpoint}: {said}");
        assert_eq!(leaving.moving.source(), leaving.moving.target.url(), "{checkpoint}");
        assert_eq!(Moving::posts(&leaving.moving.target, "mattermost"), leaving.posts);
        for checkpoint in ["move-rollback-intent", "move-rollback-pointed"] {
            dies_at(&leaving, checkpoint, &["rollback"]);
        }
        leaving.moving.pgbump(0, &["rollback"]);
        leaving.moving.empty_target();
        leaving.is_as_before();
    }
    assert_eq!(leaving.mariadb.state(), source);
}

#[test]
fn a_source_that_goes_away_in_the_middle_leads_back() {
    let leaving = Leaving::new();
    let file = leaving.moving.file(&[&leaving.moving.target.url()]);
    let child = started(&leaving, "move-stopped", "SIGSTOP", &["move", "--target", file.to_str().unwrap()]);
    let pid = child.id();
    let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    wait_until("the move to stand still", Duration::from_secs(200), || state().contains(") T "));
    leaving.mariadb.kill();
    run("kill", &["-CONT", &pid.to_string()]);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{said}");
    leaving.is_as_before();
    leaving.mariadb.up();
    leaving.with(0, "move", &[]);
    assert_eq!(Moving::posts(&leaving.moving.target, "mattermost"), leaving.posts);
}
