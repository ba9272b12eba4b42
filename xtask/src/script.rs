//! The scripts that compose the tools, described like the tools: what `SCRIPT --help` says becomes a command, from which
//! the man page and the completions are made. The text of the script stays the one source.

use clap::{Arg, Command};
use mm_common::{Error, Result};

/// The command that the help of a script describes: `Usage:` lines, a description, verbs (those that the usage names) and
/// options (`--name VALUE` and their text, which may go on in further lines), then the sections that follow.
///
/// # Errors
/// A help without a usage line or without options: it would make an empty page.
pub(crate) fn command(name: &'static str, summary: &str, help: &str) -> Result<Command> {
    let bad = |what: &str| Error::failed(format!("cannot describe {name} by its --help: {what}"));
    let mut lines = help.lines().skip_while(|line| !line.starts_with("Usage: ")).peekable();
    let mut usage = String::new();
    while let Some(line) = lines.next_if(|line| !line.trim().is_empty()) {
        usage.push_str(line);
        usage.push('\n');
    }
    if usage.is_empty() {
        return Err(bad("it has no line that begins with 'Usage:'"));
    }
    let mut description = Vec::new();
    let (mut verbs, mut options, mut after) = (Vec::new(), Vec::new(), Vec::new());
    for line in lines {
        let text = line.trim();
        if text.starts_with("--") {
            options.push(text.to_owned());
        } else if text.starts_with("-h, --help") {
            after.push(String::new());
        } else if !after.is_empty() {
            after.push(closing(line));
        } else if let Some(verb) = verb(line, &usage) {
            verbs.push(verb);
        } else if let Some(option) = options.last_mut().filter(|_| !text.is_empty()) {
            option.push_str("  ");
            option.push_str(text);
        } else {
            description.push(line.to_owned());
        }
    }
    if options.is_empty() && !usage.contains("--") {
        return Err(bad("it has no options"));
    }
    let synopsis = usage.trim_start_matches("Usage: ").trim_end().lines().map(str::trim).collect::<Vec<_>>();
    Ok(Command::new(name)
        .about(summary.to_owned())
        .long_about(description.join("\n").trim().to_owned())
        .override_usage(synopsis.join("\n"))
        .disable_help_subcommand(true)
        .args(options.iter().map(|line| option(line)))
        .args(in_usage(&usage, &options))
        .subcommands(verbs.into_iter().map(|(name, about)| Command::new(name).about(about)))
        .after_long_help(after.join("\n")))
}

/// `  resume    go on with it`, when the usage names `resume`.
fn verb(line: &str, usage: &str) -> Option<(String, String)> {
    let (name, about) = line.strip_prefix("  ").filter(|rest| !rest.starts_with(' '))?.split_once("  ")?;
    usage.split([' ', '|', '[', ']', '\n']).any(|word| word == name).then(|| (name.to_owned(), about.trim().to_owned()))
}

/// `--store DIR   where they go  [default: x]`.
fn option(line: &str) -> Arg {
    let (flag, text) = line.split_once("  ").unwrap_or((line, ""));
    flagged(flag).help(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Options that only the usage line has: `[--format markdown|html]`.
fn in_usage(usage: &str, listed: &[String]) -> Vec<Arg> {
    usage
        .split('[')
        .filter_map(|piece| piece.split_once(']').map(|(inside, _)| inside))
        .filter(|inside| inside.starts_with("--") && !listed.iter().any(|line| line.starts_with(inside)))
        .map(|inside| {
            let choices = inside.split_once(' ').map_or("", |(_, value)| value);
            let argument = flagged(inside);
            if choices.contains('|') {
                argument.value_parser(choices.split('|').map(str::to_owned).collect::<Vec<_>>())
            } else {
                argument
            }
        })
        .collect()
}

fn flagged(flag: &str) -> Arg {
    let (name, value) =
        flag.trim().trim_start_matches("--").split_once(' ').unwrap_or((flag.trim_start_matches("--"), ""));
    let argument = Arg::new(name.to_owned()).long(name.to_owned());
    if value.is_empty() {
        argument.action(clap::ArgAction::SetTrue)
    } else {
        let argument = argument.value_name(value.to_owned());
        if value.contains("DIR") || value.contains("FILE") {
            argument.value_hint(clap::ValueHint::AnyPath)
        } else {
            argument
        }
    }
}

/// `Exit status: 0 ...` is a heading and its text.
fn closing(line: &str) -> String {
    match line.split_once(": ") {
        Some(("Exit status", text)) => format!("Exit status:\n{text}"),
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELP: &str = "Usage: mm-x [run] --to VERSION [OPTIONS]\n       mm-x resume|status\n\nDoes it.\n\n  run       now\n  \
                        resume    again\n\n      --to VERSION     where to\n                       and how\n      --public         \
                        openly\n  -h, --help           this text\n\nLeaves here:\n  a.json  it\n\nExit status: 0 good; 1 bad\n";

    #[test]
    fn the_help_of_a_script_becomes_a_command() {
        let command = command("mm-x", "Does things", HELP).unwrap();
        let verbs: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
        assert_eq!(verbs, ["run", "resume"]);
        let to = command.get_arguments().find(|argument| argument.get_id() == "to").unwrap();
        assert_eq!(to.get_help().unwrap().to_string(), "where to and how");
        assert_eq!(to.get_value_names().unwrap()[0].as_str(), "VERSION");
        let public = command.get_arguments().find(|argument| argument.get_id() == "public").unwrap();
        assert!(!public.get_action().takes_values());
        assert_eq!(command.get_long_about().unwrap().to_string(), "Does it.");
        let after = command.get_after_long_help().unwrap().to_string();
        assert!(
            after.contains("Leaves here:\n  a.json  it") && after.contains("Exit status:\n0 good; 1 bad"),
            "{after}"
        );
    }

    #[test]
    fn an_option_of_the_usage_alone_is_not_lost_and_a_help_without_usage_is_refused() {
        let command = command("mm-y", "Tells", "Usage: mm-y [--format a|b] [FILE]\n\nTells it.\n").unwrap();
        assert!(command.get_arguments().any(|argument| argument.get_id() == "format"));
        assert!(super::command("mm-z", "None", "it does things\n").is_err());
    }
}
