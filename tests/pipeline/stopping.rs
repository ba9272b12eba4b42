//! Signals and a standard input that nobody closes: what waits for a document says so, ends when it is asked to, and leaves
//! no service stopped.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use mm_test_support::process::PATH;
use mm_test_support::site::Site;
use mm_test_support::tool::{PACE, TOOLS, executable, shell};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// A tool whose standard input is a pipe that stays open, in a process group of its own.
fn waiting(name: &str, flags: &[&str]) -> Child {
    use std::os::unix::process::CommandExt as _;
    let mut command = Command::new(executable(name));
    command.args(flags).env_clear().env("PATH", PATH).env(PACE.0, PACE.1).current_dir("/").process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn ask(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

/// Waits until it says what it waits for.
fn says_what_it_waits_for(name: &str, child: &mut Child) -> BufReader<std::process::ChildStderr> {
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(
        line.contains("waiting for a document on standard input") && line.contains("--document none"),
        "{name}: {line}"
    );
    said
}

#[test]
fn who_waits_for_a_document_says_so_and_ends_when_asked_to() {
    let place = tempfile::tempdir().unwrap();
    let (none, state) = (place.path().join("none"), place.path().join("state"));
    let flags = ["--install", none.to_str().unwrap(), "--state-dir", state.to_str().unwrap()];
    let children: Vec<_> = TOOLS.iter().map(|name| (name, waiting(name, &flags))).collect();
    for ((name, mut child), signal) in children.into_iter().zip([Signal::SIGTERM, Signal::SIGINT].into_iter().cycle()) {
        let stdin = child.stdin.take().unwrap();
        let mut stderr = says_what_it_waits_for(name, &mut child);
        ask(&child, Signal::SIGHUP);
        assert!(child.try_wait().unwrap().is_none(), "{name} ends with its terminal");
        ask(&child, signal);
        let output = child.wait_with_output().unwrap();
        let mut said = String::new();
        stderr.read_to_string(&mut said).unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}: {said}");
        assert!(
            output.stdout.is_empty() && said.contains("nothing was begun") && said.contains(signal.as_str()),
            "{name}: {said}"
        );
        drop(stdin);
    }
    assert!(!state.exists());
}

#[test]
fn beside_another_tool_of_ours_nothing_is_said_and_without_a_document_nothing_is_read() {
    let place = tempfile::tempdir().unwrap();
    let slow = place.path().join("mm-fetch");
    std::fs::copy("/usr/bin/sleep", &slow).unwrap();
    let script = format!("set -m; {} 3 | mm-swap --install {}", slow.display(), place.path().join("none").display());
    let output = shell(&script).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(65), "{said}");
    assert!(!said.contains("waiting for"), "{said}");
    for name in TOOLS {
        let mut child =
            waiting(name, &["--document", "none", "--install", place.path().join("none").to_str().unwrap()]);
        let stdin = child.stdin.take();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !said.contains("waiting for")
                && !said.contains("`none`")
                && matches!(output.status.code(), Some(2 | 5 | 65)),
            "{name}: {output:?}"
        );
        drop(stdin);
    }
}

/// What is fetched in part is gone on with, and nothing that is not whole has a name of its own.
#[cfg(feature = "checkpoints")]
#[test]
fn asked_while_it_fetches_it_fetches_or_goes_on_the_next_time() {
    use mm_test_support::asked::Asked;
    use mm_test_support::pipeline::plan;
    use mm_test_support::process;
    use mm_test_support::site::quick;

    let site = Site::builder("10.5.14").running().build();
    let releases = site.releases(&[quick("10.5.14").build(), quick("10.6.1").build()]);
    let document = plan(&site, &releases, &["--to", "10.6.1"]);
    let (cache, catalogue) = (site.cache().display().to_string(), releases.catalogue.display().to_string());
    let flags = ["--mirror", releases.site.url(), "--catalogue", &catalogue, "--cache", &cache];
    let asked = Asked::of(&site, "mm-fetch", &flags).given(&document);
    let mut checkpoints = asked.checkpoints();
    // The first release is named while the second one is still to come.
    checkpoints.insert(0, "fetch-archive-named".to_owned());
    checkpoints.dedup();
    let mut codes = Vec::new();
    asked.at_each(&checkpoints, |ended| {
        codes.push(ended.code);
        let named = process::run("find", &[&cache, "-name", "*.tar.gz"]);
        for archive in named.lines() {
            process::run("gzip", &["-t", archive]);
        }
        let again = asked.at("SIGTERM", "never");
        assert_eq!(again.code, 0, "after {}: {}", ended.at, again.said);
        std::fs::remove_dir_all(&cache).unwrap();
    });
    assert!(codes.contains(&1), "{codes:?} at {checkpoints:?}");
}

fn stopped(site: &Site) -> String {
    let mut command = Command::new(executable("mm-backup"));
    command.args(site.flags()).arg("--to").arg(site.store()).args(["--stop", "--leave-stopped"]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !site.answers(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_document_that_has_come_whole_is_handled_and_the_service_runs_again() {
    let site = Site::builder("10.5.12").running().build();
    let document = stopped(&site);
    let flags = site.flags();
    let mut child = waiting("mm-swap", &flags.iter().map(String::as_str).collect::<Vec<_>>());
    let mut stdin = child.stdin.take().unwrap();
    let mut stderr = says_what_it_waits_for("mm-swap", &mut child);
    stdin.write_all(document.as_bytes()).unwrap();
    ask(&child, Signal::SIGTERM);
    let output = child.wait_with_output().unwrap();
    let mut said = String::new();
    stderr.read_to_string(&mut said).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let written: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(written["error"]["message"], "stopped as asked", "{written}");
    assert!(site.answers(), "{said}");
}

#[test]
fn who_cannot_say_that_the_service_is_stopped_starts_it() {
    let site = Site::builder("10.5.12").running().build();
    let flags = site.flags().join(" ");
    let backup = format!("mm-backup {flags} --to {} --stop --leave-stopped", site.store().display());
    let output = shell(&format!("{backup} </dev/null >/dev/full")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(74), "{said}");
    assert!(site.answers() && said.contains("runs again"), "{said}");
    // Nor does one that has nothing to do itself.
    let document = site.directory().join("document.json");
    std::fs::write(&document, stopped(&site)).unwrap();
    let output =
        shell(&format!("mm-pgbump {flags} --leave-stopped <{} >/dev/full", document.display())).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(74), "{said}");
    assert!(site.answers(), "{said}");
    assert!(Path::new(&document).exists());
}
