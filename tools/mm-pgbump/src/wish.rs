//! Whether an upgrade is wanted, and of which cluster.

use std::path::PathBuf;

use mm_common::contract::sections::{Needs, Path};
use mm_common::machine::lock::LockGuard;
use mm_common::mattermost::site::{self, Installation};
use mm_common::postgres::cluster::{self, Cluster};
use mm_common::postgres::programs;
use mm_common::postgres::proven::{self, Claim};
use mm_common::postgres::server::Database;
use mm_common::run::Session;
use mm_common::{Error, Result};

use crate::Options;
use crate::moving;
use crate::plan::{self, Need};
use crate::preflight::Question;
use crate::record::{Entry, Records};

/// What is wanted, and of what.
pub(crate) struct Wish {
    /// The cluster of the server.
    pub old: Cluster,
    /// The major to reach.
    pub major: u32,
    /// The database of the server.
    pub database: String,
    /// The role of the server.
    pub role: String,
    /// The state directory of the installation.
    pub state: PathBuf,
    /// The administrator says that the database is the server's.
    pub accepted: bool,
    /// Where the data of the new cluster goes.
    pub data: PathBuf,
    /// The unit of the server, when systemd runs it.
    pub unit: Option<String>,
}

impl Wish {
    /// The question to ask of the machine before.
    pub(crate) fn question<'a>(&'a self, options: &Options, lock: Option<&'a LockGuard>) -> Question<'a> {
        Question {
            claim: Claim { role: &self.role, state: &self.state, accepted: self.accepted, lock },
            old: &self.old,
            database: &self.database,
            major: self.major,
            data: &self.data,
            unit: self.unit.as_deref(),
            method: options.method,
            shared: options.shared_cluster,
        }
    }
}

/// Whether nothing needs to be looked at: the document names a hop that asks for no other major, nobody else does, and no
/// run of this tool is open or to be reported. The server may be stopped for the hop, and its users wait.
///
/// # Errors
/// When document, journal or record cannot be read.
pub(crate) fn is_needless(session: &Session, options: &Options) -> Result<bool> {
    let path: Option<Path> = session.document.section("path")?;
    let hop = path.and_then(|path| path.next);
    let is_asked = session.dry_run || options.to.is_some();
    let asks = |needs: &Needs| needs.postgres.is_some() || needs.is_move;
    if is_asked || hop.is_none_or(|hop| asks(&hop.needs)) || session.document.site()?.is_none() {
        return Ok(false);
    }
    let Ok(ground) = site::ground(&session.wanted()?) else { return Ok(false) };
    let records = Records::at(ground.state.path());
    let run = session.document.run()?.map(|run| run.id);
    let hop = hop_of(session)?;
    let is_to_be_reported = records
        .last
        .read::<Entry>()?
        .is_some_and(|last| Some(last.run) == run && is_of_hop(last.hop.as_deref(), hop.as_deref()));
    Ok(records.journal.read::<Entry>()?.is_none() && !is_to_be_reported)
}

/// Whether a record is of the hop of the document. Earlier programs wrote no hop: theirs is of any hop that asks for it.
pub(crate) fn is_of_hop(recorded: Option<&str>, hop: Option<&str>) -> bool {
    recorded.is_none() || recorded == hop
}

/// The hop of the document, as records name it. What an earlier hop of the same run did is not to be reported again.
pub(crate) fn hop_of(session: &Session) -> Result<Option<String>> {
    let path: Option<Path> = session.document.section("path")?;
    Ok(path.and_then(|path| path.next).map(|hop| format!("{} to {}", hop.from, hop.to)))
}

