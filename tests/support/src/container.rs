//! A real systemd, booted in a container over this machine's own files: what it writes goes to an overlay, but for the
//! directory of the site, which it shares.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::process::{PATH, run, wait_until};
use crate::site::Site;
use crate::watchdog::Cleanup;

/// How long systemd may take to boot and to carry out an order.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Where the clusters lie. `scripts/in-memory` mounts memory there, and an overlay holds no mount below what it lies over.
const CLUSTERS: &str = "/var/lib/postgresql";

/// What network a container has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// That of this machine: its clusters are reached from inside.
    Shared,
    /// Nothing but a loopback device of its own: no port is anybody else's.
    Private,
}

/// A booted container, ended and unmounted when it is dropped.
#[derive(Debug)]
pub struct Container {
    nspawn: Child,
    place: PathBuf,
    leader: String,
    processes: Cleanup,
    _files: Cleanup,
}

impl Container {
    /// Boots systemd. `files` are paths below `/` and what is to stand there.
    pub fn boot(site: &Site, network: Network, files: &[(&str, &str)]) -> Self {
        let place = site.directory().with_extension("container");
        for part in ["upper", "work", "root", "clusters"] {
            std::fs::create_dir_all(place.join(part)).expect("/tmp can be written");
        }
        let text = |path: &Path| path.to_str().expect("ours").to_owned();
        let mounted = text(&place.join("root"));
        let removal = format!("umount -l {mounted}; rm -rf --one-file-system {}", text(&place));
        let cleanup = Cleanup::with(removal);
        let upper = place.join("upper");
        // Debian's rules empty /tmp at boot, and with it what is shared with this machine.
        for (path, contents) in files.iter().chain(&[("etc/tmpfiles.d/tmp.conf", "")]) {
            let path = upper.join(path);
            std::fs::create_dir_all(path.parent().expect("it is a file")).expect("it is ours");
            std::fs::write(path, contents).expect("it is ours");
        }
        let clusters = text(&place.join("clusters"));
        run("chown", &["--reference", CLUSTERS, &clusters]);
        let options = format!("lowerdir=/,upperdir={},workdir={}", text(&upper), text(&place.join("work")));
        run("mount", &["-t", "overlay", "overlay", "-o", &options, &mounted]);
        let console = std::fs::File::create(place.join("console.log")).expect("it is ours");
        let mut command = Command::new("systemd-nspawn");
        command.args(["-q", "--keep-unit", "--register=no", "--console=pipe", "-b", "-D", &mounted]);
        command.arg(format!("--bind={}", site.directory().display()));
        command.arg(format!("--overlay={CLUSTERS}:{clusters}:{CLUSTERS}"));
        if network == Network::Private {
            command.arg("--private-network");
        }
        command.args(["systemd.unit=basic.target", "systemd.mask=systemd-tmpfiles-setup.service"]);
        command.args(["systemd.mask=systemd-tmpfiles-clean.timer", "systemd.mask=systemd-tmpfiles-setup-dev.service"]);
        let nspawn = command
            .stdin(Stdio::null())
            .stdout(console.try_clone().expect("a file can be shared"))
            .stderr(console)
            .spawn()
            .expect("systemd-nspawn is there: scripts/prepare installs systemd-container");
        let processes = Cleanup::with(format!("kill -KILL {}", nspawn.id()));
        let mut container = Self { nspawn, place, leader: String::new(), processes, _files: cleanup };
        wait_until("the container's systemd to appear", PATIENCE, || container.find_leader());
        container.processes = Cleanup::with(format!("kill -KILL {} {}", container.leader, container.nspawn.id()));
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
    pub fn inside(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.leader, "-m", "-p", "-u", "-i", "-n", "--", "env", "-i", &format!("PATH={PATH}")]);
        command.arg(program).args(arguments).stdin(Stdio::null()).output().expect("nsenter is there")
    }

    /// Runs a program inside that is to succeed, and returns its stdout.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.inside(program, arguments);
        crate::process::succeeded(&format!("{program} {}", arguments.join(" ")), output)
    }

    /// A file inside.
    pub fn path(&self, path: &str) -> PathBuf {
        self.place.join("root").join(path.trim_start_matches('/'))
    }

    /// A property of a unit.
    pub fn property(&self, unit: &str, name: &str) -> String {
        let output = self.inside("systemctl", &["show", "-P", name, unit]);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-s", "KILL", &self.leader]).status();
        let _ = self.nspawn.kill();
        let _ = self.nspawn.wait();
        // The number of a process that is gone may become another's.
        self.processes.keep();
    }
}
