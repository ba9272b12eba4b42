//! Whatever cuts a run off: nothing half-made is ever listed as good, the old ones stay good, and the next run works.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mm_test_support::matrix::{some, some_and};
use mm_test_support::process;
use mm_test_support::site::Site;
use mm_test_support::tool;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::tree::{assert_same, describe};
use crate::{listed, make, verify};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// mm-backup on this site, to be watched while it runs.
pub(crate) fn start(site: &Site, flags: &[&str], variable: Option<(&str, &str)>) -> Child {
    start_where("--default-signal=HUP", site, flags, variable)
}

/// The same where SIGHUP does what it always does, or is ignored, as under `nohup`.
fn start_where(hangup: &str, site: &Site, flags: &[&str], variable: Option<(&str, &str)>) -> Child {
    let mut command = Command::new("/usr/bin/env");
    command.arg(hangup).arg(tool::executable("mm-backup"));
    command.args(site.flags()).arg("--to").arg(site.store()).args(flags).env_clear().envs(variable);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

pub(crate) fn ended(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A session that holds a table, so that whoever dumps has to wait.
pub(crate) struct Holder(Child);

impl Holder {
    fn of(site: &Site) -> Self {
        let mut session = process::as_user("postgres", mm_test_support::cluster::psql())
            .args(["-XAtq", "-p", &site.cluster.port.to_string(), "-d", "mattermost"])
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = session.stdin.as_mut().unwrap();
        std::io::Write::write_all(stdin, b"BEGIN; LOCK TABLE audits IN ACCESS EXCLUSIVE MODE;\n").unwrap();
        let held = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'audits'::regclass";
        process::wait_until("the lock", PATIENCE, || site.cluster.query(held).trim() == "1");
        Self(session)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The child of mm-backup that writes the dump (and not the one that was asked for its version).
fn dumps(parent: &Child) -> Vec<Pid> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let Some((name, rest)) = stat.rsplit_once(')') else { continue };
        let words = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        let is_dump = name.ends_with("(pg_dump") && words.contains("--snapshot");
        if is_dump && rest.split_whitespace().nth(1) == Some(&parent.id().to_string()) {
            found.push(Pid::from_raw(pid));
        }
    }
    found
}

fn wait_for_dump(backup: &Child) -> Pid {
    process::wait_until("pg_dump to run", PATIENCE, || !dumps(backup).is_empty());
    dumps(backup)[0]
}

/// Directories in the store that are no restore points.
pub(crate) fn leftovers(site: &Site) -> Vec<PathBuf> {
    let hidden = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with('.');
    fs::read_dir(site.store()).unwrap().flatten().map(|entry| entry.path()).filter(hidden).collect()
}

/// The first restore point is there and good, and nothing else is.
fn only_the_first_is_there(site: &Site, first: &str) {
    assert_eq!(listed(site), (vec![first.to_owned()], vec![]));
    let (code, said) = verify(site, &[first]);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn a_second_run_is_told_to_come_again() {
    let site = Site::builder("5.29.0").build();
    let holder = Holder::of(&site);
    let first = start(&site, &[], None);
    wait_for_dump(&first);
    let (code, said) = ended(start(&site, &[], None));
    assert_eq!(code, Some(75), "{said}");
    drop(holder);
    let (code, said) = ended(first);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(listed(&site).0.len(), 1);
    assert!(leftovers(&site).is_empty());
}

#[test]
fn what_changes_while_a_run_waits_for_the_lock_is_what_it_stores() {
    let site = Site::builder("5.29.0").build();
    make(&site, &[]);
    let state = fs::read_dir(site.state()).unwrap().flatten().next().unwrap().path();
    let lock = state.join("lock");
    let held = fs::File::options().write(true).open(&lock).unwrap();
    held.lock().unwrap();
    let run = start(&site, &["--lock-wait", "60"], None);
    process::wait_until("it to wait", PATIENCE, || process::has_open(run.id(), &lock));
    let moved = site.directory().join("moved");
    fs::rename(site.install().join("data"), &moved).unwrap();
    site.set("FileSettings", "Directory", serde_json::json!(moved));
    drop(held);
    let (code, said) = ended(run);
    assert_eq!(code, Some(0), "{said}");
    let point = site.store().join(listed(&site).0.last().unwrap());
    let stored = point.join("files").join(moved.strip_prefix("/").unwrap());
    assert!(fs::read_dir(&stored).is_ok_and(|mut entries| entries.next().is_some()), "{}", stored.display());
}

#[test]
fn a_run_of_a_pipeline_waits_for_another_one() {
    let site = Site::builder("5.29.0").build();
    make(&site, &[]);
    let document = site.directory().join("document.json");
    fs::write(&document, r#"{"schema":"mm.upgrade/1"}"#).unwrap();
    let lock = fs::read_dir(site.state()).unwrap().flatten().next().unwrap().path().join("lock");
    let held = fs::File::options().write(true).open(&lock).unwrap();
    held.lock().unwrap();
    let run = start(&site, &["-v", "--document", document.to_str().unwrap()], None);
    process::wait_until("it to wait", PATIENCE, || process::has_open(run.id(), &lock));
    drop(held);
    let (code, said) = ended(run);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("waiting up to 60 s for the lock"), "{said}");
}

#[test]
fn the_dump_is_killed_the_database_stops_the_disk_is_full_the_tool_is_asked_to_stop() {
    let site = Site::builder("5.29.0").running().build();
    let store = site.store();
    fs::create_dir(&store).unwrap();
    process::run("mount", &["-t", "tmpfs", "-o", "size=300m,mode=0700", "none", store.to_str().unwrap()]);
    let first = make(&site, &[])["id"].as_str().unwrap().to_owned();

    let holder = Holder::of(&site);
    let mut run = start(&site, &["--stop"], None);
    kill(wait_for_dump(&run), Signal::SIGKILL).unwrap();
    // What counts rows beside the dump waits for the same table, and gives up with it, not after its ten minutes.
    process::wait_until("it to end", PATIENCE, || run.try_wait().unwrap().is_some());
    let (code, said) = ended(run);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("pg_dump") && said.contains("signal 9"), "{said}");

    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let run = start(&site, &["--stop"], None);
        wait_for_dump(&run);
        kill(Pid::from_raw(i32::try_from(run.id()).unwrap()), signal).unwrap();
        let (code, said) = ended(run);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(signal.as_str()), "{said}");
        let answer = "mm-backup: stopping: removing what there is of the restore point, and starting the server again";
        assert!(said.contains(answer) && !said.contains("is not as it was"), "{said}");
        assert!(site.answers(), "{said}");
    }

    let run = start(&site, &["--stop"], None);
    wait_for_dump(&run);
    let hog = store.join("hog");
    Command::new("dd").args(["if=/dev/zero", "bs=1M", &format!("of={}", hog.display())]).output().unwrap();
    drop(holder);
    let (code, said) = ended(run);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("No space left") || said.contains("os error 28"), "{said}");
    fs::remove_file(hog).unwrap();

    process::wait_until("the server to answer again", PATIENCE, || site.answers());
    let holder = Holder::of(&site);
    let run = start(&site, &[], None);
    wait_for_dump(&run);
    site.cluster.stop();
    let (code, said) = ended(run);
    assert_eq!(code, Some(1), "{said}");
    site.cluster.start();
    drop(holder);

    assert!(leftovers(&site).is_empty(), "{:?}", leftovers(&site));
    only_the_first_is_there(&site, &first);
    let second = make(&site, &[]);
    assert_eq!(listed(&site).0, [first, second["id"].as_str().unwrap().to_owned()]);
    process::run("umount", &[store.to_str().unwrap()]);
}

