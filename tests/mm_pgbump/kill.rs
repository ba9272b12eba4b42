//! mm-pgbump killed with -9 at each of its own steps and in each phase of `pg_upgradecluster`, and run again: the same
//! end, whatever was left behind.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mm_test_support::matrix::some;

use crate::moving_killed::site_dies_at;
use crate::rig::{Rig, check_of};

fn start(rig: &Rig, further: &[&str], variable: Option<(&str, &str)>) -> Child {
    let said = std::fs::File::create(rig.site.directory().join("said")).unwrap();
    Command::new(mm_test_support::tool::executable("mm-pgbump"))
        .args(rig.site.flags())
        .args(["--to", "15", "--no-backup", "-v"])
        .args(further)
        .envs(variable)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(said)
        .spawn()
        .unwrap()
}

fn dies_at(rig: &Rig, checkpoint: &str, further: &[&str]) {
    let status = start(rig, further, Some(("MM_CHECKPOINT", checkpoint))).wait().unwrap();
    assert_eq!(status.signal(), Some(9), "it was to die at `{checkpoint}`: {status}");
}

/// One after the other: each run ends what the one before left behind, and dies a step later.
#[test]
fn killed_at_every_step_it_arrives_all_the_same() {
    let rig = Rig::new();
    for checkpoint in
        some(["intent", "service-stopped", "old-shut", "upgrading", "upgrade-started", "proving", "finishing"])
    {
        dies_at(&rig, checkpoint, &[]);
    }
    // From here on it goes forward.
    for checkpoint in ["new-open", "recorded"] {
        dies_at(&rig, checkpoint, &[]);
    }
    rig.upgrade(0, &[]);
    rig.is_upgraded();
}

/// Otherwise the server would find the new cluster open after a power cut, and what its users write there would go with
/// it on the way back.
#[test]
fn the_machine_starts_no_cluster_that_is_not_proven() {
    let rig = Rig::new();
    for checkpoint in ["upgrading", "proving"] {
        dies_at(&rig, checkpoint, &[]);
        assert_eq!(rig.starts_with_the_machine(13), "manual", "{checkpoint}");
    }
    assert_eq!(rig.starts_with_the_machine(15), "manual");
    rig.pgbump(0, &["recover"]);
    rig.is_as_before();
}

/// As cluster managers leave it (Pacemaker, Patroni): Debian's own programs start such a cluster for nobody.
#[test]
fn a_cluster_that_is_disabled_is_found_and_serves_again_whatever_happens() {
    let rig = Rig::new();
    let path = rig.configuration(13).join("start.conf");
    let before = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, "disabled\n").unwrap();
    let (document, said) = rig.pgbump(4, &["check", "--to", "15"]);
    assert_eq!(check_of(&document, "start-conf")["status"], "fail", "{said}");
    assert!(said.contains(&format!("echo manual > {}", path.display())), "{said}");
    rig.upgrade(5, &[]);
    // Patroni does not say so there, but it runs, and the configuration is one that it has written.
    std::fs::write(&path, "manual\n").unwrap();
    let configuration = rig.configuration(13).join("postgresql.conf");
    let written = std::fs::read_to_string(&configuration).unwrap();
    std::fs::write(&configuration, format!("# It will be overwritten by Patroni!\n{written}")).unwrap();
    let status = |code| check_of(&rig.pgbump(code, &["check", "--to", "15"]).0, "start-conf")["status"].clone();
    assert_eq!(status(0), "pass", "it was taken out of the hands of Patroni, which does not run");
    let patroni = rig.site.directory().join("patroni");
    std::fs::copy("/bin/sleep", &patroni).unwrap();
    let mut running = std::process::Command::new(&patroni).arg("600").spawn().unwrap();
    let seen = status(4);
    running.kill().unwrap();
    running.wait().unwrap();
    assert_eq!(seen, "fail");
    std::fs::write(&configuration, written).unwrap();
    std::fs::write(&path, "disabled\n").unwrap();

    let accepted = ["--accept", "start-conf"];
    for checkpoint in ["old-shut", "proving"] {
        dies_at(&rig, checkpoint, &accepted);
        rig.pgbump(0, &["recover"]);
        rig.serves("13");
        assert_eq!(rig.starts_with_the_machine(13), "disabled", "{checkpoint}");
    }
    rig.upgrade(0, &accepted);
    rig.serves("15");
    rig.pgbump(0, &["rollback"]);
    rig.serves("13");
    assert_eq!(rig.starts_with_the_machine(13), "disabled");
    std::fs::write(&path, before).unwrap();
}

