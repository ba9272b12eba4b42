//! Hosts on a network that nothing else is on: each a booted systemd with mount, process, host name and network
//! namespaces of its own, reached by ssh as any other host is.
//!
//! A host's files are this machine's, below a layer that takes what is written; what makes this machine a machine of
//! its own (servers, clusters, temporary files, `/usr/local`) a host does not see.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::process::{self, PATH};
use crate::watchdog::Cleanup;

/// How long a host may take to boot and to carry out an order.
const PATIENCE: Duration = Duration::from_secs(120);

/// Directories that begin empty on every host and stand on a plain file system, not on the layer.
const OWN: [&str; 9] = [
    "etc/postgresql",
    "opt",
    "srv",
    "usr/local",
    "var/backups",
    "var/cache/mm-tools",
    "var/lib/mm-tools",
    "var/lib/postgresql",
    "var/log/postgresql",
];

/// What systemd is booted to: its basics and sshd, and nothing that this machine has enabled.
const TARGET: &str = "[Unit]\nRequires=basic.target\nWants=mm-host-sshd.service\nAfter=basic.target mm-host-sshd.service\n\
                      AllowIsolate=yes\n";
const SSHD: &str = "[Service]\nRuntimeDirectory=sshd\nExecStart=/usr/sbin/sshd -D -e -f /etc/ssh/mm-host\n";
const SSHD_CONFIGURATION: &str = "HostKey /etc/ssh/mm-host-key\nAuthorizedKeysFile /etc/ssh/mm-host-authorized\n\
                                  PermitRootLogin prohibit-password\nPasswordAuthentication no\nUsePAM no\n\
                                  PidFile none\nSubsystem sftp internal-sftp\n";

/// Moves the shell into a control group of its own (`$1`), in the two hierarchies in which systemd keeps its units: two
/// hosts in one group would count each other's processes among their own. It is also what a host is ended by.
const GROUP: &str = r#"
groups=$(cat /proc/self/cgroup)
while IFS=: read -r _ kind own; do
    case $kind in name=systemd) h=/sys/fs/cgroup/systemd ;; '') h=/sys/fs/cgroup ;; *) continue ;; esac
    [ ! -d $h/unified ] || h=$h/unified
    [ -d "$h$own" ] || continue
    mkdir -p "$h${own%/}/$1" && echo $$ >"$h${own%/}/$1/cgroup.procs" || exit 1
done <<<"$groups"
"#;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A network with hosts. All of it ends with the value.
#[derive(Debug)]
pub struct Lan {
    _processes: Cleanup,
    _files: Cleanup,
    directory: PathBuf,
    group: String,
    holder: Child,
    hosts: AtomicU32,
}

