//! The MySQL or `MariaDB` server that the database is on. It is only read: every session of ours is a read-only one.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use mm_common::contract::secret::Secret;
use mm_common::mattermost::site::Installation;
use mm_common::mattermost::way_back::Place;
use mm_common::{Context as _, Error, Kind, Result};
use mysql::prelude::{FromRow, Queryable as _};
use mysql::{Conn, OptsBuilder, Row, Value};
use nix::sys::socket::{Shutdown, shutdown};

use super::tls::{Fault, Relay, Wish};
use super::wait::{self, Pulse};
use crate::moving::watch;
use mm_common::mysql::Address;

/// How long it may take to take a connection, and to let us in after that: it may look for our name first.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);
const GREETING_LIMIT: Duration = Duration::from_secs(60);

/// How long it may say nothing where the system has no thread that could watch over it.
const SILENCE_LIMIT: Duration = Duration::from_secs(600);

/// The longest row, in bytes: of what Mattermost stores, the value of a plugin has a sixteenth of it.
const MOST_ROW: usize = 256 << 20;

/// How long a list may be, of tables and their columns, in bytes; and what a row of it counts beside what it says.
const MOST_LISTED: usize = 64 << 20;
const EACH_ROW: usize = 64;

/// How many seconds a lock against writers is waited for.
const LOCK_WAIT: u32 = 20;

/// What a session of ours begins with. PostgreSQL may keep it waiting for longer than its own limits.
const SESSION: [&str; 5] = [
    "SET NAMES utf8mb4",
    "SET SESSION TRANSACTION READ ONLY",
    "SET SESSION sql_mode = ''",
    "SET SESSION net_write_timeout = 86400",
    "SET SESSION wait_timeout = 86400",
];

/// What sees a row: its values as texts, `None` for NULL.
pub(crate) type Visit<'a> = dyn FnMut(&[Option<&[u8]>]) -> Result<()> + 'a;

/// The database, reached.
pub(crate) struct Source {
    pub address: Address,
    /// `MariaDB 10.11.19`, `MySQL 8.0.36`.
    pub engine: String,
    session: Conn,
    /// What the way there tells of itself, where it is one of ours.
    fault: Fault,
}

/// A column as the server describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub name: String,
    /// Such as `varchar`.
    pub data_type: String,
    /// A number without a sign.
    pub is_unsigned: bool,
}

/// A table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Table {
    pub name: String,
    pub columns: Vec<Column>,
    /// The columns of its primary key.
    pub key: Vec<String>,
    /// Its storage engine.
    pub storage: String,
}

impl Source {
    /// Reaches the database of a server whose driver is `mysql`.
    ///
    /// # Errors
    /// Refused when its data source is not understood or does not get in.
    pub(crate) fn reach(installation: &Installation) -> Result<Self> {
        Self::connect(Address::parse(installation.config.data_source()?.0.reveal())?)
    }

    /// Another session of the same.
    ///
    /// # Errors
    /// As [`Source::reach`].
    pub(crate) fn another(&self) -> Result<Self> {
        Self::connect(self.address.clone())
    }

