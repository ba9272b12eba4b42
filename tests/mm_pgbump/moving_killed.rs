//! A move killed with -9 at each of its steps: it is taken back or finished, and the target is never left half filled.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use mm_test_support::matrix::some;
use mm_test_support::site::Site;

use crate::moving::Moving;

pub(crate) fn dies_at(moving: &Moving, checkpoint: &str, arguments: &[&str]) {
    site_dies_at(&moving.site, checkpoint, arguments);
}

/// mm-pgbump with these arguments is killed there.
pub(crate) fn site_dies_at(site: &Site, checkpoint: &str, arguments: &[&str]) {
    let status = Command::new(mm_test_support::tool::executable("mm-pgbump"))
        .args(site.flags())
        .args(arguments)
        .env("MM_CHECKPOINT", checkpoint)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.signal(), Some(9), "it was to die at `{checkpoint}`: {status}");
}

#[test]
fn killed_before_it_is_proven_a_move_is_taken_back_and_after_that_it_is_finished() {
    let moving = Moving::new(false);
    let source = moving.source();
    let file = moving.file(&[&moving.target.url()]);
    let run = ["move", "--target", file.to_str().unwrap()];
    for checkpoint in
        some(["move-intent", "move-stopped", "move-read", "move-filling", "move-restored", "move-read-back"])
    {
        dies_at(&moving, checkpoint, &run);
        moving.pgbump(0, &["recover"]);
        moving.is_as_before(&source);
    }
    // Proven, and the server was not pointed at it: what is written to the old database since is in no proof.
    for checkpoint in ["move-proven", "move-repoint-intent"] {
        dies_at(&moving, checkpoint, &run);
        moving.site.cluster.query("UPDATE posts SET message = message || '.' WHERE id = (SELECT min(id) FROM posts)");
        moving.pgbump(0, &["recover"]);
        moving.is_as_before(&source);
    }
    // Killed again while it is taken back.
    dies_at(&moving, "move-restored", &run);
    dies_at(&moving, "move-undo-pointed", &["recover"]);
    dies_at(&moving, "move-undo-cleared", &["recover"]);
    moving.pgbump(0, &["recover"]);
    moving.is_as_before(&source);
    for checkpoint in some(["move-repointed", "move-done", "move-recorded"]) {
        dies_at(&moving, checkpoint, &run);
        let (document, said) = moving.pgbump(0, &["recover"]);
        assert_eq!(document["pgbump"]["proof"]["equal"], true, "{checkpoint}: {said}");
        assert_eq!(moving.source(), moving.target.url(), "{checkpoint}");
        for checkpoint in ["move-rollback-intent", "move-rollback-pointed"] {
            dies_at(&moving, checkpoint, &["rollback"]);
        }
        moving.pgbump(0, &["rollback"]);
        assert_eq!(moving.source(), source);
        moving.empty_target();
        moving.is_as_before(&source);
    }
}

/// A move that was cut off with the server pointed at the target may have let it work there: nothing of that is dropped.
#[test]
fn a_way_back_drops_nothing_of_a_target_that_the_server_is_pointed_at() {
    let moving = Moving::new(false);
    let source = moving.source();
    let file = moving.file(&[&moving.target.url()]);
    dies_at(&moving, "move-repointed", &["move", "--target", file.to_str().unwrap()]);
    moving.target.query("UPDATE posts SET message = 'since' WHERE id = (SELECT min(id) FROM posts)");
    let (_, said) = moving.pgbump(0, &["rollback"]);
    assert!(said.contains("public.posts"), "{said}");
    assert_eq!(moving.source(), source);
    assert_eq!(moving.target.query("SELECT count(*) FROM posts WHERE message = 'since'"), "1");
}

/// What the move has made is gone, and what it has renamed has its name again.
#[test]
fn what_was_made_at_the_target_goes_when_a_move_is_taken_back() {
    let moving = Moving::new(false);
    let source = moving.source();
    moving.target.sql("postgres", "CREATE ROLE chief SUPERUSER LOGIN PASSWORD 'geheim2'");
    let port = moving.target.port;
    let app = format!("postgres://app:geheim@127.0.0.1:{port}/new?sslmode=disable");
    let admin = format!("postgres://chief:geheim2@127.0.0.1:{port}/postgres?sslmode=disable");
    let file = moving.file(&[&app, &admin]);
    let run = ["move", "--target", file.to_str().unwrap(), "--replace"];
    for checkpoint in some(["move-filling", "move-role-made", "move-database-made", "move-restored"]) {
        dies_at(&moving, checkpoint, &run);
        moving.pgbump(0, &["recover"]);
        let left = "SELECT (SELECT count(*) FROM pg_roles WHERE rolname = 'app'), (SELECT count(*) FROM pg_database WHERE datname ~ '^new')";
        assert_eq!(moving.target.sql("postgres", left), "0|0", "{checkpoint}");
        moving.is_as_before(&source);
    }
    moving.target.sql("postgres", "CREATE ROLE app LOGIN PASSWORD 'geheim'");
    moving.target.sql("postgres", "CREATE DATABASE new OWNER app");
    moving.target.sql("new", "CREATE TABLE here AS SELECT 42 AS n");
    for checkpoint in ["move-filling", "move-replaced", "move-database-made"] {
        dies_at(&moving, checkpoint, &run);
        moving.pgbump(0, &["recover"]);
        assert_eq!(moving.target.sql("new", "SELECT n FROM here"), "42", "{checkpoint}");
        moving.is_as_before(&source);
    }
}
