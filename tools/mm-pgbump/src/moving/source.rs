//! The database before, which is only read.

use mm_common::machine::lock::LockGuard;
use mm_common::mattermost::site::Installation;
use mm_common::mattermost::way_back::Place;
use mm_common::postgres::proven::{self, Claim};
use mm_common::postgres::server::Database;
use mm_common::postgres::source::DataSource;
use mm_common::run::Session;
use mm_common::{Error, Result};

/// The database that the server works with.
pub(crate) struct Source {
    /// What the configuration says.
    pub data: DataSource,
    /// As the server reaches it.
    pub own: Database,
    /// As somebody who may read all of it: its superuser where it is in a cluster of this machine, else the server's role.
    pub reader: Database,
}

impl Source {
    /// Reaches it.
    ///
    /// # Errors
    /// Refused when it is no PostgreSQL, cannot be reached, or is not proven to be the server's.
    pub(crate) fn reach(session: &Session, installation: &Installation, lock: Option<&LockGuard>) -> Result<Self> {
        let own = installation.database().map_err(|error| {
            error.hint("the database has to be reachable as the server reaches it; start it, or fix its data source")
        })?;
        let data = installation.source.clone().ok_or_else(|| Error::refused("the server does not use PostgreSQL"))?;
        let accepted = session.common.accepts(proven::ACCEPT);
        let claim = Claim { role: &data.user, state: installation.state.path(), accepted, lock };
        let reader = claim.superuser(&own)?.unwrap_or_else(|| own.clone());
        Ok(Self { data, own, reader })
    }

    /// Who it is.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub(crate) fn place(&self) -> Result<Place> {
        let DataSource { host, port, database, .. } = &self.data;
        let mut place = Place { host: host.clone(), port: *port, database: database.clone(), ..Place::default() };
        place.identify(&self.own)?;
        Ok(place)
    }

    /// The roles of its server that own something in it, have a right in it or are named by a policy.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub(crate) fn roles(&self) -> Result<Vec<String>> {
        let rows = self.reader.rows(
            "SELECT DISTINCT r.rolname AS name FROM pg_catalog.pg_shdepend p
               JOIN pg_catalog.pg_roles r ON r.oid = p.refobjid JOIN pg_catalog.pg_database d ON d.datname = pg_catalog.current_database()
             WHERE p.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
               AND (p.dbid = d.oid OR (p.classid = 'pg_catalog.pg_database'::pg_catalog.regclass AND p.objid = d.oid)) ORDER BY 1",
        )?;
        let mut roles: Vec<String> = rows.iter().filter_map(|row| row["name"].as_str().map(str::to_owned)).collect();
        if !roles.contains(&self.data.user) {
            roles.push(self.data.user.clone());
        }
        Ok(roles)
    }
}
