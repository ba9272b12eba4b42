//! mm-pgbump when the new cluster answers elsewhere than the old one: every data source that the server reads follows,
//! wherever it is written down, nothing else changes by a byte, and a rollback brings the bytes back.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use mm_test_support::cluster::{PASSWORD, encoded};
use mm_test_support::process::{self, run, wait_until};
use serde_json::json;

use crate::rig::Rig;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Writes a file of the server's user.
pub(crate) fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    run("chown", &["mm-test:mm-test", path.to_str().unwrap()]);
}

pub(crate) fn environment_file(rig: &Rig) -> PathBuf {
    rig.site.install().join("config/mattermost.environment")
}

/// SQL as the superuser of a cluster of the rig.
pub(crate) fn sql(rig: &Rig, major: u32, database: &str, sql: &str) -> String {
    let clusters = rig.site.cluster.all_of_this_name();
    let port = clusters.iter().find(|(found, ..)| *found == major).unwrap().1.to_string();
    let conf = rig.configuration(major).join("postgresql.conf");
    let conf = fs::read_to_string(conf).unwrap();
    let line = conf.lines().rfind(|line| line.starts_with("unix_socket_directories")).unwrap();
    let socket = line.split('\'').nth(1).unwrap();
    let words =
        ["-u", "postgres", "--", "psql", "-XqAtw", "-v", "ON_ERROR_STOP=1", "-h", socket, "-p", &port, "-d", database];
    run("runuser", &[&words[..], &["-c", sql]].concat()).trim_end().to_owned()
}

pub(crate) fn port_of(rig: &Rig, major: u32) -> u16 {
    rig.site.cluster.all_of_this_name().iter().find(|(found, ..)| *found == major).unwrap().1
}

/// Runs the tool and lets it die at a checkpoint.
pub(crate) fn dies_at(rig: &Rig, checkpoint: &str, arguments: &[&str]) {
    let said = fs::File::create(rig.site.directory().join("said")).unwrap();
    let status = Command::new(mm_test_support::tool::executable("mm-pgbump"))
        .args(rig.site.flags())
        .args(arguments)
        .arg("-v")
        .env("MM_CHECKPOINT", checkpoint)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(said)
        .status()
        .unwrap();
    let said = fs::read_to_string(rig.site.directory().join("said")).unwrap();
    assert_eq!(status.signal(), Some(9), "it was to die at `{checkpoint}`: {status}: {said}");
}

pub(crate) const KEEP: [&str; 4] = ["--to", "15", "--no-backup", "--keep-port"];

/// Lets the server's role in over the socket with its password.
fn open_socket(rig: &Rig) {
    let hba = rig.configuration(13).join("pg_hba.conf");
    let text = fs::read_to_string(&hba).unwrap();
    fs::write(&hba, format!("local all mmuser md5\n{text}")).unwrap();
    run("pg_ctlcluster", &["13", &rig.site.cluster.name, "reload"]);
}

