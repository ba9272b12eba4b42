//! The role and the playbooks of `scripts/ansible`, run by the real ansible-core.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and its files need not outlive a power cut"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};

use mm_test_support::release::{Order, Release};
use mm_test_support::site::{Releases, Site, quick};
use mm_test_support::{cluster, process, tool};
use serde_json::{Value, json};

const PLAYBOOKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/ansible");

/// A site, its releases, and an inventory with one host or more on this machine.
struct Play {
    site: Site,
    releases: Releases,
}

/// How a playbook ended.
struct Recap {
    code: Option<i32>,
    said: String,
}

impl Recap {
    fn of(output: &Output) -> Self {
        let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
        Self { code: output.status.code(), said }
    }

    /// A number of the recap's line for a host, such as `changed`.
    fn count(&self, host: &str, word: &str) -> u32 {
        let recap = self.said.split_once("PLAY RECAP").unwrap_or_else(|| panic!("no recap: {}", self.said)).1;
        let line = recap.lines().find(|line| line.starts_with(&format!("{host} "))).expect("the host is in the recap");
        let (_, rest) = line.split_once(&format!("{word}=")).expect("the recap counts it");
        rest.split(' ').next().unwrap().parse().unwrap()
    }

    #[track_caller]
    fn good(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.said);
        self
    }
}

impl Play {
    fn of(versions: &[Order]) -> Self {
        let site = Site::builder(&versions[0].version).running().build();
        let built: Vec<Release> = versions.iter().map(Order::build).collect();
        let releases = site.releases(&built);
        let play = Self { site, releases };
        play.write_inventory(&[("one", play.site.install(), play.site.state())]);
        play
    }

    fn write_inventory(&self, hosts: &[(&str, PathBuf, PathBuf)]) {
        let host = |install: &Path, state: &Path| {
            json!({
                "ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3", "ansible_become": false,
                "mm_tools_install": install,
                "mm_tools_store": self.site.store(), "mm_tools_watch": 1, "mm_tools_record": self.record(),
                "mm_tools_cron_file": self.site.directory().join("mm-backup.cron"),
                "mm_tools_cron_path": format!("{}:{}", tool::directory().display(), process::PATH),
                "mm_tools_flags": {
                    "all": ["--service", "exec", "--state-dir", state],
                    "mm-path": ["--catalogue", self.releases.catalogue],
                    "mm-fetch": ["--catalogue", self.releases.catalogue, "--mirror", self.releases.site.url(),
                        "--cache", self.site.cache()],
                    "mm-swap": ["--start-timeout", "30"],
                    "mm-verify": ["--browser", "no"],
                },
            })
        };
        let hosts: serde_json::Map<String, Value> =
            hosts.iter().map(|(name, install, state)| ((*name).to_owned(), host(install, state))).collect();
        // What is JSON is YAML too.
        let inventory = json!({"mattermost": {"hosts": hosts}});
        fs::write(self.site.directory().join("inventory.yml"), inventory.to_string()).unwrap();
    }

    fn record(&self) -> PathBuf {
        self.site.directory().join("record.json")
    }

    fn run(&self, playbook: &str, arguments: &[&str]) -> Recap {
        let home = self.site.directory().join("home");
        fs::create_dir_all(&home).unwrap();
        let mut command = tool::shell(&format!("ansible-playbook -i ../inventory.yml {PLAYBOOKS}/{playbook} \"$@\""));
        command.arg("ansible-playbook").args(arguments).current_dir(&home);
        command.env("HOME", &home).env("LC_ALL", "C.UTF-8").env("ANSIBLE_PIPELINING", "true");
        Recap::of(&command.output().unwrap())
    }

    /// Makes a second node of the site: a tree of its own on a port of its own, and the same database.
    fn second_node(&self) -> Node {
        let directory = self.site.directory().join("second");
        let node = Node { install: directory.join("mattermost"), port: process::free_port() };
        fs::create_dir(&directory).unwrap();
        process::run("cp", &["-a", self.site.install().to_str().unwrap(), node.install.to_str().unwrap()]);
        let path = node.install.join("config/config.json");
        let mut config = self.site.config();
        config["ServiceSettings"]["ListenAddress"] = format!("127.0.0.1:{}", node.port).into();
        // There is no load balancer whose address both could have.
        config["ServiceSettings"]["SiteURL"] = format!("http://127.0.0.1:{}", node.port).into();
        config["FileSettings"]["Directory"] = self.site.install().join("data").to_str().unwrap().into();
        fs::write(&path, serde_json::to_string_pretty(&config).unwrap()).unwrap();
        process::run("chown", &["mm-test:mm-test", path.to_str().unwrap()]);
        node.start();
        self.write_inventory(&[
            ("one", self.site.install(), self.site.state()),
            ("two", node.install.clone(), directory.join("state")),
        ]);
        node
    }
}

