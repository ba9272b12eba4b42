//! How far a long piece of work is: what is done, of how much, how fast, and how much time is left. One line that rewrites
//! itself on a terminal, at least once a second; elsewhere, with `-v`, a plain line each ten seconds; else nothing.

use std::fmt;
use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{terminal, ui};

/// A line on a terminal is redrawn at most this often.
const REDRAW: Duration = Duration::from_millis(200);

/// And at least this often.
const TICK: Duration = Duration::from_millis(500);

/// How far apart plain lines are.
const PLAIN: Duration = Duration::from_secs(10);

/// Rates are averages over at least this long, so that they do not jump.
const STEADY: Duration = Duration::from_secs(1);

/// What takes longer says how long it has been at it.
const LONG: Duration = Duration::from_secs(2);

/// Bytes that have been read or written by whatever counts them.
static PASSED: AtomicU64 = AtomicU64::new(0);

static STATE: Mutex<State> =
    Mutex::new(State { activity: None, meters: Vec::new(), drawn: None, on_screen: false, next: 0 });

static TICKING: AtomicBool = AtomicBool::new(false);

struct State {
    activity: Option<(String, Instant)>,
    meters: Vec<Running>,
    drawn: Option<Instant>,
    on_screen: bool,
    next: u64,
}

/// Where the number of bytes that are done comes from.
enum Done {
    /// Those that have passed since it was so many.
    Since(u64),
    /// As the work says.
    Said(u64),
    /// As somebody who is asked says, such as the size of a file that another program writes.
    Asked(Box<dyn Fn() -> u64 + Send>),
}

struct Running {
    number: u64,
    what: String,
    done: Done,
    total: Option<u64>,
    begun: Instant,
    before: u64,
}

impl Running {
    fn bytes(&self) -> u64 {
        match &self.done {
            Done::Since(base) => PASSED.load(Ordering::Relaxed).saturating_sub(*base),
            Done::Said(bytes) => *bytes,
            Done::Asked(ask) => ask(),
        }
    }

    fn line(&self, detail: Detail) -> String {
        let done = self.bytes();
        line(&self.what, done, self.total, done.saturating_sub(self.before), self.begun.elapsed(), detail)
    }
}

/// So many bytes have been read or written.
pub fn passed(bytes: u64) {
    PASSED.fetch_add(bytes, Ordering::Relaxed);
}

/// Work whose bytes are counted. It is shown from when it is made until it is dropped.
#[must_use = "it is shown until it is dropped"]
pub struct Meter {
    number: u64,
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").field("number", &self.number).finish()
    }
}

impl Meter {
    /// Counts the bytes that pass ([`passed`]) from now on.
    pub fn passing(what: impl Into<String>, total: Option<u64>) -> Self {
        Self::new(what.into(), total, Done::Since(PASSED.load(Ordering::Relaxed)))
    }

    /// Shows what [`Meter::set`] says.
    pub fn told(what: impl Into<String>) -> Self {
        Self::new(what.into(), None, Done::Said(0))
    }

    /// Asks each time it is shown.
    pub fn asking(what: impl Into<String>, total: Option<u64>, ask: impl Fn() -> u64 + Send + 'static) -> Self {
        Self::new(what.into(), total, Done::Asked(Box::new(ask)))
    }

    fn new(what: String, total: Option<u64>, done: Done) -> Self {
        let mut state = state();
        let number = state.next;
        state.next += 1;
        state.meters.push(Running { number, what, done, total, begun: Instant::now(), before: 0 });
        state.draw();
        drop(state);
        tick();
        Self { number }
    }

    /// So many bytes are done, of so many. What is there at first has not been done now.
    pub fn set(&self, bytes: u64, total: Option<u64>) {
        self.change(|running| {
            if matches!(running.done, Done::Said(0)) {
                (running.begun, running.before) = (Instant::now(), bytes);
            }
            (running.done, running.total) = (Done::Said(bytes), total);
        });
    }

