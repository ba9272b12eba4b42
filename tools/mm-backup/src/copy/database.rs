//! The databases of a copy: its own roles and password, the dumps run by the role that may do nothing else, and what would
//! let others in taken out.

use mm_common::contract::error::{Error, Result};
use mm_common::contract::secret::Secret;
use mm_common::contract::ui;
use mm_common::machine::{checkpoint, files};
use mm_common::postgres::cluster::Cluster;
use mm_common::postgres::dump::{identifier, literal};
use mm_common::postgres::properties;
use mm_common::postgres::server::Database;
use mm_common::postgres::source::DataSource;
use mm_common::postgres::untrusted;

use crate::equal;
use crate::fill::Filling;
use crate::manifest::{DatabasePart, Head};
use crate::store::Point;

/// Databases that every cluster has.
const THERE: [&str; 2] = ["postgres", "template1"];

/// How its server reaches its database.
pub(crate) struct Access {
    role: String,
    password: String,
    database: String,
    port: u16,
}

impl Access {
    /// As `SqlSettings.DataSource` has it.
    pub(crate) fn text(&self) -> String {
        let [role, database] = [&self.role, &self.database].map(|text| encoded(text));
        let Self { password, port, .. } = self;
        format!("postgres://{role}:{password}@127.0.0.1:{port}/{database}?sslmode=disable&connect_timeout=10")
    }

    fn connect(&self) -> Result<Database> {
        let source = DataSource {
            host: "127.0.0.1".into(),
            port: self.port,
            user: self.role.clone(),
            password: Some(Secret::new(self.password.clone())),
            database: self.database.clone(),
            environment: vec![("PGSSLMODE".into(), "disable".into())],
        };
        Database::connect(&source, None)
    }
}

/// Percent-encodes all but letters and digits.
fn encoded(text: &str) -> String {
    let encode = |byte: u8| {
        if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(encode).collect()
}

/// What is made in the cluster of a copy.
pub(crate) struct Databases<'a> {
    /// The restore point.
    pub point: &'a Point,
    /// The copy's cluster.
    pub cluster: &'a Cluster,
    /// `--accept superuser-objects`.
    pub accepted: bool,
    /// Processes to work with.
    pub jobs: usize,
}

