//! mm-swap killed with SIGKILL at each of its checkpoints, forwards and on the way back, and run again.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Output;

use mm_test_support::matrix;
use mm_test_support::release::Release;
use mm_test_support::site::{Site, quick};

/// Two patches of one line: the schema is the same, so one site serves for all.
const FROM: &str = "10.5.12";
const TO: &str = "10.5.14";

fn swap(site: &Site, release: &Release, variable: (&str, &str)) -> Output {
    let mut command = site.tool("mm-swap");
    command.env(variable.0, variable.1).args(["--no-backup", "--start-timeout", "20", "--archive"]);
    command.arg(&release.tarball).output().unwrap()
}

/// Digest and inode of everything below the install root but logs, by path.
fn tree(site: &Site) -> BTreeMap<String, (u64, String)> {
    let mut found = BTreeMap::new();
    collect(&site.install(), &site.install(), &mut found);
    found
}

fn collect(root: &Path, path: &Path, found: &mut BTreeMap<String, (u64, String)>) {
    for entry in std::fs::read_dir(path).unwrap().flatten() {
        let path = entry.path();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let Ok(data) = std::fs::symlink_metadata(&path) else { continue };
        let digest = if data.is_file() && !name.starts_with("logs/") {
            mm_common::contract::digest::of_bytes(&std::fs::read(&path).unwrap())
        } else {
            String::new()
        };
        found.insert(name, (data.ino(), digest));
        if data.is_dir() {
            collect(root, &path, found);
        }
    }
}

/// What a release has, and what is the user's, of a tree.
fn parts(tree: &BTreeMap<String, (u64, String)>) -> (BTreeMap<&str, &str>, BTreeMap<&str, u64>) {
    let users = ["config", "data", "logs", "plugins", "client/plugins", "custom", "bin/mine.sh"];
    let mine = |path: &str| users.iter().any(|own| path == *own || path.starts_with(&format!("{own}/")));
    // Rewritten by every server at its start.
    let rewritten = |path: &str| {
        path == "client/root.html"
            || path == "client/manifest.json"
            || Path::new(path).extension().is_some_and(|kind| kind == "css")
    };
    let released = tree.iter().filter(|(path, _)| !mine(path) && !rewritten(path));
    let users = tree.iter().filter(|(path, _)| mine(path) && *path != "config/config.json");
    (
        released.map(|(path, (_, digest))| (path.as_str(), digest.as_str())).collect(),
        users.map(|(path, (inode, _))| (path.as_str(), *inode)).collect(),
    )
}

/// Steps of the exchange are many and alike: one in the middle and the last stand for all (`flip.rs` tries each).
pub(super) fn some(names: Vec<String>) -> Vec<String> {
    let steps: Vec<String> = names.iter().filter(|name| name.starts_with("step-")).cloned().collect();
    let keep = [steps.get(steps.len() / 2), steps.last()];
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) && (!name.starts_with("step-") || keep.contains(&Some(&name))) {
            seen.push(name);
        }
    }
    seen
}

fn checkpoints(site: &Site, run: impl Fn((&str, &str)) -> Output, code: i32) -> Vec<String> {
    let log = site.directory().join("checkpoints");
    let output = run(("MM_CHECKPOINT_LOG", log.to_str().unwrap()));
    assert_eq!(output.status.code(), Some(code), "undisturbed: {}", String::from_utf8_lossy(&output.stderr));
    some(std::fs::read_to_string(&log).unwrap().lines().map(str::to_owned).collect())
}

fn prepared() -> Site {
    let site = Site::builder(FROM).running().build();
    std::fs::write(site.install().join("bin/mine.sh"), "#!/bin/sh\n").unwrap();
    site
}

