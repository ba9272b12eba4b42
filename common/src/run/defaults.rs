//! What is the same for all tools of a host and is said once: in the environment, or in `/etc/mm-tools.conf`. A flag comes
//! before the document, that before the environment, and that before the file.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

use super::Arguments;
use crate::contract::document::Document;
use crate::contract::error::{Error, Result};
use crate::contract::{shell, ui};
use crate::machine::{files, host, trust};

/// The file: lines of `NAME=VALUE`, root's and not writable for others.
const FILE: &str = "/etc/mm-tools.conf";

/// A larger one is not one of these.
const MOST: u64 = 64 * 1024;

/// Names in the environment and in the file, each with the identifier of the flag that it stands for.
const KNOWN: [(&str, &str); 5] = [
    ("MM_INSTALL", "install"),
    ("MM_STATE_DIR", "state_dir"),
    ("MM_STORE", "store"),
    ("MM_CACHE", "cache"),
    ("MM_SERVICE", "service"),
];

/// A value that stands for a flag, and where it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HostDefault {
    id: &'static str,
    value: OsString,
    from: String,
}

/// The path of the file. In tests it is another one, and none unless they say so: that of the machine is not theirs.
fn file() -> Option<PathBuf> {
    if cfg!(feature = "checkpoints") {
        return std::env::var_os("MM_CHECKPOINT_CONF").map(PathBuf::from);
    }
    Some(FILE.into())
}

/// Reads the command line again, with the defaults of the host for what neither it nor the document says.
///
/// # Errors
/// Refused (exit 5) when the file could have been written by others, or has lines that cannot be understood.
pub(super) fn apply<A: Arguments>(tool: &str, arguments: A, document: Option<&Document>) -> Result<A> {
    let words: Vec<OsString> = std::env::args_os().collect();
    let mut command = A::command();
    let Ok(matches) = command.try_get_matches_from_mut(&words) else { return Ok(arguments) };
    let (mut line, mut parsed) = (words.clone(), arguments);
    let mut defaults = None;
    for (_, id) in KNOWN {
        let Some(flag) = flag(&command, id) else { continue };
        if is_given(&matches, id) {
            ui::detail(&format!("--{flag} is given"));
            continue;
        }
        if let Some(document) = document.filter(|document| says(document, tool, id)) {
            ui::detail(&format!("--{flag}: as the document says{}", of_site(document, id)));
            continue;
        }
        // Only where something is missing: a file that is wrong must not keep from going back who says everything.
        let defaults = match &defaults {
            Some(defaults) => defaults,
            None => defaults.insert(all()?),
        };
        let Some(HostDefault { value, from, .. }) = defaults.iter().find(|default| default.id == id) else { continue };
        let mut word = OsString::from(format!("--{flag}="));
        word.push(value);
        let mut longer = line.clone();
        longer.insert(1.min(longer.len()), word.clone());
        // What does not go with the other flags, such as an install root with a plan on paper, is left out.
        if let Ok(again) = A::try_parse_from(&longer) {
            ui::detail(&format!("{}, from {from}", shell::word(Path::new(&word))));
            (line, parsed) = (longer, again);
        }
    }
    Ok(parsed)
}

/// The long name of the flag, where this tool has it for all its verbs or for itself.
fn flag(command: &Command, id: &str) -> Option<String> {
    let argument = command.get_arguments().find(|argument| argument.get_id() == id)?;
    argument.get_long().map(str::to_owned)
}

/// Whether the flag stands on the command line, before a verb or after it.
fn is_given(matches: &ArgMatches, id: &str) -> bool {
    let here = matches.ids().any(|known| known == id) && matches.value_source(id) == Some(ValueSource::CommandLine);
    here || matches.subcommand().is_some_and(|(_, verb)| is_given(verb, id))
}

/// Whether the document says it: the installation stands in `site`, and mm-path goes on with the store of the hops before.
fn says(document: &Document, tool: &str, id: &str) -> bool {
    match id {
        "install" | "service" => document.get("site").is_some(),
        // That of another machine is not this one's.
        "state_dir" => document
            .run()
            .ok()
            .flatten()
            .is_some_and(|run| run.state_dir.is_some() && run.host.as_deref() == Some(host::identity().as_str())),
        "store" => tool == "mm-path" && (document.get("done").is_some() || document.get("backup").is_some()),
        _ => false,
    }
}

fn of_site(document: &Document, id: &str) -> String {
    let install = document.get("site").and_then(|site| site.get("install")).and_then(serde_json::Value::as_str);
    install.filter(|_| id == "install").map_or_else(String::new, |install| format!(", {install}"))
}

