//! Throw-away PostgreSQL clusters in Debian's layout, as `pg_lsclusters` and `pg_upgradecluster` see them.
//!
//! They are real clusters of this machine, because the tools run with a clean environment and look at the real ones. Their names cannot
//! be mistaken (`mmt` and the process id of the test), their ports are free ones, and removing one removes what an
//! upgrade made of it too.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::process;
use crate::watchdog::Cleanup;

/// The role of the server.
pub const ROLE: &str = "mmuser";
/// Its password: everything in it means something to a URL, a shell, a passfile or SQL, but for [`TELLTALE`].
pub const PASSWORD: &str = r#"p@s s/w:%'"\&+#$éTr0ub4dor"#;
/// The part of the password that looks the same in every encoding: what to look for when it must be nowhere.
pub const TELLTALE: &str = "Tr0ub4dor";
/// The database of the server.
pub const DATABASE: &str = "mattermost";

/// What tells the name of the cluster that a kept configuration is of.
const NAMED: &str = "mm-test-name";

static NEXT: AtomicUsize = AtomicUsize::new(0);

/// A cluster that exists until it is dropped.
#[derive(Debug)]
pub struct Cluster {
    /// Its major version when it was made.
    pub major: u32,
    /// Its name.
    pub name: String,
    /// Its port when it was made. An upgrade hands it to the new cluster.
    pub port: u16,
    cleanup: Cleanup,
}

impl Cluster {
    /// A running cluster with role and database of the server.
    pub fn create(major: u32) -> Self {
        let cluster = Self::create_down(major);
        cluster.start();
        // Not with psql's variables or argv: the password is to be seen by nobody.
        let password = PASSWORD.replace('\'', "''");
        cluster.sql("postgres", &format!("CREATE ROLE {ROLE} LOGIN PASSWORD E'{}'", password.replace('\\', r"\\")));
        cluster.sql("postgres", &format!("CREATE DATABASE {DATABASE} OWNER {ROLE}"));
        cluster
    }

    /// A running cluster on a copy of the one that [`Cluster::save`] has kept. `pg_createcluster` makes the same of it, in ten
    /// times the time.
    pub fn restore(major: u32, saved: &Path) -> Self {
        let cluster = Self::named(major);
        let (data, configuration) = (cluster.data_directory(), cluster.configuration());
        for directory in [&data, &configuration] {
            // It goes away with the last cluster of its major, which can be another test's.
            let above = directory.parent().and_then(Path::to_str).expect("the path is ours");
            process::run("install", &["-d", "-o", "postgres", "-g", "postgres", above]);
        }
        let copy = |from: &Path, to: &Path| {
            process::run("cp", &["-a", "--reflink=auto", &from.display().to_string(), &to.display().to_string()]);
        };
        copy(saved, &data);
        let kept = configuration_of(saved);
        let before = fs::read_to_string(kept.join(NAMED)).expect("it was saved");
        copy(&kept, &configuration);
        let file = configuration.join("postgresql.conf");
        let text = fs::read_to_string(&file).expect("it was copied").replace(&before, &cluster.name);
        let port = format!("port = {}", cluster.port);
        let line = |line: &str| if line.starts_with("port = ") { port.clone() } else { line.to_owned() };
        let lines: Vec<String> = text.lines().map(line).collect();
        fs::write(&file, lines.join("\n") + "\n").expect("the configuration is ours");
        let statistics = format!("/var/run/postgresql/{major}-{}.pg_stat_tmp", cluster.name);
        if text.contains(&statistics) {
            process::run("install", &["-d", "-m", "750", "-o", "postgres", "-g", "postgres", &statistics]);
        }
        cluster.start();
        cluster
    }

    fn create_down(major: u32) -> Self {
        let cluster = Self::named(major);
        let port = format!("--port={}", cluster.port);
        process::run(
            "pg_createcluster",
            &[
                &port,
                "--locale=C.UTF-8",
                "--encoding=UTF8",
                // Nothing here has to survive a power cut.
                "--pgoption=fsync=off",
                "--pgoption=full_page_writes=off",
                "--pgoption=synchronous_commit=off",
                "--pgoption=max_connections=40",
                &major.to_string(),
                &cluster.name,
                "--",
                "--no-sync",
            ],
        );
        cluster
    }

