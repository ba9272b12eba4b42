//! One lock per installation. What changes anything takes the guard as an argument: holding it is the proof.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::stat::fstat;

use super::{files, signals};
use crate::contract::error::{Error, Kind, Result};
use crate::contract::{time, ui};

/// The name of the lock file in a state directory.
pub const NAME: &str = "lock";

/// What this process is, for the lock files that it signs.
static ROLE: OnceLock<Role> = OnceLock::new();

#[derive(Debug)]
struct Role {
    tool: &'static str,
    verb: String,
    run: Option<String>,
}

/// Says which tool and verb this process is, and for which run it works: who waits for its locks is told.
pub fn introduce(tool: &'static str, verb: &str, run: Option<String>) {
    // Nobody is introduced twice.
    let _ = ROLE.set(Role { tool, verb: verb.into(), run });
}

/// The name of this tool, once it is introduced.
pub fn tool() -> Option<&'static str> {
    ROLE.get().map(|role| role.tool)
}

/// The lock, held until this is dropped, here and by whoever it was handed on to.
#[derive(Debug)]
pub struct LockGuard {
    file: File,
    path: PathBuf,
}

/// Whether the lock at `path` was handed on to this process: it is its standard input.
pub fn is_handed_on(path: &Path) -> bool {
    let (Ok(given), Ok(Some(there))) = (fstat(std::io::stdin().as_fd()), files::look(path)) else { return false };
    given.st_dev == there.dev() && given.st_ino == there.ino()
}

impl LockGuard {
    /// Takes the lock at `path`, waiting up to `wait` for another run to end.
    ///
    /// # Errors
    /// Kind `locked` (exit 75) when another run still holds it.
    pub fn take(path: &Path, wait: Duration) -> Result<Self> {
        files::create_directory(files::parent(path)?, 0o700)?;
        if let Some(guard) = Self::handed_on_to_us(path)? {
            return Ok(guard);
        }
        let started = Instant::now();
        let mut is_said = false;
        loop {
            let file = open(path)?;
            match file.try_lock() {
                Ok(()) if is_at(&file, path)? => {
                    let mut guard = Self { file, path: path.into() };
                    guard.sign();
                    return Ok(guard);
                }
                // Somebody removed the lock file while we waited: what we hold is not the lock any more.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if started.elapsed() < wait => {
                    signals::check()?;
                    if !is_said {
                        ui::say(&format!("waiting up to {} s for the lock {}", wait.as_secs(), path.display()));
                        is_said = true;
                    }
                    std::thread::sleep(Duration::from_millis(100));
                }
                Err(TryLockError::WouldBlock) => {
                    let holder = files::read_text(path, 4096).unwrap_or_default();
                    let holder = holder.trim();
                    let error = Error::new(Kind::Locked, format!("cannot take the lock `{}`", path.display()));
                    return Err(if holder.is_empty() {
                        error.because("another run holds it")
                    } else {
                        error.because(format!("it is held by {holder}"))
                    }
                    .hint("wait for that run to end, or give --lock-wait SECONDS"));
                }
                Err(TryLockError::Error(error)) => return Err(Error::io("lock", path, error)),
            }
        }
    }

    /// The lock that the tool which has started this one holds, and has handed on. Who has signed it stays there: it is that
    /// tool's work.
    fn handed_on_to_us(path: &Path) -> Result<Option<Self>> {
        if !is_handed_on(path) {
            return Ok(None);
        }
        let stdin = std::io::stdin().as_fd().try_clone_to_owned();
        let file = File::from(stdin.map_err(|error| Error::io("use", path, error))?);
        Ok(file.try_lock().is_ok().then(|| Self { file, path: path.into() }))
    }

    /// The lock for the standard input of another tool, which works for this one and holds the lock as well, until it ends:
    /// nobody comes in between, also when this process is killed.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn hand_on(&self) -> Result<File> {
        self.file.try_clone().map_err(|error| Error::io("hand on the lock", &self.path, error))
    }

    /// The lock file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Says in the file who holds the lock, for the message of the run that waits. Nothing depends on it.
    fn sign(&mut self) {
        let _ = self.file.set_len(0);
        let _ = writeln!(self.file, "{}", Holder::this_process().in_words());
    }
}

/// Who has signed a lock file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The tool.
    pub tool: String,
    /// Its verb.
    pub verb: String,
    /// The process.
    pub process: u32,
    /// The run that it works for.
    pub run: Option<String>,
    /// Since when.
    pub since: String,
}

impl Holder {
    fn this_process() -> Self {
        let program = std::env::args_os().next().unwrap_or_default();
        let program = || Path::new(&program).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let role = ROLE.get();
        Self {
            tool: role.map_or_else(program, |role| role.tool.into()),
            verb: role.map_or_else(|| "run".into(), |role| role.verb.clone()),
            process: std::process::id(),
            run: role.and_then(|role| role.run.clone()),
            since: time::now(),
        }
    }

