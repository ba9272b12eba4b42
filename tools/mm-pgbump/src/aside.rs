//! The new cluster of an upgrade that was rolled back: it is kept with what was written there, and stands where the next
//! upgrade makes its own. So that one gives it another name first.

use std::path::Path;

use mm_common::contract::ui;
use mm_common::machine::journal::Journal;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::{checkpoint, files};
use mm_common::postgres::cluster::{self, Cluster};
use mm_common::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::record::Entry;

/// The record of it in the state directory.
const RECORD: &str = "pgbump-rolled-back";

/// Which cluster that is.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RolledBack {
    major: u32,
    name: String,
    identifier: String,
}

/// Remembers the new cluster of an upgrade as the one that was rolled back.
pub(crate) fn remember(entry: &Entry, new: &Cluster, state: &Path, lock: &LockGuard) -> Result<()> {
    let (major, name) = (entry.major, entry.old.name.clone());
    Journal::finished(state, RECORD).write(&RolledBack { major, name, identifier: new.system_identifier()? }, lock)
}

/// Whether a cluster is the one that was rolled back, serves nobody, and can get another name: `pg_renamecluster` exchanges
/// the name wherever it stands in the path of the data.
pub(crate) fn is_rolled_back(cluster: &Cluster, state: &Path) -> Result<bool> {
    let Some(record) = Journal::finished(state, RECORD).read::<RolledBack>()? else { return Ok(false) };
    let above = cluster.data.parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned();
    let stands_last = cluster.data.ends_with(&cluster.name) && !above.contains(&cluster.name);
    Ok(!cluster.online
        && stands_last
        && (record.major, &record.name) == (cluster.major, &cluster.name)
        && cluster.system_identifier()? == record.identifier)
}

/// Gives it a name that nobody has.
pub(crate) fn put_aside(cluster: &Cluster) -> Result<()> {
    let mut number = 1;
    let name = loop {
        let name = format!("{}_rolled_back_{number}", cluster.name);
        let taken = [cluster::configuration_directory(cluster.major, &name), cluster.data.with_file_name(&name)];
        if taken.iter().map(|path| files::look(path)).collect::<Result<Vec<_>>>()?.iter().all(Option::is_none) {
            break name;
        }
        number += 1;
    };
    let major = cluster.major.to_string();
    ui::warn(&format!(
        "the cluster {}, from which was rolled back, is {major}/{name} from now on; once nobody needs it: pg_dropcluster {major} {name}",
        cluster.label()
    ));
    cluster::tool("pg_renamecluster")
        .args([major.as_str(), &cluster.name, &name])
        .run()
        .context(|| format!("cannot give the cluster {} another name", cluster.label()))?;
    checkpoint::pass("put-aside");
    Ok(())
}
