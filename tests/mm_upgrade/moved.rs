//! The whole upgrade of a site whose database is in no cluster of this machine, or in `MariaDB`: it moves on the way, once, and
//! one command leads back to where it was.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use mm_test_support::cluster::{Cluster, TELLTALE};
use mm_test_support::mariadb::Mariadb;
use mm_test_support::process::run;
use mm_test_support::site::{Site, quick};
use mm_test_support::tool;
use mm_test_support::upgrade::Upgrade;
use serde_json::Value;

use crate::run::good;

/// A target's file for this cluster.
fn file(upgrade: &Upgrade, target: &Cluster) -> String {
    let path = upgrade.site.directory().join("target");
    std::fs::write(&path, target.url()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn source(site: &Site) -> String {
    site.config()["SqlSettings"]["DataSource"].as_str().unwrap().to_owned()
}

/// Number and digest of the posts.
fn posts(cluster: &Cluster) -> String {
    cluster.query("SELECT count(*), md5(string_agg(md5(p::text), '' ORDER BY id)) FROM public.posts p")
}

/// Puts mm-pgbump to death in the first move that comes to this point.
fn dies(upgrade: &Upgrade, checkpoint: &str) {
    let shims = upgrade.site.directory().join("shims");
    std::fs::create_dir(&shims).unwrap();
    let (real, shim) = (tool::executable("mm-pgbump"), shims.join("mm-pgbump"));
    let script = format!(
        "#!/bin/sh\ncase \" $* \" in *' --help '* | *' check '*) exec {0} \"$@\" ;; esac\nMM_CHECKPOINT={checkpoint} {0} \"$@\"\n\
         code=$?\n[ $code -ne 137 ] || rm \"$0\"\nexit $code\n",
        real.display()
    );
    std::fs::write(&shim, script).unwrap();
    std::fs::set_permissions(&shim, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn code(upgrade: &Upgrade, verb: &str, more: &[&str]) -> (Option<i32>, String) {
    let output = upgrade.run(verb, more);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains(TELLTALE), "{said}");
    (output.status.code(), said)
}

fn status(upgrade: &Upgrade) -> String {
    String::from_utf8(upgrade.run("status", &[]).stdout).unwrap()
}

/// Makes up the record of an upgrade of the target's cluster that was made after the move.
fn later_upgrade(site: &Site, target: &Cluster) {
    let (data, configuration) = (target.data_directory(), format!("/etc/postgresql/15/{}", target.name));
    let old = serde_json::json!({
        "major": 13, "name": target.name, "port": target.port, "online": false, "start": "manual", "owner": "postgres",
        "data": data, "configuration": configuration, "socket": "/var/run/postgresql", "log": "/var/log/postgresql/none"
    });
    let record = serde_json::json!({
        "run": "by hand", "started": "2999-01-01T00:00:00Z", "phase": "done", "old": old, "old_start": null, "major": 15,
        "data": data, "log": "/var/log/postgresql/none", "method": "upgrade", "keep_port": false, "database": "mattermost"
    });
    std::fs::write(record_of(site, "pgmove.finished").with_file_name("pgbump.finished"), record.to_string()).unwrap();
}

/// A file in the state directory of the site.
fn record_of(site: &Site, name: &str) -> PathBuf {
    let below = |directory: &std::path::Path| std::fs::read_dir(directory).into_iter().flatten().flatten();
    let all = below(&site.state()).flat_map(|entry| {
        std::iter::once(entry.path()).chain(below(&entry.path()).map(|one| one.path())).collect::<Vec<_>>()
    });
    all.into_iter().find(|path| path.ends_with(name)).unwrap()
}

/// A cluster of this machine that does not run and whose disk is full.
struct Full(Cluster);

impl Full {
    fn cluster() -> Self {
        let cluster = Cluster::create(13);
        let data = cluster.data_directory();
        let place = data.to_str().unwrap();
        cluster.stop();
        let number = std::fs::read(data.join("global/pg_control")).unwrap();
        run("mount", &["-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", place]);
        std::fs::create_dir(data.join("global")).unwrap();
        std::fs::write(data.join("global/pg_control"), number).unwrap();
        std::fs::write(data.join("PG_VERSION"), "13\n").unwrap();
        run("chown", &["-R", "postgres:", place]);
        Self(cluster)
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.data_directory()).status();
    }
}

/// Whether nobody can start the server that is installed.
fn is_held(site: &Site) -> bool {
    let server = site.install().join("bin/mattermost");
    assert!(site.pids().is_empty(), "the server runs");
    std::fs::metadata(server).unwrap().permissions().mode() & 0o111 == 0
}

/// A rollback that is killed at this point of mm-backup.
fn rollback_dies(upgrade: &Upgrade, checkpoint: &str) {
    let mut command = tool::shell(&upgrade.script());
    command.env("MM_CHECKPOINT", checkpoint).arg("mm-upgrade").args(upgrade.arguments("rollback", &[]));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(137), "{checkpoint}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Exit code of mm-backup, and all that it said.
fn backup(site: &Site, words: &[&str]) -> (Option<i32>, String) {
    let output = site.tool("mm-backup").args(words).output().unwrap();
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    (output.status.code(), said.concat())
}

/// The manifest of the first restore point.
fn manifest(site: &Site) -> PathBuf {
    let points = std::fs::read_dir(site.store()).unwrap().flatten().map(|entry| entry.path().join("manifest.json"));
    points.filter(|path| path.is_file()).min().unwrap()
}

#[test]
fn a_database_elsewhere_moves_in_the_hop_that_needs_it_and_all_of_it_goes_back() {
    let upgrade = Upgrade::of(&[quick("10.5.14"), quick("10.11.23"), quick("11.7.10")]);
    let site = &upgrade.site;
    // The first hop is rolled back with a dump, which the server's role makes a database for.
    site.cluster.sql("postgres", "ALTER ROLE mmuser CREATEDB");
    site.cluster.hide(site.directory());
    let target = Cluster::create(15);
    let before = (source(site), site.config(), site.history(), site.user_files(), posts(&site.cluster));
    let way = ["--to", "11.7.10"];

    // Without a target nothing is begun, and what to do is said.
    let pids = site.pids();
    let (refused, said) = code(&upgrade, "run", &way);
    assert!(refused == Some(5) && said.contains("--postgres-target FILE"), "{said}");
    assert_eq!(site.pids(), pids, "the server was touched");

    dies(&upgrade, "move-read-back");
    let file = file(&upgrade, &target);
    let (killed, said) = code(&upgrade, "run", &[&way[..], &["--postgres-target", &file]].concat());
    assert_eq!(killed, Some(137), "{said}");
    assert!(said.contains("hop 1 of 2: 10.5.14 to 10.11.23"), "{said}");
    assert!(said.contains("hop 2 of 2: 10.11.23 to 11.7.10, moved to PostgreSQL 14"), "{said}");
    assert_eq!(source(site), before.0);
    let told = status(&upgrade);
    assert!(told.contains("done     10.5.14 to 10.11.23") && told.contains("a run of mm-pgbump was cut off"), "{told}");
    // The target's file stands in the run.
    good(&upgrade.run("resume", &[]));
    assert_eq!(site.running_version().as_deref(), Some("11.7.10"));
    assert_eq!(source(site), target.url());
    assert_eq!(site.history(), before.2);
    let record = upgrade.last("final.json");
    let done = record["done"].as_array().unwrap();
    let methods: Vec<&Value> = done.iter().map(|hop| &hop["pgbump"]["method"]).collect();
    assert_eq!(methods, [&Value::Null, &"move".into()], "{record}");
    assert_eq!(done[1]["hop"]["needs"]["move"], true);
    assert_eq!(done[1]["pgbump"]["proof"]["equal"], true);
    // By itself, as from cron: that mm-pgbump has changed the data source is no fault.
    let output = site.tool("mm-verify").args(["--only", "files.settings"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    // Where the dump would not fit in the old cluster, the server is not pointed back to it.
    let (pids, small) = (site.pids(), Full::cluster());
    let (record, known) = (record_of(site, "pgmove.finished"), Cluster::system_identifier);
    let written = std::fs::read_to_string(&record).unwrap();
    std::fs::write(&record, written.replace(&known(&site.cluster), &known(&small.0))).unwrap();
    let (refused, said) = backup(site, &["restore", "--run", "last", "--stop"]);
    assert!(refused == Some(5) && said.contains("not enough space at `/var/lib/postgresql/13/"), "{said}");
    assert_eq!((site.pids(), source(site)), (pids, target.url()));
    assert!(!status(&upgrade).contains("rolled back"), "{}", status(&upgrade));
    std::fs::write(&record, written).unwrap();
    drop(small);

    // Cut off when the server is pointed back, and nothing is restored yet.
    rollback_dies(&upgrade, "restore-prepared");
    assert!(is_held(site) && source(site) == before.0);
    good(&upgrade.run("rollback", &[]));
    assert_eq!(site.running_version().as_deref(), Some("10.5.14"));
    assert_eq!(
        (source(site), site.config(), site.history(), site.user_files(), posts(&site.cluster)),
        before,
        "the state of before the run"
    );
    assert!(status(&upgrade).contains("rolled back"), "{}", status(&upgrade));
}

/// Where the first hop is the one that moves, the old database is what the run began with: it is not restored from a dump.
#[test]
fn the_database_that_the_first_hop_moved_out_of_serves_again_as_it_is() {
    let upgrade = Upgrade::of(&[quick("10.11.23"), quick("11.7.10")]);
    let site = &upgrade.site;
    site.cluster.hide(site.directory());
    let target = Cluster::create(15);
    let oid = || site.cluster.sql("postgres", "SELECT oid FROM pg_database WHERE datname = 'mattermost'");
    let before = (source(site), site.history(), site.user_files(), posts(&site.cluster), oid());
    let file = file(&upgrade, &target);
    // No role here could make a database: the way back of the move needs none.
    good(&upgrade.run("run", &["--to", "11.7.10", "--postgres-target", &file, "--accept", "rollback"]));
    assert_eq!((site.running_version().as_deref(), source(site)), (Some("11.7.10"), target.url()));

    // What is refused or fails before the move is taken back leaves everything as it is.
    let (pids, back) = (site.pids(), ["restore", "--run", "last", "--stop"]);
    let (refused, said) = backup(site, &back[..3]);
    assert!(refused == Some(5) && said.contains("give --stop"), "{said}");
    let manifest = manifest(site);
    let written = std::fs::read(&manifest).unwrap();
    let damage = || std::fs::write(&manifest, [&written[..], b"\n"].concat()).unwrap();
    damage();
    let (failed, said) = backup(site, &back);
    assert!(failed == Some(1) && said.contains("is not as it was written"), "{said}");
    std::fs::write(&manifest, &written).unwrap();
    let (config, aside) = (site.config_path(), site.directory().join("aside"));
    std::fs::rename(&config, &aside).unwrap();
    let (failed, said) = backup(site, &back);
    assert!(failed == Some(1) && said.contains("cannot point the server at its old database"), "{said}");
    std::fs::rename(&aside, &config).unwrap();
    assert_eq!((site.pids(), source(site)), (pids, target.url()));
    let server = std::fs::metadata(site.install().join("bin/mattermost")).unwrap();
    assert!(server.permissions().mode() & 0o111 != 0, "the server is held");
    assert!(!status(&upgrade).contains("rolled back"), "{}", status(&upgrade));

    // From the hold on, nothing starts the later release, not even where the power fails before the server is pointed back.
    rollback_dies(&upgrade, "restore-held");
    assert!(!site.pids().is_empty() && source(site) == target.url());
    assert_eq!(std::fs::metadata(site.install().join("bin/mattermost")).unwrap().permissions().mode() & 0o111, 0);
    // The target's cluster was upgraded since, and there is more in it than the server's database: that stays.
    later_upgrade(site, &target);
    rollback_dies(&upgrade, "restore-pointed-back");
    assert!(is_held(site) && source(site) == before.0);
    damage();
    let (failed, said) = backup(site, &back);
    assert!(failed == Some(3) && said.contains("then, to go on: mm-backup restore --run "), "{said}");
    std::fs::write(&manifest, &written).unwrap();
    rollback_dies(&upgrade, "restore-moved");
    let (recovered, said) = backup(site, &["recover"]);
    assert!(recovered == Some(0) && said.contains("to go on: mm-backup restore --run "), "{said}");
    assert!(is_held(site) && status(&upgrade).contains("being rolled back"), "{}", status(&upgrade));
    good(&upgrade.run("rollback", &[]));
    assert_eq!(site.running_version().as_deref(), Some("10.11.23"));
    assert_eq!((source(site), site.history(), site.user_files(), posts(&site.cluster), oid()), before);
    assert!(good(&upgrade.run("rollback", &[])).contains("rolled back already"));
}

/// The server cannot be started on it here: it is stopped at first, as it is at the end.
#[test]
fn out_of_mysql_at_the_installed_release_and_on_to_11() {
    let upgrade = Upgrade::from(Site::builder("10.11.23"), &[quick("10.11.23"), quick("11.7.10")]);
    let site = &upgrade.site;
    let before = (posts(&site.cluster), site.user_files());
    let mariadb = Mariadb::under(site);
    let (config, rows) = (site.config(), mariadb.state());
    let target = Cluster::create(15);
    let file = file(&upgrade, &target);
    let way = ["--to", "11.7.10", "--postgres-target", &file];
    dies(&upgrade, "move-read-back");
    let (killed, said) = code(&upgrade, "run", &way);
    assert_eq!(killed, Some(137), "{said}");
    assert!(said.contains("hop 1 of 2, 10.11.23, whose database moves"), "{said}");
    let told = status(&upgrade);
    assert!(told.contains("to do    10.11.23, whose database moves") && !told.contains("done "), "{told}");
    good(&upgrade.run("resume", &[]));
    assert_eq!(site.running_version().as_deref(), Some("11.7.10"));
    assert_eq!(source(site), target.url());
    let record = upgrade.last("final.json");
    let done = record["done"].as_array().unwrap();
    assert_eq!(done.len(), 2, "{record}");
    assert_eq!(
        (&done[0]["hop"]["changes"], &done[0]["backup"]["database"]),
        (&serde_json::json!(["database"]), &false.into())
    );
    assert!(
        done[0]["pgbump"]["proof"]["mysql"]["engine"].as_str().unwrap().starts_with("MariaDB"),
        "{}",
        done[0]["pgbump"]
    );
    let checks = done[0]["verify"]["checks"].as_array().unwrap();
    for id in ["history.posts", "history.counts"] {
        let check = checks.iter().find(|check| check["id"] == id).unwrap();
        assert_eq!(check["status"], "pass", "{check}");
        assert!(check["compared_with"].as_str().unwrap().starts_with("what was read from MySQL"), "{check}");
    }
    assert_eq!(posts(&target), before.0);
    assert_eq!(mariadb.state(), rows);

    good(&upgrade.run("rollback", &["--flag", "mm-backup=--leave-stopped"]));
    assert_eq!(site.config(), config);
    assert_eq!((site.user_files(), mariadb.state()), (before.1, rows));
    let told = status(&upgrade);
    assert!(told.contains("rolled back") && told.contains("runs     10.11.23, stopped"), "{told}");
}
