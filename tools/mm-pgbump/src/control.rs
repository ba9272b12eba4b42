//! Starting, stopping and moving clusters, with Debian's own programs wherever they can.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Instant;

use mm_common::machine::command::{self, Cmd};
use mm_common::machine::files::{self, Access};
use mm_common::machine::tree::Dir;
use mm_common::postgres::cluster::{self, Cluster};
pub(crate) use mm_common::postgres::cluster::{is_disabled, start_conf};
use mm_common::postgres::running::{Mode, START_LIMIT, command_of, control, started_badly};
pub(crate) use mm_common::postgres::running::{forget_shut, mode, start_shut, stop};
use mm_common::postgres::server::Database;
use mm_common::{Context as _, Error, Result};

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
pub(crate) struct Starting {
    cluster: Cluster,
    command: Cmd,
    child: Child,
}

/// As [`start`], and returns as soon as the server takes connections. Debian's program goes on for two seconds from then, in
/// which it asks it again and again whether it stays: other work can be done meanwhile.
///
/// # Errors
/// As [`start`], as far as that is known by then.
pub(crate) fn begin_start(cluster: &Cluster, entrance: &str) -> Result<Option<Starting>> {
    if start_conf(cluster)?.is_some_and(|text| is_disabled(&text)) {
        return start(cluster).map(|()| None);
    }
    let command = command_of(cluster, "start", &[]);
    let child = command.start(Stdio::null(), Stdio::null(), Stdio::null())?;
    let mut starting = Starting { cluster: cluster.clone(), command, child };
    let begun = Instant::now();
    while starting.child.try_wait().is_ok_and(|ended| ended.is_none()) && begun.elapsed() < START_LIMIT {
        // What is asked before it takes connections is a start of psql for nothing.
        if mode(cluster)? == Mode::Open && is_ready(cluster)? && Database::superuser(cluster, entrance).is_ok() {
            return Ok(Some(starting));
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    starting.end().map(|()| None)
}

/// Whether the server itself says that it takes connections: the eighth line of its pid file (`miscadmin.h`).
fn is_ready(cluster: &Cluster) -> Result<bool> {
    let path = cluster.data.join("postmaster.pid");
    let text = if files::look(&path)?.is_some() { files::read_text(&path, 4096)? } else { String::new() };
    Ok(text.lines().nth(7).is_some_and(|line| line.trim() == "ready"))
}

impl Starting {
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
        Err(started_badly(self.command.failure(&output), "start", &self.cluster))
    }
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
    fn the_first_word_of_a_start_conf_counts() {
        for disabled in ["disabled", "# disabled by hand\n\n  disabled # Pacemaker\nauto\n"] {
            assert!(is_disabled(disabled), "{disabled}");
        }
        for other in ["", "auto\n", "# disabled\nmanual\n", MANUAL, HELD] {
            assert!(!is_disabled(other), "{other}");
        }
    }
}