    /// A name and a port that nobody has yet.
    fn named(major: u32) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "tests with a database need root");
        assert!(
            Path::new(&format!("/usr/lib/postgresql/{major}/bin/postgres")).is_file(),
            "PostgreSQL {major} is not installed: run scripts/prepare"
        );
        let name = format!("mmt{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let port = process::free_port();
        let cleanup = Cleanup::with(removal(&name));
        Self { major, name, port, cleanup }
    }

    /// A cluster that an earlier process has kept. It stays when this value is dropped.
    pub fn reopen(major: u32, name: &str, port: u16) -> Self {
        Self { major, name: name.to_owned(), port, cleanup: Cleanup::none() }
    }

    /// `13/NAME`, as `--cluster` wants it.
    pub fn label(&self) -> String {
        format!("{}/{}", self.major, self.name)
    }

    /// Its data directory.
    pub fn data_directory(&self) -> PathBuf {
        Path::new("/var/lib/postgresql").join(self.major.to_string()).join(&self.name)
    }

    fn configuration(&self) -> PathBuf {
        Path::new("/etc/postgresql").join(self.major.to_string()).join(&self.name)
    }

    /// The data source of the server, in the form of its `config.json`.
    pub fn url(&self) -> String {
        url(self.port)
    }

    /// The number that initdb gave it.
    pub fn system_identifier(&self) -> String {
        let program = format!("/usr/lib/postgresql/{}/bin/pg_controldata", self.major);
        let told = process::run(&program, &["-D", self.data_directory().to_str().expect("the path is ours")]);
        let line = told.lines().find_map(|line| line.strip_prefix("Database system identifier:"));
        line.expect("it has one").trim().to_owned()
    }

    /// Starts it.
    pub fn start(&self) {
        let (major, name) = (self.major, &self.name);
        // As pg_ctlcluster does it, without its pause of two seconds.
        process::run(
            "runuser",
            &[
                "-u",
                "postgres",
                "--",
                &format!("/usr/lib/postgresql/{major}/bin/pg_ctl"),
                "--silent",
                &format!("--pgdata=/var/lib/postgresql/{major}/{name}"),
                &format!("--log=/var/log/postgresql/postgresql-{major}-{name}.log"),
                &format!("--options=-c config_file=/etc/postgresql/{major}/{name}/postgresql.conf"),
                "start",
            ],
        );
    }

    /// Stops it, clients or not.
    pub fn stop(&self) {
        process::run("pg_ctlcluster", &["-m", "fast", &self.major.to_string(), &self.name, "stop"]);
    }

    /// Runs SQL as the superuser on whatever cluster has the port now, and returns rows without decoration: columns
    /// divided by `|`.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let mut child = process::as_user("postgres", psql())
            .args([
                "-XqAt",
                "-v",
                "ON_ERROR_STOP=1",
                "-h",
                "/var/run/postgresql",
                "-p",
                &self.port.to_string(),
                "-d",
                database,
            ])
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("setpriv is there");
        child.stdin.take().expect("asked for").write_all(sql.as_bytes()).expect("psql reads");
        let output = child.wait_with_output().expect("psql ends");
        process::succeeded(&format!("psql {}: {sql}", self.label()), output).trim_end().to_owned()
    }

    /// SQL on the server's database.
    pub fn query(&self, sql: &str) -> String {
        self.sql(DATABASE, sql)
    }

    /// Stops the cluster, keeps a copy of its data directory and of its configuration beside it, and starts it again.
    pub fn save(&self, copy: &Path) {
        self.stop();
        let configuration = configuration_of(copy);
        for (from, to) in [(self.data_directory(), copy), (self.configuration(), &configuration)] {
            let (from, to) = (from.to_str().expect("ours"), to.to_str().expect("ours"));
            process::run("cp", &["-a", "--reflink=auto", from, to]);
        }
        fs::write(configuration.join(NAMED), &self.name).expect("the copy is ours");
        self.start();
    }

    /// The clusters of this name: the cluster itself, and what upgrades made of it. `(major, port, status)`.
    ///
    /// Asked one by one: the list of all of them fails while any other test's cluster is half made.
    pub fn all_of_this_name(&self) -> Vec<(u32, u16, String)> {
        let ask = |major: u32| {
            let mut command = Command::new("pg_lsclusters");
            let output = command.args(["-h", &major.to_string(), &self.name]).output().expect("it is installed");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let mut words = text.split_whitespace().skip(2);
            Some((major, words.next()?.parse().ok()?, words.next()?.to_owned()))
        };
        majors_of(&self.name).into_iter().filter_map(ask).collect()
    }

    /// No `pg_lsclusters` knows the running cluster any more: for the tools it is one in a container, a managed one, or one in the
    /// layout of another distribution. It cannot be stopped and started again.
    pub fn hide(&self, below: &Path) {
        let configuration = self.configuration();
        process::run("mv", &[configuration.to_str().expect("ours"), below.join("hidden").to_str().expect("ours")]);
    }

    /// Leaves the cluster on the machine.
    pub fn keep(&mut self) {
        self.cleanup.keep();
    }
}

