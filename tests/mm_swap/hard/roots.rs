//! Install roots that are not a plain directory of a plain disk: each is served, or refused with a reason while the old
//! server runs on.

use std::path::Path;

use mm_test_support::process::{TEST_USER, end_all_below, run};
use mm_test_support::release::Release;
use mm_test_support::site::{Site, quick};
use mm_test_support::watchdog::Cleanup;
use serde_json::Value;

use super::{FROM, TO, tree};

/// A file system mounted over a directory that keeps what it holds; unmounted on drop.
struct Mounted {
    _unmount: Cleanup,
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

impl Mounted {
    fn at(place: &Path, arguments: &[&str]) -> Self {
        run("mount", &[arguments, &[&text(place)]].concat());
        // A server in there would outlive it, out of everybody's sight.
        let end = end_all_below(place);
        Self { _unmount: Cleanup::with(format!("{end}; umount -l '{}'", place.display())) }
    }

    /// A tmpfs with what the directory held.
    fn memory(place: &Path, options: &str) -> Self {
        let beside = place.with_extension("before");
        std::fs::rename(place, &beside).unwrap();
        std::fs::create_dir(place).unwrap();
        let mounted = Self::at(place, &["-t", "tmpfs", "tmpfs", "-o", options]);
        run("cp", &["-a", &format!("{}/.", text(&beside)), &text(place)]);
        std::fs::remove_dir_all(&beside).unwrap();
        mounted
    }
}

struct Said {
    code: Option<i32>,
    stderr: String,
    document: Value,
}

fn mm_swap(site: &Site, words: &[&str]) -> Said {
    let output = site.tool("mm-swap").args(words).output().unwrap();
    Said {
        code: output.status.code(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        document: serde_json::from_slice(&output.stdout).unwrap_or_default(),
    }
}

fn swap(site: &Site, release: &Release) -> Said {
    mm_swap(site, &["run", "--no-backup", "--archive", release.tarball.to_str().unwrap()])
}

/// Refused, or failed, with a reason and with nothing done.
fn declines(site: &Site, said: &Said, code: i32, reason: &str) {
    assert_eq!(said.code, Some(code), "{}", said.stderr);
    assert!(said.document["error"].to_string().contains(reason), "{reason}: {}", said.document["error"]);
    assert!(said.document["error"]["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{}", said.document["error"]);
    assert_eq!(site.running_version().as_deref(), Some(FROM), "{}", said.stderr);
}

/// There and back, with the server running and all of the user's where it was.
fn serves(site: &Site, release: &Release) {
    let before = tree::of(&site.install());
    let said = swap(site, release);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(site.running_version().as_deref(), Some(TO));
    let users = tree::users(&before);
    let there = tree::users(&tree::of(&site.install()));
    assert!(users.iter().all(|(path, entry)| there.get(path) == Some(entry)), "{users:?}\n{there:?}");
    let said = mm_swap(site, &["rollback"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(site.running_version().as_deref(), Some(FROM));
    assert!(tree::released(&tree::of(&site.install())) == tree::released(&before), "gone back to something else");
    assert_eq!(mm_swap(site, &["prune", "--keep", "0"]).code, Some(0));
}

#[test]
fn a_root_that_is_a_mount_point_with_another_one_in_it_is_served() {
    let site = Site::builder(FROM).build();
    let _root = Mounted::memory(&site.install(), "mode=755");
    let data = site.install().join("data");
    let _data = Mounted::memory(&data, "mode=755");
    run("chown", &[TEST_USER, &text(&data), &text(&site.install())]);
    site.start();
    let release = quick(TO).build();
    // The releases are staged inside, where the owner of the directory could exchange what is staged for something else.
    declines(&site, &swap(&site, &release), 5, "could be put in its place");
    assert!(!site.install().join(".mattermost.mm").exists());

    run("chown", &["root", &text(&site.install())]);
    serves(&site, &release);
    assert!(!site.directory().join("opt/.mattermost.mm").exists(), "staged on another file system");
    assert!(site.install().join(".mattermost.mm").is_dir());
}

#[test]
fn a_root_behind_a_symlink_is_served_and_the_symlink_stays() {
    let site = Site::builder(FROM).running().build();
    let link = site.directory().join("link");
    std::os::unix::fs::symlink("opt/mattermost", &link).unwrap();
    let archive = quick(TO).build().tarball;
    for words in [vec!["run", "--no-backup", "--archive", archive.to_str().unwrap()], vec!["rollback"]] {
        let mut command = mm_test_support::tool::tool("mm-swap");
        command.args(&words).arg("--install").arg(&link).arg("--state-dir").arg(site.state());
        command.args(["--service", "exec"]).assert().success();
        let runs = if words[0] == "run" { TO } else { FROM };
        assert_eq!(site.running_version().as_deref(), Some(runs));
        assert_eq!(std::fs::read_link(&link).unwrap(), Path::new("opt/mattermost"));
    }
}

/// Layers as a container has them: the release below, what changed since above. Directories of the lower layer cannot be
/// moved unless the overlay may redirect them.
#[test]
fn an_overlay_is_served_where_it_moves_directories_and_refused_where_it_does_not() {
    let site = Site::builder(FROM).build();
    let release = quick(TO).build();
    let layers = site.directory().join("layers");
    for part in ["upper", "work"] {
        std::fs::create_dir_all(layers.join(part)).unwrap();
    }
    // An upper layer cannot be on another overlay, which the disk of a container is.
    let _memory = Mounted::memory(&layers, "mode=755");
    let opt = site.directory().join("opt");
    run("cp", &["-a", &text(&opt), &text(&layers.join("lower"))]);
    let overlay = |redirect: &str| {
        let layers = text(&layers);
        let options =
            format!("lowerdir={layers}/lower,upperdir={layers}/upper,workdir={layers}/work,redirect_dir={redirect}");
        Mounted::at(&opt, &["-t", "overlay", "overlay", "-o", &options])
    };

    let fixed = overlay("off");
    site.start();
    let before = tree::of(&site.install());
    declines(&site, &swap(&site, &release), 5, "overlayfs");
    assert!(tree::released(&tree::of(&site.install())) == tree::released(&before), "refused, but not untouched");
    site.stop();
    drop(fixed);

    let _redirecting = overlay("on");
    site.start();
    serves(&site, &release);
}

#[test]
fn a_full_disk_is_met_before_the_server_is_stopped() {
    let site = Site::builder(FROM).build();
    let release = quick(TO).build();
    let opt = site.directory().join("opt");
    let _memory = Mounted::memory(&opt, "mode=755,size=1g,nr_inodes=100k");
    let used = |field: &str| -> u64 {
        let said = run("df", &[&format!("--output={field}"), "--block-size=1M", &text(&opt)]);
        said.lines().last().unwrap().trim().parse().unwrap()
    };
    let limit = |options: String| drop(run("mount", &["-o", &format!("remount,{options}"), &text(&opt)]));
    site.start();
    let before = tree::of(&site.install());

    // Too small to begin with: refused by arithmetic.
    limit(format!("size={}m", used("used") + 8));
    declines(&site, &swap(&site, &release), 5, "free");
    // Full in the middle of unpacking, in a way that no arithmetic over bytes foresees.
    limit(format!("size=1g,nr_inodes={}", used("iused") + 20));
    declines(&site, &swap(&site, &release), 1, "No space left on device");
    let now = tree::of(&site.install());
    assert!(tree::released(&now) == tree::released(&before), "failed, but not untouched");
    assert!(tree::users(&now) == tree::users(&before), "failed, but not untouched");

    limit("nr_inodes=100k".into());
    serves(&site, &release);
}
