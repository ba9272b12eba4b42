//! A restore point made while people write.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use mm_test_support::process;
use mm_test_support::site::Site;
use mm_test_support::tool;
use serde_json::Value;

use crate::{make, stored, verify};

/// As the server does it: the file first, then the rows that name it.
fn write_posts(site: &Site, stop: &AtomicBool, written: &AtomicU32) {
    let directory = site.install().join("data/upload");
    fs::create_dir_all(&directory).unwrap();
    while !stop.load(Ordering::Relaxed) {
        let number = written.load(Ordering::Relaxed);
        let name = format!("file-{number}");
        fs::write(directory.join(&name), format!("contents of {name}").repeat(1000)).unwrap();
        let id = format!("{number:026}");
        site.cluster.query(&format!(
            "BEGIN;
             INSERT INTO fileinfo SELECT (jsonb_populate_record(f, jsonb_build_object('id', '{id}', 'postid', '{id}', 'path', 'upload/{name}'))).*
               FROM fileinfo f LIMIT 1;
             INSERT INTO posts SELECT (jsonb_populate_record(p, jsonb_build_object('id', '{id}', 'message', '{name}'))).*
               FROM posts p LIMIT 1;
             COMMIT"
        ));
        written.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn every_post_in_it_has_its_file() {
    let site = Site::builder("5.29.0").running().build();
    let (stop, written) = (AtomicBool::new(false), AtomicU32::new(0));
    let (backup, before, after) = std::thread::scope(|scope| {
        scope.spawn(|| write_posts(&site, &stop, &written));
        process::wait_until("some posts", Duration::from_secs(60), || written.load(Ordering::Relaxed) > 5);
        let before = written.load(Ordering::Relaxed);
        let backup = make(&site, &[]);
        let after = written.load(Ordering::Relaxed);
        stop.store(true, Ordering::Relaxed);
        (backup, before, after)
    });
    assert!(after > before, "nothing was written while the restore point was made");
    assert_eq!(backup["cold"], false);
    let (code, said) = verify(&site, &["--restore"]);
    assert_eq!(code, 0, "{said}");

    let output =
        site.tool("mm-backup").arg("--to").arg(site.store()).args(["restore", "latest", "--stop"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let posts: u32 = site.cluster.query("SELECT count(*) FROM posts").trim().parse().unwrap();
    assert!((100 + before..=100 + after).contains(&posts), "{before} {posts} {after}");
    let manifest = fs::read_to_string(backup["manifest"].as_str().unwrap()).unwrap();
    let (head, _) = manifest.split_once("\"entries\": [").unwrap();
    let head: Value = serde_json::from_str(&format!("{}}}", head.trim_end().trim_end_matches(','))).unwrap();
    assert_eq!(head["database"]["tables"]["public.posts"]["rows"], posts);
    let paths = site.cluster.query("SELECT path FROM fileinfo WHERE path LIKE 'upload/%'");
    assert!(paths.lines().count() > 5);
    for path in paths.lines() {
        let file = site.install().join("data").join(path);
        let contents = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let name = Path::new(path).file_name().unwrap().to_str().unwrap();
        assert_eq!(contents, format!("contents of {name}").repeat(1000));
    }
}

#[test]
fn what_vanishes_and_what_no_copy_can_hold_is_left_out_and_said() {
    let site = Site::builder("5.29.0").build();
    let custom = site.install().join("custom");
    fs::write(custom.join("vanishing"), "soon gone").unwrap();
    nix::unistd::mkfifo(&custom.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    // It is listed and looked at, and gone when it is to be opened.
    let output = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "-P", "vanishing", "-e", "inject=openat:error=ENOENT"])
        .arg(tool::executable("mm-backup"))
        .args(site.flags())
        .args(["-v", "--no-database", "--format", "json", "--to"])
        .arg(site.store())
        .env_clear()
        .env("PATH", process::PATH)
        .stdin(Stdio::null())
        .output()
        .expect("strace is not installed: scripts/prepare");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    for words in ["custom/vanishing`: it vanished", "custom/fifo`: it is a socket, a fifo or a device"] {
        assert!(said.contains(words), "`{words}` is not said: {said}");
    }
    let backup: Value = serde_json::from_slice::<Value>(&output.stdout).unwrap()["backup"].clone();
    assert!(!stored(&site, &backup, "custom/vanishing").exists());
    assert!(fs::read_to_string(backup["manifest"].as_str().unwrap()).unwrap().contains("custom/vanishing"));
    let (code, said) = verify(&site, &[]);
    assert_eq!(code, 0, "{said}");
}

/// Writes into a file until told to stop. It is so large that it cannot be read between two writes.
fn rewrite(path: &Path, stop: &AtomicBool) {
    fs::write(path, vec![b'x'; 32 << 20]).unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    let mut number = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        file.write_at(format!("{number:20}").as_bytes(), number * 4096 % (32 << 20)).unwrap();
        number += 1;
    }
}

#[test]
fn a_log_that_grows_is_stored_and_a_file_that_never_rests_is_a_failure() {
    let site = Site::builder("5.29.0").build();
    let log = site.install().join("logs/busy.log");
    let restless = site.install().join("custom/restless");
    for (path, code) in [(&log, 0), (&restless, 1)] {
        let stop = AtomicBool::new(false);
        let output = std::thread::scope(|scope| {
            scope.spawn(|| rewrite(path, &stop));
            let is_there = || fs::metadata(path).is_ok_and(|data| data.len() == 32 << 20);
            process::wait_until("the file", Duration::from_secs(60), is_there);
            let run = site.tool("mm-backup").arg("--to").arg(site.store()).arg("--no-database").output().unwrap();
            stop.store(true, Ordering::Relaxed);
            run
        });
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{}: {said}", path.display());
        assert!(code == 0 || said.contains("custom/restless"), "{said}");
    }
    let (code, said) = verify(&site, &[]);
    assert_eq!(code, 0, "the digest is that of what was stored: {said}");
    let points = fs::read_dir(site.store()).unwrap().flatten();
    let manifests: Vec<_> =
        points.map(|point| fs::read_to_string(point.path().join("manifest.json")).unwrap()).collect();
    assert_eq!(manifests.len(), 1);
    let line = manifests[0].lines().find(|line| line.contains("busy.log")).unwrap();
    assert!(line.contains("\"changed\":true"), "{line}");
}
