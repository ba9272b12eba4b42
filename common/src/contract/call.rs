//! What this tool was called on. The commands that our texts name lead there too: what a hint leaves out (an installation
//! elsewhere, another state directory, service or store) is put into it here, on the way of every text to people and into
//! the document, so that no author of one has to think of it, and none acts on another installation.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::RwLock;

use super::shell;

/// The tools with their verbs, as their command lines know them (`xtask --commands` compares).
pub const VERBS: [(&str, &[&str]); 7] = [
    ("mm-path", &[]),
    ("mm-fetch", &["refresh"]),
    ("mm-backup", &["create", "complete", "list", "verify", "restore", "copy", "export", "unpin", "prune", "recover"]),
    ("mm-pgbump", &["run", "check", "move", "recover", "rollback", "drop-old"]),
    ("mm-swap", &["stage", "run", "rollback", "recover", "publish", "status", "prune"]),
    ("mm-verify", &["run", "baseline", "watch", "repair"]),
    ("mm-upgrade", &["run"]),
];

/// Where a command ends at the latest: prose goes on, or another one.
const ENDS: [char; 7] = [';', ',', '`', '|', '\n', ')', '>'];

static CALL: RwLock<Call> = RwLock::new(Call::none());

/// What somebody has said to this tool that the next command has to be told as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The install root, where a flag, the document, the environment or the host's file names one.
    pub install: Option<PathBuf>,
    /// The directory of the state directories, where it is not the usual one.
    pub state_dir: Option<PathBuf>,
    /// Flags about the service with their values, as they can be typed; empty or begun with a blank.
    pub service: String,
    /// The store, where it is not the usual one.
    pub store: Option<PathBuf>,
}

impl Call {
    const fn none() -> Self {
        Self { install: None, state_dir: None, service: String::new(), store: None }
    }

    /// From here on the texts of this process are about this call.
    pub fn made(self) {
        if let Ok(mut call) = CALL.write() {
            *call = self;
        }
    }

    /// The flags that a command lacks, each after a blank. `said` is all of it behind the name of the tool.
    fn lacking(&self, (tool, verb): (&str, Option<&str>), said: &str) -> String {
        let mut flags = String::new();
        let mut add = |names: &[&str], value: Option<&Path>| {
            let is_said = said.split([' ', '=', '\'', '"']).any(|word| names.contains(&word));
            if let Some(value) = value.filter(|_| !is_said) {
                // Writing to a String cannot fail.
                let _ = write!(flags, " {} {}", names[0], shell::word(value));
            }
        };
        // A copy is of no installation, a plan on paper neither, and releases are read for the whole host.
        let is_of_none = (tool, verb) == ("mm-backup", Some("copy"))
            || (tool, verb) == ("mm-fetch", Some("refresh"))
            || said.split(' ').any(|word| word == "--from" || word == "--catalogue-status");
        add(&["--install"], self.install.as_deref().filter(|_| !is_of_none));
        if tool == "mm-upgrade" {
            return flags;
        }
        add(&["--state-dir"], self.state_dir.as_deref());
        let takes_store = tool == "mm-backup" && !matches!(verb, Some("recover"));
        // The points of a run stand in it, with their store.
        let of_run = said.split(' ').any(|word| word == "--run" || word == "--remove");
        add(&["--to", "--store"], self.store.as_deref().filter(|_| takes_store && !of_run));
        let starts = matches!(tool, "mm-swap" | "mm-pgbump")
            || tool == "mm-backup" && matches!(verb, None | Some("create" | "restore" | "recover"));
        if starts && !is_of_none && !said.contains("--service") {
            flags.push_str(&self.service);
        }
        flags
    }

    fn complete<'a>(&self, text: &'a str, everywhere: bool) -> Cow<'a, str> {
        if *self == Self::none() || !text.contains("mm-") {
            return Cow::Borrowed(text);
        }
        let mut written = String::with_capacity(text.len());
        let mut copied = 0;
        for (at, _) in text.match_indices("mm-") {
            if at < copied || !(everywhere || is_marked(&text[..at])) {
                continue;
            }
            let Some((tool, verb, length)) = named(text, at) else { continue };
            let said = said(&text[at + length..]);
            let place = at + place(&text[at..], length, said);
            written.push_str(&text[copied..place]);
            written.push_str(&self.lacking((tool, verb), said));
            copied = place;
        }
        written.push_str(&text[copied..]);
        Cow::Owned(written)
    }
}

/// From here on the store that this process works with is known.
pub fn store(place: &Path) {
    if let Ok(mut call) = CALL.write() {
        call.store = Some(place.into());
    }
}

/// A text that says what to do next: every command in it leads to where this tool was called.
pub fn hint(text: &str) -> Cow<'_, str> {
    CALL.read().map_or(Cow::Borrowed(text), |call| call.complete(text, true))
}

