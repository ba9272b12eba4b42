//! A hostile executable: the server's user has put a program of its own where the server was.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::PathBuf;

use mm_test_support::process::{self, TEST_USER, ids};
use mm_test_support::site::Site;
use mm_test_support::tool;

/// What a program says that is asked for its version.
const ANSWER: &str = "echo 'Version: 10.6.1'; echo 'Build Number: 10.6.1'; echo 'Build Enterprise Ready: false'";

/// An installation whose executable is this script; and a directory that its user may write to.
fn with_executable(script: &str) -> (Site, PathBuf) {
    let site = Site::builder("10.6.1").build();
    let executable = site.install().join("bin/mattermost");
    std::fs::remove_file(&executable).unwrap();
    std::fs::write(&executable, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&executable, std::fs::Permissions::from_mode(0o755)).unwrap();
    let seen = site.directory().join("seen");
    std::fs::create_dir(&seen).unwrap();
    let (uid, gid) = ids(TEST_USER);
    for path in [&executable, &seen] {
        chown(path, Some(uid), Some(gid)).unwrap();
    }
    (site, seen)
}

/// What mm-path makes of it: exit code and stderr.
fn look(site: &Site) -> (Option<i32>, String) {
    let output = site.tool("mm-path").args(["--to", "10.11.4", "--format", "json"]).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Whether a process runs with this word in its command line.
fn runs(word: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|argument| argument == word.as_bytes())
    })
}

#[test]
fn an_executable_that_leaves_a_child_with_its_pipes_blocks_nobody_and_leaves_nothing() {
    let number = format!("86400.{}", std::process::id());
    let (site, _) = with_executable(&format!("setsid sleep {number} & {ANSWER}"));
    let (code, said) = look(&site);
    assert_eq!(code, Some(0), "{said}");
    assert!(!runs(&number), "what it started still runs");
}

#[test]
fn an_executable_that_says_without_end_or_is_endless_is_an_error() {
    let (site, _) = with_executable("exec cat /dev/zero");
    let (code, said) = look(&site);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("it wrote more than 1 MiB"), "{said}");

    let executable = std::fs::OpenOptions::new().write(true).open(site.install().join("bin/mattermost")).unwrap();
    executable.set_len(10 << 40).unwrap();
    let (code, said) = look(&site);
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("is not a Mattermost server") && said.contains("hint:"), "{said}");
}

#[test]
fn an_executable_reaches_neither_the_terminal_nor_the_descriptors_of_who_asks() {
    let script = format!(
        "cd \"$(dirname \"$0\")/../../../seen\"\n\
         (echo typed >/dev/tty) 2>/dev/null && echo terminal >>reached\n\
         (echo written >&7) 2>/dev/null && echo descriptor >>reached\n\
         grep -E 'NoNewPrivs|CapBnd' /proc/self/status >status\n{ANSWER}"
    );
    let (site, seen) = with_executable(&script);
    let kept = site.directory().join("roots");
    // A terminal of its own, as an administrator's shell has, and a lock as its scripts hold it.
    let line = format!(
        "exec 7>'{}'; {} {} --to 10.11.4 --format json",
        kept.display(),
        tool::executable("mm-path").display(),
        site.flags().join(" ")
    );
    let mut command = tool::shell("script -qec \"$1\" /dev/null </dev/null");
    let output = command.args(["bash", &line]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(seen.join("status").is_file(), "it was not asked: {said}");
    assert!(!seen.join("reached").exists(), "{:?}", std::fs::read_to_string(seen.join("reached")));
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), "");
    let status = std::fs::read_to_string(seen.join("status")).unwrap();
    assert_eq!(status, "CapBnd:\t0000000000000000\nNoNewPrivs:\t1\n");
}

#[test]
fn an_executable_ends_with_whoever_asks_however_that_ends() {
    let number = format!("86402.{}", std::process::id());
    let (site, _) = with_executable(&format!("setsid -f sleep {number}; sleep {number}"));
    let mut asks = std::process::Command::new(tool::executable("mm-path"))
        .args(site.flags())
        .args(["--to", "10.11.4"])
        .stdin(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let limit = std::time::Duration::from_secs(60);
    process::wait_until("the executable to be asked", limit, || runs(&number));
    asks.kill().unwrap();
    asks.wait().unwrap();
    process::wait_until("what it has started to end", limit, || !runs(&number));
}

#[test]
fn an_executable_with_capabilities_is_asked_without_them() {
    let site = Site::builder("10.6.1").build();
    process::run("setcap", &["cap_net_bind_service=+ep", site.install().join("bin/mattermost").to_str().unwrap()]);
    let (code, said) = look(&site);
    assert_eq!(code, Some(0), "{said}");
}

/// Processes below one, with their command lines.
fn below(parent: u32) -> Vec<(u32, String)> {
    let mut found = vec![(parent, String::new())];
    let mut at = 0;
    while let Some((pid, _)) = found.get(at).cloned() {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for text in tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok()) {
            for child in text.split_ascii_whitespace().map(|child| child.parse().unwrap()) {
                let line = std::fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
                found.push((child, String::from_utf8_lossy(&line).replace('\0', " ")));
            }
        }
        at += 1;
    }
    found.split_off(1)
}

