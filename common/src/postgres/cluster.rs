//! Debian's PostgreSQL clusters, as `pg_lsclusters` and their own files show them.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::programs::{Part, install};
use super::server::{self, Database};
use crate::contract::error::{Error, Result};
use crate::machine::command::{self, Cmd, TO_ASK};
use crate::machine::tree::Dir;
use crate::machine::user::User;

/// postgresql-common looks for clusters below this directory instead of `/etc/postgresql` when the variable is set. It
/// is the administrator's own, so the tools hand it on.
const CONF_ROOT: &str = "PG_CLUSTER_CONF_ROOT";

/// What a cluster is where no `start.conf` says otherwise.
const AUTO: &str = "auto";

/// How the name of a frozen copy of a database ends, as a regular expression.
pub const FROZEN: &str = "_mm_frozen_[0-9]{8}T[0-9]{6}Z$";

/// As a condition on `pg_database`: what is the server's own besides its database, those that mm-backup keeps beside it
/// when it restores, and its frozen copies. A long name is cut to the 63 bytes that PostgreSQL keeps, at the end of a
/// character.
pub const KEPT: &str = "(datname ~ '_mm_(before|frozen)_[0-9]{8}T[0-9]{6}Z$'
     AND (pg_catalog.regexp_replace(datname, '_mm_(before|frozen)_[0-9]{8}T[0-9]{6}Z$', '') = pg_catalog.current_database()
          OR pg_catalog.octet_length(datname) >= 60
             AND position(pg_catalog.regexp_replace(datname, '_mm_(before|frozen)_[0-9]{8}T[0-9]{6}Z$', '') IN pg_catalog.current_database()) = 1))";

/// A cluster of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Major version.
    pub major: u32,
    /// Name, such as `main`.
    pub name: String,
    /// Port.
    pub port: u16,
    /// Whether its server runs.
    pub online: bool,
    /// `auto`, `manual` or `disabled`: whether the machine starts it.
    pub start: String,
    /// The user it runs as.
    pub owner: String,
    /// Its data directory.
    pub data: PathBuf,
    /// Directory of its configuration.
    pub configuration: PathBuf,
    /// Directory of its unix socket.
    pub socket: PathBuf,
    /// Its log file.
    pub log: PathBuf,
}

impl Cluster {
    /// `13/main`.
    pub fn label(&self) -> String {
        format!("{}/{}", self.major, self.name)
    }

    /// Its data directory, where that is one of this machine: a server that describes itself may be in a container.
    pub fn data_here(&self) -> Option<&Path> {
        self.data.is_dir().then_some(&self.data)
    }

    /// The number initdb gave this cluster, read from its files: a cluster is known by it, whatever port it is on. A
    /// major upgrade makes a new one.
    pub fn system_identifier(&self) -> Result<String> {
        let program = server::program_of("pg_controldata", self.major).ok_or_else(|| {
            Error::refused(format!("the program `pg_controldata` of PostgreSQL {} is not installed", self.major))
                .hint(install(self.major, Part::Server))
        })?;
        let owner = User::named(&self.owner)?;
        let output =
            Cmd::new(program.display().to_string()).arg("-D").arg(&self.data).user(&owner).within(TO_ASK).run()?;
        let text = output.text();
        text.lines()
            .find_map(|line| line.strip_prefix("Database system identifier:"))
            .map(|number| number.trim().to_owned())
            .ok_or_else(|| Error::failed(format!("pg_controldata names no system identifier of {}", self.label())))
    }

    /// The directory of its configuration, held open. On Debian it belongs to `postgres`, with all above it up to
    /// `/etc/postgresql`: root works there by descriptors, as any of them could be exchanged for a link.
    ///
    /// # Errors
    /// Failed when there is none, or when a link leads to one that is not the cluster's owner's.
    pub fn directory(&self) -> Result<Dir> {
        self.directory_if_there()?
            .ok_or_else(|| Error::failed(format!("there is no directory `{}`", self.configuration.display())))
    }

    fn directory_if_there(&self) -> Result<Option<Dir>> {
        let root = configuration_root();
        let reached = match self.configuration.strip_prefix(&root) {
            Ok(below) if root.is_dir() => Dir::open_following(&root)?.descend(below),
            _ => Dir::without_links(&self.configuration),
        };
        match reached {
            Err(error) => {
                let why = format!("what it leads to does not belong to `{}`, whose cluster it is", self.owner);
                self.behind_a_link()?.map_or_else(|| Err(error.because(why)), |dir| Ok(Some(dir)))
            }
            reached => reached,
        }
    }

