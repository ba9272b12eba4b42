//! Finding and reading the document.

use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::read;
use serde::de::IgnoredAny;

use super::Arguments;
use crate::contract::document::Document;
use crate::contract::error::{Error, Kind, Result};
use crate::contract::ui;
use crate::machine::{files, process, signals};

/// A document larger than this is not one of ours.
const MOST: u64 = 64 * 1024 * 1024;

const STANDARD_INPUT: &str = "on standard input";

/// What `--document` takes instead of a file where there is none.
const NONE: &str = "none";

/// How long nothing may come before people are told what is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest pause between two looks for a signal, in milliseconds.
const PAUSE: u8 = 50;

/// The document this run of `tool` works on; `None` when the flags alone say what to do.
pub(super) fn document<A: Arguments>(tool: &str, arguments: &A) -> Result<Option<Document>> {
    match arguments.common().document.as_deref() {
        Some(path) if path == Path::new("-") => Document::parse(&standard_input(tool)?, STANDARD_INPUT).map(Some),
        Some(path) if path == Path::new(NONE) => Ok(None),
        Some(path) => {
            let text = files::read(path, MOST).map_err(|error| {
                error
                    .of_kind(Kind::BadDocument)
                    .hint("name a regular file, and no link to one; or `-` for standard input, or `none`")
            })?;
            Document::parse(&text, &format!("in `{}`", path.display())).map(Some)
        }
        None if !arguments.reads_document() || !may_hold_a_document() => Ok(None),
        None => {
            let text = standard_input(tool)?;
            if text.iter().all(u8::is_ascii_whitespace) && arguments.complete_without_document() {
                return Ok(None);
            }
            Document::parse(&text, STANDARD_INPUT).map(Some)
        }
    }
}

/// A pipe, a socket or a file may hold one; a terminal or /dev/null does not.
fn may_hold_a_document() -> bool {
    let Ok(data) = fstat(std::io::stdin().as_fd()) else { return false };
    let kind = SFlag::from_bits_truncate(data.st_mode) & SFlag::S_IFMT;
    kind == SFlag::S_IFIFO || kind == SFlag::S_IFREG || kind == SFlag::S_IFSOCK
}

/// Reads to the end, which may never come: whoever started this may have left a pipe open. A signal ends it at once, but
/// for a document that is there as a whole.
fn standard_input(tool: &str) -> Result<Vec<u8>> {
    let unreadable = |message: &str| Error::new(Kind::BadDocument, format!("cannot read the document: {message}"));
    let stdin = std::io::stdin();
    let mut text = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    let begun = Instant::now();
    let mut told = false;
    loop {
        let ready = has_something(PAUSE).map_err(|error| unreadable(error.desc()))?;
        if ready {
            match read(stdin.as_fd(), &mut buffer) {
                Ok(0) => return Ok(text),
                Ok(count) => text.extend_from_slice(&buffer[..count]),
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(error) => return Err(unreadable(error.desc())),
            }
            if text.len() as u64 > MOST {
                return Err(unreadable(&format!("it is larger than {MOST} bytes")));
            }
            continue;
        }
        if let Err(stopped) = signals::check() {
            let is_whole = serde_json::from_slice::<IgnoredAny>(&text).is_ok();
            return if is_whole {
                Ok(text)
            } else {
                Err(stopped.because("no document had come by then; nothing was begun"))
            };
        }
        if !told && text.is_empty() && begun.elapsed() >= PATIENCE {
            told = true;
            if !process::works_beside_others_of_ours() {
                ui::notice(&format!(
                    "{tool}: waiting for a document on standard input, which somebody holds open; where there is none: \
                     --document none"
                ));
            }
        }
    }
}

/// Whether there is something to read, or the end, within so many milliseconds.
fn has_something(pause: u8) -> nix::Result<bool> {
    let stdin = std::io::stdin();
    let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, PollTimeout::from(pause)) {
        Ok(number) => Ok(number > 0),
        // A signal: what has come until now still counts.
        Err(Errno::EINTR) if pause > 0 => has_something(0),
        Err(Errno::EINTR) => Ok(false),
        Err(error) => Err(error),
    }
}
