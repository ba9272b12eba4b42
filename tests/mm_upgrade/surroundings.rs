//! `scripts/mm-upgrade` where its surroundings are not as they should be: nobody listens, the terminal goes away, the
//! restore point is gone, other nodes run, it is called from elsewhere.

use std::fs;
use std::process::Output;

use mm_test_support::site::quick;
use mm_test_support::upgrade::Upgrade;
use mm_test_support::{process, tool};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn good(output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}", said(output));
}

fn status(upgrade: &Upgrade) -> String {
    String::from_utf8(upgrade.run("status", &[]).stdout).unwrap()
}

#[test]
fn a_restore_point_that_is_gone_cannot_be_gone_back_to() {
    let upgrade = Upgrade::of(&[quick("9.11.18"), quick("10.5.14")]);
    let site = &upgrade.site;
    good(&upgrade.run("run", &["--to", "10.5.14"]));
    fs::remove_dir_all(site.store()).unwrap();
    let pids = site.pids();
    let output = upgrade.run("rollback", &[]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("mm-backup: error:") && said.contains("Fix the cause"), "{said}");
    assert_eq!(site.pids(), pids, "the server was touched");
    let status = status(&upgrade);
    assert!(status.contains("now      10.5.14\n") && status.contains("error    mm-backup: "), "{status}");
}

#[test]
fn nobody_has_to_listen() {
    let upgrade = Upgrade::of(&[quick("9.11.18"), quick("10.5.14"), quick("10.6.1")]);
    let script = format!("set -o pipefail; ({}) 2>&1 | head -n 1", upgrade.script());
    let mut command = tool::shell(&script);
    // A flag that all get, with a value of the administrator's, is given once, however often it was said; and a stop
    // that is made is no obstacle to the hops after it.
    let swap = ["--flag", "mm-swap=--lock-wait=90"];
    let given = [&["--to", "10.6.1", "--flag", "mm-path=--via=10.5.14"][..], &swap, &swap].concat();
    let arguments = upgrade.arguments("run", &given);
    let output = command.arg("mm-upgrade").args(arguments).output().unwrap();
    good(&output);
    assert_eq!(upgrade.site.running_version().as_deref(), Some("10.6.1"), "public, on its own port");
    let log = fs::read_to_string(upgrade.runs().join("last/log")).unwrap();
    assert!(log.contains("arrived at 10.6.1"), "{log}");
}

