//! What people see: prose on stderr, never on stdout. Silent on success unless asked, because cron mails stderr.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU8, Ordering};

use super::error::Error;
use super::{call, progress, terminal};

const QUIET: u8 = 0;
const NORMAL: u8 = 1;
const VERBOSE: u8 = 2;

const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[1;33m";
const BLUE: &str = "\x1b[1;34m";
const PLAIN: &str = "\x1b[0m";

static LEVEL: AtomicU8 = AtomicU8::new(NORMAL);
/// What is under way, as a progress line has it.
pub fn activity() -> Option<String> {
    progress::current()
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

/// Whether `-q` was given.
pub(super) fn is_quiet() -> bool {
    LEVEL.load(Ordering::Relaxed) == QUIET
}

/// Whether `-v` was given.
pub fn is_verbose() -> bool {
    LEVEL.load(Ordering::Relaxed) == VERBOSE
}

/// A line for people who asked (`-v`) or who watch on a terminal.
pub fn say(message: &str) {
    if is_verbose() || (LEVEL.load(Ordering::Relaxed) == NORMAL && on_terminal()) {
        line(&call::prose(message));
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
        headed("", YELLOW, "warning:", &call::prose(message));
    }
}

/// What whoever watches, or asked for something just now, has to know. Said everywhere, but not with `-q`.
pub fn notice(message: &str) {
    if LEVEL.load(Ordering::Relaxed) != QUIET {
        line(&call::prose(message));
    }
}

/// What is done now, where nothing can be counted; see [`mod@progress`] for where it can.
pub fn progress(message: &str) {
    progress::activity(message);
}

/// Ends the progress line.
pub fn progress_done() {
    progress::over();
}

/// A failure: `error:`, `  caused by:` and `hint:` lines. Said even with `-q`.
pub fn error(tool: &str, error: &Error) {
    failure(tool, error, None);
}

/// As [`error()`], with a line that says how the server is after it, where that is known.
pub fn failure(tool: &str, error: &Error, state: Option<&str>) {
    headed(&format!("{tool}: "), RED, "error:", error.message());
    for cause in error.causes() {
        line(&format!("  caused by: {cause}"));
    }
    if let Some(state) = state {
        headed("", BLUE, "state:", state);
    }
    if let Some(hint) = error.next_step() {
        headed("", BLUE, "hint:", hint);
    }
}

fn line(message: &str) {
    write(&fitted(&indented(message)));
}

/// As wide as the terminal; a file or a mail has its lines whole.
fn fitted(text: &str) -> String {
    terminal::error_shown().map_or_else(|| text.to_owned(), |columns| terminal::fit(text, columns))
}

/// A line with a word that stands out.
fn headed(before: &str, colour: &str, head: &str, message: &str) {
    let before = clean(before);
    let text = fitted(&format!("{before}{head} {}", indented(message)));
    if terminal::error_colours() {
        let behind = &text[before.len() + head.len()..];
        write(&format!("{before}{colour}{head}{PLAIN}{behind}"));
    } else {
        write(&text);
    }
}

fn write(line: &str) {
    progress::clear();
    // Nobody can be told when stderr itself is gone.
    let _ = writeln!(std::io::stderr(), "{line}");
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
pub fn clean(message: &str) -> String {
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