#[test]
fn a_terminal_that_is_gone_stops_no_run_with_nohup_or_without() {
    let site = Site::builder("5.29.0").build();
    for (number, hangup) in ["--ignore-signal=HUP", "--default-signal=HUP"].into_iter().enumerate() {
        let holder = Holder::of(&site);
        let run = start_where(hangup, &site, &[], None);
        wait_for_dump(&run);
        kill(Pid::from_raw(i32::try_from(run.id()).unwrap()), Signal::SIGHUP).unwrap();
        drop(holder);
        let (code, said) = ended(run);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(listed(&site).0.len(), number + 1);
    }
}

/// Asked at each of its steps: what is made is kept and the code is 0, anything else goes, and the server always runs.
#[test]
fn create_is_asked_to_stop_at_every_checkpoint() {
    let site = Site::builder("5.29.0").running().build();
    make(&site, &[]);
    for name in &some(checkpoints(&site, &["--stop"])) {
        let before = listed(&site).0.len();
        let mut command = Command::new(tool::executable("mm-backup"));
        command.args(site.flags()).arg("--to").arg(site.store()).arg("--stop").env_clear();
        command.env("MM_CHECKPOINT", name).env("MM_CHECKPOINT_SIGNAL", "SIGTERM").stdin(Stdio::null());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let made = listed(&site).0.len() - before;
        match output.status.code() {
            Some(0) => assert_eq!(made, 1, "{name}: {said}"),
            Some(1) => assert_eq!(made, 0, "{name}: {said}"),
            other => panic!("{name}: {other:?}: {said}"),
        }
        // One that is done at once has no time to say what it finishes.
        assert!(made == 1 || said.contains("mm-backup: stopping: ") || said.contains("SIGTERM"), "{name}: {said}");
        assert!(site.answers() && leftovers(&site).is_empty(), "{name}: {said}");
    }
}

