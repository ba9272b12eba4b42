//! The way back of a move when much has happened since it was cut off: the target is in use, a later release is installed, or
//! what was left at the target is the server's own.

use std::fs;

use mm_test_support::cluster::url;
use mm_test_support::forwarder::{Forwarder, Trouble};
use serde_json::Value;

use crate::moving::Moving;
use crate::moving_back::stored;
use crate::moving_killed::dies_at;
use crate::rig::find_below;

/// What users have written is dropped with nothing, however the way back begins.
#[test]
fn a_target_that_was_in_use_and_went_away_keeps_what_was_written_there() {
    let (moving, file, text) = stored();
    let url = moving.target.url();
    let target = moving.file(&[&url]);
    dies_at(&moving, "move-repointed", &["move", "--target", target.to_str().unwrap()]);
    moving.site.start_with(&[("MM_CONFIG", &url)]);
    moving.answers();
    moving.target.query("UPDATE posts SET message = 'since' WHERE id = (SELECT min(id) FROM posts)");
    moving.target.stop();
    moving.pgbump(0, &["rollback"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    assert!(find_below(&moving.site.state(), "pgmove.leftovers").is_none());
    moving.target.start();
    moving.pgbump(0, &["recover"]);
    assert_eq!(moving.target.query("SELECT count(*) FROM posts WHERE message = 'since'"), "1");
}

/// The old database belongs to an earlier release than the one that is installed now.
fn is_of_an_earlier_release(moving: &Moving) {
    let journal = find_below(&moving.site.state(), "pgmove.journal").unwrap();
    let mut entry: Value = serde_json::from_slice(&fs::read(&journal).unwrap()).unwrap();
    entry["release"] = "9.11.18".into();
    fs::write(&journal, entry.to_string()).unwrap();
}

#[test]
fn a_later_release_is_not_started_on_the_old_database() {
    for verb in ["recover", "rollback"] {
        let moving = Moving::new(true);
        let source = moving.source();
        moving.with(0, "move", &[&moving.target.url()], &[]);
        moving.answers();
        dies_at(&moving, "move-rollback-intent", &["rollback"]);
        is_of_an_earlier_release(&moving);
        // What has begun is finished.
        let (document, said) = moving.pgbump(if verb == "recover" { 3 } else { 0 }, &[verb]);
        assert_eq!(moving.source(), source, "{said}");
        assert!(moving.site.pids().is_empty(), "{verb} has started it: {said}");
        if verb == "recover" {
            let hint = document["error"]["hint"].as_str().unwrap();
            assert!(hint.starts_with("mm-swap rollback --database"), "{said}");
        }
    }
}

/// Somebody has pointed the server there by hand, and the number of that cluster is told to nobody any more.
#[test]
fn what_is_the_servers_own_now_is_not_cleared() {
    let moving = Moving::new(false);
    moving.large();
    let tunnel = Forwarder::with(moving.target.port, Trouble::CutAll, 5_000_000);
    moving.with(6, "move", &[&url(tunnel.port)], &[]);
    tunnel.works_again();
    moving.target.query("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC");
    moving.site.set("SqlSettings", "DataSource", url(tunnel.port).into());
    let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    let before = moving.target.query(tables);
    assert_ne!(before, "0", "nothing was filled");
    let (_, said) = moving.pgbump(0, &["recover"]);
    assert!(said.contains("is the server's own now, and stays"), "{said}");
    assert_eq!(moving.target.query(tables), before);
    assert!(find_below(&moving.site.state(), "pgmove.leftovers").is_none());
}
