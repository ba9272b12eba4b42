//! Failing system calls: no restore point is ever listed that does not verify, those before stay good, and what a
//! restore could not finish the next one does.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;

use mm_test_support::faults::{Sample, Tool};
use mm_test_support::site::Site;

use crate::tree::{assert_same, describe};
use crate::{listed, make, verify};

const FULL: &[&str] = &["ENOSPC", "EIO", "EINTR"];
const BAD: &[&str] = &["EIO", "ENOSPC"];
const DENIED: &[&str] = &["EACCES", "EIO"];

fn tool(site: &Site, arguments: &[&str]) -> Tool {
    let mut all: Vec<OsString> = site.flags().into_iter().map(Into::into).collect();
    all.extend(["--to".into(), site.store().into_os_string()]);
    all.extend(arguments.iter().map(Into::into));
    Tool::new("mm-backup", all, site.directory())
}

fn no_fault_makes_a_bad_one(site: &Site, tool: &Tool, samples: &[Sample]) {
    let faults = tool.faults(samples);
    let mut met = BTreeMap::new();
    for fault in &faults {
        // So that there is something to write again.
        fs::write(site.install().join("custom/changing"), format!("{fault:?}")).unwrap();
        let before = listed(site).0;
        let ended = tool.with(fault);
        let context = format!("{fault:?} {:?}, exit {}: {}", ended.hit, ended.code, ended.said);
        let (good, damaged) = listed(site);
        assert!(damaged.is_empty() && good.starts_with(&before), "{damaged:?} {good:?} {context}");
        if matches!(ended.code, 0 | 74) {
            assert_eq!(good.len(), before.len() + 1, "{context}");
        }
        if let Some(newest) = good.get(before.len()) {
            let (code, said) = verify(site, &[newest]);
            assert_eq!(code, 0, "{context}\n{said}");
        }
        *met.entry((ended.code, ended.hit.is_empty())).or_insert(0) += 1;
    }
    eprintln!("exit codes, and whether no call was hit: {met:?}");
    assert!(met.keys().any(|(code, missed)| *code == 1 && !missed), "no fault made it fail: {met:?}");
    let again = tool.undisturbed();
    assert_eq!(again.code, 0, "{}", again.said);
    let (code, said) = verify(site, &[]);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn a_call_that_fails_makes_no_bad_restore_point() {
    let site = Site::builder("5.29.0").build();
    let samples: [Sample; 3] = [("write", FULL, 9), ("fsync", BAD, 1), ("openat", DENIED, 8)];
    no_fault_makes_a_bad_one(&site, &tool(&site, &[]), &samples);
}

/// In every thread and program that it starts, `pg_dump` among them.
#[test]
fn a_call_that_fails_in_all_its_threads_and_programs_makes_no_bad_restore_point() {
    let site = Site::builder("5.29.0").build();
    no_fault_makes_a_bad_one(
        &site,
        &tool(&site, &[]).followed(),
        // Not write: those programs write into pipes, where it fails in none of these ways.
        &[("fsync", BAD, 4), ("renameat2", DENIED, 1)],
    );
}

#[test]
fn a_restore_that_met_a_failing_call_is_finished_by_the_next() {
    let site = Site::builder("5.29.0").build();
    let point = make(&site, &[]);
    let kept = describe(&site.install());
    let change = || {
        fs::write(site.install().join("custom/tls/server.key"), "another").unwrap();
        let _ = fs::remove_file(site.install().join("README.md"));
    };
    change();
    let tool = tool(&site, &["restore", point["id"].as_str().unwrap(), "--files"]);
    let faults = tool.faults(&[("write", FULL, 5), ("fsync", BAD, 5), ("renameat2", DENIED, 5)]);
    assert_same(&kept, &describe(&site.install()));
    let mut met = BTreeMap::new();
    for fault in &faults {
        change();
        let changed = describe(&site.install());
        let ended = tool.with(fault);
        let context = format!("{fault:?} {:?}, exit {}: {}", ended.hit, ended.code, ended.said);
        match ended.code {
            0 | 74 => assert_same(&kept, &describe(&site.install())),
            3 => {}
            _ => assert_same(&changed, &describe(&site.install())),
        }
        *met.entry((ended.code, ended.hit.is_empty())).or_insert(0) += 1;
        let again = tool.undisturbed();
        assert_eq!(again.code, 0, "run again after {context}\n{}", again.said);
        assert_same(&kept, &describe(&site.install()));
    }
    eprintln!("exit codes, and whether no call was hit: {met:?}");
    assert!(met.keys().any(|(code, missed)| *code != 0 && !missed), "no fault made it fail: {met:?}");
}
