//! The database's part of a restore point: dump, roles, fingerprints, all as one snapshot shows them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mm_common::contract::error::{Error, Result};
use mm_common::contract::progress::Meter;
use mm_common::contract::{time, ui};
use mm_common::machine::lock::LockGuard;
use mm_common::machine::{checkpoint, files, threads};
use mm_common::mattermost::config::environment;
use mm_common::mattermost::schema;
use mm_common::mattermost::site::Installation;
use mm_common::postgres::cluster::FROZEN;
use mm_common::postgres::fingerprint::Method;
use mm_common::postgres::properties::Properties;
use mm_common::postgres::proven::Claim;
use mm_common::postgres::server::{Database, Snapshot};
use mm_common::postgres::source::DataSource;
use mm_common::postgres::{besides, by_peer, dump, fingerprint, hidden, properties};

use crate::manifest::{DatabasePart, FrozenPart, OriginalPart, Stored};

/// The directory of the database in a restore point.
pub(crate) const DIRECTORY: &str = "database";

/// What a database is to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// Its own.
    Server,
    /// It holds the configuration and nothing else of the server.
    Configuration,
    /// Its own, as a frozen copy of it, or as a hop has left it.
    Frozen,
    /// Another one of the cluster.
    Other,
}

/// What a database was said to be when it was frozen.
struct Facts {
    name: String,
    bytes: u64,
    properties: Properties,
    schema: Option<schema::Level>,
}

/// On whose behalf a superuser works in the server's database.
pub(crate) fn claim<'a>(installation: &'a Installation, accepted: bool, lock: Option<&'a LockGuard>) -> Claim<'a> {
    let role = installation.source.as_ref().map_or("", |source| source.user.as_str());
    Claim { role, state: installation.state.path(), accepted, lock }
}

/// Who looks at a database. It is found while the server still runs.
pub(crate) struct Onlooker {
    own: Database,
    reader: Database,
    what: What,
}

impl Onlooker {
    /// For the server's database. Setting `cancel` ends whatever is asked.
    pub(crate) fn of_server(installation: &Installation, claim: &Claim<'_>, cancel: &Arc<AtomicBool>) -> Result<Self> {
        let own = installation.database()?;
        let reader = reader(&own, claim);
        // That there is one is known now, and not when users wait.
        dump::called(&reader)?;
        Self { own, reader, what: What::Server }.ready(cancel)
    }

    /// For the database that holds the configuration, when it is another one.
    pub(crate) fn of_configuration(
        installation: &Installation,
        claim: &Claim<'_>,
        cancel: &Arc<AtomicBool>,
    ) -> Result<Option<Self>> {
        let config = &installation.config;
        let Some(place) = environment::value(&config.overrides, "MM_CONFIG").filter(|_| config.path.is_none()) else {
            return Ok(None);
        };
        let source = DataSource::parse_for(place, &installation.owner.name)?;
        let is_same = installation
            .source
            .as_ref()
            .is_some_and(|own| (&own.host, own.port, &own.database) == (&source.host, source.port, &source.database));
        if is_same {
            return Ok(None);
        }
        let own = Database::connect(&source, Some(&installation.owner))?;
        // What an administrator has accepted is the server's own database, and no other.
        let reader = reader(&own, &Claim { role: &source.user, accepted: false, ..*claim });
        Self { own, reader, what: What::Configuration }.ready(cancel).map(Some)
    }

    /// Begins the sessions in which it is asked: users may be waiting then.
    fn ready(self, cancel: &Arc<AtomicBool>) -> Result<Self> {
        let reader = self.reader.with_limit(fingerprint::LIMIT).cancelled_by(cancel);
        let own = self.own.cancelled_by(cancel);
        for database in [&reader, &own] {
            database.value("SELECT true AS there")?;
        }
        if !reader.is_superuser() {
            hidden::refuse(&reader)?;
        }
        Ok(Self { own, reader, ..self })
    }

    /// Takes a view of it as it is now. Setting `cancel` ends whatever is done with it.
    pub(crate) fn look(self, cancel: &Arc<AtomicBool>) -> Result<View> {
        View::of(self, cancel)
    }
}

/// A view of the database that lasts until this is dropped.
pub(crate) struct View {
    /// As the server reaches it.
    own: Database,
    /// As its superuser, where that is possible: it may read everything, the passwords of the roles included.
    reader: Database,
    snapshot: Snapshot,
    what: What,
    /// Those of a database that was frozen.
    facts: Option<Facts>,
    hashed: Method,
    cancel: Arc<AtomicBool>,
    /// When the view was taken.
    pub taken: String,
}

impl View {
    /// Takes a view of another database of the server's cluster; see [`others`].
    pub(crate) fn take_other(other: Database, cancel: &Arc<AtomicBool>) -> Result<Self> {
        Self::of(Onlooker { own: other.clone(), reader: other, what: What::Other }.ready(cancel)?, cancel)
    }

