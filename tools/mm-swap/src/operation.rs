//! What stands in the journal while an exchange is open, and in the record when it is done.

use std::path::{Path, PathBuf};

use mm_common::contract::error::{Context as _, Error, Kind, Result};
use mm_common::contract::sections::ModifiedFile;
use mm_common::contract::shell;
use mm_common::contract::version::Edition;
use mm_common::machine::files::{self, Access};
use mm_common::machine::journal::Journal;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::state::State;
use mm_common::machine::tree::Identity;
use mm_common::mattermost::schema::Level;
use mm_common::mattermost::way_back::{Bump, Hop, RestorePoint};
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::plan::Step;

/// Name of the journal of this tool.
pub(crate) const JOURNAL: &str = "swap";

/// Directory of the state directory that holds the records of finished exchanges.
const RECORDS: &str = "swaps";

/// Why an exchange goes back that somebody has asked to go back. Records of before there was [`Operation::asked`] have
/// nothing else that tells.
pub(crate) const ASKED: &str = "a rollback was asked for";

/// Larger than any record.
const MOST: u64 = 64 * 1024 * 1024;

/// A step with the entries it concerns, so that whether it has been done can be seen and need not be believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Planned {
    #[serde(flatten)]
    pub(crate) step: Step,
    /// The entry of the old release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) old: Option<Identity>,
    /// The entry of the new release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) new: Option<Identity>,
}

/// Where an exchange stands, as far as it cannot be seen from the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// Nothing has been decided: a tree that is wholly new goes on, any other goes back.
    Open,
    /// It goes back.
    Undo,
    /// It has gone back.
    Undone,
    /// The new release is in place and healthy.
    Done,
}

/// An exchange of one release for another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Operation {
    /// Names the exchange, its record and its retired release.
    pub(crate) id: String,
    /// Its place among the exchanges of this installation, as clocks step back; 0 in a record of before there was one.
    #[serde(default)]
    pub(crate) number: u64,
    /// The run that it is a part of; absent in a record of before runs were noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<String>,
    pub(crate) verdict: Verdict,
    /// Whether it goes or went back because somebody has asked for it, after it was done.
    #[serde(default)]
    pub(crate) asked: bool,
    /// Why it goes or went back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    pub(crate) from: Version,
    pub(crate) to: Version,
    pub(crate) edition: Edition,
    pub(crate) root: PathBuf,
    /// Directory that holds the new release before the exchange and the old one after it.
    pub(crate) aside: PathBuf,
    pub(crate) steps: Vec<Planned>,
    pub(crate) modified: Vec<ModifiedFile>,
    /// Whether the server ran when the run began.
    pub(crate) was_running: bool,
    /// Whether the new server is to be started.
    pub(crate) start: bool,
    /// Address of a private hop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) private: Option<String>,
    /// The configuration file and the copy made before the new server could rewrite it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) config: Option<SavedConfig>,
    /// On the way back: the copy has been put back. What leads the server to its database may have changed since.
    #[serde(default)]
    pub(crate) config_is_back: bool,
    /// Where the schema stood before.
    pub(crate) level: Level,
    /// Digest over all columns of the schema: legacy migrations change tables before they say so.
    pub(crate) shape: String,
    /// Application migrations that were not recorded before either, and jobs that a server before it has begun and not
    /// ended: they are not waited for.
    #[serde(default)]
    pub(crate) excused: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) restore_point: Option<RestorePoint>,
    /// The upgrade of PostgreSQL that was part of the same hop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bump: Option<Bump>,
}

/// A copy of the configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedConfig {
    pub(crate) path: PathBuf,
    pub(crate) copy: PathBuf,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Operation {
    /// What the way back of its database goes by.
    pub(crate) fn hop(&self) -> Hop<'_> {
        Hop { bump: self.bump.as_ref(), point: self.restore_point.as_ref() }
    }

    /// The open exchange that an earlier run left.
    pub(crate) fn open(state: &State) -> Result<Option<Self>> {
        Ok(Journal::at(state.path(), JOURNAL).read::<Self>()?.map(Self::understood))
    }

    /// As it was meant: what was written before there was [`Operation::asked`] tells it by its reason.
    fn understood(mut self) -> Self {
        let goes_back = matches!(self.verdict, Verdict::Undo | Verdict::Undone);
        self.asked |= goes_back && self.reason.as_deref() == Some(ASKED);
        self
    }

    /// Puts it into the journal.
    pub(crate) fn write(&self, state: &State, lock: &LockGuard) -> Result<()> {
        Journal::at(state.path(), JOURNAL).write(self, lock)
    }

    /// Puts it among the records and closes the journal.
    pub(crate) fn close(&self, state: &State, lock: &LockGuard) -> Result<()> {
        self.record(state)?;
        Journal::at(state.path(), JOURNAL).close(lock)
    }

    /// As [`Operation::close`], when the new release is in place and healthy: a failure is no way back any more.
    ///
    /// # Errors
    /// Half done (exit 3): the new server runs, and only the note of it is missing.
    pub(crate) fn close_done(&mut self, state: &State, lock: &LockGuard) -> Result<()> {
        (self.verdict, self.asked) = (Verdict::Done, false);
        self.close(state, lock).map_err(|error| {
            error
                .within(format!("{} is in place, but that could not be recorded", self.to))
                .of_kind(Kind::HalfDone)
                .with_hint(format!(
                    "fix the problem above, then: mm-swap recover --install {} (its journal is `{}`)",
                    shell::word(&self.root),
                    journal(state).display()
                ))
        })
    }

    /// Puts it among the records.
    pub(crate) fn record(&self, state: &State) -> Result<()> {
        let directory = state.path().join(RECORDS);
        files::create_directory(&directory, 0o700)?;
        let path = directory.join(format!("{}.json", self.id));
        let text = serde_json::to_vec_pretty(self).context(|| format!("cannot write `{}`", path.display()))?;
        files::write(&path, &text, Access::PRIVATE)
    }

    /// Whether it was done and has gone back since, because somebody has asked for it.
    pub(crate) fn is_rolled_back(&self) -> bool {
        self.verdict == Verdict::Undone && self.asked
    }

    /// Path of an entry in the tree, for messages.
    pub(crate) fn live(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }
}

