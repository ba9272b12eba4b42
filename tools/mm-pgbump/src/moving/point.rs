//! Where the configuration names the database: every data source that leads to the old one is exchanged for the new one,
//! whole, wherever the server reads it from.

use std::path::{Path, PathBuf};

use mm_common::machine::checkpoint;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::service::Service;
use mm_common::mattermost::config::{self, Replacement};
use mm_common::mattermost::site::Installation;
use mm_common::postgres::source::DataSource;
use mm_common::{Context as _, Error, Result};

use super::later::Later;
use super::named::Named;
use super::record::{Entry, Private, Records};
use super::unit_file;
use mm_common::mysql::Address;

/// The names of the drivers.
const MYSQL: &str = "mysql";
const POSTGRES: &str = "postgres";

/// Whether two data sources lead to one database.
fn is_same(one: &DataSource, other: &DataSource) -> bool {
    one.port == other.port && one.database == other.database && is_same_host(&one.host, &other.host)
}

fn is_same_host(one: &str, other: &str) -> bool {
    let real = |host: &str| Path::new(host).canonicalize().unwrap_or_else(|_| host.into());
    let is_here = |host: &str| matches!(host, "localhost" | "::1") || host.starts_with("127.") || host.starts_with('/');
    one == other || (is_here(one) && is_here(other)) || (one.starts_with('/') && real(one) == real(other))
}

/// What of a data source is exchanged when those that lead to `from` are to be `to`.
fn exchanged(text: &str, from: &DataSource, to: &str) -> Vec<Replacement> {
    match DataSource::parse_for(text, &from.user) {
        Ok(source) if is_same(&source, from) && text != to => {
            vec![Replacement { range: 0..text.len(), with: to.to_owned() }]
        }
        // What is not understood is no way to the old database.
        _ => Vec::new(),
    }
}

fn source_of(text: &str) -> Result<DataSource> {
    DataSource::parse(text)
}

/// What is exchanged of a setting when the server goes from MySQL to the target: its driver, and what leads to the old
/// database.
fn exchanged_from_mysql(text: &str, from: &Address, to: &str) -> Vec<Replacement> {
    let with = match Address::parse(text) {
        _ if text == MYSQL => POSTGRES,
        Ok(address) if address.is_same(from) => to,
        _ => return Vec::new(),
    };
    vec![Replacement { range: 0..text.len(), with: with.to_owned() }]
}

/// Every data source that the server reads, and its driver where that becomes another one.
fn changes(private: &Private, installation: &Installation, mover: config::Mover<'_>) -> Result<Vec<config::Change>> {
    if private.is_of_mysql {
        return installation.config.changes_of_engine(&installation.service, mover);
    }
    installation.config.changes(&installation.service, mover)
}

/// What is exchanged of a setting.
type Exchange = dyn Fn(&str) -> Result<Vec<Replacement>>;

/// What takes a data source from the old database to the new one.
fn to_target(private: &Private) -> Result<Box<Exchange>> {
    let to = private.to.clone();
    if private.is_of_mysql {
        let from = Address::parse(&private.from)?;
        return Ok(Box::new(move |text: &str| Ok(exchanged_from_mysql(text, &from, &to))));
    }
    let from = source_of(&private.from)?;
    Ok(Box::new(move |text: &str| Ok(exchanged(text, &from, &to))))
}

/// Whether every data source can be exchanged, before anything is done.
///
/// # Errors
/// Refused when one stands where it cannot be changed.
pub(crate) fn rehearse(installation: &Installation, from: &DataSource, named: &Named) -> Result<()> {
    let to = named.text.reveal();
    let mover = |text: &str| Ok(exchanged(text, from, to));
    let stored = config::store_change(&installation.service, &mover)?.is_some();
    let changes = installation.config.changes(&installation.service, &mover)?;
    let is_list = |change: &config::Change| match &change.spot {
        config::Spot::Variable { name, .. } | config::Spot::DropIn { name, .. } => name.contains("REPLICAS"),
        _ => false,
    };
    if !named.is_url() && (stored || changes.iter().any(is_list)) {
        return Err(Error::refused("the target's data source has to be a URL")
            .because("MM_CONFIG, and lists of replicas in variables, take nothing else")
            .hint("write line 1 of the target's file as postgres://USER:PASSWORD@HOST:PORT/DATABASE"));
    }
    Ok(())
}

/// Whether the data source of MySQL can be exchanged, and the driver, before anything is done.
///
/// # Errors
/// As [`rehearse`].
#[cfg(feature = "mysql")]
pub(crate) fn rehearse_from_mysql(installation: &Installation, from: &Address, named: &Named) -> Result<()> {
    let to = named.text.reveal();
    let mover = |text: &str| Ok(exchanged_from_mysql(text, from, to));
    installation.config.changes_of_engine(&installation.service, &mover).map(drop)
}

/// Data sources of replicas that would go on leading to copies of the old database.
pub(crate) fn replicas(installation: &Installation, from: &DataSource) -> Vec<String> {
    let mut found = Vec::new();
    for key in ["DataSourceReplicas", "DataSourceSearchReplicas"] {
        let listed = installation.config.settings["SqlSettings"][key].as_array().cloned().unwrap_or_default();
        let listed: Vec<String> = match installation.config.text("SqlSettings", key) {
            Some(text) => text.split(' ').map(str::to_owned).collect(),
            None => listed.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect(),
        };
        for text in listed.iter().filter(|text| !text.is_empty()) {
            match DataSource::parse_for(text, &from.user) {
                Ok(source) if is_same(&source, from) => {}
                Ok(source) => found.push(format!("SqlSettings.{key} leads to {}:{}", source.host, source.port)),
                Err(_) => found.push(format!("SqlSettings.{key} holds what is not understood")),
            }
        }
    }
    found
}

