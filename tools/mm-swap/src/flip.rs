//! The exchange itself, forwards and backwards. Whether a step has been done is read from the inode numbers in the work
//! area, which only root can change; a step that has been done is not done again, as twice would undo it.

use std::collections::BTreeMap;
use std::path::Path;

use mm_common::contract::error::{Error, Kind, Result};
use mm_common::machine::lock::LockGuard;
use mm_common::machine::tree::{Dir, Identity, Place, Places};
use mm_common::machine::{checkpoint, files};

use crate::operation::{Operation, Planned};
use crate::plan::{Action, Step};

/// How far an exchange has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Every entry is of the old release.
    Old,
    /// Some are of the one, some of the other.
    Mixed,
    /// Every entry is of the new release.
    New,
}

/// An exchange with the directories it concerns held open.
pub(crate) struct Flip<'a> {
    operation: &'a Operation,
    /// By relative path: the directory in the install root and its counterpart in the work area.
    pairs: BTreeMap<String, (Dir, Dir)>,
}

/// Notes what each step concerns: the entries that are now in the install root and in the staged release. Directories
/// that only the old release has get a counterpart.
pub(crate) fn identify(root: &Path, aside: &Path, steps: Vec<Step>) -> Result<Vec<Planned>> {
    let pairs = open(root, aside, steps.iter(), true)?;
    steps
        .into_iter()
        .map(|step| {
            let (parent, name) = split(&step.path);
            let (live, staged) = pair(&pairs, parent)?;
            let old = if step.action == Action::Add { None } else { Some(identity(live, name)?) };
            let new = if step.action == Action::Remove { None } else { Some(identity(staged, name)?) };
            Ok(Planned { step, old, new })
        })
        .collect()
}

/// Refuses, while the old server still runs, an entry that the file system would not let go. `staged` is the staged
/// release.
pub(crate) fn refuse_immovable(root: &Path, staged: &Path, steps: &[Step]) -> Result<()> {
    let live = Dir::open(root)?;
    let area = Dir::open(files::parent(staged)?)?;
    let full = staged.file_name().unwrap_or_default();
    for step in steps.iter().filter(|step| step.action != Action::Add) {
        let (parent, name) = split(&step.path);
        if let Some(directory) = live.descend(Path::new(parent))? {
            directory.require_movable(name.as_ref(), &area, full).map_err(|error| {
                error.hint(
                    "an overlay can be mounted with redirect_dir=on, attributes are shown by lsattr and changed by chattr; \
                     or move the installation to a plain file system",
                )
            })?;
        }
    }
    Ok(())
}

fn identity(directory: &Dir, name: &str) -> Result<Identity> {
    Identity::of(directory, name.as_ref())?
        .ok_or_else(|| Error::failed(format!("`{}` has vanished", directory.path().join(name).display())))
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn pair<'p>(pairs: &'p BTreeMap<String, (Dir, Dir)>, parent: &str) -> Result<&'p (Dir, Dir)> {
    pairs.get(parent).ok_or_else(|| Error::failed(format!("the directory `{parent}` was not opened")))
}

fn open<'s>(
    root: &Path,
    aside: &Path,
    steps: impl Iterator<Item = &'s Step>,
    create: bool,
) -> Result<BTreeMap<String, (Dir, Dir)>> {
    let (live, staged) = (Dir::open(root)?, Dir::open(aside)?);
    let mut pairs = BTreeMap::new();
    for step in steps {
        let parent = split(&step.path).0;
        if pairs.contains_key(parent) {
            continue;
        }
        let missing = |top: &Dir| Error::failed(format!("`{}` has vanished", top.path().join(parent).display()));
        let here = live.descend(Path::new(parent))?.ok_or_else(|| missing(&live))?;
        let there = if create {
            staged.descend_creating(Path::new(parent))?
        } else {
            staged.descend(Path::new(parent))?.ok_or_else(|| missing(&staged))?
        };
        pairs.insert(parent.to_owned(), (here, there));
    }
    Ok(pairs)
}

impl<'a> Flip<'a> {
    /// Opens the directories of an exchange.
    pub(crate) fn of(operation: &'a Operation) -> Result<Self> {
        let steps = operation.steps.iter().map(|planned| &planned.step);
        Ok(Self { operation, pairs: open(&operation.root, &operation.aside, steps, false)? })
    }