/// Where [`Cluster::save`] keeps the configuration of what it keeps there.
fn configuration_of(saved: &Path) -> PathBuf {
    saved.with_extension("configuration")
}

/// The newest `psql`, which every server takes. What stands in `/usr/bin` is a script that looks for it, and takes longer than
/// most statements.
pub fn psql() -> &'static Path {
    static NEWEST: OnceLock<PathBuf> = OnceLock::new();
    NEWEST.get_or_init(|| {
        let majors = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let psql = |entry: fs::DirEntry| {
            Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin/psql")))
        };
        let newest = majors.filter_map(psql).filter(|(_, psql)| psql.is_file()).max();
        newest.expect("PostgreSQL is installed: run scripts/prepare").1
    })
}

/// The majors that have a cluster of this name configured, whatever state it is in, in ascending order.
pub fn majors_of(name: &str) -> Vec<u32> {
    let entries = fs::read_dir("/etc/postgresql").into_iter().flatten().flatten();
    let of_this_name = entries.filter(|entry| entry.path().join(name).exists());
    let mut majors: Vec<u32> = of_this_name.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    majors.sort_unstable();
    majors
}

/// The data source of the server for a cluster on this port.
pub fn url(port: u16) -> String {
    format!("postgres://{ROLE}:{}@127.0.0.1:{port}/{DATABASE}?sslmode=disable&connect_timeout=10", encoded(PASSWORD))
}

/// Percent-encodes all but letters and digits.
pub fn encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a string takes it");
        }
        encoded
    })
}

/// The command that removes every cluster of this name, whatever state it was left in, and those that were put aside under
/// a name made of it. The configuration goes first: whoever lists clusters at that moment fails over one that has no data.
pub fn removal(name: &str) -> String {
    format!(
        "all=$(sed -sn \"s/^data_directory = '\\(.*\\)'.*/\\1/p\" /etc/postgresql/*/{name}/postgresql.conf \
         /etc/postgresql/*/{name}_*/postgresql.conf); \
         for d in $all /var/lib/postgresql/*/{name} /var/lib/postgresql/*/{name}_*; do \
         [ -s $d/postmaster.pid ] && read -r p <$d/postmaster.pid && kill -QUIT $p && \
         for _ in {{1..100}}; do kill -0 $p || break; sleep 0.1; done; done; \
         rm -rf /etc/postgresql/*/{name} /etc/postgresql/*/{name}_*; \
         rm -rf $all /var/lib/postgresql/*/{name} /var/lib/postgresql/*/{name}_*; \
         rm -rf /var/run/postgresql/*-{name}.* /var/run/postgresql/*-{name}_*.* \
         /var/log/postgresql/postgresql-*-{name}.log* /var/log/postgresql/postgresql-*-{name}_*.log* \
         /var/log/postgresql/pg_upgradecluster-*-{name}.*"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_takes_the_servers_data_source_and_leaves_nothing_behind() {
        let cluster = Cluster::create(13);
        let output = Command::new(psql()).args(["-XqAtwc", "SELECT current_user"]).arg(cluster.url()).output().unwrap();
        assert_eq!(process::succeeded("psql", output), "mmuser\n");
        assert_eq!(cluster.all_of_this_name(), [(13, cluster.port, "online".to_owned())]);
        cluster.query("CREATE TABLE kept (x int); INSERT INTO kept VALUES (42)");
        let directory = tempfile::tempdir().unwrap();
        let saved = directory.path().join("data");
        cluster.save(&saved);
        let copy = Cluster::restore(13, &saved);
        assert_eq!(copy.query("SELECT x FROM kept"), "42");
        let (name, data) = (cluster.name.clone(), cluster.data_directory());
        drop(cluster);
        assert!(!data.exists() && !Path::new("/etc/postgresql/13").join(&name).exists());
    }
}
