//! What is to be done, worked out from what was seen: no I/O, no clock, no environment.

mod recovery;
mod upgrade;

use std::path::{Component, Path, PathBuf};

use clap::ValueEnum;
pub use mm_common::postgres::running::Mode;
use mm_common::{Error, Kind, Result};
use serde::{Deserialize, Serialize};

pub use recovery::{Ending, Recovery, recovery};
pub use upgrade::{Before, Upgrade};

/// How `pg_upgradecluster` brings the data over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Dump and restore: slow, rebuilds every index, and believes its own restore whatever it says
    Dump,
    /// `pg_upgrade`, copying the files
    Upgrade,
    /// `pg_upgrade`, sharing the files: no way back once the new cluster has started
    Link,
    /// `pg_upgrade`, copying by reflink where the file system can
    Clone,
}

impl Method {
    /// Its name as `pg_upgradecluster --method` wants it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dump => "dump",
            Self::Upgrade => "upgrade",
            Self::Link => "link",
            Self::Clone => "clone",
        }
    }
}

/// Whether anything has to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The server is on a sufficient major.
    Nothing,
    /// From one major to another.
    Upgrade {
        /// The present major.
        from: u32,
        /// The wanted one.
        to: u32,
    },
}

/// Compares what is there with what is wanted; nothing wanted is nothing to do, and nothing is ever taken back.
pub fn need(present: u32, wanted: Option<u32>) -> Need {
    match wanted {
        Some(to) if to > present => Need::Upgrade { from: present, to },
        _ => Need::Nothing,
    }
}

/// The method to use: what was asked for, else `clone` where the rehearsal with it went well, else `upgrade`. `dump` and
/// `link` only by name: the one is slow and hides losses, the other has no way back.
pub fn method(asked: Option<Method>, clone_works: bool) -> Method {
    asked.unwrap_or(if clone_works { Method::Clone } else { Method::Upgrade })
}

/// Where the data of the new cluster goes: the same place with the major in it exchanged, else beside the old one.
/// `pg_upgradecluster` by itself would put it below `/var/lib/postgresql`, perhaps on another disk.
pub fn new_data(old: &Path, from: u32, to: u32) -> PathBuf {
    let (from, to) = (from.to_string(), to.to_string());
    let mut exchanged = false;
    let path: PathBuf = old
        .components()
        .map(|component| match component {
            Component::Normal(name) if name == from.as_str() => {
                exchanged = true;
                Component::Normal(to.as_ref())
            }
            other => other,
        })
        .collect();
    if exchanged {
        return path;
    }
    let mut name = old.file_name().unwrap_or_default().to_owned();
    name.push(format!("-{to}"));
    old.with_file_name(name)
}

/// Where the new cluster logs to: beside the old log, under Debian's usual name.
pub fn new_log(old: &Path, to: u32, cluster: &str) -> PathBuf {
    let name = format!("postgresql-{to}-{cluster}.log");
    if old.as_os_str().is_empty() { Path::new("/var/log/postgresql").join(name) } else { old.with_file_name(name) }
}

/// How far an upgrade has come. What is on disk is the phase that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The service is being stopped, the old cluster is shut to everybody else and read.
    Reading,
    /// `pg_upgradecluster` runs.
    Upgrading,
    /// The new cluster is started, shut to everybody else, and compared.
    Proving,
    /// The new cluster is proven; it is being opened and finished.
    Finishing,
    /// The server works with the new cluster.
    Done,
    /// The old cluster is being put back after that.
    RollingBack,
}

/// What is there of the new cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// Nothing.
    Nothing,
    /// Directories that `pg_lsclusters` does not call a cluster.
    Stray,
    /// A cluster.
    Cluster,
}

