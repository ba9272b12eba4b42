//! The role that runs dumps, in a cluster that others use: made for one run, and gone after it.

use std::path::Path;
use std::time::Duration;

use super::cluster::{self, Cluster};
use super::dump::{identifier, literal};
use super::server::Database;
use super::source::DataSource;
use super::untrusted::ROLE;
use crate::contract::error::{Context as _, Error, Result};
use crate::contract::secret::Secret;
use crate::contract::ui;
use crate::machine::files;
use crate::machine::lock::LockGuard;
use crate::machine::signals;
use crate::machine::user::{self, User};

/// The role in a cluster, for one run. It goes with this value.
#[derive(Debug)]
pub struct Restorer {
    superuser: Database,
    source: DataSource,
    user: User,
    _lock: LockGuard,
}

impl Restorer {
    /// Makes the role, with a password that nobody knows. `superuser` is connected to a database that stays.
    ///
    /// # Errors
    /// Kind `locked` while another restore goes on in the cluster.
    pub fn make(superuser: &Database, cluster: &Cluster) -> Result<Self> {
        // By the cluster's name on this host: a copy of a cluster has its system identifier, too.
        let lock = format!("/run/mm-tools.restore.{}-{}.lock", cluster.major, cluster.name);
        let lock = LockGuard::take(Path::new(&lock), Duration::ZERO)?;
        let password = files::random_hexadecimal(24)?;
        let restorer = Self {
            superuser: superuser.clone(),
            source: DataSource {
                host: "127.0.0.1".into(),
                port: cluster.port,
                user: ROLE.into(),
                password: Some(Secret::new(password.clone())),
                database: superuser.name.clone(),
                environment: vec![("PGSSLMODE".into(), "prefer".into())],
            },
            // What reads the dump can do no harm; where its user has not been made, the cluster's owner it is, as for psql.
            user: user::tools().or_else(|_| User::named(&cluster.owner))?,
            _lock: lock,
        };
        restorer.remove()?;
        superuser
            .execute_unlogged(&format!(
                "CREATE ROLE {ROLE} NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS LOGIN PASSWORD {}",
                literal(&password)
            ))
            .context(|| format!("cannot create the role `{ROLE}`"))?;
        Ok(restorer)
    }

    /// The database of this name, as the role: over loopback, or through the socket.
    ///
    /// # Errors
    /// Refused when `pg_hba.conf` does not let it in.
    pub fn connect(&self, name: &str, cluster: &Cluster) -> Result<Database> {
        let at = |host: String| DataSource { host, database: name.to_owned(), ..self.source.clone() };
        Database::connect(&at(self.source.host.clone()), Some(&self.user))
            .or_else(|_| Database::connect(&at(cluster.socket.display().to_string()), Some(&self.user)))
            .map_err(|error| {
                Error::refused(format!(
                    "the role `{ROLE}`, which runs the dump, is not let into the cluster {}",
                    cluster.label()
                ))
                .because(error.one_line())
                .hint(self.let_in(&error, name, cluster))
            })
    }

    /// What lets it in. By a password on the socket: not every cluster listens on loopback.
    fn let_in(&self, error: &Error, name: &str, cluster: &Cluster) -> String {
        if error.one_line().contains("permission denied for database") {
            return format!("as a superuser: GRANT CONNECT ON DATABASE {} TO PUBLIC", identifier(name));
        }
        let reload = if cluster.configuration.starts_with(cluster::configuration_root()) {
            format!("pg_ctlcluster {} {} reload", cluster.major, cluster.name)
        } else {
            self.superuser.shown("SELECT pg_catalog.pg_reload_conf()")
        };
        format!(
            "put this line first into {}/pg_hba.conf, reload it ({reload}), then run this again: local all {ROLE} md5",
            cluster.configuration.display()
        )
    }

    /// Takes the role away, and what an earlier run has left of it.
    fn remove(&self) -> Result<()> {
        // What it runs may have no end, and a database in which it runs is not dropped.
        self.superuser.rows(&format!(
            "SELECT pg_catalog.pg_terminate_backend(pid) AS ended FROM pg_catalog.pg_stat_activity WHERE usename = '{ROLE}'"
        ))?;
        let left = self.superuser.rows(&format!(
            "SELECT d.datname AS name FROM pg_catalog.pg_database d JOIN pg_catalog.pg_roles r ON r.oid = d.datdba WHERE r.rolname = '{ROLE}'"
        ))?;
        for name in left.iter().filter_map(|row| row["name"].as_str()) {
            self.superuser.execute_each(&format!("DROP DATABASE {}", identifier(name)))?;
        }
        let has_rights = "EXISTS (SELECT FROM pg_catalog.aclexplode(spcacl) a JOIN pg_catalog.pg_roles r ON r.oid = a.grantee WHERE r.rolname = 'mm_restore')";
        for sql in tablespaces(&self.superuser, "REVOKE ALL ON TABLESPACE %I FROM mm_restore", has_rights)? {
            self.superuser.execute(&sql)?;
        }
        self.superuser.execute(&format!("DROP ROLE IF EXISTS {ROLE}"))
    }
}

/// A statement for each tablespace that an administrator has made and that is `chosen`, a condition.
///
/// # Errors
/// When the server cannot be asked.
pub fn tablespaces(server: &Database, statement: &str, chosen: &str) -> Result<Vec<String>> {
    let rows = server.rows(&format!(
        "SELECT pg_catalog.format({}, spcname) AS sql FROM pg_catalog.pg_tablespace WHERE spcname !~ '^pg_' AND {chosen}",
        literal(statement)
    ))?;
    Ok(rows.iter().filter_map(|row| row["sql"].as_str().map(str::to_owned)).collect())
}

impl Drop for Restorer {
    fn drop(&mut self) {
        // Also for whoever has asked to stop: nothing is left that is quickly removed.
        let _finishing = signals::finishing("removing the role that runs dumps");
        if let Err(error) = self.remove() {
            ui::warn(&format!("the role `{ROLE}` is left over: {}; the next restore removes it", error.one_line()));
        }
    }
}