#[test]
fn whoever_asks_it_to_stop_gets_a_server_that_serves() {
    let upgrade = Upgrade::of(&[quick("9.11.18"), quick("10.5.14"), quick("10.6.1")]);
    let site = &upgrade.site;
    // These tests may themselves run under nohup.
    let script = format!("exec env --default-signal=HUP bash -c '{}' \"$@\"", upgrade.script().replace('\'', r"'\''"));
    // In place of mm-pgbump, once: the terminal goes away while the server is stopped.
    let loses_its_terminal = |then: &str, verb: &str, more: &[&str]| {
        let _ = fs::remove_dir_all(site.directory().join("shims"));
        upgrade.shim("mm-pgbump", &format!("kill -HUP $PPID; {then}"));
        let mut command = tool::shell(&script);
        command.args(["mm-upgrade", "mm-upgrade"]).args(upgrade.arguments(verb, more)).output().unwrap()
    };
    let works = "REAL \"$@\"";
    let output = loses_its_terminal(works, "run", &["--to", "10.6.1", "--on-failure", "rollback"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("SIGHUP was received") && text.contains("mm-upgrade resume"), "{text}");
    assert_eq!(site.running_version().as_deref(), Some("10.5.14"), "public, on its own port; nothing has failed");

    // What fails goes back, whoever is there to see it.
    let output = loses_its_terminal("exit 1", "resume", &[]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("back on 9.11.18") && !text.contains("stopped as asked"), "{text}");
    assert_eq!(site.running_version().as_deref(), Some("9.11.18"));

    // In the last hop there is nothing left to be stopped.
    let output = loses_its_terminal(works, "run", &["--to", "10.5.14", "--watch", "1"]);
    good(&output);
    assert!(said(&output).contains("watching the server for 1 s"), "{}", said(&output));
    assert_eq!(site.running_version().as_deref(), Some("10.5.14"));
}

#[test]
fn other_nodes_of_a_cluster_are_waited_for_where_a_hop_needs_them_stopped() {
    let upgrade = Upgrade::of(&[quick("10.5.6"), quick("10.5.14"), quick("10.6.1")]);
    let site = &upgrade.site;
    let ping = |node: &str, minutes: u32| {
        let row = format!("'{node}', 'host-{node}', (extract(epoch FROM now()) - {minutes} * 60) * 1000");
        let change = "ON CONFLICT (id) DO UPDATE SET lastpingat = excluded.lastpingat";
        let insert = "INSERT INTO clusterdiscovery (id, hostname, lastpingat)";
        site.cluster.sql("mattermost", &format!("{insert} VALUES ({row}) {change}"));
    };
    ping("one", 0);
    ping("two", 0);
    let pids = site.pids();
    let output = upgrade.run("run", &["--to", "10.6.1"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(4), "{text}");
    assert!(text.contains("(host-one; host-two)") && text.contains("cluster.yml"), "{text}");
    assert_eq!(site.pids(), pids, "the server was touched");
    assert!(!site.cache().exists() && !site.store().exists(), "downloads or a restore point were begun");
    // Dot releases of one schema may run beside each other.
    let closed = tool::shell("date -d '-2 hours' +%H:00-%H:59").output().unwrap().stdout;
    let closed = String::from_utf8(closed).unwrap();
    good(&upgrade.run("run", &["--to", "10.5.14", "--window", closed.trim()]));

    // One that is silent is gone. What has begun goes on, whoever is there by then.
    ping("two", 11);
    upgrade.shim("mm-pgbump", "echo \"$@\" >\"$0.called\"; exit 1");
    let output = upgrade.run("run", &["--to", "10.6.1", "--accept", "rollback"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let called = fs::read_to_string(site.directory().join("shims/mm-pgbump.called")).unwrap();
    assert!(called.contains("--accept=rollback"), "what is accepted is accepted in every stage: {called}");
    ping("two", 0);
    good(&upgrade.run("resume", &[]));
    assert_eq!(site.running_version().as_deref(), Some("10.6.1"));
}

#[test]
fn it_is_resumed_from_elsewhere_and_looking_makes_nothing() {
    let upgrade = Upgrade::of(&[quick("9.11.18"), quick("10.5.14")]);
    let site = &upgrade.site;
    // An hour that is over for today, whatever the time.
    let closed = tool::shell("date -d '-2 hours' +%H:00-%H:59").output().unwrap().stdout;
    let closed = String::from_utf8(closed).unwrap();
    let mut command = tool::shell(&upgrade.script());
    let arguments = upgrade.arguments("run", &["--to", "10.5.14", "--store", "there", "--window", closed.trim()]);
    command.current_dir(site.directory()).arg("mm-upgrade").args(arguments);
    good(&command.output().unwrap());
    good(&upgrade.run("resume", &["--window", "00:00-00:00"]));
    let points = process::run("ls", &[site.directory().join("there").to_str().unwrap()]);
    assert_eq!(points.lines().count(), 1, "{points}");

    let nowhere = site.directory().join("nowhere");
    for verb in ["status", "resume", "rollback"] {
        let output = upgrade.run(verb, &["--runs", nowhere.to_str().unwrap()]);
        let said = said(&output);
        assert!(output.status.code() == Some(5) && said.contains("there is no earlier run in "), "{said}");
    }
    assert!(!nowhere.exists());
    // A tool that is not there is missed before anything is stopped, not when its turn comes.
    let mut command = tool::shell(&upgrade.script());
    let output = command.env("PATH", process::PATH).arg("mm-upgrade").args(upgrade.arguments("resume", &[])).output();
    let output = output.unwrap();
    let said = said(&output);
    assert!(output.status.code() == Some(5) && said.contains("mm-path is not in PATH"), "{said}");
}

#[test]
fn what_the_host_says_in_its_environment_counts_for_every_verb() {
    let upgrade = Upgrade::of(&[quick("9.11.18"), quick("10.5.14")]);
    let site = &upgrade.site;
    let call = |verb: &str, more: &[&str]| {
        let mut words = upgrade.arguments(verb, more);
        // Only the environment says it.
        while let Some(at) =
            words.iter().position(|word| word.contains("=--state-dir=") || word.contains("=--service="))
        {
            words.drain(at - 1..=at);
        }
        let mut command = tool::shell(&upgrade.script());
        command.env("MM_STATE_DIR", site.state()).env("MM_SERVICE", "exec");
        command.arg("mm-upgrade").args(words).output().unwrap()
    };
    good(&call("run", &["--to", "10.5.14"]));
    assert_eq!(site.running_version().as_deref(), Some("10.5.14"));
    let output = call("status", &[]);
    good(&output);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("state    finished\n") && told.contains("now      10.5.14\n"), "{told}");
    let output = call("resume", &[]);
    good(&output);
    assert!(said(&output).contains("arrived already"), "{}", said(&output));
    good(&call("rollback", &[]));
    assert_eq!(site.running_version().as_deref(), Some("9.11.18"));
}