/// The points a run passes, each once.
pub(crate) fn checkpoints(site: &Site, flags: &[&str]) -> Vec<String> {
    let log = site.directory().join("checkpoints");
    let (code, said) = ended(start(site, flags, Some(("MM_CHECKPOINT_LOG", log.to_str().unwrap()))));
    assert_eq!(code, Some(0), "{said}");
    let text = fs::read_to_string(&log).expect("mm-backup is built with the feature `checkpoints`");
    fs::remove_file(log).unwrap();
    let mut names: Vec<String> = Vec::new();
    for name in text.lines() {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

pub(crate) fn die_at(site: &Site, flags: &[&str], checkpoint: &str) {
    let output = start(site, flags, Some(("MM_CHECKPOINT", checkpoint))).wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(9), "to die at {checkpoint}: {said}");
}

#[test]
fn create_is_killed_at_every_checkpoint() {
    let site = Site::builder("5.29.0").running().build();
    let flags = ["--stop", "--keep-last", "1"];
    make(&site, &[]);
    let names = checkpoints(&site, &flags);
    assert!(names.len() > 8, "{names:?}");
    for name in &some(names) {
        let before = listed(&site).0;
        die_at(&site, &flags, name);
        let (after, damaged) = listed(&site);
        let is_finished = ["finished", "prune-condemned"].contains(&name.as_str());
        assert_eq!(after.len() > before.len() || is_finished, is_finished, "killed at {name}: {before:?} {after:?}");
        assert!(damaged.is_empty(), "killed at {name}: {damaged:?}");
        for id in &after {
            let (code, said) = verify(&site, &[id]);
            assert_eq!(code, 0, "killed at {name}: {said}");
        }
        // The service may be down now; the next run makes a restore point and brings it back.
        make(&site, &flags);
        assert!(leftovers(&site).is_empty(), "killed at {name}: {:?}", leftovers(&site));
        process::wait_until("the server to answer again", PATIENCE, || site.answers());
    }
}

#[test]
fn restore_is_killed_at_every_checkpoint() {
    let site = Site::builder("5.29.0").build();
    // Left out: so the tree is exchanged entry by entry, and there are many places to be killed at.
    make(&site, &["--exclude", "custom/tls/*.key"]);
    let tree = describe(&site.install());
    let flags = ["restore", "latest"];
    let names = checkpoints(&site, &flags);
    assert!(names.len() > 6, "{names:?}");
    let server = site.install().join("bin/mattermost");
    let mut held = 0;
    // The one between the files and the database is never left out.
    for name in &some_and(names.clone(), |name| name == "restore-moved") {
        let before = fs::metadata(&server).unwrap().ino();
        fs::write(site.install().join("NOTICE.txt"), "changed").unwrap();
        site.cluster.query("DELETE FROM posts");
        die_at(&site, &flags, name);
        let there = fs::metadata(&server).unwrap();
        if there.ino() != before && site.cluster.query("SELECT count(*) FROM posts").trim() == "0" {
            assert_eq!(there.mode() & 0o111, 0, "killed at {name}: the machine would start it on another's database");
            held += 1;
        }
        if name == "restore-moved" {
            // The run that undoes it is cut off as well, when what was staged is gone.
            die_at(&site, &flags, "restore-undone");
        }
        let (code, said) = ended(start(&site, &flags, None));
        assert_eq!(code, Some(0), "killed at {name}: {said}");
        assert_same(&tree, &describe(&site.install()));
        assert_eq!(site.cluster.query("SELECT count(*) FROM posts").trim(), "100", "killed at {name}");
        let new = "SELECT count(*) FROM pg_database WHERE datname LIKE '%_mm_new_%'";
        assert_eq!(site.cluster.sql("postgres", new).trim(), "0", "killed at {name}");
        site.tool("mm-backup").arg("--to").arg(site.store()).arg("prune").assert().success();
        let staging = site.directory().join("opt/.mattermost.mm");
        assert_eq!(fs::read_dir(&staging).unwrap().count(), 0, "killed at {name}: staged trees are left");
        let kept = "SELECT count(*) FROM pg_database WHERE datname LIKE '%_mm_before_%'";
        assert_eq!(site.cluster.sql("postgres", kept).trim(), "0", "killed at {name}");
    }
    assert!(held > 0, "none of {names:?} is between the files and the database");
}
