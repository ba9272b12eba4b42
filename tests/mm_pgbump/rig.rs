//! A site whose cluster is to be upgraded, and what the tests ask of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use mm_test_support::layout::{RICHES, SUPERUSER_RICHES};
use mm_test_support::process::run;
use mm_test_support::site::Site;
use serde_json::Value;

/// The version of the sites here: it works with 13 and with 15.
pub(crate) const VERSION: &str = "10.5.14";

/// The major to go to: 15, or on a host with others what `MM_TEST_POSTGRES_NEXT` says.
pub(crate) fn next_major() -> String {
    std::env::var("MM_TEST_POSTGRES_NEXT").unwrap_or_else(|_| "15".into())
}

/// Runs something when it goes out of scope, whatever happened.
pub(crate) struct Afterwards<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> Drop for Afterwards<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

pub(crate) struct Rig {
    pub(crate) site: Site,
    tablespace: PathBuf,
    history: String,
}

impl Rig {
    /// A site whose server does not run: most of what is tested here has nothing to do with it.
    pub(crate) fn new() -> Self {
        Self::of(Site::builder(VERSION).build())
    }

    pub(crate) fn running() -> Self {
        Self::of(Site::builder(VERSION).running().build())
    }

    fn of(site: Site) -> Self {
        let tablespace = site.directory().join("tablespace");
        let history = site.history();
        Self { site, tablespace, history }
    }

    /// All that a cluster can hold and an upgrade can lose.
    pub(crate) fn enrich(self) -> Self {
        std::fs::create_dir(&self.tablespace).unwrap();
        run("chown", &["postgres:postgres", self.tablespace.to_str().unwrap()]);
        let sql = |database: &str, sql: &str| self.site.cluster.sql(database, sql);
        sql("postgres", &format!("CREATE TABLESPACE shelf LOCATION '{}'", self.tablespace.display()));
        sql(
            "postgres",
            "SET password_encryption = 'md5'; CREATE ROLE reader LOGIN PASSWORD 'old' VALID UNTIL '2040-01-01'; \
             CREATE ROLE third; CREATE ROLE team NOLOGIN; GRANT team TO reader WITH ADMIN OPTION; GRANT pg_monitor TO reader; \
             SET password_encryption = 'scram-sha-256'; CREATE ROLE writer LOGIN PASSWORD 'new'; \
             ALTER ROLE reader SET work_mem = '8MB'; ALTER DATABASE mattermost SET statement_timeout = '1h'; \
             GRANT CONNECT ON DATABASE mattermost TO reader",
        );
        for database in
            ["CREATE DATABASE other TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'", "CREATE DATABASE \"odd 'name\""]
        {
            sql("postgres", database);
        }
        sql("template1", "CREATE TABLE in_template (x int)");
        sql(
            "other",
            "CREATE EXTENSION hstore; CREATE EXTENSION pg_trgm; CREATE SCHEMA \"a b\"; \
             CREATE TABLE \"a b\".pairs (h hstore, t text) TABLESPACE shelf; \
             INSERT INTO \"a b\".pairs VALUES ('a=>1', 'one'), (NULL, E'two\\n'); \
             CREATE INDEX by_word ON \"a b\".pairs USING gin (t gin_trgm_ops); \
             CREATE SEQUENCE counter START 7; SELECT nextval('counter'); SELECT nextval('counter'); \
             SELECT lo_from_bytea(4711, '\\xdeadbeef'); \
             CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN positive AS int CHECK (VALUE > 0); \
             CREATE TABLE parts (id int, at date, mood mood, n positive) PARTITION BY RANGE (at); \
             CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2020-01-01') TO ('2021-01-01'); \
             INSERT INTO parts VALUES (1, '2020-05-05', 'ok', 3); \
             CREATE VIEW seen AS SELECT * FROM parts; \
             CREATE MATERIALIZED VIEW sums AS SELECT count(*) AS n FROM parts; \
             CREATE MATERIALIZED VIEW sums_of_sums AS SELECT * FROM sums; \
             CREATE MATERIALIZED VIEW never_filled AS SELECT 1 AS x WITH NO DATA; \
             CREATE FUNCTION add_one(int) RETURNS int LANGUAGE sql AS 'SELECT $1 + 1'; \
             CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
             CREATE TRIGGER touched BEFORE INSERT ON \"a b\".pairs FOR EACH ROW EXECUTE FUNCTION touch(); \
             GRANT SELECT ON seen TO reader; CREATE UNLOGGED TABLE fleeting AS SELECT 1 AS x",
        );
        sql("other", &format!("{RICHES}{SUPERUSER_RICHES}"));
        let configuration = self.configuration(13);
        std::fs::write(configuration.join("conf.d/ours.conf"), "maintenance_work_mem = 77MB\n").unwrap();
        std::fs::write(configuration.join("environment"), "# ours\nLAB = 'here'\n").unwrap();
        let hba = configuration.join("pg_hba.conf");
        let text = std::fs::read_to_string(&hba).unwrap();
        let own = "local mattermost mmuser md5\nhost all reader 127.0.0.1/32 md5\nhost all writer 127.0.0.1/32 scram-sha-256\n";
        std::fs::write(&hba, format!("{own}{text}")).unwrap();
        // In the file that is carried over, and gone in the new major.
        run("pg_conftool", &["13", &self.site.cluster.name, "set", "vacuum_cleanup_index_scale_factor", "0.2"]);
        run("pg_ctlcluster", &["13", &self.site.cluster.name, "restart"]);
        self
    }

