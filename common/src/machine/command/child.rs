//! A program that runs: what it says, within limits; its end, within its time; and the end of what it has started.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::{CANCELLED, Cmd, MOST, MOST_ASKED, Output};
use crate::contract::error::{Error, Result};
use crate::machine::signals;

/// How long what a program has left behind may hold its pipes after its end.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// How long a launcher may take to end what is below it. That takes milliseconds; what makes processes faster than they can
/// be counted makes it seconds, and would be let go by ending the launcher.
const ENDING: Duration = Duration::from_secs(30);

/// How many pieces are read before anything else is looked at.
const AT_ONCE: usize = 64;

/// What a pipe to a file holds, in bytes: as much as the kernel allows everybody.
const WIDE: i32 = 1 << 20;

/// The longest pause between two looks at limits, signals and the program's end, in milliseconds.
pub(super) const PAUSE: u8 = 50;

impl Cmd {
    /// Feeds `input` to a started program and reads what it says until it has ended.
    ///
    /// # Errors
    /// When it exceeds its limits of time or output, or is to be ended because of a signal or a failure elsewhere: it is
    /// killed then, with its session.
    pub(super) fn finish(&self, child: Child, input: &[u8]) -> Result<Output> {
        self.finish_into(child, input, None)
    }

    /// As [`Cmd::finish`], with what it says on stdout written to a file.
    pub(super) fn finish_into(&self, mut child: Child, input: &[u8], into: Option<(File, &Path)>) -> Result<Output> {
        match self.attend(&mut child, input, into) {
            Ok(output) => Ok(output),
            Err(error) => {
                if self.asked.is_some() {
                    end(&mut child);
                } else {
                    kill_group(&mut child);
                }
                let _ = child.wait();
                Err(error)
            }
        }
    }

    fn attend(&self, child: &mut Child, input: &[u8], into: Option<(File, &Path)>) -> Result<Output> {
        let failed = |error: io::Error| Error::failed(format!("cannot wait for `{}`", self.line())).because(error);
        let begun = Instant::now();
        let most = if self.asked.is_some() { MOST_ASKED } else { MOST };
        let mut stdout = Pipe::of(child.stdout.take().map(OwnedFd::from)).map_err(failed)?;
        let mut stderr = Pipe::of(child.stderr.take().map(OwnedFd::from)).map_err(failed)?;
        let (file, path) = into.unzip();
        if file.is_some() {
            stdout.widen();
        }
        stdout.into = file;
        // The launcher's is what we hold it by.
        let stdin = if self.asked.is_some() { None } else { child.stdin.take() };
        let mut stdin = Pipe::of(stdin.map(OwnedFd::from)).map_err(failed)?;
        let mut rest = input;
        let mut ended: Option<(ExitStatus, Instant)> = None;
        let mut pause = 1;
        loop {
            wait_for(
                &[(&stdout, PollFlags::POLLIN), (&stderr, PollFlags::POLLIN), (&stdin, PollFlags::POLLOUT)],
                pause,
            )
            .map_err(failed)?;
            pause = (pause * 2).min(PAUSE);
            rest = stdin.write(rest);
            let mut heard = false;
            for pipe in [&mut stdout, &mut stderr] {
                let was_open = pipe.file.is_some();
                let read = (0..AT_ONCE).take_while(|_| pipe.read()).count();
                heard |= read > 0;
                // What closes it ends in the next moment, and nothing wakes us then.
                if read > 0 || was_open && pipe.file.is_none() {
                    pause = 1;
                }
            }
            if let Some(error) = stdout.fault.take() {
                return Err(Error::io("write", path.unwrap_or(Path::new("")), error));
            }
            if stdout.bytes.len() > most || self.asked.is_some() && stderr.bytes.len() > most {
                return Err(self.ended(format!("it wrote more than {} MiB", most >> 20)));
            }
            stderr.forget_all_but(MOST_ASKED);
            if ended.is_none() {
                ended = child.try_wait().map_err(failed)?.map(|status| (status, Instant::now()));
            }
            if let Some((status, at)) = ended
                // What it has said before its end is still to be written where the disk is slow.
                && (stdout.file.is_none() && stderr.file.is_none()
                    || at.elapsed() >= GRACE && (!heard || at.elapsed() >= ENDING))
            {
                let stderr = String::from_utf8_lossy(&stderr.bytes).into_owned();
                return Ok(Output { status, stdout: stdout.bytes, stderr });
            }
            if begun.elapsed() >= self.limit && ended.is_none() {
                return Err(self.ended(format!("it had not finished after {} seconds", self.limit.as_secs())));
            }
            if self.interruptible
                && let Err(stopped) = signals::check()
            {
                return Err(stopped.because(format!("`{}` was ended", self.line())));
            }
            if self.cancel.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed)) {
                return Err(self.ended(CANCELLED.into()));
            }
        }
    }

    fn ended(&self, why: String) -> Error {
        Error::failed(format!("`{}` was ended", self.line())).because(why)
    }
}

