//! The upgrade on a private copy: `scripts/mm-rehearse`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use mm_test_support::cluster;
use mm_test_support::release::{Order, Release};
use mm_test_support::site::{Releases, Site, quick};
use mm_test_support::watchdog::Cleanup;
use mm_test_support::{process, tool};
use serde_json::{Value, json};

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts");

/// A running site with a restore point and its releases.
struct Rehearsal {
    site: Site,
    releases: Releases,
}

impl Rehearsal {
    fn of(versions: &[Order]) -> Self {
        let site = Site::builder(&versions[0].version).running().build();
        let built: Vec<Release> = versions.iter().map(Order::build).collect();
        let releases = site.releases(&built);
        site.tool("mm-backup").arg("--to").arg(site.store()).assert().success();
        Self { site, releases }
    }

    fn work(&self) -> PathBuf {
        self.site.directory().join("rehearsal")
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.run_in(&self.work(), arguments)
    }

    fn run_in(&self, work: &Path, arguments: &[&str]) -> Output {
        let mut command = tool::shell(&format!("{SCRIPTS}/mm-rehearse \"$@\""));
        command.arg("mm-rehearse");
        let mut flag = |tool: &str, flag: String| {
            command.args(["--flag", &format!("{tool}={flag}")]);
        };
        for tool in ["mm-path", "mm-fetch"] {
            flag(tool, format!("--catalogue={}", self.releases.catalogue.display()));
        }
        flag("mm-fetch", format!("--mirror={}", self.releases.site.url()));
        flag("mm-fetch", format!("--cache={}", self.site.cache().display()));
        flag("mm-verify", "--browser=no".into());
        flag("mm-swap", "--start-timeout=20".into());
        command.args(["--store", self.site.store().to_str().unwrap()]);
        command.args(["--work", work.to_str().unwrap(), "--to", "10.6.1"]).args(arguments).output().unwrap()
    }

    fn result(&self) -> Value {
        serde_json::from_slice(&fs::read(self.work().join("rehearsal.json")).unwrap()).unwrap()
    }

    /// All of the server that a rehearsal may not touch. Logs are the server's own to write.
    fn production(&self) -> Vec<String> {
        let site = &self.site;
        let find = |directory: PathBuf, changed: &str| {
            let print = ["-path", "*/logs*", "-prune", "-o", "-printf", &format!("%p %i %s %m %U %T@ {changed}\\n")];
            let output = process::run("find", &[&[directory.to_str().unwrap()][..], &print].concat());
            let mut lines: Vec<&str> = output.lines().collect();
            lines.sort_unstable();
            lines.join("\n")
        };
        vec![
            find(site.install(), "%C@"),
            // A dump is lent to the user that reads it, by its group, and is as before afterwards.
            find(site.store(), "%G"),
            format!(
                "{:?} {:?}",
                site.pids().into_iter().filter(|pid| self.is_production(*pid)).collect::<Vec<_>>(),
                site.answers()
            ),
            site.history(),
            format!("{:?}", site.counts()),
            site.cluster.sql("postgres", "SELECT datname FROM pg_database ORDER BY 1"),
            site.cluster.sql("postgres", "SELECT rolname, rolpassword FROM pg_authid ORDER BY 1"),
            format!("{:?}", site.cluster.all_of_this_name()),
        ]
    }

