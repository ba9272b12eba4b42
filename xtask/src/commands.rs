//! Finds the commands of ours that our texts name (hints, messages, help, scripts, manuals, READMEs), and says which of them
//! would not run as they stand there: a verb or a flag that the tool does not have, a value that is missing.
//!
//! What a text leaves to the moment (`{}` of a format, `$variable`, `VERSION`) is tried with a value of each kind that the tools
//! take; one of them has to fit. A command ends where prose goes on.

use std::path::Path;

use clap::Command;
use clap::error::ErrorKind;
use mm_common::contract::call::VERBS;
use mm_common::machine::files;
use mm_common::{Error, Result};

use crate::{SCRIPTS, sql};

/// A file with text is not larger than this.
const MOST: u64 = 1024 * 1024;

/// What can stand in the place of something that is filled in.
const VALUES: [&str; 10] =
    ["10.6.1", "/srv/x", "20260101T000000Z", "15", "json", "markdown", "team", "3s", "02:00-05:00", "mm-path=--x"];

/// Texts beside the sources, in which all is prose or an example.
const TEXTS: [&str; 8] = [
    "README.md",
    "README.zh-CN.md",
    "SECURITY.md",
    "man/mm-upgrade.7",
    "man/zh_CN/mm-upgrade.7",
    "scripts/mm-upgrade",
    "scripts/mm-rehearse",
    "scripts/mm-report",
];

/// A word of a command as a text has it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    /// As it is.
    Fixed(String),
    /// To be filled in.
    Value,
    /// To be filled in with something or with nothing.
    Perhaps,
    /// `--flag=` with something behind it.
    Flag(String),
}

/// Looks at all texts.
///
/// # Errors
/// Failed with every command in it that would not run, and when there are none at all.
pub(crate) fn check(root: &Path, tools: &[Command]) -> Result<()> {
    same_verbs(tools)?;
    let (mut wrong, mut count) = (Vec::new(), 0);
    let mut look = |name: &str, line: usize, text: &str| {
        for (at, words) in named(text, tools) {
            count += 1;
            if !runs(tools, &words) {
                let line = line + text.get(..at).unwrap_or_default().matches('\n').count();
                wrong.push(format!("{name}:{line}: {}", in_words(&words)));
            }
        }
    };
    for path in sql::sources(root)? {
        let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        let texts = sql::texts(&files::read_text(&path, MOST)?)
            .map_err(|error| Error::failed(format!("cannot read `{name}`")).because(error))?;
        for (line, text) in &texts {
            look(&name, *line, text);
        }
    }
    for name in TEXTS {
        let text = files::read_text(&root.join(name), MOST)?;
        look(name, 1, &if name.starts_with("man/") { plain(&text) } else { text });
    }
    if count == 0 {
        return Err(Error::failed("no text names a command"));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Error::failed(format!("commands that do not run as they are printed:\n{}", wrong.join("\n"))))
}

/// The verbs that hints are completed by are those of the tools.
fn same_verbs(tools: &[Command]) -> Result<()> {
    for (name, verbs) in VERBS.iter().filter(|(name, _)| !SCRIPTS.iter().any(|(script, _)| script == name)) {
        let tool = tools.iter().find(|tool| tool.get_name() == *name);
        let own: Vec<&str> = tool.into_iter().flat_map(Command::get_subcommands).map(Command::get_name).collect();
        if tool.is_none() || own != *verbs {
            return Err(Error::failed(format!("the verbs of {name} are {own:?}, hints are completed by {verbs:?}")));
        }
    }
    Ok(())
}

/// A manual page without what troff reads, line for line.
fn plain(page: &str) -> String {
    let fonts = ["\\fB", "\\fI", "\\fR", "\\fP"];
    fonts.iter().fold(page.replace("\\-", "-").replace("\\|", ""), |text, font| text.replace(font, ""))
}

