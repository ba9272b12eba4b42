//! `--stop` stores what it can while the server still runs, and the restore point is what was there when it had stopped.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use mm_test_support::process::{self, TEST_USER};
use mm_test_support::site::Site;
use mm_test_support::tool;
use serde_json::Value;

use crate::tree::{assert_same, describe};
use crate::{make, stored, verify};

/// What users and the server do between the first pass and the end of the server; then it ends. `marker` says when.
fn stop_command(site: &Site, marker: &str) -> String {
    let insert = "INSERT INTO posts SELECT made.* FROM (SELECT * FROM posts LIMIT 1) p, jsonb_populate_record(NULL::posts, \
                  to_jsonb(p) || jsonb_build_object('id', repeat('z', 26), 'message', 'written at the last moment')) made";
    let script = format!(
        r#"#!/bin/sh
set -e
touch '{marker}'
cd '{install}'
echo late >data/late
touch -r data/rewritten '{place}/reference'
printf 'other' >data/rewritten
touch -r '{place}/reference' data/rewritten
rm custom/gone
rm -r custom/directory
echo file >custom/directory
rm custom/file
mkdir -p custom/file/below
echo inner >custom/file/below/inner
chmod 640 data/mode
ln data/one data/two
mv data/moved data/elsewhere
ln -sfn /no/such/place custom/link
psql -qX -v ON_ERROR_STOP=1 '{url}' -c "{insert}"
for p in /proc/[0-9]*; do case $(readlink $p/exe) in {place}/opt/*) kill ${{p#/proc/}} ;; esac; done
"#,
        install = site.install().display(),
        place = site.directory().display(),
        url = site.cluster.url(),
    );
    let path = site.directory().join("stop");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

fn furnish(site: &Site) {
    let root = site.install();
    fs::create_dir_all(root.join("custom/directory/deep")).unwrap();
    for (path, text) in [
        ("data/rewritten", "first"),
        ("data/mode", "mode"),
        ("data/one", "one"),
        ("data/moved", "moved"),
        ("custom/quiet", "quiet"),
        ("custom/gone", "gone"),
        ("custom/directory/deep/inner", "inner"),
        ("custom/file", "file"),
    ] {
        fs::write(root.join(path), text).unwrap();
    }
    fs::hard_link(root.join("custom/quiet"), root.join("custom/second name")).unwrap();
    std::os::unix::fs::symlink("/some/where", root.join("custom/link")).unwrap();
    process::run("chown", &["-hR", &format!("{TEST_USER}:{TEST_USER}"), root.join("custom").to_str().unwrap()]);
}

fn stop_and_make(site: &Site, marker: &str, flags: &[&str]) -> Value {
    let mut command = tool::tool("mm-backup");
    command.arg("--install").arg(site.install()).arg("--state-dir").arg(site.state()).arg("--to").arg(site.store());
    command.args(["--stop", "--leave-stopped", "--start-command", "false", "--stop-command"]);
    let output = command.arg(stop_command(site, marker)).args(flags).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    document["backup"].clone()
}

/// The restore point is the stopped state, and what did not change had been stored before.
fn the_point_is_the_stopped_state(site: &Site, flags: &[&str]) -> Value {
    let marker = site.directory().join("marker");
    let backup = stop_and_make(site, marker.to_str().unwrap(), flags);
    assert!(site.pids().is_empty());
    assert_eq!(verify(site, &[backup["id"].as_str().unwrap()]).0, 0);
    let there = site.directory().join("restored");
    let words = ["restore", "latest", "--files", "--into", there.to_str().unwrap()];
    site.tool("mm-backup").arg("--to").arg(site.store()).args(words).assert().success();
    let restored = there.join(site.install().strip_prefix("/").unwrap());
    assert_same(&describe(&site.install()), &describe(&restored));
    assert_same(&describe(&restored), &describe(&site.install()));
    let dump = PathBuf::from(backup["path"].as_str().unwrap()).join("database/mattermost.dump");
    let rows = process::run("pg_restore", &["--file=-", "--data-only", "--table=posts", dump.to_str().unwrap()]);
    assert!(rows.contains("written at the last moment"));
    let of = |below: &str| fs::metadata(stored(site, &backup, below)).unwrap();
    let stopped = fs::metadata(&marker).unwrap().modified().unwrap();
    // What was stored for an earlier restore point gets another name, which is the last that changes it.
    let untouched = of("bin/mattermost");
    let last = UNIX_EPOCH + Duration::from_secs(untouched.ctime().unsigned_abs());
    let last = last + Duration::from_nanos(untouched.ctime_nsec().unsigned_abs());
    assert!(last < stopped, "a file that did not change was stored before the stop");
    assert!(of("data/rewritten").created().unwrap() > stopped, "a file that did was stored after it");
    backup
}

#[test]
fn what_happens_between_the_first_pass_and_the_stop_is_in_the_restore_point() {
    let site = Site::builder("5.29.0").running().build();
    furnish(&site);
    the_point_is_the_stopped_state(&site, &[]);
}

#[test]
fn so_it_is_where_most_is_linked_to_the_restore_point_before() {
    let site = Site::builder("5.29.0").running().build();
    furnish(&site);
    make(&site, &[]);
    let backup = the_point_is_the_stopped_state(&site, &["--jobs", "1"]);
    let manifest = fs::read(backup["manifest"].as_str().unwrap()).unwrap();
    let totals = serde_json::from_slice::<Value>(&manifest).unwrap()["totals"].clone();
    assert!(totals["linked"].as_u64().unwrap() > 10, "{totals}");
}
