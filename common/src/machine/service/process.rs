//! The server's process, found in /proc by the file it executes: whoever manages it, and also when nobody does.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The server's executables: `platform` is what units of 5.x may still name.
pub const EXECUTABLES: [&str; 2] = ["mattermost", "platform"];

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// When it started, in clock ticks since the machine did.
    pub started: u64,
}

impl Process {
    /// The process with this id, if it lives. One that has ended and waits to be reaped does not; but while another of its
    /// threads is still there, its sockets are, too.
    pub fn of(pid: i32) -> Option<Self> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (state, started) = state_and_start(&text)?;
        let lives = match state {
            'X' => false,
            'Z' => std::fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|threads| threads.count() > 1),
            _ => true,
        };
        lives.then_some(Self { pid, started })
    }

    /// Whether it still lives.
    pub fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Whether it executes the file that is now the server's executable in `root`: not so after a flip.
    pub fn executes_what_is_installed(self, root: &Path) -> bool {
        let Ok(executed) = std::fs::metadata(format!("/proc/{}/exe", self.pid)) else { return false };
        EXECUTABLES.iter().any(|name| {
            std::fs::symlink_metadata(root.join("bin").join(name))
                .is_ok_and(|there| (there.dev(), there.ino()) == (executed.dev(), executed.ino()))
        })
    }

    /// The user it runs as: user and group id. Not the owner of its directory in /proc, which is root's where the
    /// executable has capabilities.
    pub fn owner(self) -> Option<(u32, u32)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let effective = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_ascii_whitespace().nth(1)?.parse().ok()
        };
        Some((effective("Uid:")?, effective("Gid:")?))
    }

    /// Whether it was started with this value of an environment variable; not so when that cannot be read any more.
    pub fn was_started_with(self, name: &str, value: &str) -> bool {
        let wanted = format!("{name}={value}");
        std::fs::read(format!("/proc/{}/environ", self.pid))
            .is_ok_and(|all| all.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes()))
    }

    /// Whether one of its descriptors is a TCP socket that listens on `port`.
    pub fn listens_on(self, port: u16) -> bool {
        self.has_socket(|table| listeners(table, port))
    }

    /// Whether one of its descriptors is its end of the TCP connection from `peer` to its own address `local`.
    pub fn holds_connection(self, local: SocketAddr, peer: SocketAddr) -> bool {
        self.has_socket(|table| connections(table, local, peer))
    }

    /// Whether one of its descriptors is a TCP socket of those that `select` takes from the tables of its network.
    fn has_socket(self, select: impl Fn(&str) -> Vec<u64>) -> bool {
        let selected: Vec<u64> = ["tcp", "tcp6"]
            .iter()
            .filter_map(|name| std::fs::read_to_string(format!("/proc/{}/net/{name}", self.pid)).ok())
            .flat_map(|table| select(&table))
            .collect();
        let Ok(descriptors) = std::fs::read_dir(format!("/proc/{}/fd", self.pid)) else { return false };
        descriptors.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok()).any(|target| {
            let target = target.to_string_lossy();
            let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
            inode.and_then(|inode| inode.parse().ok()).is_some_and(|inode| selected.contains(&inode))
        })
    }
}

/// Whether a process of this machine listens on this TCP port.
pub fn is_taken(port: u16) -> bool {
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"].map(|path| std::fs::read_to_string(path).ok());
    tables.into_iter().flatten().any(|table| !listeners(&table, port).is_empty())
}

/// Server processes of the installation at `root`, oldest first: of users to whom something of it belongs, and of root.
/// Everybody may execute what is installed; that makes nobody's process the server. Not those that only run a command of
/// the server's command line, nor plugins.
pub fn servers(root: &Path) -> Vec<Process> {
    let users = users(root);
    all(root).into_iter().filter(|process| is_of(*process, &users)).collect()
}

/// Processes that execute the server of the installation at `root` as users to whom nothing of it belongs.
pub fn strangers(root: &Path) -> Vec<Process> {
    let users = users(root);
    all(root).into_iter().filter(|process| !is_of(*process, &users)).collect()
}

