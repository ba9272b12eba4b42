//! Who else starts and stops a cluster: a manager would start it again in the middle of an upgrade, and knows nothing of
//! the new one.

use super::cluster::Cluster;
use crate::machine::files;

/// What Patroni writes at the head of the `postgresql.conf` that it makes (its `postgresql/config.py`).
const PATRONIS: &str = "overwritten by Patroni";

/// How its daemon, and that of Pacemaker, are called.
const PATRONI: &str = "patroni";
const PACEMAKER: &str = "pacemakerd";

/// A manager of clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// Patroni runs here and has written the configuration of the cluster.
    Patroni,
    /// Pacemaker runs here. Whether it manages the cluster cannot be told from its files.
    Pacemaker,
}

/// The one that runs on this machine, as far as it concerns the cluster.
pub fn of(cluster: &Cluster) -> Option<Manager> {
    let is_patronis = || {
        [cluster.configuration.join("postgresql.conf"), cluster.data.join("postgresql.conf")]
            .iter()
            .any(|path| files::read_text(path, 1 << 20).is_ok_and(|text| text.contains(PATRONIS)))
    };
    if runs(PATRONI) && is_patronis() {
        return Some(Manager::Patroni);
    }
    runs(PACEMAKER).then_some(Manager::Pacemaker)
}

/// Whether a program of this name runs on this machine.
fn runs(name: &str) -> bool {
    let Ok(all) = std::fs::read_dir("/proc") else { return false };
    all.flatten().any(|one| {
        let comm = std::fs::read_to_string(one.path().join("comm"));
        comm.is_ok_and(|comm| comm.trim_end() == name)
    })
}