    pub(crate) fn configuration(&self, major: u32) -> PathBuf {
        Path::new("/etc/postgresql").join(major.to_string()).join(&self.site.cluster.name)
    }

    pub(crate) fn data(&self, major: u32) -> PathBuf {
        Path::new("/var/lib/postgresql").join(major.to_string()).join(&self.site.cluster.name)
    }

    /// Moves the cluster's data below `directory`, as an administrator does who has a disk for it.
    pub(crate) fn move_data(&self, directory: &Path) -> PathBuf {
        let name = &self.site.cluster.name;
        let place = directory.join("13");
        std::fs::create_dir_all(&place).unwrap();
        run("chmod", &["-R", "755", directory.to_str().unwrap()]);
        run("pg_ctlcluster", &["13", name, "stop"]);
        let data = place.join(name);
        run("mv", &[self.data(13).to_str().unwrap(), data.to_str().unwrap()]);
        run("pg_conftool", &["13", name, "set", "data_directory", data.to_str().unwrap()]);
        run("pg_ctlcluster", &["13", name, "start"]);
        data
    }

    /// Drops the clusters, for what holds their files to be unmounted.
    pub(crate) fn drop_clusters(&self) {
        for (major, ..) in self.clusters() {
            let _ =
                Command::new("pg_dropcluster").args(["--stop", &major.to_string(), &self.site.cluster.name]).status();
        }
    }

