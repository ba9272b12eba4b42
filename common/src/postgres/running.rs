//! How the server of a cluster runs; starting it for nobody else, and stopping it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cluster::{self, Cluster};
use super::server;
use crate::contract::error::{Context as _, Error, Result};
use crate::machine::command::{self, Cmd};
use crate::machine::files::{self, Access};
use crate::machine::process;
use crate::machine::user::User;

/// How long a server may take to start or stop. After a crash it replays its log first; what takes longer needs eyes.
pub const START_LIMIT: Duration = Duration::from_secs(900);

/// The `pg_hba.conf` of a cluster that is shut: nobody but its owner on this machine, no password asked.
const HBA: &str = "mm-pgbump.hba";

/// Settings of a cluster that is read beside the one that serves. `huge_pages` might find none left.
const APART: &[&str] = &[
    "listen_addresses=",
    "default_transaction_read_only=on",
    "autovacuum=off",
    "archive_mode=off",
    "shared_buffers=64MB",
    "huge_pages=off",
];

/// How a cluster's server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It does not.
    Down,
    /// For everybody.
    Open,
    /// With a `pg_hba.conf` of an upgrade, which lets in nobody but its owner.
    Shut,
    /// In `pg_upgrade`'s own mode: `pg_lsclusters` says online, nobody can connect.
    BinaryUpgrade,
}

/// Starts a cluster for nobody but its owner, so that nothing changes while it is read.
///
/// # Errors
/// Failed when the server does not run in time, with the end of what it says.
pub fn start_shut(cluster: &Cluster) -> Result<()> {
    start_with(cluster, &cluster.socket, &[])
}

/// Starts a cluster that is kept beside the one that serves, to be read: nothing is written into it, its socket is in its own
/// data directory, which nobody but its owner may enter, and it takes little memory from the other. Returns it as it is
/// reached.
///
/// # Errors
/// As [`start_shut`].
pub fn start_apart(cluster: &Cluster) -> Result<Cluster> {
    start_with(cluster, &cluster.data, APART)?;
    Ok(Cluster { socket: cluster.data.clone(), online: true, ..cluster.clone() })
}

fn start_with(cluster: &Cluster, socket: &Path, settings: &[&str]) -> Result<()> {
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
        option("unix_socket_directories", socket),
    ];
    let options = options.into_iter().chain(settings.iter().map(|setting| format!("-c {setting}")));
    let log = if cluster.log.as_os_str().is_empty() { Path::new("/dev/null") } else { &cluster.log };
    let mut command = Cmd::new(program.display().to_string())
        .args(["start", "--wait", "--silent", "--timeout", &START_LIMIT.as_secs().to_string(), "-D"])
        .arg(&cluster.data)
        .arg("-l")
        .arg(log)
        .args(["-o", &options.collect::<Vec<_>>().join(" ")])
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
///
/// # Errors
/// When it cannot be removed.
pub fn forget_shut(cluster: &Cluster) -> Result<()> {
    cluster.directory()?.remove_entry(HBA.as_ref())
}

/// Stops a cluster, however it was started; that it does not run is fine. Clients are cut off.
///
/// # Errors
/// Failed when it still runs.
pub fn stop(cluster: &Cluster) -> Result<()> {
    let mode = mode(cluster)?;
    if mode == Mode::Down {
        return Ok(());
    }
    // Debian's program goes by the configuration and by units of systemd; a server that was started without them does not.
    if mode == Mode::Open && control(cluster, "stop", &["-m", "fast"]).is_ok() && self::mode(cluster)? == Mode::Down {
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

/// Has Debian's program do something to a cluster.
///
/// # Errors
/// Failed, with the end of what the server says.
pub fn control(cluster: &Cluster, action: &str, options: &[&str]) -> Result<()> {
    command_of(cluster, action, options).run().map_err(|error| started_badly(error, action, cluster))?;
    Ok(())
}

/// The command of Debian's program.
pub fn command_of(cluster: &Cluster, action: &str, options: &[&str]) -> Cmd {
    cluster::tool("pg_ctlcluster")
        .env("PGCTLTIMEOUT", START_LIMIT.as_secs().to_string())
        .args([cluster.major.to_string().as_str(), &cluster.name, action])
        .args(options)
        .limit(START_LIMIT + Duration::from_secs(10))
}

/// What the server itself said is in its log.
pub fn started_badly(error: Error, action: &str, cluster: &Cluster) -> Error {
    let log = files::read(&cluster.log, 1 << 30).unwrap_or_default();
    error
        .because(command::tail(&String::from_utf8_lossy(&log)))
        .within(format!("cannot {action} the cluster {}", cluster.label()))
        .hint(format!("look at {}", cluster.log.display()))
}

/// How a cluster's server runs, by its own pid file and the command line of that process.
///
/// # Errors
/// When that file cannot be read.
pub fn mode(cluster: &Cluster) -> Result<Mode> {
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
    fn only_the_hba_file_of_an_upgrade_shuts_a_server() {
        assert!(is_shut("postgres -D /d -c hba_file=/etc/postgresql/13/main/mm-pgbump.hba "));
        assert!(is_shut(
            "postgres -c hba_file=\"/etc/postgresql/13/main/pg_hba.conf\" -c hba_file=/tmp/pg_hba.Xa1b2c.conf"
        ));
        assert!(!is_shut("postgres -D /d -c hba_file=\"/etc/postgresql/13/main/pg_hba.conf\""));
        assert!(!is_shut("postgres -D /d -c config_file=/etc/postgresql/13/main/postgresql.conf"));
    }
}