/// After a power cut the machine may have let users into the new cluster before anybody runs the tool again.
#[test]
fn what_was_written_into_the_new_cluster_since_is_not_dropped() {
    let rig = Rig::new();
    dies_at(&rig, "new-open", &[]);
    rig.site.cluster.sql("mattermost", "CREATE TABLE since AS SELECT 'a message' AS text");
    // What cannot be removed stops it.
    let in_the_way = rig.configuration(15).join("mm-pgbump.hba");
    std::fs::create_dir(&in_the_way).unwrap();
    let (document, said) = rig.upgrade(3, &[]);
    assert!(document["error"]["hint"].as_str().unwrap().contains("mm-pgbump rollback"), "{said}");
    std::fs::remove_dir(&in_the_way).unwrap();

    rig.pgbump(0, &["rollback"]);
    rig.serves("13");
    assert_eq!(rig.clusters(), [(13, true, "online".to_owned()), (15, false, "down".to_owned())]);
    let name = &rig.site.cluster.name;
    mm_test_support::process::run("pg_ctlcluster", &["15", name, "start"]);
    let port = mm_test_support::process::run("pg_conftool", &["-s", "15", name, "show", "port"]);
    let ask = format!("psql -XqAt -p {} -d mattermost -c 'SELECT text FROM since'", port.trim());
    assert_eq!(
        mm_test_support::process::run("runuser", &["-u", "postgres", "--", "sh", "-c", &ask]).trim(),
        "a message"
    );
}

#[test]
fn killed_while_it_undoes_it_undoes_the_rest() {
    let rig = Rig::new();
    dies_at(&rig, "proving", &[]);
    for _ in 0..3 {
        // Whatever step comes first is done, and then it dies again.
        let status = start(&rig, &[], Some(("MM_CHECKPOINT", "undo-step"))).wait().unwrap();
        assert_eq!(status.signal(), Some(9));
    }
    rig.pgbump(0, &["rollback"]);
    rig.is_as_before();
}

#[test]
fn killed_while_it_goes_back_it_gets_there() {
    let rig = Rig::new();
    rig.upgrade(0, &["--keep-port"]);
    for checkpoint in ["rollback-intent", "rollback-new-stopped", "rollback-parked", "rollback-old-started"] {
        site_dies_at(&rig.site, checkpoint, &["rollback"]);
    }
    rig.pgbump(0, &["rollback"]);
    rig.serves("13");
    assert_eq!(rig.clusters().iter().map(|(_, _, status)| status.as_str()).collect::<Vec<_>>(), ["online", "down"]);
}

/// From 15 on the server remembers the version of the collation. Where it is another, the text indexes are built anew
/// before anybody uses them, and it is told so.
#[test]
fn indexes_of_another_collation_version_are_built_anew() {
    let rig = Rig::new();
    // That of `C.UTF-8` has no version.
    rig.site.cluster.sql(
        "postgres",
        "UPDATE pg_database SET datcollate = 'en_US.UTF-8', datctype = 'en_US.UTF-8' WHERE datname = 'mattermost'",
    );
    rig.site.cluster.query("REINDEX DATABASE mattermost");
    rig.site.cluster.query("CREATE TABLE words AS SELECT 'a' AS word; CREATE INDEX words_word ON words (word)");
    dies_at(&rig, "finishing", &[]);
    // Proven, and running for nobody but its owner.
    let (port, file) = (rig.port_of(15).to_string(), "SELECT pg_relation_filenode('words_word')");
    let ask = |sql: &str| {
        let arguments = [
            "-u",
            "postgres",
            "--",
            "psql",
            "-XqAtw",
            "-v",
            "ON_ERROR_STOP=1",
            "-p",
            &port,
            "-d",
            "mattermost",
            "-c",
            sql,
        ];
        mm_test_support::process::run("runuser", &arguments).trim().to_owned()
    };
    let before = ask(file);
    ask("UPDATE pg_database SET datcollversion = '0' WHERE datname = 'mattermost'");
    rig.upgrade(0, &[]);
    rig.is_upgraded();
    assert_ne!(rig.site.cluster.query(file), before);
    let differs = "SELECT datcollversion IS DISTINCT FROM pg_database_collation_actual_version(oid) FROM pg_database \
                   WHERE datname = 'mattermost'";
    assert_eq!(rig.site.cluster.query(differs), "f");
}

