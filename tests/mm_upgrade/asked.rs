//! `mm-upgrade` on a terminal of its own, asked to stop at random moments: by Ctrl-C, by a signal to the script alone, and by
//! a terminal that goes away. A server always runs, what `status` says right afterwards is true, what it names as next goes
//! on, and the end is that of an upgrade that nobody disturbed.
//!
//! 200 moments are part of `scripts/test --all`, a few are tried with every change. `MM_SIGNALS` is another number of them,
//! `MM_SIGNAL_SEED` the seed (1).

use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mm_test_support::site::quick;
use mm_test_support::upgrade::Upgrade;
use mm_test_support::{process, tool};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::killed::{PATIENCE, Random, number};

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Ctrl-C: all in the foreground of the terminal get SIGINT.
    Terminal,
    /// Ctrl-C, and again by somebody who cannot wait.
    Twice,
    /// SIGTERM to `mm-upgrade` alone.
    Script,
    /// The terminal is gone, as when an ssh session is lost.
    Lost,
}

const WAYS: [Way; 4] = [Way::Terminal, Way::Script, Way::Lost, Way::Twice];

/// A command on a terminal of its own, below a shell that outlives the terminal and notes how it ended.
struct Session {
    terminal: Child,
    pid: PathBuf,
    code: PathBuf,
}

impl Session {
    fn new(upgrade: &Upgrade, command: &str) -> Self {
        let place = upgrade.site.directory();
        let (pid, code, temporary) = (place.join("session.pid"), place.join("session.code"), temporary(upgrade));
        let _ = fs::remove_file(&pid);
        let _ = fs::remove_file(&code);
        fs::create_dir_all(&temporary).unwrap();
        // What is caught here is as always for those that it starts; its own end says nothing.
        let script = format!(
            "trap : HUP INT TERM\nexport TMPDIR='{}'\nbash -c 'echo $$ >{1}.part; mv {1}.part {1}; exec {command}'\n\
             echo $? >{2}.part; mv {2}.part {2}\n",
            temporary.display(),
            pid.display(),
            code.display()
        );
        let file = place.join("session");
        fs::write(&file, script).unwrap();
        let said = fs::File::options().create(true).append(true).open(place.join("said")).unwrap();
        let shims = place.join("shims");
        let terminal = Command::new("/usr/bin/env")
            .args(["--default-signal=HUP,INT,TERM", "script", "-qec", &format!("bash {}", file.display()), "/dev/null"])
            .env_clear()
            .env("PATH", format!("{}:{}:{}", shims.display(), tool::directory().display(), process::PATH))
            .env(tool::PACE.0, tool::PACE.1)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(said)
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        Self { terminal, pid, code }
    }

    fn ask(&mut self, way: Way) {
        match way {
            Way::Terminal | Way::Twice => {
                for _ in 0..if way == Way::Twice { 2 } else { 1 } {
                    // It may have ended in this moment.
                    let _ = self.terminal.stdin.as_mut().unwrap().write_all(b"\x03");
                    std::thread::sleep(Duration::from_millis(300));
                }
            }
            Way::Script => {
                if let Some(pid) = fs::read_to_string(&self.pid).ok().and_then(|text| text.trim().parse().ok()) {
                    let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
                }
            }
            // The kernel tells all of the session that its terminal has hung up.
            Way::Lost => self.terminal.kill().unwrap(),
        }
    }

    fn ended(&self) -> Option<i32> {
        fs::read_to_string(&self.code).ok().map(|text| text.trim().parse().unwrap())
    }

    /// Its exit code, and whether it was asked before it had ended.
    fn wait(mut self, moment: Option<(Duration, Way)>, context: &dyn Fn() -> String) -> (i32, bool) {
        process::wait_until("it to begin", PATIENCE, || self.pid.exists() || self.ended().is_some());
        let begun = Instant::now();
        let mut asked = false;
        let code = loop {
            if let Some(code) = self.ended() {
                break code;
            }
            if let Some((moment, way)) = moment
                && !asked
                && begun.elapsed() >= moment
            {
                self.ask(way);
                asked = true;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end: {}", context());
            std::thread::sleep(Duration::from_millis(5));
        };
        let _ = self.terminal.kill();
        let _ = self.terminal.wait();
        (code, asked)
    }
}

fn temporary(upgrade: &Upgrade) -> PathBuf {
    upgrade.site.directory().join("temporary")
}

fn quoted(words: &[String]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" ")
}

