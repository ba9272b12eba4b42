//! Checks of the host: the install root, its unit, plugins, settings, disk space, what guards the system.

use std::path::Path;

use mm_common::contract::error::Result;
use mm_common::contract::sections::{Preflight, Site};
use mm_common::machine::command::Cmd;
use mm_common::mattermost::site::Installation;
use mm_common::postgres::server::Database;

use super::{Check, Way, bundles, disk, guard, origin, plugins, proxy, rollback, settings, tree, unit};

/// The installation, what of it may be shown, the way that is checked, and the machine around it.
pub struct HostView<'a> {
    /// The installation.
    pub installation: &'a Installation,
    /// What of it stands in the document.
    pub site: &'a Site,
    /// Its database, where it can be asked.
    pub database: Option<&'a Database>,
    /// The way.
    pub way: Way<'a>,
    /// Where mm-fetch keeps releases.
    pub cache: &'a Path,
    /// Where mm-backup puts restore points.
    pub store: &'a Path,
    /// What a rehearsal of the way has used of the disk.
    pub used: Option<disk::Used>,
    /// Where the system's own files (`etc`, `sys`) begin: `/`, but for tests.
    pub system: &'a Path,
    /// What systemd says of a unit: [`show_unit`], but for tests.
    pub show_unit: fn(&str) -> Result<String>,
}

impl HostView<'_> {
    /// Makes all checks of the host.
    pub fn findings(&self) -> Vec<Preflight> {
        super::all(&checks(), self)
    }
}

/// The identifiers of all checks of the host, in the order of their findings.
pub fn ids() -> Vec<&'static str> {
    checks().iter().map(|check| check.id).collect()
}

fn checks<'a>() -> Vec<Check<HostView<'a>>> {
    [
        origin::checks(),
        unit::checks(),
        tree::checks(),
        settings::checks(),
        guard::checks(),
        plugins::checks(),
        bundles::checks(),
        proxy::checks(),
        disk::checks(),
        rollback::checks(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Asks systemd for what the checks need to know of a unit, as `KEY=VALUE` lines.
///
/// # Errors
/// Failed when systemctl cannot be run.
pub fn show_unit(unit: &str) -> Result<String> {
    let properties = "--property=TimeoutStartUSec,BindsTo,Requires,PartOf,ExecStart";
    Ok(Cmd::new("systemctl").args(["show", "--no-pager", properties, "--", unit]).run()?.text())
}