#[test]
fn on_the_way_forward_the_next_run_arrives() {
    let site = prepared();
    let release = quick(TO).build();
    let old = tree(&site);
    let mut names = checkpoints(&site, |variable| swap(&site, &release, variable), 0);
    // Before it is staged nothing has been changed yet.
    names.retain(|name| name != "unpacked");
    let new = tree(&site);
    let (history, files) = (site.history(), site.user_files());
    site.tool("mm-swap").arg("rollback").assert().success();
    assert_eq!(parts(&tree(&site)).0, parts(&old).0);

    let names = matrix::some(names);
    for name in &names {
        let output = swap(&site, &release, ("MM_CHECKPOINT", name));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.signal(), Some(9), "it was to die at `{name}`: {said}");

        let output = swap(&site, &release, ("UNUSED", ""));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "run again after `{name}`: {said}");
        let now = tree(&site);
        assert_eq!(parts(&now).0, parts(&new).0, "after `{name}`");
        let (before, after) = (parts(&old).1, parts(&now).1);
        assert!(before.iter().all(|(path, inode)| after.get(path) == Some(inode)), "after `{name}`: {after:?}");
        assert_eq!(site.running_version().as_deref(), Some(TO), "after `{name}`");
        assert_eq!((site.history(), site.user_files()), (history.clone(), files.clone()), "after `{name}`");
        site.tool("mm-swap").arg("rollback").assert().success();
        site.tool("mm-swap").args(["prune", "--keep", "0"]).assert().success();
    }
    eprintln!("killed at {} checkpoints: {}", names.len(), names.join(", "));
}

#[test]
fn a_new_server_that_a_reboot_has_made_public_stays_so() {
    let site = prepared();
    let mut command = site.tool("mm-swap");
    command.args(["--private", "--no-backup", "--archive"]).arg(&quick(TO).build().tarball);
    let output = command.env("MM_CHECKPOINT", "start-commanded").output().unwrap();
    assert_eq!(output.status.signal(), Some(9), "{}", String::from_utf8_lossy(&output.stderr));
    // What may be needed to finish or undo it is not pruned, and a dry run does not finish it.
    site.tool("mm-swap").args(["prune", "--keep", "0"]).assert().code(5);
    for words in [&["recover", "--dry-run"][..], &["run", "--no-backup", "--dry-run", "--archive", "unused"]] {
        let output = site.tool("mm-swap").args(words).output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains("recover the interrupted swap"), "{output:?}");
    }
    // The unit starts what is installed, and the drop-in in /run is gone.
    site.stop();
    site.start();
    let pids = site.pids();

    let output = site.tool("mm-swap").args(["recover", "--start-timeout", "60"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(site.pids(), pids, "it was taken from its users: {said}");
    assert_eq!(site.running_version().as_deref(), Some(TO), "{said}");
    site.tool("mm-swap").arg("publish").assert().success();
    assert_eq!(site.pids(), pids, "nothing says any more that it is private");
}

#[test]
fn on_the_way_back_the_next_recovery_arrives() {
    let site = prepared();
    let release = quick(TO).fault("crash-at-start").build();
    let old = tree(&site);
    // Those before the decision to go back are the ones of the way forward.
    let mut names = checkpoints(&site, |variable| swap(&site, &release, variable), 6);
    names.retain(|name| name.starts_with("undo") || name == "step-bin/mattermost");
    let (history, files, config) = (site.history(), site.user_files(), std::fs::read(site.config_path()).unwrap());

    let names = matrix::some(names);
    for (name, number) in names.iter().zip(0..) {
        let output = swap(&site, &release, ("MM_CHECKPOINT", name));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.signal(), Some(9), "it was to die at `{name}`: {said}");

        // Whatever is run next does it first; a run then tries the broken release once more.
        let output = match number % 3 {
            0 => site.tool("mm-swap").args(["recover", "--start-timeout", "20"]).output().unwrap(),
            1 => site.tool("mm-swap").args(["publish", "--start-timeout", "20"]).output().unwrap(),
            _ => swap(&site, &release, ("UNUSED", "")),
        };
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // Wholly new and then not healthy: rolled back (6); otherwise undone or nothing to do (0).
        assert!(matches!(output.status.code(), Some(0 | 6)), "recovered after `{name}`: {said}");
        assert_eq!(parts(&tree(&site)).0, parts(&old).0, "after `{name}`");
        assert_eq!(std::fs::read(site.config_path()).unwrap(), config, "after `{name}`");
        assert_eq!(site.running_version().as_deref(), Some(FROM), "after `{name}`: {said}");
        assert_eq!((site.history(), site.user_files()), (history.clone(), files.clone()), "after `{name}`");
    }
    eprintln!("killed at {} checkpoints: {}", names.len(), names.join(", "));
}
