//! SIGINT and SIGTERM ask a tool to stop. It does so where that is safe: [`check`] between steps, never inside one. Within
//! a second it says what it finishes or undoes before that. SIGHUP (a terminal or an ssh session that is gone) stops
//! nothing: what was begun is finished.

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::contract::error::{Error, Result};
use crate::contract::{progress, ui};

/// What stands before the signal in the error of a read.
const STOPPED_IO: &str = "stopped as asked: ";

const NAMES: [(i32, &str); 2] = [(SIGINT, "SIGINT"), (SIGTERM, "SIGTERM")];

static CAUGHT: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// What a signal that comes now leads to.
static AIM: Mutex<Aim> = Mutex::new(Aim { text: String::new(), steadfast: 0 });

struct Aim {
    text: String,
    /// How many [`Steadfast`] there are.
    steadfast: usize,
}

/// Who passes a terminal's Ctrl-C on, as mm-upgrade does, asks nothing that has not been asked.
const ECHO: Duration = Duration::from_millis(150);

/// From now on these signals are noted instead of ending the process, and answered on stderr in the name of `tool`. SIGHUP
/// is caught, not ignored: what is started must not inherit that.
pub fn watch(tool: &'static str) -> Result<()> {
    let cannot = |error: std::io::Error| Error::failed("cannot watch for signals").because(error);
    let caught = CAUGHT.get_or_init(Arc::default);
    let (ours, theirs) = UnixStream::pair().map_err(cannot)?;
    for (signal, _) in NAMES {
        let number = usize::try_from(signal).unwrap_or_default();
        signal_hook::flag::register_usize(signal, Arc::clone(caught), number).map_err(cannot)?;
        let writer = theirs.try_clone().map_err(cannot)?;
        signal_hook::low_level::pipe::register(signal, writer).map_err(cannot)?;
    }
    if !ignores(SIGHUP) {
        signal_hook::flag::register(SIGHUP, Arc::new(AtomicBool::new(false))).map_err(cannot)?;
    }
    // Where the system makes no thread (EAGAIN), the signal is obeyed all the same, and told of at the end.
    let _ = std::thread::Builder::new().name("signals".into()).spawn(move || answer(tool, ours));
    Ok(())
}

/// Says what each signal leads to.
fn answer(tool: &str, mut signals: UnixStream) {
    let mut first: Option<Instant> = None;
    let mut byte = [0];
    while signals.read_exact(&mut byte).is_ok() {
        if first.is_some_and(|first| first.elapsed() < ECHO) {
            continue;
        }
        let aim = aim().text.clone();
        let aim = if aim.is_empty() { "nothing has been begun" } else { &aim };
        let since = first.map_or(String::new(), |first| {
            let at = ui::activity().map(|activity| format!(", now at: {activity}")).unwrap_or_default();
            format!(" (asked {} s ago{at})", first.elapsed().as_secs())
        });
        first.get_or_insert_with(Instant::now);
        ui::notice(&format!("{tool}: stopping: {aim}{since}"));
    }
}

fn aim() -> std::sync::MutexGuard<'static, Aim> {
    AIM.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From here on a signal leads to this, which is what people are told: "undoing the exchange, ...". It is the caller that
/// does it, where [`check`] fails.
pub fn leads_to(text: impl Into<String>) {
    aim().text = text.into();
}

/// While one of these is there no signal stops anything: what is under way is finished. Each signal is answered with what
/// that is.
#[derive(Debug)]
#[must_use = "signals count again as soon as it is dropped"]
pub struct Steadfast {
    before: String,
}

impl Drop for Steadfast {
    fn drop(&mut self) {
        let mut aim = aim();
        aim.steadfast = aim.steadfast.saturating_sub(1);
        aim.text = std::mem::take(&mut self.before);
    }
}

/// What was begun is undone from here on, perhaps because of a signal: that one has been handled, so the waits of the undo
/// do not meet it again, nor one that comes now.
pub fn undoing(text: impl Into<String>) -> Steadfast {
    if let Some(caught) = CAUGHT.get() {
        caught.store(0, Ordering::Relaxed);
    }
    finishing(text)
}

