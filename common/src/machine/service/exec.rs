//! No manager: `bin/mattermost` is run directly as the owner, in a session of its own, with the install root as working
//! directory and its output in a log of the state directory.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::process::Process;
use crate::contract::error::{Context as _, Error, Result};
use crate::machine::command::Cmd;
use crate::machine::files::{self, Access};
use crate::machine::state::State;
use crate::machine::user::User;

/// The log is begun anew beyond this size; one older log is kept.
const LOG_LIMIT: u64 = 16 * 1024 * 1024;

/// Variables that a server may be given besides its own. What else stands in the owner's environment file could make
/// a program that runs as root on the way to the server load the owner's code (`LD_PRELOAD`).
const HARMLESS: [&str; 7] = ["TZ", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"];

/// Whether a variable may be handed to the server.
pub fn may_be_set(name: &str) -> bool {
    name.starts_with("MM_") || HARMLESS.contains(&name)
}

/// The process in the pid file, if it lives.
pub(super) fn recorded(state: &State) -> Option<Process> {
    let text = files::read(&pid_file(state), 4096).ok()?;
    let process: Process = serde_json::from_slice(&text).ok()?;
    process.is_alive().then_some(process)
}

/// The log that the server's console output goes to.
pub fn log_file(state: &State) -> PathBuf {
    state.path().join("server.log")
}

pub(super) fn start(state: &State, root: &Path, owner: &User, variables: &[(String, String)]) -> Result<()> {
    files::create_directory(state.path(), 0o700)?;
    let log = log_file(state);
    if files::look(&log)?.is_some_and(|data| data.len() > LOG_LIMIT) {
        files::rename(&log, &log.with_extension("log.1"))?;
    }
    let open =
        || OpenOptions::new().append(true).create(true).mode(0o600).open(&log).map_err(|e| Error::io("open", &log, e));
    let mut command = Cmd::new(root.join("bin/mattermost").to_string_lossy())
        .user(owner)
        .directory(root)
        // What the server makes is as it would be under any other manager.
        .umask(0o022)
        .env("USER", &owner.name)
        .env("LOGNAME", &owner.name)
        .env("HOME", owner.home());
    for (key, value) in variables.iter().filter(|(key, _)| may_be_set(key)) {
        command = command.env(key, value);
    }
    let child = command.start(Stdio::null(), open()?.into(), open()?.into())?;
    let pid = i32::try_from(child.id()).map_err(|error| Error::failed("process id out of range").because(error))?;
    // One that died at once has no entry to record; health is the caller's business.
    if let Some(process) = Process::of(pid) {
        let file = pid_file(state);
        let text = serde_json::to_vec(&process).context(|| format!("cannot write `{}`", file.display()))?;
        files::write(&file, &text, Access::PRIVATE)?;
    }
    Ok(())
}

/// Asks a server to end.
pub(super) fn terminate(process: Process) -> Result<()> {
    send(process, Signal::SIGTERM)
}

/// Ends a server that does not do what it is asked.
pub(super) fn kill(process: Process) -> Result<()> {
    send(process, Signal::SIGKILL)
}

fn send(process: Process, signal: Signal) -> Result<()> {
    match nix::sys::signal::kill(Pid::from_raw(process.pid), signal) {
        // It ended by itself.
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(error) => {
            Err(Error::failed(format!("cannot stop the server, process {}", process.pid)).because(error.desc()))
        }
    }
}

fn pid_file(state: &State) -> PathBuf {
    state.path().join("server.pid.json")
}