/// The file of the journal, for messages.
pub(crate) fn journal(state: &State) -> PathBuf {
    Journal::at(state.path(), JOURNAL).path().to_owned()
}

/// The finished exchanges, oldest first. One whose record cannot be read is an error: it may be the way back.
pub(crate) fn records(state: &State) -> Result<Vec<Operation>> {
    let directory = state.path().join(RECORDS);
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("list", &directory, error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| Error::io("list", &directory, error))?.path();
        if path.extension().is_some_and(|extension| extension == "json") && !is_temporary(&path) {
            paths.push(path);
        }
    }
    paths.sort();
    let mut records = paths.iter().map(|path| read(path)).collect::<Result<Vec<Operation>>>()?;
    // Those without a number stay in the order of their names, which begin with the time.
    records.sort_by_key(|record| record.number);
    Ok(records)
}

/// The number of the exchange after these.
pub(crate) fn next_number(records: &[Operation]) -> u64 {
    records.iter().map(|record| record.number).max().unwrap_or(0).saturating_add(1)
}

/// The last exchange that was done, or gone back when somebody asked for it: what failed and was undone left nothing.
pub(crate) fn last_finished(records: &[Operation]) -> Option<&Operation> {
    records.iter().rfind(|record| record.verdict == Verdict::Done || record.is_rolled_back())
}

/// Removes a record.
pub(crate) fn forget(state: &State, id: &str, _lock: &LockGuard) -> Result<()> {
    let directory = state.path().join(RECORDS);
    files::remove_file(&directory.join(format!("{id}.json")))?;
    files::sync_directory(&directory)
}

fn read(path: &Path) -> Result<Operation> {
    let text = files::read(path, MOST)?;
    serde_json::from_slice(&text).map(Operation::understood).map_err(|error| {
        Error::failed(format!("cannot understand the record `{}`", path.display()))
            .because(error)
            .hint("move it elsewhere; the way back over the exchange that it tells of goes with it")
    })
}

fn is_temporary(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::plan::Action;

    fn planned() -> impl Strategy<Value = Planned> {
        let identity = || proptest::option::of((any::<u64>(), any::<u64>()));
        let action = prop_oneof![Just(Action::Exchange), Just(Action::Add), Just(Action::Remove)];
        (action, ".{0,30}", identity(), identity()).prop_map(|(action, path, old, new)| {
            let identity = |(device, inode)| Identity { device, inode };
            Planned { step: Step { action, path }, old: old.map(identity), new: new.map(identity) }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// What a run has put on disk is what the run after it reads, inode numbers of any size and names of any kind.
        #[test]
        fn an_operation_comes_back_from_its_journal_as_it_was(
            steps in proptest::collection::vec(planned(), 0..5),
            (reason, private, systems_version) in (proptest::option::of(".*"), proptest::option::of(".*"), proptest::option::of(".*")),
            shape in ".*",
            migrations in proptest::option::of(proptest::collection::vec((any::<u64>(), ".{0,9}"), 0..4)),
            excused in proptest::collection::vec(".*", 0..3),
            (undo, was_running, start) in any::<(bool, bool, bool)>(),
            (mode, uid, gid) in any::<(u32, u32, u32)>(),
        ) {
            let operation = Operation {
                id: "20261122T030000Z-1.0.0-to-2.0.0".into(),
                number: 7,
                run: reason.clone(),
                verdict: if undo { Verdict::Undo } else { Verdict::Open },
                asked: undo,
                reason,
                from: Version::new(1, 0, 0),
                to: Version::new(2, 0, 0),
                edition: Edition::Enterprise,
                root: "/opt/mattermost".into(),
                aside: "/opt/.mattermost.mm/x".into(),
                steps,
                modified: Vec::new(),
                was_running,
                start,
                private,
                config_is_back: start,
                config: Some(SavedConfig { path: "/a".into(), copy: "/b".into(), mode, uid, gid }),
                level: Level { systems_version, migrations },
                shape,
                excused,
                restore_point: Some(RestorePoint { id: "a".into(), store: "/s".into(), created: "c".into() }),
                bump: undo.then(|| Bump { from: "13/main".into(), to: "15/main".into() }),
            };
            let directory = tempfile::tempdir().unwrap();
            let lock = LockGuard::take(&directory.path().join("lock"), Duration::ZERO).unwrap();
            let journal = Journal::at(directory.path(), JOURNAL);
            journal.write(&operation, &lock).unwrap();
            prop_assert_eq!(journal.read::<Operation>().unwrap(), Some(operation));
        }
    }
}
