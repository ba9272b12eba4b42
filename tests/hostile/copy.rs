//! A hostile server's user while a copy of its site is made, and while that is rehearsed in: it has the same rights in the
//! copy as in the original, and knows where the copy is going to be.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use mm_test_support::process::{self, TEST_USER, ids, workspace};
use mm_test_support::site::Site;
use mm_test_support::tool;
use mm_test_support::watchdog::Cleanup;
use serde_json::json;

/// A site, and a place where its copy is rehearsed in.
struct Rehearsed {
    site: Site,
    _cleanup: Cleanup,
}

/// A program of the server's user, until it is dropped.
struct Adversary(Child);

impl Drop for Adversary {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Rehearsed {
    fn of(site: Site, flags: &[&str]) -> Self {
        site.tool("mm-backup").arg("--to").arg(site.store()).args(flags).assert().success();
        let removal = format!(
            "for n in $(cat {0}/state/copy-*/copy.json {0}/cluster 2>/dev/null | grep -oE 'mm(copy[0-9a-f]+|rehearse[0-9]+)'); do \
             for d in /var/lib/postgresql/*/$n; do [ -d $d ] && pg_dropcluster --stop $(basename $(dirname $d)) $n; done; \
             rm -rf /var/lib/mm-tools/copies/$n; done",
            site.directory().join("rehearsal").display()
        );
        Self { site, _cleanup: Cleanup::with(removal) }
    }

    fn work(&self) -> PathBuf {
        self.site.directory().join("rehearsal")
    }

    /// The install root of the copy.
    fn root(&self) -> PathBuf {
        self.work().join("copy/files").join(self.site.install().strip_prefix("/").unwrap())
    }

