//! A configuration that is kept in a database, the server's own or another one: it follows the cluster, and comes back.

use std::fs;

use mm_test_support::cluster::{Cluster, TELLTALE};
use mm_test_support::matrix::some;
use mm_test_support::process::{run, wait_until};
use serde_json::{Value, json};

use crate::repoint::{KEEP, PATIENCE, dies_at, environment_file, port_of, sql, write};
use crate::rig::{Rig, find_below};

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
        assert_eq!(find_below(&self.rig.site.state(), "pgbump.journal"), None);
        self.serves(15);
    }

    fn is_as_before(&self) {
        assert!(fs::read_to_string(environment_file(&self.rig)).unwrap() == self.environment);
        assert_eq!(self.rows(13, "left(id, 1), active"), "a|\nb|t");
        assert!(sql(&self.rig, 13, &self.database, "SELECT value FROM configurations WHERE active") == self.value);
        assert_eq!(find_below(&self.rig.site.state(), "pgbump.journal"), None);
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
    let record = find_below(&stored.rig.site.state(), "pgbump.finished").unwrap();
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
    run(
        mm_test_support::cluster::psql().to_str().unwrap(),
        &["-XqAtw", "-v", "ON_ERROR_STOP=1", "-c", hung, &cluster.url()],
    );
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