/// What a run that is under way has written down so far is not what there is to take back when it has ended.
#[test]
fn a_rollback_that_waited_for_an_upgrade_takes_back_all_of_it() {
    let rig = Rig::new();
    let config = rig.site.config();
    dies_at(&rig, "intent", &KEEP);
    let journal = crate::rig::find_below(&rig.site.state(), "pgbump.journal").unwrap();
    let begun = fs::read(&journal).unwrap();
    rig.upgrade(0, &["--keep-port"]);
    assert!(rig.site.config() != config, "nothing has followed");
    let lock = journal.with_file_name("lock");
    let held = fs::File::options().write(true).open(&lock).unwrap();
    held.lock().unwrap();
    fs::write(&journal, begun).unwrap();
    let mut run = Command::new(mm_test_support::tool::executable("mm-pgbump"))
        .args(rig.site.flags())
        .args(["rollback", "--lock-wait", "60"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("it to wait", PATIENCE, || process::has_open(run.id(), &lock));
    fs::remove_file(&journal).unwrap();
    drop(held);
    assert!(run.wait().unwrap().success());
    assert!(rig.site.config() == config, "what has followed did not come back");
    rig.serves("13");
}

/// Where the variable wins, the file is not what the server reads; and the server that is started again reads the new
/// value.
#[test]
fn variables_follow_and_the_server_is_started_with_them() {
    let rig = Rig::new();
    let port = rig.site.cluster.port;
    let (url, password) = (rig.site.cluster.url(), encoded(PASSWORD));
    let replicas = format!(
        "postgres://mmuser:{password}@localhost:{port}/mattermost?sslmode=disable postgres://r:x@192.0.2.1:{port}/d"
    );
    let text = format!(
        "# ours\nMM_SQLSETTINGS_DATASOURCE=\"{url}\"\n\nexport MM_SQLSETTINGS_DATASOURCEREPLICAS='{replicas}'\n"
    );
    write(&environment_file(&rig), &text);
    rig.site.set("SqlSettings", "DataSource", format!("postgres://old@127.0.0.1:{port}/unused").into());
    let file = fs::read(rig.site.config_path()).unwrap();
    rig.site.start_with(&[("MM_SQLSETTINGS_DATASOURCE", &url)]);
    wait_until("the server to answer", PATIENCE, || rig.site.answers());

    rig.upgrade(0, &["--keep-port"]);
    let new = port_of(&rig, 15);
    let moved = text.replace(&format!("127.0.0.1:{port}/"), &format!("127.0.0.1:{new}/"));
    let moved = moved.replace(&format!("localhost:{port}/"), &format!("localhost:{new}/"));
    assert!(fs::read_to_string(environment_file(&rig)).unwrap() == moved);
    assert!(fs::read(rig.site.config_path()).unwrap() == file);
    wait_until("the server to answer on the new cluster", PATIENCE, || rig.site.answers());
    rig.pgbump(0, &["rollback"]);
    assert!(fs::read_to_string(environment_file(&rig)).unwrap() == text);
    assert!(fs::read(rig.site.config_path()).unwrap() == file);
    wait_until("the server to answer on the old cluster", PATIENCE, || rig.site.answers());
}

/// The words of libpq, over a socket.
fn words(socket: &str, port: u16) -> String {
    let password = PASSWORD.replace('\\', r"\\").replace('\'', r"\'");
    format!("user=mmuser  password='{password}' host={socket} port={port} dbname=mattermost sslmode=disable")
}

#[test]
fn sockets_words_and_replicas_follow_and_other_servers_stay() {
    let rig = Rig::new();
    open_socket(&rig);
    let port = rig.site.cluster.port;
    let password = encoded(PASSWORD);
    let socket = format!("postgres://mmuser:{password}@/mattermost?host=/run/postgresql&port={port}&sslmode=disable");
    let other = format!("postgres://r:x@192.0.2.1:{port}/d");
    let pooled = "postgres://r:x@127.0.0.1:6432/d";
    let mut config = rig.site.config();
    config["SqlSettings"]["DataSource"] = words("/var/run/postgresql", port).into();
    config["SqlSettings"]["DataSourceReplicas"] = json!([socket, other, format!("postgres://r:x@[::1]:{port}/d")]);
    config["SqlSettings"]["DataSourceSearchReplicas"] = json!([pooled, format!("postgres://r:x@localhost:{port}")]);
    config["SqlSettings"]["ReplicaLagSettings"] = json!([{"DataSource": socket, "QueryAbsoluteLag": "SELECT 5432"}]);
    // Written in a way that nothing would write it again.
    let text =
        config.to_string().replace('&', r"\u0026").replace(",\"", ",\n\t \"").replace("sslmode", r"s\u0073lmode");
    write(&rig.site.config_path(), &text);
    rig.upgrade(0, &["--keep-port"]);
    let new = port_of(&rig, 15);
    let mut moved = text.clone();
    for place in ["port=", "[::1]:", "localhost:"] {
        moved = moved.replace(&format!("{place}{port}"), &format!("{place}{new}"));
    }
    assert!(fs::read_to_string(rig.site.config_path()).unwrap() == moved);
    assert!(moved.contains(&other) && moved.contains(pooled) && moved.contains(&new.to_string()));
    rig.pgbump(0, &["rollback"]);
    assert!(fs::read_to_string(rig.site.config_path()).unwrap() == text);
}

#[test]
fn a_socket_that_moves_is_followed_without_keep_port() {
    let rig = Rig::new();
    open_socket(&rig);
    rig.site.set("SqlSettings", "DataSource", words("/var/run/postgresql", rig.site.cluster.port).into());
    let text = fs::read_to_string(rig.site.config_path()).unwrap();
    // A power cut, and what a hook of the administrator may do to a new cluster.
    dies_at(&rig, "finishing", &KEEP[..3]);
    run("pg_ctlcluster", &["-m", "fast", "15", &rig.site.cluster.name, "stop"]);
    let directory = rig.site.directory().join("sock et");
    fs::create_dir(&directory).unwrap();
    run("chown", &["postgres:postgres", directory.to_str().unwrap()]);
    let conf = rig.configuration(15).join("postgresql.conf");
    let settings = fs::read_to_string(&conf).unwrap();
    fs::write(&conf, format!("{settings}\nunix_socket_directories = '{}'\n", directory.display())).unwrap();

    let (document, _) = rig.upgrade(0, &[]);
    assert_eq!(document["pgbump"]["repointed"], json!([rig.site.config_path()]));
    let shown = directory.display().to_string().replace(' ', r"\\ ");
    let moved = text.replace("host=/var/run/postgresql", &format!("host={shown}"));
    assert_ne!(moved, text);
    assert!(fs::read_to_string(rig.site.config_path()).unwrap() == moved);
    assert_eq!(sql(&rig, 15, "mattermost", "SELECT count(*) FROM posts"), "100");
    rig.pgbump(0, &["rollback"]);
    assert!(fs::read_to_string(rig.site.config_path()).unwrap() == text);
    assert_eq!(rig.clusters()[0], (13, true, "online".to_owned()));
}

/// lib/pq takes one host, and so do we.
#[test]
fn several_hosts_in_one_data_source_are_refused() {
    let rig = Rig::new();
    let port = rig.site.cluster.port;
    let several =
        rig.site.cluster.url().replace(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{port},127.0.0.2:{port}"));
    rig.site.set("SqlSettings", "DataSource", several.into());
    let (_, said) = rig.upgrade(5, &["--keep-port"]);
    assert!(said.contains("more than one host"), "{said}");
    rig.site.set("SqlSettings", "DataSource", rig.site.cluster.url().into());
    rig.is_as_before();
}
