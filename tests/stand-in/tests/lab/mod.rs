//! A throw-away PostgreSQL and stand-in servers of any version on it. Everything goes when the value is dropped.
#![allow(dead_code, reason = "every test uses a part of it")]

mod answer;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

pub(crate) use answer::Answer;
use serde_json::Value;
use stand_in::release::{self, Edition, Request};
use stand_in::seed::{self, Plan, Seeded};

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The shortened waits that every test but those about the waits wants.
pub(crate) const QUICK: &str = "watcher=0,job-delay=0.2,recycle=0,ping-retry=0.2";

pub(crate) struct Lab {
    directory: tempfile::TempDir,
    port: u16,
}

fn binaries() -> PathBuf {
    let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .unwrap_or_else(|error| panic!("/usr/lib/postgresql: {error}; install postgresql"))
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|path| path.join("initdb").is_file())
        .collect();
    found.sort_by_key(|path| path.parent().and_then(|parent| parent.file_name()?.to_str()?.parse::<u32>().ok()));
    found.pop().expect("no initdb below /usr/lib/postgresql; install postgresql")
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("loopback works").port()
}

/// PostgreSQL refuses to run as root.
fn as_postgres(program: &Path) -> Command {
    let root = fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0);
    let mut command = if root { Command::new("runuser") } else { Command::new(program) };
    if root {
        command.args(["-u", "postgres", "--"]).arg(program);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).current_dir("/");
    command
}

fn owner_of_postgres() -> Option<(u32, u32)> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let line = passwd.lines().find(|line| line.starts_with("postgres:"))?.split(':').collect::<Vec<_>>();
    Some((line.get(2)?.parse().ok()?, line.get(3)?.parse().ok()?))
}

