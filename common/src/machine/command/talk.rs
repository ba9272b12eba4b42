//! A program that is asked one thing after the other, and started once for all of it.

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use super::child::{PAUSE, Pipe, may_go_on, wait_for};
use super::{CANCELLED, Cmd, MOST, MOST_ASKED, Output, kill_group};
use crate::contract::error::{Error, Result};
use crate::machine::signals;

/// A started program with its streams. It ends, with all it started, when this is dropped.
#[derive(Debug)]
pub struct Talk {
    command: Cmd,
    child: Child,
    stdin: Pipe,
    stdout: Pipe,
    stderr: Pipe,
    ended: Option<ExitStatus>,
    /// It has answered, and waits for the next question.
    waits: bool,
}

/// How long a program that waits for a question may take to end when there is none any more.
const LEAVING: Duration = Duration::from_millis(100);

impl Cmd {
    /// Starts it to be asked again and again: its limit of time is that of each question.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn talk(&self) -> Result<Talk> {
        let mut child = self.start(Stdio::piped(), Stdio::piped(), Stdio::piped())?;
        let failed = |error: std::io::Error| Error::failed(format!("cannot talk to `{}`", self.line())).because(error);
        Ok(Talk {
            command: self.clone(),
            stdin: Pipe::of(child.stdin.take().map(OwnedFd::from)).map_err(failed)?,
            stdout: Pipe::of(child.stdout.take().map(OwnedFd::from)).map_err(failed)?,
            stderr: Pipe::of(child.stderr.take().map(OwnedFd::from)).map_err(failed)?,
            child,
            ended: None,
            waits: true,
        })
    }
}

impl Talk {
    /// Writes `question` and reads what the program says until that ends with `end`, which is not part of the answer; or
    /// until it has ended well, which it does by itself where the question says so.
    ///
    /// # Errors
    /// When it ends otherwise, exceeds its limits of time or output, or is to be ended because of a signal or a failure
    /// elsewhere. Nothing more can be asked of it then.
    pub fn ask(&mut self, question: &str, end: &str) -> Result<Vec<u8>> {
        let failed = |error: std::io::Error| Error::failed("cannot wait for an answer").because(error);
        let begun = Instant::now();
        self.waits = false;
        self.stdout.bytes.clear();
        let mut rest = question.as_bytes();
        loop {
            let to_write = if rest.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
            let pipes = [(&self.stdout, PollFlags::POLLIN), (&self.stderr, PollFlags::POLLIN), (&self.stdin, to_write)];
            wait_for(&pipes, PAUSE).map_err(failed)?;
            rest = self.write(rest);
            while self.stdout.read() && self.stdout.bytes.len() <= MOST {}
            while self.stderr.read() {}
            self.stderr.forget_all_but(MOST_ASKED);
            if self.stdout.bytes.ends_with(end.as_bytes()) {
                let length = self.stdout.bytes.len() - end.len();
                self.stdout.bytes.truncate(length);
                self.waits = true;
                return Ok(std::mem::take(&mut self.stdout.bytes));
            }
            if self.stdout.bytes.len() > MOST {
                return Err(self.stopped(format!("it wrote more than {} MiB", MOST >> 20)));
            }
            if let Some(status) = self.child.try_wait().map_err(failed)? {
                self.ended = Some(status);
                while self.stdout.read() || self.stderr.read() {}
                let stdout = std::mem::take(&mut self.stdout.bytes);
                if status.success() {
                    return Ok(stdout);
                }
                let stderr = String::from_utf8_lossy(&self.stderr.bytes).into_owned();
                return Err(self.command.failure(&Output { status, stdout, stderr }));
            }
            if begun.elapsed() >= self.command.limit {
                let limit = self.command.limit.as_secs();
                return Err(self.stopped(format!("it had not answered after {limit} seconds")));
            }
            if self.command.interruptible
                && let Err(stopped) = signals::check()
            {
                return Err(stopped.because(format!("`{}` was ended", self.command.line())));
            }
            if self.command.cancel.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed)) {
                return Err(self.stopped(CANCELLED.into()));
            }
        }
    }

    /// Another limit of time for each question from now on.
    pub fn relimit(&mut self, limit: Duration) {
        self.command = self.command.clone().limit(limit);
    }

    /// How it has ended, when it has.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.ended
    }

    /// Whether it ends by itself. To look for all that is in its session takes longer, and users may be waiting.
    fn leaves(&mut self) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < LEAVING {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        false
    }

    fn stopped(&self, why: String) -> Error {
        Error::failed(format!("`{}` was ended", self.command.line())).because(why)
    }

    /// Writes a piece of `text` and returns the rest. What cannot be written is of no use: that it has ended is seen.
    fn write<'a>(&mut self, text: &'a [u8]) -> &'a [u8] {
        let Some(file) = self.stdin.file.as_mut().filter(|_| !text.is_empty()) else { return &[] };
        match file.write(text) {
            Ok(count) => &text[count..],
            Err(error) if may_go_on(&error) => text,
            Err(_) => &[],
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.stdin.file = None;
        if self.ended.is_none() && !(self.waits && self.leaves()) {
            kill_group(&mut self.child);
            let _ = self.child.wait();
        }
    }
}
