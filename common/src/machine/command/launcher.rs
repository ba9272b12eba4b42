//! The launcher: this executable once more, as a process of its own with one thread, between a tool and somebody else's
//! program that is only asked something or only used. What the program starts becomes the launcher's child however it
//! hides (prctl(2), `PR_SET_CHILD_SUBREAPER`), and all of it is ended when the program ends, when it becomes too much, and
//! when the tool lets go of the launcher's standard input: by closing it, or by ending, however that comes about.
//!
//! Memory and processes are counted here and not by a transient unit of systemd: that is one way for every host, with or
//! without systemd as its first process, and a request over D-Bus takes longer than the question. It does not cover what
//! a program puts into a file system in memory. Whose program this is has the server's user's rights and could do so at
//! any time.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal, kill, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::limits::{MOST_PROCESSES, sees_all_processes, threads_of};
use crate::contract::error::{Error, Result};
use crate::contract::ui;
use crate::machine::tree;

/// The first argument of a launcher. No tool has a flag of this name.
const MARK: &str = "--launcher";

/// Between two counts, in milliseconds.
const PERIOD: u16 = 100;

/// Fewer children than this are given a moment to end before they are looked for again.
const FEW: usize = 8;

/// What a launcher ends with that could not start the program, or had to end it (a shell has 126 for it).
const UNFIT: u8 = 126;

/// Whether this process has `serve` in its way: it is one of the tools, and can be its own launcher.
static SERVES: AtomicBool = AtomicBool::new(false);

/// What a launcher is told in its first arguments; the program's words follow.
#[derive(Debug, Clone)]
pub(super) struct Orders {
    /// Who the program runs as.
    pub(super) uid: u32,
    /// How much memory all of it may have, in bytes.
    pub(super) memory: u64,
    /// A directory that is removed when everything has ended.
    pub(super) sweep: Option<PathBuf>,
}

impl Orders {
    /// The launcher and its arguments.
    pub(super) fn words(&self) -> Result<Vec<OsString>> {
        let sweep = self.sweep.clone().unwrap_or_default().into_os_string();
        Ok(vec![executable()?, MARK.into(), self.uid.to_string().into(), self.memory.to_string().into(), sweep])
    }

    fn read(words: &mut impl Iterator<Item = OsString>) -> Option<Self> {
        let (uid, memory, sweep) = (words.next()?, words.next()?, words.next()?);
        Some(Self {
            uid: uid.to_str()?.parse().ok()?,
            memory: memory.to_str()?.parse().ok()?,
            sweep: (!sweep.is_empty()).then(|| sweep.into()),
        })
    }
}

/// This executable, also when a package has put another one in its place since.
fn executable() -> Result<OsString> {
    if SERVES.load(Ordering::Relaxed) {
        return Ok("/proc/self/exe".into());
    }
    // Whoever uses the library without being a tool: tests, whose executables stand in a directory below the tools'.
    let own = std::env::current_exe().map_err(|error| Error::failed("cannot find this executable").because(error))?;
    let beside = own.ancestors().skip(1).take(2).map(|directory| directory.join("mm-path")).find(|path| path.is_file());
    beside.map(PathBuf::into_os_string).ok_or_else(|| Error::failed("only a tool can launch somebody else's program"))
}

/// Serves as a launcher where this process was started as one. The first thing a tool does.
pub fn serve() -> Option<ExitCode> {
    SERVES.store(true, Ordering::Relaxed);
    let mut words = std::env::args_os().skip(1);
    if words.next().as_deref() != Some(OsStr::new(MARK)) {
        return None;
    }
    let orders = Orders::read(&mut words)?;
    let ended = launch(&orders, &words.collect::<Vec<_>>());
    end_all();
    if let Some(directory) = &orders.sweep {
        // It is in a place for such directories, and nobody waits for it.
        let _ = tree::remove(directory);
    }
    Some(match ended {
        Ok(Ended::Exited(code)) => ExitCode::from(code),
        Ok(Ended::Killed(signal)) => {
            let _ = raise(signal);
            ExitCode::from(UNFIT)
        }
        Err(error) => {
            ui::warn(&error.one_line());
            ExitCode::from(UNFIT)
        }
    })
}

/// How the program ended.
#[derive(Debug, Clone, Copy)]
enum Ended {
    Exited(u8),
    Killed(Signal),
}