impl Lan {
    /// A network with a controller and no host yet, and a key that every host will accept.
    pub fn new() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "hosts need root");
        let directory = tempfile::Builder::new().prefix("mm-test-").tempdir().expect("/tmp can be written").keep();
        let files = Cleanup::with(format!("rm -rf --one-file-system '{}'", directory.display()));
        let group = format!("mm-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let processes = Cleanup::with(end_of(&group));
        for key in ["id", "host"] {
            let file = directory.join(key);
            process::run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", key, "-f", text(&file)]);
        }
        let script = format!(
            "{GROUP} ip link set lo up && ip link add name lan type bridge && ip address add {} dev lan && \
             ip link set lan up && exec sleep infinity",
            address(1, "/24")
        );
        let words = ["--net", "bash", "-c", &script, "lan", &format!("{group}/controller")];
        let holder = spawn("unshare", &words, &directory.join("controller.log"));
        let lan = Self { _processes: processes, _files: files, directory, group, holder, hosts: AtomicU32::new(1) };
        process::wait_until("the network to be up", PATIENCE, || {
            comm(lan.holder.id()).as_deref() == Some("sleep")
                && lan.at_controller("true").status().expect("it runs").success()
        });
        lan
    }

    /// The directory of the network's files.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A program of this machine that sees the network, and none that this machine is on.
    pub fn at_controller(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.holder.id().to_string(), "-n", "--", program]);
        command.env_clear().env("PATH", PATH).stdin(Stdio::null());
        command
    }

    /// The variables of an inventory by which Ansible reaches a host.
    pub fn connection(&self, host: &Host) -> serde_json::Value {
        let options = "-F none -o StrictHostKeyChecking=yes -o UserKnownHostsFile=";
        serde_json::json!({
            "ansible_connection": "ssh", "ansible_host": host.address, "ansible_user": "root",
            "ansible_ssh_private_key_file": self.directory.join("id"),
            "ansible_ssh_common_args": format!("{options}{}", self.directory.join("known_hosts").display()),
            "ansible_python_interpreter": "/usr/bin/python3",
        })
    }

    /// Boots a host. Each of `shared` is a file or directory that it sees, and cannot change, at another path.
    pub fn boot(&self, name: &str, shared: &[(&Path, &str)]) -> Host {
        let number = self.hosts.fetch_add(1, Ordering::Relaxed) + 1;
        let place = self.directory.join(name);
        for part in ["root", "work", "own"] {
            fs::create_dir_all(place.join(part)).expect("it is ours");
        }
        self.write_layer(&place.join("layer"), name);
        let mut bound = Vec::new();
        for path in OWN {
            let own = place.join("own").join(path);
            fs::create_dir_all(&own).expect("it is ours");
            bound.push(format!("--bind={}:/{path}", own.display()));
        }
        bound.extend(shared.iter().map(|(from, to)| format!("--bind-ro={}:{to}", from.display())));
        let script = format!(
            "{GROUP} mount -t overlay overlay -o lowerdir=/,upperdir=layer,workdir=work root && shift && \
             exec systemd-nspawn --quiet --keep-unit --register=no --link-journal=no --console=pipe --boot \
             --directory root \"$@\" systemd.unit=mm-host.target systemd.mask=systemd-tmpfiles-clean.timer"
        );
        let group = format!("{}/{name}", self.group);
        let mut words = vec!["--mount", "--net", "bash", "-c", &script, "host", &group];
        words.extend(bound.iter().map(String::as_str));
        let nspawn = spawn("unshare", &words, &place.join("console.log"));
        let mut host =
            Host { nspawn, name: name.to_owned(), address: address(number, ""), place, leader: String::new() };
        process::wait_until(&format!("systemd to appear in {name}"), PATIENCE, || host.find_leader());
        self.connect(&host, number);
        process::wait_until(&format!("{name} to boot"), PATIENCE, || {
            let state = host.inside("systemctl is-system-running");
            matches!(String::from_utf8_lossy(&state.stdout).trim(), "running" | "degraded")
        });
        process::wait_until(&format!("the sshd of {name}"), PATIENCE, || {
            let probe = format!("exec 3<>/dev/tcp/{}/22 && head -c 4 <&3", host.address);
            let mut command = self.at_controller("bash");
            command.args(["-c", &probe]).output().is_ok_and(|output| output.stdout == b"SSH-")
        });
        host
    }

    fn write_layer(&self, layer: &Path, name: &str) {
        let public = |key: &str| fs::read_to_string(self.directory.join(key)).expect("ssh-keygen has written it");
        let write = |path: &str, content: &str, mode: u32| {
            let path = layer.join(path);
            fs::create_dir_all(path.parent().expect("it has one")).expect("it is ours");
            fs::write(&path, content).expect("it is ours");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
        };
        // An overlay's word for a file that is not there: nobody reads manuals, whose index takes seconds a package.
        fs::create_dir_all(layer.join("var/lib/man-db")).expect("it is ours");
        process::run("mknod", &[text(&layer.join("var/lib/man-db/auto-update")), "c", "0", "0"]);
        write("etc/hostname", &format!("{name}\n"), 0o644);
        write("etc/ssh/mm-host", SSHD_CONFIGURATION, 0o644);
        write("etc/ssh/mm-host-key", &public("host"), 0o600);
        write("etc/ssh/mm-host-authorized", &public("id.pub"), 0o644);
        write("etc/systemd/system/mm-host.target", TARGET, 0o644);
        write("etc/systemd/system/mm-host-sshd.service", SSHD, 0o644);
    }

    /// A cable from the host to the bridge, and the host among those that are known.
    fn connect(&self, host: &Host, number: u32) {
        let wire = format!("wire{number}");
        let run = |namespace: &str, words: &str| {
            let words: Vec<&str> = ["-t", namespace, "-n", "--", "ip"].into_iter().chain(words.split(' ')).collect();
            process::run("nsenter", &words);
        };
        let (lan, leader) = (self.holder.id().to_string(), &host.leader);
        run(&lan, &format!("link add name {wire} type veth peer name eth0 netns {leader}"));
        run(&lan, &format!("link set {wire} master lan up"));
        run(leader, "link set lo up");
        run(leader, &format!("address add {} dev eth0", address(number, "/24")));
        run(leader, "link set eth0 up");
        let key = fs::read_to_string(self.directory.join("host.pub")).expect("ssh-keygen has written it");
        let known = self.directory.join("known_hosts");
        let so_far = fs::read_to_string(&known).unwrap_or_default();
        fs::write(known, format!("{so_far}{} {key}", host.address)).expect("it is ours");
    }
}

impl Default for Lan {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A booted host.
#[derive(Debug)]
pub struct Host {
    nspawn: Child,
    /// Its name.
    pub name: String,
    /// Its address in the network.
    pub address: String,
    place: PathBuf,
    leader: String,
}

impl Host {
    /// Where this machine sees a path of the host that is one of its own: `/opt`, `/srv`, `/usr/local`, or
    /// `/var/lib/mm-tools`, for example.
    pub fn path(&self, path: &str) -> PathBuf {
        self.place.join("own").join(path.trim_start_matches('/'))
    }

