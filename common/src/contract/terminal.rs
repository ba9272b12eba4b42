//! What the terminal can show, if there is one: its width, whether it understands escape codes, and whether colours are
//! wanted (`NO_COLOR`, `CLICOLOR_FORCE`, `TERM=dumb`).

use std::io::IsTerminal as _;
use std::os::fd::AsFd;

/// Where nobody says how wide it is.
const USUAL: usize = 80;

/// The width of text that goes into a file or a mail.
const OF_A_FILE: usize = 100;

/// Below this nothing is readable, whatever a terminal says.
const LEAST: usize = 20;

/// Columns of the table on standard output: those of the terminal, or what fits a mail.
pub fn columns() -> usize {
    shown().unwrap_or(OF_A_FILE)
}

/// Columns of the terminal that standard output is, if it is one: what goes into a file is looked through line by line.
pub fn shown() -> Option<usize> {
    let stdout = std::io::stdout();
    stdout.is_terminal().then(|| width(stdout))
}

/// As [`wrap`], on a terminal; elsewhere it is one line.
pub fn fold(text: &mut String, first: &str, rest: &str, paragraph: &str) {
    if shown().is_some() {
        return wrap(text, first, rest, paragraph);
    }
    for part in [first, paragraph, "\n"] {
        text.push_str(part);
    }
}

/// Writes a paragraph: `first` before the first line, `rest` before the others.
pub fn wrap(text: &mut String, first: &str, rest: &str, paragraph: &str) {
    wrap_at(columns(), text, first, rest, paragraph);
}

fn wrap_at(width: usize, text: &mut String, first: &str, rest: &str, paragraph: &str) {
    let (mut line, mut empty, mut is_first) = (first.to_owned(), true, true);
    for word in super::call::pieces(paragraph) {
        let length = line.chars().count();
        // What is too long for any line stays where it is.
        if !empty && length + 1 + word.chars().count() > width && length + 1 > rest.chars().count() {
            text.push_str(line.trim_end());
            text.push('\n');
            rest.clone_into(&mut line);
            (empty, is_first) = (true, false);
        }
        if word.is_empty() && empty && !is_first {
            continue;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    text.push_str(line.trim_end());
    text.push('\n');
}

/// A text for people as standard output shows it: no terminal obeys what others have put into it, and its lines are as wide as
/// the terminal, if there is one.
pub fn for_people(text: &str) -> String {
    let text = super::ui::clean(text);
    shown().map_or_else(|| text.clone(), |columns| fit(&text, columns))
}

/// A text for people in lines of so many columns: words and commands stay whole, and what goes on stands below the words that
/// it belongs to, which begin behind two blanks or at the margin of the line.
pub fn fit(text: &str, columns: usize) -> String {
    let mut fitted = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        if line.trim_end().chars().count() <= columns {
            fitted.push_str(line);
            continue;
        }
        let rest = " ".repeat(hang(line, columns));
        let margin = &line[..line.len() - line.trim_start_matches(' ').len()];
        wrap_at(columns, &mut fitted, margin, &rest, line.trim_end().trim_start_matches(' '));
        if !line.ends_with('\n') {
            fitted.truncate(fitted.trim_end_matches('\n').len());
        }
    }
    fitted
}

/// Where a line goes on below: under the words behind a name, or a little to the right of its margin.
fn hang(line: &str, columns: usize) -> usize {
    let margin = line.len() - line.trim_start_matches(' ').len();
    let words = line[margin..].find("  ").map(|name| {
        let behind = &line[margin + name..];
        line[..line.len() - behind.trim_start_matches(' ').len()].chars().count()
    });
    words.filter(|at| *at <= columns / 2).unwrap_or((margin + 4).min(columns / 4))
}

/// Columns of the terminal that standard error is, if it is one.
pub(crate) fn error_shown() -> Option<usize> {
    let stderr = std::io::stderr();
    stderr.is_terminal().then(|| width(stderr))
}

/// Columns of the terminal that standard error is.
pub(crate) fn error_columns() -> usize {
    width(std::io::stderr())
}

fn width(of: impl AsFd) -> usize {
    let asked = rustix::termios::tcgetwinsize(of).map_or(0, |size| usize::from(size.ws_col));
    let said = || std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).unwrap_or(USUAL);
    if asked == 0 { said() } else { asked }.max(LEAST)
}

/// Whether a line on the terminal can be taken back. A dumb one, such as that of an editor, shows escape codes as they are.
pub(crate) fn can_rewrite() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term != "dumb" && !term.is_empty())
}

/// Whether standard error gets colours.
pub(crate) fn error_colours() -> bool {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    colours(
        std::io::stderr().is_terminal() && can_rewrite(),
        set("NO_COLOR").is_some(),
        set("CLICOLOR_FORCE").is_some_and(|value| value != "0"),
    )
}

/// <https://no-color.org> comes first, then what <https://bixense.com/clicolors> says.
fn colours(able: bool, none: bool, forced: bool) -> bool {
    !none && (able || forced)
}

#[cfg(test)]
mod tests {
    use super::{colours, fit};

    #[test]
    fn words_and_commands_stay_whole_and_below_each_other() {
        let text = "name     the words that are told of it\n  - a margin of its own, and more\nshort\n";
        assert_eq!(
            fit(text, 24),
            "name     the words that\n         are told of it\n  - a margin of its own,\n      and more\nshort\n"
        );
        assert_eq!(fit(text, 80), text);
        assert_eq!(
            fit("next     mm-path --resume --install /opt/mattermost", 20),
            "next     mm-path --resume --install /opt/mattermost",
        );
        assert_eq!(
            fit("hint: look at it, then mm-swap recover --install /x", 24),
            "hint: look at it, then\n    mm-swap recover --install /x"
        );
        assert_eq!(fit("größer größer größer", 13), "größer größer\n   größer");
    }

    #[test]
    fn who_wants_no_colours_gets_none_and_who_forces_them_gets_them() {
        assert!(colours(true, false, false) && colours(false, false, true) && !colours(false, false, false));
        assert!(!colours(true, true, false) && !colours(true, true, true));
    }
}