fn launch(orders: &Orders, words: &[OsString]) -> Result<Ended> {
    let failed = |error: Errno| Error::failed("cannot watch over a program").because(error.desc());
    let [program, arguments @ ..] = words else { return Err(Error::failed("no program was named")) };
    set_child_subreaper(true).map_err(failed)?;
    limit(orders.uid).map_err(failed)?;
    #[expect(
        clippy::disallowed_methods,
        reason = "the environment is clean already, and the streams are the program's"
    )]
    let child = Command::new(program).args(arguments).stdin(Stdio::null()).spawn();
    let child = child.map_err(|error| Error::failed(format!("cannot start `{}`", program.display())).because(error))?;
    let child = Pid::from_raw(i32::try_from(child.id()).map_err(|_| failed(Errno::EOVERFLOW))?);
    // Only now, as the program would inherit it; a child that has ended meanwhile is seen by the first look.
    let ends = SigSet::from(Signal::SIGCHLD);
    ends.thread_block().map_err(failed)?;
    let ends = SignalFd::with_flags(&ends, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map_err(failed)?;
    let leash = std::io::stdin();
    let mut counted = Instant::now();
    loop {
        while matches!(ends.read_signal(), Ok(Some(_))) {}
        if let Some(ended) = reap(child) {
            return Ok(ended);
        }
        let mut streams = [PollFd::new(leash.as_fd(), PollFlags::POLLIN), PollFd::new(ends.as_fd(), PollFlags::POLLIN)];
        match poll(&mut streams, PollTimeout::from(PERIOD)) {
            Ok(1..) if streams[0].any().unwrap_or(true) => return Ok(Ended::Killed(Signal::SIGKILL)),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(failed(error)),
        }
        // By the clock: children that end all the time must not keep it from being done.
        if counted.elapsed() >= Duration::from_millis(PERIOD.into()) {
            count(orders.memory)?;
            counted = Instant::now();
        }
    }
}

/// No core files, and no more processes than some: however fast they are made, they can be counted and ended.
fn limit(uid: u32) -> nix::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    if !sees_all_processes() {
        return Ok(());
    }
    let (_, hard) = getrlimit(Resource::RLIMIT_NPROC)?;
    let most = hard.min(threads_of(uid) + MOST_PROCESSES);
    setrlimit(Resource::RLIMIT_NPROC, most, most)
}

/// Takes note of everything that has ended; how the program did, if it was among it.
fn reap(child: Pid) -> Option<Ended> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == child => {
                return Some(Ended::Exited(u8::try_from(code).unwrap_or(UNFIT)));
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => return Some(Ended::Killed(signal)),
            Ok(WaitStatus::StillAlive) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

/// Counts what is below this process.
///
/// # Errors
/// When it is more than it may be.
fn count(memory: u64) -> Result<()> {
    let all = processes();
    let mut below = vec![std::process::id()];
    let (mut number, mut bytes) = (0_u64, 0_u64);
    while let Some(parent) = below.pop() {
        for (pid, process) in all.iter().filter(|(_, process)| process.parent == parent) {
            below.push(*pid);
            number += 1;
            bytes += process.bytes;
        }
    }
    if number > MOST_PROCESSES {
        return Err(Error::failed(format!("ended: it had started more than {MOST_PROCESSES} processes")));
    }
    if bytes > memory {
        return Err(Error::failed(format!("ended: it used more than {} MiB of memory", memory >> 20)));
    }
    Ok(())
}

/// A process as the kernel shows it.
struct Process {
    parent: u32,
    /// Memory of its own, in bytes: not what it has mapped of files.
    bytes: u64,
}

/// All processes, from /proc/PID/status (proc(5)).
fn processes() -> BTreeMap<u32, Process> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers
        .filter_map(|pid| Some((pid, process(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?)?)))
        .collect()
}

fn process(status: &str) -> Option<Process> {
    let field = |name: &str| {
        let rest = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        rest.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    let kilobytes = field("RssAnon").unwrap_or(0) + field("RssShmem").unwrap_or(0);
    Some(Process { parent: u32::try_from(field("PPid")?).ok()?, bytes: kilobytes << 10 })
}

/// Ends everything below this process. Only children are sent a signal: their numbers cannot have become somebody else's,
/// as nobody else takes note of their end. What they leave becomes a child in its turn.
fn end_all() {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            // There is none, and so nothing below one either.
            Err(Errno::ECHILD) => return,
            Ok(WaitStatus::StillAlive) => {
                let children = children();
                for pid in &children {
                    let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
                }
                // Where there are many, others are made meanwhile.
                let pause = if children.len() < FEW { 1000 } else { 20 };
                std::thread::sleep(Duration::from_micros(pause));
            }
            _ => {}
        }
    }
}

fn children() -> Vec<i32> {
    let own = std::process::id();
    let listed = std::fs::read_to_string("/proc/thread-self/children");
    listed.map_or_else(
        // A kernel without such lists.
        |_| {
            let all = processes().into_iter().filter(|(_, process)| process.parent == own);
            all.filter_map(|(pid, _)| i32::try_from(pid).ok()).collect()
        },
        |text| text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect(),
    )
}
