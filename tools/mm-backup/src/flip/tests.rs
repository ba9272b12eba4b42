use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::time::Duration;

use super::*;

/// A directory that stays, as a mount point does, and gets another file; what stood there is exchanged.
struct Ground {
    home: tempfile::TempDir,
    state: State,
    lock: LockGuard,
    intent: Intent,
}

impl Ground {
    #[expect(clippy::disallowed_methods, reason = "a test writes its fixture")]
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let (root, copies) = (home.path().join("root"), home.path().join("stage"));
        for (directory, names) in [(&root, ["same", "gone"]), (&copies.join("root"), ["same", "new"])] {
            fs::create_dir_all(directory).unwrap();
            for name in names {
                fs::write(directory.join(name), directory.strip_prefix(home.path()).unwrap().to_str().unwrap())
                    .unwrap();
            }
        }
        fs::set_permissions(&root, fs::Permissions::from_mode(0o701)).unwrap();
        let mounts = [root.clone()];
        let mut moves = Moves { mounts: &mounts, excluded: &[], all: Vec::new(), entered: Vec::new() };
        moves.add(&root, &copies.join("root")).unwrap();
        let intent = Intent {
            id: "x".into(),
            moves: moves.all,
            stages: vec![copies.into()],
            entered: moves.entered,
            ..Intent::default()
        };
        assert_eq!((intent.moves.len(), intent.entered.len()), (3, 1));
        let state = State::of(&root, Some(&home.path().join("state")));
        let lock = state.lock(Duration::ZERO).unwrap();
        Self { home, state, lock, intent }
    }

    fn root(&self, name: &str) -> PathBuf {
        self.home.path().join("root").join(name)
    }

    fn is_as_before(&self) {
        assert_eq!(fs::read_to_string(self.root("same")).unwrap(), "root");
        assert_eq!(fs::read_to_string(self.root("gone")).unwrap(), "root");
        assert!(!self.root("new").exists());
        assert_eq!(fs::metadata(self.root("")).unwrap().mode() & 0o777, 0o701);
    }
}

#[test]
fn what_was_there_comes_back_when_the_directory_cannot_get_its_attributes() {
    let mut ground = Ground::new();
    let attributes = ground.intent.entered[0].attributes.as_mut().unwrap();
    attributes.mode = 0o755;
    // More than the kernel takes for one.
    attributes.xattrs.push(("user.large".into(), vec![0; 70_000]));
    let error = flip(&ground.state, &ground.intent, &ground.lock).unwrap_err();
    assert_eq!(error.code(), 1, "{error:?}");
    ground.is_as_before();
    assert_eq!(Journal::at(ground.state.path(), JOURNAL).read::<Intent>().unwrap(), None);
}

#[test]
fn a_cut_off_exchange_is_undone_and_a_second_time_does_no_harm() {
    let ground = Ground::new();
    flip(&ground.state, &ground.intent, &ground.lock).unwrap();
    assert!(ground.root("new").exists() && !ground.root("gone").exists());
    assert_eq!(fs::read_to_string(ground.root("same")).unwrap(), "stage/root");
    undo(&ground.intent).unwrap();
    ground.is_as_before();
    assert_eq!(recover(&ground.state, None, &ground.lock).unwrap(), Recovered::Undone);
    ground.is_as_before();
    assert!(!ground.home.path().join("stage").exists());
    assert_eq!(recover(&ground.state, None, &ground.lock).unwrap(), Recovered::Nothing);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test writes its fixture")]
fn what_was_there_is_not_removed_when_somebody_has_taken_its_place() {
    for name in ["same", "gone"] {
        let ground = Ground::new();
        flip(&ground.state, &ground.intent, &ground.lock).unwrap();
        fs::write(ground.root("other"), "by hand").unwrap();
        fs::rename(ground.root("other"), ground.root(name)).unwrap();
        let error = recover(&ground.state, None, &ground.lock).unwrap_err();
        assert_eq!(error.code(), 3, "{error:?}");
        let kept = ground.home.path().join("stage/root").join(name);
        assert_eq!(fs::read_to_string(&kept).unwrap(), "root", "{name}");
        assert_eq!(fs::read_to_string(ground.root(name)).unwrap(), "by hand");
        // Once it is out of the way, the rest is undone.
        fs::remove_file(ground.root(name)).unwrap();
        fs::rename(&kept, ground.root(name)).unwrap();
        assert_eq!(recover(&ground.state, None, &ground.lock).unwrap(), Recovered::Undone);
        ground.is_as_before();
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test writes its fixture")]
fn what_was_added_and_has_become_something_else_does_not_keep_the_rest_from_going_back() {
    for replaced in [false, true] {
        let ground = Ground::new();
        flip(&ground.state, &ground.intent, &ground.lock).unwrap();
        if replaced {
            fs::write(ground.root("other"), "by hand").unwrap();
            fs::rename(ground.root("other"), ground.root("new")).unwrap();
        } else {
            fs::remove_file(ground.root("new")).unwrap();
        }
        assert_eq!(recover(&ground.state, None, &ground.lock).unwrap(), Recovered::Undone);
        assert_eq!(fs::read_to_string(ground.root("new")).ok().as_deref(), replaced.then_some("by hand"));
        if replaced {
            fs::remove_file(ground.root("new")).unwrap();
        }
        ground.is_as_before();
    }
}
