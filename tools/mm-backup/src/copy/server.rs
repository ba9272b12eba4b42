//! The server of a copy: started, stopped, and ended with everything that runs from the copy.

use std::path::Path;
use std::time::{Duration, Instant};

use mm_common::contract::error::{Error, Result};
use mm_common::contract::ui;
use mm_common::machine::service::{Manager, STOP_LIMIT, Service};
use mm_common::machine::state::State;
use mm_common::mattermost::health::Started;
use mm_common::mattermost::site::{self, Installation, Wanted};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::record::Record;
use super::{cluster, proof};

/// How long killed processes may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// The copy as the tools see an installation. Whose its server is, the record says.
fn observe(record: &Record) -> Result<Installation> {
    let place = record.place();
    site::probe(&Wanted {
        install: Some(place.root()),
        service: Some(Manager::Exec.name().into()),
        state_dir: Some(place.state()),
        owner: Some(record.user()),
        ..Wanted::default()
    })
}

/// The copy, once it is proven that it reaches nothing but its own.
///
/// # Errors
/// Refused when it would, unless `accepted`.
pub(crate) fn prove(record: &Record, accepted: bool) -> Result<Installation> {
    let there = observe(record)?;
    let ports: Vec<u16> = cluster::all(record)?.iter().map(|cluster| cluster.port).collect();
    proof::require(&there.config, record, &ports, accepted)?;
    Ok(there)
}

/// Starts its database and its server, where they do not run, and waits until it is healthy.
///
/// # Errors
/// Failed when it cannot be started.
pub(crate) fn start(record: &Record, there: &Installation, limit: Duration, lock_wait: Duration) -> Result<()> {
    let clusters = cluster::all(record)?;
    // After an upgrade there are two, and it uses one.
    let named = there.source.as_ref().map(|source| source.port);
    let used = clusters.iter().rfind(|cluster| Some(cluster.port) == named).or(clusters.last());
    let used = used.ok_or_else(|| Error::failed(format!("the cluster {} of the copy is gone", record.cluster)))?;
    cluster::start(record, used)?;
    if there.service.is_running()? {
        return Ok(());
    }
    ui::say(&format!("starting the copy on {}", record.listen()));
    let lock = there.state.lock(lock_wait)?;
    Started::command(there, &lock)?.wait(there, limit, &lock)
}

/// Stops server and database.
pub(crate) fn stop(record: &Record, lock_wait: Duration) -> Result<()> {
    let place = record.place();
    let state = State::of(&place.root(), Some(&place.state()));
    let lock = state.lock(lock_wait)?;
    let service = Service {
        manager: Manager::Exec,
        install: place.root(),
        owner: record.user(),
        variables: Vec::new(),
        state: state.clone(),
    };
    service.stop(STOP_LIMIT, &lock)?;
    kill_below(&place.directory)?;
    cluster::stop(record)
}

/// Ends every process that executes a file below `directory`: the server, and its plugins.
pub(crate) fn kill_below(directory: &Path) -> Result<()> {
    let begun = Instant::now();
    loop {
        let found = below(directory);
        let Some(first) = found.first() else { return Ok(()) };
        if begun.elapsed() > KILL_LIMIT {
            return Err(Error::failed(format!("cannot end what runs from `{}`", directory.display()))
                .because(format!("process {first} is still there")));
        }
        for pid in found {
            // It may end by itself in this moment.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn below(directory: &Path) -> Vec<i32> {
    let executes =
        |pid: &i32| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.starts_with(directory));
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(executes).collect()
}
