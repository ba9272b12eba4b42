//! A database that can be asked, through `psql` and its siblings of the right major version.

mod ask;
mod same;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::cluster::Cluster;
use super::dump::connection_string;
use super::kept::Kept;
use super::passfile::Passfile;
use super::programs::program_for;
pub use super::programs::program_of;
use super::session;
use super::source::DataSource;
pub use super::standing::Snapshot;
use super::unreached;
use crate::contract::error::{Error, Result};
use crate::contract::shell;
use crate::machine::command::{self, Cmd};
use crate::machine::user::User;

/// How long a query may take unless said otherwise: enough for everything but reading whole tables.
pub const QUERY_LIMIT: Duration = Duration::from_secs(60);

/// How long a server may take to accept a connection, in seconds, when the data source does not say.
const CONNECT_TIMEOUT: &str = "10";

/// While an index is built, rows are hashed, or nobody asks, nothing goes over a connection. What lies between forgets one
/// that is silent for some minutes, and tells neither side; by default the first sign of life is sent after two hours. No
/// variable says it.
const KEEPALIVES: &str = "keepalives_idle=30 keepalives_interval=10 keepalives_count=6";

/// A database, and how to reach it. What it is asked it is asked in one session, which is kept until the last clone of this
/// is dropped; what is executed has a session of its own, unless no signal ends this one ([`Database::not_cancelled`]).
/// Passwords go through a 0600 passfile that is removed with that clone, too.
#[derive(Debug, Clone)]
pub struct Database {
    /// `server_version_num`, such as 130016.
    pub version_num: u32,
    /// `server_version`, such as `13.16`.
    pub version: String,
    /// The database's name.
    pub name: String,
    environment: Vec<(String, String)>,
    passfile: Option<Arc<Passfile>>,
    user: Option<User>,
    /// The session trusts nobody: it is a superuser's. See [`super::session`].
    superuser: bool,
    /// Nobody else gets into its server.
    alone: bool,
    /// Further settings of its start packet.
    options: String,
    /// Where the server's tables are, when that is not for the session to say.
    schemas: Option<Vec<String>>,
    limit: Duration,
    cancel: Option<Arc<AtomicBool>>,
    /// No signal ends what is asked.
    steady: bool,
    kept: Kept,
}

impl Database {
    /// Connects as the data source says and asks for the version. `user` is the user of the machine to connect as
    /// (for peer authentication).
    ///
    /// # Errors
    /// Failed when the server cannot be reached or refuses.
    pub fn connect(source: &DataSource, user: Option<&User>) -> Result<Self> {
        Self::unasked(source, user)?.with_version().map_err(|error| unreachable(error, source))
    }

    /// As [`Database::connect`], as somebody with power over others: its sessions trust nobody (see [`super::session`]).
    ///
    /// # Errors
    /// As [`Database::connect`].
    pub fn administrator(source: &DataSource, user: Option<&User>) -> Result<Self> {
        let reached = Self { superuser: true, ..Self::unasked(source, user)? };
        reached.with_version().map_err(|error| unreachable(error, source))
    }

    fn unasked(source: &DataSource, user: Option<&User>) -> Result<Self> {
        let passfile = source.password.as_ref().map(|password| Passfile::create(password, user)).transpose()?;
        let mut environment = vec![
            ("PGHOST".to_owned(), source.host.clone()),
            ("PGPORT".to_owned(), source.port.to_string()),
            ("PGUSER".to_owned(), source.user.clone()),
            ("PGDATABASE".to_owned(), source.database.clone()),
            ("PGCONNECT_TIMEOUT".to_owned(), CONNECT_TIMEOUT.to_owned()),
        ];
        environment.extend(source.environment.iter().cloned());
        let passfile = passfile.map(Arc::new);
        Ok(Self { passfile, ..Self::unknown(environment, user.cloned(), &source.database) })
    }

    /// Connects to `database` of the server with this socket directory and port as its superuser `role`, whose sessions
    /// trust nobody (see [`super::session`]). `user` is the user of the machine to connect as.
    ///
    /// # Errors
    /// Failed when the server cannot be reached or refuses.
    pub(super) fn superuser_at(
        socket: &Path,
        port: u16,
        role: &str,
        user: Option<&User>,
        database: &str,
    ) -> Result<Self> {
        let environment = vec![
            ("PGHOST".to_owned(), socket.display().to_string()),
            ("PGPORT".to_owned(), port.to_string()),
            ("PGUSER".to_owned(), role.to_owned()),
            // As a variable the name is taken as it is; libpq reads an argument with `=` in it as a list of parameters.
            ("PGDATABASE".to_owned(), database.to_owned()),
            ("PGCONNECT_TIMEOUT".to_owned(), CONNECT_TIMEOUT.to_owned()),
        ];
        Self { superuser: true, ..Self::unknown(environment, user.cloned(), database) }.with_version()
    }