/// Whether the server's data source leads to the target of the move, and not to the old database.
///
/// # Errors
/// Failed where it leads to neither, or is none of the two and cannot be asked.
pub(crate) fn leads_to_target(entry: &Entry, private: &Private, installation: &Installation) -> Result<bool> {
    let text = installation.config.data_source()?.0;
    if text.reveal() == private.from || text.reveal() == private.to {
        return Ok(text.reveal() == private.to);
    }
    let database = installation.database()?;
    if entry.moved.to.is(&database)? {
        return Ok(true);
    }
    if entry.moved.from.is(&database)? {
        return Ok(false);
    }
    let (from, to) = (entry.moved.from.label(), entry.moved.to.label());
    Err(Error::failed(format!("the data source of the server leads neither to {from} nor to {to}"))
        .hint("let SqlSettings.DataSource lead to the one that the server has worked with last"))
}

/// Points the configuration at the new database. May be repeated after any part of it.
pub(crate) fn forward(
    private: &mut Private,
    installation: &mut Installation,
    records: &Records,
    lock: &LockGuard,
) -> Result<()> {
    let mover = to_target(private)?;
    make(&private.changes, &installation.service, lock)?;
    // The database that the configuration may be kept in comes first: nothing else can be read before.
    if let Some(change) = config::store_change(&installation.service, &mover)? {
        intend(private, &[change], records, &installation.service, lock)?;
    }
    checkpoint::pass("move-store-repointed");
    installation.reload()?;
    let changes = changes(private, installation, &mover)?;
    if !changes.is_empty() {
        intend(private, &changes, records, &installation.service, lock)?;
        installation.reload()?;
    }
    unit_file::make(&private.units, lock)?;
    checkpoint::pass("move-repointed");
    Ok(())
}

fn intend(
    private: &mut Private,
    changes: &[config::Change],
    records: &Records,
    service: &Service,
    lock: &LockGuard,
) -> Result<()> {
    private.changes.extend_from_slice(changes);
    records.keep_private(private, lock)?;
    checkpoint::pass("move-repoint-intent");
    make(changes, service, lock)
}

fn make(changes: &[config::Change], service: &Service, lock: &LockGuard) -> Result<()> {
    changes.iter().try_for_each(|change| change.make(service, lock))
}

/// Whether a data source leads to the target, also where it has followed that to another port since.
pub(crate) fn is_of_target(private: &Private, later: &Later, text: &str) -> Result<bool> {
    let to = source_of(&private.to)?;
    Ok(text == private.to || !exchanged(&later.before(text)?, &to, &private.from).is_empty())
}

/// Whether a data source leads to the old database, as it was before the move or in other words.
pub(crate) fn is_of_source(private: &Private, text: &str) -> Result<bool> {
    if text == private.from {
        return Ok(true);
    }
    if private.is_of_mysql {
        let from = Address::parse(&private.from)?;
        return Ok(Address::parse(text).is_ok_and(|address| address.is_same(&from)));
    }
    let from = source_of(&private.from)?;
    Ok(DataSource::parse_for(text, &from.user).is_ok_and(|source| is_same(&source, &from)))
}

/// Points it at the old database again, with the bytes that were there. May be repeated.
pub(crate) fn back(private: &Private, later: &Later, service: &Service, lock: &LockGuard) -> Result<()> {
    let from = private.from.clone();
    let is_of_mysql = private.is_of_mysql;
    let whole = |text: &str, with: &str| vec![Replacement { range: 0..text.len(), with: with.to_owned() }];
    let mover = |text: &str| match text {
        POSTGRES if is_of_mysql => Ok(whole(text, MYSQL)),
        text if is_of_target(private, later, text)? => Ok(whole(text, &from)),
        _ => Ok(Vec::new()),
    };
    let take_back = |change: &config::Change| {
        change.take_back(service, &mover, lock)?;
        checkpoint::pass("move-pointed-back");
        Ok(())
    };
    // The driver was last, and is first on the way back.
    let done: Result<()> = if is_of_mysql {
        private.changes.iter().rev().try_for_each(take_back)
    } else {
        private.changes.iter().try_for_each(take_back)
    };
    done.and_then(|()| unit_file::take_back(&private.units, lock))
        .context(|| "cannot point the server at the database of before the move again".to_owned())
}

/// What was changed: files, or the table of a configuration in the database.
pub(crate) fn places(private: &Private) -> Vec<PathBuf> {
    let units = private.units.iter().map(|unit| unit.path.clone());
    let mut places: Vec<_> = private.changes.iter().map(config::Change::place).chain(units).collect();
    places.dedup();
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_source_that_leads_elsewhere_stays() {
        let from = source_of("postgres://u:p@localhost:5432/mm").unwrap();
        let to = "postgres://v:q@db:5432/new";
        for (text, is_exchanged) in [
            ("postgres://u:p@127.0.0.1/mm?sslmode=disable", true),
            ("host=/run/postgresql user=u dbname=mm", true),
            ("postgres://u:p@replica/mm", false),
            ("postgres://u:p@localhost:5433/mm", false),
            ("postgres://u:p@localhost/other", false),
            (to, false),
            ("nothing", false),
        ] {
            let list = exchanged(text, &from, to);
            assert_eq!(!list.is_empty(), is_exchanged, "{text}");
            assert!(list.iter().all(|one| one.range == (0..text.len()) && one.with == to));
        }
    }
}
