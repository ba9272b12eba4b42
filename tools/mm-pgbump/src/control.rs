//! Starting, stopping and moving clusters, with Debian's own programs wherever they can.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use mm_common::machine::command::{self, Cmd};
use mm_common::machine::files::{self, Access};
use mm_common::machine::process;
use mm_common::machine::tree::Dir;
use mm_common::machine::user::User;
use mm_common::postgres::cluster::{self, Cluster};
pub(crate) use mm_common::postgres::cluster::{is_disabled, start_conf};
use mm_common::postgres::server::{self, Database};
use mm_common::{Context as _, Error, Result};

use crate::plan::Mode;

/// How long a server may take to start or stop. After a crash it replays its log first; what takes longer needs eyes.
const START_LIMIT: Duration = Duration::from_secs(900);

/// The `pg_hba.conf` of a cluster that is shut: nobody but its owner on this machine, no password asked.
const HBA: &str = "mm-pgbump.hba";

/// Comment and word, as `pg_upgradecluster` leaves it: kept, but not started by the machine.
const MANUAL: &str =
    "# The data of this cluster was carried to another one. It is kept, but not started automatically.\nmanual\n";

/// While an upgrade goes on. `pg_upgradecluster` hands it to the new cluster.
const HELD: &str =
    "# An upgrade of this cluster by mm-pgbump has not ended. If it was cut off: mm-pgbump recover\nmanual\n";

/// While a cluster is started that its `start.conf` says not to start.
const STARTING: &str = "manual\n";

/// What a cluster without a `start.conf` is.
const AUTO: &str = "auto\n";

/// Starts a cluster for everybody. Debian's own program starts none that is disabled, whoever disabled it: such a cluster
/// gets its word back once it runs.
pub(crate) fn start(cluster: &Cluster) -> Result<()> {
    let Some(text) = start_conf(cluster)?.filter(|text| is_disabled(text)) else {
        return control(cluster, "start", &[]);
    };
    set_start_conf(cluster, STARTING)?;
    let started = control(cluster, "start", &[]);
    started.and(set_start_conf(cluster, &text))
}

/// A start for everybody that Debian's program has not ended yet.
pub(crate) struct Starting<'a> {
    cluster: &'a Cluster,
    command: Cmd,
    child: Child,
}

/// As [`start`], and returns as soon as the server takes connections. Debian's program goes on for two seconds from then, in
/// which it asks it again and again whether it stays: other work can be done meanwhile.
///
/// # Errors
/// As [`start`], as far as that is known by then.
pub(crate) fn begin_start<'a>(cluster: &'a Cluster, entrance: &str) -> Result<Option<Starting<'a>>> {
    if start_conf(cluster)?.is_some_and(|text| is_disabled(&text)) {
        return start(cluster).map(|()| None);
    }
    let command = command_of(cluster, "start", &[]);
    let child = command.start(Stdio::null(), Stdio::null(), Stdio::null())?;
    let mut starting = Starting { cluster, command, child };
    let begun = Instant::now();
    while starting.child.try_wait().is_ok_and(|ended| ended.is_none()) && begun.elapsed() < START_LIMIT {
        // What is asked before it takes connections is a start of psql for nothing.
        if mode(cluster)? == Mode::Open && is_ready(cluster)? && Database::superuser(cluster, entrance).is_ok() {
            return Ok(Some(starting));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    starting.end().map(|()| None)
}

/// Whether the server itself says that it takes connections: the eighth line of its pid file (`miscadmin.h`).
fn is_ready(cluster: &Cluster) -> Result<bool> {
    let path = cluster.data.join("postmaster.pid");
    let text = if files::look(&path)?.is_some() { files::read_text(&path, 4096)? } else { String::new() };
    Ok(text.lines().nth(7).is_some_and(|line| line.trim() == "ready"))
}

impl Starting<'_> {
    /// Waits until Debian's program has ended.
    ///
    /// # Errors
    /// When it says that the server does not run.
    pub(crate) fn end(mut self) -> Result<()> {
        let status =
            self.child.wait().map_err(|error| Error::failed("cannot wait for pg_ctlcluster").because(error))?;
        let output = command::Output { status, stdout: Vec::new(), stderr: String::new() };
        if output.status.success() {
            return Ok(());
        }
        Err(started_badly(self.command.failure(&output), "start", self.cluster))
    }
}

