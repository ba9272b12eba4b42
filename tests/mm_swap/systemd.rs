//! mm-swap on a server that systemd runs: a real systemd, booted in a container over this machine's own files, with the
//! unit of Mattermost's documentation. The database is a cluster of this machine; container and machine share the
//! network.

use std::path::PathBuf;

use mm_test_support::container::{Container, Network, PATIENCE};
use mm_test_support::process::{TEST_USER, wait_until};
use mm_test_support::release::Release;
use mm_test_support::site::{Site, quick};
use mm_test_support::tool::executable;
use serde_json::Value;

const FROM: &str = "10.5.12";
const TO: &str = "10.5.14";

/// The booted system with the unit of a site.
struct Host {
    container: Container,
}

impl Host {
    fn boot(site: &Site) -> Self {
        let unit = unit(site);
        let files = [("etc/systemd/system/mattermost.service", unit.as_str())];
        Self { container: Container::boot(site, Network::Shared, &files) }
    }

    fn property(&self, name: &str) -> String {
        self.container.property("mattermost", name)
    }

    fn swap(&self, site: &Site, words: &[&str]) -> (Option<i32>, Value, String) {
        let (install, state) = (site.install(), site.state());
        let common = ["--install", install.to_str().unwrap(), "--state-dir", state.to_str().unwrap()];
        let (tool, programs) = (executable("mm-swap"), format!("MM_CHECKPOINT_PROGRAMS={}", programs(site).display()));
        let output =
            self.container.inside("env", &[&[programs.as_str(), tool.to_str().unwrap()][..], words, &common].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default(), said)
    }

    fn install(&self, site: &Site, release: &Release, more: &[&str]) -> (Option<i32>, Value, String) {
        let archive = release.tarball.to_str().unwrap();
        self.swap(site, &[&["run", "--no-backup", "--start-timeout", "20", "--archive", archive], more].concat())
    }
}

/// Where it is written down what is started, among the points passed.
fn programs(site: &Site) -> PathBuf {
    site.directory().join("programs")
}

/// Reading all units takes systemd part of a second on a large host: not while users are out.
fn is_not_reloaded_while_users_are_out(site: &Site, stopped: &str) {
    let log = std::fs::read_to_string(programs(site)).unwrap();
    let (_, after) = log.rsplit_once(&format!("\n{stopped}\n")).unwrap_or_else(|| panic!("{log}"));
    let (between, _) = after.split_once("\nstart-commanded\n").unwrap_or_else(|| panic!("{log}"));
    assert!(between.contains("systemctl") && !between.contains("daemon-reload"), "{between}");
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

/// Executes the server's file as the server's user from another unit, and does nothing. Its process id as the container
/// has it.
fn outsider(host: &Host, site: &Site) -> String {
    let (installed, aside) = (site.install().join("bin/mattermost"), site.install().join("bin/aside"));
    std::fs::rename(&installed, &aside).unwrap();
    std::fs::copy("/bin/cat", &installed).unwrap();
    // A unit that names the server itself would be taken for one of its own.
    let script = site.directory().join("outsider.sh");
    let line = format!("mkfifo /tmp/outsider\nexec {} <>/tmp/outsider\n", installed.display());
    std::fs::write(&script, line).unwrap();
    let (user, place) = (format!("--uid={TEST_USER}"), format!("--working-directory={}", site.install().display()));
    let words = ["--quiet", "--unit=outsider", "--service-type=exec", &user, &place, "sh", script.to_str().unwrap()];
    host.container.run("systemd-run", &words);
    let pid = || host.container.property("outsider", "MainPID");
    wait_until("the outsider to run", PATIENCE, || {
        let exe = host.container.inside("readlink", &[&format!("/proc/{}/exe", pid())]);
        String::from_utf8_lossy(&exe.stdout).trim() == installed.to_str().unwrap()
    });
    std::fs::remove_file(&installed).unwrap();
    std::fs::rename(&aside, &installed).unwrap();
    pid()
}

#[test]
fn a_unit_is_found_stopped_started_made_private_and_public_again_and_rolled_back() {
    let site = Site::builder(FROM).build();
    let host = Host::boot(&site);
    host.container.run("systemctl", &["start", "mattermost"]);
    wait_until("the server to answer", PATIENCE, || site.answers());
    let (history, files) = (site.history(), site.user_files());

    // The unit is found by what it runs, and the new release is started by it.
    let (code, document, said) = host.install(&site, &quick("10.5.13").build(), &[]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(document["site"]["service"]["manager"], "systemd", "{document:#}");
    assert_eq!(document["site"]["service"]["unit"], "mattermost.service");
    assert_eq!(site.running_version().as_deref(), Some("10.5.13"));
    assert_eq!(host.property("ActiveState"), "active");
    assert_eq!(host.property("DropInPaths"), "", "something of the start was left");
    assert_eq!(host.property("TimeoutStartUSec"), "30s");
    is_not_reloaded_while_users_are_out(&site, "stopped");

    // A private hop is made by a drop-in that a reboot would take away.
    let (code, document, said) = host.install(&site, &quick(TO).build(), &["--private"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(document["swap"]["private_address"].as_str().unwrap().starts_with("http://127.0.0.1:"));
    assert!(!site.answers(), "users can get in");
    assert!(host.property("DropInPaths").starts_with("/run/systemd/system/"));
    let (code, _, said) = host.swap(&site, &["publish"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(site.running_version().as_deref(), Some(TO));
    assert_eq!(host.property("DropInPaths"), "");

    // A crash loop that `Restart=always` hides is noticed.
    let broken = quick("10.5.15").fault("crash-after-listening=2").build();
    let (code, document, said) = host.install(&site, &broken, &[]);
    assert_eq!(code, Some(6), "{said}");
    assert_eq!(document["error"]["kind"], "rolled-back");
    assert_eq!(site.running_version().as_deref(), Some(TO), "{said}");
    assert_eq!(host.property("DropInPaths"), "");

    // A process of the server's user that executes the server and is not the unit's is named and let alone, whoever
    // started it; it is no hindrance once it is gone.
    let outsider = outsider(&host, &site);
    let (code, document, said) = host.swap(&site, &["rollback"]);
    assert_eq!(code, Some(5), "{said}");
    assert!(
        said.contains(&format!("process {outsider} is a server that `mattermost.service` has not started")),
        "{said}"
    );
    assert_eq!(document["error"]["kind"], "refused");
    assert_eq!(site.running_version().as_deref(), Some(TO), "{said}");
    host.container.run("systemctl", &["stop", "outsider"]);

    let (code, _, said) = host.swap(&site, &["rollback"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(site.running_version().as_deref(), Some("10.5.13"));
    assert_eq!(host.property("DropInPaths"), "");
    is_not_reloaded_while_users_are_out(&site, "undo-stopped");
    assert_eq!((site.history(), site.user_files()), (history, files));
}
