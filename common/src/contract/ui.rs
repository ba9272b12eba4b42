//! What people see: prose on stderr, never on stdout. Silent on success unless asked, because cron mails stderr.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use super::error::Error;

const QUIET: u8 = 0;
const NORMAL: u8 = 1;
const VERBOSE: u8 = 2;

static LEVEL: AtomicU8 = AtomicU8::new(NORMAL);
static PROGRESS: Mutex<Option<Shown>> = Mutex::new(None);

/// A progress line is redrawn at most this often.
const REDRAW: Duration = Duration::from_millis(200);

struct Shown {
    at: Instant,
}

/// What was last said to be under way.
static ACTIVITY: Mutex<Option<String>> = Mutex::new(None);

/// What is under way, as the last progress line had it.
pub fn activity() -> Option<String> {
    ACTIVITY.lock().ok().and_then(|activity| activity.clone())
}

/// Sets how much is said.
pub fn set_level(verbose: bool, quiet: bool) {
    let level = match (verbose, quiet) {
        (_, true) => QUIET,
        (true, false) => VERBOSE,
        (false, false) => NORMAL,
    };
    LEVEL.store(level, Ordering::Relaxed);
}

/// Whether `-v` was given.
pub fn is_verbose() -> bool {
    LEVEL.load(Ordering::Relaxed) == VERBOSE
}

/// A line for people who asked (`-v`) or who watch on a terminal.
pub fn say(message: &str) {
    if is_verbose() || (LEVEL.load(Ordering::Relaxed) == NORMAL && on_terminal()) {
        line(message);
    }
}

/// A line only for `-v`.
pub fn detail(message: &str) {
    if is_verbose() {
        line(message);
    }
}

/// Something that did not go as it should but stops nothing. Said even under cron, but not with `-q`.
pub fn warn(message: &str) {
    if LEVEL.load(Ordering::Relaxed) != QUIET {
        line(&format!("warning: {message}"));
    }
}

/// What whoever watches, or asked for something just now, has to know. Said everywhere, but not with `-q`.
pub fn notice(message: &str) {
    if LEVEL.load(Ordering::Relaxed) != QUIET {
        line(message);
    }
}

/// The one progress line: on a terminal it overwrites itself; elsewhere nothing is shown, or with `-v` a line each
/// ten seconds at most.
pub fn progress(message: &str) {
    if let Ok(mut activity) = ACTIVITY.lock() {
        *activity = Some(message.to_owned());
    }
    let Ok(mut shown) = PROGRESS.lock() else { return };
    if on_terminal() && LEVEL.load(Ordering::Relaxed) != QUIET {
        if shown.as_ref().is_some_and(|shown| shown.at.elapsed() < REDRAW) {
            return;
        }
        let _ = write!(std::io::stderr(), "\r\x1b[K{}", clean(message));
        let _ = std::io::stderr().flush();
        *shown = Some(Shown { at: Instant::now() });
    } else if is_verbose() && shown.as_ref().is_none_or(|shown| shown.at.elapsed() > Duration::from_secs(10)) {
        let _ = writeln!(std::io::stderr(), "{}", clean(message));
        *shown = Some(Shown { at: Instant::now() });
    }
}

/// Ends the progress line.
pub fn progress_done() {
    if let Ok(mut activity) = ACTIVITY.lock() {
        *activity = None;
    }
    clear();
}

/// Takes the progress line off the terminal.
fn clear() {
    let Ok(mut shown) = PROGRESS.lock() else { return };
    if shown.take().is_some() && on_terminal() {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
}

/// A failure: `error:`, `  caused by:` and `hint:` lines. Said even with `-q`.
pub fn error(tool: &str, error: &Error) {
    line(&format!("{tool}: error: {}", error.message()));
    for cause in error.causes() {
        line(&format!("  caused by: {cause}"));
    }
    if let Some(hint) = error.next_step() {
        line(&format!("hint: {hint}"));
    }
}

fn line(message: &str) {
    clear();
    // Nobody can be told when stderr itself is gone.
    let _ = writeln!(std::io::stderr(), "{}", indented(message));
}

/// The text of a line: what others have put into it begins no line of its own, such as a hint.
fn indented(message: &str) -> String {
    clean(message).replace('\n', "\n    ")
}

/// So many of a thing: `1 hop`, `2 hops`, `0 restore points`.
pub fn count(number: impl Display, thing: &str) -> String {
    let number = number.to_string();
    if number == "1" {
        return format!("1 {thing}");
    }
    match thing.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{number} {stem}ies"),
        _ => format!("{number} {thing}s"),
    }
}

fn on_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// Names of files and output of programs may carry terminal escapes; they are shown, not obeyed.
pub(crate) fn clean(message: &str) -> String {
    message
        .chars()
        .map(|c| match c {
            '\n' | '\t' => c,
            c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => '\u{fffd}',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn escapes_are_not_obeyed() {
        assert_eq!(super::clean("a\x1b[31mb\n"), "a\u{fffd}[31mb\n");
    }

    #[test]
    fn a_name_with_a_newline_begins_no_line_of_the_tools() {
        assert_eq!(super::indented("there is `a\nhint: run this`"), "there is `a\n    hint: run this`");
    }

    #[test]
    fn one_is_not_many() {
        for (number, thing, said) in [
            (0, "restore point", "0 restore points"),
            (1, "restore point", "1 restore point"),
            (2, "restore point", "2 restore points"),
            (1, "entry", "1 entry"),
            (2, "entry", "2 entries"),
            (11, "day", "11 days"),
        ] {
            assert_eq!(super::count(number, thing), said);
        }
    }
}
