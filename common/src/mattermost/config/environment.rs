//! Variables the server starts with: of the systemd unit and its drop-ins, of environment files, of supervisord.

use std::path::{Path, PathBuf};

use super::token::{Token, Writing};
use crate::contract::error::{Error, Result};
use crate::machine::files;
use crate::machine::service::process::EXECUTABLES;
use crate::machine::service::{Manager, others, systemd};
use crate::machine::wildcard;

/// A file larger than this sets no environment.
const MOST: u64 = 1024 * 1024;

/// The file that Mattermost's documentation lets the unit read, relative to the install root.
pub const DOCUMENTED: &str = "config/mattermost.environment";

/// A variable and where it is set. Values may be secrets: not printable.
#[derive(Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// The file that sets it, when that is known.
    pub file: Option<PathBuf>,
}

/// An assignment in an environment file.
#[derive(Clone)]
pub(super) struct Assignment {
    pub(super) name: String,
    /// Its value, and where it stands in the file.
    pub(super) token: Token,
}

/// The variable of this name that holds: the last one set.
pub fn find<'a>(variables: &'a [Variable], name: &str) -> Option<&'a Variable> {
    variables.iter().rev().find(|variable| variable.name == name)
}

/// Its value.
pub fn value<'a>(variables: &'a [Variable], name: &str) -> Option<&'a str> {
    find(variables, name).map(|variable| variable.value.as_str())
}

/// The variables with which `manager` starts the server in `root`, in the order in which they are set.
pub fn of_service(root: &Path, manager: &Manager) -> Result<Vec<Variable>> {
    match manager {
        Manager::Systemd { unit } => of_unit(&systemd::show(unit)?),
        Manager::Sysv { name } => {
            let places = ["/etc/default", "/etc/sysconfig"].map(|place| Path::new(place).join(name));
            places.iter().try_fold(Vec::new(), |mut all, path| {
                all.extend(of_file(path, true)?);
                Ok(all)
            })
        }
        Manager::Supervisor { name } => of_supervisor(root, name),
        Manager::Exec | Manager::Command { .. } => of_file(&root.join(DOCUMENTED), true),
    }
}

/// The value of `-c` or `--config` in the command with which systemd starts the server.
pub(super) fn config_argument(manager: &Manager) -> Result<Option<String>> {
    let Manager::Systemd { unit } = manager else { return Ok(None) };
    Ok(argument_in(&systemd::show(unit)?.exec_start))
}

/// What the server is told with `-c` or `--config`. Words are its own only after its executable: a wrapper (`env`, a
/// shell, `setpriv`) has flags of the same names.
fn argument_in(command: &str) -> Option<String> {
    let mut words = server_words(command).1.into_iter();
    while let Some(word) = words.next() {
        if word == "-c" || word == "--config" {
            return words.next();
        }
        let joined = ["--config=", "-c="].iter().find_map(|flag| word.strip_prefix(flag));
        // A short flag may have its value right behind it (pflag).
        if let Some(value) = joined.or_else(|| word.strip_prefix("-c").filter(|value| !value.is_empty())) {
            return Some(value.into());
        }
    }
    None
}

/// The words of a command before the server's executable, and those after it: its arguments.
fn server_words(command: &str) -> (Vec<String>, Vec<String>) {
    // As systemd shows a command, the words of `argv[]=` follow the path of the program.
    let command = command.split_once("argv[]=").map_or(command, |(_, words)| words);
    let mut before = words(command);
    // A shell is given the command that it runs as one word.
    if let Some(at) = before.iter().position(|word| word.contains(char::is_whitespace)) {
        let inner = words(&before[at]);
        before.splice(at..=at, inner);
    }
    let is_server = |word: &String| {
        let path = Path::new(word);
        path.parent().is_some_and(|bin| bin.ends_with("bin"))
            && path.file_name().is_some_and(|name| EXECUTABLES.iter().any(|known| name == *known))
    };
    let Some(at) = before.iter().position(is_server) else { return (before, Vec::new()) };
    let after = before.split_off(at + 1);
    (before, after)
}