/// Our end of a pipe, which never blocks; nothing when there is none or the other end is closed.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) file: Option<File>,
    pub(super) bytes: Vec<u8>,
    /// Where what is read goes instead.
    into: Option<File>,
    /// Why it could not.
    fault: Option<io::Error>,
}

impl Pipe {
    pub(super) fn of(fd: Option<OwnedFd>) -> io::Result<Self> {
        if let Some(fd) = &fd {
            fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok(Self { file: fd.map(File::from), bytes: Vec::new(), into: None, fault: None })
    }

    /// Lets it hold more, so that whoever writes waits less. Without it the same is done in smaller pieces.
    fn widen(&self) {
        let _ = self.file.as_ref().map(|file| fcntl(file, FcntlArg::F_SETPIPE_SZ(WIDE)));
    }

    /// Reads a piece of what is there; whether there was any. What was read before a failure is what there is to show.
    pub(super) fn read(&mut self) -> bool {
        let Some(file) = &mut self.file else { return false };
        let mut buffer = [0; 16 * 1024];
        match file.read(&mut buffer) {
            Ok(0) => self.file = None,
            Ok(count) => {
                match &mut self.into {
                    Some(into) => self.fault = into.write_all(&buffer[..count]).err(),
                    None => self.bytes.extend_from_slice(&buffer[..count]),
                }
                return self.fault.is_none();
            }
            Err(error) if may_go_on(&error) => {}
            Err(_) => self.file = None,
        }
        false
    }

    /// Writes a piece of `text` and returns the rest; the pipe is closed when there is none, or nobody reads.
    fn write<'a>(&mut self, text: &'a [u8]) -> &'a [u8] {
        let Some(file) = &mut self.file else { return text };
        let written = if text.is_empty() { Ok(0) } else { file.write(text) };
        match written {
            Ok(count) if count < text.len() => &text[count..],
            Err(error) if may_go_on(&error) => text,
            _ => {
                self.file = None;
                &[]
            }
        }
    }

    pub(super) fn forget_all_but(&mut self, most: usize) {
        // Twice as much, so that not every piece moves all of it.
        if self.bytes.len() > 2 * most {
            self.bytes.drain(..self.bytes.len() - most);
        }
    }
}

pub(super) fn may_go_on(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Waits until one of the pipes that are open can be used, for at most so many milliseconds.
pub(super) fn wait_for(pipes: &[(&Pipe, PollFlags)], milliseconds: u8) -> io::Result<()> {
    let open = pipes.iter().filter_map(|(pipe, what)| Some(PollFd::new(pipe.file.as_ref()?.as_fd(), *what)));
    match poll(&mut open.collect::<Vec<_>>(), PollTimeout::from(milliseconds)) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Ends what was asked: lets go of its launcher, which ends all there is, and removes what it was told to.
pub fn end(child: &mut Child) {
    drop(child.stdin.take());
    let begun = Instant::now();
    while begun.elapsed() < ENDING {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    kill_group(child);
}

/// Ends a child and all it started: its process group, and what is in its session.
pub fn kill_group(child: &mut Child) {
    // It may not lead its group yet, or just have ended by itself.
    let _ = child.kill();
    let Ok(pid) = i32::try_from(child.id()) else { return };
    let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    for member in members(pid) {
        let _ = kill(Pid::from_raw(member), Signal::SIGKILL);
    }
}

/// The processes of a session.
fn members(session: i32) -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(|pid| session_of(*pid) == Some(session)).collect()
}

/// Sixth field of /proc/PID/stat (proc(5)). The second may hold spaces and parentheses.
fn session_of(pid: i32) -> Option<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(')')?.1.split_ascii_whitespace().nth(3)?.parse().ok()
}
