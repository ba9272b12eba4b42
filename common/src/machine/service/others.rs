//! Managers that are told what to do by a command: `service`, `supervisorctl`, and the administrator's own. What they
//! start may keep its standard streams for ever, so these go to a log, not into a pipe somebody would wait on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::systemd::runs_server_of;
use crate::contract::error::{Error, Result};
use crate::machine::command::{self, Cmd};
use crate::machine::files::{self, Access};
use crate::machine::state::State;

/// A file larger than this is no init script or program section.
const MOST: u64 = 1024 * 1024;

/// Where supervisord's programs are described on Debian, Red Hat and by hand.
const SUPERVISOR_PLACES: [&str; 3] = ["/etc/supervisor/conf.d", "/etc/supervisord.d", "/etc/supervisor.d"];

/// Scripts of `/etc/init.d` that run the server of the installation at `root`.
pub(super) fn find_sysv(root: &Path) -> Vec<String> {
    scripts(Path::new("/etc/init.d"))
        .into_iter()
        .filter(|(_, text)| text.lines().any(|line| !line.trim_start().starts_with('#') && runs_server_of(line, root)))
        .filter_map(|(path, _)| Some(path.file_name()?.to_str()?.to_owned()))
        .collect()
}

/// Programs of supervisord that run the server of the installation at `root`, with the file that describes each.
pub fn find_supervisor(root: &Path) -> Vec<(String, PathBuf)> {
    let places = SUPERVISOR_PLACES.iter().flat_map(|place| scripts(Path::new(place)));
    places.flat_map(|(path, text)| programs(&text, root).into_iter().map(move |name| (name, path.clone()))).collect()
}

/// Whether the init script of this name names the installation at `root`.
pub(super) fn script_names(name: &str, root: &Path) -> bool {
    let text = files::read_text(&Path::new("/etc/init.d").join(name), MOST).unwrap_or_default();
    text.lines().any(|line| !line.trim_start().starts_with('#') && names(line, root))
}

/// Whether the program of supervisord of this name names the installation at `root`.
pub(super) fn program_names(name: &str, root: &Path) -> bool {
    let mut texts = SUPERVISOR_PLACES.iter().flat_map(|place| scripts(Path::new(place)));
    texts.any(|(_, text)| section(&text, &format!("[program:{name}]")).any(|line| names(line, root)))
}

/// Where supervisord's own section is on Debian, Red Hat and by hand.
const SUPERVISORD: [&str; 3] = ["/etc/supervisor/supervisord.conf", "/etc/supervisord.conf", "/etc/supervisor.conf"];

/// The user that supervisord runs the program of this name as, by name or number, where its section says so, or that of supervisord
/// itself.
pub fn supervisor_user(name: &str) -> Option<String> {
    let mut texts = SUPERVISOR_PLACES.iter().flat_map(|place| scripts(Path::new(place)));
    texts.find_map(|(_, text)| user_of(&text, &format!("[program:{name}]"))).or_else(|| {
        let mut texts = SUPERVISORD.iter().filter_map(|path| files::read_text(Path::new(path), MOST).ok());
        texts.find_map(|text| user_of(&text, "[supervisord]"))
    })
}

/// What a section says of its user. What is put together of other values is not known.
fn user_of(text: &str, heading: &str) -> Option<String> {
    let mut values = section(text, heading).filter_map(|line| line.split_once('='));
    let value = values.find_map(|(key, value)| key.trim().eq_ignore_ascii_case("user").then_some(value))?;
    // What follows a semicolon after a blank is a comment (supervisord's documentation of its configuration file).
    let comment = value.char_indices().find(|(at, c)| *c == ';' && value[..*at].ends_with(char::is_whitespace));
    let value = comment.map_or(value, |(at, _)| &value[..at]).trim();
    (!value.is_empty() && !value.contains("%(")).then(|| value.to_owned())
}

/// The lines of the section with this heading.
fn section<'a>(text: &'a str, heading: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    let heading = heading.to_owned();
    let section = text.lines().map(str::trim).skip_while(move |line| *line != heading).skip(1);
    section.take_while(|line| !line.starts_with('['))
}