/// Starts a cluster for nobody but its owner, so that nothing changes while it is read.
pub(crate) fn start_shut(cluster: &Cluster) -> Result<()> {
    let owner = User::named(&cluster.owner)?;
    let path = cluster.configuration.join(HBA);
    let text = format!("local all \"{}\" peer\n", cluster.owner);
    cluster.directory()?.write(HBA.as_ref(), text.as_bytes(), Access { mode: 0o640, owner: Some((0, owner.gid)) })?;
    // pg_ctlcluster would ask it as root until it has been turned away eleven times, which takes over five seconds.
    let program = program(cluster)?;
    let option =
        |name: &str, value: &Path| format!("-c '{name}={}'", value.display().to_string().replace('\'', r"'\''"));
    let options = [
        option("config_file", &cluster.configuration.join("postgresql.conf")),
        option("hba_file", &path),
        option("ident_file", &cluster.configuration.join("pg_ident.conf")),
        option("unix_socket_directories", &cluster.socket),
    ];
    let log = if cluster.log.as_os_str().is_empty() { Path::new("/dev/null") } else { &cluster.log };
    let mut command = Cmd::new(program.display().to_string())
        .args(["start", "--wait", "--silent", "--timeout", &START_LIMIT.as_secs().to_string(), "-D"])
        .arg(&cluster.data)
        .arg("-l")
        .arg(log)
        .args(["-o", &options.join(" ")])
        .user(&owner)
        .limit(START_LIMIT + Duration::from_secs(10));
    for (name, value) in environment(cluster)? {
        command = command.env(name, value);
    }
    command.run().map(drop).map_err(|error| started_badly(error, "start", cluster))
}

/// The variables that the administrator gives the server of a cluster in its file `environment`.
fn environment(cluster: &Cluster) -> Result<Vec<(String, String)>> {
    Ok(variables(&cluster.configuration_text("environment", 1 << 20)?.unwrap_or_default()))
}

/// Lines `NAME = 'value'`, as postgresql-common reads them: in single quotes, which are doubled or escaped inside, or
/// bare up to a comment.
fn variables(text: &str) -> Vec<(String, String)> {
    let line = |line: &str| {
        let line = line.trim();
        let end = line.find(|c: char| c != '_' && !c.is_ascii_alphanumeric())?;
        let (name, rest) = line.split_at(end);
        let rest = rest.trim_start();
        let rest = rest.strip_prefix('=').unwrap_or(rest).trim_start();
        let value = match rest.strip_prefix('\'') {
            None => rest.split('#').next().unwrap_or_default().trim_end().to_owned(),
            Some(quoted) => {
                let inner = quoted.rsplit_once('\'').map_or(quoted, |(inner, _)| inner);
                inner.replace("''", "'").replace("\\'", "'")
            }
        };
        (!name.is_empty()).then(|| (name.to_owned(), value))
    };
    text.lines().filter_map(line).collect()
}

/// Removes what [`start_shut`] wrote; the running server has read it.
pub(crate) fn forget_shut(cluster: &Cluster) -> Result<()> {
    cluster.directory()?.remove_entry(HBA.as_ref())
}

/// Stops a cluster, however it was started; that it does not run is fine. Clients are cut off.
pub(crate) fn stop(cluster: &Cluster) -> Result<()> {
    let mode = mode(cluster)?;
    if mode == Mode::Down {
        return Ok(());
    }
    // pg_ctlcluster goes by the configuration; a server in pg_upgrade's mode does not.
    if mode != Mode::BinaryUpgrade
        && control(cluster, "stop", &["-m", "fast"]).is_ok()
        && self::mode(cluster)? == Mode::Down
    {
        return Ok(());
    }
    Cmd::new(program(cluster)?.display().to_string())
        .args(["stop", "--mode=fast", "--wait", "--silent", "--timeout", &START_LIMIT.as_secs().to_string(), "-D"])
        .arg(&cluster.data)
        .user(&User::named(&cluster.owner)?)
        .limit(START_LIMIT)
        .run()
        .context(|| format!("cannot stop the cluster {}", cluster.label()))?;
    Ok(())
}

fn program(cluster: &Cluster) -> Result<PathBuf> {
    server::program_of("pg_ctl", cluster.major)
        .ok_or_else(|| Error::failed(format!("PostgreSQL {} has no pg_ctl on this machine", cluster.major)))
}

fn control(cluster: &Cluster, action: &str, options: &[&str]) -> Result<()> {
    command_of(cluster, action, options).run().map_err(|error| started_badly(error, action, cluster))?;
    Ok(())
}