/// A text that may name what runs (`mm-swap run, process 12`) as well: only what stands in backticks, behind a colon or a
/// pipe, or at the beginning of a line is there to be typed.
pub fn prose(text: &str) -> Cow<'_, str> {
    CALL.read().map_or(Cow::Borrowed(text), |call| call.complete(text, false))
}

fn is_marked(before: &str) -> bool {
    before.is_empty()
        || before.ends_with(['`', '\n'])
        || [": ", "| ", "next     "].iter().any(|mark| before.ends_with(mark))
}

/// The command that begins at a place: its tool, its verb, and the length of both. None where only the tool is spoken of.
fn named(text: &str, at: usize) -> Option<(&'static str, Option<&'static str>, usize)> {
    if text[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || "-_/.{$".contains(c)) {
        return None;
    }
    let rest = &text[at..];
    let (tool, verbs) =
        VERBS.iter().find(|(tool, _)| rest.strip_prefix(tool).is_some_and(|behind| behind.starts_with([' ', '`'])))?;
    let behind = &rest[tool.len()..];
    // `mm-verify | mm-pgbump drop-old`: the first one of a pipe looks at the installation.
    if behind.starts_with(" | ") {
        let is_first = !text[..at].ends_with("| ") && *tool == "mm-verify";
        return is_first.then_some((*tool, None, tool.len()));
    }
    let word = behind.strip_prefix(' ')?;
    let end = word.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '.')).unwrap_or(word.len());
    let word = word[..end].trim_end_matches('.');
    if let Some(verb) = verbs.iter().find(|verb| **verb == word) {
        return Some((*tool, Some(*verb), tool.len() + 1 + verb.len()));
    }
    let is_release = *tool == "mm-fetch" && word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.');
    ((word.starts_with("--") && word.len() > 2) || is_release).then_some((*tool, None, tool.len()))
}

/// Where in a command there is room for more flags: behind it, or, where that could be between a flag and its value, before
/// that flag. `length` is that of tool and verb, `said` what stands behind them.
fn place(text: &str, length: usize, said: &str) -> usize {
    let end = typed(text).max(length);
    let is_whole = said.len() + length <= end || said[end - length..].trim().is_empty();
    let last = text[..end].rsplit(' ').next().unwrap_or_default();
    if is_whole || !last.starts_with("--") { end } else { (end - last.len() - 1).max(length) }
}

/// What belongs to a command of what stands behind its beginning. A quoted word may hold anything.
fn said(rest: &str) -> &str {
    let mut quoted = false;
    let mut end = rest.len();
    for (at, c) in rest.char_indices() {
        match c {
            '\'' => quoted = !quoted && opens(&rest[..at]),
            _ if !quoted && (ENDS.contains(&c) || rest[at..].starts_with(" mm-")) => {
                end = at;
                break;
            }
            _ => {}
        }
    }
    &rest[..end]
}

/// Whether an apostrophe behind this begins a quoted word, or the rest of one with an apostrophe in it; "the server's" has none.
fn opens(before: &str) -> bool {
    before.ends_with([' ', '=']) || before.ends_with("\\'")
}

/// A text in pieces that may stand on lines of their own: its words, and a command in one, as half of it is none.
pub fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    loop {
        let begin = rest.trim_start_matches(['`', '(']);
        let at = rest.len() - begin.len();
        // What stands in backticks is one command, whatever its values are.
        let marked = || begin.find('`').filter(|_| rest[..at].ends_with('`')).map(|end| end + 1);
        let length = if named(rest, at).is_some() { at + marked().unwrap_or_else(|| typed(begin)) } else { 0 };
        let Some(end) = rest[length..].find(' ') else {
            pieces.push(rest);
            return pieces;
        };
        pieces.push(&rest[..length + end]);
        rest = &rest[length + end + 1..];
    }
}

