//! A throw-away PostgreSQL server: its own directory, no network, gone when dropped. To prove that a dump restores.
//!
//! A dump is code, and this server runs it. So for root it runs as a system user that owns nothing else, in a directory
//! that only root can make entries in, and in a network of its own that leads nowhere.

use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::server::{Database, program_of};
use super::source::DataSource;
use crate::contract::error::{Error, Result};
use crate::contract::shell;
use crate::machine::command::{self, Cmd};
use crate::machine::user::{self, User};
use crate::machine::{files, process, state, tree};

/// How long the server may take to come up or to stop. It is empty, so seconds are enough even on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// Where these servers are for root: only root makes entries there, and only their user may enter.
const PLACE: &str = "scratch";

/// Where they are for everybody else: on a disk.
const OPEN_PLACE: &str = "/var/tmp";

/// How the directories of these servers begin. The socket's path may have 107 bytes.
const PREFIX: &str = "mm-s.";

/// A throw-away server. Its directory is removed and the server stopped when this is dropped.
#[derive(Debug)]
pub struct Scratch {
    directory: PathBuf,
    programs: PathBuf,
    user: Option<User>,
}

impl Scratch {
    /// Starts a server of this major version (or the next newer one that is installed). What killed runs left is removed
    /// first.
    ///
    /// # Errors
    /// Refused when no server of that major is installed, or root has no user to run it as.
    pub fn start(major: u32) -> Result<Self> {
        let initdb = (major..=40).find_map(|major| program_of("initdb", major)).ok_or_else(|| {
            Error::refused(format!("the server of PostgreSQL {major} is not installed"))
                .because("a throw-away server is needed to try the dump")
                .hint(super::programs::install(major, super::programs::Part::Server))
        })?;
        let user = if user::is_root() { Some(user::tools()?) } else { None };
        let place = match &user {
            Some(user) => closed_place(user)?,
            None => OPEN_PLACE.into(),
        };
        remove_leftovers(&place)?;
        let directory = place.join(format!("{PREFIX}{}", process::Identity::own()?.text()));
        // Made by us: what is there already is somebody else's.
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .map_err(|error| Error::io("create the directory", &directory, error))?;
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
            .server()
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

    /// A database of this server, as `role`, which may connect and nothing else but what it is given.
    pub fn database_as(&self, role: &str, name: &str) -> Result<Database> {
        let source = DataSource {
            host: self.directory.display().to_string(),
            port: 5432,
            user: role.into(),
            password: None,
            database: name.into(),
            environment: Vec::new(),
        };
        Database::connect(&source, self.user.as_ref())
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// `pg_ctl` for the server itself: in a network of its own where the kernel gives one. Its socket is a file, and is
    /// reached all the same.
    fn server(&self) -> Cmd {
        let program = self.program("pg_ctl");
        let alone = self.user.is_some()
            && command::exists("unshare")
            && Cmd::new("unshare").args(["--net", "--", "true"]).run().is_ok();
        match &self.user {
            Some(user) if alone => {
                let path = self.programs.join("pg_ctl");
                Cmd::new("unshare")
                    .args(["--net", "--", "setpriv"])
                    .args(user.setpriv_arguments())
                    .arg(path)
                    .limit(LIMIT)
                    .env("PGPORT", "5432")
            }
            _ => program,
        }
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

/// The directory for the servers of root: root's, and closed to everybody but `user`.
fn closed_place(user: &User) -> Result<PathBuf> {
    roots_place(PLACE, 0o710, user.gid)
}

/// The directory `name` of root's below that of the tools, with this mode and group. Only root makes entries there.
///
/// # Errors
/// Refused when something else is in its place.
pub fn roots_place(name: &str, mode: u32, group: u32) -> Result<PathBuf> {
    let base = Path::new(state::BASE);
    if files::look(base)?.is_none() {
        files::create_directory(base, 0o755)?;
    }
    let place = base.join(name);
    for (path, mode) in [(base, 0o755), (&place, mode)] {
        files::create_directory(path, mode)?;
        let data = files::look(path)?.filter(|data| data.is_dir() && data.uid() == 0).ok_or_else(|| {
            Error::refused(format!("`{}` is no directory of root's", path.display()))
                .hint(format!("find out who made it: ls -ld {}", shell::word(path)))
        })?;
        // Nobody else may write there; and the server's user has to pass.
        let wanted = if path == base { data.mode() & 0o755 | 0o711 } else { mode };
        if data.mode() & 0o7777 != wanted {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(wanted))
                .map_err(|error| Error::io("change the mode of", path, error))?;
        }
    }
    std::os::unix::fs::lchown(&place, Some(0), Some(group))
        .map_err(|error| Error::io("change the owner of", &place, error))?;
    Ok(place)
}

/// Stops and removes the servers of runs that were killed.
fn remove_leftovers(place: &Path) -> Result<()> {
    let entries = std::fs::read_dir(place).map_err(|error| Error::io("read the directory", place, error))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(identity) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        let ours = entry.metadata().is_ok_and(|data| {
            let user = User::named(user::TOOLS).ok();
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
