//! What is going on, for people on a terminal, and for the downloads among themselves: when one fails, the others stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mm_common::contract::error::{Error, Result};
use mm_common::contract::progress::Meter;
use mm_common::machine::signals;

/// The downloads of this run.
#[derive(Debug, Default)]
pub(crate) struct Board {
    stop: AtomicBool,
}

/// What is shown of one download.
#[derive(Debug)]
pub(crate) struct Bar {
    board: Arc<Board>,
    name: String,
    meter: Mutex<Option<(Shows, Meter)>>,
}

/// What a meter is about.
#[derive(Debug, PartialEq, Eq)]
enum Shows {
    Bytes,
    Words,
}

impl Board {
    /// A bar for a release; it is shown once something happens.
    pub(crate) fn bar(self: &Arc<Self>, name: String) -> Bar {
        Bar { board: Arc::clone(self), name, meter: Mutex::default() }
    }

    /// Asks all downloads to stop.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether they were asked to.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Bar {
    /// Bytes at hand, and how many it will be.
    pub(crate) fn set(&self, have: u64, total: Option<u64>) {
        let mut shown = self.meter.lock().unwrap_or_else(PoisonError::into_inner);
        shown.take_if(|(shows, _)| *shows == Shows::Words);
        let (_, meter) = shown.get_or_insert_with(|| (Shows::Bytes, Meter::told(self.name.clone())));
        meter.set(have, total);
    }

    /// Something that takes a while and is no download.
    pub(crate) fn doing(&self, what: &'static str) {
        self.end();
        let meter = Meter::told(format!("{} {what}", self.name));
        *self.meter.lock().unwrap_or_else(PoisonError::into_inner) = Some((Shows::Words, meter));
    }

    /// Nothing more to show.
    pub(crate) fn end(&self) {
        self.meter.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Fails when a signal came or another download failed.
    pub(crate) fn check(&self) -> Result<()> {
        signals::check()?;
        if self.board.is_stopped() {
            return Err(Error::failed("stopped because another release could not be fetched"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_stops_the_others() {
        let board = Arc::new(Board::default());
        let bar = board.bar("a".into());
        bar.check().unwrap();
        board.stop();
        assert!(bar.check().is_err());
    }
}
