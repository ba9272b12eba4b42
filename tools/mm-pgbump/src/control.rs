//! Starting, stopping and moving clusters, with Debian's own programs wherever they can.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mm_common::machine::command::{self, Cmd};
use mm_common::machine::files::{self, Access};
use mm_common::machine::process;
use mm_common::machine::user::User;
use mm_common::postgres::cluster::{self, Cluster};
use mm_common::postgres::server;
use mm_common::{Context as _, Error, Result};

use crate::plan::Mode;

/// How long a server may take to start or stop. After a crash it replays its log first; what takes longer needs eyes.
const START_LIMIT: Duration = Duration::from_secs(900);

/// The `pg_hba.conf` of a cluster that is shut: nobody but its owner on this machine, no password asked.
const HBA: &str = "mm-pgbump.hba";

/// Comment and word, as `pg_upgradecluster` leaves it: kept, but not started by the machine.
const MANUAL: &str =
    "# The data of this cluster was carried to another one. It is kept, but not started automatically.\nmanual\n";

/// Starts a cluster for everybody.
pub(crate) fn start(cluster: &Cluster) -> Result<()> {
    control(cluster, "start", &[])
}

/// Starts a cluster for nobody but its owner, so that nothing changes while it is read.
pub(crate) fn start_shut(cluster: &Cluster) -> Result<()> {
    let owner = User::named(&cluster.owner)?;
    let path = cluster.configuration.join(HBA);
    let text = format!("local all \"{}\" peer\n", cluster.owner);
    files::write(&path, text.as_bytes(), Access { mode: 0o640, owner: Some((0, owner.gid)) })?;
    control(cluster, "start", &["-o", &format!("-c hba_file={}", path.display())])
}

/// Removes what [`start_shut`] wrote; the running server has read it.
pub(crate) fn forget_shut(cluster: &Cluster) -> Result<()> {
    files::remove_file(&cluster.configuration.join(HBA))
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
    let program = server::program_of("pg_ctl", cluster.major)
        .ok_or_else(|| Error::failed(format!("PostgreSQL {} has no pg_ctl on this machine", cluster.major)))?;
    Cmd::new(program.display().to_string())
        .args(["stop", "--mode=fast", "--wait", "--silent", "--timeout", &START_LIMIT.as_secs().to_string(), "-D"])
        .arg(&cluster.data)
        .user(&User::named(&cluster.owner)?)
        .limit(START_LIMIT)
        .run()
        .context(|| format!("cannot stop the cluster {}", cluster.label()))?;
    Ok(())
}

fn control(cluster: &Cluster, action: &str, options: &[&str]) -> Result<()> {
    let attempt = || format!("cannot {action} the cluster {}", cluster.label());
    cluster::tool("pg_ctlcluster")
        .env("PGCTLTIMEOUT", START_LIMIT.as_secs().to_string())
        .args([cluster.major.to_string().as_str(), &cluster.name, action])
        .args(options)
        .limit(START_LIMIT + Duration::from_secs(10))
        .run()
        .map_err(|error| {
            let log = files::read(&cluster.log, 1 << 30).unwrap_or_default();
            let log = String::from_utf8_lossy(&log).into_owned();
            error.because(command::tail(&log)).within(attempt()).hint(format!("look at {}", cluster.log.display()))
        })?;
    Ok(())
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

/// The text of a cluster's `start.conf`.
pub(crate) fn start_conf(cluster: &Cluster) -> Result<Option<String>> {
    let path = cluster.configuration.join("start.conf");
    if files::look(&path)?.is_none() {
        return Ok(None);
    }
    files::read_text(&path, 64 * 1024).map(Some)
}

/// Writes a cluster's `start.conf`, and tells systemd where it runs.
pub(crate) fn set_start_conf(cluster: &Cluster, text: &str) -> Result<()> {
    let path = cluster.configuration.join("start.conf");
    let access = Access::of(&path).unwrap_or(Access::PUBLIC);
    files::write(&path, text.as_bytes(), access)?;
    reload_systemd()
}

/// The machine does not start this cluster any more.
pub(crate) fn set_manual(cluster: &Cluster) -> Result<()> {
    set_start_conf(cluster, MANUAL)
}

fn reload_systemd() -> Result<()> {
    if Path::new("/run/systemd/system").is_dir() && std::env::var_os("PG_CLUSTER_CONF_ROOT").is_none() {
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
        use std::os::unix::fs::MetadataExt as _;
        files::create_directory(&cluster.socket, before.mode() & 0o7777)?;
        std::os::unix::fs::chown(&cluster.socket, Some(before.uid()), Some(before.gid()))
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
    fn only_the_hba_file_of_an_upgrade_shuts_a_server() {
        assert!(is_shut("postgres -D /d -c hba_file=/etc/postgresql/13/main/mm-pgbump.hba "));
        assert!(is_shut(
            "postgres -c hba_file=\"/etc/postgresql/13/main/pg_hba.conf\" -c hba_file=/tmp/pg_hba.Xa1b2c.conf"
        ));
        assert!(!is_shut("postgres -D /d -c hba_file=\"/etc/postgresql/13/main/pg_hba.conf\""));
        assert!(!is_shut("postgres -D /d -c config_file=/etc/postgresql/13/main/postgresql.conf"));
    }
}