    /// The directory where an administrator has put it, with a link in its place. What belongs to the owner of the cluster
    /// is no more than he can write himself, whoever has made the link.
    fn behind_a_link(&self) -> Result<Option<Dir>> {
        let dir = Dir::open_following(&self.configuration)?;
        Ok((dir.meta()?.uid == User::named(&self.owner)?.uid).then_some(dir))
    }

    /// The text of a file in that directory; `None` when there is none.
    ///
    /// # Errors
    /// As [`Cluster::directory`]; failed also when it is larger than `most` bytes.
    pub fn configuration_text(&self, name: &str, most: u64) -> Result<Option<String>> {
        let Some(dir) = self.directory_if_there()? else { return Ok(None) };
        if dir.look(name.as_ref())?.is_none() {
            return Ok(None);
        }
        let path = self.configuration.join(name);
        String::from_utf8(dir.read(name.as_ref(), most)?).map(Some).map_err(|error| Error::io("read", path, error))
    }
}

/// The text of a cluster's `start.conf`.
pub fn start_conf(cluster: &Cluster) -> Result<Option<String>> {
    cluster.configuration_text("start.conf", 64 * 1024)
}

/// Whether a `start.conf` says that nobody is to start the cluster but whoever manages it (Pacemaker, Patroni). The first
/// word counts, as postgresql-common reads it.
pub fn is_disabled(text: &str) -> bool {
    first_word(text).starts_with("disabled")
}

/// What a `start.conf` says.
fn first_word(text: &str) -> &str {
    let mut lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.find(|line| !line.is_empty()).unwrap_or(AUTO)
}

/// A program of postgresql-common, which finds the same clusters as this module. What it creates below `/etc` the
/// server has to read, so it runs under the usual umask.
pub fn tool(program: &str) -> Cmd {
    of_debian(program).umask(0o022)
}

fn of_debian(program: &str) -> Cmd {
    let command = Cmd::new(program);
    match std::env::var_os(CONF_ROOT) {
        Some(root) => command.env(CONF_ROOT, root),
        None => command,
    }
}

/// The directory in which the configuration of cluster `major`/`name` is, or would be.
pub fn configuration_directory(major: u32, name: &str) -> PathBuf {
    configuration_root().join(major.to_string()).join(name)
}

/// The directory below which the configurations of all clusters are.
pub fn configuration_root() -> PathBuf {
    std::env::var_os(CONF_ROOT).map_or_else(|| PathBuf::from("/etc/postgresql"), PathBuf::from)
}

/// All clusters of this machine. None when postgresql-common is not installed.
pub fn all() -> Result<Vec<Cluster>> {
    if !command::exists("pg_lsclusters") {
        return Ok(Vec::new());
    }
    if let Ok(clusters) = list(&[]) {
        return Ok(clusters);
    }
    // One cluster without its data directory (removed by hand, or just being made or dropped) fails the whole list.
    let mut clusters = Vec::new();
    let mut first = None;
    for (version, name) in configured()? {
        match list(&[&version, &name]) {
            Ok(found) => clusters.extend(found),
            Err(error) => first = first.or(Some(error)),
        }
    }
    match first {
        Some(error) if clusters.is_empty() => Err(error.within("cannot list the PostgreSQL clusters")),
        _ => Ok(clusters),
    }
}

fn list(which: &[&str]) -> Result<Vec<Cluster>> {
    let output = match of_debian("pg_lsclusters").arg("--json").args(which).run() {
        Err(error) if error.one_line().contains("JSON.pm") => without_its_module(which).run()?,
        other => other?,
    };
    parse(&output.stdout)
}

/// `pg_lsclusters` for hosts without the Perl module that it wants for JSON: no package of PostgreSQL asks for it, and Perl
/// itself has one with the same function.
fn without_its_module(which: &[&str]) -> Cmd {
    const LIST: &str = r#"package JSON; require JSON::PP; JSON::PP->import("encode_json"); package main;
        $INC{"JSON.pm"} = $INC{"JSON/PP.pm"}; $0 = shift; do $0; die $@ || $!"#;
    let script = command::find("pg_lsclusters").unwrap_or_default();
    of_debian("perl").args(["-e", LIST]).arg(script).arg("--json").args(which)
}

