//! Frozen restore points over several hops of a run, and what is left when one is cut off.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use mm_test_support::process;
use mm_test_support::site::Site;
use serde_json::{Value, json};

use crate::frozen::{FREEZE, copies, copy_of, run};
use crate::interruptions::{PATIENCE, ended, start};
use crate::{listed, make};

/// The document of a hop in this run.
fn hop(run: &str) -> Value {
    let hop = json!({ "from": "5.29.0", "to": "5.37.10", "edition": "team", "url": "", "sha256": [] });
    json!({
        "schema": "mm.upgrade/1",
        "run": { "id": run, "started": "2026-11-22T03:00:00Z" },
        "path": { "current": "5.29.0", "target": "5.37.10", "policy": "esr", "hops": [hop], "next": hop },
    })
}

/// mm-backup in a pipe: its document, absent when it was killed at that checkpoint, and what it said.
fn pipe(site: &Site, document: &Value, flags: &[&str], killed_at: Option<&str>) -> (Value, String) {
    let mut command = site.tool("mm-backup");
    command.arg("--to").arg(site.store()).args(flags).envs(killed_at.map(|name| ("MM_CHECKPOINT", name)));
    let output = command.write_stdin(document.to_string()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.success(), killed_at.is_none(), "{said}");
    (serde_json::from_slice(&output.stdout).unwrap_or_default(), said)
}

/// The restore point of a hop, made as README's loop has it.
fn freeze(site: &Site, run: &str, killed_at: Option<&str>) -> Value {
    let flags = ["--stop", "--freeze", "--leave-stopped", "--accept", "rollback"];
    pipe(site, &hop(run), &flags, killed_at).0
}

fn ids(made: &[&Value]) -> Vec<String> {
    made.iter().map(|made| made["backup"]["id"].as_str().unwrap().to_owned()).collect()
}

fn frozen(made: &[&Value]) -> Vec<String> {
    made.iter().map(|made| copy_of(&made["backup"])).collect()
}

/// The state of the installation, which has had frozen copies.
fn state(site: &Site) -> PathBuf {
    let mut states = fs::read_dir(site.state()).unwrap().flatten().map(|entry| entry.path());
    states.find(|path| path.join("frozen").is_dir()).unwrap()
}

/// Says that the server is started privately, as mm-swap does between the hops.
fn note_private(site: &Site) {
    let private = json!({ "address": "127.0.0.1:1", "since": "2026-11-22T03:00:00Z" });
    fs::write(state(site).join("private.json"), private.to_string()).unwrap();
}

#[test]
fn the_hop_before_can_be_taken_back_in_a_second_until_the_next_one_can() {
    for private in [true, false] {
        let site = Site::builder("10.5.14").build();
        let next = |run: &str| {
            let made = freeze(&site, run, None);
            let (_, said) = pipe(&site, &made, &["complete"], None);
            (made, said)
        };
        let (first, _) = next("run");
        if private {
            note_private(&site);
        }
        let (second, _) = next("run");
        for name in ["partial-begun", "freeze-copied", "manifest-written"] {
            freeze(&site, "run", Some(name));
            assert_eq!(listed(&site).0, ids(&[&first, &second]), "{name}, private: {private}");
            for copy in frozen(&[&first, &second]) {
                assert!(copies(&site).contains(&copy), "{name}, private: {private}: {:?}, {copy}", copies(&site));
            }
        }
        // While users are out nothing is removed; that is done when the server serves.
        let third = freeze(&site, "run", None);
        assert_eq!(copies(&site), frozen(&[&first, &second, &third]), "private: {private}");
        let (_, said) = pipe(&site, &third, &["complete"], None);
        assert_eq!(copies(&site), frozen(&[&first, &third]), "private: {private}: {said}");
        let points = if private { ids(&[&first, &third]) } else { ids(&[&first, &second, &third]) };
        assert_eq!(listed(&site).0, points, "{said}");
        // Where that was cut off, the next hop does it, before it stops the server.
        let fourth = freeze(&site, "run", None);
        freeze(&site, "run", Some("partial-begun"));
        assert_eq!(copies(&site), frozen(&[&first, &fourth]), "private: {private}");
        // Another run takes away none that is not complete.
        let other = freeze(&site, "other", None);
        pipe(&site, &other, &["complete"], None);
        let left = if private { vec![&fourth, &other] } else { vec![&other] };
        assert_eq!(copies(&site), frozen(&left), "private: {private}");
        assert!(listed(&site).0.contains(&ids(&[&fourth])[0]));
    }
}

