//! SIGINT, SIGTERM and SIGHUP (a terminal that is gone) ask a tool to stop. It does so where that is safe: [`check`]
//! between steps, never inside one.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::contract::error::{Error, Result};

const NAMES: [(i32, &str); 3] = [(SIGINT, "SIGINT"), (SIGTERM, "SIGTERM"), (SIGHUP, "SIGHUP")];

static CAUGHT: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// From now on these signals are noted instead of ending the process; SIGHUP only where nobody has had it ignored, as
/// `nohup` does.
pub fn watch() -> Result<()> {
    let caught = CAUGHT.get_or_init(Arc::default);
    for (signal, _) in NAMES {
        if signal == SIGHUP && ignores(signal) {
            continue;
        }
        let number = usize::try_from(signal).unwrap_or_default();
        signal_hook::flag::register_usize(signal, Arc::clone(caught), number)
            .map_err(|error| Error::failed("cannot watch for signals").because(error))?;
    }
    Ok(())
}

/// Whether whoever started this process has had the signal ignored.
fn ignores(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// The signal that came, if one did.
pub fn caught() -> Option<&'static str> {
    let number = CAUGHT.get()?.load(Ordering::Relaxed);
    NAMES
        .iter()
        .find(|(signal, _)| usize::try_from(*signal).is_ok_and(|signal| signal == number))
        .map(|(_, name)| *name)
}

/// The signal that came is being honoured: what is done from here on, to put back what was begun, is not stopped by it
/// once more. A second one is another matter.
pub fn honour() {
    if let Some(caught) = CAUGHT.get() {
        caught.store(0, Ordering::Relaxed);
    }
}

/// As [`check`], inside a long read: the error of one.
pub fn check_io() -> std::io::Result<()> {
    match caught() {
        None => Ok(()),
        Some(signal) => Err(std::io::Error::other(format!("stopped as asked: {signal} was received"))),
    }
}

/// A reader that ends with an error when a signal asks to stop: one file can take minutes.
#[derive(Debug)]
pub struct Heeding<R>(pub R);

impl<R: std::io::Read> std::io::Read for Heeding<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        check_io()?;
        self.0.read(buffer)
    }
}

/// Fails when a signal asked to stop. To be called where stopping is safe; the caller undoes what it did.
pub fn check() -> Result<()> {
    match caught() {
        None => Ok(()),
        Some(signal) => Err(Error::failed("stopped as asked")
            .because(format!("{signal} was received"))
            .hint("run it again to continue")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::command::Cmd;

    #[test]
    fn a_signal_that_is_honoured_does_not_stop_the_cleaning_up() {
        watch().unwrap();
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM).unwrap();
        assert_eq!(caught(), Some("SIGTERM"));
        assert!(check().is_err() && Cmd::new("sleep").arg("60").interruptible().run().is_err());
        honour();
        assert!(check().is_ok() && Cmd::new("true").interruptible().run().is_ok());
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM).unwrap();
        assert!(check().is_err());
        honour();
    }
}
