//! mm-swap on a server that systemd runs: a real systemd, booted in a container over this machine's own files, with the
//! unit of Mattermost's documentation. The database is a cluster of this machine; container and machine share the
//! network.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and its files need not outlive a power cut"
)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use mm_test_support::process::{PATH, TEST_USER, run, wait_until};
use mm_test_support::release::Release;
use mm_test_support::site::{Site, quick};
use mm_test_support::tool::executable;
use serde_json::Value;

const FROM: &str = "10.5.12";
const TO: &str = "10.5.14";

/// How long systemd may take to boot and to carry out an order.
const PATIENCE: Duration = Duration::from_secs(60);

/// A booted container, ended and unmounted when it is dropped.
struct Container {
    nspawn: Child,
    place: PathBuf,
    leader: String,
}

impl Container {
    /// Boots systemd with the unit of `site`. The site's own directory is the only one it shares; everything else it
    /// writes goes to an overlay.
    fn boot(site: &Site) -> Self {
        let place = site.directory().with_extension("container");
        for part in ["upper", "work", "root"] {
            std::fs::create_dir_all(place.join(part)).unwrap();
        }
        let upper = place.join("upper");
        write(&upper.join("etc/systemd/system/mattermost.service"), &unit(site));
        // Debian's rules empty /tmp at boot, and with it what is shared with this machine.
        write(&upper.join("etc/tmpfiles.d/tmp.conf"), "");
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let options = format!("lowerdir=/,upperdir={},workdir={}", text(&upper), text(&place.join("work")));
        run("mount", &["-t", "overlay", "overlay", "-o", &options, &text(&place.join("root"))]);
        let console = std::fs::File::create(place.join("console.log")).unwrap();
        let mut command = Command::new("systemd-nspawn");
        command.args(["-q", "--keep-unit", "--register=no", "--console=pipe", "-b", "-D"]).arg(place.join("root"));
        command.arg(format!("--bind={}", site.directory().display()));
        command.args(["systemd.unit=basic.target", "systemd.mask=systemd-tmpfiles-setup.service"]);
        command.args(["systemd.mask=systemd-tmpfiles-clean.timer", "systemd.mask=systemd-tmpfiles-setup-dev.service"]);
        let nspawn = command
            .stdin(Stdio::null())
            .stdout(console.try_clone().unwrap())
            .stderr(console)
            .spawn()
            .expect("systemd-nspawn is there: scripts/prepare installs systemd-container");
        let mut container = Self { nspawn, place, leader: String::new() };
        wait_until("the container's systemd to appear", PATIENCE, || container.find_leader());
        wait_until("systemd to be up", PATIENCE, || {
            let state = container.inside("systemctl", &["is-system-running"]);
            matches!(String::from_utf8_lossy(&state.stdout).trim(), "running" | "degraded")
        });
        container
    }

    fn find_leader(&mut self) -> bool {
        let children = format!("/proc/{0}/task/{0}/children", self.nspawn.id());
        let children = std::fs::read_to_string(children).unwrap_or_default();
        let booted = |pid: &&str| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "systemd")
        };
        match children.split_whitespace().find(booted) {
            Some(pid) => {
                pid.clone_into(&mut self.leader);
                true
            }
            None => false,
        }
    }

    /// Runs a program inside.
    fn inside(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.leader, "-m", "-p", "-u", "-i", "--", "env", "-i", &format!("PATH={PATH}"), program]);
        command.args(arguments).stdin(Stdio::null()).output().unwrap()
    }

    fn property(&self, name: &str) -> String {
        let output = self.inside("systemctl", &["show", "-P", name, "mattermost"]);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn swap(&self, site: &Site, words: &[&str]) -> (Option<i32>, Value, String) {
        let (install, state) = (site.install(), site.state());
        let common = ["--install", install.to_str().unwrap(), "--state-dir", state.to_str().unwrap()];
        let output = self.inside(executable("mm-swap").to_str().unwrap(), &[words, &common].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default(), said)
    }

    fn install(&self, site: &Site, release: &Release, more: &[&str]) -> (Option<i32>, Value, String) {
        let archive = release.tarball.to_str().unwrap();
        self.swap(site, &[&["run", "--no-backup", "--start-timeout", "20", "--archive", archive], more].concat())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-s", "KILL", &self.leader]).status();
        let _ = self.nspawn.kill();
        let _ = self.nspawn.wait();
        let _ = Command::new("umount").arg("-l").arg(self.place.join("root")).status();
        let _ = std::fs::remove_dir_all(&self.place);
    }
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// The unit that Mattermost documents, but for the pause before a restart.
fn unit(site: &Site) -> String {
    let root = site.install();
    let root = root.display();
    format!(
        "[Unit]\nDescription=Mattermost\n[Service]\nType=notify\nExecStart={root}/bin/mattermost\nTimeoutStartSec=30\n\
         KillMode=mixed\nRestart=always\nRestartSec=1\nWorkingDirectory={root}\nUser={TEST_USER}\nGroup={TEST_USER}\n\
         LimitNOFILE=49152\n"
    )
}

#[test]
fn a_unit_is_found_stopped_started_made_private_and_public_again_and_rolled_back() {
    let site = Site::builder(FROM).build();
    let container = Container::boot(&site);
    container.inside("systemctl", &["start", "mattermost"]);
    wait_until("the server to answer", PATIENCE, || site.answers());
    let (history, files) = (site.history(), site.user_files());

    // The unit is found by what it runs, and the new release is started by it.
    let (code, document, said) = container.install(&site, &quick("10.5.13").build(), &[]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(document["site"]["service"]["manager"], "systemd", "{document:#}");
    assert_eq!(document["site"]["service"]["unit"], "mattermost.service");
    assert_eq!(site.running_version().as_deref(), Some("10.5.13"));
    assert_eq!(container.property("ActiveState"), "active");
    assert_eq!(container.property("DropInPaths"), "", "something of the start was left");
    assert_eq!(container.property("TimeoutStartUSec"), "30s");

    // A private hop is made by a drop-in that a reboot would take away.
    let (code, document, said) = container.install(&site, &quick(TO).build(), &["--private"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(document["swap"]["private_address"].as_str().unwrap().starts_with("http://127.0.0.1:"));
    assert!(!site.answers(), "users can get in");
    assert!(container.property("DropInPaths").starts_with("/run/systemd/system/"));
    let (code, _, said) = container.swap(&site, &["publish"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(site.running_version().as_deref(), Some(TO));
    assert_eq!(container.property("DropInPaths"), "");

    // A crash loop that `Restart=always` hides is noticed.
    let broken = quick("10.5.15").fault("crash-after-listening=2").build();
    let (code, document, said) = container.install(&site, &broken, &[]);
    assert_eq!(code, Some(6), "{said}");
    assert_eq!(document["error"]["kind"], "rolled-back");
    assert_eq!(site.running_version().as_deref(), Some(TO), "{said}");
    assert_eq!(container.property("DropInPaths"), "");

    let (code, _, said) = container.swap(&site, &["rollback"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(site.running_version().as_deref(), Some("10.5.13"));
    assert_eq!((site.history(), site.user_files()), (history, files));
}
