//! Limits of a whole check. What the server answers, and what lies in its tree and its database, may be anybody's: each of
//! them small, and without end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::signals;
use crate::contract::error::{Error, Result};

/// How much a check may look at.
#[derive(Debug)]
pub struct Budget {
    what: &'static str,
    number: u64,
    bytes: u64,
    time: Duration,
    begun: Instant,
    seen: AtomicU64,
    read: AtomicU64,
}

impl Budget {
    /// For a check that looks at some of `what`, in the plural, beginning now.
    pub fn new(what: &'static str, number: u64, bytes: u64, time: Duration) -> Self {
        Self { what, number, bytes, time, begun: Instant::now(), seen: AtomicU64::new(0), read: AtomicU64::new(0) }
    }

    /// To be called for each one, before or after it is read; it has so many bytes.
    ///
    /// # Errors
    /// Failed when there are more of them, or more bytes, than there can be, when it takes too long, and when a signal asked
    /// to stop.
    pub fn spend(&self, bytes: u64) -> Result<()> {
        signals::check()?;
        let seen = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
        let read = self.read.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let Self { what, number, .. } = self;
        let why = if seen > *number {
            format!("there are more than {number} of them")
        } else if read > self.bytes {
            format!("they have more than {} bytes", self.bytes)
        } else if self.begun.elapsed() > self.time {
            format!("it takes more than {} s", self.time.as_secs())
        } else {
            return Ok(());
        };
        Err(Error::failed(format!("cannot look at all {what}"))
            .because(why)
            .hint(format!("find out where the {what} come from: a site has far fewer")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_has_limits_of_number_bytes_and_time() {
        let budget = |number, bytes, time| Budget::new("files", number, bytes, time);
        let said = |budget: &Budget, bytes| budget.spend(bytes).unwrap_err().one_line();
        let long = Duration::from_secs(300);
        let few = budget(2, 10, long);
        few.spend(5).and_then(|()| few.spend(5)).unwrap();
        assert!(said(&few, 0).contains("more than 2 of them"));
        let small = budget(9, 10, long);
        small.spend(5).unwrap();
        assert!(said(&small, 6).contains("more than 10 bytes"));
        assert!(said(&budget(9, 10, Duration::ZERO), 0).contains("more than 0 s"));
        assert!(budget(9, u64::MAX, long).spend(u64::MAX).is_ok());
    }
}
