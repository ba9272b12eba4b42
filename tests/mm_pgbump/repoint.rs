//! mm-pgbump when the new cluster answers elsewhere than the old one: every data source that the server reads follows,
//! wherever it is written down, nothing else changes by a byte, and a rollback brings the bytes back.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use mm_test_support::cluster::{Cluster, PASSWORD, TELLTALE, encoded};
use mm_test_support::matrix::some;
use mm_test_support::process::{self, run, wait_until};
use serde_json::{Value, json};

use crate::rig::Rig;

const PATIENCE: Duration = Duration::from_secs(60);

/// Writes a file of the server's user.
fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    run("chown", &["mm-test:mm-test", path.to_str().unwrap()]);
}

fn environment_file(rig: &Rig) -> PathBuf {
    rig.site.install().join("config/mattermost.environment")
}

/// SQL as the superuser of a cluster of the rig.
fn sql(rig: &Rig, major: u32, database: &str, sql: &str) -> String {
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

fn port_of(rig: &Rig, major: u32) -> u16 {
    rig.site.cluster.all_of_this_name().iter().find(|(found, ..)| *found == major).unwrap().1
}

/// Runs the tool and lets it die at a checkpoint.
fn dies_at(rig: &Rig, checkpoint: &str, arguments: &[&str]) {
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

const KEEP: [&str; 4] = ["--to", "15", "--no-backup", "--keep-port"];

/// Lets the server's role in over the socket with its password.
fn open_socket(rig: &Rig) {
    let hba = rig.configuration(13).join("pg_hba.conf");
    let text = fs::read_to_string(&hba).unwrap();
    fs::write(&hba, format!("local all mmuser md5\n{text}")).unwrap();
    run("pg_ctlcluster", &["13", &rig.site.cluster.name, "reload"]);
}

/// Keeps a configuration in a database, as the server does. Returns the text of the active row.
pub(crate) fn store(cluster: &Cluster, database: &str, mut config: Value) -> String {
    config["TeamSettings"]["SiteName"] = "Größe: \"5433\"".into();
    // As Go writes it: four blanks, `&` escaped.
    let value = serde_json::to_string_pretty(&config).unwrap().replace("  ", "    ").replace('&', r"\u0026");
    cluster.sql(database, &format!(
        "CREATE TABLE configurations (id varchar(26) PRIMARY KEY, value text NOT NULL, createat bigint NOT NULL, active boolean NULL UNIQUE, sha char(64) DEFAULT '');
         INSERT INTO configurations VALUES ('{}', '{{}}', 1, NULL), ('{}', $json${value}$json$, 2, true);
         UPDATE configurations SET sha = encode(sha256(convert_to(value, 'UTF8')), 'hex');
         ALTER TABLE configurations OWNER TO mmuser",
        "a".repeat(26),
        "b".repeat(26),
    ));
    value
}

/// A server whose configuration is in a database, its own or another one of the cluster.
struct Stored {
    rig: Rig,
    database: String,
    /// The text of the active row.
    value: String,
    /// The environment file that names the database.
    environment: String,
}

impl Stored {
    fn new(database: &str) -> Self {
        let rig = Rig::new();
        let cluster = &rig.site.cluster;
        if database != "mattermost" {
            cluster.sql("postgres", &format!("CREATE DATABASE {database} OWNER mmuser"));
        }
        let value = store(cluster, database, rig.site.config());
        let url = cluster.url().replace("/mattermost?", &format!("/{database}?"));
        let environment = format!("# ours\nMM_CONFIG='{url}'  \nTZ=UTC\n");
        write(&environment_file(&rig), &environment);
        fs::remove_file(rig.site.config_path()).unwrap();
        rig.site.start_with(&[("MM_CONFIG", &url)]);
        wait_until("the server to answer", PATIENCE, || rig.site.answers());
        Self { rig, database: database.to_owned(), value, environment }
    }

    fn rows(&self, major: u32, columns: &str) -> String {
        sql(&self.rig, major, &self.database, &format!("SELECT {columns} FROM configurations ORDER BY createat"))
    }

    /// A text with the port of the old cluster, as it is with that of the new one.
    fn moved(&self, text: &str) -> String {
        let (old, new) = (port_of(&self.rig, 13), port_of(&self.rig, 15));
        assert_ne!(old, new);
        text.replace(&format!("127.0.0.1:{old}/"), &format!("127.0.0.1:{new}/"))
    }

    /// The server runs, on this major, with every message.
    fn serves(&self, major: u32) {
        wait_until("the server to answer", PATIENCE, || self.rig.site.answers());
        let busy = "SELECT count(*) > 0 FROM pg_stat_activity WHERE usename = 'mmuser'";
        wait_until("the server to use its database", PATIENCE, || sql(&self.rig, major, "postgres", busy) == "t");
        let posts = sql(&self.rig, major, "mattermost", "SELECT count(*) FROM posts");
        assert!(posts.parse::<u32>().unwrap() >= 100, "{posts}");
    }

    fn has_followed(&self) {
        assert!(fs::read_to_string(environment_file(&self.rig)).unwrap() == self.moved(&self.environment));
        // The row before is kept as the server keeps it; the new one is that text with another port, and its sum.
        assert_eq!(
            self.rows(15, "active, length(id), sha = encode(sha256(convert_to(value, 'UTF8')), 'hex')"),
            "|26|t\n|26|t\nt|26|t"
        );
        let active = sql(&self.rig, 15, &self.database, "SELECT value FROM configurations WHERE active");
        assert!(active == self.moved(&self.value));
        let before = sql(
            &self.rig,
            15,
            &self.database,
            &format!("SELECT value FROM configurations WHERE id = '{}'", "b".repeat(26)),
        );
        assert!(before == self.value);
        assert!(!self.rig.site.state().join("pgbump.journal").exists());
        self.serves(15);
    }

    fn is_as_before(&self) {
        assert!(fs::read_to_string(environment_file(&self.rig)).unwrap() == self.environment);
        assert_eq!(self.rows(13, "left(id, 1), active"), "a|\nb|t");
        assert!(sql(&self.rig, 13, &self.database, "SELECT value FROM configurations WHERE active") == self.value);
        assert!(!self.rig.site.state().join("pgbump.journal").exists());
        self.serves(13);
    }
}

#[test]
fn a_configuration_in_the_database_follows_and_comes_back() {
    let stored = Stored::new("mattermost");
    let (document, said) = stored.rig.upgrade(0, &["--keep-port"]);
    let places = json!([environment_file(&stored.rig), "configurations"]);
    assert_eq!(document["pgbump"]["repointed"], places, "{said}");
    stored.has_followed();
    let record = crate::rig::find_below(&stored.rig.site.state(), "pgbump.finished").unwrap();
    assert!(!fs::read_to_string(record).unwrap().contains(TELLTALE), "a password is in the state directory");
    let (again, _) = stored.rig.upgrade(0, &["--keep-port"]);
    assert_eq!(again["changed"], false);
    assert_eq!(stored.rows(15, "count(*) OVER ()").lines().next(), Some("3"));

    // Our own row is nothing that anybody has written since.
    let (back, said) = stored.rig.pgbump(0, &["rollback"]);
    assert!(!back["msg"].as_str().unwrap().contains("configurations"), "{back} {said}");
    stored.is_as_before();
    assert!(!said.contains(TELLTALE), "{said}");
}

/// The configuration comes back with the database it is in, and leads to where that is now.
#[test]
fn a_restored_configuration_in_the_database_leads_to_where_the_database_is_now() {
    let stored = Stored::new("mattermost");
    let backup = |arguments: &[&str]| {
        let store = stored.rig.site.store();
        let output = stored.rig.site.tool("mm-backup").arg("--to").arg(store).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let point = backup(&[])["backup"]["id"].as_str().unwrap().to_owned();
    stored.rig.upgrade(0, &["--keep-port"]);
    for flags in [&["--stop"][..], &["--stop", "--database"]] {
        backup(&[&["restore", &point], flags].concat());
        stored.has_followed();
    }
}

/// A table that inherits from that of the configurations is its owner's, with all that runs when its rows change.
#[test]
fn what_hangs_on_a_restored_configuration_does_not_run_as_a_superuser() {
    let stored = Stored::new("mattermost");
    let cluster = &stored.rig.site.cluster;
    let hung = "CREATE TABLE seen (who text);
        CREATE FUNCTION spring() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          IF current_setting('is_superuser') = 'on' THEN INSERT INTO public.seen VALUES (current_user); END IF; RETURN NEW; END $$;
        CREATE TABLE child () INHERITS (configurations);
        INSERT INTO child SELECT * FROM ONLY configurations WHERE active;
        CREATE TRIGGER hung BEFORE UPDATE ON child FOR EACH ROW EXECUTE FUNCTION spring()";
    run("psql", &["-XqAtw", "-v", "ON_ERROR_STOP=1", "-c", hung, &cluster.url()]);
    let backup = |arguments: &[&str]| {
        let output = stored
            .rig
            .site
            .tool("mm-backup")
            .arg("--to")
            .arg(stored.rig.site.store())
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    backup(&[]);
    stored.rig.upgrade(0, &["--keep-port"]);
    backup(&["restore", "latest", "--stop"]);
    let active = "SELECT value FROM ONLY configurations WHERE active";
    assert!(sql(&stored.rig, 15, "mattermost", active) == stored.moved(&stored.value));
    assert_eq!(sql(&stored.rig, 15, "mattermost", "SELECT who FROM seen"), "");
}

/// The database of the configuration stays where it is: the row is taken back there, with what was changed since.
#[test]
fn a_configuration_on_another_server_follows_and_comes_back() {
    let (rig, elsewhere) = (Rig::new(), Cluster::create(13));
    let value = store(&elsewhere, "mattermost", rig.site.config());
    let environment = format!("MM_CONFIG={}\n", elsewhere.url());
    write(&environment_file(&rig), &environment);
    fs::remove_file(rig.site.config_path()).unwrap();
    let active = || elsewhere.query("SELECT value FROM configurations WHERE active");

    let (document, _) = rig.upgrade(0, &["--keep-port"]);
    assert_eq!(document["pgbump"]["repointed"], json!(["configurations"]));
    let (old, new) = (port_of(&rig, 13), port_of(&rig, 15));
    assert!(active() == value.replace(&format!("127.0.0.1:{old}/"), &format!("127.0.0.1:{new}/")));
    let further = |text: &str| text.replace("connect_timeout=10", "connect_timeout=5");
    elsewhere.query(
        "UPDATE configurations SET value = replace(value, 'connect_timeout=10', 'connect_timeout=5') WHERE active",
    );
    rig.pgbump(0, &["rollback"]);
    assert!(active() == further(&value));
    assert_eq!(elsewhere.query("SELECT count(*), count(active) FROM configurations"), "4|1");
    assert!(fs::read_to_string(environment_file(&rig)).unwrap() == environment);
}

/// A run that was cut off while the database of the configuration was shut, down or elsewhere is ended all the same.
#[test]
fn killed_at_every_step_a_configuration_in_the_database_follows_all_the_same() {
    let stored = Stored::new("settings");
    let shared = [&KEEP[..], &["--shared-cluster"]].concat();
    for checkpoint in
        some(["old-shut", "proving", "new-open", "repoint-intent", "store-repointed", "repointed", "recorded"])
    {
        dies_at(&stored.rig, checkpoint, &shared);
    }
    stored.rig.upgrade(0, &["--keep-port", "--shared-cluster"]);
    stored.has_followed();
    for checkpoint in some(["rollback-new-stopped", "rollback-parked", "rollback-old-started", "pointed-back"]) {
        dies_at(&stored.rig, checkpoint, &["rollback"]);
    }
    stored.rig.pgbump(0, &["rollback"]);
    stored.is_as_before();
}

#[test]
fn what_has_followed_comes_back_when_the_server_does_not_get_in() {
    let stored = Stored::new("mattermost");
    dies_at(&stored.rig, "repointed", &KEEP);
    let hba = stored.rig.configuration(15).join("pg_hba.conf");
    let text = fs::read_to_string(&hba).unwrap();
    fs::write(&hba, format!("host all mmuser all reject\n{text}")).unwrap();
    run("pg_ctlcluster", &["15", &stored.rig.site.cluster.name, "reload"]);
    let (_, said) = stored.rig.upgrade(6, &["--keep-port"]);
    assert!(said.contains("rolled back"), "{said}");
    assert_eq!(stored.rig.clusters(), [(13, true, "online".to_owned())]);
    stored.is_as_before();
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
