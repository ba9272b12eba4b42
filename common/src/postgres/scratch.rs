//! A throw-away PostgreSQL server: its own directory, no network, gone when dropped. To prove that a dump restores.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::server::{Database, program_of};
use crate::contract::error::{Error, Result};
use crate::machine::command::Cmd;
use crate::machine::user::{self, User};
use crate::machine::{files, process, tree};

/// How long the server may take to come up or to stop. It is empty, so seconds are enough even on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// The user that PostgreSQL's packages create; the server refuses to run as root.
const USER: &str = "postgres";

/// How the directories of these servers begin.
const PREFIX: &str = "mm-scratch.";

/// A throw-away server. Its directory is removed and the server stopped when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    directory: PathBuf,
    programs: PathBuf,
    user: Option<User>,
}

impl Scratch {
    /// Starts a server of this major version (or the next newer one that is installed) in a directory below `place`,
    /// which others may enter. What killed runs left there is removed first.
    ///
    /// # Errors
    /// Refused when no server of that major is installed.
    pub fn start(major: u32, place: &Path) -> Result<Self> {
        remove_leftovers(place)?;
        let initdb = (major..=40).find_map(|major| program_of("initdb", major)).ok_or_else(|| {
            Error::refused(format!("the server of PostgreSQL {major} is not installed"))
                .because("a throw-away server is needed to try the dump")
                .hint(format!("apt-get install postgresql-{major}"))
        })?;
        let user = if user::is_root() { Some(User::named(USER)?) } else { None };
        let directory = place.join(format!("{PREFIX}{}", process::Identity::own()?.text()));
        files::create_directory(&directory, 0o700)?;
        let scratch = Self { directory, programs: files::parent(&initdb)?.into(), user };
        if let Some(user) = &scratch.user {
            std::os::unix::fs::lchown(&scratch.directory, Some(user.uid), Some(user.gid))
                .map_err(|error| Error::io("change the owner of", &scratch.directory, error))?;
        }
        let data = scratch.data();
        scratch
            .program("initdb")
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "-D"])
            .arg(&data)
            .run()?;
        // Nothing in it is to last, and nobody else may reach it.
        let options = format!(
            "-c listen_addresses= -c unix_socket_directories={} -c fsync=off -c full_page_writes=off -c autovacuum=off",
            scratch.directory.display()
        );
        scratch
            .program("pg_ctl")
            .args(["start", "--wait", "--silent", "-D"])
            .arg(&data)
            .arg("-l")
            .arg(scratch.directory.join("log"))
            .args(["-o", &options])
            .run()
            .map_err(|error| {
                let log = files::read_text(&scratch.directory.join("log"), 1 << 20).unwrap_or_default();
                error.because(crate::machine::command::tail(&log))
            })?;
        Ok(scratch)
    }

    /// A database of this server, as its superuser.
    pub fn database(&self, name: &str) -> Result<Database> {
        Database::superuser_at(&self.directory, 5432, "postgres", self.user.as_ref(), name)
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn program(&self, name: &str) -> Cmd {
        let command = Cmd::new(self.programs.join(name).display().to_string()).limit(LIMIT).env("PGPORT", "5432");
        match &self.user {
            Some(user) => command.user(user),
            None => command,
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A server that never came up cannot be stopped, and what remains is found by the next run.
        let _ = self.program("pg_ctl").args(["stop", "--mode=immediate", "-D"]).arg(self.data()).output();
        let _ = tree::remove(&self.directory);
    }
}

/// Stops and removes the servers of runs that were killed.
fn remove_leftovers(place: &Path) -> Result<()> {
    let entries = std::fs::read_dir(place).map_err(|error| Error::io("read the directory", place, error))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(identity) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        let ours = entry.metadata().is_ok_and(|data| {
            use std::os::unix::fs::MetadataExt as _;
            let user = User::named(USER).ok();
            data.is_dir()
                && (data.uid() == nix::unistd::geteuid().as_raw() || user.is_some_and(|u| u.uid == data.uid()))
        });
        if !ours || process::Identity::parse(identity).is_none_or(|identity| identity.is_alive()) {
            continue;
        }
        let pid = files::read_text(&entry.path().join("data/postmaster.pid"), 4096).unwrap_or_default();
        let pid = pid.lines().next().and_then(|line| line.trim().parse::<i32>().ok());
        if let Some(pid) = pid
            && process::command_line(pid).is_some_and(|line| line.contains(&*entry.path().to_string_lossy()))
        {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGQUIT);
        }
        tree::remove(&entry.path())?;
    }
    Ok(())
}
