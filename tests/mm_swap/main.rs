//! mm-swap from outside, on servers of the stand-in with a real PostgreSQL.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test fails by panicking, and its files need not outlive a power cut"
)]

#[cfg(feature = "checkpoints")]
mod again;
#[cfg(feature = "checkpoints")]
mod back;
mod faults;
mod frozen;
mod hard;
#[cfg(feature = "checkpoints")]
mod killed;
mod ruin;
mod sites;
#[cfg(feature = "checkpoints")]
mod stopped;
mod systemd;
mod verbs;
#[cfg(feature = "checkpoints")]
mod whole;
#[cfg(feature = "checkpoints")]
mod whole_moved;

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;
use std::process::Output;

use mm_common::contract::version::Edition;
use mm_common::mattermost::manifest::Manifest;
use mm_test_support::process::run;
use mm_test_support::release::{Order, Release};
use mm_test_support::site::{Site, quick};
use mm_test_support::tool::PACE;
use serde_json::Value;

/// Two patches of one line: the schema is the same.
const FROM: &str = "10.5.12";
const TO: &str = "10.5.14";

/// What one run said.
struct Said {
    code: Option<i32>,
    stderr: String,
    document: Value,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            document: serde_json::from_slice(&output.stdout).unwrap_or_default(),
        }
    }
}

impl Said {
    fn with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        self
    }
}

fn swap(site: &Site, release: &Release, more: &[&str]) -> Said {
    site.tool("mm-swap").arg("--archive").arg(&release.tarball).arg("--no-backup").args(more).output().unwrap().into()
}

fn verb(site: &Site, words: &[&str]) -> Said {
    site.tool("mm-swap").args(words).output().unwrap().into()
}

/// Inode numbers of everything of the user's.
fn inodes(site: &Site) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for top in ["config", "data", "logs", "plugins", "client/plugins", "custom", "bin/backup.sh", "notes.txt"] {
        collect(&site.install(), &site.install().join(top), &mut found);
    }
    found
}

fn collect(root: &Path, path: &Path, found: &mut BTreeMap<String, u64>) {
    let Ok(data) = std::fs::symlink_metadata(path) else { return };
    found.insert(path.strip_prefix(root).unwrap().display().to_string(), data.ino());
    if data.is_dir() {
        for entry in std::fs::read_dir(path).unwrap().flatten() {
            collect(root, &entry.path(), found);
        }
    }
}

/// Things of the user's in the middle of the release's directories.
fn add_things_of_the_user(site: &Site) {
    let root = site.install();
    std::fs::write(root.join("bin/backup.sh"), "#!/bin/sh\n").unwrap();
    std::fs::write(root.join("notes.txt"), "mine\n").unwrap();
    std::fs::create_dir_all(root.join("client/plugins/com.example")).unwrap();
    std::fs::write(root.join("client/plugins/com.example/main.js"), "mine\n").unwrap();
    symlink("/nowhere", root.join("templates/link-of-mine")).unwrap();
}

/// The digest of everything that stands where a release has it.
fn release_files(site: &Site) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for top in ["bin/mattermost", "i18n", "fonts", "README.md", "manifest.txt"] {
        digests(&site.install(), &site.install().join(top), &mut found);
    }
    found
}

fn digests(root: &Path, path: &Path, found: &mut BTreeMap<String, String>) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap().flatten() {
            digests(root, &entry.path(), found);
        }
    } else if let Ok(bytes) = std::fs::read(path) {
        found.insert(
            path.strip_prefix(root).unwrap().display().to_string(),
            mm_common::contract::digest::of_bytes(&bytes),
        );
    }
}

