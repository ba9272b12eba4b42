//! Starting and stopping the server, whoever manages it.

pub mod exec;
mod find;
mod group;
pub mod hold;
mod note;
pub mod others;
pub mod process;
mod recorded;
pub mod systemd;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use self::process::Process;
use super::command;
use super::lock::LockGuard;
use super::state::State;
use super::user::User;
use crate::contract::error::{Error, Result};
use crate::contract::ui;

/// How long a stop may take. The server ends within 15 s of SIGTERM (observed: its job watcher sleeps that long); 30 s
/// is generous, 90 s is what systemd allows by default.
pub const STOP_LIMIT: Duration = Duration::from_secs(90);

/// How long a server that is gone back from may take to stop: twice what a healthy one was observed to need. Users are waiting.
pub const FAILED_STOP: Duration = Duration::from_secs(30);

/// How long a manager may take to take an order (not to carry it out).
const ORDER_LIMIT: Duration = Duration::from_secs(60);

/// How long a killed process may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// Who starts and stops the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manager {
    /// A systemd unit.
    Systemd {
        /// Name of the unit, with `.service`.
        unit: String,
    },
    /// A script in `/etc/init.d`, through `service`.
    Sysv {
        /// Name of the script.
        name: String,
    },
    /// A program of supervisord.
    Supervisor {
        /// Name of the program.
        name: String,
    },
    /// No manager: `bin/mattermost` is run directly as the owner, with a pid file in the state directory.
    Exec,
    /// Commands of the administrator.
    Command {
        /// Stops the server and returns when it is stopped.
        stop: String,
        /// Starts the server.
        start: String,
    },
}

impl Manager {
    /// Its name, as `--service` takes it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Systemd { .. } => "systemd",
            Self::Sysv { .. } => "sysv",
            Self::Supervisor { .. } => "supervisor",
            Self::Exec => "exec",
            Self::Command { .. } => "command",
        }
    }

    /// Name of the unit, script or program, where it has one.
    pub fn unit(&self) -> Option<&str> {
        match self {
            Self::Systemd { unit } => Some(unit),
            Self::Sysv { name } | Self::Supervisor { name } => Some(name),
            Self::Exec | Self::Command { .. } => None,
        }
    }

    /// Manager and name, as `--service` takes them; `None` where there is no name.
    pub fn label(&self) -> Option<String> {
        self.unit().map(|unit| format!("{}:{unit}", self.name()))
    }
}

/// The server as a service.
#[derive(Debug, Clone)]
pub struct Service {
    /// Who manages it.
    pub manager: Manager,
    /// The install root.
    pub install: PathBuf,
    /// The user the server runs as.
    pub owner: User,
    /// Variables that `exec` gives the server at every start.
    pub variables: Vec<(String, String)>,
    /// Where pid file and the note "stopped by us" are kept.
    pub state: State,
}

impl Service {
    /// Whether the server runs.
    pub fn is_running(&self) -> Result<bool> {
        Ok(self.main_pid()?.is_some())
    }

    /// Process id of the running server; `None` when it does not run.
    pub fn main_pid(&self) -> Result<Option<i32>> {
        Ok(self.process()?.map(|process| process.pid))
    }

    /// The running server, so that it cannot be mistaken for a later process with its number.
    pub fn process(&self) -> Result<Option<Process>> {
        if let Some(process) = process::servers(&self.install).first() {
            return Ok(Some(*process));
        }
        // Whoever may not see the executables of other users' processes still learns the number from the manager.
        match &self.manager {
            Manager::Systemd { unit } => Ok(systemd::show(unit)?.main_pid.and_then(Process::of)),
            Manager::Exec => Ok(exec::recorded(&self.state)),
            _ => Ok(None),
        }
    }

    /// Refuses a server of this installation that does not come from its unit: who stops and starts the unit does not reach
    /// it, and it goes on with the port and the database. Where something else than systemd starts the server there is
    /// nothing that could tell.
    ///
    /// # Errors
    /// Refused (exit 5), with its process id.
    pub fn refuse_outsider(&self) -> Result<()> {
        let Manager::Systemd { unit } = &self.manager else { return Ok(()) };
        let servers = process::servers(&self.install);
        if servers.is_empty() {
            return Ok(());
        }
        let shown = systemd::show(unit)?;
        let is_outside = |process: &Process| {
            process.is_alive() && !group::comes_from(*process, shown.control_group.as_deref(), shown.main_pid)
        };
        match servers.into_iter().find(is_outside) {
            None => Ok(()),
            Some(process) => {
                Err(Error::refused(format!("process {} is a server that `{unit}` has not started", process.pid))
                    .because(format!(
                        "it executes the server of `{}` outside of the unit's control group, and stopping the unit does not end it",
                        self.install.display()
                    ))
                    .hint(format!(
                        "find out who started it (`ps -o user,lstart,args -p {0}`) and end it (`kill {0}`); where the unit does not run this server, say what does with --service",
                        process.pid
                    )))
            }
        }
    }

    /// Whether the server runs, or would run had not one of these tools stopped it: what the service state was when
    /// the run began. A tool that was killed after it stopped the service leaves a note in the state directory.
    pub fn was_running(&self) -> Result<bool> {
        Ok(self.is_running()? || note::stands(&self.state)?)
    }

