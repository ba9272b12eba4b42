//! Named points between the steps of a tool. With the cargo feature `checkpoints`, a test names one in
//! `MM_CHECKPOINT` and the process kills itself there with SIGKILL, as a power cut would. Without the feature, which
//! no release build has, they compile to nothing.

use super::command::Cmd;

/// Passes the point `name`; with the feature, dies there when `MM_CHECKPOINT` names it, or, with `MM_CHECKPOINT_SIGNAL`,
/// gets that signal instead. Several are separated by commas.
/// `MM_CHECKPOINT_LOG` names a file to which every point passed is appended, so that tests can enumerate them.
#[cfg(feature = "checkpoints")]
pub fn pass(name: &str) {
    append("MM_CHECKPOINT_LOG", name);
    append("MM_CHECKPOINT_PROGRAMS", name);
    if std::env::var("MM_CHECKPOINT").is_ok_and(|wanted| wanted.split(',').any(|wanted| wanted == name)) {
        let signal = std::env::var("MM_CHECKPOINT_SIGNAL").ok().and_then(|signal| signal.parse().ok());
        let _ = nix::sys::signal::raise(signal.unwrap_or(nix::sys::signal::Signal::SIGKILL));
    }
}

/// Passes the point `name`.
#[cfg(not(feature = "checkpoints"))]
pub fn pass(_name: &str) {}

/// Notes that a program is started. `MM_CHECKPOINT_PROGRAMS` names a file to which its command line is appended, indented,
/// among the points passed: so tests count what is started between two of them.
#[cfg(feature = "checkpoints")]
pub fn started(line: &str) {
    append("MM_CHECKPOINT_PROGRAMS", &format!("  {}", line.escape_debug()));
}

/// Notes that a program is started.
#[cfg(not(feature = "checkpoints"))]
pub fn started(_line: &str) {}

/// A tool that is run by another one notes what it does in the same file.
#[cfg(feature = "checkpoints")]
pub fn hand_on(command: Cmd) -> Cmd {
    match std::env::var("MM_CHECKPOINT_PROGRAMS") {
        Ok(file) => command.env("MM_CHECKPOINT_PROGRAMS", file),
        Err(_) => command,
    }
}

/// Hands nothing on.
#[cfg(not(feature = "checkpoints"))]
pub fn hand_on(command: Cmd) -> Cmd {
    command
}

#[cfg(feature = "checkpoints")]
fn append(variable: &str, line: &str) {
    use std::io::Write as _;
    if let Some(path) = std::env::var_os(variable)
        && let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(path)
    {
        let _ = writeln!(file, "{line}");
    }
}
