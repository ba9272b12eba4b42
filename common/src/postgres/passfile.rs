//! The file that hands a password to libpq: seen by nobody but the user who connects, and gone afterwards. Neither the
//! command line nor the environment of a program would be as private.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::OFlag;

use crate::contract::error::{Error, Result};
use crate::contract::secret::Secret;
use crate::machine::files;
use crate::machine::user::{self, User};

/// Removed when dropped. For root it lies in memory, so even a killed run leaves nothing on disk.
#[derive(Debug)]
pub(super) struct Passfile {
    path: PathBuf,
}

impl Passfile {
    /// Writes `password` for any server, to be read by `reader` (this process's own user when absent).
    pub(super) fn create(password: &Secret, reader: Option<&User>) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let directory = if user::is_root() { PathBuf::from("/run") } else { std::env::temp_dir() };
        let name = format!("mm-tools.{}.{}.pgpass", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = directory.join(name);
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
            writeln!(file, "*:*:*:*:{}", escape(password.reveal()))
        })();
        written.map_err(|error| Error::io("write", &passfile.path, error))?;
        Ok(passfile)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
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
}
