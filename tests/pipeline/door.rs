//! What was cut off comes first: each verb of each tool beside each kind of open journal, and then the command that all of
//! them name, as it is printed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use mm_test_support::cluster::Cluster;
use mm_test_support::pipeline::{self, hop, plan};
use mm_test_support::release::Release;
use mm_test_support::site::{Releases, Site, quick};
use mm_test_support::{process, tool};
use serde_json::Value;

const FROM: &str = "10.5.14";
const TO: &str = "10.6.1";

/// What a verb does beside the journal of another tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// Refused (5), with the command.
    Refuses,
    /// A failed check (4), with the command.
    Fails,
    /// It only looks (0), and names the command.
    Names,
    /// It only looks (0), and at nothing that could be half-made.
    Looks,
}

use Answer::{Fails, Looks, Names, Refuses};

/// All verbs that concern an installation, with the words that `Door::words` fills in. `mm-fetch` fills its cache, and
/// `mm-backup copy` makes something elsewhere.
const VERBS: &[(&str, &[&str], Answer)] = &[
    ("mm-path", &["--to", TO], Refuses),
    ("mm-path", &["--to", TO, "--check"], Refuses),
    ("mm-path", &["--status"], Names),
    ("mm-path", &["--resume"], Refuses),
    ("mm-path", &["--close"], Refuses),
    ("mm-backup", &["create"], Refuses),
    ("mm-backup", &["complete"], Refuses),
    ("mm-backup", &["list"], Names),
    ("mm-backup", &["verify"], Looks),
    ("mm-backup", &["restore", "ID", "--files"], Refuses),
    ("mm-backup", &["restore", "ID", "--database"], Refuses),
    ("mm-backup", &["restore", "--run", "last"], Refuses),
    ("mm-backup", &["export"], Looks),
    ("mm-backup", &["unpin", "ID"], Refuses),
    ("mm-backup", &["prune", "--keep-last", "1"], Refuses),
    ("mm-backup", &["recover"], Names),
    ("mm-swap", &["stage", "--archive", "ARCHIVE"], Refuses),
    ("mm-swap", &["run", "--no-backup", "--archive", "ARCHIVE"], Refuses),
    ("mm-swap", &["rollback", "--database"], Refuses),
    ("mm-swap", &["recover"], Names),
    ("mm-swap", &["publish"], Refuses),
    ("mm-swap", &["status"], Names),
    ("mm-swap", &["prune"], Refuses),
    ("mm-pgbump", &["run", "--to", "15", "--no-backup"], Refuses),
    ("mm-pgbump", &["check"], Fails),
    ("mm-pgbump", &["check", "--target", "TARGET"], Fails),
    ("mm-pgbump", &["move", "--target", "TARGET"], Refuses),
    ("mm-pgbump", &["recover"], Names),
    ("mm-pgbump", &["rollback"], Refuses),
    ("mm-pgbump", &["drop-old", "--force"], Refuses),
    ("mm-verify", &["run", "--browser", "no"], Fails),
    ("mm-verify", &["baseline", "--browser", "no"], Refuses),
    ("mm-verify", &["repair", "--fix", "all"], Refuses),
];

/// Those of mm-swap that end or tell its own.
const OF_SWAP: [(&str, &str); 5] = [
    ("mm-swap", "run"),
    ("mm-swap", "rollback"),
    ("mm-swap", "recover"),
    ("mm-swap", "publish"),
    ("mm-swap", "status"),
];

/// A site with a restore point, a run that has begun, and something that was cut off.
struct Door {
    site: Site,
    releases: Releases,
    archive: PathBuf,
    point: String,
    target: PathBuf,
}

impl Door {
    fn new() -> Self {
        let site = Site::builder(FROM).build();
        let built: Vec<Release> = [FROM, TO].iter().map(|version| quick(version).build()).collect();
        let archive = built[1].tarball.clone();
        let releases = site.releases(&built);
        let document = plan(&site, &releases, &["--to", TO]);
        let fetch = hop(&site, &releases).split(" | ").next().unwrap().to_owned();
        pipeline::run(&fetch, &document).good();
        let made = site.tool("mm-backup").arg("--to").arg(site.store()).assert().success();
        let made: Value = serde_json::from_slice(&made.get_output().stdout).unwrap();
        let point = made["backup"]["id"].as_str().unwrap().to_owned();
        let target = site.directory().join("target");
        Self { site, releases, archive, point, target }.aimed_at("postgres://nobody:geheim@127.0.0.1:1/none")
    }