fn in_words(words: &[Word]) -> String {
    let word = |word: &Word| match word {
        Word::Fixed(word) => word.clone(),
        Word::Flag(flag) => format!("{flag}=..."),
        Word::Value => "...".into(),
        Word::Perhaps => "[...]".into(),
    };
    words.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// The commands in a text that have a verb or a flag, each with where it begins.
fn named(text: &str, tools: &[Command]) -> Vec<(usize, Vec<Word>)> {
    let mut found = Vec::new();
    for tool in tools {
        let name = tool.get_name();
        for (at, _) in text.match_indices(name) {
            let before = text[..at].chars().next_back();
            let rest = &text[at + name.len()..];
            let is_whole =
                !before.is_some_and(|c| c.is_alphanumeric() || "-_/.{$".contains(c)) && rest.starts_with(' ');
            if is_whole && let Some(words) = command(tool, rest) {
                found.push((at, words));
            }
        }
    }
    found
}

/// Whether a word stands for something else.
fn is_hole(word: &str) -> bool {
    let is_name = word.chars().all(|c| c.is_ascii_uppercase() || "_-:|".contains(c));
    word.contains(['{', '$']) || (is_name && word.len() > 1 && word.starts_with(|c: char| c.is_ascii_uppercase()))
}

/// The words of a command as far as it goes; nothing where it is only the name of the tool.
fn command(tool: &Command, rest: &str) -> Option<Vec<Word>> {
    let mut words = vec![Word::Fixed(tool.get_name().to_owned())];
    let mut verb: Option<&Command> = None;
    let mut wants_value = false;
    for token in rest.split_ascii_whitespace() {
        // Where its output goes is no word of it.
        if token.contains(['<', '>']) {
            break;
        }
        let word = token.trim_start_matches(['"', '\'', '[', '(']);
        let end =
            word.find([',', ';', '`', ')', ']', '"', '\'', '\u{ff0c}', '\u{3002}', '\u{ff1b}', '\u{ff09}', '\u{3001}']);
        let (word, ends) = match end {
            // In braces and behind a dollar anything may stand.
            Some(_) if token.contains(['{', '$']) => {
                (word.trim_end_matches([',', ';', '`', ')', '"', '\'']), ends_here(token))
            }
            Some(at) => (&word[..at], true),
            None => (word.trim_end_matches(['.', ':']), word.ends_with(['.', ':'])),
        };
        if wants_value {
            // One of several, as a usage has it.
            let is_open = is_hole(word) || word.contains('|');
            words.push(if is_open { Word::Value } else { Word::Fixed(word.to_owned()) });
            wants_value = false;
        } else if word.starts_with("--") && word.len() > 2 {
            // `--database{to}`: something may come behind it.
            let glued = word.find(['{', '$']).filter(|at| !word[..*at].contains('='));
            let (word, more) = glued.map_or((word, ""), |at| word.split_at(at));
            let (flag, value) = word.split_once('=').map_or((word, None), |(flag, value)| (flag, Some(value)));
            words.push(match value {
                Some(value) if is_hole(value) => Word::Flag(flag.to_owned()),
                _ => Word::Fixed(word.to_owned()),
            });
            wants_value = value.is_none() && takes_value(tool, verb, flag);
            if !more.is_empty() {
                words.push(Word::Perhaps);
            }
            // What a shell puts together is not followed.
            if more.starts_with('$') {
                wants_value = false;
                break;
            }
        } else if verb.is_none() && words.len() == 1 && tool.find_subcommand(word).is_some() {
            verb = tool.find_subcommand(word);
            words.push(Word::Fixed(word.to_owned()));
        } else if let Some((verb, _)) = word.split_once('$').filter(|(verb, _)| tool.find_subcommand(verb).is_some()) {
            words.push(Word::Fixed(verb.to_owned()));
            break;
        } else if word.starts_with(['{', '$']) {
            words.push(Word::Perhaps);
        } else if is_hole(word) {
            words.push(Word::Value);
        } else if word.starts_with('/') || word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.') {
            words.push(Word::Fixed(word.to_owned()));
        } else {
            break;
        }
        if ends {
            break;
        }
    }
    let says_more = words.iter().skip(1).any(|word| matches!(word, Word::Fixed(_) | Word::Flag(_)));
    // A flag that is named without its value is spoken of.
    let words = if wants_value { words[..words.len() - 1].to_vec() } else { words };
    says_more.then_some(words)
}

