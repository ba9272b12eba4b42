//! mm-swap with failing system calls: whatever the kernel refuses, the release is wholly the old or wholly the new one,
//! nothing of the user's is lost, and the next run arrives.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use mm_test_support::faults::Tool;
use mm_test_support::release::Release;
use mm_test_support::site::{Site, quick};

/// Two patches of one line: the schema is the same, so one site serves for all.
const FROM: &str = "10.5.12";
const TO: &str = "10.5.14";

const FULL: &[&str] = &["ENOSPC", "EIO", "EINTR"];
const BAD: &[&str] = &["EIO", "ENOSPC"];
const DENIED: &[&str] = &["EACCES", "EIO"];

fn swap(site: &Site, release: &Release, flags: &[&str]) -> Tool {
    let mut arguments: Vec<OsString> = site.flags().into_iter().map(Into::into).collect();
    arguments.extend(["--no-backup", "--start-timeout", "20"].map(Into::into));
    arguments.extend(flags.iter().map(Into::into));
    arguments.extend(["--archive".into(), release.tarball.clone().into()]);
    Tool::new("mm-swap", arguments, site.directory())
}

/// Every file and link below the install root but the logs, with its digest or target.
fn tree(site: &Site) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    collect(&site.install(), &site.install(), &mut found);
    found
}

fn collect(root: &Path, path: &Path, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(path).unwrap().flatten() {
        let path = entry.path();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() && name != "logs" {
            collect(root, &path, found);
        } else if kind.is_file() {
            found.insert(name, mm_common::contract::digest::of_bytes(&std::fs::read(&path).unwrap()));
        } else if kind.is_symlink() {
            found.insert(name, std::fs::read_link(&path).unwrap().display().to_string());
        }
    }
}

fn go_back(site: &Site) {
    site.tool("mm-swap").arg("rollback").assert().success();
    site.tool("mm-swap").args(["prune", "--keep", "0"]).assert().success();
}

/// What the exit code promises of the release that stands there now; `None` when it leaves that to a recovery.
fn promised(code: i32) -> Option<&'static str> {
    match code {
        0 | 74 => Some(TO),
        3 => None,
        _ => Some(FROM),
    }
}

/// Nobody starts a server here, so the install root has to be the old or the new one to the last byte.
#[test]
fn with_the_server_stopped_the_tree_is_the_old_or_the_new_one() {
    let site = Site::builder(FROM).build();
    let release = quick(TO).build();
    let tool = swap(&site, &release, &["--no-start"]).followed();
    let old = tree(&site);
    let faults = tool.faults(&[
        ("write", FULL, 7),
        ("fsync", BAD, 10),
        ("syncfs", BAD, 2),
        ("rename", DENIED, 5),
        ("renameat2", DENIED, 4),
    ]);
    let new = tree(&site);
    assert_ne!(old, new);
    go_back(&site);
    assert_eq!(tree(&site), old);

    let mut met = BTreeMap::new();
    for fault in &faults {
        let ended = tool.with(fault);
        let context = format!("{fault:?} {:?}, exit {}: {}", ended.hit, ended.code, ended.said);
        let now = tree(&site);
        match promised(ended.code) {
            Some(FROM) => assert!(now == old, "not the old one: {context}"),
            Some(_) => assert!(now == new, "not the new one: {context}"),
            None => drop(site.tool("mm-swap").arg("recover").assert().success()),
        }
        *met.entry((ended.code, ended.hit.is_empty())).or_insert(0) += 1;
        if !(now == new && ended.code == 0) {
            let again = tool.undisturbed();
            assert_eq!(again.code, 0, "run again after {context}\n{}", again.said);
            assert!(tree(&site) == new, "run again after {context}");
        }
        go_back(&site);
        assert!(tree(&site) == old, "gone back after {context}");
    }
    eprintln!("exit codes, and whether no call was hit: {met:?}");
    assert!(met.keys().any(|(code, missed)| *code == 1 && !missed), "no fault made it fail: {met:?}");
}

#[test]
fn with_the_server_running_a_server_runs_and_nothing_is_lost() {
    let site = Site::builder(FROM).running().build();
    let release = quick(TO).build();
    let tool = swap(&site, &release, &[]);
    let (history, files) = (site.history(), site.user_files());
    let mut faults = tool.faults(&[("fsync", BAD, 4), ("rename", DENIED, 3), ("renameat2", DENIED, 3)]);
    // The first of each come before the server is stopped, and are tried with a stopped one too.
    faults.retain(|fault| fault.when > 1);
    go_back(&site);

    let mut codes = BTreeMap::new();
    for fault in &faults {
        let ended = tool.with(fault);
        let context = format!("{fault:?} {:?}, exit {}: {}", ended.hit, ended.code, ended.said);
        let expected = promised(ended.code).unwrap_or_else(|| {
            site.tool("mm-swap").args(["recover", "--start-timeout", "20"]).assert().success();
            TO
        });
        assert_eq!(site.running_version().as_deref(), Some(expected), "{context}");
        assert_eq!((site.history(), site.user_files()), (history.clone(), files.clone()), "{context}");
        *codes.entry(ended.code).or_insert(0) += 1;
        if expected == FROM {
            let again = tool.undisturbed();
            assert_eq!(again.code, 0, "run again after {context}\n{}", again.said);
            assert_eq!(site.running_version().as_deref(), Some(TO), "run again after {context}");
        }
        go_back(&site);
    }
    eprintln!("exit codes: {codes:?}");
    assert!(codes.contains_key(&6), "no fault made it go back: {codes:?}");
}