/// Whether a line holds a path of the installation at `root`, which is resolved; the line's may go through a link.
fn names(line: &str, root: &Path) -> bool {
    let separator = |c: char| c.is_whitespace() || matches!(c, '=' | ';' | ':' | ',' | '"' | '\'' | '{' | '}');
    let mut paths = line.split(separator).filter(|word| word.starts_with('/')).map(Path::new);
    paths.any(|path| path.ancestors().any(|above| above == root || above.canonicalize().is_ok_and(|it| it == root)))
}

fn programs(text: &str, root: &Path) -> Vec<String> {
    let mut section = None;
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.strip_prefix("program:").map(str::to_owned);
        } else if let (Some(name), Some((key, value))) = (&section, line.split_once('='))
            && key.trim() == "command"
            && runs_server_of(value, root)
        {
            found.push(name.clone());
        }
    }
    found
}

fn scripts(directory: &Path) -> Vec<(PathBuf, String)> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.into_iter().filter_map(|path| files::read_text(&path, MOST).ok().map(|text| (path, text))).collect()
}

/// Runs a program that controls the service, its output going to the log in the state directory.
pub(super) fn control(state: &State, words: &[&str], environment: &[(String, String)], limit: Duration) -> Result<()> {
    run(state, "exec \"$@\"", words, environment, limit)
}

/// Runs a command line of the administrator with `sh -c`.
pub(super) fn shell(state: &State, line: &str, environment: &[(String, String)], limit: Duration) -> Result<()> {
    run(state, "exec sh -c \"$1\"", &[line], environment, limit)
}

fn run(state: &State, script: &str, words: &[&str], environment: &[(String, String)], limit: Duration) -> Result<()> {
    files::create_directory(state.path(), 0o700)?;
    let log = state.path().join("control.log");
    files::write(&log, b"", Access::PRIVATE)?;
    let mut command = Cmd::new("sh").arg("-c").arg(format!("exec >>\"$0\" 2>&1; {script}")).arg(&log).args(words);
    for (key, value) in environment {
        command = command.env(key, value);
    }
    let output = command.umask(0o022).limit(limit).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = files::read(&log, MOST).unwrap_or_default();
    let error = Error::failed(format!("`{}` failed", words.join(" "))).because(output.status);
    Err(match command::tail(&String::from_utf8_lossy(&said)) {
        "" => error,
        words => error.because(words),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_program_of_supervisord() {
        let text = "[program:web]\ncommand=/usr/bin/web\n\n[program:chat]\ncommand = /opt/mm/bin/mattermost\nuser=mm\n";
        assert_eq!(programs(text, Path::new("/opt/mm")), ["chat"]);
        assert!(programs(text, Path::new("/opt/other")).is_empty());
        assert_eq!((user_of(text, "[program:chat]").as_deref(), user_of(text, "[program:web]")), (Some("mm"), None));
        for (line, user) in [
            ("user = mm ; as installed", Some("mm")),
            ("USER=mm\t; as installed", Some("mm")),
            ("user=mm;x", Some("mm;x")),
            ("user=%(ENV_WHO)s", None),
            ("user= ; nobody said", None),
            ("username=mm", None),
        ] {
            assert_eq!(user_of(&format!("[supervisord]\n{line}\n"), "[supervisord]").as_deref(), user, "{line}");
        }
    }

    #[test]
    fn a_command_that_leaves_something_running_is_not_waited_for() {
        let place = tempfile::tempdir().unwrap();
        let state = State::of(Path::new("/opt/x"), Some(place.path()));
        shell(&state, "sleep 5 & echo started", &[], Duration::from_secs(4)).unwrap();
        let error = shell(&state, "echo why >&2; exit 3", &[], Duration::from_secs(4)).unwrap_err();
        assert_eq!(error.message(), "`echo why >&2; exit 3` failed");
        assert!(error.causes().iter().any(|cause| cause == "why"), "{error:?}");
    }
}
