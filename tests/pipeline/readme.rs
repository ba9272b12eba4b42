//! Every example of the README, run as it stands there, but for the places it names.
//!
//! A fenced block of the README is a picture (`text`) or an example, with `<!-- example: ID -->` before it. The tools are
//! called through small scripts that confine them to a throw-away server.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use mm_test_support::cluster::Cluster;
use mm_test_support::release::Release;
use mm_test_support::site::{Releases, Site, quick};
use mm_test_support::{process, tool};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// In the order in which they are run, by the tests below.
const UPGRADE: [&str; 8] =
    ["look", "restore-point", "rehearse", "upgrade", "resume", "report", "clean-up", "alone-pgbump"];
const HOPS: [&str; 11] = [
    "bundle",
    "hop",
    "back",
    "alone-verify",
    "alone-backup",
    "cron",
    "ansible",
    "alone-swap",
    "loop",
    "postgres",
    "move",
];
const OTHERS: [&str; 4] = ["install", "alone-path", "alone-fetch", "announce"];

/// Run on booted hosts, by `scripts/test-host`.
const ON_HOSTS: [&str; 5] = ["package", "tarball", "upgrade-package", "remove-package", "remove-tarball"];

/// The examples by their names.
fn examples() -> BTreeMap<String, String> {
    let text = fs::read_to_string(Path::new(REPOSITORY).join("README.md")).unwrap();
    let mut examples = BTreeMap::new();
    let (mut name, mut block): (Option<String>, Option<(usize, String)>) = (None, None);
    for (number, line) in text.lines().enumerate() {
        let bare = line.trim_start();
        if let Some((indent, body)) = &mut block {
            if bare == "```" {
                let body = std::mem::take(body);
                block = None;
                if let Some(name) = name.take() {
                    assert!(examples.insert(name.clone(), body).is_none(), "two examples are called {name}");
                }
            } else {
                body.push_str(line.get(*indent..).unwrap_or_default());
                body.push('\n');
            }
        } else if let Some(language) = bare.strip_prefix("```") {
            assert!(language == "text" || name.is_some(), "line {}: an example without a name", number + 1);
            assert!(language != "text" || name.is_none(), "line {}: a picture is not run", number + 1);
            block = Some((line.len() - bare.len(), String::new()));
        } else if let Some(comment) = bare.strip_prefix("<!-- example: ") {
            name = Some(comment.trim_end_matches(" -->").to_owned());
        } else if !bare.is_empty() {
            assert!(name.is_none(), "line {}: the example {name:?} has no block", number + 1);
        }
    }
    examples
}

/// A throw-away server, and what the examples find in their PATH.
struct Reader {
    site: Site,
    releases: Releases,
    examples: BTreeMap<String, String>,
}

impl Reader {
    fn of(versions: &[&str]) -> Self {
        let site = Site::builder(versions[0]).running().build();
        let built: Vec<Release> = versions.iter().map(|version| quick(version).build()).collect();
        let releases = site.releases(&built);
        let reader = Self { site, releases, examples: examples() };
        fs::create_dir(reader.shims()).unwrap();
        fs::create_dir_all(reader.site.directory().join("node_exporter")).unwrap();
        reader.write_shims();
        reader
    }

    fn shims(&self) -> PathBuf {
        self.site.directory().join("shims")
    }

    fn write_shims(&self) {
        let site = &self.site;
        let state = format!(
            "case \" $* \" in *' --state-dir'*) ;; *) set -- \"$@\" --state-dir '{}' ;; esac",
            site.state().display()
        );
        let service = "case \" $* \" in *' --service'*) ;; *) set -- \"$@\" --service exec ;; esac";
        let catalogue = format!("--catalogue '{}'", self.releases.catalogue.display());
        let cache =
            format!("case \" $* \" in *' --cache'*) ;; *) set -- \"$@\" --cache '{}' ;; esac", site.cache().display());
        for name in tool::TOOLS {
            let more = match name {
                "mm-path" => format!(
                    "case \" $* \" in *' --from'*) exec {} \"$@\" ;; esac; set -- \"$@\" {catalogue}",
                    tool::executable(name).display()
                ),
                "mm-fetch" => format!(
                    "set -- \"$@\" {catalogue}; case \" $* \" in *' --from-bundle'*) ;; *) set -- \"$@\" --mirror '{}' ;; esac; {cache}",
                    self.releases.site.url()
                ),
                "mm-verify" => "set -- \"$@\" --browser no".to_owned(),
                _ => String::new(),
            };
            let tool = tool::executable(name).display().to_string();
            // The words that mm-upgrade was called with stand behind its own: nothing can be added there.
            let upgrade = format!(
                "case \" $* \" in *' --upgrade '*) MM_STATE_DIR='{}' MM_SERVICE=exec exec {tool} \"$@\" ;; esac",
                site.state().display()
            );
            self.shim(name, &format!("{upgrade}\n{state}\n{service}\n{more}\nexec {tool} \"$@\""));
        }
        let script = |name: &str| format!("exec {REPOSITORY}/scripts/{name} \"$@\"");
        self.shim("mm-report", &script("mm-report"));
        let work = site.directory().join("rehearsal");
        self.shim("mm-rehearse", &format!("{} --work '{}'", script("mm-rehearse"), work.display()));
        let runs = site.directory().join("runs");
        let root = format!("--install '{}' --watch 0", site.install().display());
        self.shim("mm-upgrade", &format!("case \" $* \" in *' --install'*) ;; *' run '*) set -- \"$@\" {root} ;; esac\ncase \" $* \" in *' --runs'*) ;; *) set -- \"$@\" --runs '{}' ;; esac\n{}", runs.display(), script("mm-upgrade")));
    }