/// Everything that the environment and the file say.
fn all() -> Result<Vec<HostDefault>> {
    let mut all: Vec<HostDefault> = KNOWN
        .iter()
        .filter_map(|(name, id)| {
            let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
            Some(HostDefault { id, value, from: format!("{name} in the environment") })
        })
        .collect();
    if let Some(bad) = all.iter().find(|default| default.id != "service" && !Path::new(&default.value).is_absolute()) {
        return Err(Error::refused(format!("{} is not an absolute path", bad.from))
            .because(format!("it is {}", shell::word(Path::new(&bad.value))))
            .hint("say the whole path there, or give the flag"));
    }
    let Some(path) = file() else { return Ok(all) };
    let file = match files::open_nofollow(&path) {
        Ok(file) => file,
        Err(_) if files::look(&path).is_ok_and(|there| there.is_none()) => return Ok(all),
        // Whoever may not read it plans on paper or asks for a list; as root that does not happen.
        Err(error) if !crate::machine::user::is_root() => {
            ui::detail(&format!("without the defaults of this host: {}", error.one_line()));
            return Ok(all);
        }
        Err(error) => return Err(error),
    };
    trust::check(&file, &path).map_err(|error| {
        let word = shell::word(&path);
        error.hint(format!("chown root:root {word} && chmod 644 {word}"))
    })?;
    let mut text = String::new();
    file.take(MOST).read_to_string(&mut text).map_err(|error| Error::io("read", &path, error))?;
    all.extend(parse(&text, &path)?);
    Ok(all)
}

/// `NAME=VALUE`, a line each, as systemd's `EnvironmentFile=` and shells read them; `#` begins a comment.
fn parse(text: &str, path: &Path) -> Result<Vec<HostDefault>> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let bad = |why: String| {
            Error::refused(format!("line {} of `{}` cannot be understood", number + 1, path.display()))
                .because(why)
                .hint(format!("write NAME=VALUE there, with one of {}", KNOWN.map(|(name, _)| name).join(", ")))
        };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').ok_or_else(|| bad(format!("`{line}` has no `=`")))?;
        // Of a later release, or mistyped: neither is a reason to do nothing at three in the morning.
        let Some((_, id)) = KNOWN.iter().find(|(known, _)| *known == name) else {
            ui::warn(&bad(format!("`{name}` is no name of these tools")).one_line());
            continue;
        };
        let value = unquoted(value).ok_or_else(|| bad(format!("the quotes in `{value}` do not match")))?;
        if value.is_empty() {
            continue;
        }
        if *id != "service" && !value.starts_with('/') {
            return Err(bad(format!("`{value}` is not an absolute path")));
        }
        found.push(HostDefault { id, value: value.into(), from: path.display().to_string() });
    }
    // As in a shell, the last one counts.
    found.reverse();
    Ok(found)
}

fn unquoted(value: &str) -> Option<&str> {
    let value = value.trim();
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote) {
            return rest.strip_suffix(quote).filter(|inner| !inner.contains(quote));
        }
    }
    (!value.contains(['"', '\''])).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Vec<HostDefault>> {
        parse(text, Path::new("/etc/mm-tools.conf"))
    }

    #[test]
    fn lines_are_read_as_shells_and_systemd_read_them() {
        let found =
            of("# ours\n\nMM_STORE=/srv/old\nMM_STORE=\"/srv/back up\"\nMM_SERVICE='systemd:chat'\nMM_CACHE=\n")
                .unwrap();
        let value = |id: &str| found.iter().find(|default| default.id == id).map(|default| default.value.clone());
        assert_eq!(value("store"), Some("/srv/back up".into()));
        assert_eq!((value("service"), value("cache"), value("install")), (Some("systemd:chat".into()), None, None));
    }

    #[test]
    fn a_name_of_a_later_release_is_passed_over() {
        assert_eq!(of("MM_LATER=1\nMM_STORE=/a\n").unwrap().len(), 1);
    }

    #[test]
    fn a_line_that_means_nothing_is_told_with_its_number() {
        for (text, why) in [
            ("MM_STORE=/a\nMM_CACHE=b\n", "line 2"),
            ("MM_STORE /a", "has no `=`"),
            ("MM_STORE=srv", "not an absolute path"),
            ("MM_STORE=\"/a", "quotes"),
        ] {
            let error = of(text).unwrap_err();
            assert!(error.code() == 5 && error.one_line().contains(why), "{text}: {}", error.one_line());
        }
    }
}
