//! One lock per installation. What changes anything takes the guard as an argument: holding it is the proof.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;

use super::{files, signals};
use crate::contract::error::{Error, Kind, Result};
use crate::contract::ui;

/// The name of the lock file in a state directory.
pub const NAME: &str = "lock";

/// The lock, held until this is dropped.
#[derive(Debug)]
pub struct LockGuard {
    file: File,
    path: PathBuf,
}

impl LockGuard {
    /// Takes the lock at `path`, waiting up to `wait` for another run to end.
    ///
    /// # Errors
    /// Kind `locked` (exit 75) when another run still holds it.
    pub fn take(path: &Path, wait: Duration) -> Result<Self> {
        files::create_directory(files::parent(path)?, 0o700)?;
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

    /// The lock file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Says in the file who holds the lock, for the message of the run that waits. Nothing depends on it.
    fn sign(&mut self) {
        let program = std::env::args_os().next().unwrap_or_default();
        let program = Path::new(&program).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let _ = self.file.set_len(0);
        let _ = writeln!(self.file, "{program} (process {})", std::process::id());
    }
}

/// Who says in the lock file of a state directory that he holds it, such as `mm-backup (process 4711)`; nothing where
/// nobody does.
pub fn holder(state: &Path) -> String {
    files::read_text(&state.join(NAME), 4096).unwrap_or_default().trim().to_owned()
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
}