    fn aimed_at(self, url: &str) -> Self {
        fs::write(&self.target, url).unwrap();
        fs::set_permissions(&self.target, fs::Permissions::from_mode(0o600)).unwrap();
        self
    }

    fn run(&self, tool: &str, words: &[&str], checkpoint: &str) -> Output {
        let mut command = self.site.tool(tool);
        for word in words {
            match *word {
                "ID" => command.arg(&self.point),
                "ARCHIVE" => command.arg(&self.archive),
                "TARGET" => command.arg(&self.target),
                word => command.arg(word),
            };
        }
        if tool == "mm-backup" {
            command.arg("--to").arg(self.site.store());
        }
        if tool == "mm-path" {
            command.arg("--catalogue").arg(&self.releases.catalogue);
        }
        if !checkpoint.is_empty() {
            command.env("MM_CHECKPOINT", checkpoint);
        }
        command.output().unwrap()
    }

    /// A tool is killed at a checkpoint.
    fn dies(&self, tool: &str, words: &[&str], checkpoint: &str) {
        let output = self.run(tool, words, checkpoint);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), Some(9), "{tool} {words:?} was to die at `{checkpoint}`: {said}");
    }

    /// Everything that a verb could change.
    fn describe(&self) -> String {
        let places = format!(
            "{0}/opt {1} {2}",
            self.site.directory().display(),
            self.site.store().display(),
            self.site.state().display()
        );
        // The lock is taken, each tool of a run puts its document there, and which version an executable says is kept.
        let names = "-name lock -o -name executable.json -o -name runs -prune -o -name verify -prune -o -type f -printf '%p %i %s %T@ %u %m\n' -o -type d -printf '%p\n'";
        process::run("sh", &["-c", &format!("find {places} {names} | sort")])
    }

    fn journals(&self) -> Vec<String> {
        let names = process::run(
            "sh",
            &["-c", &format!("cd {} && ls */*.journal 2>/dev/null || true", self.site.state().display())],
        );
        names.lines().map(|path| Path::new(path).file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    }

    /// Walks all verbs but those that end the journal by themselves, which are `own`; then the command that they have named
    /// runs, and nothing is open any more. `recovers` is the tool of that command; `part` is one that has worked for it.
    fn walk(&self, recovers: &str, own: &[(&str, &str)], part: Option<&str>) {
        let open = self.journals();
        let before = self.describe();
        let state = self.site.state();
        let command =
            format!("{recovers} recover --install {} --state-dir {}", self.site.install().display(), state.display());
        for (tool, words, answer) in VERBS {
            if own.contains(&(tool, words[0])) {
                continue;
            }
            // What another tool is ended in is nothing that this one ends.
            let answer = if part == Some(*tool) && words[0] == "recover" { Refuses } else { *answer };
            let output = self.run(tool, words, "");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            let what = format!("{tool} {words:?} beside {open:?}: {said}{told}");
            let code = match answer {
                Refuses => 5,
                Fails => 4,
                Names | Looks => 0,
            };
            assert_eq!(output.status.code(), Some(code), "{what}");
            let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            match answer {
                // With the service manager, where the verb was called with one.
                Refuses => {
                    let hint = document["error"]["hint"].as_str().unwrap_or_default();
                    assert!(hint == command || hint == format!("{command} --service exec"), "{what}: {hint}");
                }
                Fails | Names => assert!(told.contains(&command) || said.contains(&command), "{what}"),
                Looks => {}
            }
            let after = self.describe();
            let other = after.lines().filter(|line| !before.lines().any(|then| then == *line)).collect::<Vec<_>>();
            assert!(before == after, "{tool} {words:?} has changed something: {other:?}");
        }
        let ended = tool::shell(&format!("{command} --service exec </dev/null")).output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{command}: {}", String::from_utf8_lossy(&ended.stderr));
        assert_eq!(self.journals(), Vec::<String>::new());
        for tool in ["mm-swap", "mm-pgbump", "mm-backup"] {
            let output = self.run(tool, &["recover"], "");
            let document: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(
                (output.status.code(), &document["msg"]),
                (Some(0), &"nothing was interrupted".into()),
                "{tool}"
            );
        }
    }

    /// A swap that has migrated the database is being undone, and nothing has been put back yet.
    fn undoing(&self) {
        let document = plan(&self.site, &self.releases, &["--to", TO]);
        pipeline::run(&hop(&self.site, &self.releases), &document);
        assert_eq!(self.site.running_version().as_deref(), Some(TO));
        self.dies("mm-swap", &["rollback", "--database"], "undo-config");
    }

    /// A tool is killed that has the lock of mm-swap, as one has that mm-swap has started.
    fn dies_asked(&self, command: &str, checkpoint: &str) {
        let state = process::run("sh", &["-c", &format!("echo {}/*/lock", self.site.state().display())]);
        let flags = self.site.flags().join(" ");
        let script = format!("exec {command} --document none {flags} <{}", state.trim());
        let output = tool::shell(&script).env("MM_CHECKPOINT", checkpoint).output().unwrap();
        assert_eq!(output.status.signal(), Some(9), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn beside_a_restore_that_was_cut_off() {
    let door = Door::new();
    fs::write(door.site.install().join("NOTICE.txt"), "changed").unwrap();
    door.dies("mm-backup", &["restore", "ID"], "restore-moved");
    assert_eq!(door.journals(), ["restore"]);
    door.walk("mm-backup", &[("mm-backup", "restore"), ("mm-backup", "recover")], None);
    let notice = fs::read_to_string(door.site.install().join("NOTICE.txt")).unwrap();
    assert_eq!(notice, "changed", "it was undone, and not begun again");
}

#[test]
fn beside_a_swap_that_was_cut_off() {
    let door = Door::new();
    door.dies("mm-swap", &["run", "--no-backup", "--archive", "ARCHIVE"], "exchanged");
    assert_eq!(door.journals(), ["swap"]);
    door.walk("mm-swap", &OF_SWAP, None);
    assert_eq!(door.site.counts()["posts"], 100);
}

#[test]
fn beside_an_upgrade_of_postgresql_that_was_cut_off() {
    let door = Door::new();
    let history = door.site.history();
    door.dies("mm-pgbump", &["run", "--to", "15", "--no-backup"], "proving");
    assert_eq!(door.journals(), ["pgbump"]);
    door.walk("mm-pgbump", &["run", "rollback", "recover"].map(|verb| ("mm-pgbump", verb)), None);
    assert_eq!(door.site.history(), history);
}

#[test]
fn beside_a_move_that_was_cut_off() {
    let target = Cluster::create(15);
    let door = Door::new().aimed_at(&target.url());
    let history = door.site.history();
    door.dies("mm-pgbump", &["move", "--target", "TARGET"], "move-restored");
    assert_eq!(door.journals(), ["pgmove"]);
    door.walk("mm-pgbump", &["move", "rollback", "recover"].map(|verb| ("mm-pgbump", verb)), None);
    assert_eq!(door.site.history(), history);
}

/// What mm-swap has asked for is ended by mm-swap, and by nobody else.
#[test]
fn beside_a_restore_that_a_swap_had_asked_for() {
    let door = Door::new();
    door.site.start();
    let history = door.site.history();
    door.undoing();
    let document = door.run("mm-swap", &["status"], "");
    let document: Value = serde_json::from_slice(&document.stdout).unwrap();
    assert!(document["status"]["interrupted"].is_string(), "{document}");
    let points = process::run("ls", &[door.site.store().to_str().unwrap()]);
    let point = points.lines().filter(|name| name.starts_with("20")).max().unwrap().to_owned();
    let restore = format!("mm-backup restore {point} --database --to {}", door.site.store().display());
    door.dies_asked(&restore, "restore-moved");
    assert_eq!(door.journals(), ["restore", "swap"]);
    door.walk("mm-swap", &OF_SWAP, Some("mm-backup"));
    assert_eq!(door.site.running_version().as_deref(), Some(FROM));
    assert_eq!(door.site.history(), history);
}
