//! The one place that runs programs of the host: clean environment, no standard input, a session without a terminal,
//! limits of time and output, and an error that quotes the command, its status and the end of its stderr.

mod child;
mod find;
mod launcher;
mod limits;
mod talk;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Once, OnceLock};
use std::time::Duration;

use nix::unistd::geteuid;
use process_wrap::std::{CommandWrap, CommandWrapper as _, ProcessSession};

pub use self::child::{end, kill_group};
pub use self::find::{PATH, exists, find};
pub use self::launcher::serve;
pub(super) use self::limits::threads_of;
pub use self::limits::{TO_ASK, TO_CARRY};
pub use self::talk::Talk;

use self::launcher::Orders;
use super::checkpoint;
use super::user::{User, is_root};
use crate::contract::error::{Error, Result};
use crate::contract::shell;

/// How long a program may take unless said otherwise: enough for any query, too short for data.
pub const DEFAULT_LIMIT: Duration = Duration::from_secs(60);

/// How much a program may write to its stdout unless said otherwise, in bytes: more than any answer of a database.
const MOST: usize = 64 << 20;

/// How much what is only asked a question may write, in bytes.
const MOST_ASKED: usize = 1 << 20;

/// How much memory it may use unless said otherwise, in bytes: a server that says its version takes a tenth of it.
const MEMORY: u64 = 2 << 30;

/// The cause in the error of what was ended because something else had failed: not the one to show to people.
pub const CANCELLED: &str = "another part of the same work has failed";

/// What of a program's stderr goes into an error.
const STDERR_TAIL: usize = 1024;

/// Whether this host's `setpriv` can have a program end with the one that started it: util-linux does from 2.33 on, Ubuntu
/// 18.04 has 2.31. Where it cannot, the program may outlive us, and whoever comes next waits for its lock.
fn knows_pdeathsig() -> bool {
    static KNOWS: OnceLock<bool> = OnceLock::new();
    *KNOWS.get_or_init(|| Cmd::new("setpriv").args(["--pdeathsig", "TERM", "--", "true"]).run().is_ok())
}

/// Asks of this host what commands need to know of it, so that it is known when users wait.
pub fn ask_the_host() {
    knows_pdeathsig();
}

/// Whether a variable has the dynamic loader or the C library read a file: what `ld.so` ignores in a program that gains
/// privileges (glibc's `unsecvars.h`), as ours would where it only loses them later.
fn concerns_the_loader(name: &OsStr) -> bool {
    const OTHERS: [&str; 12] = [
        "GCONV_PATH",
        "GETCONF_DIR",
        "GLIBC_TUNABLES",
        "HOSTALIASES",
        "LOCALDOMAIN",
        "LOCPATH",
        "MALLOC_TRACE",
        "NIS_PATH",
        "NLSPATH",
        "RESOLV_HOST_CONF",
        "RES_OPTIONS",
        "TZDIR",
    ];
    name.to_str().is_some_and(|name| name.starts_with("LD_") || OTHERS.contains(&name))
}

/// A program to run.
#[derive(Debug, Clone)]
pub struct Cmd {
    program: String,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: Option<PathBuf>,
    user: Option<User>,
    umask: Option<u32>,
    limit: Duration,
    interruptible: bool,
    cancel: Option<Arc<AtomicBool>>,
    asked: Option<Asked>,
    within: Option<u64>,
    without_network: bool,
    ends_with_us: bool,
}

/// What becomes of somebody else's program.
#[derive(Debug, Clone)]
struct Asked {
    memory: u64,
    sweep: Option<PathBuf>,
}

/// What a program that ended had to say.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its stdout.
    pub stdout: Vec<u8>,
    /// Its stderr.
    pub stderr: String,
}