    /// Says something else than before.
    pub fn doing(&self, what: impl Into<String>) {
        self.change(|running| {
            (running.what, running.done, running.total) = (what.into(), Done::Said(0), None);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Running)) {
        let mut state = state();
        if let Some(running) = state.meters.iter_mut().find(|running| running.number == self.number) {
            change(running);
        }
        state.draw();
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let mut state = state();
        state.meters.retain(|running| running.number != self.number);
        if state.meters.is_empty() {
            state.clear();
        }
    }
}

/// What is done now, where nothing can be counted.
pub(super) fn activity(message: &str) {
    let mut state = state();
    if state.activity.as_ref().is_none_or(|(before, _)| before != message) {
        state.activity = Some((message.to_owned(), Instant::now()));
    }
    state.draw();
    drop(state);
    tick();
}

/// Nothing is done any more.
pub(super) fn over() {
    let mut state = state();
    state.activity = None;
    state.clear();
}

/// Takes the line off the terminal, for another one.
pub(super) fn clear() {
    state().clear();
}

/// What is under way, in words.
pub(super) fn current() -> Option<String> {
    let state = state();
    (state.activity.is_some() || !state.meters.is_empty()).then(|| state.text(usize::MAX))
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Redraws in the background: work that is silent for long is under way all the same.
fn tick() {
    if !shows() || TICKING.swap(true, Ordering::Relaxed) {
        return;
    }
    let redraw = || {
        loop {
            std::thread::sleep(TICK);
            state().draw();
        }
    };
    // Where the system makes no thread, what calls redraws.
    let _ = std::thread::Builder::new().name("progress".into()).spawn(redraw);
}

fn shows() -> bool {
    !ui::is_quiet() && (std::io::stderr().is_terminal() || ui::is_verbose())
}

impl State {
    /// What is counted, and else what is done.
    fn text(&self, columns: usize) -> String {
        if self.meters.is_empty() {
            let Some((activity, since)) = &self.activity else { return String::new() };
            let whole = match since.elapsed() {
                long if long >= LONG => format!("{activity}, {}", duration(long)),
                _ => activity.clone(),
            };
            return cut(&whole, columns);
        }
        let mut text = String::new();
        for detail in Detail::ALL {
            text = self.meters.iter().map(|running| running.line(detail)).collect::<Vec<_>>().join("; ");
            if text.chars().count() <= columns {
                break;
            }
        }
        cut(&text, columns)
    }

    fn draw(&mut self) {
        if !shows() || (self.activity.is_none() && self.meters.is_empty()) {
            return;
        }
        let rewrites = std::io::stderr().is_terminal() && terminal::can_rewrite();
        let pause = if rewrites { REDRAW } else { PLAIN };
        if self.drawn.is_some_and(|drawn| drawn.elapsed() < pause) {
            return;
        }
        self.drawn = Some(Instant::now());
        // Nobody can be told when stderr itself is gone.
        let _ = if rewrites {
            self.on_screen = true;
            // In the last column some terminals go on to the next line.
            let text = ui::clean(&self.text(terminal::error_columns() - 1)).replace(['\n', '\t'], " ");
            write!(std::io::stderr(), "\r{text}\x1b[K")
        } else {
            writeln!(std::io::stderr(), "{}", ui::clean(&self.text(usize::MAX)))
        };
        let _ = std::io::stderr().flush();
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.on_screen) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
            // What comes next is drawn at once.
            self.drawn = None;
        }
    }
}

/// How much of a line is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Detail {
    Share,
    Left,
    Rate,
    All,
}

impl Detail {
    const ALL: [Self; 4] = [Self::All, Self::Rate, Self::Left, Self::Share];
}