    fn connect(address: Address) -> Result<Self> {
        let attempt = format!(
            "cannot connect to the database `{}` at {}, port {}, as `{}`",
            address.database, address.host, address.port, address.user
        );
        let hint = "the database has to be reachable as the server reaches it; start it, or fix its data source";
        let refused = |error: Error| error.within(attempt.clone()).of_kind(Kind::Refused).hint(hint);
        let wish = address.tls.as_deref().map(Wish::of).transpose()?.filter(|_| address.socket.is_none());
        let begin = |wish| Relay::begin(&address, wish, (CONNECT_LIMIT, GREETING_LIMIT));
        let relay = wish.map(begin).transpose().map_err(refused)?.flatten();
        let fault = relay.as_ref().map(Relay::fault).unwrap_or_default();
        let options = OptsBuilder::new()
            .user(Some(&address.user))
            .pass(address.password.as_ref().map(Secret::reveal))
            .db_name(Some(&address.database))
            .prefer_socket(false)
            .tcp_connect_timeout(Some(CONNECT_LIMIT))
            .read_timeout(Some(SILENCE_LIMIT))
            .max_allowed_packet(Some(MOST_ROW))
            .init(SESSION.to_vec());
        let options = match relay.as_ref().map(Relay::path).or(address.socket.as_deref()) {
            Some(path) => options.socket(Some(path.to_string_lossy())),
            None => options.ip_or_hostname(Some(&address.host)).tcp_port(address.port),
        };
        let session = wait::given_up(GREETING_LIMIT, move || Conn::new(options.clone()))
            .and_then(|reached| reached.map_err(|error| Error::failed("it was not let in").because(error)));
        // What the relay met is nearer to the cause.
        let session = session.map_err(|error| refused(fault.take().unwrap_or(error)))?;
        let mut source = Self { address, engine: String::new(), session, fault };
        let version: String = source.one("SELECT VERSION()").context(|| attempt)?;
        source.engine = named(&version);
        // Each knows the other's limit not at all.
        let limit = if source.engine.starts_with("MariaDB") { "max_statement_time" } else { "max_execution_time" };
        let _ = source.execute(&format!("SET SESSION {limit} = 0"));
        Ok(source)
    }

    /// Whether what is said on the way is encrypted, in words.
    ///
    /// # Errors
    /// When the server does not say.
    pub(crate) fn cipher(&mut self) -> Result<Option<String>> {
        let rows: Vec<(String, String)> = self.all("SHOW SESSION STATUS LIKE 'Ssl_version'")?;
        Ok(rows.into_iter().map(|(_, version)| version).find(|version| !version.is_empty()))
    }

    /// Who it is.
    pub(crate) fn place(&self) -> Place {
        let Address { host, port, database, .. } = &self.address;
        let engine = Some(self.engine.clone());
        Place { host: host.clone(), port: *port, database: database.clone(), engine, ..Place::default() }
    }

    /// Does something with the session that waits for the server. What has hung up is not gone on with.
    fn asked<T>(&mut self, ask: impl FnOnce(&mut Conn, &Pulse) -> Result<T>) -> Result<T> {
        let Self { session, fault, .. } = self;
        let socket = session.as_raw_fd();
        let hang_up = || {
            // Where it is gone already nothing waits for it either.
            let _ = shutdown(socket, Shutdown::Both);
        };
        let result = wait::guarded(watch::patience(), hang_up, |pulse| ask(session, pulse));
        result.map_err(|error| match fault.take() {
            Some(met) => error.because(met.one_line()),
            None => error,
        })
    }

    fn execute(&mut self, sql: &str) -> Result<()> {
        self.asked(|session, _| session.query_drop(sql).map_err(failed))
    }

    /// All rows of an answer, which may be anybody's: it is no longer than some, and of the form that was asked for.
    fn all<T: FromRow>(&mut self, sql: &str) -> Result<Vec<T>> {
        let socket = self.session.as_raw_fd();
        self.asked(|session, pulse| {
            let (mut found, mut bytes) = (Vec::new(), 0);
            for row in session.query_iter(sql).map_err(failed)?.by_ref() {
                let row = row.map_err(failed)?;
                bytes += EACH_ROW + (0..row.len()).filter_map(|at| row.as_ref(at)).map(length).sum::<usize>();
                let read = if bytes > MOST_LISTED {
                    Err(format!("it answers with more than {} MiB", MOST_LISTED >> 20))
                } else {
                    mysql::from_row_opt(row).map_err(|_| "it answers in a form that was not asked for".to_owned())
                };
                match read {
                    Ok(row) => found.push(row),
                    Err(why) => {
                        // The rest of the rows would be read before anything else could be.
                        let _ = shutdown(socket, Shutdown::Both);
                        return Err(Error::failed("MySQL cannot be understood").because(why));
                    }
                }
                pulse.beat();
            }
            Ok(found)
        })
    }

    fn one<T: FromRow>(&mut self, sql: &str) -> Result<T> {
        self.all(sql)?.into_iter().next().ok_or_else(|| Error::failed("the server gave no answer"))
    }