/// `pg_upgradecluster` copies the old configuration first and changes the data directory in it then. What it leaves in
/// between looks like a cluster of the new major, with the data of the old one.
#[test]
fn a_half_copied_configuration_does_not_cost_the_old_data() {
    let rig = Rig::new();
    dies_at(&rig, "upgrade-started", &[]);
    let goes_on = || {
        let name = format!("pg_upgradecluster.*{}", rig.site.cluster.name);
        Command::new("pgrep").args(["-f", &name]).stdout(Stdio::null()).status().unwrap().success()
    };
    // It still chooses a port, and nobody else may do so meanwhile.
    let turn = std::fs::File::open("/etc/postgresql").unwrap();
    assert!(turn.try_lock().is_err() || !goes_on(), "another upgrade could choose the same port");
    drop(turn);
    mm_test_support::process::wait_until("pg_upgradecluster to end", Duration::from_secs(120), || !goes_on());
    let (old, new) = (rig.configuration(13).join("postgresql.conf"), rig.configuration(15).join("postgresql.conf"));
    std::fs::copy(&old, &new).unwrap();
    rig.upgrade(0, &[]);
    rig.is_upgraded();
    assert!(rig.data(13).join("PG_VERSION").exists());
}

/// What is killed besides the tool itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victims {
    /// Nothing: `pg_upgradecluster` goes on by itself.
    ToolAlone,
    /// `pg_upgradecluster`, but not its children, which go on.
    Parent,
    /// All of them at once, as a power cut would.
    All,
}

fn group_of(rig: &Rig) -> Option<i32> {
    let journal = crate::rig::find_below(&rig.site.state(), "pgbump.journal")?;
    let journal: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(journal).ok()?).ok()?;
    i32::try_from(journal["group"].as_i64()?).ok()
}

/// Kills it when its log says this.
fn killed_when(rig: &Rig, words: &str, victims: Victims, further: &[&str]) {
    let log =
        || crate::rig::find_below(&rig.site.state(), "pgbump.log").and_then(|path| std::fs::read_to_string(path).ok());
    let known = log().unwrap_or_default().matches(words).count();
    let mut child = start(rig, further, None);
    let begun = Instant::now();
    while log().unwrap_or_default().matches(words).count() == known {
        assert!(begun.elapsed() < Duration::from_secs(180), "`{words}` was never said: {}", log().unwrap_or_default());
        let said = || std::fs::read_to_string(rig.site.directory().join("said")).unwrap_or_default();
        assert!(child.try_wait().unwrap().is_none(), "it ended before `{words}`: {}", said());
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let group = group_of(rig);
    match (victims, group) {
        (Victims::ToolAlone, _) | (_, None) => {}
        (Victims::Parent, Some(group)) => drop(Command::new("kill").args(["-9", &group.to_string()]).status()),
        (Victims::All, Some(group)) => drop(Command::new("kill").args(["-9", "--", &format!("-{group}")]).status()),
    }
}

#[test]
fn killed_in_every_phase_of_pg_upgrade() {
    let rig = Rig::new();
    for (words, victims) in some([
        ("Creating new PostgreSQL cluster", Victims::All),
        ("Copying old configuration files", Victims::Parent),
        ("Performing Consistency Checks", Victims::All),
        ("Creating dump of database schemas", Victims::All),
        ("Analyzing all rows", Victims::ToolAlone),
        ("Restoring database schemas", Victims::Parent),
        ("Copying user relation files", Victims::All),
    ]) {
        killed_when(&rig, words, victims, &["--method", "upgrade"]);
    }
    rig.upgrade(0, &[]);
    rig.is_upgraded();
}

#[test]
fn killed_in_every_phase_of_a_dump() {
    let rig = Rig::new();
    for (words, victims) in some([
        ("Starting new cluster", Victims::All),
        ("Roles, databases, schemas, ACLs", Victims::Parent),
        ("Upgrading database mattermost", Victims::All),
        ("Analyzing database mattermost", Victims::Parent),
        ("Disabling automatic startup of old cluster", Victims::All),
    ]) {
        killed_when(&rig, words, victims, &["--method", "dump"]);
    }
    // Back instead of forward this time.
    rig.pgbump(0, &["rollback"]);
    rig.is_as_before();
}

#[test]
fn killed_while_it_links_it_finds_the_way_back() {
    let rig = Rig::new();
    killed_when(&rig, "Restoring database schemas", Victims::All, &["--method", "link"]);
    rig.pgbump(0, &["rollback"]);
    rig.is_as_before();
    // Once the new server has run on the shared files there is no way back, and it says so.
    dies_at(&rig, "finishing", &["--method", "link"]);
    rig.upgrade(0, &["--method", "link"]);
    rig.is_upgraded();
}