/// One line: `now` bytes were done in `time`, `done` are in all.
fn line(what: &str, done: u64, total: Option<u64>, now: u64, time: Duration, detail: Detail) -> String {
    if done == 0 && total.is_none() {
        return if time >= LONG { format!("{what}, {}", duration(time)) } else { what.to_owned() };
    }
    // More than was to be expected is no share of it.
    let total = total.filter(|total| *total >= done && *total > 0);
    let mut parts = match total {
        Some(total) if detail == Detail::All => {
            vec![format!("{} of {}", size(done), size(total)), share(done, total)]
        }
        Some(total) => vec![share(done, total)],
        None => vec![size(done)],
    };
    let rate = per_second(now, time.max(STEADY));
    if detail >= Detail::Rate {
        parts.push(format!("{}/s", size(rate)));
    }
    if let Some(total) = total.filter(|_| rate > 0 && detail >= Detail::Left) {
        let left = Duration::from_secs((total - done).div_ceil(rate).min(359_999));
        parts.push(format!("{} left", duration(left)));
    }
    format!("{what}: {}", parts.join(", "))
}

fn share(done: u64, total: u64) -> String {
    format!("{} %", u128::from(done) * 100 / u128::from(total))
}

fn per_second(bytes: u64, time: Duration) -> u64 {
    u64::try_from(u128::from(bytes) * 1000 / time.as_millis().max(1)).unwrap_or(u64::MAX)
}

/// `0:07`, `12:30`, `1:02:03`.
fn duration(time: Duration) -> String {
    let (hours, minutes, seconds) = (time.as_secs() / 3600, time.as_secs() / 60 % 60, time.as_secs() % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// `800 B`, `12 kB`, `345 MB`, `6.7 GB`: as many digits as people read.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", bytes / 1_000),
        1_000_000..1_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{}.{} GB", bytes / 1_000_000_000, bytes / 100_000_000 % 10),
    }
}

fn cut(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    text.chars().take(columns.saturating_sub(1)).chain(['\u{2026}']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_done_total_rate_and_time_left_as_far_as_they_fit() {
        let half = |detail| {
            line("storing files", 600_000_000, Some(2_000_000_000), 600_000_000, Duration::from_secs(10), detail)
        };
        assert_eq!(half(Detail::All), "storing files: 600 MB of 2.0 GB, 30 %, 60 MB/s, 0:24 left");
        assert_eq!(half(Detail::Rate), "storing files: 30 %, 60 MB/s, 0:24 left");
        assert_eq!(half(Detail::Left), "storing files: 30 %, 0:24 left");
        assert_eq!(half(Detail::Share), "storing files: 30 %");
        let more = line("x", 3_000, Some(2_000), 3_000, Duration::ZERO, Detail::All);
        assert_eq!(more, "x: 3 kB, 3 kB/s", "more than was to be expected");
        assert_eq!(line("x", 0, None, 0, Duration::from_secs(75), Detail::All), "x, 1:15");
        assert_eq!(line("x", 5, Some(10), 0, Duration::from_secs(1), Detail::All), "x: 5 B of 10 B, 50 %, 0 B/s");
    }

    #[test]
    fn several_get_shorter_until_they_fit() {
        let running = |what: &str| Running {
            number: 0,
            what: what.into(),
            done: Done::Said(25_000_000),
            total: Some(100_000_000),
            begun: Instant::now(),
            before: 0,
        };
        let state = State {
            activity: None,
            meters: vec![running("10.6.1"), running("10.5.14")],
            drawn: None,
            on_screen: false,
            next: 2,
        };
        assert_eq!(
            state.text(120),
            "10.6.1: 25 MB of 100 MB, 25 %, 25 MB/s, 0:03 left; 10.5.14: 25 MB of 100 MB, 25 %, 25 MB/s, 0:03 left"
        );
        assert_eq!(state.text(39), "10.6.1: 25 %; 10.5.14: 25 %");
        assert_eq!(state.text(12), "10.6.1: 25 \u{2026}");
        assert!(state.text(19).chars().count() <= 19);
    }

    #[test]
    fn times_are_as_clocks_show_them() {
        assert_eq!([7, 750, 3723].map(|seconds| duration(Duration::from_secs(seconds))), ["0:07", "12:30", "1:02:03"]);
    }
}