/// What reads whatever a server of somebody else's answers has no more memory than some, and gains nothing.
#[test]
fn programs_of_the_database_have_limits_and_gain_no_privileges() {
    let site = Site::builder("10.6.1").build();
    let port = site.cluster.port.to_string();
    let mut holder = process::as_user("postgres", mm_test_support::cluster::psql())
        .args(["-XAtq", "-p", &port, "-d", "mattermost"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let lock = b"BEGIN; LOCK TABLE audits IN ACCESS EXCLUSIVE MODE;\n";
    std::io::Write::write_all(holder.stdin.as_mut().unwrap(), lock).unwrap();
    let limit = std::time::Duration::from_secs(120);
    let held = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'audits'::regclass";
    process::wait_until("the lock", limit, || site.cluster.query(held).trim() == "1");
    let mut backup = std::process::Command::new(tool::executable("mm-backup"))
        .args(site.flags())
        .arg("--to")
        .arg(site.store())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut programs = Vec::new();
    process::wait_until("a dump that waits", limit, || {
        programs = below(backup.id());
        let is_there = |name: &str| programs.iter().any(|(_, line)| line.split(' ').next().unwrap().ends_with(name));
        is_there("/pg_dump") && is_there("/psql")
    });
    for (pid, line) in programs {
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        for name in ["Max address space", "Max processes"] {
            let value = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            assert!(!value.contains("unlimited"), "{line}: {name} {value}");
        }
        for said in ["NoNewPrivs:\t1\n", "CapBnd:\t0000000000000000\n", "CapEff:\t0000000000000000\n"] {
            assert!(status.contains(said), "{line}: {status}");
        }
    }
    process::run("kill", &["-TERM", &backup.id().to_string()]);
    backup.wait().unwrap();
    holder.kill().unwrap();
    holder.wait().unwrap();
}

/// Inodes of the TCP sockets that somebody listens on.
fn listeners() -> Vec<String> {
    let tables = ["tcp", "tcp6"].map(|name| std::fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default());
    let sockets = tables.iter().flat_map(|table| table.lines().skip(1));
    let fields = sockets.map(|line| line.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>());
    fields.filter(|fields| fields[3] == "0A").map(|fields| format!("socket:[{}]", fields[9])).collect()
}

/// The browser that looks at the pages can be steered by nobody: it listens nowhere, and it runs as no user of the machine.
#[test]
fn nobody_else_can_steer_the_browser() {
    let site = Site::builder("10.6.1").running().build();
    let report = site.directory().join("report");
    let mut verify = std::process::Command::new(tool::executable("mm-verify"))
        .args(site.flags())
        .args(["--only", "browser", "--format", "json"])
        .stdin(std::process::Stdio::null())
        .stdout(std::fs::File::create(&report).unwrap())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut users = std::collections::BTreeSet::new();
    process::wait_until("the checks to end", std::time::Duration::from_secs(300), || {
        for (pid, line) in below(verify.id()) {
            let listeners = listeners();
            let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            let targets = descriptors.filter_map(|entry| std::fs::read_link(entry.path()).ok());
            for target in targets.map(|target| target.to_string_lossy().into_owned()) {
                assert!(!listeners.contains(&target), "it listens: {line}");
            }
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"));
            if let Some(uid) = uid.filter(|_| line.contains("--type=renderer")) {
                users.insert(uid.split_ascii_whitespace().nth(1).unwrap().to_owned());
            }
        }
        verify.try_wait().unwrap().is_some()
    });
    let said: serde_json::Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    let is_browsers = |check: &&serde_json::Value| check["id"].as_str().unwrap().starts_with("browser.");
    let checks: Vec<_> = said["verify"]["checks"].as_array().unwrap().iter().filter(is_browsers).collect();
    assert!(checks.len() == 4 && checks.iter().all(|check| check["status"] == "pass"), "{checks:#?}");
    let [uid] = &users.iter().collect::<Vec<_>>()[..] else { panic!("its pages run as {users:?}") };
    let name = std::process::Command::new("getent").args(["passwd", uid]).output().unwrap();
    assert!(!name.status.success(), "it runs as a user of the machine: {uid}");
    site.stop();
}