    /// From now on everything is seen as it is now, whoever writes.
    pub(crate) fn freeze(&mut self) -> Result<()> {
        self.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
    }

    /// As [`Source::freeze`], in further sessions too, which see the same: nobody may write while they begin. Where that cannot be
    /// had, as for an account that only reads, there are none.
    pub(crate) fn freeze_with(&mut self, number: usize, tables: &[String]) -> Result<Vec<Self>> {
        let mut further = Vec::new();
        let mut holder = if number > 0 { self.another().ok() } else { None };
        let list: Vec<String> = tables.iter().map(|table| format!("{} READ", quoted(table))).collect();
        let hold = format!("LOCK TABLES {}", list.join(", "));
        let is_held = holder.as_mut().is_some_and(|holder| {
            holder
                .execute(&format!("SET SESSION lock_wait_timeout = {LOCK_WAIT}"))
                .and_then(|()| holder.execute(&hold))
                .is_ok()
        });
        for _ in 0..if is_held { number } else { 0 } {
            let Ok(mut one) = self.another() else { break };
            one.freeze()?;
            further.push(one);
        }
        self.freeze()?;
        // The lock ends with its session: where that was ended, somebody may have written between two beginnings.
        let was_held = holder.is_none_or(|mut holder| holder.execute("DO 1").is_ok());
        Ok(if was_held { further } else { Vec::new() })
    }

    /// How many rows a table has.
    pub(crate) fn count(&mut self, table: &str) -> Result<u64> {
        self.one(&format!("SELECT COUNT(*) FROM {}", quoted(table)))
    }

    /// What is seen is no longer held.
    pub(crate) fn thaw(&mut self) -> Result<()> {
        self.execute("ROLLBACK")
    }

    /// The tables, by their names in lower case.
    pub(crate) fn tables(&mut self) -> Result<BTreeMap<String, Table>> {
        let mut tables: BTreeMap<String, Table> = BTreeMap::new();
        let listed: Vec<(String, Option<String>)> = self.all(
            "SELECT CAST(TABLE_NAME AS CHAR), CAST(ENGINE AS CHAR) FROM information_schema.TABLES
                 WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE'",
        )?;
        for (name, storage) in listed {
            let table = Table { name: name.clone(), storage: storage.unwrap_or_default(), ..Table::default() };
            if let Some(other) = tables.insert(name.to_lowercase(), table) {
                return Err(Error::refused(format!("the tables `{}` and `{name}` differ in case alone", other.name))
                    .because("PostgreSQL has one table for both")
                    .hint("find out which one the server uses, and rename the other"));
            }
        }
        let columns: Vec<(String, String, String, String)> = self.all(
            "SELECT CAST(TABLE_NAME AS CHAR), CAST(COLUMN_NAME AS CHAR), CAST(DATA_TYPE AS CHAR), CAST(COLUMN_TYPE AS CHAR) FROM information_schema.COLUMNS
                 WHERE TABLE_SCHEMA = DATABASE() ORDER BY TABLE_NAME, ORDINAL_POSITION",
        )?;
        for (table, name, data_type, whole) in columns {
            if let Some(table) = tables.get_mut(&table.to_lowercase()) {
                let is_unsigned = whole.to_lowercase().contains("unsigned");
                table.columns.push(Column { name, data_type: data_type.to_lowercase(), is_unsigned });
            }
        }
        let keys: Vec<(String, String)> = self.all(
            "SELECT CAST(TABLE_NAME AS CHAR), CAST(COLUMN_NAME AS CHAR) FROM information_schema.STATISTICS
                 WHERE TABLE_SCHEMA = DATABASE() AND INDEX_NAME = 'PRIMARY' ORDER BY TABLE_NAME, SEQ_IN_INDEX",
        )?;
        for (table, column) in keys {
            if let Some(table) = tables.get_mut(&table.to_lowercase()) {
                table.key.push(column);
            }
        }
        Ok(tables)
    }

    /// Lets `visit` see every row of a table: the values of these columns, in this order. When `visit` fails, that was the
    /// last of this session.
    pub(crate) fn rows(&mut self, table: &str, columns: &[String], visit: &mut Visit<'_>) -> Result<()> {
        self.some_rows(table, columns, "", visit)
    }