    /// How far it has come.
    pub(crate) fn progress(&self) -> Result<Progress> {
        let mut seen = (false, false);
        for planned in &self.operation.steps {
            match self.place(planned)? {
                Place::Old => seen.0 = true,
                Place::New => seen.1 = true,
            }
        }
        Ok(match seen {
            (_, false) => Progress::Old,
            (true, true) => Progress::Mixed,
            (false, true) => Progress::New,
        })
    }

    /// Whether the server that would be started is the new one. It moves last.
    pub(crate) fn server_is_new(&self) -> Result<bool> {
        match self.operation.steps.last() {
            Some(server) => Ok(self.place(server)? == Place::New),
            None => Ok(false),
        }
    }

    /// Does what has not been done; when this returns, it is on disk.
    pub(crate) fn forward(&self, _lock: &LockGuard) -> Result<()> {
        for planned in &self.operation.steps {
            if self.place(planned)? == Place::Old {
                self.places(planned)?.forward()?;
                passed(planned);
            }
        }
        self.sync()
    }

    /// Undoes what has been done, in the same order: `bin` comes last, so that no server can be started in a tree of both
    /// releases while the new one is held.
    pub(crate) fn back(&self, _lock: &LockGuard) -> Result<()> {
        for planned in &self.operation.steps {
            if self.place(planned)? == Place::New {
                self.places(planned)?.back()?;
                passed(planned);
            }
        }
        self.sync()
    }

    fn places<'p>(&'p self, planned: &'p Planned) -> Result<Places<'p>> {
        let (parent, name) = split(&planned.step.path);
        let (live, aside) = pair(&self.pairs, parent)?;
        let name = name.as_ref();
        Ok(Places { live: (live, name), aside: (aside, name), old: planned.old, new: planned.new })
    }

    fn place(&self, planned: &Planned) -> Result<Place> {
        let places = self.places(planned)?;
        places.place()?.ok_or_else(|| {
            let there = places.aside.0.path().join(places.aside.1);
            Error::new(
                Kind::HalfDone,
                format!("cannot tell which release `{}` is of", self.operation.live(&planned.step.path).display()),
            )
            .because(format!("`{}` is neither the old nor the new one", there.display()))
            .hint(format!(
                "somebody has changed the work area; put `{}` and its counterpart below `{}` in order by hand",
                planned.step.path,
                self.operation.aside.display()
            ))
        })
    }

    fn sync(&self) -> Result<()> {
        for (live, aside) in self.pairs.values() {
            live.sync()?;
            aside.sync()?;
        }
        Ok(())
    }
}