    /// Takes a view of a frozen copy, which a superuser reads.
    pub(crate) fn take_frozen(copy: Database, part: &FrozenPart, cancel: &Arc<AtomicBool>) -> Result<Self> {
        let onlooker = Onlooker { own: copy.clone(), reader: copy, what: What::Frozen }.ready(cancel)?;
        let FrozenPart { copy, schema } = part.clone();
        let facts = Facts { name: copy.name, bytes: copy.bytes, properties: copy.properties, schema };
        Ok(Self { facts: Some(facts), ..Self::of(onlooker, cancel)? })
    }

    /// Takes a view of what a hop has left, in which its rows were hashed by `hashed`.
    pub(crate) fn take_original(
        reader: Database,
        part: &OriginalPart,
        hashed: Method,
        cancel: &Arc<AtomicBool>,
    ) -> Result<Self> {
        let onlooker = Onlooker { own: reader.clone(), reader, what: What::Frozen }.ready(cancel)?;
        let OriginalPart { database, schema } = part.clone();
        let facts =
            Facts { name: database.place.database, bytes: database.bytes, properties: database.properties, schema };
        Ok(Self { facts: Some(facts), hashed, ..Self::of(onlooker, cancel)? })
    }

    /// What the manifest says of the database besides what is in it.
    fn facts(&self) -> Result<Facts> {
        if let Some(Facts { name, bytes, properties, schema }) = &self.facts {
            let (name, properties, schema) = (name.clone(), properties.clone(), schema.clone());
            return Ok(Facts { name, bytes: *bytes, properties, schema });
        }
        Ok(Facts {
            name: self.reader.name.clone(),
            bytes: bytes(&self.own)?,
            properties: properties::read(&self.own)?,
            schema: if self.what == What::Server { Some(schema::level(&self.own)?) } else { None },
        })
    }

    fn of(Onlooker { own, reader, what }: Onlooker, cancel: &Arc<AtomicBool>) -> Result<Self> {
        let taken = time::now();
        let snapshot = reader.snapshot()?;
        let hashed = Method::of_rows(reader.major());
        let cancel = Arc::clone(cancel);
        Ok(Self { own, reader, snapshot, what, facts: None, hashed, taken, cancel })
    }

    /// Writes dump and roles into `point` and fingerprints every table. `jobs` above one lets the fingerprint be taken
    /// while the dump is written.
    pub(crate) fn store(&self, point: &Path, jobs: usize) -> Result<DatabasePart> {
        let directory = point.join(DIRECTORY);
        files::create_directory(&directory, 0o700)?;
        let prefix = match self.what {
            What::Server | What::Frozen => "",
            What::Configuration => "config-",
            What::Other => "other-",
        };
        let called = self.facts.as_ref().map_or(&self.reader.name, |facts| &facts.name);
        let name = format!("{prefix}{}.dump", file_name(called));
        let globals = format!("{prefix}globals.sql");
        // Dumps were 19 % of the size of the database (observed).
        let expected = bytes(&self.own)? / 5;
        let path = directory.join(&name);
        let written = move || std::fs::symlink_metadata(&path).map_or(0, |data| data.len());
        let meter = Meter::asking(format!("dumping {}", self.reader.name), Some(expected), written);
        let write_dump = || {
            let written = dump::dump(&self.reader, self.snapshot.id(), &directory.join(&name));
            // What is still being counted is of no use any more.
            written.inspect_err(|_| self.cancel.store(true, Ordering::Relaxed))
        };
        let id = self.snapshot.id();
        let hashed = self.hashed;
        let tables = |connections| {
            fingerprint::either(&self.reader, &self.own, |database| {
                fingerprint::tables_at(database, hashed, id, connections)
            })
        };
        let (dumped_by, tables) = if jobs > 1 {
            let (dumped, tables) = threads::both(write_dump, || tables(jobs - 1));
            (dumped?, tables?)
        } else {
            (write_dump()?, tables(1)?)
        };
        drop(meter);
        checkpoint::pass("database-dumped");
        // The roles are those of the whole cluster: the server's database brings them for the others.
        let globals_path = Path::new(DIRECTORY).join(&globals);
        let (role_passwords, globals) = if self.what == What::Other {
            (false, None)
        } else {
            (dump::globals(&self.reader, &point.join(&globals_path))?, Some(stored(point, globals_path)?))
        };
        let has_posts = self.has_posts()?;
        let history = if has_posts {
            Some(fingerprint::either(&self.reader, &self.own, |database| {
                fingerprint::history_at(database, None, Some(id))
            })?)
        } else {
            None
        };
        let facts = self.facts()?;
        let part = DatabasePart {
            name: facts.name,
            bytes: facts.bytes,
            server_version: self.reader.version.clone(),
            dumped_by,
            dump: stored(point, Path::new(DIRECTORY).join(&name))?,
            globals,
            role_passwords,
            properties: facts.properties,
            tables,
            hashed,
            large_objects: Some(besides::large_objects(&self.reader, Some(id))?),
            history,
            schema: facts.schema,
        };
        prove_same_rows(&part)?;
        dump::read_through(&directory.join(&name))?;
        Ok(part)
    }