impl Databases<'_> {
    /// The configuration that the server keeps in a database: of the restored one, or of a dump that holds nothing else.
    pub(crate) fn configuration(&self, access: &Access) -> Result<String> {
        let read = |database: &Database| -> Result<String> {
            let value = database.value("SELECT value FROM configurations WHERE active")?;
            value.as_str().map(str::to_owned).ok_or_else(|| Error::failed("it is no text"))
        };
        let attempt = |error: Error| {
            error
                .within("cannot read the configuration that the restore point has in a database")
                .of_kind(mm_common::contract::error::Kind::Refused)
        };
        let Some(part) = &self.point.head.config_database else {
            return access.connect().and_then(|database| read(&database)).map_err(attempt);
        };
        let admin = self.admin()?;
        let name = format!("{}_mm_configuration", access.database.chars().take(20).collect::<String>());
        let part = DatabasePart { name: name.clone(), ..part.clone() };
        let read = self.fill(&admin, &part, &access.role).and_then(|()| {
            // As the role of the server: what a table of theirs runs when it is read, it runs as that.
            let own = Access {
                database: name.clone(),
                role: access.role.clone(),
                password: access.password.clone(),
                ..*access
            };
            read(&own.connect()?)
        });
        properties::drop(&admin, &name)?;
        read.map_err(attempt)
    }

    fn admin(&self) -> Result<Database> {
        Database::superuser(self.cluster, "postgres")
    }

    /// Makes the roles and all databases of the restore point, compares every table, and returns how the server reaches its
    /// own. `role` is the one it has used.
    pub(crate) fn make(&self, role: Option<String>) -> Result<Access> {
        let head = &self.point.head;
        let part = head.database.as_ref().ok_or_else(|| {
            Error::refused(format!("the restore point {} holds no database", head.id))
                .hint("make one with it: mm-backup without --no-database")
        })?;
        let admin = self.admin()?;
        let roles = roles(head);
        let role = role.filter(|role| roles.contains(role)).unwrap_or_else(|| part.properties.owner.clone());
        if role == self.cluster.owner || role == untrusted::ROLE {
            return Err(Error::refused(format!("the server's role in the database is `{role}`"))
                .because("that is the name of a role of these tools")
                .hint("rename it (ALTER ROLE ... RENAME TO), then make a new restore point"));
        }
        let password = files::random_hexadecimal(24)?;
        let plain = "NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS";
        for name in roles.iter().filter(|name| **name != self.cluster.owner) {
            admin.execute(&format!("CREATE ROLE {} {plain} NOLOGIN", identifier(name)))?;
        }
        admin.execute_unlogged(&format!("ALTER ROLE {} LOGIN PASSWORD {}", identifier(&role), literal(&password)))?;
        ui::say(&format!("restoring the database {}", part.name));
        self.fill(&admin, part, &role)?;
        admin.execute(&format!("GRANT ALL ON DATABASE {} TO {}", identifier(&part.name), identifier(&role)))?;
        checkpoint::pass("copy-database");
        for other in head.other_databases.iter().filter(|part| !THERE.contains(&part.name.as_str())) {
            ui::say(&format!("restoring the database {}, which shares the cluster", other.name));
            self.fill(&admin, other, &other.properties.owner)?;
        }
        Ok(Access { role, password, database: part.name.clone(), port: self.cluster.port })
    }

    fn fill(&self, admin: &Database, part: &DatabasePart, role: &str) -> Result<()> {
        let mut properties = part.properties.clone();
        // Such a setting can name a library that every session loads, a superuser's too.
        let privileged = admin.rows("SELECT name FROM pg_catalog.pg_settings WHERE context <> 'user'")?;
        properties.settings.retain(|setting| {
            let is_privileged = privileged
                .iter()
                .any(|row| row["name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(&setting.name)));
            if is_privileged && !self.accepted {
                ui::warn(&format!(
                    "left out: the setting {} of the database {}: it is a superuser's",
                    setting.name, part.name
                ));
            }
            !is_privileged || self.accepted
        });
        let filling = Filling {
            admin,
            name: &part.name,
            replaced: None,
            dump: self.point.path.join(&part.dump.path),
            properties: &properties,
            cluster: self.cluster,
            role,
            accepted: self.accepted,
        };
        filling.fill(self.jobs)?;
        equal::require(&self.point.path, part, &admin.sibling(&part.name), self.jobs)?;
        for (what, error) in properties::settle(admin, &part.name, &properties) {
            ui::warn(&format!("the database {} lacks what was set for it: {what} ({})", part.name, error.one_line()));
        }
        Ok(())
    }
}

/// Every role that owns something or has rights there.
fn roles(head: &Head) -> Vec<String> {
    let mut all: Vec<String> = head
        .databases()
        .flat_map(|part| part.properties.roles.iter().chain([&part.properties.owner]).cloned())
        .filter(|name| !name.is_empty())
        .collect();
    all.sort();
    all.dedup();
    all
}

/// What is done to a table, and what must not be there afterwards.
struct Taken {
    table: &'static str,
    statement: &'static str,
    left: &'static str,
}

const fn emptied(table: &'static str) -> Taken {
    Taken { table, statement: "DELETE FROM {}", left: "true" }
}

const fn switched_off(table: &'static str) -> Taken {
    Taken {
        table,
        statement: "UPDATE {} SET deleteat = (extract(epoch FROM pg_catalog.now()) * 1000)::pg_catalog.int8 WHERE deleteat = 0",
        left: "deleteat = 0",
    }
}

/// The nodes of a cluster are none of the copy's.
const NODES: Taken = emptied("clusterdiscovery");

/// What lets somebody in, or calls somebody, without a password of the copy's own.
const WAYS_IN: [Taken; 9] = [
    emptied("sessions"),
    emptied("useraccesstokens"),
    emptied("tokens"),
    emptied("desktoptokens"),
    emptied("oauthaccessdata"),
    emptied("oauthauthdata"),
    Taken {
        table: "oauthapps",
        statement: "UPDATE {} SET clientsecret = pg_catalog.md5(pg_catalog.random()::pg_catalog.text || pg_catalog.clock_timestamp()::pg_catalog.text)",
        left: "false",
    },
    switched_off("incomingwebhooks"),
    switched_off("outgoingwebhooks"),
];

/// Takes out what would let others in. All of it as the server's role: what triggers and rules of its tables do, they do as
/// that.
///
/// # Errors
/// Failed when something is still there: then there is a trigger or a rule.
pub(crate) fn invalidate(access: &Access, keeps_sessions: bool) -> Result<()> {
    let database = access.connect()?;
    let wanted: Vec<&Taken> = if keeps_sessions { vec![&NODES] } else { WAYS_IN.iter().chain([&NODES]).collect() };
    let names: Vec<String> = wanted.iter().map(|taken| literal(taken.table)).collect();
    let there = database.rows(&format!(
        "SELECT c.relname AS name, pg_catalog.format('%I.%I', n.nspname, c.relname) AS full
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p') AND c.relname IN ({}) AND pg_catalog.pg_table_is_visible(c.oid)",
        names.join(", ")
    ))?;
    for taken in wanted {
        let row = there.iter().find(|row| row["name"] == taken.table);
        let Some(full) = row.and_then(|row| row["full"].as_str()) else { continue };
        database.execute(&taken.statement.replace("{}", full))?;
        let left = database.value(&format!("SELECT pg_catalog.count(*) AS n FROM {full} WHERE {}", taken.left))?;
        if left != 0 {
            return Err(Error::failed(format!("rows of `{}` of the copy cannot be taken out", taken.table))
                .because(format!(
                    "{left} are there after they were removed: the table has triggers or rules of its owner's"
                ))
                .hint("look at them: \\d as the server's role; --keep-sessions leaves everything as it is"));
        }
    }
    Ok(())
}