impl Output {
    /// Stdout as text; bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

impl Cmd {
    /// A program, by name (looked up in [`PATH`]) or by full path.
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: None,
            user: None,
            umask: None,
            limit: DEFAULT_LIMIT,
            interruptible: false,
            cancel: None,
            asked: None,
            within: None,
            without_network: false,
            ends_with_us: false,
        }
    }

    /// Adds an argument. Arguments can be seen by every user of the machine: no secrets here.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Sets a variable. Only these, PATH and `LC_ALL=C` reach the program.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// The directory it runs in; `/` unless said otherwise.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// The user it runs as (through `setpriv`, with that user's groups and no capabilities left over).
    #[must_use]
    pub fn user(mut self, user: &User) -> Self {
        self.user = Some(user.clone());
        self
    }

    /// The umask it runs under, where ours (077) would make what it creates useless to others.
    #[must_use]
    pub fn umask(mut self, umask: u32) -> Self {
        self.umask = Some(umask);
        self
    }

    /// How long it may take before it is killed with all it started.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// A signal that asks this tool to stop ends the program too. For work that leaves nothing behind: a dump, a query.
    #[must_use]
    pub fn interruptible(mut self) -> Self {
        self.interruptible = true;
        self
    }

    /// Setting the flag ends the program, as a signal does with [`Cmd::interruptible`]: another part of the same work has
    /// failed.
    #[must_use]
    pub fn cancelled_by(mut self, flag: &Arc<AtomicBool>) -> Self {
        self.interruptible = true;
        self.cancel = Some(Arc::clone(flag));
        self
    }

    /// It is somebody else's program, asked a question or only used: it gains no privileges and has no capabilities, says
    /// at most 1 MiB, a signal that asks this tool to stop ends it, and whatever it has started ends with it, within limits
    /// of memory and number. A launcher of ours sees to it ([`serve`]); it has the program's standard input.
    #[must_use]
    pub fn asked(mut self) -> Self {
        self.asked = Some(Asked { memory: MEMORY, sweep: None });
        self.interruptible = true;
        self
    }

    /// As [`Cmd::asked`], with so many bytes of memory, and a directory of its user's that goes with it.
    #[must_use]
    pub fn used_in(mut self, directory: impl Into<PathBuf>, memory: u64) -> Self {
        let directory = directory.into();
        self.asked = Some(Asked { memory, sweep: Some(directory.clone()) });
        self.interruptible = true;
        self.directory(directory)
    }

    /// It is a program of the host's that works as somebody else, or reads what somebody else's server says: each of its
    /// processes has at most so many bytes of memory, its user 512 processes more than now (outside containers), it gains no privileges, and leaves
    /// no core file.
    #[must_use]
    pub fn within(mut self, memory: u64) -> Self {
        self.within = Some(memory);
        self
    }

    /// It runs in a network without interfaces, and with process numbers of its own.
    #[must_use]
    pub fn without_network(mut self) -> Self {
        self.without_network = true;
        self
    }

    /// It is told to stop (SIGTERM) when this process ends, however that does.
    #[must_use]
    pub fn ends_with_us(mut self) -> Self {
        self.ends_with_us = true;
        self
    }

    /// The command line as people would write it, for messages.
    pub fn line(&self) -> String {
        let mut line = self.program.clone();
        for argument in &self.arguments {
            line.push(' ');
            line.push_str(&shell::quoted(&argument.to_string_lossy()));
        }
        line
    }

    /// Runs it and returns what it said, whatever its exit status.
    ///
    /// # Errors
    /// When it cannot be started or exceeds its time limit.
    pub fn output(&self) -> Result<Output> {
        let child = self.start(Stdio::null(), Stdio::piped(), Stdio::piped())?;
        self.finish(child, &[])
    }

    /// Runs it and wants success.
    ///
    /// # Errors
    /// Also when its exit status is not 0.
    pub fn run(&self) -> Result<Output> {
        self.successful(self.output()?)
    }

    /// Runs it with its stdout going to `file`, which is at `path`, wants success, and returns what it said on stderr. It has
    /// a pipe and not the file: whoever is the program's user can take its descriptors, and would write to the file for as
    /// long as he likes.
    pub fn run_into(&self, file: File, path: &Path) -> Result<String> {
        let child = self.start(Stdio::null(), Stdio::piped(), Stdio::piped())?;
        self.successful(self.finish_into(child, &[], Some((file, path)))?).map(|output| output.stderr)
    }

    /// Runs it with `file` as its standard input and wants success. The program needs no right to open the file.
    pub fn run_from(&self, file: File) -> Result<Output> {
        self.successful(self.output_from(file)?)
    }

    /// The same, and returns what it said, whatever its exit status.
    ///
    /// # Errors
    /// As [`Cmd::output`].
    pub fn output_from(&self, file: File) -> Result<Output> {
        let child = self.start(file.into(), Stdio::piped(), Stdio::piped())?;
        self.finish(child, &[])
    }

    /// Runs it with `text` on its standard input and wants success. One that ends before it has read everything is judged
    /// by its status.
    pub fn run_with(&self, text: &str) -> Result<Output> {
        let child = self.start(Stdio::piped(), Stdio::piped(), Stdio::piped())?;
        self.successful(self.finish(child, text.as_bytes())?)
    }

    /// Starts it with its streams as given and does not wait; what is asked has no standard input, and is ended by [`end`]. It has a session of its own, without a terminal: a Ctrl-C
    /// does not reach it, and it cannot type into the terminal that this tool was started from. Descriptors that whoever
    /// started this tool has left open (`9>lock`) are closed for it.
    pub fn start(&self, stdin: Stdio, stdout: Stdio, stderr: Stdio) -> Result<Child> {
        static OURS_ALONE: Once = Once::new();
        OURS_ALONE.call_once(|| close_fds::set_fds_cloexec_threadsafe(3, &[]));
        let mut words: Vec<OsString> = Vec::new();
        if let Some(umask) = self.umask {
            // There is no safe way to set it for a child only.
            let script = format!("umask {umask:03o} && exec \"$0\" \"$@\"");
            words.extend([find("sh")?.into(), "-c".into(), script.into()]);
        }
        let user = self.user.as_ref().filter(|user| !user.is_current());
        let ends_with_us = self.ends_with_us && knows_pdeathsig();
        let uid = user.map_or_else(|| geteuid().as_raw(), |user| user.uid);
        if let Some(Asked { memory, sweep }) = &self.asked {
            words.extend(Orders { uid, memory: *memory, sweep: sweep.clone() }.words()?);
        }
        if self.without_network {
            words.push(find("unshare")?.into());
            // Whoever is not root needs a user namespace to be allowed the others.
            words.extend((!is_root()).then(|| "--user".into()));
            words.extend(["--net", "--pid", "--fork", "--"].map(OsString::from));
        }
        if let Some(memory) = self.within {
            words.extend(limits::words(uid, memory)?);
        }
        let is_given_up = self.asked.is_some() || ends_with_us || user.is_some();
        if is_given_up || self.within.is_some() {
            words.push(find("setpriv")?.into());
            words.extend(if ends_with_us { vec!["--pdeathsig".into(), "TERM".into()] } else { Vec::new() });
            if self.asked.is_some() || self.within.is_some() {
                words.push("--no-new-privs".into());
                // Only root may give up what others could gain; what works as root itself reads what root may read.
                words.extend((is_root() && is_given_up).then(|| "--bounding-set=-all".into()));
            }
            words.extend(user.map_or(vec!["--".into()], |user| user.setpriv_arguments().map(OsString::from).to_vec()));
        }
        // What another user's program is to load (`LD_PRELOAD`), root's on the way to it must not.
        let (late, environment): (Vec<_>, Vec<_>) =
            self.environment.iter().partition(|(key, _)| user.is_some() && concerns_the_loader(key));
        if !late.is_empty() {
            words.push(find("env")?.into());
            words.extend(late.iter().map(|(key, value)| [key.as_os_str(), value].join(OsStr::new("="))));
        }
        words.push(find(&self.program)?.into());
        words.extend(self.arguments.iter().cloned());
        checkpoint::started(&self.line());
        #[expect(clippy::disallowed_methods, reason = "this is the place the others are sent to")]
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .env_clear()
            .env("PATH", PATH)
            .env("LC_ALL", "C")
            .envs(environment.into_iter().map(|(key, value)| (key, value)))
            .current_dir(self.directory.as_deref().unwrap_or(Path::new("/")))
            .stdin(if self.asked.is_some() { Stdio::piped() } else { stdin })
            .stdout(stdout)
            .stderr(stderr);
        // The wrapper's part before the start; what it would wrap around the child is ours (child.rs).
        ProcessSession
            .pre_spawn(&mut command, &CommandWrap::with_new(&words[0], |_| ()))
            .and_then(|()| command.spawn())
            .map_err(|error| Error::failed(format!("cannot start `{}`", self.line())).because(error))
    }

    fn successful(&self, output: Output) -> Result<Output> {
        if output.status.success() {
            return Ok(output);
        }
        Err(self.failure(&output))
    }

    /// The error for a command that ended as `output` says.
    pub fn failure(&self, output: &Output) -> Error {
        let how = match (output.status.code(), output.status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (None, Some(signal)) => format!("killed by signal {signal}"),
            (None, None) => "unknown status".into(),
        };
        let error = Error::failed(format!("`{}` failed", self.line())).because(how);
        match tail(&output.stderr) {
            "" => error,
            words => error.because(words),
        }
    }
}

/// The last part of what a program said, cut at a line.
pub fn tail(text: &str) -> &str {
    let text = text.trim();
    let Some(start) = text.len().checked_sub(STDERR_TAIL) else { return text };
    let start = (start..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    let cut = &text[start..];
    cut.split_once('\n').map_or(cut, |(_, rest)| rest)
}

#[cfg(test)]
mod tests;