    /// Connects to `database` of a local cluster as its superuser, over its unix socket.
    ///
    /// # Errors
    /// Failed when the server does not run, or its `pg_hba.conf` does not let the cluster's owner in by peer
    /// authentication.
    pub fn superuser(cluster: &Cluster, database: &str) -> Result<Self> {
        let owner = User::named(&cluster.owner)?;
        let reached = Self::superuser_at(&cluster.socket, cluster.port, &cluster.owner, Some(&owner), database);
        reached.map_err(|error| {
            error.within(format!(
                "cannot connect to `{database}` of the cluster {} as `{}`",
                cluster.label(),
                cluster.owner
            ))
        })
    }

    fn unknown(environment: Vec<(String, String)>, user: Option<User>, name: &str) -> Self {
        Self {
            // Until the server has said: any client will do for asking.
            version_num: 0,
            version: String::new(),
            name: name.to_owned(),
            environment: [vec![("PGCLIENTENCODING".to_owned(), "UTF8".to_owned())], environment].concat(),
            passfile: None,
            user,
            superuser: false,
            alone: false,
            options: String::new(),
            schemas: None,
            limit: QUERY_LIMIT,
            cancel: None,
            steady: false,
            kept: Kept::default(),
        }
    }

    /// Asks for the version.
    fn with_version(mut self) -> Result<Self> {
        let sql = "SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4 AS number,
            pg_catalog.current_setting('server_version') AS name";
        let rows = self.rows(sql)?;
        let answer = rows.first();
        let number = answer.and_then(|row| row["number"].as_u64()).and_then(|number| u32::try_from(number).ok());
        self.version_num = number.ok_or_else(|| Error::failed("the server does not tell its version"))?;
        // Debian's says `13.16 (Debian 13.16-0+deb11u1)`.
        let version = answer.and_then(|row| row["name"].as_str()).unwrap_or_default();
        version.split_whitespace().next().unwrap_or_default().clone_into(&mut self.version);
        self.tell(&session::settings(self.version_num));
        Ok(self)
    }

    /// The same database, asked in one session that no other one takes the place of. When that ends, so does all it held.
    pub(super) fn in_one_session(mut self) -> Self {
        self.kept = Kept::only();
        self
    }

    /// A session that was begun otherwise is not gone on with, where another one can take its place.
    fn begun_anew(mut self) -> Self {
        if !self.kept.is_only() {
            self.kept = Kept::default();
        }
        self
    }

    /// The same database with another time limit for what is asked.
    #[must_use]
    pub fn with_limit(mut self, limit: Duration) -> Self {
        if self.limit == limit {
            return self;
        }
        self.limit = limit;
        if !self.kept.relimit(limit) {
            return self.begun_anew();
        }
        self.tell(&[session::timeout(limit)]);
        self
    }

    /// A superuser's session that has begun has the settings of one that begins now.
    fn tell(&self, settings: &[(&str, String)]) {
        if self.superuser {
            self.kept.set(settings);
        }
    }

    /// The same database, with all that is asked of it ended by a signal or when `flag` is set.
    #[must_use]
    pub fn cancelled_by(mut self, flag: &Arc<AtomicBool>) -> Self {
        self.cancel = Some(Arc::clone(flag));
        self.begun_anew()
    }

    /// The same database, with what is asked of it ended by no signal and no flag: for taking back.
    #[must_use]
    pub fn not_cancelled(mut self) -> Self {
        self.cancel = None;
        self.steady = true;
        self.begun_anew()
    }

    /// The same database with further settings in the start packet of its sessions (`-c name=value ...`), where these are
    /// a superuser's: a pooler before the database refuses them.
    #[must_use]
    pub fn with_options(mut self, options: &str) -> Self {
        if self.superuser {
            self.options = format!("{} {options}", self.options);
        }
        self.begun_anew()
    }

    /// The same database, with the server's tables looked for in these schemas: a superuser's own search path says
    /// nothing about where they are.
    #[must_use]
    pub fn looking_in(mut self, schemas: Vec<String>) -> Self {
        self.schemas = Some(schemas);
        self
    }

    /// The schemas in which its role finds the server's tables, in order.
    pub fn schemas(&self) -> Result<Vec<String>> {
        if let Some(schemas) = &self.schemas {
            return Ok(schemas.clone());
        }
        let answer = self.value("SELECT pg_catalog.current_schemas(false) AS schemas")?;
        Ok(answer.as_array().into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect())
    }

    /// Whether its sessions are a superuser's, which trust nobody.
    pub fn is_superuser(&self) -> bool {
        self.superuser
    }

    /// The same database, of a server that was started for nobody else: nothing there has to be held for us to read it, and a
    /// lock on a row would be a transaction.
    #[must_use]
    pub fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// Whether nobody else gets into its server.
    pub(super) fn is_alone(&self) -> bool {
        self.alone
    }