    /// As [`Source::rows`], with what follows the name of the table in the query.
    pub(crate) fn some_rows(
        &mut self,
        table: &str,
        columns: &[String],
        clause: &str,
        visit: &mut Visit<'_>,
    ) -> Result<()> {
        let engine = self.engine.clone();
        let attempt = || format!("cannot read the table `{table}` of {engine}");
        let list: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
        let sql = format!("SELECT {} FROM {}{clause}", list.join(", "), quoted(table));
        let socket = self.session.as_raw_fd();
        let read = self.asked(|session, pulse| {
            for row in session.query_iter(sql).map_err(failed)?.by_ref() {
                let values = Row::unwrap(row.map_err(failed)?);
                pulse.beat();
                let mut texts = Vec::with_capacity(values.len());
                for value in &values {
                    texts.push(match value {
                        Value::NULL => None,
                        Value::Bytes(bytes) => Some(bytes.as_slice()),
                        _ => return Err(Error::failed("it sent a value in a form that was not asked for")),
                    });
                }
                if let Err(error) = visit(&texts) {
                    // The rest of the rows would be read before anything else could be.
                    let _ = shutdown(socket, Shutdown::Both);
                    return Err(error);
                }
                pulse.beat();
            }
            Ok(())
        });
        read.context(attempt)
    }

    /// From where else somebody is connected to the database as our user, whose sessions every account may see.
    ///
    /// # Errors
    /// When the server does not tell.
    pub(crate) fn others(&mut self) -> Result<Vec<String>> {
        let (own, user): (u64, String) = self.one("SELECT CONNECTION_ID(), SUBSTRING_INDEX(USER(), '@', 1)")?;
        let rows: Vec<Row> = self.all("SHOW PROCESSLIST")?;
        let mut found = BTreeSet::new();
        for row in rows {
            let text = |name: &str| row.get_opt::<String, _>(name).and_then(std::result::Result::ok);
            let id = row.get_opt::<u64, _>("Id").and_then(std::result::Result::ok);
            let is_ours = text("User").as_deref() == Some(user.as_str())
                && text("db").as_deref() == Some(self.address.database.as_str());
            if is_ours && id != Some(own) {
                found.insert(format!("{user} from {}", text("Host").unwrap_or_default()));
            }
        }
        Ok(found.into_iter().collect())
    }

    /// How many bytes its data has.
    pub(crate) fn bytes(&mut self) -> Result<u64> {
        let sum = "SELECT CAST(COALESCE(SUM(DATA_LENGTH), 0) AS UNSIGNED) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()";
        self.one(sum)
    }
}

fn length(value: &Value) -> usize {
    if let Value::Bytes(bytes) = value { bytes.len() } else { 0 }
}

fn failed(error: mysql::Error) -> Error {
    Error::failed("MySQL answered with an error").because(error)
}

pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// `10.11.19-MariaDB-0+deb12u1`, or `8.0.36-0ubuntu0.22.04.1`; a replica's server may put `5.5.5-` before it.
fn named(version: &str) -> String {
    let is_maria = version.to_lowercase().contains("mariadb");
    let version = version.strip_prefix("5.5.5-").filter(|_| is_maria).unwrap_or(version);
    let number = version.split(|c: char| c != '.' && !c.is_ascii_digit()).next().unwrap_or(version);
    format!("{} {number}", if is_maria { "MariaDB" } else { "MySQL" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_is_told_from_its_version() {
        for (version, wanted) in [
            ("10.11.19-MariaDB-0+deb12u1", "MariaDB 10.11.19"),
            ("5.5.5-10.5.8-MariaDB-log", "MariaDB 10.5.8"),
            ("8.0.36-0ubuntu0.22.04.1", "MySQL 8.0.36"),
            ("5.7.44", "MySQL 5.7.44"),
        ] {
            assert_eq!(named(version), wanted);
        }
        assert_eq!(quoted("a`b"), "`a``b`");
    }
}
