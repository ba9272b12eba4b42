//! Man pages: one for each tool, with its verbs described in it, because nobody looks for `man mm-swap-rollback`.

use std::io::{self, Write as _};

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

/// Columns of a line of the pages' source, as mandoc(1) wants them.
const COLUMNS: usize = 80;

/// The man page of a tool, as of `date`.
pub(crate) fn page(tool: &Command, date: &str) -> io::Result<Vec<u8>> {
    let after = tool.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let mut tool = tool.clone().disable_help_subcommand(true);
    tool.build();
    let name = tool.get_name().to_owned();
    let verbs: Vec<Command> = tool.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned().collect();
    let man = Man::new(tool);
    let mut text = Vec::new();
    writeln!(text, ".TH {} 1 \"{date}\" \"mm-tools\" \"mm-tools\"", name.to_uppercase())?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if !verbs.is_empty() {
        let mut heading = Roff::new();
        heading.control("SH", ["VERBS"]);
        heading.to_writer(&mut text)?;
    }
    for verb in verbs {
        section_of(&name, verb, &mut text)?;
    }
    closing(&after).to_writer(&mut text)?;
    let mut see = Roff::new();
    see.control("SH", ["SEE ALSO"]);
    see.text([
        bold("mm-document"),
        roman("(5), the document that the tools exchange; "),
        bold("mm-upgrade"),
        roman("(7), the whole upgrade"),
    ]);
    see.to_writer(&mut text)?;
    Ok(tidied(&String::from_utf8_lossy(&text)).into_bytes())
}

/// The same page as mandoc wants it written: no line is longer than it has to be, none ends in a space, and there is one
/// way to leave a line empty.
fn tidied(page: &str) -> String {
    let mut text = String::new();
    let mut literal = false;
    // clap_mangen separates the possible values in this way.
    for line in page.replace("\n.br\n\n.br\n", "\n.sp\n").replace("\n\n.br\n", "\n.sp\n").lines() {
        match line {
            ".nf" => literal = true,
            ".fi" => literal = false,
            _ => {}
        }
        let line = if literal { line } else { line.trim_end() };
        if literal || line.starts_with(['.', '\'']) || line.len() <= COLUMNS {
            text.push_str(line);
        } else {
            text.push_str(&wrapped(line));
        }
        text.push('\n');
    }
    text
}

/// A line of text in several; none of them begins as a request does.
fn wrapped(line: &str) -> String {
    let mut text = String::new();
    let mut length = 0;
    for word in line.split(' ') {
        let fits = length + 1 + word.len() <= COLUMNS;
        if length > 0 {
            text.push(if fits || word.starts_with(['.', '\'']) || word.is_empty() { ' ' } else { '\n' });
            length = if text.ends_with('\n') { 0 } else { length + 1 };
        }
        text.push_str(word);
        length += word.len();
    }
    text
}

/// A verb: what it does, and the options that only it has.
fn section_of(tool: &str, verb: Command, text: &mut Vec<u8>) -> io::Result<()> {
    let name = format!("{tool} {}", verb.get_name());
    let about = verb.get_long_about().or_else(|| verb.get_about()).map(ToString::to_string).unwrap_or_default();
    let mut heading = Roff::new();
    heading.control("SS", [name.as_str()]);
    for line in about.lines() {
        if line.trim().is_empty() {
            heading.control("PP", []);
        } else {
            heading.text([roman(line)]);
        }
    }
    heading.to_writer(text)?;
    let common: Vec<String> = verb
        .get_arguments()
        .filter(|argument| argument.is_global_set() || argument.get_id() == "help" || argument.get_id() == "version")
        .map(|argument| argument.get_id().to_string())
        .collect();
    let mut own = verb;
    for argument in common {
        own = own.mut_arg(argument, |argument| argument.hide(true));
    }
    if own.get_arguments().all(clap::Arg::is_hide_set) {
        return Ok(());
    }
    let mut options = Vec::new();
    Man::new(own.disable_help_flag(true)).render_options_section(&mut options)?;
    // The headings of options inside a verb are not headings of the page.
    let options = String::from_utf8_lossy(&options);
    for line in options.lines().filter(|line| !line.starts_with(".SH ")) {
        text.extend_from_slice(line.as_bytes());
        text.push(b'\n');
    }
    Ok(())
}

/// What stands at the end of the long help: its headings, and what is below them as it is.
fn closing(help: &str) -> Roff {
    let mut roff = Roff::new();
    let mut literal = false;
    for line in help.lines() {
        if let Some(title) = heading(line) {
            if literal {
                roff.control("fi", []);
            }
            roff.control("SH", [title.to_uppercase().as_str()]);
            roff.control("nf", []);
            literal = true;
        } else if !line.trim().is_empty() {
            roff.text([roman(line)]);
        } else if literal {
            roff.text([roman("")]);
        }
    }
    if literal {
        roff.control("fi", []);
    }
    roff
}

/// A line that begins at the margin and ends in a colon or is in capitals.
fn heading(line: &str) -> Option<&str> {
    if line.is_empty() || line.starts_with(' ') {
        return None;
    }
    line.strip_suffix(':').or_else(|| (!line.chars().any(char::is_lowercase)).then_some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_the_verbs_with_their_own_options_and_the_closing_sections() {
        let tool = Command::new("mm-x")
            .about("Does it")
            .arg(clap::Arg::new("install").long("install").global(true).help("The root"))
            .subcommand(
                Command::new("undo").about("Takes it back").arg(clap::Arg::new("far").long("far").help("How far")),
            )
            .after_long_help("Exit status:\n  0  done\n\nEXAMPLES\n  mm-x --far .\n");
        let page = String::from_utf8(page(&tool, "2026-11-29").unwrap()).unwrap();
        let verb = page.split(".SS \"mm-x undo\"").nth(1).unwrap();
        assert!(verb.contains("far") && verb.contains("How far"), "{page}");
        assert!(!verb.contains("The root"), "an option of all verbs is described once: {page}");
        assert!(page.contains(".SH \"EXIT STATUS\"\n.nf\n  0  done"), "{page}");
        assert!(page.contains(".SH EXAMPLES"), "{page}");
        assert!(page.starts_with(".TH MM-X 1 \"2026-11-29\""), "{page}");
    }

    #[test]
    fn a_long_line_is_divided_where_no_request_begins() {
        let long = format!("{} .config and more", "word ".repeat(15).trim());
        let page = tidied(&format!(".PP\n{long} \n.br\n\n.br\nvalues\n.nf\n{long}\n.fi\n"));
        let (text, literal) = page.split_once(".sp\nvalues\n.nf\n").unwrap();
        assert!(text.lines().all(|line| line.len() <= 90 && line.trim_end() == line), "{text}");
        assert_eq!(text.replace('\n', " "), format!(".PP {long} "));
        assert!(text.lines().skip(1).all(|line| !line.starts_with('.')), "{text}");
        assert_eq!(literal, format!("{long}\n.fi\n"));
    }
}