/// The variables that a wrapper in `ExecStart` (`env A=b`) gives the server. They outrank those of the unit.
fn of_wrapper(command: &str) -> Vec<Variable> {
    let words = server_words(command).0.into_iter();
    let pairs = words.filter_map(|word| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())));
    pairs
        .filter(|(name, _)| name.starts_with("MM_") && is_name(name))
        .map(|(name, value)| Variable { name, value, file: None })
        .collect()
}

/// Our own drop-in of a private start is left out: what it sets is not the configuration.
fn of_unit(unit: &systemd::Unit) -> Result<Vec<Variable>> {
    let texts: Vec<(PathBuf, String)> = unit
        .fragment
        .iter()
        .chain(&unit.drop_ins)
        .filter_map(|path| Some((path.clone(), text_of(path).ok()?)))
        .collect();
    let mut all: Vec<Variable> = words(&unit.environment)
        .iter()
        .filter_map(|word| word.split_once('='))
        .filter_map(|(name, value)| effective(name, value, &texts))
        .collect();
    for (pattern, may_be_missing) in &unit.environment_files {
        let paths = wildcard::expand(pattern)?;
        if paths.is_empty() && !may_be_missing {
            return Err(Error::failed(format!("cannot read the environment files `{}`", pattern.display()))
                .because("none is there, and the unit requires one"));
        }
        for path in paths {
            all.extend(of_file(&path, *may_be_missing)?);
        }
    }
    all.extend(of_wrapper(&unit.exec_start));
    Ok(all)
}

/// A variable as systemd shows it, with the file that sets it; as it would be without our own drop-in.
fn effective(name: &str, shown: &str, texts: &[(PathBuf, String)]) -> Option<Variable> {
    let mut setters = texts.iter().rev().filter_map(|(path, text)| Some((path, set_to(text, name)?)));
    let (name, shown) = (name.to_owned(), shown.to_owned());
    match setters.next() {
        None => Some(Variable { name, value: shown, file: None }),
        Some((path, _)) if !systemd::is_own_drop_in(path) => {
            Some(Variable { name, value: shown, file: Some(path.clone()) })
        }
        Some(_) => setters.next().map(|(path, value)| Variable { name, value, file: Some(path.clone()) }),
    }
}

/// What the `Environment=` lines of a unit file set `name` to.
fn set_to(text: &str, name: &str) -> Option<String> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("Environment="));
    let mut set = lines.flat_map(words).filter_map(|word| match word.split_once('=') {
        Some((key, value)) if key == name => Some(value.replace("%%", "%")),
        _ => None,
    });
    set.next_back()
}

/// The text of a file. Old ones have comments in other encodings, which no service manager minds.
fn text_of(path: &Path) -> Result<String> {
    Ok(String::from_utf8_lossy(&files::read(path, MOST)?).into_owned())
}

fn of_file(path: &Path, may_be_missing: bool) -> Result<Vec<Variable>> {
    if files::look(path)?.is_none() {
        return if may_be_missing {
            Ok(Vec::new())
        } else {
            Err(Error::failed(format!("cannot read the environment file `{}`", path.display()))
                .because("it does not exist, and the unit requires it"))
        };
    }
    let text = text_of(path)?;
    let variable = |found: Assignment| Variable { name: found.name, value: found.token.value, file: Some(path.into()) };
    Ok(assignments(&text).into_iter().map(variable).collect())
}

fn of_supervisor(root: &Path, name: &str) -> Result<Vec<Variable>> {
    let Some((_, path)) = others::find_supervisor(root).into_iter().find(|(found, _)| found == name) else {
        return Ok(Vec::new());
    };
    let text = text_of(&path)?;
    let mut inside = false;
    let mut all = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == format!("[program:{name}]");
        } else if let (true, Some((key, list))) = (inside, line.split_once('='))
            && key.trim() == "environment"
        {
            let pairs = comma_separated(list);
            all.extend(pairs.into_iter().map(|(name, value)| Variable { name, value, file: Some(path.clone()) }));
        }
    }
    Ok(all)
}