/// The clusters that `pg_lsclusters --json` has printed; half-made ones are left out.
///
/// # Errors
/// Failed when it is not a JSON list.
pub fn parse(printed: &[u8]) -> Result<Vec<Cluster>> {
    let list: Vec<Value> = serde_json::from_slice(printed)
        .map_err(|error| Error::failed("cannot understand the output of `pg_lsclusters --json`").because(error))?;
    Ok(list.iter().filter_map(of_json).collect())
}

/// Version and name of everything that has a configuration.
fn configured() -> Result<Vec<(String, String)>> {
    let entries = |directory: &Path| -> Result<Vec<PathBuf>> {
        match std::fs::read_dir(directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(Error::io("list", directory, error)),
            Ok(list) => Ok(list.flatten().map(|entry| entry.path()).collect()),
        }
    };
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut found = Vec::new();
    for version in entries(&configuration_root())? {
        for cluster in entries(&version).unwrap_or_default() {
            if cluster.join("postgresql.conf").is_file() {
                found.push((name(&version), name(&cluster)));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The cluster with this version and name.
pub fn find(major: u32, name: &str) -> Result<Option<Cluster>> {
    Ok(all()?.into_iter().find(|cluster| cluster.major == major && cluster.name == name))
}

/// The local cluster that `database` lives in, recognised by its system identifier and not by its port: a container, a
/// tunnel or a pooler on this machine may have the port of a cluster. `None` when it is not one of this machine.
pub fn of_database(database: &Database) -> Result<Option<Cluster>> {
    static KNOWN: Mutex<Vec<(Running, Cluster)>> = Mutex::new(Vec::new());
    // Some providers let nobody ask; a cluster of this host does.
    if database.value("SELECT pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE') AS may")?
        == false
    {
        return Ok(None);
    }
    let running = Running::of(database)?;
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, cluster)) = known.iter().find(|(server, _)| *server == running) {
        let start = start_conf(cluster)?.map_or_else(|| AUTO.to_owned(), |text| first_word(&text).to_owned());
        return Ok(Some(Cluster { start, ..cluster.clone() }));
    }
    for cluster in all()?.into_iter().filter(|cluster| cluster.online && cluster.major == database.major()) {
        if running.port == cluster.port && running.identifier == cluster.system_identifier()? {
            known.push((running, cluster.clone()));
            return Ok(Some(cluster));
        }
    }
    Ok(None)
}

/// A server as it says itself which one it is. Until it is started anew it stays the one of its cluster.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Running {
    identifier: String,
    /// Copies of a data directory, a standby for one, have the same identifier.
    port: u16,
    started: String,
}

impl Running {
    fn of(database: &Database) -> Result<Self> {
        let mut rows = database.rows(
            "SELECT system_identifier::pg_catalog.text AS identifier, pg_catalog.current_setting('port')::int AS port,
               pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time())::pg_catalog.text AS started
             FROM pg_catalog.pg_control_system()",
        )?;
        serde_json::from_value(rows.pop().unwrap_or_default())
            .map_err(|error| Error::failed("the database server does not say which one it is").because(error))
    }
}

