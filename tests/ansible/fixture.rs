//! Servers on hosts of their own, and a controller that runs the real ansible-playbook against them over ssh.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mm_test_support::host::{Host, Lan};
use mm_test_support::process::{TEST_USER, run, succeeded, wait_until};
use mm_test_support::release::{Order, Release, catalogue, publish};
use mm_test_support::site::Site;
use mm_test_support::{cluster, tool};
use nix::fcntl::{Flock, FlockArg};
use serde_json::{Value, json};

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts");
const MAJOR: u32 = 13;
const PATIENCE: Duration = Duration::from_secs(120);

/// Where the hosts see the releases and the catalogue: as on a share of the house.
const MIRROR: &str = "/srv/mirror";

/// The unit that Mattermost documents, but for the pause before a restart.
fn unit() -> String {
    format!(
        "[Unit]\nDescription=Mattermost\nAfter=network.target\n[Service]\nType=notify\n\
         ExecStart=/opt/mattermost/bin/mattermost\nTimeoutStartSec=60\nKillMode=mixed\nRestart=always\nRestartSec=1\n\
         WorkingDirectory=/opt/mattermost\nUser={TEST_USER}\nGroup={TEST_USER}\nLimitNOFILE=49152\n"
    )
}

/// Hosts and the controller that has them in its inventory.
pub(crate) struct Play {
    pub(crate) hosts: Vec<Host>,
    pub(crate) lan: Lan,
    variables: Value,
}

/// How a playbook ended.
pub(crate) struct Recap {
    pub(crate) code: Option<i32>,
    pub(crate) said: String,
}

impl Recap {
    fn of(output: &Output) -> Self {
        let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
        Self { code: output.status.code(), said }
    }

    /// A number of the recap's line for a host, such as `changed`.
    pub(crate) fn count(&self, host: &str, word: &str) -> u32 {
        let recap = self.said.split_once("PLAY RECAP").unwrap_or_else(|| panic!("no recap: {}", self.said)).1;
        let line = recap.lines().find(|line| line.starts_with(&format!("{host} "))).expect("the host is in the recap");
        let (_, rest) = line.split_once(&format!("{word}=")).expect("the recap counts it");
        rest.split(' ').next().unwrap().parse().unwrap()
    }

    #[track_caller]
    pub(crate) fn good(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.said);
        self
    }

    /// A playbook that was to find all as it is wanted.
    #[track_caller]
    pub(crate) fn unchanged(self, hosts: &[&str]) -> Self {
        for host in hosts {
            assert_eq!((self.count(host, "changed"), self.count(host, "failed")), (0, 0), "{}", self.said);
        }
        self.good()
    }
}

impl Play {
    /// Hosts without a server, and without the tools.
    pub(crate) fn bare(names: &[&str]) -> Self {
        Self::boot(names, Lan::new(), &[])
    }

    /// A server of the first of these releases on every host, all on the database of the first host; with the tools.
    pub(crate) fn of(versions: &[Order], names: &[&str]) -> Self {
        let tools: Vec<(PathBuf, String)> =
            tool::TOOLS.iter().map(|name| (tool::executable(name), format!("/usr/local/bin/{name}"))).collect();
        Self::with_servers(versions, names, &tools)
    }

    /// The same without the tools.
    pub(crate) fn without_tools(versions: &[Order], names: &[&str]) -> Self {
        Self::with_servers(versions, names, &[])
    }

    fn with_servers(versions: &[Order], names: &[&str], tools: &[(PathBuf, String)]) -> Self {
        let lan = Lan::new();
        let built: Vec<Release> = versions.iter().map(Order::build).collect();
        let mirror = lan.directory().join("mirror");
        publish(&mirror, &built);
        fs::write(mirror.join("catalogue.json"), catalogue(&built).to_string()).unwrap();
        let mut shared: Vec<(&Path, &str)> = tools.iter().map(|(from, to)| (from.as_path(), to.as_str())).collect();
        shared.push((&mirror, MIRROR));
        let play = Self::boot(names, lan, &shared);
        let files = Site::builder(&versions[0].version).postgres(MAJOR).files();
        play.database(&files.join("data"));
        for host in &play.hosts {
            play.server(host, &files.join("mattermost"));
        }
        play
    }

