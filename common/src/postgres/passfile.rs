//! The file that hands a password to libpq, or to the programs of MySQL: seen by nobody but the user who connects, and gone afterwards. Neither the
//! command line nor the environment of a program would be as private.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::OFlag;

use crate::contract::error::{Error, Result};
use crate::contract::secret::Secret;
use crate::machine::files;
use crate::machine::process::Identity;
use crate::machine::user::{self, User};

/// Removed when dropped. For root it lies in memory, so even a killed run leaves nothing on disk.
#[derive(Debug)]
pub(crate) struct Passfile {
    path: PathBuf,
}

/// How their names begin and end; between stand a number and who has made the file.
const BEGIN: &str = "mm-tools.";
const END: &str = ".pgpass";

/// Where files stand that are gone with the process.
pub(super) fn directory() -> PathBuf {
    if user::is_root() { PathBuf::from("/run") } else { std::env::temp_dir() }
}

/// Removes those that killed runs of this user have left. What cannot be removed now is left to the next run.
pub(crate) fn sweep() {
    sweep_in(&directory());
}

fn sweep_in(directory: &Path) {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let own = nix::unistd::geteuid().as_raw();
    for entry in entries.filter(|entry| entry.file_name().to_str().is_some_and(is_left)) {
        // Root lends them to others; nobody but root makes files in its directory.
        if own == 0 || entry.metadata().is_ok_and(|data| data.uid() == own) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Whether the name is that of a file whose maker is gone. Earlier versions wrote `PID.NUMBER`.
fn is_left(name: &str) -> bool {
    let Some(middle) = name.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END)) else { return false };
    let Some((first, rest)) = middle.split_once('.') else { return false };
    if let Some(maker) = Identity::parse(rest) {
        return !maker.is_alive();
    }
    let is_earlier = first.parse::<u32>().is_ok() && rest.parse::<u32>().is_ok();
    is_earlier && !Path::new("/proc").join(first).exists()
}

impl Passfile {
    /// Writes `password` for any server, to be read by `reader` (this process's own user when absent).
    pub(super) fn create(password: &Secret, reader: Option<&User>) -> Result<Self> {
        Self::holding(&format!("*:*:*:*:{}\n", escape(password.reveal())), reader)
    }

    /// As [`Passfile::create`], with a text of another form.
    pub(crate) fn holding(text: &str, reader: Option<&User>) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("{BEGIN}{}.{}{END}", NEXT.fetch_add(1, Ordering::Relaxed), Identity::own()?);
        let path = directory().join(name);
        // Left by a killed process that had our number.
        files::remove_file(&path)?;
        let passfile = Self { path };
        let written = (|| {
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .custom_flags(OFlag::O_NOFOLLOW.bits())
                .open(&passfile.path)?;
            if let Some(reader) = reader.filter(|reader| !reader.is_current()) {
                fchown(&file, Some(reader.uid), Some(reader.gid))?;
            }
            file.write_all(text.as_bytes())
        })();
        written.map_err(|error| Error::io("write", &passfile.path, error))?;
        Ok(passfile)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Passfile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A backslash stands before `:` and `\`.
fn escape(text: &str) -> String {
    text.replace('\\', r"\\").replace(':', r"\:")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn is_private_while_it_lasts() {
        let passfile = Passfile::create(&Secret::new(r"a:b\c"), None).unwrap();
        let path = passfile.path().to_owned();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "*:*:*:*:a\\:b\\\\c\n");
        drop(passfile);
        assert!(!path.exists());
    }

    #[test]
    fn what_killed_runs_have_left_is_removed() {
        let place = tempfile::tempdir().unwrap();
        let own = Identity::own().unwrap().to_string();
        let dead = format!("{}.{}", u32::MAX, own.split_once('.').unwrap().1);
        let lives = [format!("mm-tools.0.{own}.pgpass"), format!("mm-tools.{}.0.pgpass", std::process::id())];
        let left = [format!("mm-tools.0.{dead}.pgpass"), "mm-tools.4294967295.0.pgpass".into()];
        let others = ["mm-tools.pgpass".to_owned(), "mm-tools.x.pgpass".into(), ".pgpass".into()];
        for name in lives.iter().chain(&left).chain(&others) {
            files::write(&place.path().join(name), b"", files::Access::PRIVATE).unwrap();
        }
        sweep_in(place.path());
        for name in &left {
            assert!(!place.path().join(name).exists(), "{name}");
        }
        for name in lives.iter().chain(&others) {
            assert!(place.path().join(name).exists(), "{name}");
        }
    }
}