    /// As it stands in the file: `mm-swap run (process 4711), run ID, since TIME`.
    pub fn in_words(&self) -> String {
        let run = self.run.as_ref().map_or_else(String::new, |run| format!(", run {run}"));
        format!("{} {} (process {}){run}, since {}", self.tool, self.verb, self.process, self.since)
    }

    fn parse(text: &str) -> Option<Self> {
        let (who, rest) = text.trim().split_once(" (process ")?;
        let (tool, verb) = who.split_once(' ').unwrap_or((who, "run"));
        let (process, rest) = rest.split_once(')')?;
        let part = |key: &str| rest.split(", ").find_map(|part| part.strip_prefix(key)).map(str::to_owned);
        Some(Self {
            tool: tool.into(),
            verb: verb.into(),
            process: process.parse().ok()?,
            run: part("run "),
            since: part("since ").unwrap_or_default(),
        })
    }

    /// Who holds the lock file in a directory at this moment; it is looked at, and nobody is kept from taking it.
    pub fn of(directory: &Path) -> Option<Self> {
        let path = directory.join(NAME);
        let holder = Self::parse(&files::read_text(&path, 4096).ok()?)?;
        let inode = files::look(&path).ok()??.ino();
        let locks = files::read_text(Path::new("/proc/locks"), 1 << 20).unwrap_or_default();
        locks.lines().any(|line| is_lock(line, holder.process, inode)).then_some(holder)
    }
}

/// As [`Holder::of`], for a script that has had `flock` take the lock for a descriptor of its own: the kernel names the
/// process that took it, which is gone.
pub fn script_at_work(directory: &Path) -> Option<Holder> {
    let path = directory.join(NAME);
    let holder = Holder::parse(&files::read_text(&path, 4096).ok()?)?;
    let lock = files::look(&path).ok()??;
    let opened = std::fs::read_dir(format!("/proc/{}/fd", holder.process)).ok()?.flatten();
    let mut opened = opened.filter_map(|entry| std::fs::metadata(entry.path()).ok());
    opened.any(|file| (file.dev(), file.ino()) == (lock.dev(), lock.ino())).then_some(holder)
}

/// Whether a line of `proc_locks(5)` is a lock by flock(2) that a process holds on a file. The device is not compared: of file
/// systems made of several it is not what stat(2) says.
fn is_lock(line: &str, process: u32, inode: u64) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, "FLOCK", _, "WRITE", holder, file, ..] = words.as_slice() else { return false };
    holder.parse() == Ok(process) && file.rsplit(':').next().and_then(|inode| inode.parse().ok()) == Some(inode)
}

/// Whether the process that has signed the lock file of a state directory as `tool` is gone: the lock, where it is held, is
/// held by what that process has handed it on to.
pub fn is_left_behind_by(state: &Path, tool: &str) -> bool {
    let holder = files::read_text(&state.join(NAME), 4096).ok().and_then(|text| Holder::parse(&text));
    holder.is_some_and(|holder| holder.tool == tool && !Path::new("/proc").join(holder.process.to_string()).exists())
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(path)
        .map_err(|error| Error::io("open the lock", path, error))
}

fn is_at(file: &File, path: &Path) -> Result<bool> {
    let held = file.metadata().map_err(|error| Error::io("look at", path, error))?;
    Ok(files::look(path)?.is_some_and(|there| there.ino() == held.ino() && there.dev() == held.dev()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_is_told_who_holds_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let guard = LockGuard::take(&path, Duration::ZERO).unwrap();
        let error = LockGuard::take(&path, Duration::from_millis(1)).unwrap_err();
        assert_eq!(error.code(), 75);
        assert!(error.causes()[0].contains(&std::process::id().to_string()), "{error:?}");
        drop(guard);
        LockGuard::take(&path, Duration::ZERO).unwrap();
    }

    #[test]
    fn who_holds_a_lock_is_seen_and_who_held_it_once_is_not() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Holder::of(directory.path()), None);
        let guard = LockGuard::take(&directory.path().join(NAME), Duration::ZERO).unwrap();
        let seen = Holder::of(directory.path()).unwrap();
        assert_eq!((seen.process, seen.verb.as_str()), (std::process::id(), "run"));
        drop(guard);
        assert_eq!(Holder::of(directory.path()), None, "the file is signed still, but nobody holds it");
        let holder = Holder { run: Some("20261122T030000Z-1".into()), verb: "rollback".into(), ..seen };
        assert_eq!(Holder::parse(&holder.in_words()), Some(holder));
        // As an earlier program signed.
        let old = Holder::parse("mm-backup (process 12)\n").unwrap();
        assert_eq!((old.tool.as_str(), old.process, old.run), ("mm-backup", 12, None));
        assert!(is_lock("4: FLOCK  ADVISORY  WRITE 12 08:01:99 0 EOF", 12, 99));
        assert!(!is_lock("4: -> FLOCK  ADVISORY  WRITE 12 08:01:99 0 EOF", 12, 99), "it waits");
        assert!(!is_lock("4: POSIX  ADVISORY  WRITE 12 08:01:99 0 EOF", 12, 99));
    }
}