/// How far a command goes that a text begins with: its verb, its flags with what looks like their values, and names to be
/// filled in.
fn typed(text: &str) -> usize {
    let all = &text[..said(text).len().max(named(text, 0).map_or(0, |(_, _, length)| length))];
    let mut end = named(text, 0).map_or(0, |(_, _, length)| length);
    let (mut quoted, mut of_flag) = (false, false);
    let mut words = all[end..].split_inclusive(' ').peekable();
    while let Some(word) = words.next() {
        // A plain word behind a flag is its value where the command goes on behind it.
        let goes_on = words.peek().is_some_and(|next| next.starts_with(['-', '/']));
        let is_typed = quoted
            || of_flag && goes_on
            || word == " "
            || word.starts_with(['-', '/', '\''])
            || word.starts_with(|c: char| c.is_ascii_uppercase() || c.is_ascii_digit());
        if !is_typed {
            break;
        }
        for (at, _) in word.match_indices('\'') {
            quoted = !quoted && opens(&all[..end + at]);
        }
        of_flag = word.starts_with("--") && !word.contains('=');
        end += word.len();
    }
    text[..end].trim_end().trim_end_matches(['.', ':']).len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Call {
        Call {
            install: Some("/srv/chat".into()),
            state_dir: Some("/srv/s d".into()),
            service: " --service exec".into(),
            store: Some("/srv/store".into()),
        }
    }

    #[test]
    fn a_command_gets_what_it_lacks() {
        let at = "--install /srv/chat --state-dir '/srv/s d'";
        let there = format!("{at} --to /srv/store");
        for (text, whole) in [
            ("mm-pgbump recover", format!("mm-pgbump recover {at} --service exec")),
            (
                "end it: mm-swap rollback --database; then look",
                format!("end it: mm-swap rollback --database {at} --service exec; then look"),
            ),
            (
                "mm-swap publish --install /x, then this",
                "mm-swap publish --install /x --state-dir '/srv/s d' --service exec, then this".into(),
            ),
            (
                "`mm-backup list`, `mm-backup restore ID`",
                format!("`mm-backup list {there}`, `mm-backup restore ID {there} --service exec`"),
            ),
            ("mm-backup list shows them", format!("mm-backup list {there} shows them")),
            ("mm-backup restore --run 1 --stop", format!("mm-backup restore --run 1 --stop {at} --service exec")),
            ("mm-backup copy --remove /x", "mm-backup copy --remove /x --state-dir '/srv/s d'".into()),
            ("mm-backup verify X --to /a.", format!("mm-backup verify X --to /a {at}.")),
            ("mm-verify | mm-pgbump drop-old", format!("mm-verify {at} | mm-pgbump drop-old {at} --service exec")),
            // An apostrophe quotes nothing; a quoted one does.
            (
                &format!("mm-swap publish opens the server's door; mm-swap recover {at} --service exec"),
                format!(
                    "mm-swap publish {at} --service exec opens the server's door; mm-swap recover {at} --service exec"
                ),
            ),
            (
                "mm-swap rollback --install '/a'\\''s; b', then look",
                "mm-swap rollback --install '/a'\\''s; b' --state-dir '/srv/s d' --service exec, then look".into(),
            ),
            // What stands behind a flag may be its value.
            ("mm-verify repair --list has the fix", format!("mm-verify repair {at} --list has the fix")),
            ("mm-fetch 10.6.1 --edition team", format!("mm-fetch 10.6.1 {at} --edition team")),
            (
                "mm-fetch refresh, then mm-path --to 10.11: it plans",
                format!("mm-fetch refresh --state-dir '/srv/s d', then mm-path --to 10.11 {at}: it plans"),
            ),
            ("mm-path --from 9.5.1 --to 10.6.1", "mm-path --from 9.5.1 --to 10.6.1 --state-dir '/srv/s d'".into()),
            ("mm-upgrade run --to 10.6.1", "mm-upgrade run --to 10.6.1 --install /srv/chat".into()),
        ] {
            assert_eq!(call().complete(text, true), whole);
            assert_eq!(call().complete(&whole, true), whole, "twice is once");
        }
    }

    #[test]
    fn a_command_stands_on_one_line() {
        for (text, shown) in [
            ("a b", vec!["a", "b"]),
            (
                "or: mm-swap rollback --to 9.5.1 --install '/srv/a b', then look",
                vec!["or:", "mm-swap rollback --to 9.5.1 --install '/srv/a b',", "then", "look"],
            ),
            ("`mm-verify repair --list` has the fix", vec!["`mm-verify repair --list`", "has", "the", "fix"]),
            (
                "mm-fetch 9.5.1 --edition team --cache /c, then look",
                vec!["mm-fetch 9.5.1 --edition team --cache /c,", "then", "look"],
            ),
            ("mm-swap publish ends it", vec!["mm-swap publish", "ends", "it"]),
            ("`mm-swap publish --service exec`, then", vec!["`mm-swap publish --service exec`,", "then"]),
            ("see mm-backup restore ID --files", vec!["see", "mm-backup restore ID --files"]),
        ] {
            assert_eq!(pieces(text), shown);
        }
    }

    #[test]
    fn what_only_speaks_of_a_tool_stays() {
        for text in [
            "put mm-fetch before mm-swap in the pipeline",
            "then run mm-pgbump again: it goes on",
            "a pipeline of one hop is mm-fetch | mm-backup | mm-pgbump | mm-swap | mm-verify",
            "/var/lib/mm-tools and .mm-swap --x",
            "look with your own browser; a newer mm-verify may know this client",
        ] {
            assert_eq!(call().complete(text, true), text);
        }
        assert_eq!(call().complete("held by mm-swap run (process 12)", false), "held by mm-swap run (process 12)");
        assert!(call().complete("private (`mm-swap publish` ends it)", false).contains("--install /srv/chat"));
        assert_eq!(Call::none().complete("mm-swap recover", true), "mm-swap recover");
    }
}