fn is_of(process: Process, users: &[u32]) -> bool {
    // One that has just ended is nobody's.
    process.owner().is_none_or(|(uid, _)| users.contains(&uid))
}

/// Root, and whom the parts of an installation belong to: of a hardened one those that the server writes to.
fn users(root: &Path) -> Vec<u32> {
    const PARTS: [&str; 8] =
        ["bin/mattermost", "bin/platform", "bin", "config", "config/config.json", "data", "logs", "plugins"];
    let owners = PARTS.iter().filter_map(|part| Some(std::fs::symlink_metadata(root.join(part)).ok()?.uid()));
    std::iter::once(0).chain(owners).collect()
}

fn all(root: &Path) -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let mut found: Vec<Process> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| is_server(*pid, root))
        .filter_map(Process::of)
        .collect();
    found.sort_by_key(|process| (process.started, process.pid));
    found
}

fn is_server(pid: i32, root: &Path) -> bool {
    let Ok(exe) = std::fs::read_link(format!("/proc/{pid}/exe")) else { return false };
    let named = executable_of(&exe, root) || in_retired_release(&exe, root);
    // The path alone may be that of another container: the executed file or the working directory must be ours too.
    named && (Process { pid, started: 0 }.executes_what_is_installed(root) || works_in(pid, root)) && serves(pid)
}

/// The kernel adds ` (deleted)` when the file is gone.
fn without_mark(exe: &Path) -> PathBuf {
    let text = exe.as_os_str().as_encoded_bytes();
    let bare = text.strip_suffix(b" (deleted)").unwrap_or(text);
    PathBuf::from(OsString::from_vec(bare.to_vec()))
}

fn executable_of(exe: &Path, root: &Path) -> bool {
    let exe = without_mark(exe);
    EXECUTABLES.iter().any(|name| exe == root.join("bin").join(name))
}

/// A server that runs while its release is exchanged executes a file that has moved away with the old `bin`.
fn in_retired_release(exe: &Path, root: &Path) -> bool {
    let exe = without_mark(exe);
    let named = exe.file_name().is_some_and(|name| EXECUTABLES.iter().any(|known| name == *known));
    let Some(area) = crate::machine::state::work_areas(root).into_iter().find(|area| exe.starts_with(area)) else {
        return false;
    };
    named && exe != area
}

fn works_in(pid: i32, root: &Path) -> bool {
    match (std::fs::metadata(format!("/proc/{pid}/cwd")), std::fs::metadata(root)) {
        (Ok(here), Ok(there)) => (here.dev(), here.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

fn serves(pid: i32) -> bool {
    let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    is_server_command(&line)
}

/// The first word that is not a flag names the command; without one, or with `server`, it serves. The words after
/// `-c` and `--config` are their values.
fn is_server_command(line: &[u8]) -> bool {
    let mut words = line.split(|byte| *byte == 0).skip(1);
    while let Some(word) = words.next() {
        match word {
            b"" => {}
            b"-c" | b"--config" => {
                words.next();
            }
            b"server" => return true,
            flag if flag.starts_with(b"-") => {}
            _ => return false,
        }
    }
    true
}

/// Third and twenty-second field of /proc/PID/stat (proc(5)). The second may hold spaces and parentheses.
fn state_and_start(text: &str) -> Option<(char, u64)> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// Inodes of the sockets that listen on `port` in a table of /proc/net.
fn listeners(table: &str, port: u16) -> Vec<u64> {
    const LISTEN: &str = "0A";
    sockets(table).filter(|socket| socket.local.port() == port && socket.state == LISTEN).map(|it| it.inode).collect()
}

/// Inodes of the sockets of one connection in a table of /proc/net.
fn connections(table: &str, local: SocketAddr, peer: SocketAddr) -> Vec<u64> {
    sockets(table).filter(|socket| (socket.local, socket.peer) == (local, peer)).map(|it| it.inode).collect()
}

/// A line of /proc/net/tcp or tcp6 (`proc_net_tcp` in the kernel's documentation).
struct Socket<'a> {
    local: SocketAddr,
    peer: SocketAddr,
    state: &'a str,
    inode: u64,
}

fn sockets(table: &str) -> impl Iterator<Item = Socket<'_>> {
    table.lines().filter_map(|line| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let (local, peer) = (address(fields.get(1)?)?, address(fields.get(2)?)?);
        Some(Socket { local, peer, state: fields.get(3)?, inode: fields.get(9)?.parse().ok()? })
    })
}

