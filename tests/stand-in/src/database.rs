//! PostgreSQL as the server sees it: the data source, a few connections, rows read in the strict way of the real server.

mod app;
mod insert;
mod legacy;
mod lock;
pub(crate) mod migrate;
mod morph;
mod roles;
mod row;
mod sections;
mod source;

use std::sync::Mutex;
use std::time::Duration;

use postgres::Client;
use postgres::types::ToSql;

pub(crate) use app::{Jobs, application_migrations};
pub(crate) use insert::{Insert, quoted};
pub(crate) use row::{NullError, Row};
pub(crate) use sections::embedded;
pub(crate) use source::Source;

use crate::error::{Error, Result};

/// A handful of connections, made when needed and dropped when they broke.
pub(crate) struct Database {
    pub(crate) source: Source,
    idle: Mutex<Vec<Client>>,
}

/// A parameter of a statement.
pub(crate) type Param<'a> = &'a (dyn ToSql + Sync);

impl Database {
    pub(crate) fn new(source: Source) -> Self {
        Self { source, idle: Mutex::new(Vec::new()) }
    }

    /// Runs `work` with a connection. The connection goes back to the pool unless it is broken.
    pub(crate) fn with<T>(
        &self,
        work: impl FnOnce(&mut Client) -> std::result::Result<T, postgres::Error>,
    ) -> Result<T> {
        let idle = self.idle.lock().ok().and_then(|mut idle| idle.pop()).filter(|client| !client.is_closed());
        let alive = idle.and_then(|mut client| client.is_valid(Duration::from_secs(2)).is_ok().then_some(client));
        let mut client = match alive {
            Some(client) => client,
            None => self.source.connect()?,
        };
        let done = work(&mut client).map_err(|error| Error::new(sentence(&error)));
        if !client.is_closed()
            && let Ok(mut idle) = self.idle.lock()
            && idle.len() < 8
        {
            idle.push(client);
        }
        done
    }

    /// The rows of a query, each read as JSON so that one statement serves every version of the schema.
    pub(crate) fn rows(&self, query: &str, parameters: &[Param<'_>]) -> Result<Vec<Row>> {
        let wrapped = format!("SELECT row_to_json(t)::text FROM ({query}) t");
        let found = self.with(|client| client.query(wrapped.as_str(), parameters))?;
        found.iter().map(|row| Row::parse(row.get::<_, &str>(0))).collect()
    }

    pub(crate) fn row(&self, query: &str, parameters: &[Param<'_>]) -> Result<Option<Row>> {
        Ok(self.rows(query, parameters)?.into_iter().next())
    }

    /// A single number.
    pub(crate) fn number(&self, query: &str, parameters: &[Param<'_>]) -> Result<i64> {
        self.with(|client| client.query_opt(query, parameters)).map(|row| row.map_or(0, |row| row.get::<_, i64>(0)))
    }

    pub(crate) fn execute(&self, statement: &str, parameters: &[Param<'_>]) -> Result<u64> {
        self.with(|client| client.execute(statement, parameters))
    }

    pub(crate) fn script(&self, script: &str) -> Result<()> {
        self.with(|client| client.batch_execute(script))
    }

    pub(crate) fn has_table(&self, table: &str) -> Result<bool> {
        let query =
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = current_schema() AND table_name = $1";
        Ok(self.number(query, &[&table])? > 0)
    }

    pub(crate) fn has_column(&self, table: &str, column: &str) -> Result<bool> {
        let query = "SELECT count(*) FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = $1 AND column_name = $2";
        Ok(self.number(query, &[&table, &column])? > 0)
    }

    /// A value of table `systems`.
    pub(crate) fn system(&self, key: &str) -> Result<Option<String>> {
        let found = self.with(|client| client.query_opt("SELECT value FROM systems WHERE name = $1", &[&key]))?;
        Ok(found.map(|row| row.get::<_, Option<String>>(0).unwrap_or_default()))
    }

    pub(crate) fn set_system(&self, key: &str, value: &str) -> Result<()> {
        let statement =
            "INSERT INTO systems (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        self.execute(statement, &[&key, &value]).map(drop)
    }
}

/// An error in the words of the driver of the real server: `pq: ...` when PostgreSQL said it.
fn sentence(error: &postgres::Error) -> String {
    match error.as_db_error() {
        Some(said) => format!("pq: {}", said.message()),
        None => error.to_string(),
    }
}