    /// Runs a script over and over as the server's user; `$1` is the install root of the copy, `$2` what it is after.
    fn adversary(&self, script: &str, after: &Path) -> Adversary {
        let line = format!("while :; do {script}; sleep 0.01; done");
        let mut command = process::as_user(TEST_USER, Path::new("/bin/bash"));
        command.args(["-c", &line, "bash"]).arg(self.root()).arg(after);
        Adversary(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn rehearse(&self) -> String {
        let mut command = tool::shell(&format!("{}/scripts/mm-rehearse \"$@\"", workspace().display()));
        command
            .args(["mm-rehearse", "--to", "10.6.1", "--flag", "mm-fetch=--offline", "--store"])
            .arg(self.site.store());
        let output =
            command.arg("--work").arg(self.work()).timeout(std::time::Duration::from_secs(240)).output().unwrap();
        assert!(output.status.code().is_some(), "it does not end");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

/// A file or directory of root's that the server's user may look at.
fn roots(site: &Site, name: &str, text: Option<&str>) -> PathBuf {
    let path = site.directory().join(name);
    match text {
        Some(text) => fs::write(&path, text).unwrap(),
        None => fs::create_dir(&path).unwrap(),
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn a_configuration_exchanged_for_a_link_or_a_fifo_leads_root_nowhere() {
    let rehearsed = Rehearsed::of(Site::builder("10.5.14").build(), &[]);
    let text = r#"{"FileSettings": {}, "LogSettings": {}}"#;
    let canary = roots(&rehearsed.site, "canary", Some(text));
    // First a link; one that has been written through is a fifo from then on.
    let script = "c=$1/config/config.json; if [ -e $c ] && [ ! -L $c ] && [ ! -p $c ]; then rm -f $c; \
                  if [ -e $1/config/seen ]; then mkfifo $c; else ln -s $2 $c; touch $1/config/seen; fi; fi";
    let adversary = rehearsed.adversary(script, &canary);
    let said = rehearsed.rehearse();
    drop(adversary);
    let data = fs::metadata(&canary).unwrap();
    assert_eq!((fs::read_to_string(&canary).unwrap().as_str(), data.uid()), (text, 0), "{said}");
    assert_eq!(data.mode() & 0o777, 0o755, "{said}");
}

#[test]
fn a_file_of_roots_moved_to_where_the_owner_was_looked_up_makes_nobody_root() {
    let site = Site::builder("10.5.14").build();
    // Of root's, as an administrator leaves one: a former configuration.
    let former = site.install().join("config/former.json");
    fs::copy(site.config_path(), &former).unwrap();
    fs::set_permissions(&former, fs::Permissions::from_mode(0o644)).unwrap();
    let rehearsed = Rehearsed::of(site, &[]);
    let seen = roots(&rehearsed.site, "seen", None);
    let (uid, gid) = ids(TEST_USER);
    std::os::unix::fs::chown(&seen, Some(uid), Some(gid)).unwrap();
    let server = "#!/bin/sh\ncase $1 in version) printf 'Version: 10.5.14\\nBuild Number: 10.5.14\\nBuild Enterprise Ready: false\\n';; \
                  *) id -u >>SEEN/uids; sleep 1;; esac\n";
    let own = rehearsed.site.directory().join("seen/server");
    fs::write(&own, server.replace("SEEN", seen.to_str().unwrap())).unwrap();
    fs::set_permissions(&own, fs::Permissions::from_mode(0o755)).unwrap();
    let script = "if [ -e $1/config/former.json ]; then cp $2/server $1/bin/new && mv -f $1/bin/new $1/bin/mattermost; \
                  mv -f $1/config/former.json $1/config/config.json; fi";
    let adversary = rehearsed.adversary(script, &seen);
    let said = rehearsed.rehearse();
    drop(adversary);
    let uids = fs::read_to_string(seen.join("uids")).unwrap_or_default();
    assert!(uids.lines().all(|seen| seen == uid.to_string()), "it ran as {uids}: {said}");
}

#[test]
fn a_directory_for_uploads_that_leads_up_gives_nothing_of_roots_away() {
    let site = Site::builder("10.5.14").build();
    let canary = roots(&site, "canary", None);
    let up = "../".repeat(40);
    site.set("FileSettings", "Directory", json!(format!("{up}{}", canary.strip_prefix("/").unwrap().display())));
    let rehearsed = Rehearsed::of(site, &["--no-data"]);
    let said = rehearsed.rehearse();
    let data = fs::metadata(&canary).unwrap();
    assert_eq!((data.uid(), data.gid(), data.mode() & 0o777), (0, 0, 0o755), "{said}");
    assert_eq!(fs::read_dir(&canary).unwrap().count(), 0, "{said}");
}

#[test]
fn a_rehearsal_is_not_made_where_others_could_exchange_what_it_reaches_by_path() {
    let place = tempfile::tempdir().unwrap();
    let others = place.path().join("others");
    fs::create_dir(&others).unwrap();
    let (uid, gid) = ids(TEST_USER);
    let refuses = |work: &Path| {
        let mut command = tool::shell(&format!("{}/scripts/mm-rehearse \"$@\"", workspace().display()));
        command.args(["mm-rehearse", "--to", "10.6.1", "--store", "/nowhere", "--work"]).arg(work);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() == Some(5) && said.contains("give --work a directory"),
            "{}: {said}",
            work.display()
        );
        assert_eq!(fs::read_dir(work).unwrap().count(), 0, "something was made there");
    };
    std::os::unix::fs::chown(&others, Some(uid), Some(gid)).unwrap();
    refuses(&others.join("work"));
    std::os::unix::fs::chown(&others, Some(0), Some(0)).unwrap();
    // Where everybody makes entries, nobody exchanges root's, but what is to be made there may be there already.
    fs::set_permissions(&others, fs::Permissions::from_mode(0o1777)).unwrap();
    fs::remove_dir(others.join("work")).unwrap();
    refuses(&others);
    fs::set_permissions(&others, fs::Permissions::from_mode(0o777)).unwrap();
    refuses(&others.join("work"));
}