    /// Another database of the same server, reached in the same way. Nothing is asked of it yet.
    #[must_use]
    pub fn sibling(&self, name: &str) -> Self {
        let mut sibling = self.clone();
        name.clone_into(&mut sibling.name);
        for (key, value) in &mut sibling.environment {
            if key == "PGDATABASE" {
                name.clone_into(value);
            }
        }
        sibling.kept = Kept::default();
        sibling
    }

    /// The user of the machine that programs run as to reach it, when it is not this process's own.
    pub fn other_user(&self) -> Option<&User> {
        self.user.as_ref().filter(|user| !user.is_current())
    }

    /// The server's major version.
    pub fn major(&self) -> u32 {
        self.version_num / 10_000
    }

    /// Begins a transaction that sees the database as it is now, and exports that view: dumps and fingerprints under
    /// its id all see the same. It lasts until the returned value is dropped.
    pub fn snapshot(&self) -> Result<Snapshot> {
        Snapshot::export(&self.psql()?)
    }

    /// `program` (`pg_dump`, `pg_restore`, ...) of a major not older than the server's, by full path, with the
    /// connection in its environment and the user it connects as.
    ///
    /// The command may be used as long as this database (or a clone of it) exists: the passfile goes with it.
    ///
    /// # Errors
    /// Refused when no such program of a sufficient major is installed: an older one refuses a newer server.
    pub fn command(&self, program: &str) -> Result<Cmd> {
        self.command_of(program, self.major())
    }

    /// As [`Database::command`], of a major that is not older than `major` either.
    pub fn command_of(&self, program: &str, major: u32) -> Result<Cmd> {
        let path = program_for(program, self.major().max(major))?;
        // What `psql` is told it holds whole before it prints it.
        let memory = if program == "psql" { command::TO_ASK } else { command::TO_CARRY };
        let command = Cmd::new(path.display().to_string()).limit(self.limit).within(memory);
        let command = self.environment.iter().fold(command, |command, (key, value)| command.env(key, value));
        let command = match &self.passfile {
            Some(passfile) => command.env("PGPASSFILE", passfile.path()),
            None => command,
        };
        let command = match &self.user {
            Some(user) => command.user(user),
            None => command,
        };
        let command = if self.superuser {
            let fixed = session::options(self.version_num, self.limit);
            command.env("PGOPTIONS", format!("{fixed}{}", self.options))
        } else {
            command
        };
        Ok(match &self.cancel {
            // What a flag ends is of no use to anybody else either.
            Some(flag) => command.cancelled_by(flag).ends_with_us(),
            None => command,
        })
    }

    /// The command line by which an administrator runs statements here.
    pub fn shown(&self, sql: &str) -> String {
        let of = |key: &str| self.environment.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
        let user =
            self.other_user().map(|user| format!("runuser -u {} -- ", shell::word(&user.name))).unwrap_or_default();
        let flags: Vec<String> = [("-h", "PGHOST"), ("-p", "PGPORT"), ("-U", "PGUSER")]
            .iter()
            .filter_map(|(flag, key)| Some(format!("{flag} {}", shell::word(of(key)?))))
            .collect();
        // An argument with `=` or `:` in it is read as a list of parameters, or as an address.
        let name = self.name.replace('\\', r"\\").replace('\'', r"\'");
        let name = if self.name.contains(['=', ':', '\'']) { format!("dbname='{name}'") } else { self.name.clone() };
        format!("{user}psql {} -d {} -c {}", flags.join(" "), shell::word(name), shell::word(sql))
    }

    fn psql(&self) -> Result<Cmd> {
        let psql = self.command("psql")?.args(["-XAtqw", "-v", "ON_ERROR_STOP=1", "-f", "-"]);
        Ok(if self.is_over_tcp() { psql.arg(format!("--dbname={KEEPALIVES}")) } else { psql })
    }

    /// Host and port that it is reached at.
    pub fn reached_at(&self) -> (&str, u16) {
        let value = |name| self.environment.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
        (value("PGHOST"), value("PGPORT").parse().unwrap_or_default())
    }

    fn is_over_tcp(&self) -> bool {
        !self.reached_at().0.starts_with('/')
    }

    /// The database for programs that work in it for long, as the one argument that they take a name and parameters in.
    pub(super) fn address(&self) -> String {
        let name = connection_string(&self.name);
        if self.is_over_tcp() { format!("{name} {KEEPALIVES}") } else { name }
    }
}

/// The error where a data source does not get in.
fn unreachable(error: Error, source: &DataSource) -> Error {
    let hint = unreached::next_step(source, &error);
    error
        .within(format!(
            "cannot connect to the database `{}` at {}, port {}, as `{}`",
            source.database, source.host, source.port, source.user
        ))
        .hint(hint)
}