/// `0100007F:1F81`: words of four bytes as the machine stores them. IPv4 in IPv6 is IPv4.
fn address(text: &str) -> Option<SocketAddr> {
    let (words, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = [0; 16];
    for (place, at) in bytes.chunks_exact_mut(4).zip((0..words.len()).step_by(8)) {
        place.copy_from_slice(&u32::from_str_radix(words.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    }
    let ip = match words.len() {
        8 => IpAddr::from([bytes[0], bytes[1], bytes[2], bytes[3]]),
        32 => IpAddr::from(bytes).to_canonical(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let text = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 1";
        assert_eq!(state_and_start(text), Some(('S', 4711)));
    }

    #[test]
    fn this_process_lives_and_a_recycled_number_is_another() {
        let own = Process::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(own.is_alive());
        assert!(!Process { started: own.started + 1, ..own }.is_alive());
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "it is about a process, and not about what it says")]
    fn a_process_whose_first_thread_has_ended_lives_on_with_the_others() {
        // 60 is exit(2), which ends the calling thread alone (x86-64; 93 elsewhere).
        let number = if cfg!(target_arch = "x86_64") { 60 } else { 93 };
        let script = format!(
            "import ctypes, threading\nthreading.Thread(target=input).start()\nctypes.CDLL(None).syscall({number}, 0)"
        );
        let mut child = std::process::Command::new("python3")
            .args(["-c", &script])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let state = || state_and_start(&std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap()).unwrap().0;
        while state() != 'Z' {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let process = Process::of(pid).expect("the process lives");
        child.kill().unwrap();
        while process.is_alive() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        child.wait().unwrap();
    }

    #[test]
    fn commands_are_not_servers() {
        assert!(is_server_command(b"bin/mattermost\0"));
        assert!(is_server_command(b"bin/mattermost\0-c\0other.json\0server\0"));
        assert!(is_server_command(b"bin/mattermost\0--platform\0"));
        assert!(!is_server_command(b"bin/mattermost\0version\0"));
        assert!(!is_server_command(b"bin/mattermost\0--config\0x\0db\0migrate\0"));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "it is about a process, and not about what it says")]
    fn the_variables_of_the_start_are_known() {
        let mut child =
            std::process::Command::new("sleep").arg("60").env_clear().env("SOME", "a value").spawn().unwrap();
        let process = Process::of(i32::try_from(child.id()).unwrap()).unwrap();
        assert!(process.was_started_with("SOME", "a value"));
        assert!(!process.was_started_with("SOME", "a"));
        assert!(!process.was_started_with("OTHER", "a value"));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_listening_socket_is_found_by_its_port() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = Process::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(own.listens_on(port));
        let client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (accepted, ours) = listener.accept().unwrap();
        let theirs = accepted.local_addr().unwrap();
        assert!(own.holds_connection(theirs, ours));
        assert!(!own.holds_connection(theirs, SocketAddr::new(ours.ip(), port)));
        drop((listener, accepted));
        assert!(!own.listens_on(port) && !own.holds_connection(theirs, ours));
        drop(client);
    }

    #[test]
    fn addresses_are_read_as_the_kernel_writes_them() {
        let read = |text| address(text).map(|address| address.to_string());
        if cfg!(target_endian = "little") {
            assert_eq!(read("0100007F:1F81").as_deref(), Some("127.0.0.1:8065"));
        }
        assert_eq!(read("0000000000000000FFFF000000000000:0050").as_deref(), Some("0.0.0.0:80"));
        assert_eq!(read("00000000000000000000000000000000:0050").as_deref(), Some("[::]:80"));
        assert_eq!(read("local_address"), None);
    }
}