#[test]
fn a_release_named_by_its_archive_alone_is_installed_and_can_be_taken_back() {
    let site = Site::builder(FROM).running().build();
    add_things_of_the_user(&site);
    let server = site.install().join("bin/mattermost");
    run("setcap", &["cap_net_bind_service=+ep", server.to_str().unwrap()]);
    let (history, files, config) = (site.history(), site.user_files(), site.config());
    let (before, old) = (inodes(&site), release_files(&site));
    let release = quick(TO).build();

    let dry = swap(&site, &release, &["--dry-run"]).with(0);
    assert!(!dry.document["swap"]["exchanged"].as_array().unwrap().is_empty());
    assert_eq!(site.running_version().as_deref(), Some(FROM));
    assert!(!site.directory().join("opt/.mattermost.mm").exists(), "a dry run left something");

    let done = swap(&site, &release, &[]).with(0);
    assert_eq!(done.document["swap"]["from"], FROM);
    assert_eq!(done.document["swap"]["to"], TO);
    assert_eq!(done.document["changed"], true);
    assert_eq!(site.running_version().as_deref(), Some(TO));
    assert_eq!((site.history(), site.user_files()), (history.clone(), files.clone()));
    let after = inodes(&site);
    assert!(before.iter().all(|(path, inode)| after.get(path) == Some(inode)), "{before:#?}\n{after:#?}");
    assert_ne!(release_files(&site), old);
    let (uid, gid) = mm_test_support::process::ids(mm_test_support::process::TEST_USER);
    assert!(run("getcap", &[server.to_str().unwrap()]).contains("cap_net_bind_service=ep"), "the capability is lost");
    for path in ["bin/mattermost", "client", "i18n/en.json"] {
        let data = std::fs::symlink_metadata(site.install().join(path)).unwrap();
        assert_eq!((data.uid(), data.gid()), (uid, gid), "{path}");
    }

    let again = swap(&site, &release, &[]).with(0);
    assert_eq!(again.document["changed"], false);
    assert_eq!(verb(&site, &["status", "--format", "json"]).with(0).document["status"]["installed"], TO);

    verb(&site, &["rollback"]).with(0);
    assert_eq!(site.running_version().as_deref(), Some(FROM));
    assert_eq!(release_files(&site), old);
    assert_eq!((site.history(), site.user_files(), site.config()), (history, files, config));
    assert_eq!(inodes(&site).keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());

    let pids = site.pids();
    for _ in 0..2 {
        for words in
            [&["rollback"][..], &["rollback", "--database"], &["rollback", "--dry-run"], &["rollback", "--to", FROM]]
        {
            assert_eq!(verb(&site, words).with(0).document["changed"], false, "{words:?}");
        }
        verb(&site, &["prune", "--keep", "0"]).with(0);
        let area = site.directory().join("opt/.mattermost.mm");
        assert_eq!(std::fs::read_dir(area).unwrap().count(), 0);
        let status = verb(&site, &["status", "--format", "json"]).with(0);
        assert_eq!(status.document["status"]["kept"], serde_json::json!([]));
    }
    let refused = verb(&site, &["rollback", "--to", "10.5.1"]).with(5);
    assert!(refused.document["error"].to_string().contains("no swap of this installation is on record"));
    assert_eq!(site.pids(), pids, "the server was stopped");
}

/// The release in a directory with its manifest beside it, as mm-fetch leaves it.
fn fetched(site: &Site, release: &Release) -> Release {
    let place = site.directory().join("fetched");
    std::fs::create_dir_all(&place).unwrap();
    let tarball = place.join(release.tarball.file_name().unwrap());
    std::fs::copy(&release.tarball, &tarball).unwrap();
    let version = release.version.parse().unwrap();
    let manifest = Manifest::of_archive(&tarball, &version, Edition::Team, &release.sha256).unwrap();
    manifest.write(&place.join("manifest.json")).unwrap();
    Release { tarball, ..release.clone() }
}

/// A broken release is tried; afterwards the old one runs as before.
fn fails(faults: &[&str], more: &[&str]) -> Said {
    let site = Site::builder(FROM).running().build();
    let (history, files, config, old) = (site.history(), site.user_files(), site.config(), release_files(&site));
    let release = fetched(&site, &faults.iter().fold(quick(TO), |order, fault| order.fault(fault)).build());
    let mut command = site.tool("mm-swap");
    command.arg("--archive").arg(&release.tarball).args(["--no-backup", "--start-timeout", "10"]).args(more);
    // Whether it stays is seen at the real pace only.
    if faults.iter().any(|fault| fault.starts_with("crash-after-listening")) {
        command.env_remove(PACE.0);
    }
    let said = Said::from(command.output().unwrap()).with(6);
    assert_eq!(said.document["error"]["kind"], "rolled-back");
    assert_eq!(said.document["failed"], true);
    assert_eq!(site.running_version().as_deref(), Some(FROM));
    assert_eq!((site.history(), site.user_files(), site.config()), (history, files, config));
    assert_eq!(release_files(&site), old);
    assert_eq!(verb(&site, &["status", "--format", "json"]).with(0).document["status"]["interrupted"], Value::Null);
    said
}

#[test]
fn a_server_that_crashes_at_its_start_is_rolled_back() {
    fails(&["crash-at-start"], &[]);
}

#[test]
fn a_server_that_crashes_soon_after_its_start_is_rolled_back() {
    fails(&["crash-after-listening=2"], &[]);
}

#[test]
fn a_server_that_crashes_soon_after_a_slow_start_is_rolled_back() {
    fails(&["hang-before-listening=3", "crash-after-listening=2"], &[]);
}