    fn is_production(&self, pid: i32) -> bool {
        fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|path| path.starts_with(self.site.install()))
    }

    /// What of a copy is still there.
    fn left_over(&self) -> Vec<PathBuf> {
        let names = ["cluster", "copy", "points", "state"].map(|name| self.work().join(name));
        names.into_iter().filter(|path| path.exists()).collect()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn cluster_in(said: &str) -> String {
    let (_, rest) = said.split_once("making a cluster ").unwrap_or_else(|| panic!("no cluster in: {said}"));
    rest.split(' ').next().unwrap().split_once('/').unwrap().1.to_owned()
}

fn is_gone(name: &str) -> bool {
    mm_test_support::cluster::majors_of(name).is_empty()
}

#[test]
fn a_rehearsal_measures_every_hop_and_touches_nothing() {
    let rehearsal = Rehearsal::of(&[quick("9.11.18"), quick("10.5.14"), quick("10.6.1")]);
    // A link of the administrator's that leads out of the tree leads to the copy of what it names, or to nothing.
    std::os::unix::fs::symlink(
        rehearsal.site.directory().join("console.log"),
        rehearsal.site.install().join("custom/outside"),
    )
    .unwrap();
    // Nodes that serve when the restore point is made are none of the copy's.
    rehearsal.site.cluster.sql(
        "mattermost",
        "INSERT INTO clusterdiscovery (id, hostname, lastpingat) \
         SELECT 'i' || n, 'node' || n, (extract(epoch FROM now()) * 1000)::bigint FROM generate_series(1, 2) n",
    );
    rehearsal.site.tool("mm-backup").arg("--to").arg(rehearsal.site.store()).assert().success();
    let before = rehearsal.production();
    let output = rehearsal.run(&["--postgres", "15"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(rehearsal.production(), before);
    // The upgrade is the one that was rehearsed.
    let end = said(&output);
    let end = end.lines().next_back().unwrap_or_default();
    let same = [" --to 10.6.1 ", " --postgres 15 ", " --flag ", " --rehearsal "];
    assert!(same.iter().all(|words| end.contains(words)), "{end}");
    assert!(is_gone(&cluster_in(&said(&output))), "{}", said(&output));
    assert_eq!(rehearsal.left_over(), Vec::<PathBuf>::new());

    let result = rehearsal.result();
    let result = &result["rehearsal"];
    assert_eq!((&result["verdict"], &result["failure"]), (&json!("passes"), &Value::Null));
    let done = result["done"].as_array().unwrap();
    assert_eq!(done.len(), 2);
    assert!(done.iter().any(|hop| hop["pgbump"]["needed"] == true), "the database went to PostgreSQL 15 as well");
    assert!(done.iter().all(|hop| hop["seconds"].as_f64().unwrap() > 0.0), "{done:?}");
    for part in ["restore_points", "releases", "clusters"] {
        assert!(result["bytes"][part].as_u64().unwrap() > 1_000_000, "{}", result["bytes"]);
    }
    let report = fs::read_to_string(rehearsal.work().join("rehearsal.md")).unwrap();
    assert!(
        report.starts_with("# Rehearsal: Mattermost 9.11.18 to 10.6.1\n") && report.contains("| Outcome | passes |"),
        "{report}"
    );
    assert!(!report.contains("mm-backup restore"), "its restore points are gone: {report}");
    assert!(!result.to_string().contains(cluster::TELLTALE), "a password");
}

#[test]
fn a_rehearsal_says_which_hop_will_fail_and_why() {
    let versions = [quick("9.5.14"), quick("9.11.18"), quick("10.5.14"), quick("10.6.1").fault("crash-at-start")];
    let rehearsal = Rehearsal::of(&versions);
    let before = rehearsal.production();
    let output = rehearsal.run(&[]);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(said(&output).contains("will fail at hop 3, 10.5.14 to 10.6.1"), "{}", said(&output));
    assert_eq!(rehearsal.production(), before);
    assert!(is_gone(&cluster_in(&said(&output))), "{}", said(&output));
    assert_eq!(rehearsal.left_over(), Vec::<PathBuf>::new());
    let result = rehearsal.result();
    let result = &result["rehearsal"];
    assert_eq!((&result["verdict"], &result["failure"]["hop"]), (&json!("fails"), &json!(3)));
    assert_eq!(result["failure"]["error"]["tool"], "mm-swap", "{}", result["failure"]);
    assert!(!result["failure"]["error"]["causes"].as_array().unwrap().is_empty(), "{}", result["failure"]);
    assert_eq!(result["done"].as_array().unwrap().len(), 2, "the hops before it are measured");
    let report = fs::read_to_string(rehearsal.work().join("rehearsal.md")).unwrap();
    assert!(report.contains("## What stopped it"), "{report}");
}

#[test]
fn what_shares_the_cluster_is_rehearsed_with_it_and_so_is_another_edition() {
    let mut enterprise = quick("10.6.1");
    enterprise.edition = "enterprise".into();
    let rehearsal = Rehearsal::of(&[quick("10.5.14"), enterprise]);
    let site = &rehearsal.site;
    let shared = "their 'odd' wiki";
    site.cluster.sql("postgres", &format!("CREATE ROLE librarian LOGIN; CREATE DATABASE \"{shared}\" OWNER librarian"));
    let fill = "CREATE TABLE pages AS SELECT n FROM generate_series(1, 300) n; ALTER TABLE pages OWNER TO librarian";
    site.cluster.sql(shared, fill);
    let wish = ["--postgres", "15", "--edition", "enterprise"];
    let agreed = [&wish[..], &["--shared-cluster"]].concat();
    let output = rehearsal.run(&agreed);
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert!(said(&output).contains("mm-backup --whole-cluster"), "{}", said(&output));

    site.tool("mm-backup").arg("--to").arg(site.store()).arg("--whole-cluster").assert().success();
    let before = rehearsal.production();
    let output = rehearsal.run(&wish);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(
        said(&output).contains("will not begin") && said(&output).contains("--shared-cluster"),
        "{}",
        said(&output)
    );
    let result = rehearsal.result();
    let failure = &result["rehearsal"]["failure"];
    assert_eq!((&failure["hop"], &failure["error"]["tool"]), (&Value::Null, &json!("mm-pgbump")), "{failure}");

    let output = rehearsal.run(&agreed);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(rehearsal.production(), before);
    assert!(is_gone(&cluster_in(&said(&output))), "{}", said(&output));
    let done = rehearsal.result()["rehearsal"]["done"].clone();
    assert_eq!(done[0]["hop"]["edition"], "enterprise", "{}", done[0]["hop"]);
    assert!(done[0]["backup"]["databases"].as_array().unwrap().contains(&json!(shared)), "{}", done[0]["backup"]);
    assert_eq!(done[0]["pgbump"]["proof"]["equal"], true, "{}", done[0]["pgbump"]["proof"]);
}

/// Moves the configuration into `database`, and leaves a file that is out of date.
fn keep_configuration_in(site: &Site, database: &str) {
    let mut config = site.config();
    config["TeamSettings"]["SiteName"] = json!("from the database");
    let rows = format!(
        "CREATE TABLE configurations (id varchar(26) PRIMARY KEY, value text NOT NULL, createat bigint NOT NULL, active boolean UNIQUE);
         INSERT INTO configurations VALUES ('{}', '{}', 1, NULL), ('{}', '{}', 2, true);
         ALTER TABLE configurations OWNER TO mmuser",
        "a".repeat(26),
        "{}",
        "b".repeat(26),
        config.to_string().replace('\'', "''")
    );
    site.cluster.sql(database, &rows);
    site.set("TeamSettings", "SiteName", json!("out of date"));
    let url = site.cluster.url().replace("/mattermost?", &format!("/{database}?"));
    fs::write(site.install().join("config/mattermost.environment"), format!("MM_CONFIG={url}\n")).unwrap();
}

#[test]
fn a_configuration_in_a_database_is_rehearsed_from_a_file_of_the_copy() {
    let rehearsal = Rehearsal::of(&[quick("10.5.14"), quick("10.6.1")]);
    let site = &rehearsal.site;
    let run = |database: &str| {
        keep_configuration_in(site, database);
        site.tool("mm-backup").arg("--to").arg(site.store()).assert().success();
        let before = rehearsal.production();
        let output = rehearsal.run(&["--keep"]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert_eq!(rehearsal.production(), before);
        let copy = rehearsal.work().join("copy/files").join(site.install().strip_prefix("/").unwrap());
        let config: Value = serde_json::from_slice(&fs::read(copy.join("config/config.json")).unwrap()).unwrap();
        assert_eq!(config["TeamSettings"]["SiteName"], "from the database");
        let name = cluster_in(&said(&output));
        Cleanup::with(format!("{}; rm -rf /var/lib/mm-tools/copies/{name}", cluster::removal(&name)))
    };
    let _own = run("mattermost");
    site.cluster.sql("mattermost", "DROP TABLE configurations");
    site.cluster.sql("postgres", "CREATE DATABASE settings OWNER mmuser");
    let _another = run("settings");
}

#[test]
fn what_is_rehearsed_is_the_newest_point_of_what_is_installed() {
    let rehearsal = Rehearsal::of(&[quick("10.5.14"), quick("10.6.1")]);
    // Such a point is the newest one after an upgrade that was rolled back.
    let store = rehearsal.site.store();
    let forged = format!(
        "cd {} && id=$(ls -d 2*) && cp -a $id $id-later && \
         sed -i -e \"0,/$id/s//$id-later/\" -e '0,/10.5.14/s//10.6.1/' \
             -e '0,/\"created\": \"[^\"]*\"/s//\"created\": \"2999-01-01T00:00:00Z\"/' $id-later/manifest.json && \
         cd $id-later && sha256sum manifest.json >manifest.json.sha256",
        store.display()
    );
    process::run("bash", &["-ec", &forged]);
    let points = process::run("bash", &["-c", &format!("ls {}", store.display())]);
    let installed = points.lines().find(|name| name.starts_with('2') && !name.ends_with("-later")).unwrap().to_owned();
    // It holds no other database: nothing is built.
    let output = rehearsal.run(&["--shared-cluster"]);
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    let begins = format!("rehearsing restore point {installed} (10.5.14 team, ");
    assert!(said(&output).contains(&begins), "{}", said(&output));
    let output = rehearsal.run(&["--shared-cluster", "--point", "latest"]);
    assert!(said(&output).contains(&format!("restore point {installed}-later (10.6.1 team")), "{}", said(&output));
    fs::remove_dir_all(store.join(&installed)).unwrap();
    let output = rehearsal.run(&[]);
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert!(said(&output).contains("no restore point of 10.5.14 team, database mattermost"), "{}", said(&output));
}

#[test]
fn what_a_killed_rehearsal_left_is_removed_by_the_next_one() {
    let rehearsal = Rehearsal::of(&[quick("10.5.14"), quick("10.6.1")]);
    // What a kill leaves: the name, the cluster, files.
    let name = format!("mmrehearse{}", 4_000_000_000_u32 + std::process::id());
    let _cleanup = Cleanup::with(cluster::removal(&name));
    fs::create_dir_all(rehearsal.work().join("copy/files")).unwrap();
    fs::write(rehearsal.work().join("cluster"), &name).unwrap();
    process::run("pg_createcluster", &[&format!("--port={}", process::free_port()), "13", &name, "--", "--no-sync"]);
    assert!(!is_gone(&name));
    let before = rehearsal.production();
    // A restore point that is not there: nothing is built, what was left goes all the same.
    let output = rehearsal.run(&["--point", "nonsense"]);
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert!(is_gone(&name), "{}", said(&output));
    assert_eq!(rehearsal.left_over(), Vec::<PathBuf>::new());
    assert_eq!(rehearsal.production(), before);

    // Nothing but names of a rehearsal is removed, and no mode of a directory of others is changed for the worse.
    let shared = rehearsal.site.directory().join("shared");
    fs::create_dir_all(shared.join("run")).unwrap();
    let elsewhere = |work: &Path| rehearsal.run_in(work, &["--point", "nonsense"]);
    process::run("chmod", &["1777", shared.to_str().unwrap()]);
    let output = elsewhere(&shared);
    assert!(output.status.code() == Some(5) && said(&output).contains("others than root"), "{}", said(&output));
    process::run("chmod", &["755", shared.to_str().unwrap()]);
    let output = elsewhere(&shared);
    assert!(output.status.code() == Some(5) && said(&output).contains("is of no rehearsal"), "{}", said(&output));
    fs::remove_dir(shared.join("run")).unwrap();
    let output = elsewhere(&shared);
    assert!(output.status.code() == Some(5) && said(&output).contains("no restore point"), "{}", said(&output));
    assert_eq!(fs::metadata(&shared).unwrap().permissions().mode() & 0o7777, 0o755);
    // Where the copy could not get to its files it is not even made.
    let closed = rehearsal.site.directory().join("closed");
    fs::create_dir(&closed).unwrap();
    process::run("chmod", &["700", closed.to_str().unwrap()]);
    let output = rehearsal.run_in(&closed.join("rehearsal"), &[]);
    assert!(output.status.code() == Some(5) && said(&output).contains("does not let the user"), "{}", said(&output));

    let held = fs::File::options().create(true).append(true).open(rehearsal.work().join("lock")).unwrap();
    held.lock().unwrap();
    assert_eq!(rehearsal.run(&[]).status.code(), Some(75));
    assert_eq!(rehearsal.run(&["--nonsense"]).status.code(), Some(2));
}
