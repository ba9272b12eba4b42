//! Whether a database is the server's own. Its name comes from a configuration that the service user can write, and could
//! be the name of somebody else's database in the same cluster; so a superuser works only where the cluster itself says
//! whose it is.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::dump::literal;
use super::server::Database;
use super::{by_peer, cluster};
use crate::contract::error::{Error, Result};
use crate::machine::files::{self, Access};
use crate::machine::lock::LockGuard;

/// The id for `--accept`, by which an administrator says that the database is the server's.
pub const ACCEPT: &str = "database";

/// The file of the state directory that remembers that.
const RECORD: &str = "accepted-database.json";

/// The database that an administrator has accepted.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Accepted {
    system_identifier: String,
    oid: u32,
    name: String,
}

/// On whose behalf a superuser is to work in a database.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The role of the data source.
    pub role: &'a str,
    /// The state directory of the installation.
    pub state: &'a Path,
    /// `--accept database` was given.
    pub accepted: bool,
    /// With the lock, what was accepted is remembered.
    pub lock: Option<&'a LockGuard>,
}

/// What the cluster knows of the database that is asked in. The role owns it; or it owns a table `posts`, and every other
/// table there too, but for those of extensions: a table of that name alone could be made by anybody who may create one.
const WHOSE: &str = "SELECT d.oid::pg_catalog.int8 AS oid, d.datname AS name, pg_catalog.pg_get_userbyid(d.datdba) AS owner,
    (SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system()) AS system_identifier,
    r.oid IS NOT NULL AS known,
    pg_catalog.pg_has_role(r.oid, d.datdba, 'MEMBER') AS owns,
    EXISTS (SELECT FROM tables WHERE relname = 'posts' AND pg_catalog.pg_has_role(r.oid, relowner, 'MEMBER')) AS posts,
    (SELECT pg_catalog.min(called) FROM tables WHERE NOT pg_catalog.pg_has_role(r.oid, relowner, 'MEMBER')) AS foreign_table
  FROM pg_catalog.pg_database d LEFT JOIN pg_catalog.pg_roles r ON r.rolname = ";

const TABLES: &str = r"WITH tables AS (
  SELECT c.relname, c.relowner, n.nspname || '.' || c.relname || ' of ' || pg_catalog.pg_get_userbyid(c.relowner) AS called
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't' AND n.nspname NOT LIKE 'pg\_%'
    AND n.nspname <> 'information_schema'
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
      AND e.objid = c.oid AND e.deptype = 'e'))
";

impl Claim<'_> {
    /// Proves that the database in which `superuser` is connected is the server's.
    ///
    /// # Errors
    /// Refused when it is not, and no administrator has said so.
    pub fn prove(&self, superuser: &Database) -> Result<()> {
        let sql = format!("{TABLES}{WHOSE}{} WHERE d.datname = pg_catalog.current_database()", literal(self.role));
        let rows = superuser.rows(&sql)?;
        let row = rows.first().ok_or_else(|| Error::failed(format!("the database `{}` is gone", superuser.name)))?;
        let why = match (row["known"] == true, row["foreign_table"].as_str()) {
            _ if row["owns"] == true => return Ok(()),
            (true, None) if row["posts"] == true => return Ok(()),
            (false, _) => format!("the cluster has no role `{}`", self.role),
            (true, Some(table)) => format!("it belongs to `{}`, and holds {table}", text(row, "owner")),
            (true, None) => {
                format!("it belongs to `{}`, and holds no table `posts` of `{}`", text(row, "owner"), self.role)
            }
        };
        let found = Accepted {
            system_identifier: text(row, "system_identifier").to_owned(),
            oid: row["oid"].as_u64().and_then(|oid| u32::try_from(oid).ok()).unwrap_or_default(),
            name: text(row, "name").to_owned(),
        };
        if self.accepted {
            return self.remember(&found);
        }
        if self.remembered()?.is_some_and(|accepted| accepted == found) {
            return Ok(());
        }
        Err(Error::refused(format!("the database `{}` is not known to be the server's", superuser.name))
            .because(why)
            .hint(format!(
                "look whose it is (as the superuser: \\l and \\dt *.*); if it is this server's, say so once with --accept {ACCEPT}"
            )))
    }

    fn record(&self) -> PathBuf {
        self.state.join(RECORD)
    }

    fn remembered(&self) -> Result<Option<Accepted>> {
        if files::look(&self.record())?.is_none() {
            return Ok(None);
        }
        Ok(serde_json::from_str(&files::read_text(&self.record(), 1 << 16)?).ok())
    }

    fn remember(&self, found: &Accepted) -> Result<()> {
        if self.lock.is_none() {
            return Ok(());
        }
        let text = serde_json::to_vec(found).map_err(|error| Error::failed("cannot write JSON").because(error))?;
        files::write(&self.record(), &text, Access::PRIVATE)
    }

    /// The same database as the superuser of the local cluster it lives in; `None` when it is elsewhere, or we may not.
    ///
    /// # Errors
    /// Refused when a superuser could, and the database is not proven to be the server's.
    pub fn superuser(&self, own: &Database) -> Result<Option<Database>> {
        let Some(superuser) = unproven(own) else { return Ok(None) };
        self.prove(&superuser)?;
        Ok(Some(superuser.looking_in(own.schemas()?)))
    }
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_default()
}

/// As its superuser, in the cluster that the server of `own` says it is.
fn unproven(own: &Database) -> Option<Database> {
    let superuser = match cluster::of_database(own).ok()? {
        Some(cluster) => Database::superuser(&cluster, &own.name).ok()?,
        None => by_peer::superuser_beside(own)?,
    };
    // The start of the server to the microsecond: there is no second one with it.
    let started =
        "SELECT pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time())::pg_catalog.text AS started";
    (own.value(started).ok()? == superuser.value(started).ok()?).then_some(superuser)
}