fn passed(planned: &Planned) {
    checkpoint::pass(&format!("step-{}", planned.step.path));
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use mm_common::contract::version::Edition;
    use mm_common::mattermost::schema::Level;
    use semver::Version;

    use super::*;
    use crate::operation::Verdict;

    fn operation(root: &Path, aside: &Path) -> Operation {
        let step = |action, path: &str| Step { action, path: path.into() };
        let steps = vec![
            step(Action::Add, "client/new.js"),
            step(Action::Remove, "client/old.js"),
            step(Action::Exchange, "bin"),
        ];
        Operation {
            id: "test".into(),
            run: None,
            number: 1,
            asked: false,
            verdict: Verdict::Open,
            reason: None,
            from: Version::new(1, 0, 0),
            to: Version::new(2, 0, 0),
            edition: Edition::Team,
            root: root.into(),
            aside: aside.into(),
            steps: identify(root, aside, steps).unwrap(),
            modified: Vec::new(),
            was_running: false,
            start: false,
            private: None,
            config: None,
            level: Level { systems_version: None, migrations: None },
            shape: String::new(),
            excused: Vec::new(),
            restore_point: None,
            bump: None,
            config_is_back: false,
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a test writes its fixture")]
    fn fixture() -> (tempfile::TempDir, std::path::PathBuf, std::path::PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let (root, aside) = (place.path().join("root"), place.path().join("aside"));
        for directory in [&root, &aside] {
            fs::create_dir_all(directory.join("bin")).unwrap();
            fs::create_dir_all(directory.join("client")).unwrap();
        }
        fs::write(root.join("bin/mattermost"), "old").unwrap();
        fs::write(aside.join("bin/mattermost"), "new").unwrap();
        fs::write(root.join("client/old.js"), "old").unwrap();
        fs::write(aside.join("client/new.js"), "new").unwrap();
        (place, root, aside)
    }

    #[test]
    fn every_cut_off_exchange_can_be_finished_and_undone() {
        let (place, root, aside) = fixture();
        let lock = LockGuard::take(&place.path().join("lock"), Duration::ZERO).unwrap();
        let whole = operation(&root, &aside);
        for done in 0..=whole.steps.len() {
            let part = Operation { steps: whole.steps[..done].to_vec(), ..whole.clone() };
            if done > 0 {
                Flip::of(&part).unwrap().forward(&lock).unwrap();
            }
            let flip = Flip::of(&whole).unwrap();
            let expected = [Progress::Old, Progress::Mixed, Progress::Mixed, Progress::New][done];
            assert_eq!(flip.progress().unwrap(), expected);
            flip.forward(&lock).unwrap();
            flip.forward(&lock).unwrap();
            assert_eq!(flip.progress().unwrap(), Progress::New);
            assert_eq!(fs::read_to_string(root.join("bin/mattermost")).unwrap(), "new");
            assert!(root.join("client/new.js").exists() && !root.join("client/old.js").exists());
            flip.back(&lock).unwrap();
            flip.back(&lock).unwrap();
            assert_eq!(flip.progress().unwrap(), Progress::Old);
            assert_eq!(fs::read_to_string(root.join("bin/mattermost")).unwrap(), "old");
            assert!(!root.join("client/new.js").exists() && root.join("client/old.js").exists());
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test writes its fixture")]
    fn an_entry_that_got_another_number_by_moving_comes_back() {
        let (place, root, aside) = fixture();
        let lock = LockGuard::take(&place.path().join("lock"), Duration::ZERO).unwrap();
        let operation = operation(&root, &aside);
        let flip = Flip::of(&operation).unwrap();
        flip.forward(&lock).unwrap();
        for (name, taken) in [("client/old.js", "old.js"), ("bin", "bin")] {
            // The number of one that still stands is not given to another.
            fs::rename(aside.join(name), place.path().join(taken)).unwrap();
        }
        fs::write(aside.join("client/old.js"), "old").unwrap();
        fs::create_dir(aside.join("bin")).unwrap();
        fs::write(aside.join("bin/mattermost"), "old").unwrap();
        assert_eq!(flip.progress().unwrap(), Progress::New);
        flip.back(&lock).unwrap();
        assert_eq!(flip.progress().unwrap(), Progress::Old);
        assert_eq!(fs::read_to_string(root.join("client/old.js")).unwrap(), "old");
        assert_eq!(fs::read_to_string(root.join("bin/mattermost")).unwrap(), "old");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test writes its fixture")]
    fn what_is_of_neither_release_is_left_to_a_person() {
        let (place, root, aside) = fixture();
        let lock = LockGuard::take(&place.path().join("lock"), Duration::ZERO).unwrap();
        let operation = operation(&root, &aside);
        let flip = Flip::of(&operation).unwrap();
        flip.forward(&lock).unwrap();
        // The new release by hand, while the old one is in the work area under another number.
        for (name, taken) in [(&aside, "old"), (&root, "new")] {
            fs::rename(name.join("bin"), place.path().join(taken)).unwrap();
            fs::create_dir(name.join("bin")).unwrap();
        }
        for error in [flip.progress().unwrap_err(), flip.back(&lock).unwrap_err(), flip.forward(&lock).unwrap_err()] {
            assert_eq!(error.code(), 3, "{error:?}");
            assert!(error.next_step().unwrap().contains("put `bin` and its counterpart"), "{error:?}");
        }
        assert!(root.join("client/new.js").exists(), "nothing before it was undone");
    }

    #[test]
    fn a_symlink_put_in_the_way_is_noticed_and_not_followed() {
        let (place, root, aside) = fixture();
        let lock = LockGuard::take(&place.path().join("lock"), Duration::ZERO).unwrap();
        let operation = operation(&root, &aside);
        let outside = place.path().join("outside");
        fs::create_dir(&outside).unwrap();
        let flip = Flip::of(&operation).unwrap();
        mm_common::machine::files::rename(&root.join("bin"), &root.join("stolen")).unwrap();
        std::os::unix::fs::symlink(&outside, root.join("bin")).unwrap();
        assert!(flip.forward(&lock).unwrap_err().causes()[0].contains("something else"));
        flip.back(&lock).unwrap();
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        assert_eq!(fs::read_to_string(aside.join("bin/mattermost")).unwrap(), "new");
        assert_eq!(flip.progress().unwrap(), Progress::Old);
    }
}
