//! The way back of a move when much has happened since it was cut off: the target is in use, a later release is installed, or
//! what was left at the target is the server's own.

use std::fs;

use mm_test_support::cluster::{Cluster, url};
use mm_test_support::forwarder::{Forwarder, Trouble};
use mm_test_support::site::Site;
use serde_json::Value;

use crate::moving::Moving;
use crate::moving_back::stored;
use crate::moving_killed::dies_at;
use crate::rig::{VERSION, find_below};

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
    // By another address than the one that the move knows.
    moving.site.set("SqlSettings", "DataSource", moving.target.url().into());
    let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    let before = moving.target.query(tables);
    assert_ne!(before, "0", "nothing was filled");
    let (_, said) = moving.pgbump(0, &["recover"]);
    assert!(said.contains("is the server's own now, and stays"), "{said}");
    assert_eq!(moving.target.query(tables), before);
    assert!(find_below(&moving.site.state(), "pgmove.leftovers").is_none());
}

/// The server of the old database tells nobody its number, and a tunnel is another name for it.
#[test]
fn the_old_database_is_known_by_any_name_and_never_cleared() {
    let moving = Moving::new(false);
    let source = moving.source();
    let old = &moving.site.cluster;
    old.query("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC");
    old.sql("postgres", "CREATE ROLE chief SUPERUSER LOGIN PASSWORD 'geheim2'");
    let posts = Moving::posts(old, "mattermost");
    let tunnel = Forwarder::to(old.port);
    let other_name = url(tunnel.port);
    let admin = format!("postgres://chief:geheim2@127.0.0.1:{}/postgres?sslmode=disable", tunnel.port);
    let (_, said) = moving.with(5, "move", &[&other_name, &admin], &["--replace"]);
    assert!(said.contains("works with now"), "{said}");
    assert_eq!(Moving::posts(old, "mattermost"), posts);

    // The target's address leads to it since.
    let file = moving.file(&[&moving.target.url()]);
    dies_at(&moving, "move-restored", &["move", "--target", file.to_str().unwrap()]);
    let change = |what: &str, change: &dyn Fn(&mut Value)| {
        let path = find_below(&moving.site.state(), what).unwrap();
        let mut value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut value);
        fs::write(&path, value.to_string()).unwrap();
    };
    let oid: u64 = old.query("SELECT oid FROM pg_database WHERE datname = 'mattermost'").parse().unwrap();
    change("pgmove.private", &|private| private["to"] = other_name.as_str().into());
    change("pgmove.journal", &|entry| {
        let to = entry["to"].as_object_mut().unwrap();
        to.remove("system_identifier");
        to.extend([("port".into(), tunnel.port.into()), ("oid".into(), oid.into()), ("major".into(), 13.into())]);
    });
    let (_, said) = moving.pgbump(0, &["recover"]);
    assert!(said.contains("which is the old database and is not touched"), "{said}");
    let (_, again) = moving.pgbump(0, &["recover"]);
    assert!(again.contains("is the server's own now, and stays"), "{again}");
    assert_eq!((Moving::posts(old, "mattermost"), moving.source()), (posts, source));
}

/// Its data source has another name of the target since, and nobody could point that back.
#[test]
fn a_move_is_not_forgotten_before_the_server_is_back_at_its_old_database() {
    let moving = Moving::new(false);
    let (source, target) = (moving.source(), moving.target.url());
    moving.with(0, "move", &[&target], &[]);
    let tunnel = Forwarder::to(moving.target.port);
    let other = url(tunnel.port);
    let set = |text: &str| moving.site.set("SqlSettings", "DataSource", text.into());
    let stays = |code: i32, verb: &str| {
        let (_, said) = moving.pgbump(code, &[verb]);
        assert!(said.contains("is not known to lead to") && said.contains("lead to 127.0.0.1:"), "{said}");
        assert_eq!(moving.source(), other);
        assert!(find_below(&moving.site.state(), "pgmove.finished.private").is_some(), "{verb}: {said}");
    };
    set(&other);
    stays(5, "rollback");
    set(&target);
    dies_at(&moving, "move-rollback-intent", &["rollback"]);
    set(&other);
    stays(3, "recover");
    stays(3, "rollback");
    set(&target);
    // It is pointed there, and does not get in.
    moving.site.cluster.stop();
    let (_, said) = moving.pgbump(3, &["recover"]);
    assert!(said.contains("does not get in"), "{said}");
    moving.site.cluster.start();
    moving.pgbump(0, &["recover"]);
    assert_eq!(moving.source(), source);
    assert!(find_below(&moving.site.state(), "pgmove.finished").is_none());
}

/// Whoever else is in the cluster has written since it was upgraded.
#[test]
fn a_move_goes_back_and_the_upgrade_that_was_made_after_it_stays() {
    let moving = Moving { site: Site::builder(VERSION).build(), target: Cluster::create(13) };
    let source = moving.source();
    moving.target.sql("postgres", "CREATE DATABASE theirs");
    moving.with(0, "move", &[&moving.target.url()], &[]);
    moving.pgbump(0, &["--to", "15", "--no-backup", "--shared-cluster", "--keep-port"]);
    let now = moving.source();
    let port = now.rsplit_once('/').unwrap().0.rsplit_once(':').unwrap().1.parse().unwrap();
    assert_ne!(port, moving.target.port);
    let upgraded = Cluster::reopen(15, &moving.target.name, port);
    upgraded.sql("theirs", "CREATE TABLE since AS SELECT 42 AS n");
    dies_at(&moving, "move-rollback-intent", &["rollback", "--move"]);
    let (_, said) = moving.pgbump(0, &["rollback", "--move"]);
    assert!(said.contains(", made after the move, stays"), "{said}");
    assert_eq!(moving.source(), source);
    assert_eq!(upgraded.sql("theirs", "SELECT n FROM since"), "42");
    // And it can still be taken back for itself.
    moving.pgbump(0, &["rollback"]);
    assert_eq!(moving.source(), source);
}
