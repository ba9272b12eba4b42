//! A move out of `MariaDB` killed with -9 at each of its steps, and one whose source goes away in the middle.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use mm_test_support::matrix::some;
use mm_test_support::process::{run, wait_until};

use crate::moving::Moving;
use crate::out_of_mysql::Leaving;

fn command(leaving: &Leaving, checkpoint: &str, signal: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(mm_test_support::tool::executable("mm-pgbump"));
    command
        .args(leaving.moving.site.flags())
        .args(arguments)
        .env("MM_CHECKPOINT", checkpoint)
        .env("MM_CHECKPOINT_SIGNAL", signal)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

fn dies_at(leaving: &Leaving, checkpoint: &str, arguments: &[&str]) {
    let output = command(leaving, checkpoint, "SIGKILL", arguments).output().unwrap();
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
        "move-indexed",
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

/// Starts a move, lets `happen` happen as soon as the server is stopped, and waits for its end.
fn meanwhile(leaving: &Leaving, patience: &str, happen: impl FnOnce(&str)) -> String {
    let file = leaving.moving.file(&[&leaving.moving.target.url()]);
    let mut command = command(leaving, "move-stopped", "SIGSTOP", &["move", "--target", file.to_str().unwrap()]);
    let child = command.env("MM_CHECKPOINT_PATIENCE", patience).spawn().unwrap();
    let pid = child.id().to_string();
    let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    wait_until("the move to stand still", Duration::from_secs(200), || state().contains(") T "));
    happen(&pid);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(6), "{said}");
    leaving.is_as_before();
    said
}

#[test]
fn a_source_that_goes_away_in_the_middle_leads_back() {
    let leaving = Leaving::new();
    let goes_on = |pid: &str| run("kill", &["-CONT", pid]);
    meanwhile(&leaving, "180", |pid| {
        leaving.mariadb.signal("-9");
        goes_on(pid);
    });
    leaving.mariadb.up();
    // One that hangs is waited for as long as is said, and no longer than somebody likes to wait.
    let said = meanwhile(&leaving, "3", |pid| {
        leaving.mariadb.signal("-STOP");
        goes_on(pid);
    });
    assert!(said.contains("nothing has gone on for 3 seconds"), "{said}");
    leaving.mariadb.signal("-CONT");
    let said = meanwhile(&leaving, "600", |pid| {
        leaving.mariadb.signal("-STOP");
        goes_on(pid);
        std::thread::sleep(Duration::from_secs(1));
        run("kill", &["-TERM", pid]);
    });
    assert!(said.contains("SIGTERM was received"), "{said}");
    leaving.mariadb.signal("-CONT");
    leaving.with(0, "move", &[]);
    assert_eq!(Moving::posts(&leaving.moving.target, "mattermost"), leaving.posts);
}
