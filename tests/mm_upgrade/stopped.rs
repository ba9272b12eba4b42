//! `scripts/mm-upgrade` asked to stop, and looked at while it works.

use std::fs;
use std::process::Child;
use std::time::Duration;

use mm_test_support::process;
use mm_test_support::site::quick;
use mm_test_support::upgrade::Upgrade;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::run::good;

const PATIENCE: Duration = Duration::from_secs(120);

fn start(upgrade: &Upgrade, verb: &str, more: &[&str]) -> Child {
    upgrade.start(&upgrade.script(), &upgrade.arguments(verb, more))
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap())
}

#[test]
fn a_second_one_and_status_say_which_tool_works_and_a_signal_is_passed_on() {
    let upgrade = Upgrade::of(&[quick("9.11.18"), quick("10.5.14")]);
    let site = &upgrade.site;
    // In place of mm-backup, once: it waits for somebody to look at it, and says which signal came.
    let told = site.directory().join("told");
    let told_ = told.display();
    let script =
        format!("trap 'echo TERM >>{told_}; sleep 1; exit 1' TERM\ntouch {told_}\nwhile :; do sleep 0.1; done");
    upgrade.shim("mm-backup", &script);
    let mut run = start(&upgrade, "run", &["--to", "10.5.14"]);
    process::wait_until("the restore point to begin", PATIENCE, || told.exists());

    let second = upgrade.run("run", &["--to", "10.5.14"]);
    let text = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(75), "{text}");
    assert!(text.contains(&format!("mm-upgrade run (process {}), since ", run.id())), "{text}");
    assert!(text.contains("mm-upgrade status --follow --runs "), "{text}");
    let status = String::from_utf8(upgrade.run("status", &[]).stdout).unwrap();
    assert!(status.contains("hop      1 of 1: 9.11.18 to 10.5.14"), "{status}");
    let json = String::from_utf8(upgrade.run("status", &["--format", "json"]).stdout).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["status"]["now"], &json["status"]["target"]), (&"9.11.18".into(), &"10.5.14".into()));

    // Twice, and a lost terminal as well: it is passed on once, and what the tool says is what counts.
    for signal in [Signal::SIGHUP, Signal::SIGTERM, Signal::SIGTERM] {
        kill(pid(&run), signal).unwrap();
    }
    let code = run.wait().unwrap().code();
    let text = upgrade.said();
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(fs::read_to_string(&told).unwrap(), "TERM\n", "{text}");
    assert!(text.contains("stopped as asked: SIG") && text.contains("mm-upgrade resume --runs "), "{text}");
    assert!(text.contains("hop 1 of 1, 9.11.18 to 10.5.14: restore point; users are out from now on"), "{text}");
    assert!(site.answers() && site.running_version().as_deref() == Some("9.11.18"));
    good(&upgrade.run("resume", &[]));
    assert_eq!(site.running_version().as_deref(), Some("10.5.14"));
}

#[test]
fn a_dry_run_shows_the_card_and_changes_nothing() {
    let upgrade = Upgrade::of(&[quick("9.11.18"), quick("10.5.14")]);
    let site = &upgrade.site;
    let output = upgrade.run("run", &["--to", "10.5.14", "--dry-run"]);
    let text = good(&output);
    let (install, runs) = (site.install().display().to_string(), upgrade.runs().display().to_string());
    for words in [
        "  hop 1 of 1: 9.11.18 to 10.5.14",
        "Users are out from the restore point of a hop until its release serves",
        &format!("  mm-rehearse --to 10.5.14 --store {} --install {install}\n", site.store().display()),
        "Space: about ",
        &format!("  mm-swap rollback --database --install {install} --state-dir={} ", site.state().display()),
        &format!("  mm-upgrade rollback --runs {runs}\n"),
        "the database mattermost from the",
        "Not covered: ",
        "Nothing is stopped yet: Ctrl-C now costs nothing.\n",
        "  users are out from here on\n",
        &format!("  mm-backup --to {} --stop --freeze --leave-stopped ", site.store().display()),
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    // Every command as it would be run, in this order.
    let commands = text.lines().filter_map(|line| line.strip_prefix("  mm-"));
    let commands: Vec<String> = commands.map(|line| line.split(" --").next().unwrap().to_owned()).collect();
    let expected = ["rehearse", "swap rollback", "upgrade rollback", "pgbump check", "fetch", "verify baseline"];
    let hop = ["fetch", "swap stage", "backup", "pgbump", "swap", "backup complete", "verify", "path"];
    assert_eq!(commands, [&expected[..], &hop].concat(), "{text}");
    assert!(!upgrade.runs().exists() && !site.store().exists() && !site.state().exists() && !site.cache().exists());
}

#[test]
fn asked_to_stop_in_any_stage_it_leaves_a_server_and_can_be_resumed() {
    let upgrade = Upgrade::of(&[quick("9.11.18"), quick("10.5.14")]);
    let site = &upgrade.site;
    let history = site.history();
    let mut verb = "run";
    let stages = ["looking at the database", "recording how", "unpacking", "restore point;", "exchanging", "verifying"];
    for (number, stage) in stages.into_iter().enumerate() {
        let before = upgrade.said().matches(stage).count();
        let mut run = start(&upgrade, verb, if verb == "run" { &["--to", "10.5.14"] } else { &[] });
        process::wait_until(stage, PATIENCE, || {
            run.try_wait().unwrap().is_some() || upgrade.said().matches(stage).count() > before
        });
        // Not always in the same moment of it, and every second time as from a terminal: the whole group has it.
        std::thread::sleep(Duration::from_millis(number as u64 * 70));
        let as_from_a_terminal = number % 2 == 1;
        let _ = if as_from_a_terminal { killpg(pid(&run), Signal::SIGINT) } else { kill(pid(&run), Signal::SIGTERM) };
        let code = run.wait().unwrap().code();
        let text = upgrade.said();
        assert!(matches!(code, Some(0 | 1 | 6)), "{code:?} in `{stage}`: {text}");
        assert!(!text.contains("unexpected EOF") && !text.contains("syntax error"), "{text}");
        process::wait_until("a server", PATIENCE, || !site.pids().is_empty());
        if upgrade.runs().join("last").exists() {
            verb = "resume";
        }
    }
    good(&upgrade.run(verb, if verb == "run" { &["--to", "10.5.14"] } else { &[] }));
    assert_eq!((site.running_version().as_deref(), site.history()), (Some("10.5.14"), history));
}
