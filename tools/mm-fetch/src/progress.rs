//! What is going on, for people on a terminal, and for the downloads among themselves: when one fails, the others stop.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mm_common::contract::error::{Error, Result};
use mm_common::contract::ui;
use mm_common::machine::signals;

/// Cells of a bar.
const CELLS: u64 = 12;

/// Rates are averages over at least this long, so that they do not jump.
const STEADY: Duration = Duration::from_secs(1);

/// The downloads of this run.
#[derive(Debug, Default)]
pub(crate) struct Board {
    bars: Mutex<Vec<State>>,
    stop: AtomicBool,
}

#[derive(Debug)]
struct State {
    name: String,
    begun: Option<(Instant, u64)>,
    have: u64,
    total: Option<u64>,
    doing: Option<&'static str>,
    active: bool,
}

/// The bar of one download.
#[derive(Debug, Clone)]
pub(crate) struct Bar {
    board: Arc<Board>,
    number: usize,
}

impl Board {
    /// A bar for a release; it is shown once something happens.
    pub(crate) fn bar(self: &Arc<Self>, name: String) -> Bar {
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        bars.push(State { name, begun: None, have: 0, total: None, doing: None, active: false });
        Bar { board: Arc::clone(self), number: bars.len() - 1 }
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
        self.change(|state| {
            state.begun.get_or_insert((Instant::now(), have));
            (state.have, state.total, state.doing, state.active) = (have, total, None, true);
        });
    }

    /// Something that takes a while and is no download.
    pub(crate) fn doing(&self, what: &'static str) {
        self.change(|state| (state.doing, state.active) = (Some(what), true));
    }

    /// Nothing more to show.
    pub(crate) fn end(&self) {
        self.change(|state| state.active = false);
    }

    /// Fails when a signal came or another download failed.
    pub(crate) fn check(&self) -> Result<()> {
        signals::check()?;
        if self.board.is_stopped() {
            return Err(Error::failed("stopped because another release could not be fetched"));
        }
        Ok(())
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut bars = self.board.bars.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(state) = bars.get_mut(self.number) else { return };
        change(state);
        let line = bars.iter().filter(|state| state.active).map(State::show).collect::<Vec<_>>().join("   ");
        if !line.is_empty() {
            ui::progress(&line);
        }
    }
}

impl State {
    fn show(&self) -> String {
        if let Some(what) = self.doing {
            return format!("{} {what}", self.name);
        }
        let mut text = self.name.clone();
        // Writing to a String cannot fail.
        let _ = match self.total.filter(|total| *total > 0) {
            Some(total) => write!(text, " {} {:>3}%", bar(self.have, total), self.have.min(total) * 100 / total),
            None => write!(text, " {:.0} MB", megabytes(self.have)),
        };
        let Some((since, before)) = self.begun else { return text };
        let seconds = since.elapsed().max(STEADY).as_secs_f64();
        let rate = megabytes(self.have.saturating_sub(before)) / seconds;
        let _ = write!(text, " {rate:.1} MB/s");
        if let Some(total) = self.total.filter(|_| rate > 0.0) {
            let left = Duration::from_secs_f64((megabytes(total.saturating_sub(self.have)) / rate).min(86_400.0));
            let _ = write!(text, " {}:{:02} left", left.as_secs() / 60, left.as_secs() % 60);
        }
        text
    }
}

fn bar(have: u64, total: u64) -> String {
    let full = have.min(total) * CELLS / total;
    (0..CELLS).map(|cell| if cell < full { '#' } else { '.' }).collect()
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1_000_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_share_rate_and_remaining_time() {
        let state = State {
            name: "10.6.1".into(),
            begun: Some((Instant::now(), 0)),
            have: 25_000_000,
            total: Some(100_000_000),
            doing: None,
            active: true,
        };
        assert_eq!(state.show(), "10.6.1 ###.........  25% 25.0 MB/s 0:03 left");
    }

    #[test]
    fn one_failure_stops_the_others() {
        let board = Arc::new(Board::default());
        let bar = board.bar("a".into());
        bar.check().unwrap();
        board.stop();
        assert!(bar.check().is_err());
    }
}
