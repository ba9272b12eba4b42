//! mm-verify killed with SIGKILL at every one of its checkpoints: the next run removes all that it had put into the
//! database, the file store and /tmp.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};

use crate::lab::{complaints, traces, verify};
use mm_test_support::process;
use mm_test_support::site::Site;

/// Directories of browsers that mm-verify has started, those of other tests included.
fn browsers() -> BTreeSet<PathBuf> {
    temporary("mm-verify-browser-")
}

fn temporary(prefix: &str) -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir("/tmp").unwrap().map(|entry| entry.unwrap());
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    ours.map(|entry| entry.path()).collect()
}

/// Whether a process was told of this directory.
fn is_in_use(directory: &Path) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.any(|line| String::from_utf8_lossy(&line).contains(directory.to_str().unwrap()))
}

#[test]
fn whatever_a_killed_run_has_made_is_gone_after_the_next() {
    let site = Site::builder("10.6.1").running().build();
    let log = site.directory().join("checkpoints");
    let run = |variable: &str, value: &str, browser: &str| {
        site.tool("mm-verify").args(["--browser", browser]).env(variable, value).output().unwrap()
    };
    let before = (site.history(), site.counts(), site.user_files());
    assert!(run("MM_CHECKPOINT_LOG", log.to_str().unwrap(), "auto").status.success());
    let mut names: Vec<String> = std::fs::read_to_string(&log).unwrap().lines().map(str::to_owned).collect();
    names.sort();
    names.dedup();
    assert!(names.len() >= 8 && names.iter().any(|name| name == "verify-browser-open"), "{names:?}");

    for name in names {
        let (others, files) = (browsers(), temporary("org.chromium."));
        let browser = if name == "verify-browser-open" { "auto" } else { "no" };
        let killed = run("MM_CHECKPOINT", &name, browser);
        assert_eq!(killed.status.signal(), Some(9), "{name}: {}", String::from_utf8_lossy(&killed.stderr));
        if browser == "auto" {
            let ours: Vec<PathBuf> = browsers().difference(&others).cloned().collect();
            assert!(!ours.is_empty(), "no browser was open");
            process::wait_until("the browser of the killed run to go", std::time::Duration::from_secs(120), || {
                ours.iter().all(|directory| !directory.exists() && !is_in_use(directory))
            });
            let left: Vec<PathBuf> = temporary("org.chromium.").difference(&files).cloned().collect();
            assert_eq!(left, Vec::<PathBuf>::new(), "the browser's own files are left");
        }
        // A session row is recorded before it is made, so the record may also name what is not there.
        let (_, document) = verify(&site, &["--only", "server.ping"]);
        assert_eq!(complaints(&document), Vec::<String>::new(), "{name}");
        assert_eq!(traces(&site), "0", "{name}");
        assert!(
            (site.history(), site.counts(), site.user_files()) == before,
            "something of the run that was killed at {name} is left: {:?} {:?}",
            site.counts(),
            site.user_files().keys().filter(|path| !before.2.contains_key(*path)).collect::<Vec<_>>()
        );
        let record = process::run("find", &[site.state().to_str().unwrap(), "-name", "traces.json"]);
        assert_eq!(record, "", "{name}: the record still names something");
    }
}