    fn boot(names: &[&str], lan: Lan, shared: &[(&Path, &str)]) -> Self {
        let catalogue = format!("{MIRROR}/catalogue.json");
        let variables = json!({
            "mm_tools_store": "/srv/backup", "mm_tools_watch": 1,
            "mm_tools_flags": {
                "mm-path": ["--catalogue", catalogue],
                "mm-fetch": ["--catalogue", catalogue, "--mirror", MIRROR],
                "mm-swap": ["--start-timeout", "60"],
                "mm-verify": ["--browser", "no"],
            },
        });
        let hosts = names.iter().map(|name| lan.boot(name, shared)).collect();
        let play = Self { hosts, lan, variables };
        play.write_inventory();
        play
    }

    /// Gives every host a variable, as somebody does who edits the inventory.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.variables[name] = value.into();
        self.write_inventory();
    }

    fn write_inventory(&self) {
        let hosts: serde_json::Map<String, Value> =
            self.hosts.iter().map(|host| (host.name.clone(), self.lan.connection(host))).collect();
        // What is JSON is YAML too.
        let inventory = json!({"mattermost": {"hosts": hosts, "vars": self.variables}});
        fs::write(self.lan.directory().join("inventory.yml"), inventory.to_string()).unwrap();
    }

    /// Runs a playbook from the controller.
    pub(crate) fn run(&self, playbook: &str, arguments: &[&str]) -> Recap {
        let home = self.lan.directory().join("home");
        fs::create_dir_all(&home).unwrap();
        // The ssh connections that it keeps open for its next run end with it.
        let mut command = self.lan.at_controller("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "ansible-playbook"]);
        command.args(["-i", "../inventory.yml", &format!("{SCRIPTS}/ansible/{playbook}")]).args(arguments);
        command.current_dir(&home).env("HOME", &home).env("LC_ALL", "C.UTF-8").env("ANSIBLE_PIPELINING", "true");
        Recap::of(&command.output().unwrap())
    }

    /// PostgreSQL's usual cluster on the first host, for all of them.
    fn database(&self, data: &Path) {
        let host = &self.hosts[0];
        let options = ["listen_addresses=*", "fsync=off", "full_page_writes=off", "synchronous_commit=off"];
        let options: String = options.iter().flat_map(|option| [" --pgoption=", option]).collect();
        host.run(&format!(
            "chown postgres:postgres /etc/postgresql /var/lib/postgresql; chown root:postgres /var/log/postgresql; \
             chmod 1775 /var/log/postgresql; \
             pg_createcluster --locale=C.UTF-8 --encoding=UTF8 --port=5432{options} {MAJOR} main -- --no-sync; \
             rm -r /var/lib/postgresql/{MAJOR}/main; \
             echo 'host all all 192.0.2.0/24 md5' >>/etc/postgresql/{MAJOR}/main/pg_hba.conf"
        ));
        let place = host.path(&format!("/var/lib/postgresql/{MAJOR}/main"));
        run("cp", &["-a", "--reflink=auto", data.to_str().unwrap(), place.to_str().unwrap()]);
        host.run(&format!("systemctl start postgresql@{MAJOR}-main"));
    }

    /// Mattermost as its documentation sets it up.
    fn server(&self, host: &Host, tree: &Path) {
        let place = host.path("/opt/mattermost");
        run("cp", &["-a", "--reflink=auto", tree.to_str().unwrap(), place.to_str().unwrap()]);
        let path = place.join("config/config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let database =
            if host.name == self.hosts[0].name { "127.0.0.1".to_owned() } else { self.hosts[0].address.clone() };
        config["SqlSettings"]["DataSource"] = cluster::url(5432).replace("127.0.0.1", &database).into();
        config["ServiceSettings"]["ListenAddress"] = ":8065".into();
        config["ServiceSettings"]["SiteURL"] = format!("http://{}:8065", host.address).into();
        let owner = fs::metadata(&path).unwrap();
        fs::write(&path, serde_json::to_string_pretty(&config).unwrap()).unwrap();
        chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
        host.run(&format!(
            "cat >/etc/systemd/system/mattermost.service <<'TXT'\n{}TXT\nsystemctl daemon-reload; systemctl start mattermost",
            unit()
        ));
        wait_until(&format!("the server of {} to answer", host.name), PATIENCE, || {
            self.running_version(host).is_some()
        });
    }

    /// The version that the server of a host says it has, asked over the network; `None` when none answers.
    fn running_version(&self, host: &Host) -> Option<String> {
        self.ask([host]).remove(0)
    }

    /// The same of several, one after the other.
    fn ask<'a>(&self, hosts: impl IntoIterator<Item = &'a Host>) -> Vec<Option<String>> {
        let mut command = self.lan.at_controller("curl");
        command.args(["-sS", "--max-time", "10", "-w", "\n"]);
        command.args(
            hosts.into_iter().map(|host| format!("http://{}:8065/api/v4/config/client?format=old", host.address)),
        );
        let said = String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned();
        let version = |line: &str| serde_json::from_str::<Value>(line).ok()?["Version"].as_str().map(str::to_owned);
        said.lines().map(version).collect()
    }

    /// What all hosts serve.
    pub(crate) fn running_versions(&self) -> Vec<String> {
        self.ask(&self.hosts).into_iter().map(Option::unwrap_or_default).collect()
    }

    /// Number and digest of all that people have written.
    pub(crate) fn history(&self) -> String {
        let columns = "id, channelid, userid, message, createat, deleteat, rootid, fileids";
        self.hosts[0].run(&format!(
            "runuser -u postgres -- psql -XqAt -d {} -c \"SELECT count(*), md5(string_agg(concat_ws('|', {columns}), '' \
             ORDER BY id COLLATE \\\"C\\\")) FROM posts\"",
            cluster::DATABASE
        ))
    }

    /// Looks at the versions that the hosts serve, again and again, while `act` runs. The first one is looked at once
    /// more at the end of each look: it may have come back while the others were asked.
    pub(crate) fn watched<T>(&self, act: impl FnOnce() -> T) -> (T, Vec<Vec<Option<String>>>) {
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                let mut seen = Vec::new();
                while !ended.load(Ordering::Relaxed) {
                    seen.push(self.ask(self.hosts.iter().chain(self.hosts.first())));
                    std::thread::sleep(Duration::from_millis(50));
                }
                seen
            });
            let result = act();
            ended.store(true, Ordering::Relaxed);
            (result, watcher.join().unwrap())
        })
    }
}

