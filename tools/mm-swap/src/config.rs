//! The configuration file around an exchange. The new server rewrites it before it touches the database and drops keys
//! the old one needs, so a copy is made before and put back when the old server returns.

use std::path::{Path, PathBuf};

use mm_common::contract::error::{Context as _, Error, Result};
use mm_common::machine::files::{self, Access};
use mm_common::machine::lock::LockGuard;
use mm_common::machine::state::State;
use mm_common::machine::tree::Dir;

use crate::operation::SavedConfig;

/// A configuration with all that plugins keep in it stays far below this.
const MOST: u64 = 64 * 1024 * 1024;

/// Copies the file into the state directory.
pub(crate) fn save(path: &Path, state: &State, id: &str, lock: &LockGuard) -> Result<SavedConfig> {
    let (dir, name) = open(path)?;
    let meta = dir.look(&name)?.ok_or_else(|| vanished(path))?;
    let (mode, uid, gid) = (meta.mode & 0o7777, meta.uid, meta.gid);
    let saved = SavedConfig { path: path.into(), copy: copy_of(state, id), mode, uid, gid };
    files::create_directory(files::parent(&saved.copy)?, 0o700)?;
    refresh(&saved, lock)?;
    Ok(saved)
}

/// Makes the copy equal to the file, if it is not.
pub(crate) fn refresh(saved: &SavedConfig, _lock: &LockGuard) -> Result<()> {
    let (dir, name) = open(&saved.path)?;
    let now = dir.read(&name, MOST)?;
    if files::look(&saved.copy)?.is_some() && files::read(&saved.copy, MOST)? == now {
        return Ok(());
    }
    files::write(&saved.copy, &now, Access::PRIVATE)
}

/// Whether the file is as it was when the copy was made.
pub(crate) fn is_as_saved(saved: &SavedConfig) -> Result<bool> {
    let (dir, name) = open(&saved.path)?;
    let before = files::read(&saved.copy, MOST)?;
    Ok(dir.read(&name, MOST).is_ok_and(|now| now == before))
}

/// Puts the copy back where the file differs from it. Returns whether it did.
pub(crate) fn restore(saved: &SavedConfig, _lock: &LockGuard) -> Result<bool> {
    let attempt = || format!("cannot put back `{}` from `{}`", saved.path.display(), saved.copy.display());
    let before = files::read(&saved.copy, MOST).context(attempt)?;
    let (dir, name) = open(&saved.path).context(attempt)?;
    // One that cannot be read any more (a link, a fifo, gone) is replaced as well.
    if dir.read(&name, MOST).is_ok_and(|now| now == before) {
        return Ok(false);
    }
    let access = Access { mode: saved.mode, owner: Some((saved.uid, saved.gid)) };
    dir.write(&name, &before, access).context(attempt)?;
    Ok(true)
}

/// Puts the copy back when the file is not JSON: the server writes it in place and may have been killed meanwhile.
pub(crate) fn heal(saved: &SavedConfig, lock: &LockGuard) -> Result<()> {
    let (dir, name) = open(&saved.path)?;
    let whole = |bytes: Vec<u8>| serde_json::from_slice::<serde_json::Value>(&bytes).is_ok();
    if dir.read(&name, MOST).is_ok_and(whole) {
        return Ok(());
    }
    restore(saved, lock).map(|_| ())
}

/// The directory of a file and its name in it. Links in the path were resolved when the configuration was found, so one
/// that is met now was put there since.
fn open(path: &Path) -> Result<(Dir, std::ffi::OsString)> {
    let name = path.file_name().ok_or_else(|| Error::failed(format!("`{}` names no file", path.display())))?;
    let parent = files::parent(path)?;
    let below = parent.strip_prefix("/").unwrap_or(parent);
    Ok((Dir::open(Path::new("/"))?.descend(below)?.ok_or_else(|| vanished(path))?, name.to_owned()))
}

fn vanished(path: &Path) -> Error {
    Error::failed(format!("`{}` has vanished", path.display()))
}

/// Where the copy of an exchange is.
pub(crate) fn copy_of(state: &State, id: &str) -> PathBuf {
    state.path().join("configs").join(format!("{id}.json"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_rewritten_configuration_is_put_back_byte_by_byte() {
        let place = tempfile::tempdir().unwrap();
        let state = State::of(Path::new("/opt/x"), Some(&place.path().join("state")));
        let lock = state.lock(Duration::ZERO).unwrap();
        let path = place.path().join("config.json");
        files::write(&path, b"{ \"a\": 1}", Access { mode: 0o640, owner: None }).unwrap();
        let saved = save(&path, &state, "id", &lock).unwrap();
        assert!(!restore(&saved, &lock).unwrap());
        files::write(&path, b"{}", Access { mode: 0o640, owner: None }).unwrap();
        heal(&saved, &lock).unwrap();
        assert_eq!(files::read(&path, MOST).unwrap(), b"{}");
        assert!(restore(&saved, &lock).unwrap());
        assert_eq!(files::read(&path, MOST).unwrap(), b"{ \"a\": 1}");
        assert_eq!(Access::of(&path).unwrap().mode, 0o640);
        files::write(&path, b"{ \"a\"", Access::PRIVATE).unwrap();
        heal(&saved, &lock).unwrap();
        assert_eq!(files::read(&path, MOST).unwrap(), b"{ \"a\": 1}");
    }

    #[test]
    fn no_directory_above_it_may_have_become_a_link() {
        let place = tempfile::tempdir().unwrap();
        let state = State::of(Path::new("/opt/x"), Some(&place.path().join("state")));
        let lock = state.lock(Duration::ZERO).unwrap();
        let (custom, outside) = (place.path().join("custom"), place.path().join("outside"));
        for top in [&custom, &outside] {
            files::create_directory(&top.join("conf"), 0o700).unwrap();
            files::write(&top.join("conf/config.json"), b"{}", Access::PRIVATE).unwrap();
        }
        let saved = save(&custom.join("conf/config.json"), &state, "id", &lock).unwrap();
        files::rename(&custom, &place.path().join("stolen")).unwrap();
        std::os::unix::fs::symlink(&outside, &custom).unwrap();
        files::write(&outside.join("conf/config.json"), b"root's", Access::PRIVATE).unwrap();
        assert!(restore(&saved, &lock).is_err());
        assert!(refresh(&saved, &lock).is_err());
        assert_eq!(files::read(&outside.join("conf/config.json"), MOST).unwrap(), b"root's");
        assert_eq!(files::read(&saved.copy, MOST).unwrap(), b"{}");
    }
}
