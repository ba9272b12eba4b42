//! No way back: mm-swap stops half-way, says so with exit code 3, and goes on once a person has fixed what it names.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use mm_test_support::process::{TEST_USER, ids};
use mm_test_support::site::{Site, quick};
use mm_test_support::tool::PACE;
use serde_json::Value;

use super::{FROM, TO, tree};

/// A release whose server migrates the database.
const NEXT: &str = "10.6.1";

fn write(path: &Path, text: &str) -> PathBuf {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_owned()
}

/// Commands of the administrator. The second start and those after it fail until the file `fixed` is there.
fn commands(site: &Site) -> [String; 2] {
    let (place, root) = (site.directory().display(), site.install());
    let (uid, gid) = ids(TEST_USER);
    let start = format!(
        "#!/bin/sh\necho start >>{place}/starts\n\
         [ \"$(wc -l <{place}/starts)\" -le 1 ] || [ -e {place}/fixed ] || {{ echo 'the fan is stuck' >&2; exit 7; }}\n\
         cd {root} && setsid setpriv --reuid {uid} --regid {gid} --clear-groups {root}/bin/mattermost \
         >>{place}/console.log 2>&1 </dev/null &\n",
        root = root.display(),
    );
    let stop = format!(
        "#!/bin/sh\nfor p in /proc/[0-9]*; do case $(readlink $p/exe) in {place}/opt/*) kill ${{p#/proc/}} ;; esac; done\n"
    );
    [("stop", stop), ("start", start)]
        .map(|(name, text)| write(&site.directory().join(name), &text).display().to_string())
}

fn swap(site: &Site, words: &[&str]) -> Output {
    let [stop, start] = commands(site);
    let mut command = mm_test_support::tool::tool("mm-swap");
    command.args(words).arg("--install").arg(site.install()).arg("--state-dir").arg(site.state());
    command.args(["--stop-command", &stop, "--start-command", &start]).output().unwrap()
}

fn document(output: &Output, code: i32) -> Value {
    assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn an_old_server_that_does_not_start_again_needs_a_person_and_then_one_recovery() {
    let site = Site::builder(FROM).running().build();
    let old = tree::of(&site.install());
    let archive = quick(TO).fault("crash-at-start").build().tarball;
    let output = swap(&site, &["run", "--no-backup", "--start-timeout", "120", "--archive", archive.to_str().unwrap()]);
    let error = document(&output, 3)["error"].clone();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((&error["code"], &error["kind"]), (&3.into(), &"half-done".into()));
    assert!(error["causes"].to_string().contains("the fan is stuck"), "{error}");
    let hint = error["hint"].as_str().unwrap();
    let root = site.install();
    assert!(hint.contains(&format!("mm-swap recover --install {}", root.display())), "{hint}");
    let journal = hint.split('`').nth(1).unwrap();
    assert!(journal.ends_with("/swap.journal") && Path::new(journal).is_file(), "{hint}");
    assert!(said.contains("hint:"), "{said}");

    // The release is the old one already; only its server is missing, and every run says so until it is there.
    assert_eq!(tree::released(&tree::of(&root)), tree::released(&old));
    let status = document(&swap(&site, &["status", "--format", "json"]), 0);
    assert_ne!(status["status"]["interrupted"], Value::Null);
    document(&swap(&site, &["recover"]), 3);

    std::fs::write(site.directory().join("fixed"), "").unwrap();
    document(&swap(&site, &["recover"]), 0);
    assert_eq!(site.running_version().as_deref(), Some(FROM));
    assert_eq!(tree::users(&tree::of(&root)), tree::users(&old));
    assert!(!Path::new(journal).exists());
    let status = document(&swap(&site, &["status", "--format", "json"]), 0);
    assert_eq!(status["status"]["interrupted"], Value::Null);
}

#[test]
fn a_migrated_database_without_a_restore_point_leaves_the_way_forward() {
    let site = Site::builder(FROM).running().build();
    let (history, files) = (site.history(), site.user_files());
    let swap = |order: mm_test_support::release::Order, code: i32| {
        let archive = order.build().tarball;
        let mut command = site.tool("mm-swap");
        command.args(["run", "--no-backup", "--start-timeout", "120", "--archive"]).arg(archive).env_remove(PACE.0);
        document(&command.output().unwrap(), code)
    };
    // The same way twice: the second failure does not take the migrated schema for the one to go back to.
    for _ in 0..2 {
        let error = swap(quick(NEXT).fault("crash-after-listening=2"), 3)["error"].clone();
        assert!(error["causes"].to_string().contains("no restore point to go back to"), "{error}");
        let hint = error["hint"].as_str().unwrap();
        assert!(hint.contains(&format!("stay on {NEXT}")) && hint.contains("swap.journal"), "{hint}");
        assert!(site.pids().is_empty(), "the old server runs on a database that is not its own");
    }
    // Another release is no way out of it.
    swap(quick(TO), 3);
    assert!(site.pids().is_empty(), "a server runs on a database that is not its own");

    swap(quick(NEXT), 0);
    assert_eq!(site.running_version().as_deref(), Some(NEXT));
    assert_eq!((site.history(), site.user_files()), (history, files));
    let status = site.tool("mm-swap").args(["status", "--format", "json"]).output().unwrap();
    assert_eq!(document(&status, 0)["status"]["interrupted"], Value::Null);
}