/// What `status` says is what is there. Returns what is printed as the next command.
fn told_truly(upgrade: &Upgrade, at: &str) -> Option<String> {
    let site = &upgrade.site;
    let mut output = upgrade.run("status", &["--format", "json"]);
    // What it had started may end a moment after it.
    process::wait_until("the planning to end", PATIENCE, || {
        output = upgrade.run("status", &["--format", "json"]);
        !output.stdout.starts_with(b"planning ")
    });
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let at = format!("{at}\n{text}{}\n{}", String::from_utf8_lossy(&output.stderr), upgrade.said());
    let running = !site.pids().is_empty();
    assert!(running, "no server runs: {at}");
    if text.starts_with("stopped while it planned") || output.status.code() == Some(5) {
        assert!(site.answers(), "{at}");
        return text.split("next: ").nth(1).and_then(|rest| rest.split(';').next()).map(str::to_owned);
    }
    assert_eq!(output.status.code(), Some(0), "{at}");
    let status: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {at}"));
    let status = &status["status"];
    let server = &status["server"];
    assert_eq!(server["running"], running, "{at}");
    assert_eq!(status["open"], serde_json::json!([]), "{at}");
    assert!(status["working"].is_null() && status["how"] != "running", "{at}");
    if server["private_address"].is_null() {
        assert_eq!(site.running_version().as_deref(), server["installed"].as_str(), "{at}");
    } else {
        // Only one that nobody has verified yet is kept from the users.
        assert!(!site.answers() && status["hop"]["in_place"] == true, "{at}");
    }
    let left = Command::new("pgrep").args(["-fa", site.state().to_str().unwrap()]).output().unwrap();
    assert!(left.stdout.is_empty(), "still running: {}: {at}", String::from_utf8_lossy(&left.stdout));
    let left: Vec<_> = fs::read_dir(temporary(upgrade)).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "left: {left:?}: {at}");
    status["next"].as_str().map(str::to_owned)
}

/// The code is that of the tool that worked, where one has failed.
fn is_the_tools(code: i32, said: &str, at: &str) {
    // Before bash could catch a signal: it ends as any program that has not begun.
    if matches!(code, 129 | 130 | 143) && !said.contains("planning ") && !said.contains("going ") {
        return;
    }
    assert!(matches!(code, 0 | 1 | 6), "{at}: exit status {code}: {said}");
    for words in ["unexpected EOF", "syntax error", "unbound variable", "command not found", "Traceback"] {
        assert!(!said.contains(words), "{at}: {said}");
    }
    let failed = said.lines().rev().find_map(|line| line.split_once(" failed with ")?.1.split(';').next());
    if let Some(failed) = failed.and_then(|text| text.trim().parse::<i32>().ok()) {
        assert_eq!(code, failed, "{at}: {said}");
    }
}

fn asked(signals: u32) {
    let upgrade = Upgrade::of(&[quick("9.11.18"), quick("10.5.14"), quick("10.6.1")]);
    let site = &upgrade.site;
    let (history, counts, files) = (site.history(), site.counts(), site.user_files());
    let scripts = mm_test_support::upgrade::SCRIPTS;
    let run = format!("{scripts}/mm-upgrade {}", quoted(&upgrade.arguments("run", &["--to", "10.6.1"])));
    let rollback = format!("{scripts}/mm-upgrade {}", quoted(&upgrade.arguments("rollback", &[])));
    fs::create_dir_all(site.directory().join("shims")).unwrap();
    std::os::unix::fs::symlink(format!("{scripts}/mm-upgrade"), site.directory().join("shims/mm-upgrade")).unwrap();

    let mut random = Random(number("MM_SIGNAL_SEED", 1).into());
    let mut hit = Vec::new();
    let (mut command, mut forth) = (run.clone(), true);
    while hit.len() < signals as usize || !(forth && command.is_empty()) {
        if command.is_empty() {
            // Arrived, or back: the other way now, until there were enough.
            forth = !forth;
            command = if forth { run.clone() } else { rollback.clone() };
        }
        let way = WAYS[hit.len() % WAYS.len()];
        let moment = (hit.len() < signals as usize).then(|| (random.moment(), way));
        let before = upgrade.said().len();
        let (code, was_asked) =
            Session::new(&upgrade, &command).wait(moment, &|| format!("{hit:#?}\n{}", upgrade.said()));
        let at = format!("{moment:?} in {command}, after {hit:#?}");
        let said = upgrade.said().split_off(before);
        if was_asked {
            hit.push(format!("{moment:?} in {}: {code}", command.split(' ').nth(1).unwrap_or_default()));
        } else {
            assert_eq!(code, 0, "nobody has asked: {at}: {said}");
        }
        is_the_tools(code, &said, &at);
        process::wait_until("a server", Duration::from_secs(60), || !site.pids().is_empty());
        let next = told_truly(&upgrade, &format!("{at}: {code}"));
        command = match (code, next) {
            (0, _) => String::new(),
            (_, Some(next)) if forth => next,
            (_, _) => command,
        };
    }
    assert_eq!(site.running_version().as_deref(), Some("10.6.1"), "{hit:#?}");
    assert_eq!((site.history(), site.counts(), site.user_files()), (history, counts, files), "{hit:#?}");
}

#[test]
fn at_random_moments_a_server_runs_and_what_is_said_is_true() {
    asked(number("MM_SIGNALS", 8));
}

#[test]
#[ignore = "long: part of scripts/test --all"]
fn at_200_random_moments_a_server_runs_and_what_is_said_is_true() {
    asked(number("MM_SIGNALS", 200));
}
