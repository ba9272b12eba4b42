//! A write-ahead journal: what a tool is about to do is on disk, synced, before it does it. One JSON file per running
//! operation, replaced as a whole. It says which tool ends it; what else is in it is that tool's own affair.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::checkpoint;
use super::files::{self, Access};
use super::lock::{self, LockGuard};
use super::state::BASE;
use crate::contract::error::{Context as _, Error, Kind, Result};
use crate::contract::shell;

/// The journal of `mm-backup restore`.
pub const RESTORE: &str = "restore";

/// The key of a journal that says which command ends what was begun, without its flags.
const ENDED_BY: &str = "ended_by";

/// Larger than any journal this project writes.
const MOST: u64 = 64 * 1024 * 1024;

/// The place of one journal.
#[derive(Debug, Clone)]
pub struct Journal {
    path: PathBuf,
}

impl Journal {
    /// The journal `NAME.journal` in a state directory.
    pub fn at(state: &Path, name: &str) -> Self {
        Self { path: state.join(format!("{name}.journal")) }
    }

    /// The record `NAME.finished` of an operation that is over, as durable as a journal. It is not open: nothing has to be
    /// recovered because of it.
    pub fn finished(state: &Path, name: &str) -> Self {
        Self { path: state.join(format!("{name}.finished")) }
    }

    /// Its file, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What an earlier run left, if it did not finish.
    ///
    /// # Errors
    /// Half done (exit 3) when there is a journal that cannot be understood: a person must look.
    pub fn read<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        if files::look(&self.path)?.is_none() {
            return Ok(None);
        }
        let text = files::read(&self.path, MOST)?;
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            Error::new(Kind::HalfDone, format!("cannot understand the journal `{}`", self.path.display()))
                .because(error)
                .hint("an earlier run was interrupted and its journal is damaged; look at the file before anything is changed")
        })
    }

    /// Puts the entry on disk. When this returns, it survives a power cut.
    pub fn write<T: Serialize>(&self, entry: &T, _lock: &LockGuard) -> Result<()> {
        let attempt = || format!("cannot write the journal `{}`", self.path.display());
        let mut entry = serde_json::to_value(entry).context(attempt)?;
        if let (Value::Object(entry), Some(tool)) = (&mut entry, lock::tool()) {
            entry.insert(ENDED_BY.into(), format!("{tool} recover").into());
        }
        let text = serde_json::to_vec_pretty(&entry).context(attempt)?;
        files::create_directory(files::parent(&self.path)?, 0o700)?;
        files::write(&self.path, &text, Access::PRIVATE)?;
        checkpoint::pass("journal-written");
        Ok(())
    }

    /// The operation is over: removes the journal, durably.
    pub fn close(&self, _lock: &LockGuard) -> Result<()> {
        files::remove_file(&self.path)?;
        files::sync_directory(files::parent(&self.path)?)
    }
}

/// Names of the journals that interrupted runs have left in a state directory, sorted: what must be recovered before
/// anything else is begun.
pub fn interrupted(state: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(state) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("list", state, error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| Error::io("list", state, error))?.file_name();
        if let Some(name) = name.to_string_lossy().strip_suffix(".journal") {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// The flag, after a blank, that leads a command to the state directory of an installation; nothing where it looks anyway.
pub fn state_flag(state: &Path) -> String {
    let base = state.parent().filter(|base| *base != Path::new(BASE));
    base.map_or_else(String::new, |base| format!(" --state-dir {}", shell::word(base)))
}

/// The tool that ends what the run has begun that left the journal `name`. One that says nothing of it is an earlier program's.
pub fn tool(state: &Path, name: &str) -> String {
    let entry: Option<Value> = Journal::at(state, name).read().ok().flatten();
    let said = entry.as_ref().and_then(|entry| entry[ENDED_BY].as_str()).and_then(|said| said.strip_suffix(" recover"));
    let earlier = match name {
        RESTORE => "mm-backup",
        super::door::MOVE | super::door::PGBUMP => "mm-pgbump",
        _ => "mm-swap",
    };
    said.unwrap_or(earlier).to_owned()
}

/// The command that finishes or undoes what the run has begun that left the journal `name`, as it can be typed.
pub fn command(state: &Path, name: &str, install: &Path) -> String {
    format!("{} recover --install {}{}", tool(state, name), shell::word(install), state_flag(state))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_record_of_what_is_over_interrupts_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let lock = LockGuard::take(&directory.path().join("lock"), Duration::ZERO).unwrap();
        Journal::finished(directory.path(), "one").write(&1, &lock).unwrap();
        Journal::at(directory.path(), "two").write(&2, &lock).unwrap();
        assert_eq!(interrupted(directory.path()).unwrap(), ["two"]);
    }

    #[test]
    fn a_journal_is_read_back_and_gone_when_closed() {
        let directory = tempfile::tempdir().unwrap();
        let lock = LockGuard::take(&directory.path().join("lock"), Duration::ZERO).unwrap();
        let journal = Journal::at(directory.path(), "swap");
        assert_eq!(journal.read::<Vec<u32>>().unwrap(), None);
        journal.write(&[1, 2], &lock).unwrap();
        assert_eq!(journal.read::<Vec<u32>>().unwrap(), Some(vec![1, 2]));
        assert_eq!(journal.read::<String>().unwrap_err().code(), 3);
        assert_eq!(interrupted(directory.path()).unwrap(), ["swap"]);
        journal.close(&lock).unwrap();
        assert_eq!(journal.read::<Vec<u32>>().unwrap(), None);
    }

    #[test]
    fn the_command_that_ends_what_was_begun_runs_as_printed() {
        let directory = tempfile::tempdir().unwrap();
        let install = Path::new("/opt/x y;id");
        let state = directory.path().join("x");
        let base = directory.path().display();
        files::create_directory(&state, 0o700).unwrap();
        let command = |name| command(&state, name, install);
        assert_eq!(command("pgmove"), format!("mm-pgbump recover --install '/opt/x y;id' --state-dir {base}"));
        assert_eq!(command("swap"), format!("mm-swap recover --install '/opt/x y;id' --state-dir {base}"));
        assert_eq!(
            super::command(&Path::new(BASE).join("x"), "swap", install),
            "mm-swap recover --install '/opt/x y;id'"
        );
        assert_eq!(command(RESTORE), format!("mm-backup recover --install '/opt/x y;id' --state-dir {base}"));
        // What a journal says of itself comes first.
        files::write(&state.join("later.journal"), br#"{"ended_by": "mm-verify recover"}"#, Access::PRIVATE).unwrap();
        assert_eq!(command("later"), format!("mm-verify recover --install '/opt/x y;id' --state-dir {base}"));
    }
}