/// What a run that was cut off has left, read from files and processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The phase that had begun.
    pub phase: Phase,
    /// The method it used.
    pub method: Method,
    /// Programs of the upgrade still run, though the tool that started them is gone.
    pub still_running: bool,
    /// The old cluster's server.
    pub old: Mode,
    /// `pg_upgrade --link` has put the old control file aside.
    pub control_aside: bool,
    /// What is there of the new cluster.
    pub new: Made,
    /// The new cluster's server.
    pub new_mode: Mode,
    /// Whether the old cluster ran when the run began.
    pub old_ran: bool,
}

/// A step back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undo {
    /// Ends the programs of the upgrade that are left.
    EndPrograms,
    /// Stops the new cluster's server.
    StopNew,
    /// Drops the new cluster.
    DropNew,
    /// Removes directories of the new cluster that are no cluster.
    RemoveStray,
    /// Stops the old cluster's server, which nobody could use as it runs.
    StopOld,
    /// Puts the old control file back.
    RestoreControl,
    /// Gives the old cluster its port and its start word again.
    RestoreSettings,
    /// Starts the old cluster for everybody.
    StartOld,
}

/// The way back to the old cluster, before the server has worked with the new one. Each step may be repeated.
///
/// # Errors
/// Half done (exit 3) when the new cluster has been started on files it shares with the old one: starting the old one
/// would show neither's data.
pub fn undo(left: &Left) -> Result<Vec<Undo>> {
    if left.method == Method::Link && left.phase >= Phase::Proving && left.control_aside {
        return Err(Error::new(Kind::HalfDone, "cannot go back to the old cluster")
            .because("the new one was made with --method link and has been started: they share their files")
            .hint("look at the new cluster; if it is not sound, restore the restore point of this hop"));
    }
    let mut steps = Vec::new();
    let mut add = |wanted: bool, step: Undo| {
        if wanted {
            steps.push(step);
        }
    };
    add(left.still_running, Undo::EndPrograms);
    add(left.new_mode != Mode::Down, Undo::StopNew);
    add(left.new == Made::Cluster, Undo::DropNew);
    add(left.new == Made::Stray, Undo::RemoveStray);
    let stop_old = match left.old {
        Mode::Down => false,
        Mode::Open => !left.old_ran,
        Mode::Shut | Mode::BinaryUpgrade => true,
    };
    add(stop_old, Undo::StopOld);
    add(left.control_aside, Undo::RestoreControl);
    add(true, Undo::RestoreSettings);
    add(left.old_ran && (left.old == Mode::Down || stop_old), Undo::StartOld);
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_a_later_major_is_a_need() {
        assert_eq!(need(13, Some(15)), Need::Upgrade { from: 13, to: 15 });
        for wanted in [None, Some(12), Some(13)] {
            assert_eq!(need(13, wanted), Need::Nothing);
        }
    }

    #[test]
    fn dump_and_link_only_by_name() {
        assert_eq!(method(None, true), Method::Clone);
        assert_eq!(method(None, false), Method::Upgrade);
        assert_eq!(method(Some(Method::Dump), true), Method::Dump);
    }

    #[test]
    fn the_new_data_stays_on_the_disk_of_the_old() {
        let new = |old: &str| new_data(Path::new(old), 13, 15).display().to_string();
        assert_eq!(new("/var/lib/postgresql/13/main"), "/var/lib/postgresql/15/main");
        assert_eq!(new("/srv/13/pg/13/main"), "/srv/15/pg/15/main");
        assert_eq!(new("/srv/pgdata"), "/srv/pgdata-15");
        assert_eq!(new("/srv/pg13"), "/srv/pg13-15");
        let log = new_log(Path::new("/srv/log/pg.log"), 15, "main");
        assert_eq!(log, Path::new("/srv/log/postgresql-15-main.log"));
    }

    fn left() -> Left {
        Left {
            phase: Phase::Upgrading,
            method: Method::Upgrade,
            still_running: false,
            old: Mode::Down,
            control_aside: false,
            new: Made::Nothing,
            new_mode: Mode::Down,
            old_ran: true,
        }
    }

    /// The states that a kill leaves, as they were observed on real clusters.
    #[test]
    fn every_state_a_kill_leaves_has_its_way_back() {
        use Undo::{DropNew, EndPrograms, RemoveStray, RestoreControl, RestoreSettings, StartOld, StopNew, StopOld};
        let in_initdb = Left { new: Made::Stray, ..left() };
        assert_eq!(undo(&in_initdb).unwrap(), [RemoveStray, RestoreSettings, StartOld]);
        let in_schema_dump = Left { new: Made::Cluster, old: Mode::BinaryUpgrade, ..left() };
        assert_eq!(undo(&in_schema_dump).unwrap(), [DropNew, StopOld, RestoreSettings, StartOld]);
        let in_copying = Left { new: Made::Cluster, ..left() };
        assert_eq!(undo(&in_copying).unwrap(), [DropNew, RestoreSettings, StartOld]);
        let parent_only = Left {
            method: Method::Dump,
            still_running: true,
            old: Mode::Shut,
            new: Made::Cluster,
            new_mode: Mode::Shut,
            ..left()
        };
        assert_eq!(undo(&parent_only).unwrap(), [EndPrograms, StopNew, DropNew, StopOld, RestoreSettings, StartOld]);
        let reading = Left { phase: Phase::Reading, old: Mode::Shut, ..left() };
        assert_eq!(undo(&reading).unwrap(), [StopOld, RestoreSettings, StartOld]);
        let untouched = Left { phase: Phase::Reading, old: Mode::Open, ..left() };
        assert_eq!(undo(&untouched).unwrap(), [RestoreSettings]);
        let link = Left { method: Method::Link, control_aside: true, ..left() };
        assert_eq!(undo(&link).unwrap(), [RestoreControl, RestoreSettings, StartOld]);
    }

    #[test]
    fn linked_files_have_no_way_back_once_the_new_server_has_run() {
        let left = Left { method: Method::Link, control_aside: true, phase: Phase::Proving, ..left() };
        assert_eq!(undo(&left).unwrap_err().code(), 3);
    }

    proptest! {
        /// Whatever was left: the old server ends as it was, the new one never outlives its removal, and nothing is
        /// dropped that is not there.
        #[test]
        fn the_way_back_ends_where_the_run_began(
            phase in 0_usize..4, old in 0_usize..4, new in 0_usize..3, new_mode in 0_usize..4, still in any::<bool>(), aside in any::<bool>(), ran in any::<bool>(),
        ) {
            let modes = [Mode::Down, Mode::Open, Mode::Shut, Mode::BinaryUpgrade];
            let left = Left {
                phase: [Phase::Reading, Phase::Upgrading, Phase::Proving, Phase::Finishing][phase],
                method: Method::Upgrade,
                still_running: still,
                old: modes[old],
                control_aside: aside,
                new: [Made::Nothing, Made::Stray, Made::Cluster][new],
                new_mode: modes[new_mode],
                old_ran: ran,
            };
            let steps = undo(&left).unwrap();
            let mut mode = left.old;
            for step in &steps {
                match step {
                    Undo::StopOld => mode = Mode::Down,
                    Undo::StartOld => { prop_assert_eq!(mode, Mode::Down); mode = Mode::Open; }
                    _ => {}
                }
            }
            prop_assert_eq!(mode, if ran { Mode::Open } else { Mode::Down });
            prop_assert_eq!(steps.contains(&Undo::DropNew), left.new == Made::Cluster);
            let place = |wanted: Undo| steps.iter().position(|step| *step == wanted);
            if let (Some(stop), Some(drop)) = (place(Undo::StopNew), place(Undo::DropNew)) {
                prop_assert!(stop < drop);
            }
            if let Some(end) = place(Undo::EndPrograms) {
                prop_assert_eq!(end, 0);
            }
        }
    }
}
