//! Files of the server's unit that a move changes, and gives back as they were.

use std::path::{Path, PathBuf};

use mm_common::Result;
use mm_common::contract::ui;
use mm_common::machine::files::{self, Access};
use mm_common::machine::lock::LockGuard;
use mm_common::machine::service::systemd;
use serde::{Deserialize, Serialize};

/// Larger than any unit.
const MOST: u64 = 1 << 20;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnitFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its text before; absent where it was not there, and another one was in force that it takes the place of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Its text after.
    pub after: String,
}

/// What there is in its place.
#[derive(Debug, PartialEq, Eq)]
enum Now {
    /// Nothing, or a file with this text.
    File(Option<String>),
    /// A link or something else that is not ours.
    Other,
}

impl UnitFile {
    fn now(&self) -> Result<Now> {
        match files::look(&self.path)? {
            None => Ok(Now::File(None)),
            Some(there) if there.is_file() => files::read_text(&self.path, MOST).map(|text| Now::File(Some(text))),
            Some(_) => Ok(Now::Other),
        }
    }

    fn write(&self, text: &str) -> Result<()> {
        let access = if files::look(&self.path)?.is_some() { Access::of(&self.path)? } else { Access::PUBLIC };
        files::create_directory(files::parent(&self.path)?, 0o755)?;
        files::write(&self.path, text.as_bytes(), access)
    }

    /// Says whether it had to be changed; what somebody else has changed meanwhile stays.
    fn make(&self) -> Result<bool> {
        let now = self.now()?;
        if matches!(&now, Now::File(Some(text)) if *text == self.after) {
            return Ok(false);
        }
        if now != Now::File(self.before.clone()) {
            ui::warn(&format!("`{}` was changed meanwhile, and stays as it is", self.path.display()));
            return Ok(false);
        }
        self.write(&self.after).map(|()| true)
    }

    fn take_back(&self) -> Result<bool> {
        match (self.now()?, &self.before) {
            (Now::File(now), before) if now == *before => Ok(false),
            (now, _) if !matches!(&now, Now::File(None)) && now != Now::File(Some(self.after.clone())) => {
                ui::warn(&format!("`{}` was changed since the move, and stays as it is", self.path.display()));
                Ok(false)
            }
            (_, Some(before)) => self.write(before).map(|()| true),
            (_, None) => {
                files::remove_file(&self.path)?;
                // Others may have drop-ins there.
                let _ = std::fs::remove_dir(files::parent(&self.path)?);
                Ok(true)
            }
        }
    }
}

/// Changes them, and lets systemd know. May be repeated.
///
/// # Errors
/// When one cannot be written.
pub(super) fn make(units: &[UnitFile], _lock: &LockGuard) -> Result<()> {
    told(units, UnitFile::make)
}

/// As they were before.
///
/// # Errors
/// As [`make`].
pub(super) fn take_back(units: &[UnitFile], _lock: &LockGuard) -> Result<()> {
    told(units, UnitFile::take_back)
}

fn told(units: &[UnitFile], each: impl Fn(&UnitFile) -> Result<bool>) -> Result<()> {
    for unit in units {
        each(unit)?;
    }
    // Also after a run that was cut off between a file and this.
    if units.is_empty() { Ok(()) } else { systemd::reload() }
}

/// Where a file of a unit is changed: in its place below `/etc/systemd/system`; one of a package or of the vendor is taken the
/// place of there.
#[cfg_attr(not(feature = "mysql"), expect(dead_code, reason = "only a move out of MySQL changes units"))]
pub(crate) fn place_of(path: &Path, is_drop_in: bool) -> PathBuf {
    let own = Path::new("/etc/systemd/system");
    let name = path.file_name().unwrap_or_default();
    match path.parent().and_then(Path::file_name) {
        _ if path.starts_with(own) => path.into(),
        Some(directory) if is_drop_in => own.join(directory).join(name),
        _ => own.join(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_packages_are_not_changed_but_taken_the_place_of() {
        for (path, is_drop_in, place) in [
            ("/etc/systemd/system/mattermost.service", false, "/etc/systemd/system/mattermost.service"),
            (
                "/etc/systemd/system/mattermost.service.d/a.conf",
                true,
                "/etc/systemd/system/mattermost.service.d/a.conf",
            ),
            ("/lib/systemd/system/mattermost.service", false, "/etc/systemd/system/mattermost.service"),
            (
                "/usr/lib/systemd/system/mattermost.service.d/a.conf",
                true,
                "/etc/systemd/system/mattermost.service.d/a.conf",
            ),
        ] {
            assert_eq!(place_of(Path::new(path), is_drop_in), Path::new(place));
        }
    }

    #[test]
    fn what_was_there_comes_back_and_what_others_wrote_stays() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("x.service");
        let new = UnitFile { path: path.clone(), before: None, after: "new".into() };
        assert!(new.make().unwrap() && !new.make().unwrap());
        assert!(new.take_back().unwrap() && !path.exists());
        files::create_directory(place.path(), 0o755).unwrap();
        files::write(&path, b"old", Access::PRIVATE).unwrap();
        let changed = UnitFile { before: Some("old".into()), ..new };
        assert!(changed.make().unwrap());
        assert!(changed.take_back().unwrap() && !changed.take_back().unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        files::write(&path, b"theirs", Access::PRIVATE).unwrap();
        assert!(!changed.make().unwrap() && !changed.take_back().unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "theirs");
        // `systemctl link` has put it there: to wherever it leads, nothing is written through it or in its place.
        for text in ["old", "new"] {
            let linked = place.path().join("linked");
            files::write(&linked, text.as_bytes(), Access::PRIVATE).unwrap();
            std::fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink(&linked, &path).unwrap();
            assert!(!changed.make().unwrap() && !changed.take_back().unwrap());
            assert!(path.is_symlink() && std::fs::read_to_string(&linked).unwrap() == text);
        }
    }
}
