//! The PostgreSQL server of a copy: a cluster of postgresql-common where that is installed, so that mm-pgbump can upgrade
//! it, and else a private one. It runs as the tools' own user, listens on loopback only, and is not started at boot.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mm_common::contract::error::{Error, Result};
use mm_common::machine::command::{self, Cmd};
use mm_common::machine::files::{self, Access};
use mm_common::machine::service::process;
use mm_common::machine::user::{self, User};
use mm_common::machine::{disk, state, tree};
use mm_common::postgres::cluster::{self, Cluster};
use mm_common::postgres::programs::{self, Part};
use mm_common::postgres::scratch;
use mm_common::postgres::server;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::record::Record;

/// How long a cluster may take to be made, to start or to stop.
const LIMIT: Duration = Duration::from_secs(300);

/// Where postgresql-common keeps data and logs.
const DATA: &str = "/var/lib/postgresql";
const LOGS: &str = "/var/log/postgresql";

/// Ports below those that the kernel hands out.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// Whether clusters are those of postgresql-common here.
pub(crate) fn is_debian() -> bool {
    command::exists("pg_createcluster")
}

/// Where the tools' user has a directory for each copy. Others can pass, and see nothing: `pg_upgradecluster` works as that user
/// with root's group.
const PLACE: &str = "copies";

/// The directory of its socket, and of a private cluster's data: that user's own, in a place where only root makes entries.
fn home(record: &Record) -> Result<PathBuf> {
    Ok(scratch::roots_place(PLACE, 0o711, 0)?.join(&record.cluster))
}

/// The major of a cluster that can take a database of this server version: that one, as an upgrade begins there.
///
/// # Errors
/// Refused when its server is not installed.
pub(crate) fn major(server_version: &str) -> Result<u32> {
    let major = server_version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or_default();
    if server::program_of("initdb", major).is_some() {
        return Ok(major);
    }
    Err(Error::refused(format!("PostgreSQL {major}, which the database is of, is not installed here"))
        .hint(programs::install(major, Part::Server)))
}

/// Refuses where the data of a cluster, so many bytes, would not fit.
///
/// # Errors
/// Refused (exit 5).
pub(crate) fn require_space(bytes: u64) -> Result<()> {
    let place = Path::new(if is_debian() { DATA } else { state::BASE });
    let there = place.ancestors().find(|above| above.is_dir()).unwrap_or(Path::new("/"));
    disk::require(there, bytes, "the database of the copy")
}

/// Makes the cluster of the record and starts it.
pub(crate) fn make(record: &Record) -> Result<Cluster> {
    let user = user::tools()?;
    let home = home(record)?;
    // Made by us: what is there already is somebody else's.
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&home)
        .map_err(|error| Error::io("create the directory", &home, error))?;
    // pg_dropcluster removes the directory of a socket when nothing is in it: that of a new cluster which an upgrade gives up
    // is that of the old one, too.
    files::write(&home.join("KEEP"), b"Directory of the socket of a copy (mm-backup copy).\n", Access::PRIVATE)?;
    std::os::unix::fs::lchown(&home, Some(user.uid), Some(user.gid))
        .map_err(|error| Error::io("change the owner of", &home, error))?;
    if record.is_debian {
        cluster::tool("pg_createcluster")
            .args([
                "--start-conf=manual",
                "--locale=C.UTF-8",
                "--encoding=UTF8",
                "--pgoption=listen_addresses=localhost",
            ])
            .arg(format!("--user={}", user.name))
            .arg(format!("--socketdir={}", home.display()))
            .arg(format!("--port={}", record.database_port))
            .args([&record.major.to_string(), &record.cluster])
            .limit(LIMIT)
            .run()?;
    } else {
        program("initdb", record.major, &user)?
            .args(["--auth-local=peer", "--auth-host=md5", "--encoding=UTF8", "--locale=C.UTF-8", "-D"])
            .arg(home.join("data"))
            .run()?;
    }
    let made = all(record)?.into_iter().next();
    let made = made.ok_or_else(|| Error::failed(format!("the cluster {} has vanished", record.cluster)))?;
    start(record, &made)?;
    Ok(Cluster { online: true, ..made })
}

/// The clusters of the record: the one it was made with, and what upgrades have made of it; newest major last.
pub(crate) fn all(record: &Record) -> Result<Vec<Cluster>> {
    if record.is_debian {
        let mut found: Vec<Cluster> = Vec::new();
        for major in majors(&record.cluster) {
            found.extend(cluster::find(major, &record.cluster)?);
        }
        return Ok(found);
    }
    let user = user::tools()?;
    let home = home(record)?;
    let data = home.join("data");
    if files::look(&data)?.is_none() {
        return Ok(Vec::new());
    }
    let status = program("pg_ctl", record.major, &user)?.args(["status", "-D"]).arg(&data).output()?;
    Ok(vec![Cluster {
        major: record.major,
        name: record.cluster.clone(),
        port: record.database_port,
        online: status.status.success(),
        start: "manual".into(),
        owner: user.name,
        configuration: data.clone(),
        log: home.join("log"),
        socket: home,
        data,
    }])
}

