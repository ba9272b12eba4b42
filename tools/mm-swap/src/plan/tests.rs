use mm_common::contract::version::Edition;
use mm_common::mattermost::manifest::Entry;
use proptest::prelude::*;
use semver::Version;

use super::*;

fn manifest(paths: &[&str]) -> Manifest {
    let mut entries: Vec<Entry> = paths
        .iter()
        .map(|path| {
            let kind = if path.ends_with('/') { EntryKind::Directory } else { EntryKind::File };
            let path = path.trim_end_matches('/').to_owned();
            Entry { path, kind, mode: 0o755, bytes: 0, sha256: None, target: None }
        })
        .collect();
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    Manifest {
        schema: "mm.release/1".into(),
        version: Version::new(1, 0, 0),
        edition: Edition::Team,
        archive_sha256: String::new(),
        bytes: 0,
        entries,
        migrations: None,
        plugins: None,
    }
}

fn tree(paths: &[&str]) -> Tree {
    paths
        .iter()
        .map(|path| match path.chars().last() {
            Some('/') => (path.trim_end_matches('/').to_owned(), Seen::Directory),
            Some('@') => (path.trim_end_matches('@').to_owned(), Seen::Symlink),
            Some('%') => (path.trim_end_matches('%').to_owned(), Seen::Mount),
            Some('=') => (path.trim_end_matches('=').to_owned(), Seen::Special),
            _ => ((*path).to_owned(), Seen::File),
        })
        .collect()
}

fn planned(old: &[&str], new: &[&str], there: &[&str]) -> Plan {
    plan(Some(&manifest(old)), &manifest(new), &tree(there), &BTreeSet::new())
}

fn steps(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(|step| format!("{:?} {}", step.action, step.path)).collect()
}

#[test]
fn directories_of_the_release_are_taken_whole_and_bin_last() {
    let release = ["bin/", "bin/mattermost", "client/", "client/root.html", "README.md"];
    let plan = planned(&release, &release, &release);
    assert_eq!(steps(&plan), ["Exchange README.md", "Exchange client", "Exchange bin"]);
}

#[test]
fn a_directory_with_something_of_the_users_is_descended_into() {
    let old = ["bin/", "bin/mattermost", "bin/platform", "client/", "client/a.js", "client/x/", "client/x/1"];
    let new = ["bin/", "bin/mattermost", "bin/mmctl", "client/", "client/b.js", "client/x/", "client/x/1"];
    let mut there = old.to_vec();
    there.extend(["bin/backup.sh", "client/plugins/", "client/plugins/com.x/"]);
    let plan = planned(&old, &new, &there);
    assert_eq!(
        steps(&plan),
        [
            "Remove client/a.js",
            "Add client/b.js",
            "Exchange client/x",
            "Add bin/mmctl",
            "Remove bin/platform",
            "Exchange bin/mattermost"
        ]
    );
    assert!(plan.conflicts.is_empty());
}

#[test]
fn what_nobody_knows_is_not_touched() {
    let release = ["bin/", "bin/mattermost"];
    let there = ["bin/", "bin/mattermost", "custom/", "custom/key.pem", "notes.txt", "data@", "logs%", "plugins/"];
    assert_eq!(steps(&planned(&release, &release, &there)), ["Exchange bin"]);
}

#[test]
fn the_configuration_is_completed_and_never_replaced() {
    let old = ["config/", "config/config.json", "config/README.md"];
    let new = ["config/", "config/config.json", "config/README.md", "config/cloud_defaults.json", "logs/"];
    let there = ["config/", "config/config.json", "logs/"];
    assert_eq!(steps(&planned(&old, &new, &there)), ["Add config/README.md", "Add config/cloud_defaults.json"]);
    assert!(steps(&planned(&old, &new, &["config@", "logs/"])).is_empty());
}

#[test]
fn a_symlink_or_mount_point_in_place_of_release_files_is_a_conflict() {
    let release = ["client/", "client/a.js", "empty/"];
    let plan = planned(&release, &release, &["client@", "empty%"]);
    assert!(plan.steps.is_empty());
    assert_eq!(plan.conflicts.len(), 1);
    assert_eq!(plan.conflicts[0].path, "client");
    for (there, reason) in [("client@", "symlink"), ("client%", "mount point"), ("client=", "device")] {
        let plan = planned(&[], &["client/", "client/root.html"], &[there]);
        assert!(plan.conflicts[0].reason.contains(reason), "{there}: {:?}", plan.conflicts);
    }
}

#[test]
fn something_of_the_users_at_a_new_name_is_a_conflict_when_of_another_kind() {
    let plan = planned(&[], &["tool"], &["tool/", "tool/mine"]);
    assert_eq!(plan.conflicts.len(), 1);
    let plan = planned(&[], &["tool/", "tool/a"], &["tool/", "tool/mine"]);
    assert_eq!(steps(&plan), ["Add tool/a"]);
}