    /// Stops the server and waits until its process is gone. A note that we did it is on disk before.
    ///
    /// # Errors
    /// When the manager refuses, or a process of the server is still there after `limit`. It is never killed.
    pub fn stop(&self, limit: Duration, lock: &LockGuard) -> Result<()> {
        let begun = Instant::now();
        let running = self.process()?;
        let known = self.processes(running);
        if running.is_some() {
            command::ask_the_host();
            if let Manager::Systemd { unit } = &self.manager {
                // What fails here fails at the start, which says it.
                let _ = systemd::make_ready(unit);
            }
            note::leave(&self.state, &self.manager, lock)?;
        }
        match &self.manager {
            // Also when no process is seen: a unit may be waiting to restart it.
            Manager::Systemd { unit } => systemd::stop(unit, limit)?,
            Manager::Supervisor { name } => {
                let stopped = others::control(&self.state, &["supervisorctl", "stop", name], &[], limit);
                // Likewise; but a supervisord that does not run restarts nothing.
                if running.is_some() {
                    stopped?;
                }
            }
            _ if running.is_none() => return Ok(()),
            Manager::Sysv { name } => others::control(&self.state, &["service", name, "stop"], &[], limit)?,
            Manager::Command { stop, .. } => others::shell(&self.state, stop, &[], limit)?,
            Manager::Exec => known.iter().copied().try_for_each(exec::terminate)?,
        }
        self.wait_until_gone(&known, begun, limit)
    }

    /// As [`Service::stop`], for a server that failed: one that has not ended after `limit` is killed, and that is said.
    /// Its next start is clean (observed).
    pub fn stop_or_kill(&self, limit: Duration, lock: &LockGuard) -> Result<()> {
        let Err(error) = self.stop(limit, lock) else { return Ok(()) };
        let left = process::servers(&self.install);
        if left.is_empty() {
            return Err(error);
        }
        ui::warn(&format!("{}; it is killed", error.one_line()));
        left.iter().copied().try_for_each(exec::kill)?;
        self.wait_until_gone(&left, Instant::now(), KILL_LIMIT)
    }

    /// All processes of the server, each once: a second SIGTERM would not be as gentle as the first.
    fn processes(&self, running: Option<Process>) -> Vec<Process> {
        let mut all = process::servers(&self.install);
        let recorded = matches!(self.manager, Manager::Exec).then(|| exec::recorded(&self.state)).flatten();
        for process in running.into_iter().chain(recorded) {
            if !all.contains(&process) {
                all.push(process);
            }
        }
        all
    }

    /// Also until those that were seen before are gone: what they execute cannot be told any more when the first of their
    /// threads has ended, and their port is taken until the last one has.
    fn wait_until_gone(&self, known: &[Process], begun: Instant, limit: Duration) -> Result<()> {
        while let Some(process) = self.process()?.or_else(|| known.iter().copied().find(|process| process.is_alive())) {
            if begun.elapsed() >= limit {
                return Err(Error::failed("cannot stop the server")
                    .because(format!("process {} is still there after {} seconds", process.pid, limit.as_secs()))
                    .hint(format!(
                        "find out what it waits for (`{}`, logs/mattermost.log), end it, then run this again",
                        format_args!("cat /proc/{}/wchan", process.pid)
                    )));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Commands the start and returns as soon as the manager has taken the order: health is the caller's business.
    /// `overrides` are `MM_*` variables that this start gets and no later one.
    ///
    /// # Errors
    /// Refused when there are overrides and the manager cannot pass them on (sysv, supervisor).
    pub fn start(&self, overrides: &[(String, String)], lock: &LockGuard) -> Result<()> {
        match &self.manager {
            Manager::Sysv { .. } | Manager::Supervisor { .. } if !overrides.is_empty() => {
                return Err(Error::refused(format!(
                    "{} cannot start the server with an environment of its own for once",
                    self.manager.name()
                ))
                .hint("leave out --private, or use --service command with commands that pass their environment on"));
            }
            Manager::Systemd { unit } => systemd::start(unit, overrides)?,
            Manager::Sysv { name } => others::control(&self.state, &["service", name, "start"], &[], ORDER_LIMIT)?,
            Manager::Supervisor { name } => {
                others::control(&self.state, &["supervisorctl", "start", name], &[], ORDER_LIMIT)?;
            }
            Manager::Command { start, .. } => others::shell(&self.state, start, overrides, ORDER_LIMIT)?,
            Manager::Exec => {
                if let Some(process) = self.process()? {
                    return Err(Error::failed("cannot start the server")
                        .because(format!("it runs already as process {}", process.pid)));
                }
                let variables = [self.variables.as_slice(), overrides].concat();
                exec::start(&self.state, &self.install, &self.owner, &variables)?;
            }
        }
        note::withdraw(&self.state, lock)
    }

    /// To be called when a started server is healthy: what was changed for the time of the start is taken back.
    pub fn settle(&self, _lock: &LockGuard) -> Result<()> {
        match &self.manager {
            Manager::Systemd { unit } => systemd::settle(unit),
            _ => Ok(()),
        }
    }
}