    /// Runs a bash script as root of the host, not over the network.
    pub fn inside(&self, script: &str) -> Output {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.leader, "-m", "-u", "-i", "-n", "-p", "-r", "-w", "--", "env", "-i"]);
        command.args([&format!("PATH={PATH}"), "HOME=/root", "LC_ALL=C.UTF-8", "bash", "-c", script]);
        command.stdin(Stdio::null()).output().expect("nsenter is there")
    }

    /// The same for a script that has to succeed: what it printed.
    #[track_caller]
    pub fn run(&self, script: &str) -> String {
        process::succeeded(script, self.inside(&format!("set -eu; {script}"))).trim_end().to_owned()
    }

    fn find_leader(&mut self) -> bool {
        if let Ok(Some(status)) = self.nspawn.try_wait() {
            let console = fs::read_to_string(self.place.join("console.log")).unwrap_or_default();
            panic!("{} did not boot ({status}): {console}", self.name);
        }
        let children = format!("/proc/{0}/task/{0}/children", self.nspawn.id());
        let children = fs::read_to_string(children).unwrap_or_default();
        let booted = |pid: &&str| comm(pid).as_deref() == Some("systemd");
        let Some(pid) = children.split_whitespace().find(booted) else { return false };
        pid.clone_into(&mut self.leader);
        true
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // All that the host runs ends with its first process.
        let _ = Command::new("kill").args(["-s", "KILL", &self.leader]).status();
        let _ = self.nspawn.kill();
        let _ = self.nspawn.wait();
    }
}

/// The address of a number in the network: one of those that nobody is ever given.
fn address(number: u32, length: &str) -> String {
    format!("192.0.2.{number}{length}")
}

/// The name of a process.
fn comm(pid: impl std::fmt::Display) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim().to_owned())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the path is ours")
}

fn spawn(program: &str, words: &[&str], log: &Path) -> Child {
    let console = File::create(log).expect("it is ours");
    let mut command = Command::new(program);
    command.args(words).current_dir(log.parent().expect("it has one"));
    command.stdin(Stdio::null()).stdout(console.try_clone().expect("a file can be shared")).stderr(console);
    command.spawn().unwrap_or_else(|error| panic!("cannot run `{program}`: {error}; scripts/prepare installs it"))
}

/// The command that ends all processes of a control group and removes it.
fn end_of(group: &str) -> String {
    format!(
        "for g in $(find /sys/fs/cgroup -type d -name {group}); do for t in $(seq 300); do \
         p=$(find $g -name cgroup.procs -exec cat {{}} +); [ -n \"$p\" ] || break; kill -9 $p; sleep 0.1; done; \
         find $g -depth -type d -exec rmdir {{}} +; done"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Set for the process that is to be killed: where it writes the directory of its network.
    const MARK: &str = "MM_TEST_HOST_MARK";

    #[test]
    fn hosts_are_apart_from_this_machine_and_go_when_the_test_is_killed() {
        if let Some(mark) = std::env::var_os(MARK) {
            let lan = Lan::new();
            let (one, two) = (lan.boot("one", &[]), lan.boot("two", &[]));
            assert_eq!((one.run("hostname"), two.run("hostname")), ("one".to_owned(), "two".to_owned()));
            assert_eq!(one.run("ls /tmp /usr/local /opt | grep -v :"), "");
            // A port of this machine is none of a host's, and one host reaches the other.
            let port = process::free_port();
            let _listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
            assert!(!one.inside(&format!("exec 3<>/dev/tcp/127.0.0.1/{port}")).status.success());
            one.run(&format!("exec 3<>/dev/tcp/{}/22", two.address));
            fs::write(mark, format!("{}\n{}\n{}", text(lan.directory()), lan.group, two.leader)).unwrap();
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
        }
        // Not in the process that is killed: nobody would remove it.
        let temporary = tempfile::tempdir().unwrap();
        let mark = temporary.path().join("mark");
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "--nocapture",
                "host::tests::hosts_are_apart_from_this_machine_and_go_when_the_test_is_killed",
            ])
            .env(MARK, &mark)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let left = fs::read_to_string(&mark).unwrap_or_else(|_| panic!("it did not get to its end: {said}"));
        let left: Vec<&str> = left.lines().collect();
        process::wait_until("the watchdog to end the hosts", PATIENCE, || {
            // Not process::run: find complains of what other tests take away at the same time.
            let find = Command::new("find").args(["/sys/fs/cgroup", "-type", "d", "-name", left[1]]).output().unwrap();
            find.stdout.is_empty() && !Path::new(left[0]).exists() && !Path::new("/proc").join(left[2]).exists()
        });
    }
}