/// The majors that have something of this name, in ascending order.
fn majors(name: &str) -> Vec<u32> {
    let places = [cluster::configuration_root(), DATA.into()];
    let entries = places.iter().filter_map(|place| std::fs::read_dir(place).ok()).flatten().flatten();
    let with_name = entries.filter(|entry| entry.path().join(name).symlink_metadata().is_ok());
    let mut majors: Vec<u32> = with_name.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    majors.sort_unstable();
    majors.dedup();
    majors
}

fn program(name: &str, major: u32, user: &User) -> Result<Cmd> {
    let path = server::program_of(name, major).ok_or_else(|| {
        Error::refused(format!("the program `{name}` of PostgreSQL {major} is not installed"))
            .hint(programs::install(major, Part::Server))
    })?;
    Ok(Cmd::new(path.display().to_string()).user(user).limit(LIMIT))
}

/// Starts one of them.
pub(crate) fn start(record: &Record, cluster: &Cluster) -> Result<()> {
    if cluster.online {
        return Ok(());
    }
    if record.is_debian {
        return control(cluster, "start").run().map(drop);
    }
    let options = format!(
        "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories={}",
        cluster.port,
        cluster.socket.display()
    );
    program("pg_ctl", cluster.major, &user::tools()?)?
        .args(["start", "--wait", "--silent", "-D"])
        .arg(&cluster.data)
        .arg("-l")
        .arg(&cluster.log)
        .args(["-o", &options])
        .run()
        .map(drop)
}

/// Stops all that run.
pub(crate) fn stop(record: &Record) -> Result<()> {
    for cluster in all(record)?.iter().filter(|cluster| cluster.online) {
        if record.is_debian {
            control(cluster, "stop").run()?;
        } else {
            let program = program("pg_ctl", cluster.major, &user::tools()?)?;
            program.args(["stop", "--wait", "--mode=fast", "-D"]).arg(&cluster.data).run()?;
        }
    }
    Ok(())
}

fn control(cluster: &Cluster, order: &str) -> Cmd {
    cluster::tool("pg_ctlcluster").args([&cluster.major.to_string(), &cluster.name, order]).limit(LIMIT)
}

/// Removes all of them, whatever state they are in, also one that is half made.
pub(crate) fn remove(record: &Record) -> Result<()> {
    let home = home(record)?;
    for major in majors(&record.cluster) {
        let dropped =
            cluster::tool("pg_dropcluster").args(["--stop", &major.to_string(), &record.cluster]).limit(LIMIT).output();
        let data = Path::new(DATA).join(major.to_string()).join(&record.cluster);
        if !dropped.is_ok_and(|output| output.status.success()) {
            kill_server(&data);
        }
        tree::remove(&cluster::configuration_directory(major, &record.cluster))?;
        tree::remove(&data)?;
    }
    kill_server(&home.join("data"));
    tree::remove(&home)?;
    // Logs, and the lock of who has filled it.
    let of_it = format!("-{}.", record.cluster);
    for entry in [LOGS, "/run"].iter().filter_map(|place| std::fs::read_dir(place).ok()).flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.contains(&of_it)) {
            tree::remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Ends a server that its own tools do not reach, by the number in its data directory, if it is one of that directory.
fn kill_server(data: &Path) {
    let text = files::read_text(&data.join("postmaster.pid"), 4096).unwrap_or_default();
    let pid = text.lines().next().and_then(|line| line.trim().parse::<i32>().ok());
    let Some(pid) = pid.filter(|pid| {
        let line = mm_common::machine::process::command_line(*pid);
        line.is_some_and(|line| line.contains(&*data.to_string_lossy()))
    }) else {
        return;
    };
    let _ = kill(Pid::from_raw(pid), Signal::SIGQUIT);
    let begun = std::time::Instant::now();
    while mm_common::machine::process::command_line(pid).is_some() && begun.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port that nobody listens on and no cluster of this machine has, running or not.
pub(crate) fn free_port() -> Result<u16> {
    let taken = configured_ports();
    for _ in 0..1000 {
        let random = u16::from_str_radix(&files::random_hexadecimal(2)?, 16).unwrap_or_default();
        let port = PORTS.start + random % (PORTS.end - PORTS.start);
        if !taken.contains(&port) && !process::is_taken(port) {
            return Ok(port);
        }
    }
    Err(Error::failed("cannot find a free port"))
}

/// Read from their files: `pg_lsclusters` fails as a whole while any cluster is being made or dropped.
fn configured_ports() -> Vec<u16> {
    let below = |place: PathBuf| std::fs::read_dir(place).into_iter().flatten().flatten().map(|entry| entry.path());
    let texts = below(cluster::configuration_root())
        .flat_map(below)
        .filter_map(|cluster| files::read_text(&cluster.join("postgresql.conf"), 1 << 20).ok());
    let port = |line: &str| {
        let value = line.trim().strip_prefix("port")?.trim_start().trim_start_matches('=').trim_start();
        value.trim_start_matches('\'').split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    texts.flat_map(|text| text.lines().filter_map(port).collect::<Vec<u16>>()).collect()
}