/// A further node of a cluster.
struct Node {
    install: PathBuf,
    port: u16,
}

impl Node {
    fn start(&self) {
        let mut child = process::as_user(process::TEST_USER, &self.install.join("bin/mattermost"))
            .current_dir(&self.install)
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // Somebody has to take note of its end, or whoever stops it sees a zombie that does not go away.
        std::thread::spawn(move || child.wait());
        process::wait_until("the second node to answer", std::time::Duration::from_secs(60), || {
            self.running_version().is_some()
        });
    }

    fn running_version(&self) -> Option<String> {
        running_version(self.port)
    }
}

/// The version of the server on a port of this machine; `None` when none answers.
fn running_version(port: u16) -> Option<String> {
    let address = format!("http://127.0.0.1:{port}/api/v4/config/client?format=old");
    let output = tool::shell(&format!("curl -sS --max-time 10 '{address}'")).output().unwrap();
    let settings: Value = serde_json::from_slice(&output.stdout).ok()?;
    settings["Version"].as_str().map(str::to_owned)
}

/// Looks at the versions that both nodes of a cluster serve, again and again, while `act` runs.
fn watched<T>(ports: [u16; 2], act: impl FnOnce() -> T) -> (T, Vec<[Option<String>; 3]>) {
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut seen = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                // The first one once more: it may have come back while the second one was asked.
                seen.push([ports[0], ports[1], ports[0]].map(running_version));
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            seen
        });
        let result = act();
        ended.store(true, Ordering::Relaxed);
        (result, watcher.join().unwrap())
    })
}

#[test]
fn a_server_is_upgraded_once_and_a_second_run_changes_nothing() {
    let play = Play::of(&[quick("9.11.18"), quick("10.5.14"), quick("10.6.1")]);
    let site = &play.site;
    let (history, files, pids) = (site.history(), site.user_files(), site.pids());

    let check = play.run("upgrade.yml", &["-e", "mm_tools_to=10.6.1", "--check"]).good();
    assert!(check.count("one", "changed") > 0 && check.said.contains("9.11.18 to 10.5.14"), "{}", check.said);
    assert_eq!(site.pids(), pids, "the server was touched");
    assert!(!site.store().exists() && !site.cache().exists() && !play.record().exists());

    let first = play.run("upgrade.yml", &["-e", "mm_tools_to=10.6.1", "-vvv"]).good();
    assert!(first.count("one", "changed") > 0 && first.count("one", "failed") == 0);
    assert!(!first.said.contains(cluster::TELLTALE), "the password of the database is in the log");
    assert_eq!(site.running_version().as_deref(), Some("10.6.1"), "public, on its own port");
    assert_eq!((site.history(), site.user_files()), (history, files));
    let record: Value = serde_json::from_slice(&fs::read(play.record()).unwrap()).unwrap();
    let done = record["done"].as_array().unwrap();
    assert_eq!(done.len(), 2, "{record}");
    assert!(done[0]["swap"]["private_address"].is_string(), "users stay out in between: {}", done[0]["swap"]);

    let pids = site.pids();
    let again = play.run("upgrade.yml", &["-e", "mm_tools_to=10.6.1"]).good();
    assert_eq!((again.count("one", "changed"), again.count("one", "failed")), (0, 0), "{}", again.said);
    assert_eq!(site.pids(), pids);
}

#[test]
fn a_hop_that_fails_is_told_with_the_tools_message_and_hint() {
    let play = Play::of(&[quick("9.11.18"), quick("10.5.14"), quick("10.6.1").fault("crash-at-start")]);
    let failed = play.run("upgrade.yml", &["-e", "mm_tools_to=10.6.1"]);
    assert_eq!(failed.code, Some(2), "{}", failed.said);
    let told = failed.said.rsplit_once("The hop has failed").unwrap().1;
    assert!(told.contains("10.5.14 to 10.6.1: mm-swap: ") && told.contains(". Next: "), "{told}");
    assert_eq!(failed.count("one", "failed"), 1);
    assert_eq!(play.site.running_version().as_deref(), Some("10.5.14"), "the last good release, public");

    let refused = play.run("upgrade.yml", &["-e", "mm_tools_to=9.5.14"]);
    assert!(refused.code == Some(2) && refused.said.contains("mm-path: "), "{}", refused.said);
    let without = play.run("upgrade.yml", &[]);
    assert!(without.code == Some(2) && without.said.contains("Set mm_tools_to"), "{}", without.said);
}