    /// Whether it has the table `posts` where the server looks for it.
    fn has_posts(&self) -> Result<bool> {
        let sql = match self.what {
            What::Other => return Ok(false),
            // A superuser's session looks nowhere but in the catalogue.
            What::Frozen => {
                let schemas: Vec<String> = self.reader.schemas()?.iter().map(|name| dump::literal(name)).collect();
                format!(
                    "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                       WHERE c.relname = 'posts' AND n.nspname = ANY (ARRAY[{}]::pg_catalog.name[])) AS there",
                    schemas.join(", ")
                )
            }
            What::Server | What::Configuration => "SELECT pg_catalog.to_regclass('posts') IS NOT NULL".to_owned(),
        };
        Ok(self.own.value(&sql)?.as_bool().unwrap_or(false))
    }
}

/// Who reads a database: its superuser where the cluster is one of this machine and says that the database is the
/// server's, else the role of the server, which reads what is its own.
pub(crate) fn reader(own: &Database, claim: &Claim<'_>) -> Database {
    match claim.superuser(own) {
        Ok(superuser) => superuser.unwrap_or_else(|| own.clone()),
        Err(error) => {
            ui::say(&format!("reading `{}` as its own role: {}", own.name, error.one_line()));
            own.clone()
        }
    }
}

/// The history and the tables were counted in two ways; they must agree, or the snapshot was not one.
fn prove_same_rows(part: &DatabasePart) -> Result<()> {
    let Some(history) = &part.history else { return Ok(()) };
    let posts: Vec<_> = part.tables.iter().filter(|(table, _)| table.rsplit('.').next() == Some("posts")).collect();
    if posts.is_empty() || posts.iter().any(|(_, print)| print.rows == history.posts.rows) {
        return Ok(());
    }
    Err(Error::failed("the database was not seen in one state")
        .because(format!("{} in one count, {:?} in the other", ui::count(history.posts.rows, "post"), posts))
        .hint("run it again"))
}

/// The other databases of the cluster that the server's is in, as its superuser: all that take connections, the
/// templates of the administrator among them.
///
/// # Errors
/// Refused when the cluster is not one of this machine, or its superuser may not get in.
pub(crate) fn others(database: &Database, claim: &Claim<'_>) -> Result<Vec<Database>> {
    let attempt = "the other databases of the server's cluster cannot be put into the restore point";
    let front = claim.superuser(database).map_err(|error| error.within(attempt))?.ok_or_else(|| {
        Error::refused(attempt)
            .because("it is no cluster of this machine, or its superuser may not connect by peer authentication")
            .hint("run this as root on the machine of the cluster, or give up --whole-cluster and dump them by their own means")
    })?;
    let cluster = by_peer::cluster_of(&front).map_err(|error| error.within(attempt))?;
    let closed = "SELECT datname::pg_catalog.text AS name FROM pg_catalog.pg_database WHERE NOT datallowconn AND datname <> 'template0' ORDER BY 1";
    for name in front.rows(closed)?.iter().filter_map(|row| row["name"].as_str()) {
        ui::warn(&format!(
            "the database `{name}` takes no connections, so it is not in the restore point (ALTER DATABASE ... ALLOW_CONNECTIONS true)"
        ));
    }
    let rows = front.rows(&format!(
        "SELECT datname::pg_catalog.text AS name FROM pg_catalog.pg_database
         WHERE datallowconn AND datname <> pg_catalog.current_database() AND datname !~ '{FROZEN}' ORDER BY 1"
    ))?;
    rows.iter().filter_map(|row| row["name"].as_str()).map(|name| Database::superuser(&cluster, name)).collect()
}

/// Size of a database in bytes.
pub(crate) fn bytes(database: &Database) -> Result<u64> {
    let size = database.value("SELECT pg_catalog.pg_database_size(pg_catalog.current_database())")?;
    size.as_u64().ok_or_else(|| Error::failed("the database does not tell its size"))
}

pub(crate) fn stored(point: &Path, path: PathBuf) -> Result<Stored> {
    let full = point.join(&path);
    let data = std::fs::metadata(&full).map_err(|error| Error::io("look at", &full, error))?;
    Ok(Stored { bytes: data.len(), sha256: files::sha256(&full)?, path })
}

/// A database's name as the name of a file.
pub(crate) fn file_name(name: &str) -> String {
    name.chars().map(|c| if c == '/' || c == '\0' || c.is_control() { '_' } else { c }).collect::<String>()
}
