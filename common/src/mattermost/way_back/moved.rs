//! The database that a move has left as it was: whether the database of a hop can be rolled back by pointing the server at it
//! again.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Hop;
use crate::contract::error::Result;
use crate::contract::sections::{self, DatabaseNow};
use crate::machine::door::MOVE;
use crate::machine::journal::Journal;
use crate::mattermost::site::Installation;
use crate::postgres::server::Database;

/// A database on a server, as it is known again; nothing of it is secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Host, as the data source names it.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Name of the database.
    pub database: String,
    /// Major version of the server.
    pub major: u32,
    /// The number initdb gave the cluster, where the server tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_identifier: Option<String>,
    /// The number of the database there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oid: Option<u64>,
    /// The engine and its version where that is not PostgreSQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
}

/// Some providers let nobody ask for the number of the cluster.
const IDENTITY: &str = "SELECT oid::pg_catalog.int8 AS oid,
    pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE') AS tells
  FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()";

const SYSTEM: &str = "SELECT system_identifier::pg_catalog.text AS system FROM pg_catalog.pg_control_system()";

impl Place {
    /// `db.example.com:5432/mattermost`.
    pub fn label(&self) -> String {
        format!("{}:{}/{}", self.host, self.port, self.database)
    }

    /// Asks a database who it is.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn identify(&mut self, database: &Database) -> Result<()> {
        let rows = database.rows(IDENTITY)?;
        self.major = database.major();
        self.oid = rows.first().and_then(|row| row["oid"].as_u64());
        let tells = rows.first().is_some_and(|row| row["tells"] == true);
        self.system_identifier = if tells { database.value(SYSTEM)?.as_str().map(str::to_owned) } else { None };
        Ok(())
    }

    /// Whether another description is of this database: by what the servers tell, or by the address.
    pub fn is_at(&self, other: &Self) -> bool {
        let told = self.system_identifier.is_some() && self.oid.is_some();
        let same = (&self.system_identifier, self.oid) == (&other.system_identifier, other.oid);
        (told && same) || self.label() == other.label()
    }

    /// Whether `database` is this one, whatever it is reached by; where its server does not tell its number, by the same
    /// address.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn is(&self, database: &Database) -> Result<bool> {
        let mut other = self.clone();
        other.identify(database)?;
        if other.system_identifier.is_none() {
            let (host, port) = database.reached_at();
            (other.host, other.port) = (host.to_owned(), port);
        }
        Ok(other == *self)
    }
}

/// What mm-pgbump has recorded of a move, as far as others go by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// The `run` of the document.
    pub run: String,
    /// When it began.
    pub started: String,
    /// The database before. It was only read.
    pub from: Place,
    /// The database after.
    pub to: Place,
    /// Everything was compared and found equal.
    pub proven: bool,
}

/// What was found.
pub(super) enum Look {
    /// No move was part of the hop.
    NoMove,
    /// The server can be pointed at the old database; what was written from then on is not in it.
    Usable { label: String, since: String },
    /// It cannot, and why.
    Unusable(String),
}

/// The move that the server's present database came by.
///
/// # Errors
/// As [`Journal::read`].
pub fn last(state: &Path) -> Result<Option<Moved>> {
    Journal::finished(state, MOVE).read()
}

/// Whether a move that began after `since` (RFC 3339, UTC) has led the server to the database that it works with.
pub(super) fn led_since(state: &Path, since: &str, database: &Database) -> Result<bool> {
    let moved = last(state)?.filter(|moved| moved.proven && moved.started.as_str() >= since);
    moved.map_or(Ok(false), |moved| moved.to.is(database))
}

/// What is to be known of the database to tell whether a hop is in place; where nothing is, nothing is asked.
///
/// # Errors
/// When the database cannot be asked, or the record of the move cannot be read.
pub fn database_for(hop: &sections::Hop, site: &Installation) -> Result<DatabaseNow> {
    if hop.is_of_database_alone() {
        let is_moved = match last(site.state.path())?.filter(|moved| moved.proven && site.source.is_some()) {
            None => false,
            // It has left MySQL, and stays so when the database is restored or upgraded in its new place.
            Some(moved) if moved.from.engine.is_some() => true,
            Some(moved) => moved.to.is(&site.database()?)?,
        };
        return Ok(DatabaseNow { major: None, is_moved });
    }
    let major = hop.needs.postgres.map(|_| site.database().map(|database| database.major())).transpose()?;
    Ok(DatabaseNow { major, is_moved: false })
}

/// The move that was part of a hop, where nothing has moved since.
pub(super) fn of_hop(hop: Hop<'_>, state: &Path) -> Result<Option<Moved>> {
    let Some(bump) = hop.bump else { return Ok(None) };
    Ok(last(state)?.filter(|moved| moved.from.label() == bump.from && moved.to.label() == bump.to))
}

/// Looks whether the server can be pointed at the database of before the hop.
pub(super) fn look(hop: Hop<'_>, state: &Path, database: &Database) -> Result<Look> {
    let Some(moved) = of_hop(hop, state)? else { return Ok(Look::NoMove) };
    let label = moved.from.label();
    if moved.proven && moved.to.is(database)? {
        return Ok(Look::Usable { label, since: moved.started });
    }
    Ok(Look::Unusable(format!("the server does not work with {}, which {label} was moved to", moved.to.label())))
}
