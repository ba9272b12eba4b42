//! Service managers other than systemd, for real: an init script under `service`, and supervisord. They are found, not
//! named, and a failed release ends with the old server under the same manager.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mm_test_support::process::{PATH, TEST_USER, run, wait_until};
use mm_test_support::release::Release;
use mm_test_support::site::{Site, quick};
use mm_test_support::watchdog::Cleanup;
use serde_json::Value;

use super::{FROM, TO};

const PATIENCE: Duration = Duration::from_secs(60);

/// mm-swap with nothing said about the manager.
fn mm_swap(site: &Site, words: &[&str], code: i32) -> (Value, String) {
    let mut command = mm_test_support::tool::tool("mm-swap");
    command.args(words).arg("--install").arg(site.install()).arg("--state-dir").arg(site.state());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "mm-swap {words:?}: {said}");
    (serde_json::from_slice(&output.stdout).unwrap(), said)
}

fn swap(site: &Site, release: &Release, code: i32) -> (Value, String) {
    let archive = release.tarball.to_str().unwrap();
    mm_swap(site, &["run", "--no-backup", "--start-timeout", "120", "--archive", archive], code)
}

/// There, back, and a release that crashes: each time the manager's own word is that the server runs.
fn goes_there_and_back(site: &Site, manager: &str, unit: &str, runs: impl Fn() -> bool) {
    wait_until("the server to answer", PATIENCE, || site.answers());
    let history = site.history();
    let (document, _) = swap(site, &quick(TO).build(), 0);
    assert_eq!(document["site"]["service"]["manager"], manager);
    assert_eq!(document["site"]["service"]["unit"], unit);
    assert_eq!(site.running_version().as_deref(), Some(TO));
    assert!(runs(), "{manager} does not know of the new server");
    mm_swap(site, &["rollback"], 0);
    assert_eq!(site.running_version().as_deref(), Some(FROM));
    assert!(runs(), "{manager} does not know of the old server");

    let (document, _) = swap(site, &quick(TO).fault("crash-at-start").build(), 6);
    assert_eq!(document["error"]["kind"], "rolled-back");
    assert_eq!(site.running_version().as_deref(), Some(FROM));
    assert!(runs(), "{manager} does not know of the server it was put back to");
    assert_eq!(site.pids().len(), 1, "more than one server runs");
    assert_eq!(site.history(), history);

    // Neither can hand a variable to a single start.
    let archive = quick(TO).build().tarball;
    let words = ["run", "--private", "--no-backup", "--archive", archive.to_str().unwrap()];
    let (document, _) = mm_swap(site, &words, 5);
    assert!(document["error"]["hint"].as_str().unwrap().contains("--private"), "{document}");
    assert_eq!(site.running_version().as_deref(), Some(FROM));
}

/// A name that is the same for manager and server, and nobody else's.
fn name() -> String {
    format!("mm-test-{}", std::process::id())
}

fn write(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// The init script that administrators pass round, with Debian's start-stop-daemon.
fn init_script(site: &Site, name: &str) -> String {
    let (root, place) = (site.install(), site.directory());
    format!(
        "#!/bin/sh\n### BEGIN INIT INFO\n# Provides: {name}\n# Required-Start: $network\n# Required-Stop: $network\n\
         # Default-Start: 2 3 4 5\n# Default-Stop: 0 1 6\n# Short-Description: Mattermost\n### END INIT INFO\n\
         DAEMON={root}/bin/mattermost\nPIDFILE={place}/{name}.pid\ncase $1 in\n\
         start) start-stop-daemon --start --quiet --background --make-pidfile --pidfile $PIDFILE --chdir {root} \
         --chuid {TEST_USER} --exec $DAEMON ;;\n\
         stop) start-stop-daemon --stop --quiet --oknodo --retry TERM/60/KILL/5 --pidfile $PIDFILE --exec $DAEMON \
         --remove-pidfile ;;\n\
         status) start-stop-daemon --status --pidfile $PIDFILE --exec $DAEMON ;;\n\
         *) echo \"usage: $0 start|stop|status\" >&2; exit 2 ;;\nesac\n",
        root = root.display(),
        place = place.display(),
    )
}

#[test]
fn a_server_under_an_init_script_goes_there_and_back() {
    let site = Site::builder(FROM).build();
    let name = name();
    let script = PathBuf::from("/etc/init.d").join(&name);
    let _script = Cleanup::with(format!("rm -f '{}'", script.display()));
    write(&script, &init_script(&site, &name), 0o755);
    if Path::new("/run/systemd/system").is_dir() {
        // There `service` asks systemd, which makes units of init scripts when it is told to look.
        run("systemctl", &["daemon-reload"]);
    }
    run("service", &[&name, "start"]);
    goes_there_and_back(&site, "sysv", &name, || {
        Command::new("service").args([&name, "status"]).stdout(Stdio::null()).status().unwrap().success()
    });
    run("service", &[&name, "stop"]);
}

/// A supervisord of this machine's own configuration, if none runs; ended on drop.
struct Supervisor {
    own: Option<Child>,
}

fn supervisorctl(words: &[&str]) -> (bool, String) {
    let output = Command::new("supervisorctl").args(words).env("PATH", PATH).stdin(Stdio::null()).output();
    let output = output.expect("supervisor is not installed: scripts/prepare");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Supervisor {
    fn get() -> Self {
        let runs = || supervisorctl(&["pid"]).0;
        let mut own = None;
        if !runs() {
            let mut command = Command::new("supervisord");
            command.args(["--nodaemon", "--configuration", "/etc/supervisor/supervisord.conf"]).current_dir("/");
            own = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
            wait_until("supervisord to answer", PATIENCE, runs);
        }
        Self { own }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if let Some(child) = &mut self.own {
            supervisorctl(&["shutdown"]);
            let _ = child.wait();
        }
    }
}

#[test]
fn a_server_under_supervisord_goes_there_and_back() {
    let site = Site::builder(FROM).build();
    let name = name();
    let file = PathBuf::from("/etc/supervisor/conf.d").join(format!("{name}.conf"));
    let _file = Cleanup::with(format!("rm -f '{}'; supervisorctl update", file.display()));
    let root = site.install();
    let program = format!(
        "[program:{name}]\ncommand={root}/bin/mattermost\ndirectory={root}\nuser={TEST_USER}\nautostart=true\n\
         autorestart=true\nstartretries=1000\nstopwaitsecs=60\nredirect_stderr=true\nstdout_logfile={place}/console.log\n",
        root = root.display(),
        place = site.directory().display(),
    );
    let _supervisor = Supervisor::get();
    write(&file, &program, 0o644);
    assert!(supervisorctl(&["update"]).0);
    goes_there_and_back(&site, "supervisor", &name, || supervisorctl(&["status", &name]).1.contains("RUNNING"));

    // One that did not run does not run afterwards: a server that crashed is not left to be started again.
    assert!(supervisorctl(&["stop", &name]).0);
    swap(&site, &quick(TO).fault("crash-at-start").build(), 6);
    let status = supervisorctl(&["status", &name]).1;
    assert!(status.contains("STOPPED") && site.pids().is_empty(), "{status}");
}
