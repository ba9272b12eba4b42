//! The proven cluster is opened, and the server led to it.

use mm_common::contract::ui;
use mm_common::machine::checkpoint;
use mm_common::machine::lock::LockGuard;
use mm_common::mattermost::site::Installation;
use mm_common::postgres::cluster::Cluster;
use mm_common::postgres::tried;
use mm_common::{Context as _, Error, Result};

use crate::control::Starting;
use crate::record::{Entry, Records};
use crate::run::new_cluster;
use crate::{control, finish, plan, repoint};

/// Opens the proven cluster for everybody and lets the server's own data source prove that it gets there. May be
/// repeated. `analyzes` is for who leaves the server stopped: full statistics are collected while Debian's program still
/// watches the start, and not after it. Returns that program where it has not ended: users need not wait for it.
pub(crate) fn open(
    entry: &mut Entry,
    installation: &mut Installation,
    records: &Records,
    analyzes: bool,
    lock: &LockGuard,
) -> Result<Option<Starting>> {
    let new = new_cluster(entry)?;
    if control::mode(&new)? == plan::Mode::Down {
        control::start_shut(&new)?;
    }
    ui::progress("collecting statistics");
    finish::settle(&new, &entry.database, entry.method, analyzes)?;
    control::stop(&new)?;
    control::forget_shut(&new)?;
    control::release(&new, entry.old_start.as_deref())?;
    let starting = control::begin_start(&new, &entry.database)?;
    checkpoint::pass("new-open");
    if let Err(error) = lead(entry, installation, &new, records, lock) {
        // Whatever it says of the start, it must not be at it any more when that is undone.
        drop(starting.map(Starting::end));
        return Err(error);
    }
    if analyzes {
        finish::analyze_fully(&new, entry);
    }
    Ok(starting)
}

/// Leads the server to the new cluster, and tries as the server whether it gets there.
fn lead(
    entry: &mut Entry,
    installation: &mut Installation,
    new: &Cluster,
    records: &Records,
    lock: &LockGuard,
) -> Result<()> {
    repoint::forward(entry, installation, new, records, lock)?;
    let attempt = || format!("the server would not get into the cluster {}", new.label());
    let database = installation.database().context(attempt)?;
    let there = database.value("SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system()")?;
    if there.as_str() == Some(new.system_identifier()?.as_str()) {
        return tried::as_the_server(&database, entry.could);
    }
    Err(Error::failed(attempt())
        .because(format!("its data source leads to a server of version {} that is another one", database.version)))
}