    fn shim(&self, name: &str, script: &str) {
        let path = self.shims().join(name);
        fs::write(&path, format!("#!/bin/bash\n{script}\n")).unwrap();
        process::run("chmod", &["755", path.to_str().unwrap()]);
    }

    /// The example with places of this site instead of those that it names, and a window that is open now.
    fn text(&self, name: &str) -> String {
        let site = &self.site;
        let place = |below: &str| site.directory().join(below).to_str().unwrap().to_owned();
        self.examples[name]
            .replace("/opt/mattermost", site.install().to_str().unwrap())
            .replace("/srv/backup", site.store().to_str().unwrap())
            .replace("/var/cache/mm", &place("own-cache"))
            .replace("/var/lib/mm-tools/rehearsal", &place("rehearsal"))
            .replace("/var/lib/mm-tools/runs", &place("runs"))
            .replace("/var/lib/node_exporter", &place("node_exporter"))
            .replace("/run/backup.json", &place("backup.json"))
            .replace("/etc/mm-target", &place("target"))
            .replace("/srv/www", &place("www"))
            .replace("02:00-05:00", "00:00-00:00")
    }

    fn output(&self, script: &str) -> Output {
        let script =
            format!("PATH='{}':$PATH\ncd '{}'\n{script}", self.shims().display(), self.site.directory().display());
        tool::shell(&script).output().unwrap()
    }

    /// Runs an example of the shell, and gives what it prints.
    fn run(&self, name: &str) -> String {
        let output = self.output(&self.text(name));
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "the example {name}:\n{printed}{said}");
        printed
    }

    fn version(&self) -> Option<String> {
        self.site.running_version()
    }
}

#[test]
fn every_example_is_run_by_one_of_the_tests() {
    let mut run: Vec<&str> = UPGRADE.into_iter().chain(HOPS).chain(OTHERS).chain(ON_HOSTS).collect();
    run.sort_unstable();
    assert_eq!(examples().into_keys().collect::<Vec<_>>(), run);
    let hosts = ["acceptance", "short"].map(|part| Path::new(REPOSITORY).join("scripts/host.d").join(part));
    let hosts = hosts.map(|part| fs::read_to_string(part).unwrap()).concat();
    for name in ON_HOSTS {
        assert!(hosts.lines().any(|line| line.trim() == format!("example {name}")), "no host runs the example {name}");
    }
}

#[test]
fn the_upgrade_step_by_step() {
    let reader = Reader::of(&["10.5.14", "10.6.1"]);
    let file = |name: &str| fs::read_to_string(reader.site.directory().join(name)).unwrap();
    let history = reader.site.history();
    for name in UPGRADE {
        let printed = reader.run(name);
        match name {
            "look" => assert!(printed.contains("10.6.1") && printed.contains("PostgreSQL 15"), "{printed}"),
            "restore-point" => assert!(reader.site.store().is_dir()),
            "rehearse" => assert!(printed.contains("passes") || printed.contains("10.6.1"), "{printed}"),
            "upgrade" => assert_eq!(reader.version().as_deref(), Some("10.6.1")),
            "resume" => assert!(printed.contains("now      10.6.1"), "{printed}"),
            "report" => assert!(file("report.html").contains("<svg")),
            "clean-up" => assert_eq!(printed.matches("\"failed\": false").count(), 2, "{printed}"),
            "alone-pgbump" => assert!(printed.contains("15"), "{printed}"),
            other => panic!("nothing is known of {other}"),
        }
    }
    assert_eq!(reader.site.history(), history);
}