/// Finds out whether an upgrade is needed, and of which cluster.
///
/// # Errors
/// Refused when it is needed and the database is not in a cluster of this machine.
pub(crate) fn find(session: &Session, options: &Options, installation: &Installation) -> Result<Option<Wish>> {
    let path: Option<Path> = session.document.section("path")?;
    let hop = path.and_then(|path| path.next);
    let wanted = options.to.or_else(|| hop.as_ref().and_then(|hop| hop.needs.postgres));
    if moving::need::is_mysql(installation) && (wanted.is_some() || hop.is_some_and(|hop| hop.needs.is_move)) {
        let some = wanted.map_or_else(String::new, |major| format!(" {major} or later"));
        return Err(Error::refused("the server works with MySQL, which no upgrade leads out of").hint(by_move(&some)));
    }
    let Some(wanted) = wanted else { return Ok(None) };
    let database = installation.database().map_err(|error| {
        error.hint("the database has to be reachable as the server reaches it; start it, or fix its data source")
    })?;
    if let Some(to) = options.to.filter(|to| *to < database.major()) {
        return Err(below(&database, to));
    }
    let Need::Upgrade { to, .. } = plan::need(database.major(), Some(wanted)) else { return Ok(None) };
    let found = cluster::of_database(&database)?;
    let Some(old) = found else { return Err(elsewhere(installation, &database, to)) };
    if let Some(label) = options.cluster.as_ref().filter(|label| **label != old.label()) {
        return Err(Error::refused(format!("the database of the server is not in the cluster {label}"))
            .because(format!("it is in {}", old.label()))
            .hint("leave out --cluster"));
    }
    let data = plan::new_data(&old.data, old.major, to);
    let unit = installation.service.manager.unit().map(str::to_owned);
    Ok(Some(Wish {
        old,
        major: to,
        database: database.name.clone(),
        role: installation.source.as_ref().map(|source| source.user.clone()).unwrap_or_default(),
        state: installation.state.path().to_owned(),
        accepted: session.common.accepts(proven::ACCEPT),
        data,
        unit,
    }))
}

/// No upgrade leads to an earlier major.
fn below(database: &Database, to: u32) -> Error {
    Error::refused(format!("PostgreSQL cannot be downgraded to {to}"))
        .because(format!("the database server runs {} already", database.version))
        .hint(format!(
            "ask for {} or later with --to, or leave it out; back to the old cluster of an upgrade by this tool: mm-pgbump rollback",
            database.major()
        ))
}

/// A database that is not in a Debian cluster of this machine moves, or is upgraded by whoever runs it.
fn elsewhere(installation: &Installation, database: &Database, to: u32) -> Error {
    let host = installation.source.as_ref().map_or("?", |source| source.host.as_str());
    Error::refused(format!("the database server at {host} is none of this machine's Debian clusters"))
        .because(format!("it runs PostgreSQL {}, and the next release needs {to}", database.version))
        .because("pg_lsclusters shows no running cluster with its system identifier (remote, managed, in a container, or not in Debian's layout)")
        .hint(by_hand(to, programs::own_upgrade(to).as_deref()))
}

/// How the database gets to another server of PostgreSQL.
fn by_move(version: &str) -> String {
    format!(
        "take a server of PostgreSQL{version}, write its data source into a file (mode 600), then: mm-pgbump check --target FILE, \
         and mm-pgbump move --target FILE (mm-upgrade: --postgres-target FILE)"
    )
}

/// How a server that this tool does not upgrade gets to a major; `own` is the command that this system's packages have for it.
fn by_hand(to: u32, own: Option<&str>) -> String {
    let own = own.map_or_else(
        || format!("as whoever runs it does it (a managed service: its own upgrade to {to})"),
        |command| format!("with the packages of this system ({command})"),
    );
    let moved = by_move(&format!(" {to} or later"));
    format!(
        "{moved}; or `mm-backup --stop --leave-stopped --document none >point.json`, upgrade it where it \
         runs, {own}, start Mattermost, and prove it with `mm-verify --document point.json`; then run this again"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_own_way_is_named_where_it_has_one() {
        let said = by_hand(16, Some("postgresql-setup --upgrade"));
        assert!(said.contains("(postgresql-setup --upgrade)") && said.contains("mm-verify --document"), "{said}");
        assert!(by_hand(16, None).contains("a managed service: its own upgrade to 16"));
    }
}