/// What is under way from here on is finished, whatever signals come.
pub fn finishing(text: impl Into<String>) -> Steadfast {
    let mut aim = aim();
    aim.steadfast += 1;
    Steadfast { before: std::mem::replace(&mut aim.text, text.into()) }
}

/// Whether whoever started this process has had the signal ignored.
fn ignores(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// The signal that asks to stop, if one came and may stop something now.
pub fn caught() -> Option<&'static str> {
    let number = CAUGHT.get()?.load(Ordering::Relaxed);
    let (_, name) = NAMES.iter().find(|(signal, _)| usize::try_from(*signal).is_ok_and(|signal| signal == number))?;
    (aim().steadfast == 0).then_some(*name)
}

/// As [`check`], inside a long read: the error of one.
pub fn check_io() -> std::io::Result<()> {
    match caught() {
        None => Ok(()),
        Some(signal) => Err(std::io::Error::other(format!("{STOPPED_IO}{}", received(signal)))),
    }
}

/// Whether it is a signal alone that this error comes from: its causes are those of [`check`] or [`check_io`], or each of them is
/// something that could not be looked at for that. One that found something else is not.
pub fn have_stopped(error: &Error) -> bool {
    let received = NAMES.map(|(_, name)| received(name));
    let is_it =
        |cause: &&String| received.iter().any(|received| cause.strip_prefix(STOPPED_IO).unwrap_or(cause) == received);
    let names_it = |cause: &String| received.iter().any(|received| cause.contains(received));
    let causes = error.causes();
    causes.iter().any(|cause| is_it(&cause)) || !causes.is_empty() && causes.iter().all(names_it)
}

fn received(signal: &str) -> String {
    format!("{signal} was received")
}

/// A reader that ends with an error when a signal asks to stop: one file can take minutes.
#[derive(Debug)]
pub struct Heeding<R>(pub R);

impl<R: std::io::Read> std::io::Read for Heeding<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        check_io()?;
        self.0.read(buffer).inspect(|count| progress::passed(*count as u64))
    }
}

/// Fails when a signal asked to stop. To be called where stopping is safe; the caller undoes what it did.
pub fn check() -> Result<()> {
    match caught() {
        None => Ok(()),
        Some(signal) => {
            Err(Error::failed("stopped as asked").because(received(signal)).hint("run it again to continue"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::error::Kind;
    use crate::machine::command::Cmd;

    #[test]
    fn what_a_signal_has_cut_short_is_told_from_what_was_found() {
        let stopped =
            || Error::failed("stopped as asked").because("SIGINT was received").because("`pg_dump` was ended");
        assert!(have_stopped(&stopped()) && have_stopped(&stopped().within("cannot try the way back")));
        assert!(have_stopped(&Error::io("read", "/a", "stopped as asked: SIGTERM was received").within("cannot look")));
        let found = |causes: &[&str]| {
            let error = Error::new(Kind::CheckSaysNo, "no");
            have_stopped(&causes.iter().fold(error, Error::because))
        };
        let (cut, bad) = ("a: stopped as asked: SIGINT was received: `psql` was ended", "b: it is damaged");
        assert!(found(&[cut]) && found(&[cut, cut]));
        assert!(!found(&[]) && !found(&[bad]) && !found(&[cut, bad]));
    }

    #[test]
    fn a_signal_that_is_honoured_does_not_stop_the_cleaning_up() {
        let raise = || nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM).unwrap();
        watch("mm-test").unwrap();
        raise();
        assert_eq!(caught(), Some("SIGTERM"));
        assert!(check().is_err() && Cmd::new("sleep").arg("60").interruptible().run().is_err());
        let undo = undoing("undoing it");
        assert!(check().is_ok() && Cmd::new("true").interruptible().run().is_ok());
        // Asked again: the undo goes on.
        raise();
        assert!(check().is_ok() && check_io().is_ok() && Cmd::new("true").interruptible().run().is_ok());
        let inner = finishing("a part of it");
        assert!(check().is_ok());
        drop(inner);
        assert!(check().is_ok());
        drop(undo);
        assert!(check().is_err(), "what comes after the undo is not begun");
        drop(undoing("and again"));
        assert!(check().is_ok());
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGHUP).unwrap();
        assert!(check().is_ok(), "a terminal that is gone stops nothing");
    }
}