/// A file system of its own for the cluster's data, which goes away with it.
struct Disk(PathBuf, (String, String));

impl Disk {
    fn under(site: &Site) -> Self {
        let place = site.directory().join("disk");
        fs::create_dir(&place).unwrap();
        let text = place.to_str().unwrap();
        process::run("mount", &["-t", "tmpfs", "-o", "size=600m,mode=755", "tmpfs", text]);
        let label = site.cluster.label();
        let (major, name) = label.split_once('/').unwrap();
        let disk = Self(place.clone(), (major.to_owned(), name.to_owned()));
        let data = place.join("data");
        let from = site.cluster.data_directory();
        site.cluster.stop();
        process::run("mv", &[from.to_str().unwrap(), data.to_str().unwrap()]);
        process::run("pg_conftool", &[major, name, "set", "data_directory", data.to_str().unwrap()]);
        process::run("pg_ctlcluster", &[major, name, "start"]);
        disk
    }

    /// Leaves so many bytes free.
    fn leave(&self, bytes: u64) {
        let ballast = self.0.join("ballast");
        let _ = fs::remove_file(&ballast);
        let free = nix::sys::statvfs::statvfs(&self.0).unwrap();
        let free = free.blocks_available() * free.fragment_size();
        process::run("fallocate", &["-l", &(free - bytes).to_string(), ballast.to_str().unwrap()]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("pg_dropcluster").args(["--stop", &self.1.0, &self.1.1]).status();
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn where_room_is_short_the_copy_of_the_hop_before_goes_if_there_is_a_dump() {
    let site = Site::builder("10.5.14").build();
    let disk = Disk::under(&site);
    let mut made: Vec<Value> = Vec::new();
    for _ in 0..2 {
        made.push(freeze(&site, "run", None));
        pipe(&site, made.last().unwrap(), &["complete"], None);
    }
    let bytes: u64 = site.cluster.query("SELECT pg_database_size('mattermost')").parse().unwrap();
    let needed = bytes + bytes / 10 + (256 << 20);
    disk.leave(needed - bytes / 2);
    let third = freeze(&site, "run", None);
    assert_eq!(copies(&site), frozen(&[&made[0], &third]), "that of the first stays");
    assert!(third["backup"]["freeze"]["reason"].is_null(), "{third}");
    // Where that would make no difference, or the point has no dump yet, none goes.
    note_private(&site);
    disk.leave(needed - bytes / 2);
    let fourth = freeze(&site, "run", None);
    let reason = fourth["backup"]["freeze"]["reason"].as_str().unwrap();
    assert!(reason.contains("bytes at") && reason.contains("are free"), "{reason}");
    assert_eq!(copies(&site), frozen(&[&made[0], &third]));
}

/// Holds back every CREATE DATABASE that has begun: the server copies nothing before a checkpoint.
struct Withheld(i32);

impl Withheld {
    fn of(site: &Site) -> Self {
        let process =
            site.cluster.sql("postgres", "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'");
        let withheld = Self(process.parse().unwrap());
        withheld.send("STOP");
        withheld
    }

    fn send(&self, signal: &str) {
        process::run("kill", &["-s", signal, &self.0.to_string()]);
    }
}

impl Drop for Withheld {
    fn drop(&mut self) {
        self.send("CONT");
    }
}

/// Waits until the server makes a copy for this mm-backup.
fn begun(site: &Site) -> Child {
    let child = start(site, &FREEZE, None);
    process::wait_until("the copy to be begun", PATIENCE, || making(site) == "1");
    child
}

/// How many copies the server is making.
fn making(site: &Site) -> String {
    let active = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'CREATE DATABASE%'";
    site.cluster.sql("postgres", active)
}

fn a_copy_that_is_still_made_for_a_run_that_has_ended_is_none(major: u32) {
    let site = Site::builder("10.5.14").postgres(major).build();
    let withheld = Withheld::of(&site);
    let child = begun(&site);
    process::run("kill", &["-s", "INT", &child.id().to_string()]);
    let (code, said) = ended(child);
    assert_eq!((code, making(&site).as_str()), (Some(1), "0"), "{said}");
    assert!(copies(&site).is_empty(), "{said}");

    // A killed one can end nothing. The server ends it by itself where it can see that, from 14 on.
    let mut child = begun(&site);
    child.kill().unwrap();
    ended(child);
    if major >= 14 {
        process::wait_until("the server to see that nobody wants the copy", PATIENCE, || making(&site) == "0");
    } else {
        assert_eq!(making(&site), "1");
    }
    drop(withheld);
    let (code, said) = run(&site, &["prune", "--keep-last", "1"]);
    assert_eq!((code, making(&site).as_str()), (0, "0"), "{said}");
    assert!(copies(&site).is_empty(), "{said}");
    copy_of(&make(&site, &FREEZE));
}

#[test]
fn a_copy_that_is_still_made_for_a_run_that_has_ended_is_none_on_postgresql_13() {
    a_copy_that_is_still_made_for_a_run_that_has_ended_is_none(13);
}

#[test]
fn a_copy_that_is_still_made_for_a_run_that_has_ended_is_none_on_postgresql_15() {
    a_copy_that_is_still_made_for_a_run_that_has_ended_is_none(15);
}

/// A file system in memory, mounted until this is dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn at(place: PathBuf) -> Self {
        fs::create_dir_all(&place).unwrap();
        process::run("mount", &["-t", "tmpfs", "-o", "mode=700", "tmpfs", place.to_str().unwrap()]);
        Self(place)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_copy_of_the_store_is_not_taken_for_it() {
    let site = Site::builder("10.5.14").build();
    let numbers = |place: &Path| fs::metadata(place).map(|data| (data.dev(), data.ino())).unwrap();
    let store = site.store();
    let first = Mounted::at(store.clone());
    let id = make(&site, &FREEZE)["id"].as_str().unwrap().to_owned();
    let before = numbers(&store);
    fs::remove_dir_all(store.join(&id)).unwrap();
    // A disk that is taken in turn with another, with the same in it; the directory at its top has the same number.
    let second = Mounted::at(site.directory().join("again"));
    process::run("cp", &["-a", &format!("{}/.", store.display()), second.0.to_str().unwrap()]);
    drop(first);
    process::run("mount", &["--bind", second.0.to_str().unwrap(), store.to_str().unwrap()]);
    let _bound = Mounted(store.clone());
    let after = numbers(&store);
    assert!(before.0 != after.0 && before.1 == after.1, "{before:?}, {after:?}");
    let (code, said) = run(&site, &["prune", "-v"]);
    assert!(code == 0 && !copies(&site).is_empty() && said.contains("does not tell whether"), "{said}");
}

/// Runs a verb with the store at `store`; its exit code and what it said.
fn run_at(site: &Site, store: &Path, flags: &[&str]) -> (i32, String) {
    let output = site.tool("mm-backup").arg("--to").arg(store).args(flags).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn the_copy_of_a_store_that_was_moved_goes_when_its_point_is_complete_there() {
    let site = Site::builder("10.5.14").build();
    let (first, second) = (site.store(), site.directory().join("second"));
    let to = |from: &Path, to: &Path| {
        process::run("cp", &["-a", from.to_str().unwrap(), to.to_str().unwrap()]);
        fs::remove_dir_all(from).unwrap();
    };
    let id = make(&site, &FREEZE)["id"].as_str().unwrap().to_owned();
    to(&first, &second);
    let (code, said) = run_at(&site, &second, &["prune", "-v"]);
    assert!(code == 0 && copies(&site).len() == 1, "its database is nowhere else: {said}");
    let (code, said) = run_at(&site, &second, &["complete", &id]);
    assert_eq!(code, 0, "{said}");
    // Back under the same name, but on another disk.
    to(&second, &first);
    run_at(&site, &first, &[]);
    let (code, said) = run_at(&site, &first, &["prune", "--keep-last", "1"]);
    assert!(code == 0 && !first.join(&id).exists() && copies(&site).is_empty(), "{said}");
}

#[test]
fn the_copy_of_a_lost_store_goes_by_the_command_that_is_said() {
    let site = Site::builder("10.5.14").build();
    let copy = copy_of(&make(&site, &FREEZE));
    fs::remove_dir_all(site.store()).unwrap();
    let other = site.directory().join("other");
    let (code, said) = run_at(&site, &other, &["-v"]);
    assert!(code == 0 && copies(&site) == [copy.as_str()], "{said}");
    let line = said
        .lines()
        .find(|line| line.contains(&format!("the frozen copy {copy} stays")))
        .unwrap_or_else(|| panic!("{said}"));
    let (_, command) = line.split_once("once it is known to be: ").unwrap_or_else(|| panic!("{line}"));
    process::run("sh", &["-c", command]);
    assert!(copies(&site).is_empty());
    let (code, said) = run_at(&site, &other, &["prune", "-v", "--keep-last", "1"]);
    assert!(code == 0 && !said.contains(&copy), "{said}");
    assert_eq!(fs::read_dir(state(&site).join("frozen")).unwrap().count(), 0, "nothing speaks of it any more");
}
