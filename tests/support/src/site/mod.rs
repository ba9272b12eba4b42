//! A server of some version with a database and content, as an administrator would have it.

mod answer;
mod builder;

pub use answer::Answer;
pub use builder::{Builder, QUICK, quick};

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::cluster::{self, Cluster};
use crate::process::{self, TEST_USER};
use crate::release::{self, Release, hex};
use crate::serve::ReleaseSite;
use crate::tool;
use crate::watchdog::Cleanup;

/// Where a kept site is described, below its directory.
const RECORD: &str = "site.json";

/// How long a server may take to answer after its start, and to end after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server with its database. Everything of it goes when it is dropped: processes, clusters, files.
#[derive(Debug)]
pub struct Site {
    processes: Cleanup,
    /// The cluster its database lives in.
    pub cluster: Cluster,
    /// Its users: a list of objects with `id`, `username` and `password`, the administrator first.
    pub users: Value,
    /// The version it was installed with.
    pub version: String,
    /// The port it listens on.
    pub port: u16,
    directory: PathBuf,
    files: Cleanup,
}

impl Site {
    /// A site with a server of this version.
    pub fn builder(version: &str) -> Builder {
        Builder::of(version)
    }

    fn empty(cluster: Cluster, version: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("mm-test-").tempdir().expect("/tmp can be written").keep();
        let files = Cleanup::with(removal(&directory));
        let processes = Cleanup::with(process::end_all_below(&directory));
        // The server's user has to get to its own files.
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).expect("it is ours");
        fs::create_dir(directory.join("opt")).expect("it is ours");
        Self {
            processes,
            cluster,
            users: Value::Null,
            version: version.to_owned(),
            port: process::free_port(),
            directory,
            files,
        }
    }

    fn take_tree(&self, tree: &Path) {
        process::run(
            "cp",
            &["-a", "--reflink=auto", tree.to_str().expect("ours"), self.install().to_str().expect("ours")],
        );
        self.configure();
    }

    fn unpack(&self, release: &Release) {
        let opt = self.directory.join("opt");
        process::run(
            "tar",
            &["-xzf", release.tarball.to_str().expect("ours"), "--no-same-owner", "-C", opt.to_str().expect("ours")],
        );
        for made in ["data", "plugins"] {
            fs::create_dir_all(self.install().join(made)).expect("it is ours");
        }
        process::run("chown", &["-R", &format!("{TEST_USER}:{TEST_USER}"), self.install().to_str().expect("ours")]);
    }

    fn configure(&self) {
        self.set("SqlSettings", "DriverName", "postgres".into());
        self.set("SqlSettings", "DataSource", self.cluster.url().into());
        self.set("ServiceSettings", "ListenAddress", format!("127.0.0.1:{}", self.port).into());
        self.set("ServiceSettings", "SiteURL", self.url().into());
    }

    /// Things of the administrator's own that no release knows.
    fn add_custom_directory(&self) {
        let tls = self.install().join("custom/tls");
        fs::create_dir_all(&tls).expect("it is ours");
        fs::write(tls.join("server.key"), "-----BEGIN PRIVATE KEY-----\nnot a real one\n-----END PRIVATE KEY-----\n")
            .expect("it is ours");
        fs::set_permissions(tls.join("server.key"), fs::Permissions::from_mode(0o600)).expect("it is ours");
        fs::write(tls.join("a name with spaces, \u{e4} and 'quotes'"), "kept\n").expect("it is ours");
        symlink("tls", self.install().join("custom/current")).expect("it is ours");
    }

    /// The temporary directory everything of it stands in.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The install root.
    pub fn install(&self) -> PathBuf {
        self.directory.join("opt/mattermost")
    }

    /// A directory for restore points; made by who needs it.
    pub fn store(&self) -> PathBuf {
        self.directory.join("backup")
    }

    /// A directory for fetched releases; made by who needs it.
    pub fn cache(&self) -> PathBuf {
        self.directory.join("cache")
    }

    /// A state directory of its own.
    pub fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// The address of the server.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The flags every tool needs to work on this site and on nothing else.
    pub fn flags(&self) -> Vec<String> {
        [
            "--install",
            self.install().to_str().expect("ours"),
            "--state-dir",
            self.state().to_str().expect("ours"),
            "--service",
            "exec",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    /// A tool with [`Site::flags`] and an otherwise empty environment.
    pub fn tool(&self, name: &str) -> assert_cmd::Command {
        let mut command = tool::tool(name);
        command.args(self.flags());
        command
    }

    /// Puts these releases on a site of their own and writes the overlay with their digests.
    pub fn releases(&self, releases: &[Release]) -> Releases {
        let directory = self.directory.join("releases");
        release::publish(&directory, releases);
        let catalogue = self.directory.join("catalogue.json");
        fs::write(&catalogue, release::catalogue(releases).to_string()).expect("it is ours");
        Releases { site: ReleaseSite::start(&directory), catalogue, directory }
    }

    /// The configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.install().join("config/config.json")
    }

    /// The configuration.
    pub fn config(&self) -> Value {
        let text = fs::read_to_string(self.config_path()).expect("the site has a configuration");
        serde_json::from_str(&text).expect("the configuration is JSON")
    }

    /// Changes a setting in the configuration file, keeping its owner and mode.
    pub fn set(&self, section: &str, key: &str, value: Value) {
        let mut config = self.config();
        config[section][key] = value;
        let path = self.config_path();
        let data = fs::metadata(&path).expect("it was just read");
        fs::write(&path, serde_json::to_string_pretty(&config).expect("it is JSON")).expect("it is ours");
        chown(&path, Some(data.uid()), Some(data.gid())).expect("root may");
    }

    /// Starts the server as the test user and waits until it answers.
    pub fn start(&self) {
        self.start_with(&[]);
        process::wait_until(&format!("the server to answer ({})", self.log_tail()), PATIENCE, || self.answers());
    }

    /// Commands the start, with further variables, and does not wait.
    pub fn start_with(&self, variables: &[(&str, &str)]) {
        let console = File::options().create(true).append(true).open(self.directory.join("console.log"));
        let console = console.expect("it is ours");
        let mut child = process::as_user(TEST_USER, &self.install().join("bin/mattermost"))
            .envs(variables.iter().copied())
            .current_dir(self.install())
            .stdin(Stdio::null())
            .stdout(console.try_clone().expect("a file can be shared"))
            .stderr(console)
            .process_group(0)
            .spawn()
            .expect("setpriv is there");
        // Somebody has to take note of its end, or whoever stops it sees a zombie that does not go away.
        std::thread::spawn(move || child.wait());
    }

    /// Ends the server the way an administrator does, and waits for its end.
    pub fn stop(&self) {
        for pid in self.pids() {
            // It may end by itself in this moment.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        process::wait_until("the server to end", PATIENCE, || self.pids().is_empty());
    }

    /// Process ids of the servers of this site.
    pub fn pids(&self) -> Vec<i32> {
        process::running_below(&self.directory)
    }

    /// Whether a server answers on its port.
    pub fn answers(&self) -> bool {
        self.get("/api/v4/system/ping").is_some_and(|answer| answer.status == 200)
    }

    /// The version that the running server says it has; `None` when none answers.
    pub fn running_version(&self) -> Option<String> {
        let answer = self.get("/api/v4/config/client?format=old")?;
        let settings: Value = serde_json::from_str(&answer.body).ok()?;
        settings["Version"].as_str().map(str::to_owned)
    }

    /// An anonymous GET; `None` when nobody answers.
    pub fn get(&self, path: &str) -> Option<Answer> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").ok()?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text).ok()?;
        Answer::parse(&String::from_utf8_lossy(&text))
    }

    /// The end of what the server wrote to its console.
    pub fn log_tail(&self) -> String {
        let text = fs::read_to_string(self.directory.join("console.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }

    fn jobs_are_done(&self) -> bool {
        let done = "SELECT (SELECT count(*) FROM systems WHERE name = 'migration_advanced_permissions_phase_2') = 1 \
                    AND NOT EXISTS (SELECT 1 FROM jobs WHERE status IN ('pending', 'in_progress'))";
        self.cluster.query(done) == "t"
    }

    /// Number and digest of everything people have written, in a form that no schema migration changes.
    pub fn history(&self) -> String {
        let parent =
            "SELECT count(*) FROM information_schema.columns WHERE table_name = 'posts' AND column_name = 'parentid'";
        let root = if self.cluster.query(parent) == "1" { "coalesce(nullif(rootid,''),parentid,'')" } else { "rootid" };
        self.cluster.query(&format!(
            "SELECT count(*), md5(string_agg(concat_ws('|', id, channelid, userid, message, createat, deleteat, {root}, \
             originalid, type, hashtags, fileids), E'\\n' ORDER BY id COLLATE \"C\")) FROM posts"
        ))
    }

    /// Numbers of rows of the tables whose rows no upgrade may add to or take from.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        ["users", "teams", "channels", "teammembers", "channelmembers", "posts", "fileinfo", "reactions", "threads"]
            .into_iter()
            .map(|table| {
                let count = self.cluster.query(&format!("SELECT count(*) FROM {table}"));
                (table.to_owned(), count.parse().expect("a count is a number"))
            })
            .collect()
    }

    /// Everything of the user's own below the install root: path, mode, owner, and digest or target.
    pub fn user_files(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for part in ["custom", "data"] {
            collect(&self.install(), &self.install().join(part), &mut found);
        }
        found
    }

    /// Leaves everything where it is, for [`Site::reopen`].
    pub fn keep(&mut self) {
        let record = json!({
            "major": self.cluster.major, "name": self.cluster.name, "database_port": self.cluster.port,
            "version": self.version, "port": self.port, "users": self.users,
        });
        fs::write(self.directory.join(RECORD), record.to_string()).expect("it is ours");
        self.processes.keep();
        self.cluster.keep();
        self.files.keep();
    }

    /// A site that an earlier process has kept. It stays when this value is dropped.
    pub fn reopen(directory: &Path) -> Self {
        let path = directory.join(RECORD);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let record: Value = serde_json::from_str(&text).expect("it is our own");
        let number = |key: &str| record[key].as_u64().unwrap_or_else(|| panic!("{} has no {key}", path.display()));
        let word = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
        let port = |key| u16::try_from(number(key)).expect("it is a port");
        Self {
            processes: Cleanup::none(),
            cluster: Cluster::reopen(
                u32::try_from(number("major")).expect("it is small"),
                &word("name"),
                port("database_port"),
            ),
            users: record["users"].clone(),
            version: word("version"),
            port: port("port"),
            directory: directory.to_owned(),
            files: Cleanup::none(),
        }
    }

    /// Removes a site that was kept: processes, clusters, files.
    pub fn remove(self) {
        drop(Cleanup::with(process::end_all_below(&self.directory)));
        drop(Cleanup::with(cluster::removal(&self.cluster.name)));
        drop(Cleanup::with(removal(&self.directory)));
    }
}

fn removal(directory: &Path) -> String {
    format!("chattr -R -i '{0}' 2>/dev/null; rm -rf '{0}'", directory.display())
}

fn collect(root: &Path, path: &Path, found: &mut BTreeMap<String, String>) {
    let Ok(data) = fs::symlink_metadata(path) else { return };
    let what = if data.is_symlink() {
        format!("-> {}", fs::read_link(path).expect("it is a link").display())
    } else if data.is_file() {
        hex(&Sha256::digest(fs::read(path).expect("root reads everything")))
    } else {
        "directory".to_owned()
    };
    let name = path.strip_prefix(root).expect("it was found below").to_string_lossy().into_owned();
    found.insert(name, format!("{:o} {}:{} {what}", data.mode(), data.uid(), data.gid()));
    if data.is_dir() {
        for entry in fs::read_dir(path).expect("root reads everything").flatten() {
            collect(root, &entry.path(), found);
        }
    }
}

/// Releases on a site of their own.
#[derive(Debug)]
pub struct Releases {
    /// The release site.
    pub site: ReleaseSite,
    /// The overlay with their digests, for `--catalogue`.
    pub catalogue: PathBuf,
    /// The directory that is served.
    pub directory: PathBuf,
}