#[test]
fn single_hops_and_single_tools() {
    let reader = Reader::of(&["10.5.14", "10.6.1"]);
    let file = |name: &str| fs::read_to_string(reader.site.directory().join(name)).unwrap();
    let history = reader.site.history();
    for name in HOPS {
        match name {
            "cron" => cron(&reader),
            "ansible" => ansible(&reader),
            "back" => {
                assert_eq!(reader.version().as_deref(), Some("10.6.1"), "the hop");
                reader.run(name);
                assert_eq!(reader.version().as_deref(), Some("10.5.14"));
            }
            "alone-swap" => {
                let tarball = "mattermost-team-10.6.1-linux-amd64.tar.gz";
                let cached = process::run("find", &[reader.site.cache().to_str().unwrap(), "-name", tarball]);
                fs::copy(cached.trim(), reader.site.directory().join(tarball)).unwrap();
                let printed = reader.run(name);
                assert!(printed.contains("10.5.14 has given way to 10.6.1"), "{printed}");
                reader.run("back");
            }
            "loop" => {
                reader.run(name);
                assert!(file("report.json").contains("\"next\": null"), "{}", file("report.json"));
                assert_eq!(reader.version().as_deref(), Some("10.6.1"));
            }
            "alone-verify" => {
                reader.run(name);
                assert!(file("verify.xml").contains("<testsuite"));
            }
            "alone-backup" => assert!(reader.run(name).contains("restore point 20")),
            "bundle" => {
                reader.run(name);
                assert!(file("fetched.json").contains("10.6.1-linux"), "{}", file("fetched.json"));
            }
            "postgres" => {
                reader.run(name);
                assert!(reader.site.cluster.query("SHOW server_version").starts_with("15"));
                assert_eq!(reader.version().as_deref(), Some("10.6.1"));
            }
            "move" => {
                let target = Cluster::create(15);
                let place = reader.site.directory().join("target");
                fs::write(&place, target.url()).unwrap();
                process::run("chmod", &["600", place.to_str().unwrap()]);
                assert!(reader.run(name).contains("move-rights"));
                assert!(file("move.json").contains("is moved to"), "{}", file("move.json"));
                assert!(file("back.json").contains("again"), "{}", file("back.json"));
                assert_eq!(reader.version().as_deref(), Some("10.6.1"));
            }
            _ => {
                reader.run(name);
            }
        }
    }
    assert_eq!(reader.site.history(), history);
}

fn cron(reader: &Reader) {
    let table = reader.text("cron");
    assert_eq!(table.lines().count(), 3, "{table}");
    for line in table.lines() {
        // Five fields for the time, the user, the command.
        let (time, command) = line.split_once(" root   ").unwrap();
        assert_eq!(time.split_whitespace().count(), 5, "{line}");
        let output = reader.output(command);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), output.stdout.len(), said.as_str()), (Some(0), 0, ""), "{command}");
    }
    assert!(reader.site.directory().join("node_exporter/mattermost.prom").is_file());
}

fn ansible(reader: &Reader) {
    let tasks = reader.text("ansible").replace('\n', "\n    ");
    let play = format!("- hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks:\n    {tasks}\n");
    fs::write(reader.site.directory().join("play.yml"), play).unwrap();
    let script = "export HOME=$PWD LC_ALL=C.UTF-8; ansible-playbook -i localhost, -e ansible_python_interpreter=/usr/bin/python3 play.yml";
    let output = reader.output(script);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && printed.contains("ok=2    changed=1"), "{printed}");
}

#[test]
fn what_needs_no_server() {
    let reader = Reader::of(&["10.6.1"]);
    for name in OTHERS {
        match name {
            "install" => {
                let root = reader.site.directory().join("usr");
                let install = format!("{REPOSITORY}/scripts/install --prefix '{}' --binaries", root.display());
                let text = reader.text(name);
                // The programs are built already, as for every test.
                let text = text.replace("cargo build --release --workspace --bins", "true");
                let text = text.replace("scripts/install ", &format!("{install} '{}' ", tool::directory().display()));
                let output = reader.output(&text);
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                assert!(root.join("bin/mm-upgrade").is_file() && root.join("share/man/man7/mm-upgrade.7").is_file());
            }
            "announce" => {
                let page = reader.site.directory().join("www/maintenance");
                fs::create_dir(page.parent().unwrap()).unwrap();
                for (event, there) in [("begin", true), ("hop 10.5.14 10.6.1", true), ("done 10.6.1", false)] {
                    let output = reader.output(&format!("set -- {event}\n{}", reader.text(name)));
                    assert_eq!((output.status.code(), page.exists()), (Some(0), there), "{event}");
                }
            }
            "alone-path" => {
                let printed = reader.run(name);
                assert!(printed.lines().any(|line| line.starts_with("5.37.")), "{printed}");
                assert_eq!(printed.trim_end().lines().last(), Some("10.6.1"));
            }
            _ => assert!(reader.run(name).contains("mattermost/"), "the names in the tarball"),
        }
    }
}