#[test]
fn without_the_old_manifest_its_leavings_stay() {
    let new = manifest(&["client/", "client/b.js", "bin/", "bin/mattermost"]);
    let there = tree(&["client/", "client/a.js", "bin/", "bin/mattermost", "bin/platform"]);
    let plan = plan(None, &new, &there, &BTreeSet::new());
    assert_eq!(steps(&plan), ["Add client/b.js", "Exchange bin/mattermost"]);
}

#[test]
fn directories_the_configuration_names_are_the_users() {
    let release = ["client/", "client/a.js", "client/mine/", "client/mine/f"];
    let theirs = BTreeSet::from(["client/mine".to_owned()]);
    let plan = plan(Some(&manifest(&release)), &manifest(&release), &tree(&release), &theirs);
    assert_eq!(steps(&plan), ["Exchange client/a.js"]);
}

/// Paths of depth up to three over few names, so that releases and trees overlap.
fn some_paths() -> impl Strategy<Value = BTreeMap<String, bool>> {
    let name = prop_oneof![Just("bin"), Just("client"), Just("plugins"), Just("x"), Just("y")];
    let path = prop::collection::vec(name, 1..4).prop_map(|names| names.join("/"));
    prop::collection::vec((path, any::<bool>()), 0..24).prop_map(|paths| {
        let mut found: BTreeMap<String, bool> = BTreeMap::new();
        for (path, directory) in paths {
            let parents: Vec<String> = path.match_indices('/').map(|(at, _)| path[..at].to_owned()).collect();
            if parents.iter().any(|parent| found.get(parent) == Some(&false)) {
                continue;
            }
            found.extend(parents.into_iter().map(|parent| (parent, true)));
            found.entry(path).or_insert(directory);
        }
        found
    })
}

fn of(paths: &BTreeMap<String, bool>) -> Vec<String> {
    paths.iter().map(|(path, directory)| format!("{path}{}", if *directory { "/" } else { "" })).collect()
}

proptest! {
    #[test]
    fn no_step_ever_touches_what_is_in_neither_release(old in some_paths(), new in some_paths(), there in some_paths()) {
        let (old, new, there) = (of(&old), of(&new), of(&there));


        let as_str = |all: &[String]| -> Vec<&'static str> {
            all.iter().map(|path| &*Box::leak(path.clone().into_boxed_str())).collect()
        };
        let (old, new) = (manifest(&as_str(&old)), manifest(&as_str(&new)));
        let there = tree(&as_str(&there));
        let plan = plan(Some(&old), &new, &there, &BTreeSet::new());
        for (path, seen) in &there {
            let known = [&old, &new].iter().any(|manifest| {
                manifest.entries.iter().any(|entry| entry.path == *path && same(entry.kind, *seen))
            });
            let mine = ALWAYS_THE_USERS.iter().any(|own| path == own || path.starts_with(&format!("{own}/")));
            if mine || !known {
                let moved = plan.steps.iter().find(|step| {
                    step.action != Action::Add && (step.path == *path || path.starts_with(&format!("{}/", step.path)))
                });
                prop_assert!(moved.is_none(), "{path} is moved by {moved:?}");
            }
        }
        for step in &plan.steps {
            let below = |other: &Step| other.path.starts_with(&format!("{}/", step.path));
            prop_assert!(!plan.steps.iter().any(below), "{step:?} holds another step");
            prop_assert_eq!(step.action == Action::Add, !there.contains_key(&step.path));
        }
    }
}

#[test]
fn what_is_the_users_in_a_release_is_let_alone_and_only_config_is_completed() {
    let new = ["bin/", "bin/mattermost", "config/", "config/a.json", "logs/", "data/", "plugins/", "client/"];
    let there = ["bin/", "bin/mattermost", "config/", "client/"];
    assert_eq!(steps(&planned(&new, &new, &there)), ["Exchange client", "Add config/a.json", "Exchange bin"]);
    let without = ["bin/", "bin/mattermost", "logs/", "data/", "plugins/", "client/"];
    assert_eq!(steps(&planned(&without, &without, &there)), ["Exchange client", "Exchange bin"]);
}

#[test]
fn a_link_that_a_release_has_is_exchanged_and_a_link_of_the_users_is_in_the_way() {
    let linked = |path: &str| {
        let mut manifest = manifest(&["bin/", "bin/mattermost", "docs"]);
        let entry = manifest.entries.iter_mut().find(|entry| entry.path == path).unwrap();
        (entry.kind, entry.target) = (EntryKind::Symlink, Some("README.md".into()));
        manifest
    };
    let (old, there) = (linked("docs"), tree(&["bin/", "bin/mattermost", "docs@"]));
    let new = manifest(&["bin/", "bin/mattermost", "docs"]);
    let known = plan(Some(&old), &new, &there, &BTreeSet::new());
    assert_eq!((steps(&known), known.conflicts.len()), (vec!["Exchange docs".into(), "Exchange bin".into()], 0));
    let foreign = plan(Some(&new), &new, &there, &BTreeSet::new());
    assert_eq!((steps(&foreign), foreign.conflicts.len()), (vec!["Exchange bin".to_owned()], 1));
}
