//! The database that is carried: the one that the server works with, or the one in a restore point; and what is to be known of
//! it to make another one like it.

use std::collections::BTreeSet;
use std::path::Path;

use mm_common::machine::lock::LockGuard;
use mm_common::machine::state::STORE;
use mm_common::mattermost::site::Installation;
use mm_common::mattermost::stored::{self, Stored};
use mm_common::mattermost::way_back::Place;
use mm_common::postgres::fingerprint::{self, Fingerprint};
use mm_common::postgres::properties::{self, Properties};
use mm_common::postgres::server::Database;
use mm_common::postgres::source::DataSource;
use mm_common::postgres::tried::{self, Abilities};
use mm_common::postgres::untrusted;
use mm_common::run::Session;
use mm_common::{Error, Result};

use super::look::extensions_of;
use super::prove;
use super::source::Source;
use super::target::Target;
use crate::Options;
use crate::record::RestorePoint;

/// Where it is.
pub(crate) enum Old {
    /// In its server.
    Living(Box<Source>),
    /// In a restore point.
    Stored(Box<Stored>),
}

/// What is to be known of it.
pub(crate) struct Origin {
    /// What no dump gives to a database that is there.
    pub properties: Properties,
    /// Its extensions with the schema of each, in the order in which they were made.
    pub extensions: Vec<(String, String)>,
    /// The schemas in which the role of the server found its tables, in order.
    pub path: Vec<String>,
    /// Its size in the server.
    pub bytes: u64,
    /// The roles that have to do with it.
    pub roles: Vec<String>,
    /// Major of its server.
    pub major: u32,
    /// The whole version.
    pub version: String,
    /// The role of the server.
    pub user: String,
}

impl Old {
    /// Finds the restore point that `--from-store` names, or reaches the database.
    ///
    /// # Errors
    /// Refused where that is not possible.
    pub(crate) fn find(
        session: &Session,
        options: &Options,
        installation: &Installation,
        lock: Option<&LockGuard>,
    ) -> Result<Self> {
        let Some(id) = &options.from_store else {
            return Source::reach(session, installation, lock).map(|source| Self::Living(Box::new(source)));
        };
        let store = options.store.as_deref().unwrap_or(Path::new(STORE));
        let point = Stored::find(store, &installation.root, id, session.common.accepts(stored::ACCEPT))?;
        if point.version != installation.version {
            return Err(Error::refused(format!(
                "the restore point {} is one of {}, and {} is installed",
                point.id, point.version, installation.version
            ))
            .because("each release works with its own tables")
            .hint("install the release that the restore point is of (mm-backup restore ID --files), move, and upgrade from there"));
        }
        Ok(Self::Stored(Box::new(point)))
    }

    /// Where the server is led from: the database that it works with, or the one of its data source.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub(crate) fn place(&self, data: &DataSource) -> Result<Place> {
        match self {
            Self::Living(source) => source.place(),
            Self::Stored(point) => {
                let DataSource { host, port, database, .. } = data;
                let major = point.database.major();
                Ok(Place { host: host.clone(), port: *port, database: database.clone(), major, ..Place::default() })
            }
        }
    }

    /// What is to be known of it.
    ///
    /// # Errors
    /// When it cannot be asked, or the dump cannot be read.
    pub(crate) fn origin(&self, data: &DataSource) -> Result<Origin> {
        match self {
            Self::Living(source) => Ok(Origin {
                properties: properties::read(&source.reader)?,
                extensions: extensions_of(&source.reader)?,
                path: source.own.schemas()?,
                bytes: size_of(&source.own)?,
                roles: source.roles()?,
                major: source.own.major(),
                version: source.own.version.clone(),
                user: source.data.user.clone(),
            }),
            Self::Stored(point) => {
                let part = &point.database;
                let mut roles: BTreeSet<String> = part.properties.roles.iter().cloned().collect();
                roles.insert(data.user.clone());
                Ok(Origin {
                    properties: part.properties.clone(),
                    extensions: untrusted::extensions_of(&point.dump)?,
                    path: schema_of_server(&part.tables).into_iter().collect(),
                    bytes: part.bytes,
                    roles: roles.into_iter().collect(),
                    major: part.major(),
                    version: part.server_version.clone(),
                    user: data.user.clone(),
                })
            }
        }
    }

    /// How rows are hashed, and what the role of the server could do.
    pub(crate) fn measures(&self, target: &Target) -> (fingerprint::Method, Abilities) {
        match self {
            Self::Living(source) => (prove::method(&source.own, &target.front), tried::now(&source.own)),
            Self::Stored(point) => (point.database.hashed, Abilities { reads: true, creates: true }),
        }
    }

    /// The restore point that it is in.
    pub(crate) fn point(&self) -> Option<RestorePoint> {
        match self {
            Self::Living(_) => None,
            Self::Stored(point) => {
                Some(RestorePoint { id: point.id.clone(), store: point.store.clone(), original: false })
            }
        }
    }

    /// What it is called in messages.
    pub(crate) fn label(&self, place: &Place) -> String {
        match self {
            Self::Living(_) => place.label(),
            Self::Stored(point) => format!("the restore point {}", point.id),
        }
    }
}

impl Origin {
    /// Its extensions that another database does not have.
    ///
    /// # Errors
    /// When that cannot be asked.
    pub(crate) fn missing_extensions(&self, other: &Database) -> Result<Vec<(String, String)>> {
        let there = extensions_of(other)?;
        let mut missing = self.extensions.clone();
        missing.retain(|(name, _)| !there.iter().any(|(known, _)| known == name));
        Ok(missing)
    }
}

/// The schema that the server has its tables in.
fn schema_of_server(tables: &Fingerprint) -> Option<String> {
    tables.keys().find_map(|name| name.strip_suffix(".systems")).map(str::to_owned)
}

fn size_of(database: &Database) -> Result<u64> {
    let size = database.value("SELECT pg_catalog.pg_database_size(pg_catalog.current_database()) AS size")?;
    size.as_u64().ok_or_else(|| Error::failed("the database does not tell its size"))
}