/// Whether a token that has something to be filled in is the last of its command.
fn ends_here(token: &str) -> bool {
    token.ends_with([',', ';', '`', ')'])
}

fn takes_value(tool: &Command, verb: Option<&Command>, flag: &str) -> bool {
    let name = flag.trim_start_matches('-');
    let places = verb.into_iter().chain([tool]);
    let mut arguments = places.flat_map(Command::get_arguments);
    arguments
        .find(|argument| argument.get_long() == Some(name))
        .is_some_and(|argument| argument.get_action().takes_values())
}

/// Whether it can be run with something in the places that are to be filled in.
fn runs(tools: &[Command], words: &[Word]) -> bool {
    let Some(Word::Fixed(name)) = words.first() else { return false };
    let Some(tool) = tools.iter().find(|tool| tool.get_name() == name) else { return false };
    // What only mm-upgrade types has a command line of its own, which is no part of the tool's.
    if name == "mm-path" && words.get(1) == Some(&Word::Fixed("--upgrade".into())) {
        return true;
    }
    fits(tool, words, &mut Vec::new())
}

fn fits(tool: &Command, words: &[Word], before: &mut Vec<String>) -> bool {
    let Some((word, rest)) = words.split_first() else { return parses(tool, before) };
    let mut with = |text: String| {
        before.push(text);
        let fits = fits(tool, rest, before);
        before.pop();
        fits
    };
    match word {
        Word::Fixed(word) => with(word.clone()),
        Word::Value => VALUES.iter().any(|value| with((*value).to_owned())),
        Word::Flag(flag) => VALUES.iter().any(|value| with(format!("{flag}={value}"))),
        Word::Perhaps => {
            fits(tool, rest, before)
                || VALUES.iter().any(|value| {
                    before.push((*value).to_owned());
                    let fits = fits(tool, rest, before);
                    before.pop();
                    fits
                })
        }
    }
}

fn parses(tool: &Command, words: &[String]) -> bool {
    // A script takes its flags before and behind its verb, and says in words which files it takes.
    let is_script = SCRIPTS.iter().any(|(name, _)| *name == tool.get_name());
    let own = |word: &&String| !(is_script && tool.find_subcommand(word).is_some());
    let mut command = tool.clone();
    if is_script {
        command = command.arg(clap::Arg::new("files").num_args(0..));
    }
    match command.try_get_matches_from(words.iter().filter(own)) {
        Ok(_) => true,
        Err(error) => matches!(
            error.kind(),
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::MissingRequiredArgument
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Arg, ArgAction};

    fn tool() -> Command {
        let install = Arg::new("install").long("install").global(true);
        let verb = Command::new("rollback")
            .arg(Arg::new("database").long("database").action(ArgAction::SetTrue))
            .arg(Arg::new("to").long("to"));
        Command::new("mm-swap").arg(install).subcommand(verb)
    }

    fn wrong(text: &str) -> Vec<String> {
        let tools = [tool()];
        let found = named(text, &tools);
        found.into_iter().filter(|(_, words)| !runs(&tools, words)).map(|(_, words)| in_words(&words)).collect()
    }

    #[test]
    fn a_command_that_runs_is_told_from_one_that_does_not() {
        for good in [
            "go back: mm-swap rollback --database --install {}{}, then look",
            "`mm-swap rollback --to VERSION`; mm-swap goes on where it was",
            "mm-swap rollback --database, which brings both back",
            "mm-swap puts it into place, and .mm-swap --none is none",
        ] {
            assert_eq!(wrong(good), Vec::<String>::new(), "{good}");
        }
        assert_eq!(wrong("mm-swap rollback --databse, then look"), ["mm-swap rollback --databse"]);
        assert_eq!(wrong("mm-swap --database"), ["mm-swap --database"]);
        assert_eq!(wrong("mm-swap rollback {} --too {root}"), ["mm-swap rollback [...] --too [...]"]);
        assert_eq!(named("mm-swap rollback --to VERSION and on", &[tool()])[0].1.len(), 4);
    }
}
