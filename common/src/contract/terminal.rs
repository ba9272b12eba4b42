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
    let width = columns();
    let mut line = first.to_owned();
    let mut empty = true;
    for word in super::call::pieces(paragraph) {
        if !empty && line.chars().count() + 1 + word.chars().count() > width {
            text.push_str(line.trim_end());
            text.push('\n');
            rest.clone_into(&mut line);
            empty = true;
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
    use super::colours;

    #[test]
    fn who_wants_no_colours_gets_none_and_who_forces_them_gets_them() {
        assert!(colours(true, false, false) && colours(false, false, true) && !colours(false, false, false));
        assert!(!colours(true, true, false) && !colours(true, true, true));
    }
}