#[test]
fn restore_points_are_made_now_and_every_night() {
    let play = Play::of(&[quick("9.11.18")]);
    let first = play.run("backup.yml", &["-e", "mm_tools_prove=true"]).good();
    assert_eq!(first.count("one", "changed"), 2, "the table and a restore point: {}", first.said);
    let again = play.run("backup.yml", &["--tags", "schedule"]).good();
    assert_eq!(again.count("one", "changed"), 0, "{}", again.said);

    let table = fs::read_to_string(play.site.directory().join("mm-backup.cron")).unwrap();
    let lines: Vec<&str> = table.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).collect();
    assert_eq!(lines.len(), 2, "{table}");
    for line in lines {
        let command = line.split_once(" root  ").unwrap().1;
        let output = tool::shell(command).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), output.stdout.len(), said.as_str()), (Some(0), 0, ""), "{command}");
    }
    let list = play.site.tool("mm-backup").args(["list", "--to"]).arg(play.site.store()).output().unwrap();
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    assert_eq!(list["points"].as_array().unwrap().len(), 1, "of one day the newest one is kept: {list}");
}

#[test]
fn the_nodes_of_a_cluster_are_stopped_together_when_the_schema_changes() {
    let play = Play::of(&[quick("9.11.18"), quick("10.5.14")]);
    let node = play.second_node();
    let history = play.site.history();
    let check = play.run("cluster.yml", &["-e", "mm_tools_to=10.5.14", "--check"]).good();
    assert!(check.said.contains("All nodes are stopped, one is upgraded"), "{}", check.said);
    assert_eq!(node.running_version().as_deref(), Some("9.11.18"));

    let (recap, seen) =
        watched([play.site.port, node.port], || play.run("cluster.yml", &["-e", "mm_tools_to=10.5.14"]));
    let recap = recap.good();
    assert!(recap.count("one", "changed") > 0 && recap.count("two", "changed") > 0, "{}", recap.said);
    let of = |version: Option<String>| version.as_deref() == Some("10.5.14");
    assert!(of(play.site.running_version()) && of(node.running_version()), "{}", recap.said);
    assert_eq!(play.site.history(), history);
    for [one, two, _] in seen {
        let mixed = one.as_deref() == Some("10.5.14") && two.as_deref() == Some("9.11.18");
        assert!(!mixed, "an old server ran on the new schema");
    }
    let again = play.run("cluster.yml", &["-e", "mm_tools_to=10.5.14"]).good();
    assert_eq!((again.count("one", "changed"), again.count("two", "changed")), (0, 0), "{}", again.said);
    let limited = play.run("cluster.yml", &["-e", "mm_tools_to=10.5.14", "--limit", "one"]);
    assert!(limited.code == Some(2) && limited.said.contains("Without --limit"), "{}", limited.said);
}

#[test]
fn the_other_nodes_serve_again_when_the_first_one_fails() {
    let play = Play::of(&[quick("9.11.18"), quick("10.5.14").fault("crash-at-start")]);
    let node = play.second_node();
    let failed = play.run("cluster.yml", &["-e", "mm_tools_to=10.5.14"]);
    assert_eq!(failed.code, Some(2), "{}", failed.said);
    assert!(failed.said.contains("9.11.18 to 10.5.14: mm-swap: ") && failed.said.contains(". Next: "));
    assert_eq!((failed.count("one", "failed"), failed.count("two", "failed")), (1, 0), "{}", failed.said);
    assert_eq!(play.site.running_version().as_deref(), Some("9.11.18"), "{}", failed.said);
    assert_eq!(node.running_version().as_deref(), Some("9.11.18"), "{}", failed.said);
}

#[test]
fn the_nodes_of_a_cluster_are_upgraded_in_turn_when_the_schema_stays() {
    let play = Play::of(&[quick("10.5.6"), quick("10.5.14")]);
    let node = play.second_node();
    let (recap, seen) =
        watched([play.site.port, node.port], || play.run("cluster.yml", &["-e", "mm_tools_to=10.5.14"]));
    let recap = recap.good();
    assert!(recap.said.contains("One node after the other"), "{}", recap.said);
    let of = |version: Option<String>| version.as_deref() == Some("10.5.14");
    assert!(of(play.site.running_version()) && of(node.running_version()), "{}", recap.said);
    assert!(seen.iter().all(|look| look.iter().any(Option::is_some)), "nobody served at some moment: {}", recap.said);
}
