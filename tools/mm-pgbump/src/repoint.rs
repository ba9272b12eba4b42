//! The data sources of the server follow its cluster to another port or socket directory, and back.
//!
//! The database that the configuration may be kept in comes first: where it moves, nothing else can be read before.
//! What is to be changed is in the journal before it is changed.

use std::path::{Path, PathBuf};

use mm_common::machine::checkpoint;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::service::Service;
use mm_common::mattermost::config::{self, Replacement, address};
use mm_common::mattermost::site::Installation;
use mm_common::postgres::cluster::Cluster;
use mm_common::postgres::server::Database;
use mm_common::postgres::source::DataSource;
use mm_common::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::record::{Entry, Records};

/// Where a cluster answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    /// Its port.
    port: u16,
    /// The directories of its sockets.
    sockets: Vec<PathBuf>,
    /// `listen_addresses`.
    addresses: Vec<String>,
    /// A host by which the server's own data source is known to lead to it.
    host: Option<String>,
}

impl End {
    /// Where a running cluster answers, as it says itself. `host` is what the data source of the server calls it.
    pub(crate) fn of(cluster: &Cluster, host: Option<&str>) -> Result<Self> {
        let row = Database::superuser(cluster, "template1")?.rows(
            "SELECT pg_catalog.current_setting('unix_socket_directories') AS sockets, pg_catalog.current_setting('listen_addresses') AS addresses",
        )?;
        let list = |key: &str| {
            let text = row.first().and_then(|row| row[key].as_str()).unwrap_or_default();
            let words = text.split(',').map(|word| word.trim().trim_matches('"').to_owned());
            words.filter(|word| !word.is_empty()).collect::<Vec<_>>()
        };
        Ok(Self {
            port: cluster.port,
            sockets: list("sockets").into_iter().map(PathBuf::from).collect(),
            addresses: list("addresses"),
            host: host.map(str::to_owned),
        })
    }

    /// Whether a data source leads here.
    fn is_meant_by(&self, source: &DataSource) -> bool {
        let host = source.host.as_str();
        source.port == self.port
            && (is_loopback(host) || self.host.as_deref() == Some(host) || self.has_socket(Path::new(host)))
    }

    fn has_socket(&self, directory: &Path) -> bool {
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        self.sockets.iter().any(|socket| real(socket) == real(directory))
    }

    /// By what host a data source that names `host` elsewhere leads here: the same where that is possible.
    fn host_for(&self, host: &str) -> String {
        if host.starts_with('/') {
            let other = self.sockets.first().filter(|_| !self.has_socket(Path::new(host)));
            return other.map_or_else(|| host.to_owned(), |other| other.display().to_string());
        }
        let everywhere = |address: &String| matches!(address.as_str(), "*" | "0.0.0.0" | "::" | "localhost");
        let is_here = self.addresses.iter().any(|address| everywhere(address) || is_loopback(address));
        match self.addresses.first() {
            // What another name leads to is for the connection to show.
            Some(other) if is_loopback(host) && !is_here => other.clone(),
            _ => host.to_owned(),
        }
    }

    fn follow(from: &Self, to: &Self, text: &str) -> Result<Vec<Replacement>> {
        match DataSource::parse(text) {
            Ok(source) if from.is_meant_by(&source) => address::replacements(text, &to.host_for(&source.host), to.port),
            // What is not understood, such as a data source with several hosts, is no way to a cluster of this machine.
            _ => Ok(Vec::new()),
        }
    }
}

/// A data source as it was before it followed an upgraded cluster to where that answers now.
pub(crate) fn before(entry: &Entry, text: &str) -> Result<String> {
    let mut before = text.to_owned();
    for one in End::follow(&entry.to_end, &entry.from_end, text)?.into_iter().rev() {
        before.replace_range(one.range, &one.with);
    }
    Ok(before)
}

fn is_loopback(host: &str) -> bool {
    matches!(host, "localhost" | "::1") || host.starts_with("127.")
}

/// Whether the data sources of the server can be made to name another port at all.
///
/// # Errors
/// Refused when one of them stands where it cannot be changed.
pub(crate) fn rehearse(installation: &Installation, from: &End) -> Result<()> {
    let to = End { port: from.port ^ 1, ..from.clone() };
    let mover = |text: &str| End::follow(from, &to, text);
    let rehearsed = config::store_change(&installation.service, &mover)
        .and_then(|_| installation.config.changes(&installation.service, &mover));
    rehearsed.map(drop).map_err(|error| {
        let first = error.next_step().map(|step| format!("{step}; or ")).unwrap_or_default();
        error.within("the data source of the server cannot be changed, which --keep-port asks for").with_hint(format!(
            "{first}leave out --keep-port: the new cluster takes over the port of the old one, and nothing has to be changed"
        ))
    })
}

/// Makes every data source of the server that leads to the old cluster lead to the new one. May be repeated after any
/// part of it.
pub(crate) fn forward(
    entry: &mut Entry,
    installation: &mut Installation,
    new: &Cluster,
    records: &Records,
    lock: &LockGuard,
) -> Result<()> {
    store(entry, &installation.service, new, records, lock)?;
    installation.reload()?;
    let (from, to) = (entry.from_end.clone(), entry.to_end.clone());
    let mover = |text: &str| End::follow(&from, &to, text);
    let changes = installation.config.changes(&installation.service, &mover)?;
    if !changes.is_empty() {
        intend(entry, changes.clone(), records, lock)?;
        make(&changes, &installation.service, lock)?;
        installation.reload()?;
    }
    checkpoint::pass("repointed");
    Ok(())
}

/// The part of it for which nothing of the configuration has to be read: what an earlier run has begun, and the
/// database of the configuration.
pub(crate) fn store(
    entry: &mut Entry,
    service: &Service,
    new: &Cluster,
    records: &Records,
    lock: &LockGuard,
) -> Result<()> {
    make(&entry.changes, service, lock)?;
    entry.to_end = End::of(new, entry.from_end.host.as_deref())?;
    let (from, to) = (entry.from_end.clone(), entry.to_end.clone());
    let change = config::store_change(service, &|text| End::follow(&from, &to, text))?;
    if let Some(change) = change {
        intend(entry, vec![change.clone()], records, lock)?;
        make(&[change], service, lock)?;
    }
    checkpoint::pass("store-repointed");
    Ok(())
}

/// What was changed: files, or the table of a configuration in the database.
pub(crate) fn places(entry: &Entry) -> Vec<PathBuf> {
    let mut places: Vec<_> = entry.changes.iter().map(config::Change::place).collect();
    places.dedup();
    places
}

fn intend(entry: &mut Entry, changes: Vec<config::Change>, records: &Records, lock: &LockGuard) -> Result<()> {
    entry.changes.extend(changes);
    records.journal.write(entry, lock)?;
    checkpoint::pass("repoint-intent");
    Ok(())
}

fn make(changes: &[config::Change], service: &Service, lock: &LockGuard) -> Result<()> {
    changes.iter().try_for_each(|change| change.make(service, lock))
}

/// Makes them all lead to the old cluster again, with the bytes they had. May be repeated. The old cluster has to run
/// where the configuration is kept in it.
pub(crate) fn back(entry: &Entry, service: &Service, lock: &LockGuard) -> Result<()> {
    let mover = |text: &str| End::follow(&entry.to_end, &entry.from_end, text);
    let taken_back: Result<()> = entry.changes.iter().try_for_each(|change| {
        change.take_back(service, &mover, lock)?;
        checkpoint::pass("pointed-back");
        Ok(())
    });
    taken_back.context(|| format!("cannot point the server at the cluster {} again", entry.from()))
}
