//! Running programs of the host from a fixture, and looking at processes.

use std::io::{Read as _, Seek as _, Write as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};

/// The user that test servers run as; `scripts/prepare` makes it.
pub const TEST_USER: &str = "mm-test";

/// Runs a program of the fixture and returns its stdout; a failure is a panic with all it said.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("cannot run `{program}`: {error}; scripts/prepare installs what tests need"));
    succeeded(&format!("{program} {}", arguments.join(" ")), output)
}

/// The stdout of a program that is to have succeeded.
pub fn succeeded(line: &str, output: Output) -> String {
    assert!(
        output.status.success(),
        "`{line}` ended with {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("programs of the fixture write text")
}

/// Uid and gid of a user.
pub fn ids(user: &str) -> (u32, u32) {
    let user = nix::unistd::User::from_name(user)
        .expect("the user database can be read")
        .unwrap_or_else(|| panic!("there is no user {user}: run scripts/prepare"));
    (user.uid.as_raw(), user.gid.as_raw())
}

/// A program to be started as `user`, with an empty environment but for PATH.
pub fn as_user(user: &str, program: &Path) -> Command {
    let (uid, gid) = ids(user);
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", &uid.to_string(), "--regid", &gid.to_string(), "--init-groups", "--"])
        .arg(program)
        .env_clear()
        .env("PATH", PATH);
    command
}

/// The PATH of everything a test starts.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A TCP port of the loopback interface that nobody uses, and that nobody is given while it is not in use: it is none of
/// those that the system gives away by itself, comes again only after thousands of others, and the tests of another
/// checkout on this machine do not take it as long as this process lives, which holds a socket of its name.
pub fn free_port() -> u16 {
    static CLAIMED: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
    const FIRST: u16 = 20_000;
    const NUMBER: u16 = 12_000;
    let path = crate::tool::cache().join("port");
    let file = std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    let mut file = Flock::lock(file.expect("the cache is ours"), FlockArg::LockExclusive)
        .map_err(|(_, error)| error)
        .expect("flock works");
    let mut text = String::new();
    file.read_to_string(&mut text).expect("it is text");
    // Another checkout begins elsewhere.
    let mut next = text.trim().parse().unwrap_or_else(|_| std::process::id());
    loop {
        next = next.wrapping_add(1);
        let port = FIRST + u16::try_from(next % u32::from(NUMBER)).expect("it is below it");
        let name = SocketAddr::from_abstract_name(format!("mm-test-port-{port}")).expect("it is short");
        let Ok(claim) = UnixListener::bind_addr(&name) else { continue };
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            CLAIMED.lock().expect("nobody panics with it").push(claim);
            file.rewind().expect("it is a file");
            file.set_len(0).expect("it is ours");
            write!(file, "{next}").expect("it is ours");
            return port;
        }
    }
}

/// Processes (zombies left out) whose executable stands below `directory`, even if it has been replaced or deleted since.
pub fn running_below(directory: &Path) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc is there").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let executable = std::fs::read_link(entry.path().join("exe")).unwrap_or_default();
        if executable.starts_with(directory) {
            found.push(pid);
        }
    }
    found
}

/// Whether a process has a file open, as one has that waits for a lock.
pub fn has_open(process: u32, path: &Path) -> bool {
    let open = std::fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    open.filter_map(|entry| std::fs::read_link(entry.path()).ok()).any(|found| found == path)
}

/// The command that ends all processes with executable or working directory below `directory`.
pub fn end_all_below(directory: &Path) -> String {
    // One program looks at all processes: a test machine has hundreds, and many tests end at once.
    format!(
        "find /proc/[0-9]*/exe /proc/[0-9]*/cwd -maxdepth 0 \\( -lname '{0}' -o -lname '{0}/*' \\) 2>/dev/null \
         | cut -d/ -f3 | xargs -r kill -9 2>/dev/null",
        directory.display()
    )
}

/// Waits until `done` says yes; panics with `what` when it does not within `limit`.
pub fn wait_until(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < limit, "waited {} seconds in vain: {what}", limit.as_secs());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The workspace's directory.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("tests/support is in the workspace").to_owned()
}
