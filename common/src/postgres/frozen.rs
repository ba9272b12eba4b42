//! A frozen copy: the database as it was when nobody wrote, kept beside itself in its own cluster by `CREATE DATABASE ...
//! TEMPLATE`. Renaming it back takes a fraction of a second, whatever it holds.
//!
//! Nobody but a superuser gets into it: it allows no connection to anybody else (`CONNECTION LIMIT 0`), and belongs to the
//! superuser meanwhile, so that its former owner cannot open it. Connections stay allowed as such (`datallowconn`), since
//! `pg_upgrade` refuses a cluster with a database that allows none.
//!
//! A superuser can still change it. That leaves traces: row versions that are newer than the transaction noted when it was
//! made, the copy's own counters of inserts, updates and deletes, and rows that have gone from its catalogues.

mod changes;
mod making;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::dump::{identifier, literal};
use super::properties::{self, Properties};
use super::server::Database;
use crate::contract::error::Result;

pub use changes::{Changes, note};
pub use making::{Made, drop_copy, make, write_out};

/// A frozen copy, as the manifest of its restore point describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Frozen {
    /// The name of the copy.
    pub copy: String,
    /// Its number in the cluster.
    pub oid: u64,
    /// The cluster.
    pub system_identifier: String,
    /// The database it is a copy of.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Version of the server.
    pub server_version: String,
    /// What the database has that a copy does not get: it is given to the copy when that takes its place.
    pub properties: Properties,
    /// What changes are found by.
    pub noted: Noted,
}

/// What a later look at the copy is compared with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {
    /// A transaction (with its epoch) before which everything in the copy was written.
    pub transaction: u64,
    /// Rows of each catalogue of the copy.
    pub catalogs: BTreeMap<String, u64>,
    /// Where its sequences stand, as one hash.
    pub sequences: String,
    /// Since when the cluster counts: a crash begins anew, and what was counted before is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counting_since: Option<String>,
}

/// The number of a database of this name, and the identifier of its cluster; absent when there is none.
fn identity(admin: &Database, name: &str) -> Result<Option<(u64, String)>> {
    let rows = admin.rows(&format!(
        "SELECT d.oid::pg_catalog.int8 AS oid, c.system_identifier::pg_catalog.text AS cluster
         FROM pg_catalog.pg_database d, pg_catalog.pg_control_system() c WHERE d.datname = {}",
        literal(name)
    ))?;
    Ok(rows.first().and_then(|row| Some((row["oid"].as_u64()?, row["cluster"].as_str()?.to_owned()))))
}

impl Frozen {
    /// The copy, where it is still there and the one that was made. `admin` is a superuser.
    pub fn find(&self, admin: &Database) -> Result<Option<Database>> {
        let is_own = identity(admin, &self.copy)?
            .is_some_and(|(oid, cluster)| oid == self.oid && cluster == self.system_identifier);
        Ok(is_own.then(|| admin.sibling(&self.copy)))
    }

    /// The statements that give it, under the name that the database had, to its owner, with its rights.
    pub fn opening(&self) -> String {
        let database = identifier(&self.name);
        let limit = self.properties.connection_limit.unwrap_or(-1);
        let given = if self.properties.grants.is_some() {
            let rights = properties::rights(&self.name, &self.properties);
            rights.iter().map(|(_, right)| format!("{right};\n")).collect::<Vec<_>>().concat()
        } else {
            // What every database has that nobody has set rights on.
            format!("GRANT CONNECT, TEMPORARY ON DATABASE {database} TO PUBLIC;\n")
        };
        format!(
            "ALTER DATABASE {database} OWNER TO {};\nALTER DATABASE {database} CONNECTION LIMIT {limit};\n{given}{}",
            identifier(&self.properties.owner),
            if self.properties.template {
                format!("ALTER DATABASE {database} IS_TEMPLATE true;\n")
            } else {
                String::new()
            }
        )
    }

    /// The roles that these statements name.
    pub fn opened_to(&self) -> Vec<String> {
        let granted = self.properties.grants.iter().flatten().filter_map(|grant| grant.role.clone());
        std::iter::once(self.properties.owner.clone()).chain(granted).collect()
    }

    /// The statements that close it to everybody again.
    pub fn closing(&self) -> String {
        let database = identifier(&self.copy);
        let of = |grant: &properties::Grant| grant.role.as_deref().map(identifier);
        let revoked = self
            .properties
            .grants
            .iter()
            .flatten()
            .filter_map(of)
            .map(|role| format!("REVOKE ALL ON DATABASE {database} FROM {role};\n"))
            .collect::<Vec<_>>()
            .concat();
        format!(
            "ALTER DATABASE {database} CONNECTION LIMIT 0;\nALTER DATABASE {database} IS_TEMPLATE false;\n{revoked}REVOKE ALL ON DATABASE {database} FROM PUBLIC;\n\
             ALTER DATABASE {database} OWNER TO CURRENT_USER;\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::properties::Grant;

    fn frozen(grants: Option<Vec<Grant>>) -> Frozen {
        Frozen {
            copy: "m_mm_frozen_20261122T030000Z".into(),
            oid: 1,
            system_identifier: "7".into(),
            name: "m".into(),
            bytes: 1,
            server_version: "13.16".into(),
            properties: Properties { owner: "we\"ird".into(), grants, ..Properties::default() },
            noted: Noted::default(),
        }
    }

    #[test]
    fn a_copy_is_opened_as_the_database_was_and_closed_to_everybody() {
        let plain = frozen(None).opening();
        assert!(plain.starts_with("ALTER DATABASE \"m\" OWNER TO \"we\"\"ird\";\n"), "{plain}");
        assert!(plain.contains("CONNECTION LIMIT -1") && plain.contains("GRANT CONNECT, TEMPORARY"), "{plain}");
        let grant = Grant { role: Some("a\"b".into()), privilege: "CONNECT".into(), grantable: false };
        let closed = frozen(Some(vec![grant])).closing();
        for part in ["CONNECTION LIMIT 0", "FROM \"a\"\"b\"", "FROM PUBLIC", "OWNER TO CURRENT_USER"] {
            assert!(closed.contains(part), "{closed}");
        }
    }
}