fn command_of(cluster: &Cluster, action: &str, options: &[&str]) -> Cmd {
    cluster::tool("pg_ctlcluster")
        .env("PGCTLTIMEOUT", START_LIMIT.as_secs().to_string())
        .args([cluster.major.to_string().as_str(), &cluster.name, action])
        .args(options)
        .limit(START_LIMIT + Duration::from_secs(10))
}

/// What the server itself said is in its log.
fn started_badly(error: Error, action: &str, cluster: &Cluster) -> Error {
    let log = files::read(&cluster.log, 1 << 30).unwrap_or_default();
    error
        .because(command::tail(&String::from_utf8_lossy(&log)))
        .within(format!("cannot {action} the cluster {}", cluster.label()))
        .hint(format!("look at {}", cluster.log.display()))
}

/// How a cluster's server runs, by its own pid file and the command line of that process.
pub(crate) fn mode(cluster: &Cluster) -> Result<Mode> {
    let path = cluster.data.join("postmaster.pid");
    if files::look(&path)?.is_none() {
        return Ok(Mode::Down);
    }
    let text = files::read_text(&path, 4096)?;
    let pid = text.lines().next().and_then(|line| line.trim().parse::<i32>().ok());
    let Some(line) = pid.and_then(process::command_line).filter(|line| line.contains("postgres")) else {
        // Left by a crash; the number is nobody's now, or somebody else's.
        return Ok(Mode::Down);
    };
    Ok(if line.split(' ').any(|word| word == "-b") {
        Mode::BinaryUpgrade
    } else if is_shut(&line) {
        Mode::Shut
    } else {
        Mode::Open
    })
}

/// Whether a server's command line names a `pg_hba.conf` of an upgrade: ours, or `/tmp/pg_hba.XXXXXX.conf` of
/// `pg_upgradecluster`. Naming the usual one means nothing: `pg_ctlcluster` does so when the configuration does not.
fn is_shut(line: &str) -> bool {
    line.split("hba_file=").skip(1).any(|rest| {
        let path = rest.trim_start_matches('"').split([' ', '"']).next().unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or_default();
        name == HBA || (name.starts_with("pg_hba.") && name != "pg_hba.conf")
    })
}

/// Puts a cluster on a port; it must not run.
pub(crate) fn set_port(cluster: &Cluster, port: u16) -> Result<()> {
    cluster::tool("pg_conftool")
        .args([cluster.major.to_string().as_str(), &cluster.name, "set", "port", &port.to_string()])
        .run()
        .context(|| format!("cannot put the cluster {} on port {port}", cluster.label()))?;
    Ok(())
}

/// Writes a cluster's `start.conf`, and tells systemd where it runs.
pub(crate) fn set_start_conf(cluster: &Cluster, text: &str) -> Result<()> {
    let (dir, name) = (cluster.directory()?, "start.conf".as_ref());
    let access =
        dir.look(name)?.map_or(Access::PUBLIC, |meta| Access { mode: meta.mode, owner: Some((meta.uid, meta.gid)) });
    dir.write(name, text.as_bytes(), access)?;
    reload_systemd()
}

/// The machine does not start this cluster any more.
pub(crate) fn set_manual(cluster: &Cluster) -> Result<()> {
    set_start_conf(cluster, MANUAL)
}

/// The machine starts neither this cluster nor the one that is made of it. A power cut would otherwise open the new one
/// before it is proven, and the way back would lose what was written there.
pub(crate) fn hold(cluster: &Cluster) -> Result<()> {
    set_start_conf(cluster, HELD)
}

/// Whether the machine has been kept from starting this cluster all the while.
pub(crate) fn is_held(cluster: &Cluster) -> Result<bool> {
    Ok(start_conf(cluster)?.is_some_and(|text| text == HELD))
}

/// The machine starts this cluster as it started the old one before, which had this `start.conf`.
pub(crate) fn release(cluster: &Cluster, before: Option<&str>) -> Result<()> {
    match (start_conf(cluster)?, before) {
        (None, None) => Ok(()),
        (Some(now), Some(before)) if now == before => Ok(()),
        _ => set_start_conf(cluster, before.unwrap_or(AUTO)),
    }
}

/// Whether systemd starts and stops the clusters, by their units `postgresql@MAJOR-NAME`.
pub(crate) fn is_run_by_systemd() -> bool {
    Path::new("/run/systemd/system").is_dir() && std::env::var_os("PG_CLUSTER_CONF_ROOT").is_none()
}