    /// Runs the tool and wants this exit code. The answer is the document, and what was said.
    pub(crate) fn pgbump(&self, code: i32, arguments: &[&str]) -> (Value, String) {
        let output = self.site.tool("mm-pgbump").args(arguments).arg("-v").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "mm-pgbump {arguments:?}: {said}");
        let document = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
        (document, said)
    }

    /// The flags that most tests need.
    pub(crate) fn upgrade(&self, code: i32, further: &[&str]) -> (Value, String) {
        self.pgbump(code, &[&["--to", "15", "--no-backup"], further].concat())
    }

    /// `check` fails with these ids and words, for these causes. Each cause is taken away at the end.
    pub(crate) fn finds(&self, faults: &[(&str, &str, &str, &str)]) {
        for (_, _, cause, _) in faults {
            self.site.cluster.query(cause);
        }
        let (document, said) = self.pgbump(4, &["check", "--to", "15"]);
        for (id, word, _, _) in faults {
            let check = check_of(&document, id);
            assert!(check["status"] == "fail" || check["status"] == "error", "{id}: {said}");
            assert!(check["evidence"].as_str().unwrap().contains(word), "{check}");
        }
        // And the run refuses, with nothing touched.
        self.upgrade(5, &[]);
        for (_, _, _, cure) in faults {
            self.site.cluster.query(cure);
        }
    }

    /// The clusters of this name: major, whether on the site's own port, status.
    pub(crate) fn clusters(&self) -> Vec<(u32, bool, String)> {
        let port = self.site.cluster.port;
        self.site
            .cluster
            .all_of_this_name()
            .into_iter()
            .map(|(major, at, status)| (major, at == port, status))
            .collect()
    }

    /// The port of this major's cluster.
    pub(crate) fn port_of(&self, major: u32) -> u16 {
        let all = self.site.cluster.all_of_this_name();
        all.into_iter().find(|(of, ..)| *of == major).unwrap_or_else(|| panic!("there is no {major}")).1
    }

    /// The old cluster serves everybody on its port as before, and nothing of a new one is there.
    pub(crate) fn is_as_before(&self) {
        assert_eq!(self.clusters(), [(13, true, "online".to_owned())]);
        for path in [self.data(15), self.configuration(15)] {
            assert!(!path.exists(), "{} is left over", path.display());
        }
        for entry in std::fs::read_dir(&self.tablespace).into_iter().flatten().flatten() {
            assert!(
                entry.file_name().to_string_lossy().starts_with("PG_13_"),
                "{} is left over",
                entry.path().display()
            );
        }
        assert_eq!(self.starts_with_the_machine(13), "auto");
        assert!(!self.configuration(13).join("mm-pgbump.hba").exists());
        assert_eq!(find_below(&self.site.state(), "pgbump.journal"), None);
        self.serves("13");
    }

    /// The word in the `start.conf` of this major's cluster.
    pub(crate) fn starts_with_the_machine(&self, major: u32) -> String {
        let text = std::fs::read_to_string(self.configuration(major).join("start.conf")).unwrap();
        text.lines().rfind(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or_default().to_owned()
    }

    /// The server's data source leads to this major, with every message.
    pub(crate) fn serves(&self, major: &str) {
        let url = url_of(&self.site);
        let output = Command::new(mm_test_support::cluster::psql())
            .args(["-XqAtwc", "SHOW server_version"])
            .arg(url)
            .output()
            .unwrap();
        let version = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(version.starts_with(major), "{version}{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(self.site.history(), self.history);
    }

    /// The new cluster serves on the port of the old one, which is kept.
    pub(crate) fn is_upgraded(&self) {
        assert_eq!(self.clusters(), [(13, false, "down".to_owned()), (15, true, "online".to_owned())]);
        assert_eq!([13, 15].map(|major| self.starts_with_the_machine(major)), ["manual", "auto"]);
        for major in [13, 15] {
            assert!(!self.configuration(major).join("mm-pgbump.hba").exists());
        }
        assert_eq!(find_below(&self.site.state(), "pgbump.journal"), None);
        self.serves("15");
    }

    /// The roles with passwords of both kinds get in, each as the lines of `pg_hba.conf` say.
    pub(crate) fn lets_in(&self) {
        for (role, password) in [("reader", "old"), ("writer", "new")] {
            let port = self.site.cluster.port.to_string();
            let mut psql = Command::new(mm_test_support::cluster::psql());
            psql.args([
                "-XqAtw",
                "-h",
                "127.0.0.1",
                "-p",
                &port,
                "-U",
                role,
                "-d",
                "other",
                "-c",
                "SELECT current_user",
            ]);
            let output = psql.env("PGPASSWORD", password).output().unwrap();
            assert_eq!(
                String::from_utf8_lossy(&output.stdout),
                format!("{role}\n"),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }

    /// What the rich cluster holds, seen with eyes other than the tool's.
    pub(crate) fn riches(&self) -> Vec<String> {
        let ask = |database: &str, sql: &str| self.site.cluster.sql(database, sql);
        [
            ("other", "SELECT h, t FROM \"a b\".pairs ORDER BY 2"),
            ("other", "SELECT last_value, is_called FROM counter"),
            ("other", "SELECT encode(lo_get(4711), 'hex')"),
            ("other", "SELECT * FROM seen"),
            ("other", "SELECT n FROM sums_of_sums"),
            ("other", "SELECT relispopulated FROM pg_class WHERE relname = 'never_filled'"),
            ("other", "SELECT spcname FROM pg_tablespace s JOIN pg_class c ON c.reltablespace = s.oid WHERE relname = 'pairs'"),
            ("other", "SELECT add_one(1), count(*) FROM pg_trigger WHERE tgname = 'touched'"),
            ("postgres", "SELECT rolpassword, rolvaliduntil FROM pg_authid WHERE rolname IN ('reader', 'writer') ORDER BY rolname"),
            ("postgres", "SELECT rolpassword FROM pg_authid WHERE rolname = 'mmuser'"),
            ("postgres", "SELECT pg_has_role('reader', 'team', 'MEMBER WITH ADMIN OPTION')"),
            ("postgres", "SELECT setconfig FROM pg_db_role_setting ORDER BY 1"),
            ("postgres", "SELECT datname, datcollate FROM pg_database ORDER BY 1"),
            ("postgres", "SHOW maintenance_work_mem"),
            ("template1", "SELECT count(*) FROM in_template"),
        ]
        .map(|(database, sql)| format!("{sql}: {}", ask(database, sql)))
        .to_vec()
    }
}

/// The check with this id, as the document has it.
pub(crate) fn check_of<'a>(document: &'a Value, id: &str) -> &'a Value {
    let checks = document["pgbump"]["checks"].as_array().unwrap();
    checks.iter().find(|check| check["id"] == id).unwrap_or(&Value::Null)
}

/// The data source as it stands in the configuration now.
fn url_of(site: &Site) -> String {
    site.config()["SqlSettings"]["DataSource"].as_str().unwrap().to_owned()
}

/// A file with this name somewhere below a directory, once it has something in it.
pub(crate) fn find_below(directory: &Path, name: &str) -> Option<PathBuf> {
    for entry in std::fs::read_dir(directory).ok()?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if let Some(found) = find_below(&path, name) {
                return Some(found);
            }
        } else if path.ends_with(name) && entry.metadata().is_ok_and(|data| data.len() > 0) {
            return Some(path);
        }
    }
    None
}