/// Half-made clusters are left out: without a port, an owner or a data directory nothing can be done with one.
fn of_json(value: &Value) -> Option<Cluster> {
    // A number (15), or 9.6.
    let version = value["version"].as_str().map_or_else(|| value["version"].to_string(), str::to_owned);
    let text = |key: &str| value[key].as_str().filter(|text| !text.is_empty());
    let number = |key: &str| value[key].as_u64().or_else(|| value[key].as_str()?.parse().ok());
    let uid = u32::try_from(number("owneruid")?).ok()?;
    let gid = u32::try_from(number("ownergid")?).ok()?;
    Some(Cluster {
        major: version.split('.').next()?.parse().ok()?,
        name: text("cluster")?.to_owned(),
        port: u16::try_from(number("port")?).ok()?,
        online: number("running") == Some(1),
        start: text("start").unwrap_or(AUTO).to_owned(),
        owner: User::of_ids(uid, gid).name,
        data: text("pgdata")?.into(),
        configuration: text("configdir")?.into(),
        socket: text("socketdir").unwrap_or("/var/run/postgresql").into(),
        log: text("logfile").unwrap_or_default().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_that_pg_lsclusters_wants_is_not_needed() {
        // Clusters of its own: those of this machine come and go while tests run.
        let root = tempfile::tempdir().unwrap();
        let (conf, data) = (root.path().join("15/main"), root.path().join("data"));
        std::fs::create_dir_all(&conf).unwrap();
        std::fs::create_dir(&data).unwrap();
        let text = format!("port = 5499\ndata_directory = '{}'\n", data.display());
        let access = crate::machine::files::Access::PUBLIC;
        crate::machine::files::write(&conf.join("postgresql.conf"), text.as_bytes(), access).unwrap();
        let [with, without] = [of_debian("pg_lsclusters").arg("--json"), without_its_module(&[])]
            .map(|command| parse(&command.env(CONF_ROOT, root.path()).run().unwrap().stdout).unwrap());
        assert_eq!((with.len(), with[0].port), (1, 5499));
        assert_eq!(without, with);
    }

    /// What `pg_lsclusters --json` prints of a cluster `main` on port 5432 that does not run, in the versions of postgresql-common
    /// that are in use, recorded from Debian's packages; the settings in `config`, which nobody reads, are left out.
    const RECORDED: [(&str, u32, &str); 4] = [
        (
            "225+deb11u1",
            13,
            r#"[{"ownergid":106,"owneruid":104,"cluster":"main","socketdir":"/var/run/postgresql","configuid":104,"running":0,"logfile":"/var/log/postgresql/postgresql-13-main.log","version":13,"configdir":"/etc/postgresql/13/main","port":"5432","pgdata":"/var/lib/postgresql/13/main","start":"auto","config":{}}]"#,
        ),
        (
            "248+deb12u1",
            15,
            r#"[{"port":"5432","socketdir":"/var/run/postgresql","pgdata":"/var/lib/postgresql/15/main","version":15,"configuid":101,"ownergid":104,"start":"auto","configdir":"/etc/postgresql/15/main","owneruid":101,"cluster":"main","running":0,"logfile":"/var/log/postgresql/postgresql-15-main.log"}]"#,
        ),
        (
            "278+deb13u1",
            15,
            r#"[{"config":{},"logfile":"/var/log/postgresql/postgresql-15-main.log","start":"auto","pgdata":"/var/lib/postgresql/15/main","version":15,"owneruid":100,"configfile":"/etc/postgresql/15/main/postgresql.conf","ownergid":102,"cluster":"main","configuid":100,"socketdir":"/var/run/postgresql","port":"5432","configdir":"/etc/postgresql/15/main","running":0}]"#,
        ),
        (
            "293",
            15,
            r#"[{"pgdata":"/var/lib/postgresql/15/main","socketdir":"/var/run/postgresql","owneruid":101,"port":"5432","start":"auto","configdir":"/etc/postgresql/15/main","running":0,"cluster":"main","configuid":101,"configfile":"/etc/postgresql/15/main/postgresql.conf","ownergid":101,"logfile":"/var/log/postgresql/postgresql-15-main.log","version":15}]"#,
        ),
    ];

    #[test]
    fn every_version_in_use_lists_its_clusters_alike() {
        for (version, major, printed) in RECORDED {
            let clusters = parse(printed.as_bytes()).unwrap();
            let [cluster] = clusters.as_slice() else { panic!("{version}: {clusters:?}") };
            assert_eq!(cluster.label(), format!("{major}/main"), "{version}");
            assert_eq!((cluster.port, cluster.online, cluster.start.as_str()), (5432, false, "auto"), "{version}");
            assert_eq!(cluster.data, PathBuf::from(format!("/var/lib/postgresql/{major}/main")), "{version}");
            assert_eq!(cluster.configuration, PathBuf::from(format!("/etc/postgresql/{major}/main")), "{version}");
            assert_eq!(cluster.socket, Path::new("/var/run/postgresql"), "{version}");
            assert!(cluster.log.ends_with(format!("postgresql-{major}-main.log")), "{version}");
        }
    }

    #[test]
    fn reads_what_pg_lsclusters_prints() {
        let json = r#"{"pgdata":"/var/lib/postgresql/15/main","port":"5432","owneruid":0,"version":15,"start":"manual",
            "running":1,"ownergid":0,"cluster":"main","socketdir":"/run/pg","configdir":"/etc/postgresql/15/main"}"#;
        let cluster = of_json(&serde_json::from_str(json).unwrap()).unwrap();
        assert_eq!(cluster.label(), "15/main");
        assert_eq!((cluster.port, cluster.online, cluster.start.as_str()), (5432, true, "manual"));
        assert_eq!(cluster.owner, "root");
        assert!(of_json(&serde_json::json!({ "version": "9.6", "cluster": "half" })).is_none());
    }
}
