//! What no ordinary server has, and anybody who may write into its data can make.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use mm_common::machine::tree::Dir;
use mm_test_support::process;
use mm_test_support::site::Site;
use mm_test_support::tool;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::interruptions::{PATIENCE, leftovers, start};
use crate::{listed, make, verify};

/// A directory so many levels below `top`, with a file of the longest name; its path is longer than the kernel takes.
fn dig(top: &Path, levels: usize) {
    fs::create_dir(top).unwrap();
    let mut dir = Dir::open(top).unwrap();
    for level in 0..levels {
        dir = dir.create_directory(OsStr::new(&format!("level-{level}"))).unwrap();
    }
    dir.create_file(OsStr::new(&"n".repeat(255))).unwrap().write_all(b"at the bottom").unwrap();
}

/// What is in the file at the bottom.
fn at_the_bottom(top: &Path, levels: usize) -> Vec<u8> {
    let below: std::path::PathBuf = (0..levels).map(|level| format!("level-{level}")).collect();
    let dir = Dir::open(top).unwrap().descend(&below).unwrap().unwrap();
    dir.read(OsStr::new(&"n".repeat(255)), 100).unwrap()
}

#[test]
fn a_tree_deeper_than_any_path_is_stored_proven_exported_restored_and_pruned() {
    const LEVELS: usize = 1000;
    let site = Site::builder("5.29.0").build();
    let data = site.install().join("data/deep");
    dig(&data, LEVELS);
    make(&site, &[]);
    assert_eq!(verify(&site, &[]).0, 0);
    let exported = tool::shell("set -o pipefail; mm-backup export --to \"$store\" | tar -t | grep -c /level-999/nnnn")
        .env("store", site.store())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&exported.stdout).trim(), "1", "{exported:?}");

    let into = site.directory().join("into");
    let restore = |flags: &[&str]| site.tool("mm-backup").arg("--to").arg(site.store()).args(flags).assert().success();
    restore(&["restore", "latest", "--files", "--into", into.to_str().unwrap()]);
    let restored = into.join(data.strip_prefix("/").unwrap());
    assert_eq!(at_the_bottom(&restored, LEVELS), b"at the bottom");
    restore(&["restore", "latest", "--files", "--stop"]);
    assert_eq!(at_the_bottom(&data, LEVELS), b"at the bottom");
    restore(&["prune"]);

    make(&site, &["--keep-last", "1"]);
    assert_eq!(listed(&site).0.len(), 1);
    assert!(leftovers(&site).is_empty(), "{:?}", leftovers(&site));
    assert_eq!(verify(&site, &[]).0, 0);
    process::run("rm", &["-rf", site.install().to_str().unwrap(), site.store().to_str().unwrap()]);
    process::run("rm", &["-rf", into.to_str().unwrap()]);
}

#[test]
fn a_tree_that_is_too_deep_is_refused_and_leaves_nothing() {
    let site = Site::builder("5.29.0").build();
    let first = make(&site, &[])["id"].as_str().unwrap().to_owned();
    let data = site.install().join("data/deep");
    dig(&data, 1100);
    // What an earlier run may have left is as deep.
    let left = format!(".partial-20200101T000000Z.4194304.1.{}", "0".repeat(32));
    fs::create_dir_all(site.store().join(&left)).unwrap();
    dig(&site.store().join(&left).join("deep"), 1100);
    let output = site.tool("mm-backup").arg("--to").arg(site.store()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("too deep") && said.contains("--exclude"), "{said}");
    assert!(leftovers(&site).is_empty(), "{:?}", leftovers(&site));
    make(&site, &["--exclude", "data/deep"]);
    assert_eq!(listed(&site).0.len(), 2);
    assert_eq!(verify(&site, &[&first]).0, 0);
    process::run("rm", &["-rf", data.to_str().unwrap()]);
}

#[test]
fn a_signal_ends_the_reading_of_one_huge_file() {
    let site = Site::builder("5.29.0").build();
    let huge = fs::File::create(site.install().join("data/huge")).unwrap();
    // Minutes of reading, and no byte on the disk: as much as a backup takes of holes.
    huge.set_len(120 << 30).unwrap();
    let mut backup = start(&site, &[], None);
    let pid = Pid::from_raw(backup.id().cast_signed());
    let is_read = || {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|path| path.ends_with("data/huge"))
    };
    process::wait_until("the huge file to be read", PATIENCE, is_read);
    kill(pid, Signal::SIGTERM).unwrap();
    process::wait_until("the run to end", PATIENCE, || backup.try_wait().unwrap().is_some());
    assert_eq!(backup.wait().unwrap().code(), Some(1));
    assert!(!site.store().exists(), "something is left of it");
}