/// Files of users and administrators on a host, with owner, mode and content.
pub(crate) fn user_files(host: &Host) -> String {
    host.run("cd /opt/mattermost; find custom data -printf '%p %m %u %l\\n' | sort; find custom data -type f -print0 | sort -z | xargs -0 sha256sum")
}

/// The process of the server, as systemd knows it.
pub(crate) fn main_pid(host: &Host) -> String {
    host.run("systemctl show -P MainPID mattermost")
}

/// The package and the tarball of the programs that the tests run, without their symbols. Each test is a process of its
/// own: what one has packed the others find in the cache.
pub(crate) fn packed() -> [PathBuf; 2] {
    let base = tool::cache().join("packed");
    fs::create_dir_all(&base).unwrap();
    let _lock = Flock::lock(fs::File::create(base.join("lock")).unwrap(), FlockArg::LockExclusive).unwrap();
    let programs = tool::TOOLS.map(|name| tool::executable(name).display().to_string()).join(" ");
    let newest = format!("find {programs} {SCRIPTS} {SCRIPTS}/../man {SCRIPTS}/../completions -type f -printf '%T@\n'");
    let place = base.join(run("sh", &["-c", &format!("{newest} | sort -n | tail -n 1")]).trim());
    if !place.exists() {
        let working = tempfile::Builder::new().prefix("making-").tempdir_in(&base).unwrap();
        let script = format!(
            "mkdir '{0}/bin' && for program in {programs}; do strip -o '{0}/bin/'\"${{program##*/}}\" \"$program\" || exit; done \
             && {SCRIPTS}/package --binaries '{0}/bin' --output '{0}' && rm -r '{0}/bin'",
            working.path().display()
        );
        let mut command = tool::shell(&script);
        command.env("DPKG_DEB_COMPRESSOR_TYPE", "gzip").env("DPKG_DEB_COMPRESSOR_LEVEL", "1");
        succeeded(&script, command.output().unwrap());
        fs::rename(working.keep(), &place).unwrap();
    }
    let file = |ending: &str| {
        let mut files = fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path());
        files.find(|path| path.to_str().unwrap().ends_with(ending)).expect("it was packed")
    };
    [file(".deb"), file(".tar.gz")]
}