/// supervisord's `KEY="value",OTHER=value`, with `%%` for a percent sign.
fn comma_separated(list: &str) -> Vec<(String, String)> {
    let mut quoted = None;
    let pieces = list.split(|c: char| {
        match (quoted, c) {
            (None, '"' | '\'') => quoted = Some(c),
            (Some(open), _) if open == c => quoted = None,
            _ => {}
        }
        c == ',' && quoted.is_none()
    });
    pieces
        .filter_map(|piece| piece.split_once('='))
        .map(|(key, value)| {
            let value = value.trim();
            let bare = ['"', '\''].iter().find_map(|q| value.strip_prefix(*q)?.strip_suffix(*q)).unwrap_or(value);
            (key.trim().to_owned(), bare.replace("%%", "%"))
        })
        .collect()
}

/// The assignments of an environment file (systemd.exec(5), `EnvironmentFile=`); a leading `export` is accepted, as
/// such files are also read by shells.
pub(super) fn assignments(text: &str) -> Vec<Assignment> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let line = &text[at..];
        let line_end = at + line.find('\n').unwrap_or(line.len());
        let name_end = text[at..line_end].find('=').map(|offset| at + offset);
        let name =
            name_end.map(|end| text[at..end].trim()).map(|name| name.strip_prefix("export ").unwrap_or(name).trim());
        match (name, name_end) {
            (Some(name), Some(end)) if is_name(name) => {
                let token = value_at(text, end + 1);
                let value_end = token.span.end;
                at = value_end + text[value_end..].find('\n').map_or(text.len() - value_end, |offset| offset + 1);
                found.push(Assignment { name: name.into(), token });
            }
            _ => at = line_end + 1,
        }
    }
    found
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.as_bytes()[0].is_ascii_digit()
}

/// Reads a value from `start` to the end of its last line: quotes, escapes and continued lines resolved.
fn value_at(text: &str, start: usize) -> Token {
    let start = start + text[start..].find(|c| c != ' ' && c != '\t').unwrap_or(0);
    let mut token = Token::new(start, Writing::Plain);
    // What precedes is kept even if it is white space: it was quoted or escaped.
    let mut keep = 0;
    let mut quote = None;
    let mut characters = text[start..].char_indices().map(|(offset, c)| (start + offset, c));
    let mut end = text.len();
    while let Some((at, c)) = characters.next() {
        match (quote, c) {
            (None, '\n') => {
                end = at;
                break;
            }
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), _) if open == c => {
                quote = None;
                keep = token.value.len();
            }
            (Some('\''), _) => token.push(c, at..at + c.len_utf8()),
            (_, '\\') => match characters.next() {
                Some((_, '\n')) | None => {}
                Some((place, escaped)) => {
                    let end = place + escaped.len_utf8();
                    if quote == Some('"') && !matches!(escaped, '"' | '\\' | '`' | '$') {
                        token.push('\\', at..place);
                        token.push(escaped, place..end);
                    } else {
                        token.push(escaped, at..end);
                    }
                    keep = token.value.len();
                }
            },
            _ => token.push(c, at..at + c.len_utf8()),
        }
    }
    let trimmed = token.value.trim_end().len().max(keep);
    token.truncate(trimmed);
    token.span = start..start + text[start..end].trim_end().len();
    token
}

/// Words of a unit's setting: separated by white space, quoted with `"` or `'`, backslash escapes.
fn words(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => found.extend(word.take()),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(open), _) if open == c => quote = None,
            (_, '\\') => word.get_or_insert_default().extend(characters.next()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    found.extend(word);
    found
}

#[cfg(test)]
mod tests;