impl Lab {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("stand-in-").tempdir().expect("a temporary directory");
        let (uid, gid) = owner_of_postgres().expect("a user postgres; install postgresql");
        let base = directory.path().join("pg");
        fs::create_dir(&base).unwrap();
        let _ = chown(&base, Some(uid), Some(gid));
        fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let data = base.join("data");
        let made = as_postgres(&binaries().join("initdb"))
            .args(["--auth=trust", "-U", "postgres", "-N", "-D"])
            .arg(&data)
            .status();
        assert!(made.expect("initdb runs").success());
        let port = free_port();
        let lab = Self { directory, port };
        lab.start_postgres();
        lab
    }

    pub(crate) fn start_postgres(&self) {
        let base = self.directory.path().join("pg");
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories={} -c fsync=off",
            self.port,
            base.display()
        );
        let started = as_postgres(&binaries().join("pg_ctl"))
            .args(["start", "-w", "-D"])
            .arg(base.join("data"))
            .args(["-l", base.join("log").to_str().unwrap(), "-o", &options])
            .status();
        assert!(
            started.expect("pg_ctl runs").success(),
            "{}",
            fs::read_to_string(base.join("log")).unwrap_or_default()
        );
    }

    pub(crate) fn stop_postgres(&self) {
        let data = self.directory.path().join("pg/data");
        let _ = as_postgres(&binaries().join("pg_ctl")).args(["stop", "-m", "immediate", "-D"]).arg(data).status();
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres:x@127.0.0.1:{}/{database}?sslmode=disable&connect_timeout=10", self.port)
    }

    pub(crate) fn sql(&self, database: &str, script: &str) -> String {
        let output = Command::new(binaries().join("psql"))
            .args([
                "-h",
                "127.0.0.1",
                "-p",
                &self.port.to_string(),
                "-U",
                "postgres",
                "-XAtq",
                "-v",
                "ON_ERROR_STOP=1",
                "-c",
                script,
                database,
            ])
            .output()
            .expect("psql runs");
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub(crate) fn create(&self, database: &str) {
        self.sql("postgres", &format!("CREATE DATABASE {database}"));
    }

    /// A copy of a database nobody is connected to.
    pub(crate) fn copy(&self, from: &str, to: &str) {
        self.sql(
            "postgres",
            &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{from}'"),
        );
        self.sql("postgres", &format!("CREATE DATABASE {to} TEMPLATE {from}"));
    }

    /// An installation of this version, configured for the database, not started.
    pub(crate) fn install(&self, version: &str, database: &str) -> Site {
        let site = self.unpack(version, database);
        site.configure(&self.url(database));
        site
    }

    fn unpack(&self, version: &str, database: &str) -> Site {
        let executable = Path::new(env!("CARGO_BIN_EXE_stand-in"));
        let releases = self.path().join("releases");
        let made = release::build(&Request::new(version, Edition::Team, &releases, executable)).unwrap();
        let number =
            (0..1000).find(|number| !self.path().join(format!("{version}-{database}-{number}")).exists()).unwrap();
        let root = self.path().join(format!("{version}-{database}-{number}"));
        fs::create_dir(&root).unwrap();
        let unpacked = Command::new("tar")
            .arg("-xzf")
            .arg(&made.tarball)
            .args(["--strip-components=1", "--no-same-owner", "-C"])
            .arg(&root)
            .status();
        assert!(unpacked.unwrap().success());
        Site { root, port: free_port(), child: None }
    }

    /// Started, with an answer to ping.
    pub(crate) fn server(&self, version: &str, database: &str) -> Site {
        let mut site = self.install(version, database);
        site.start("");
        site.wait();
        site
    }

    /// A 5.29.0 with content, stopped again; its database.
    pub(crate) fn seeded(&self, database: &str) -> (Site, Seeded) {
        self.create(database);
        let mut site = self.server("5.29.0", database);
        // 5.29 listens before its own migrations are done.
        let done = "SELECT count(*) FROM systems WHERE name = 'migration_advanced_permissions_phase_2'";
        self.until(database, done, "1");
        let seeded = seed::seed(&self.url(database), &site.root, &Plan { posts: 200, ..Plan::default() }).unwrap();
        site.stop();
        (site, seeded)
    }

    /// Waits until a query says what is expected.
    pub(crate) fn until(&self, database: &str, query: &str, wanted: &str) {
        let until = Instant::now() + PATIENCE;
        while self.sql(database, query) != wanted {
            assert!(Instant::now() < until, "{query}: {}", self.sql(database, query));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// One server after another on the same database; the last one stays.
    pub(crate) fn stepwise(&self, database: &str, versions: &[&str]) -> Site {
        let mut last = None;
        for version in versions {
            drop(last.take());
            last = Some(self.server(version, database));
        }
        last.unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop_postgres();
    }
}

pub(crate) struct Site {
    pub(crate) root: PathBuf,
    pub(crate) port: u16,
    child: Option<Child>,
}

impl Site {
    pub(crate) fn configure(&self, url: &str) {
        let path = self.root.join("config/config.json");
        let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        config["SqlSettings"]["DataSource"] = url.into();
        config["ServiceSettings"]["ListenAddress"] = format!("127.0.0.1:{}", self.port).into();
        fs::write(&path, config.to_string()).unwrap();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        // Under nohup SIGHUP would be ignored by all that is started.
        let mut command = Command::new("/usr/bin/env");
        command
            .arg("--default-signal=HUP")
            .arg(self.root.join("bin/mattermost"))
            .args(arguments)
            .current_dir(&self.root)
            .env_clear()
            .env("STAND_IN_FAULTS", QUICK)
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub(crate) fn start(&mut self, faults: &str) {
        let mut command = self.command(&[]);
        command.env("STAND_IN_FAULTS", format!("{QUICK},{faults}"));
        self.spawn(command);
    }

    pub(crate) fn spawn(&mut self, mut command: Command) {
        let console = |name: &str| fs::File::create(self.root.join(name)).unwrap();
        command.stdout(console("stdout.txt")).stderr(console("stderr.txt"));
        self.child = Some(command.spawn().unwrap());
    }

    pub(crate) fn console(&self) -> String {
        ["stdout.txt", "stderr.txt"].map(|name| fs::read_to_string(self.root.join(name)).unwrap_or_default()).concat()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.root.join("logs/mattermost.log")).unwrap_or_default()
    }

    /// Waits for ping.
    pub(crate) fn wait(&mut self) {
        let until = Instant::now() + PATIENCE;
        while self.try_get("/api/v4/system/ping").is_none_or(|answer| answer.status != 200) {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
            assert!(ended.is_none() && Instant::now() < until, "{ended:?}: {}", self.console());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for a line in the log file or on the console.
    pub(crate) fn until_log(&self, words: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.log().contains(words) && !self.console().contains(words) {
            assert!(Instant::now() < until, "no `{words}` in {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub(crate) fn signal(&self, name: &str) {
        assert!(Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status().unwrap().success());
    }

    /// Waits for the end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        let mut child = self.child.take().unwrap();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            if Instant::now() > until {
                let _ = child.kill();
                panic!("the server does not end: {}", self.console());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    pub(crate) fn stop(&mut self) {
        if self.child.is_some() {
            self.signal("TERM");
            let status = self.ended();
            assert!(status.success(), "{status}: {}", self.console());
        }
    }

    pub(crate) fn try_get(&self, path: &str) -> Option<Answer> {
        self.request("GET", path, &[], "")
    }

    /// A call with a token (or none); the body as JSON.
    pub(crate) fn call(&self, method: &str, path: &str, token: &str, body: &str) -> Answer {
        let header = format!("Authorization: Bearer {token}");
        let headers = if token.is_empty() { vec![] } else { vec![header.as_str()] };
        self.request(method, path, &headers, body)
            .unwrap_or_else(|| panic!("{method} {path}: no answer; {}", self.console()))
    }

    pub(crate) fn get(&self, path: &str, token: &str) -> Answer {
        self.call("GET", path, token, "")
    }

    pub(crate) fn login(&self, user: &str) -> Answer {
        let body = format!(r#"{{"login_id":"{user}","password":"Sekret-{user}-1"}}"#);
        self.call("POST", "/api/v4/users/login", "", &body)
    }

    pub(crate) fn token(&self, user: &str) -> String {
        let answer = self.login(user);
        answer.header("Token").unwrap_or_else(|| panic!("{user} cannot log in: {answer:?}")).to_owned()
    }

    pub(crate) fn request(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Option<Answer> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n", self.port);
        for header in headers {
            text.push_str(&format!("{header}\r\n"));
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        stream.write_all(text.as_bytes()).ok()?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).ok()?;
        Answer::parse(&bytes)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
