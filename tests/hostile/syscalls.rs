//! No verb of any tool goes by path where somebody else could lead it, asserted by `scripts/check-syscalls` from logs of
//! real runs as root: where the server's user owns the tree, and `postgres` the clusters.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use mm_test_support::cluster::Cluster;
use mm_test_support::process::{self, PATH, workspace};
use mm_test_support::site::{Site, quick};
use mm_test_support::tool::{PACE, executable};
use mm_test_support::watchdog::Cleanup;

const FROM: &str = "10.5.12";
const TO: &str = "10.5.14";

fn script() -> Command {
    let mut command = Command::new(workspace().join("scripts/check-syscalls"));
    command.env_clear().env("PATH", PATH).env(PACE.0, PACE.1).current_dir("/").stdin(Stdio::null());
    command
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs verbs one after the other, and gathers what their logs show.
struct Watched {
    site: Site,
    findings: String,
    logs: u32,
    _cleanup: Cleanup,
}

impl Watched {
    fn of(site: Site) -> Self {
        let removal = format!(
            "for n in $(cat {}/copy-*/copy.json 2>/dev/null | grep -o 'mmcopy[0-9a-f]*'); do \
             for d in /var/lib/postgresql/*/$n; do [ -d $d ] && pg_dropcluster --stop $(basename $(dirname $d)) $n; done; \
             rm -rf /var/lib/mm-tools/copies/$n; done",
            site.state().display()
        );
        Self { site, findings: String::new(), logs: 0, _cleanup: Cleanup::with(removal) }
    }

    /// What a verb says. It has to succeed, or nothing of what it does is seen.
    fn run(&mut self, tool: &str, words: &[&str]) -> String {
        let flags = self.site.flags();
        self.bare(tool, &[&flags.iter().map(String::as_str).collect::<Vec<_>>(), words].concat())
    }

    fn bare(&mut self, tool: &str, words: &[&str]) -> String {
        self.logs += 1;
        let log = self.site.directory().join(format!("calls-{}", self.logs));
        let output = script().arg("--record").arg(&log).arg("--").arg(executable(tool)).args(words).output().unwrap();
        let what = format!("{tool} {}", words.join(" "));
        if !output.status.success() {
            self.findings.extend([what.as_str(), ": ", &said(&output)]);
        }
        let judged = script().arg("--places").arg(&log).output().unwrap();
        match judged.status.code() {
            Some(0) => {}
            Some(1) => self.findings.extend([what.as_str(), "\n", &said(&judged)]),
            _ => panic!("{what}: {}", said(&judged)),
        }
        said(&output)
    }

    fn has_found_nothing(&self) {
        assert!(self.findings.is_empty(), "{}", self.findings);
    }
}

fn places(site: &Site, calls: &str) -> Output {
    let log = site.directory().join("doctored");
    std::fs::write(&log, calls).unwrap();
    script().arg("--places").arg(log).output().unwrap()
}

/// What the check is good for: each way to be led is told from the same call as it should be.
fn bites(site: &Site) {
    let root = text(&site.install());
    let name = format!("\"{root}/data/x\"");
    let (held, cases) = (
        format!("3<{root}>"),
        [
            (
                format!("openat(AT_FDCWD</>, {name}, O_WRONLY|O_CREAT|O_NOFOLLOW, 0600) = 4<{root}/data/x>"),
                "goes through data by name",
            ),
            (format!("chown(\"{root}/logs\", 0, 0) = 0"), "would follow logs"),
            (format!("fchmodat(AT_FDCWD</>, \"{root}/logs\", 0700) = 0"), "would follow logs"),
            (format!("unlink({name}) = 0"), "goes through data by name"),
            ("openat(HELD, \"new\", O_WRONLY|O_CREAT, 0600) = 4</x>".to_owned(), "would follow new"),
            ("renameat(HELD, \"a/b\", HELD, \"c\") = 0".to_owned(), "goes through a by name"),
            ("fchownat(HELD, \"data\", 0, 0, 0) = 0".to_owned(), "would follow data"),
        ],
    );
    for (call, finding) in cases {
        let output = places(site, &format!("1 {}\n", call.replace("HELD", &held)));
        let said = said(&output);
        assert!(output.status.code() == Some(1) && said.contains(finding), "{call}: {said}");
    }
    for call in [
        format!("openat(AT_FDCWD</>, \"{root}/new\", O_WRONLY|O_CREAT|O_EXCL, 0600) = 4<{root}/new>"),
        format!("openat({held}, \"new\", O_WRONLY|O_CREAT|O_NOFOLLOW, 0600) = 4<{root}/new>"),
        format!("fchownat({held}, \"data\", 0, 0, AT_SYMLINK_NOFOLLOW) = 0"),
        format!("fchmod({held}, 0700) = 0"),
        format!("openat(AT_FDCWD</>, {name}, O_RDONLY) = 4<{root}/data/x>"),
    ] {
        let output = places(site, &format!("1 {call}\n"));
        assert_eq!(output.status.code(), Some(0), "{call}: {}", said(&output));
    }
    let given = "1 mkdir(\"/nowhere/x\", 0700) = 0\n1 fchown(3</nowhere/x>, 33, 33) = 0\n\
                 1 chmod(\"/nowhere/x/y\", 0700) = 0\n";
    assert!(said(&places(site, given)).contains("would follow y"), "what was given away belongs to its user");
    assert_eq!(places(site, "").status.code(), Some(2), "an empty log proves nothing");
}

#[test]
fn a_call_that_others_could_lead_is_told_from_one_they_could_not() {
    bites(&Site::builder(FROM).build());
}

#[test]
#[ignore = "long: every verb under strace"]
fn no_verb_goes_by_path_where_the_servers_user_could_lead_it() {
    let site = Site::builder(FROM).running().build();
    let release = quick(TO).build();
    let releases = site.releases(std::slice::from_ref(&release));
    let (archive, catalogue) = (text(&release.tarball), text(&releases.catalogue));
    let (store, cache) = (text(&site.store()), text(&site.cache()));
    let directory = site.directory().to_owned();
    let place = |name: &str| text(&directory.join(name));
    let (into, copy, mirror) = (place("into"), place("copy"), text(&releases.directory));
    let mut watched = Watched::of(site);

    watched.run("mm-path", &["--to", TO, "--catalogue", &catalogue, "--check"]);
    watched.bare(
        "mm-fetch",
        &[TO, "--edition", "team", "--mirror", &mirror, "--catalogue", &catalogue, "--cache", &cache],
    );
    watched.run("mm-verify", &["baseline", "--browser", "auto"]);
    for words in [
        &["create", "--stop"][..],
        &["create"],
        &["list"],
        &["verify", "--restore"],
        &["export"],
        &["restore", "latest", "--files", "--into", &into],
        &["restore", "latest", "--stop"],
    ] {
        watched.run("mm-backup", &[&["--to", store.as_str()], words].concat());
    }
    let id = crate::adversary::pinned(Path::new(&store));
    for words in [&["unpin", &id][..], &["prune", "--keep-last", "1"]] {
        watched.run("mm-backup", &[&["--to", store.as_str()], words].concat());
    }
    // What a killed restore has left open.
    for checkpoint in ["restore-staged", "database-restored"] {
        let mut killed = watched.site.tool("mm-backup");
        killed.env("MM_CHECKPOINT", checkpoint).args(["--to", &store, "restore", "latest", "--stop"]);
        assert_eq!(killed.output().unwrap().status.code(), None, "{checkpoint} is not passed any more");
        watched.run("mm-backup", &["--to", &store, "recover"]);
    }
    let frozen = ["create", "--stop", "--freeze", "--accept", "rollback"];
    for words in [&frozen[..], &["complete"], &["restore", "latest", "--stop"]] {
        watched.run("mm-backup", &[&["--to", store.as_str()], words].concat());
    }
    let state = text(&watched.site.state());
    let page = place("releases.mdx");
    let table = "| **Release** | **Released on** | **Support ends** |\n|:---|:---|:---|\n| v12.90 | 2027-02-16 | 2027-05-15 |\n";
    std::fs::write(&page, table).unwrap();
    watched.bare("mm-fetch", &["refresh", "--from", &page, "--state-dir", &state]);
    for words in [&["--to", store.as_str(), "--into", &copy][..], &["--stop", &copy], &["--remove", &copy]] {
        watched.bare("mm-backup", &[&["copy", "--state-dir", &state], words].concat());
    }
    for words in [
        &["stage", "--archive", &archive][..],
        &["run", "--archive", &archive, "--no-backup", "--private"],
        &["status"],
        &["publish"],
        &["rollback"],
    ] {
        watched.run("mm-swap", words);
    }
    let mut killed = watched.site.tool("mm-swap");
    killed.env("MM_CHECKPOINT", "exchanged").args(["run", "--archive", &archive, "--no-backup"]);
    assert_eq!(killed.output().unwrap().status.code(), None, "the checkpoint is not passed any more");
    for words in [&["recover"][..], &["prune", "--keep", "0"]] {
        watched.run("mm-swap", words);
    }
    watched.site.cluster.query("UPDATE channels SET totalmsgcountroot = NULL");
    watched.run("mm-verify", &["repair", "--fix", "all"]);
    watched.run("mm-verify", &["run", "--browser", "no"]);
    watched.run("mm-verify", &["watch", "--for", "1s"]);
    watched.has_found_nothing();
}

#[test]
#[ignore = "long: every verb under strace"]
fn no_verb_goes_by_path_where_postgres_could_lead_it() {
    let mut watched = Watched::of(Site::builder(TO).running().build());
    for words in [
        &["check", "--to", "15"][..],
        &["run", "--to", "15", "--no-backup"],
        &["recover"],
        &["rollback"],
        &["run", "--to", "15", "--no-backup"],
        &["drop-old", "--force"],
    ] {
        watched.run("mm-pgbump", words);
    }
    let target = Cluster::create(15);
    let file = watched.site.directory().join("target");
    std::fs::write(&file, target.url()).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let file = text(&file);
    for words in [&["check", "--target", &file][..], &["move", "--target", &file], &["recover"], &["rollback"]] {
        watched.run("mm-pgbump", words);
    }
    process::wait_until("the server to answer", std::time::Duration::from_secs(60), || watched.site.answers());
    watched.has_found_nothing();
}
