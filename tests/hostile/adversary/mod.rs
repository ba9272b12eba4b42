//! Everybody at once: one site whose user races with root in the tree and wherever root works, whose database is its
//! owner's trap, and whose server answers as nobody expects; and every verb of every tool on it. Whatever a verb says, root's files,
//! other databases and the roles of the cluster are what they were, nothing of it goes on running, and it has ended.

mod world;

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use mm_test_support::process::{self, TEST_USER};
use mm_test_support::site::quick;

use self::world::{NAMES, World};

const FROM: &str = "10.5.12";
const TO: &str = "10.5.14";

/// Every verb once, raced; where it did not come to its end, once more alone, so that the next one has what it needs.
fn every_verb(world: &World, names: &[&str]) {
    let release = quick(TO).build();
    let releases = world.site.releases(std::slice::from_ref(&release));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (archive, catalogue) = (text(&release.tarball), text(&releases.catalogue));
    let (store, cache) = (text(&world.site.store()), text(&world.site.cache()));
    let (into, mirror) = (text(&world.site.directory().join("into")), text(&releases.directory));
    let raced = |tool: &str, words: &[&str]| world.raced(tool, words, names);

    raced("mm-path", &["--to", TO, "--catalogue", &catalogue]);
    raced("mm-path", &["--to", TO, "--catalogue", &catalogue, "--check"]);
    raced("mm-fetch", &[TO, "--edition", "team", "--mirror", &mirror, "--catalogue", &catalogue, "--cache", &cache]);
    refresh(world, names);
    for words in [&["create"][..], &["list"], &["verify", "--restore"], &["export"]] {
        raced("mm-backup", &[&["--to", store.as_str()], words].concat());
    }
    let id = pinned(&world.site.store());
    for words in [&["unpin", &id][..], &["prune", "--keep-last", "1"]] {
        raced("mm-backup", &[&["--to", store.as_str()], words].concat());
    }
    raced("mm-backup", &["--to", &store, "restore", "latest", "--files", "--into", &into]);
    raced("mm-swap", &["stage", "--archive", &archive]);
    raced("mm-swap", &["run", "--archive", &archive, "--no-backup", "--no-start"]);
    for verb in ["status", "rollback", "recover", "prune"] {
        raced("mm-swap", &[verb]);
    }
    for part in ["--files", "--database"] {
        raced("mm-backup", &["--to", &store, "restore", "latest", part]);
    }
    let copy = text(&world.site.directory().join("copy"));
    for words in [&["--to", store.as_str(), "--into", &copy][..], &["--stop", &copy], &["--remove", &copy]] {
        raced("mm-backup", &[&["copy"], words].concat());
    }
    // With a server that is really started, by root, in a tree that is raced for.
    raced("mm-swap", &["run", "--archive", &archive, "--no-backup", "--start-timeout", "20", "--private"]);
    raced("mm-swap", &["publish", "--start-timeout", "20"]);
    world.site.stop();
    let agreed = ["--to", "15", "--shared-cluster"];
    raced("mm-pgbump", &[&["check"], &agreed[..]].concat());
    raced("mm-pgbump", &[&["run"], &agreed[..], &["--no-backup"]].concat());
    for verb in ["recover", "rollback"] {
        raced("mm-pgbump", &[verb]);
    }
    raced("mm-pgbump", &[&["run"], &agreed[..], &["--no-backup"]].concat());
    raced("mm-pgbump", &["drop-old", "--force"]);
    raced("mm-verify", &["repair", "--fix", "all"]);
    world.site.stop();
}

/// What vendors' pages say is taken over into the state directory.
fn refresh(world: &World, names: &[&str]) {
    let (page, state) = (world.site.directory().join("releases.mdx"), world.site.state());
    let table = "| **Release** | **Released on** | **Support ends** |\n|:---|:---|:---|\n| v12.90 | 2027-02-16 | 2027-05-15 |\n";
    std::fs::write(&page, table).unwrap();
    world.raced(
        "mm-fetch",
        &["refresh", "--from", page.to_str().unwrap(), "--state-dir", state.to_str().unwrap()],
        names,
    );
}

/// Pins the newest restore point of a store, as an upgrade run does. A pin that nobody can read is one.
pub(crate) fn pinned(store: &Path) -> String {
    let names = std::fs::read_dir(store).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let id = names.filter(|name| !name.starts_with('.')).max().unwrap();
    std::fs::write(store.join(format!(".pin-{id}.json")), "{}").unwrap();
    id
}

/// Every verb of mm-verify, on a server that answers as nobody expects. It sends no request to where it is led.
fn every_look(world: &World, names: &[&str]) {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let (installed, port) = (world.site.install().join("bin/mattermost"), elsewhere.local_addr().unwrap().port());
    std::fs::remove_file(&installed).unwrap();
    std::fs::copy("/usr/bin/python3", &installed).unwrap();
    let mut server = process::as_user(TEST_USER, &installed)
        .env("PYTHONHOME", "/usr")
        .env("VERSION", FROM)
        .env("PORT", world.site.port.to_string())
        .env("ELSEWHERE", port.to_string())
        .args(["-c", include_str!("impostor.py")])
        .current_dir(world.site.install())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    process::wait_until("the impostor to answer", Duration::from_secs(60), || world.site.answers());
    for words in [
        &["baseline", "--browser", "no"][..],
        &["run", "--browser", "no"],
        &["repair", "--list"],
        &["watch", "--for", "1s"],
    ] {
        world.run("mm-verify", words, names);
    }
    assert!(elsewhere.accept().is_err(), "somebody was led to another address");
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn no_verb_does_root_the_cluster_or_its_neighbours_any_harm() {
    let world = World::build();
    every_verb(&world, NAMES);
    every_look(&world, NAMES);
}

/// A verb is killed, and what it has left open is ended while the tree is raced for.
#[cfg(feature = "checkpoints")]
#[test]
fn what_a_killed_verb_has_left_open_is_ended_without_harm() {
    let world = World::build();
    let release = quick(TO).build();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (archive, store) = (text(&release.tarball), text(&world.site.store()));
    world.run("mm-backup", &["--to", &store, "create"], &[]);
    let swap = ["run", "--archive", archive.as_str(), "--no-backup", "--no-start"];
    for checkpoint in ["staged", "exchanged"] {
        world.killed("mm-swap", &swap, checkpoint);
        world.raced("mm-swap", &["recover"], NAMES);
    }
    let restore = ["--to", store.as_str(), "restore", "latest"];
    for checkpoint in ["restore-staged", "database-restored", "restore-exchanged"] {
        world.killed("mm-backup", &restore, checkpoint);
        world.raced("mm-backup", &["--to", &store, "recover"], NAMES);
    }
    for checkpoint in ["old-shut", "proving"] {
        world.killed("mm-pgbump", &["run", "--to", "15", "--shared-cluster", "--no-backup"], checkpoint);
        world.raced("mm-pgbump", &["recover"], NAMES);
    }
}

/// One name at a time, so that each is met at every step, and tables that are exchanged for views all the while.
#[test]
#[ignore = "long: every verb for each name that is raced for"]
fn no_verb_does_any_harm_whatever_is_raced_for() {
    for name in NAMES {
        let mut world = World::build();
        world.exchanges = true;
        every_verb(&world, &[name]);
        world.exchanges = false;
        every_look(&world, &[name]);
    }
}
