//! Waits for either side. A blocked read or write is ended by a signal, and when nothing has gone on for too long: whoever
//! stopped answering without hanging up would be waited for without end.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use mm_common::machine::{signals, threads};
use mm_common::{Error, Result};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// What goes on: a count of anything.
#[derive(Debug, Default)]
pub(super) struct Pulse(AtomicU64);

impl Pulse {
    pub(super) fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Does `work`, which beats while it goes on. `end` ends what it waits for.
///
/// # Errors
/// As the work; stopped as asked, or failed when nothing has gone on for `limit`.
pub(super) fn guarded<T>(limit: Duration, end: impl Fn() + Sync, work: impl FnOnce(&Pulse) -> Result<T>) -> Result<T> {
    let pulse = Pulse::default();
    let (working, done) = mpsc::channel::<()>();
    let done = Mutex::new(done);
    let watch = || {
        let Ok(done) = done.lock() else { return None };
        let (mut last, mut alive) = (0, Instant::now());
        while done.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            let now = pulse.0.load(Ordering::Relaxed);
            if now != last {
                (last, alive) = (now, Instant::now());
            }
            let hangs = || Error::failed(format!("nothing has gone on for {} seconds", limit.as_secs()));
            let why = signals::check().err().or_else(|| (alive.elapsed() >= limit).then(hangs));
            if why.is_some() {
                end();
                return why;
            }
        }
        None
    };
    let (why, result) = threads::both(watch, || {
        let result = work(&pulse);
        drop(working);
        result
    });
    match (result, why) {
        (Err(error), Some(why)) => Err(why.because(error.one_line())),
        (result, _) => result,
    }
}

/// Does `work` in a thread that is given up when a signal comes, or after `limit`.
///
/// # Errors
/// Stopped as asked, or failed when it takes too long.
pub(super) fn given_up<T: Send + 'static>(limit: Duration, work: impl Fn() -> T + Clone + Send + 'static) -> Result<T> {
    let (sender, receiver) = mpsc::channel();
    let there = work.clone();
    // Whoever has given up does not listen any more.
    let spawned = std::thread::Builder::new().spawn(move || drop(sender.send(there())));
    if spawned.is_err() {
        return Ok(work());
    }
    let begun = Instant::now();
    loop {
        match receiver.recv_timeout(LOOK) {
            Ok(done) => return Ok(done),
            Err(RecvTimeoutError::Timeout) if begun.elapsed() < limit => signals::check()?,
            Err(_) => return Err(Error::failed(format!("no answer within {} seconds", limit.as_secs()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_hangs_is_ended_and_what_goes_on_is_not() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let end = || theirs.shutdown(Shutdown::Both).unwrap();
        let limit = Duration::from_secs(1);
        let goes_on = guarded(limit, end, |pulse| {
            for _ in 0..20 {
                std::thread::sleep(Duration::from_millis(100));
                pulse.beat();
            }
            Ok(())
        });
        goes_on.unwrap();
        let hangs = guarded(limit, end, |_| match ours.read(&mut [0]) {
            Ok(0) => Err::<(), _>(Error::failed("hung up")),
            other => panic!("{other:?}"),
        });
        let said = hangs.unwrap_err().one_line();
        assert!(said.contains("nothing has gone on for 1 seconds") && said.contains("hung up"), "{said}");
        let slow = given_up(limit, || std::thread::sleep(Duration::from_secs(5)));
        assert!(slow.unwrap_err().one_line().contains("no answer within 1 seconds"));
        assert_eq!(given_up(limit, || 7).unwrap(), 7);
    }
}