fn reload_systemd() -> Result<()> {
    if is_run_by_systemd() {
        Cmd::new("systemctl").arg("daemon-reload").run()?;
    }
    Ok(())
}

/// Drops a cluster that does not run, with its data.
///
/// # Errors
/// Refused when another cluster names the same data directory: they would be deleted under it.
pub(crate) fn drop_cluster(cluster: &Cluster) -> Result<()> {
    let place = std::fs::canonicalize(&cluster.data).unwrap_or_else(|_| cluster.data.clone());
    let shares = |other: &Cluster| std::fs::canonicalize(&other.data).is_ok_and(|data| data == place);
    if let Some(other) = cluster::all()?.iter().find(|other| other.label() != cluster.label() && shares(other)) {
        return Err(Error::refused(format!("cannot drop the cluster {}", cluster.label()))
            .because(format!("its data directory `{}` is that of {} too", place.display(), other.label()))
            .hint("look at data_directory in the postgresql.conf of both"));
    }
    let sockets = files::look(&cluster.socket)?;
    cluster::tool("pg_dropcluster")
        .args([cluster.major.to_string().as_str(), &cluster.name])
        .limit(START_LIMIT)
        .run()
        .context(|| format!("cannot drop the cluster {}", cluster.label()))?;
    // It removes an empty socket directory that is not the usual one, though another cluster is to use it.
    if let (Some(before), None) = (sockets, files::look(&cluster.socket)?) {
        // A link of the system's on the usual way there.
        let place = match cluster.socket.strip_prefix("/var/run") {
            Ok(below) => Path::new("/run").join(below),
            Err(_) => cluster.socket.clone(),
        };
        let made = Dir::without_links_creating(&place, 0o700)?;
        fchown(made.file(), Some(before.uid()), Some(before.gid()))
            .and_then(|()| made.file().set_permissions(Permissions::from_mode(before.mode() & 0o7777)))
            .map_err(|error| Error::io("set the owner of", &cluster.socket, error))?;
    }
    Ok(())
}

/// The directories of other majors inside the tablespaces of a cluster: what an upgrade to `major` makes there.
pub(crate) fn tablespace_directories(cluster: &Cluster, major: u32) -> Result<Vec<PathBuf>> {
    let links = cluster.data.join("pg_tblspc");
    let mut found = Vec::new();
    for entry in entries(&links)? {
        let Ok(location) = std::fs::read_link(&entry) else { continue };
        let prefix = format!("PG_{major}_");
        found.extend(entries(&location)?.into_iter().filter(|path| name_of(path).starts_with(&prefix)));
    }
    Ok(found)
}

/// What is in a directory; nothing when there is none.
pub(crate) fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::io("list", directory, error)),
        Ok(list) => list
            .map(|entry| entry.map(|entry| entry.path()).map_err(|error| Error::io("list", directory, error)))
            .collect(),
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_of_a_server_is_read_as_debian_reads_it() {
        let text = "# ours\nLAB = 'here'\n\nTZ=UTC # bare\nA 'it''s # no comment' # one\nB = 'it\\'s'\n";
        let found = variables(text);
        let wanted = [("LAB", "here"), ("TZ", "UTC"), ("A", "it's # no comment"), ("B", "it's")];
        assert_eq!(found, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn the_first_word_of_a_start_conf_counts() {
        for disabled in ["disabled", "# disabled by hand\n\n  disabled # Pacemaker\nauto\n"] {
            assert!(is_disabled(disabled), "{disabled}");
        }
        for other in ["", "auto\n", "# disabled\nmanual\n", MANUAL, HELD] {
            assert!(!is_disabled(other), "{other}");
        }
    }

    #[test]
    fn only_the_hba_file_of_an_upgrade_shuts_a_server() {
        assert!(is_shut("postgres -D /d -c hba_file=/etc/postgresql/13/main/mm-pgbump.hba "));
        assert!(is_shut(
            "postgres -c hba_file=\"/etc/postgresql/13/main/pg_hba.conf\" -c hba_file=/tmp/pg_hba.Xa1b2c.conf"
        ));
        assert!(!is_shut("postgres -D /d -c hba_file=\"/etc/postgresql/13/main/pg_hba.conf\""));
        assert!(!is_shut("postgres -D /d -c config_file=/etc/postgresql/13/main/postgresql.conf"));
    }
}