#[test]
fn a_server_that_never_listens_is_rolled_back() {
    let said = fails(&["hang-before-listening"], &[]);
    assert!(said.stderr.contains("did not get healthy in time"), "{}", said.stderr);
}

#[test]
fn a_failed_server_that_does_not_stop_is_killed_and_rolled_back() {
    let said = fails(&["wrong-version=9.9.9", "ignore-sigterm=3600"], &[]);
    assert!(said.stderr.contains("it is killed"), "{}", said.stderr);
}

#[test]
fn a_server_of_another_version_than_its_release_is_rolled_back() {
    let said = fails(&["wrong-version=9.9.9"], &[]);
    assert!(said.stderr.contains("is of another version"), "{}", said.stderr);
}

#[test]
fn a_server_that_refuses_the_database_is_rolled_back() {
    fails(&["refuse-database"], &[]);
}

#[test]
fn a_private_start_that_fails_leaves_a_public_server() {
    fails(&["crash-at-start"], &["--private"]);
}

#[test]
fn a_private_hop_is_made_public_by_publish() {
    let site = Site::builder(FROM).running().build();
    let config = std::fs::read(site.config_path()).unwrap();
    let said = swap(&site, &quick(TO).build(), &["--private"]).with(0);
    let address = said.document["swap"]["private_address"].as_str().unwrap().to_owned();
    assert!(address.starts_with("http://127.0.0.1:") && !address.ends_with(&site.port.to_string()), "{address}");
    assert!(!site.answers(), "users can get in");
    verb(&site, &["publish"]).with(0);
    assert_eq!(site.running_version().as_deref(), Some(TO));
    assert_eq!(verb(&site, &["publish"]).with(0).document["changed"], false);
    assert_eq!(std::fs::read(site.config_path()).unwrap(), config, "a private hop left a trace");
}

#[test]
fn a_port_that_somebody_else_holds_is_noticed_before_the_new_server_migrates() {
    let site = Site::builder(FROM).build();
    let _held = std::net::TcpListener::bind(("127.0.0.1", site.port)).unwrap();
    let old = release_files(&site);
    let said = swap(&site, &quick(TO).build(), &[]).with(6);
    assert!(said.stderr.contains("another program listens there"), "{}", said.stderr);
    assert_eq!(release_files(&site), old);
    assert!(site.pids().is_empty(), "it did not run before");
}

#[test]
fn what_stands_in_the_way_is_refused_with_nothing_done() {
    let site = Site::builder(FROM).running().build();
    let release = quick(TO).build();
    let no_backup = site.tool("mm-swap").arg("--archive").arg(&release.tarball).output().unwrap();
    assert_eq!(Said::from(no_backup).with(5).document["error"]["kind"], "refused");

    let demanding = swap(&site, &quick("11.0.7").build(), &[]).with(5);
    assert!(demanding.stderr.contains("does not start on PostgreSQL 13"), "{}", demanding.stderr);

    let older = swap(&site, &quick("10.5.11").build(), &[]).with(5);
    assert!(older.stderr.contains("older"), "{}", older.stderr);

    let state = site.state().join(std::fs::read_dir(site.state()).unwrap().next().unwrap().unwrap().file_name());
    std::fs::write(state.join("pgbump.journal"), "{}").unwrap();
    assert!(swap(&site, &release, &[]).with(5).stderr.contains("mm-pgbump recover"));
    std::fs::remove_file(state.join("pgbump.journal")).unwrap();

    let (client, elsewhere) = (site.install().join("client"), site.directory().join("client"));
    std::fs::rename(&client, &elsewhere).unwrap();
    symlink(&elsewhere, &client).unwrap();
    let said = swap(&site, &release, &[]).with(5);
    assert!(said.stderr.contains("it is a symlink"), "{}", said.stderr);
    assert_eq!(site.running_version().as_deref(), Some(FROM));
}

#[test]
fn a_file_that_is_not_what_its_name_says_is_refused() {
    let site = Site::builder(FROM).running().build();
    let other = Order::of("10.5.13").build();
    let misnamed = site.directory().join("mattermost-team-10.5.14-linux-amd64.tar.gz");
    std::fs::copy(&other.tarball, &misnamed).unwrap();
    let said: Said = site.tool("mm-swap").arg("--archive").arg(&misnamed).arg("--no-backup").output().unwrap().into();
    assert!(said.with(5).stderr.contains("not what its name says"));
    assert_eq!(site.running_version().as_deref(), Some(FROM));
}

#[test]
fn an_empty_pipe_without_an_archive_is_no_document() {
    let site = Site::builder(FROM).build();
    assert_eq!(verb(&site, &[]).code, Some(65));
}
