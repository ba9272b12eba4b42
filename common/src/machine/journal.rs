//! A write-ahead journal: what a tool is about to do is on disk, synced, before it does it. One JSON file per running
//! operation, replaced as a whole; what is in it is the tool's own affair.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::checkpoint;
use super::files::{self, Access};
use super::lock::LockGuard;
use super::state::BASE;
use crate::contract::error::{Context as _, Error, Kind, Result};
use crate::contract::shell;

/// The journal of `mm-backup restore`, which has no verb `recover`: the same restore, run again, ends what was begun.
pub const RESTORE: &str = "restore";

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
        let text = serde_json::to_vec_pretty(entry)
            .context(|| format!("cannot write the journal `{}`", self.path.display()))?;
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

/// The tool that keeps the journal `name`, without its `mm-`.
pub fn tool(name: &str) -> &str {
    match name {
        RESTORE => "backup",
        super::door::MOVE => super::door::PGBUMP,
        name => name,
    }
}

/// The command that finishes or undoes what the run has begun that left the journal `name`, as it can be typed.
///
/// # Errors
/// As [`Journal::read`].
pub fn command(state: &Path, name: &str, install: &Path) -> Result<String> {
    let install = shell::word(install);
    let base = state_flag(state);
    if name != RESTORE {
        return Ok(format!("mm-{} recover --install {install}{base}", tool(name)));
    }
    let intent: Value = Journal::at(state, name).read()?.unwrap_or_default();
    let id = shell::word(intent["id"].as_str().unwrap_or("latest"));
    let flags = intent["flags"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut flags: String = flags.flat_map(|flag| [" ".to_owned(), shell::word(flag)]).collect();
    // An earlier program has not said what it restored. Where no file was to be exchanged, it was the database.
    let has = |key: &str| intent[key].as_array().is_some_and(|list| !list.is_empty());
    if intent.get("flags").is_none() && !has("moves") && !has("stages") && intent["database"].is_object() {
        flags = " --database".into();
    }
    let store = intent["store"].as_str().map_or_else(String::new, |store| format!(" --to {}", shell::word(store)));
    Ok(format!("mm-backup restore {id}{flags} --stop --install {install}{base}{store}"))
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
        let command = |name| command(&state, name, install).unwrap();
        assert_eq!(command("pgmove"), format!("mm-pgbump recover --install '/opt/x y;id' --state-dir {base}"));
        assert_eq!(command("swap"), format!("mm-swap recover --install '/opt/x y;id' --state-dir {base}"));
        assert_eq!(
            super::command(&Path::new(BASE).join("x"), "swap", install).unwrap(),
            "mm-swap recover --install '/opt/x y;id'"
        );
        let intent = serde_json::json!({"id": "a", "store": "/srv/the store", "flags": ["--path", "a b"]}).to_string();
        files::write(&state.join("restore.journal"), intent.as_bytes(), Access::PRIVATE).unwrap();
        assert_eq!(
            command(RESTORE),
            format!(
                "mm-backup restore a --path 'a b' --stop --install '/opt/x y;id' --state-dir {base} --to '/srv/the store'"
            )
        );
    }
}
