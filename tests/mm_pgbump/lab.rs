//! Throw-away PostgreSQL clusters in Debian's layout, hidden from the machine's own by `PG_CLUSTER_CONF_ROOT`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use mm_common::postgres::cluster::Cluster;
use mm_common::postgres::server::Database;
use mm_common::postgres::source::DataSource;

/// The name of the clusters: each lab has a root of its own, so they do not meet.
pub(crate) const NAME: &str = "lab";

/// A place for clusters; they are stopped and removed with it.
pub(crate) struct Lab {
    directory: tempfile::TempDir,
}

/// Runs a program and wants success.
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} failed: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

impl Lab {
    pub(crate) fn new() -> Self {
        for major in [13, 15] {
            assert!(
                Path::new(&format!("/usr/lib/postgresql/{major}/bin/pg_ctl")).exists(),
                "this test needs postgresql-{major}: scripts/test installs it"
            );
        }
        let lab = Self { directory: tempfile::Builder::new().prefix("mm-pg.").tempdir().unwrap() };
        run(command("chmod").arg("755").arg(lab.path()));
        for name in ["etc", "data", "sock", "log"] {
            std::fs::create_dir(lab.path().join(name)).unwrap();
            run(command("chmod").arg("755").arg(lab.path().join(name)));
            run(command("chown").arg("postgres:postgres").arg(lab.path().join(name)));
        }
        lab
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn conf_root(&self) -> PathBuf {
        self.path().join("etc")
    }

    /// A program of postgresql-common that sees this lab's clusters only.
    pub(crate) fn tool(&self, program: &str) -> Command {
        let mut command = command(program);
        command.env("PG_CLUSTER_CONF_ROOT", self.conf_root());
        command
    }

    pub(crate) fn create(&self, major: u32, initdb: &[&str]) -> Cluster {
        let data = self.path().join("data").join(major.to_string());
        let log = self.path().join("log").join(format!("{major}.log"));
        run(self
            .tool("pg_createcluster")
            .args([&major.to_string(), NAME, "--datadir", data.to_str().unwrap(), "--logfile", log.to_str().unwrap()])
            .args(["--socketdir", self.path().join("sock").to_str().unwrap()])
            .args(["--port", &mm_test_support::process::free_port().to_string(), "--", "--no-sync"])
            .args(initdb));
        self.ctl(major, "start");
        self.cluster(major)
    }

    pub(crate) fn ctl(&self, major: u32, action: &str) {
        run(self.tool("pg_ctlcluster").args([&major.to_string(), NAME, action]));
    }

    /// The cluster as its files say it is now.
    pub(crate) fn cluster(&self, major: u32) -> Cluster {
        self.find(major).unwrap_or_else(|| panic!("there is no cluster {major}/{NAME}"))
    }

    pub(crate) fn find(&self, major: u32) -> Option<Cluster> {
        let output = run(self.tool("pg_lsclusters").arg("--no-header"));
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find(|line| line.starts_with(&format!("{major} ")))?;
        let words: Vec<_> = line.split_whitespace().collect();
        let configuration = self.conf_root().join(words[0]).join(words[1]);
        let start = std::fs::read_to_string(configuration.join("start.conf")).unwrap_or_default();
        Some(Cluster {
            major,
            name: words[1].into(),
            port: words[2].parse().unwrap(),
            online: words[3].starts_with("online"),
            start: start.lines().rfind(|line| !line.starts_with('#') && !line.is_empty()).unwrap_or("auto").into(),
            owner: words[4].into(),
            data: words[5].into(),
            configuration,
            socket: self.path().join("sock"),
            log: words[6].into(),
        })
    }

    pub(crate) fn superuser(&self, major: u32, database: &str) -> Database {
        Database::superuser(&self.cluster(major), database).unwrap()
    }

    /// Runs statements as the superuser, each by itself.
    pub(crate) fn sql(&self, major: u32, database: &str, sql: &str) {
        self.superuser(major, database).execute_each(sql).unwrap();
    }

    pub(crate) fn value(&self, major: u32, database: &str, sql: &str) -> String {
        let value = self.superuser(major, database).value(sql).unwrap();
        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
    }

    /// A data source as Mattermost has it, over TCP.
    pub(crate) fn source(port: u16) -> String {
        format!("postgres://mmuser:{PASSWORD}@127.0.0.1:{port}/mattermost?sslmode=disable&connect_timeout=10")
    }

    pub(crate) fn connect(port: u16) -> mm_common::Result<Database> {
        Database::connect(&DataSource::parse(&Self::source(port)).unwrap(), None)
    }
}

/// Awkward on purpose; encoded as a URL wants it.
pub(crate) const PASSWORD: &str = "p%40ss%3Aw%5Crd";

impl Drop for Lab {
    fn drop(&mut self) {
        for entry in std::fs::read_dir(self.conf_root()).into_iter().flatten().flatten() {
            let major = entry.file_name().to_string_lossy().into_owned();
            let _ = self.tool("pg_ctlcluster").args([&major, NAME, "stop", "-m", "immediate"]).output();
            if let Ok(pid) = std::fs::read_to_string(self.path().join("data").join(&major).join("postmaster.pid")) {
                let _ = command("kill").args(["-9", pid.lines().next().unwrap_or("0")]).output();
            }
        }
    }
}

/// A program with nothing of this process's environment.
pub(crate) fn command(program: &str) -> Command {
    #[expect(clippy::disallowed_methods, reason = "a test drives the host itself")]
    let mut command = Command::new(program);
    command.env_clear().env("PATH", mm_common::machine::command::PATH).env("LC_ALL", "C").current_dir("/");
    command
}
