//! The server that the database is carried to, as it is reached: by the role of its data source, and by an administrator
//! where the file names one.

use mm_common::machine::user::{self, User};
use mm_common::mattermost::way_back::{self, Place};
use mm_common::postgres::dump::literal;
use mm_common::postgres::properties;
use mm_common::postgres::server::Database;
use mm_common::postgres::source::DataSource;
use mm_common::{Context as _, Error, Result};
use serde_json::Value;

use super::named::Named;

/// The server, and the database that is or is to be on it.
pub(crate) struct Target {
    /// What the file says.
    pub named: Named,
    /// The database, as the server is to reach it; absent while it or its role is not there.
    pub own: Option<Database>,
    /// The administrator.
    pub admin: Option<Database>,
    /// Whether that is a superuser; that of a provider is none.
    pub is_superuser: bool,
    /// Whether a database of that name is there.
    pub has_database: bool,
    /// Whether the role is there.
    pub has_role: bool,
    /// Somebody who was let in.
    pub front: Database,
    owner: User,
}

impl Target {
    /// Reaches it. `owner` is the user of the server, as whom the server itself will connect.
    ///
    /// # Errors
    /// Refused when neither the data source nor the administrator's gets in.
    pub(crate) fn reach(named: Named, owner: &User) -> Result<Self> {
        let admin = named.administrator()?.map(|source| administrator(&source)).transpose()?;
        let sql = "SELECT rolsuper AS super FROM pg_catalog.pg_roles WHERE rolname = current_user";
        let is_superuser = admin.as_ref().map(|admin| admin.value(sql)).transpose()?.is_some_and(|is| is == true);
        let owner = owner.clone();
        match Database::connect(&named.source, Some(&owner)) {
            Ok(own) => {
                let front = admin.clone().unwrap_or_else(|| own.clone());
                Ok(Self {
                    named,
                    own: Some(own),
                    admin,
                    is_superuser,
                    has_database: true,
                    has_role: true,
                    front,
                    owner,
                })
            }
            Err(error) => Self::of_what_is_there(named, (admin, is_superuser), owner, error),
        }
    }

    /// Where the data source does not get in: whether it is for us to make the database.
    fn of_what_is_there(
        named: Named,
        (admin, is_superuser): (Option<Database>, bool),
        owner: User,
        error: Error,
    ) -> Result<Self> {
        let name = named.source.database.clone();
        let refused = |error: Error| {
            error.of_kind(mm_common::Kind::Refused).hint(
                "create role and database there, or name an administrator's data source in line 2 of the target's file",
            )
        };
        let front = if let Some(admin) = &admin {
            admin.clone()
        } else {
            // Asked beside it: what PostgreSQL says of a database that is not there comes in the server's language.

            let beside = DataSource { database: "postgres".into(), ..named.source.clone() };
            Database::connect(&beside, Some(&owner)).map_err(|_| refused(error.clone()))?
        };
        let has_database = way_back::exists(&front, &name)?;
        let has_role = Self::has_role(&front, &named.source.user)?;
        if has_database && has_role {
            return Err(refused(error));
        }
        Ok(Self { named, own: None, admin, is_superuser, has_database, has_role, front, owner })
    }

    /// Whether there is a role of this name.
    pub(crate) fn has_role(front: &Database, role: &str) -> Result<bool> {
        let count = format!("SELECT pg_catalog.count(*) FROM pg_catalog.pg_roles WHERE rolname = {}", literal(role));
        Ok(front.value(&count)? == 1)
    }

    /// The name of the database.
    pub(crate) fn name(&self) -> &str {
        &self.named.source.database
    }

    /// The role of the data source.
    pub(crate) fn role(&self) -> &str {
        &self.named.source.user
    }

    /// Where it is, as far as that is known before it is there.
    pub(crate) fn place(&self) -> Result<Place> {
        let DataSource { host, port, database, .. } = &self.named.source;
        let mut place = Place {
            host: host.clone(),
            port: *port,
            database: database.clone(),
            major: self.front.major(),
            ..Place::default()
        };
        if let Some(own) = &self.own {
            place.identify(own)?;
        }
        Ok(place)
    }

    /// Somebody who may make databases, connected to another one than the target's: the administrator, or the role itself.
    pub(crate) fn maker(&self) -> Result<Database> {
        if let Some(admin) = &self.admin {
            return Ok(if admin.name == self.name() { admin.sibling("postgres") } else { admin.clone() });
        }
        let beside = DataSource { database: "postgres".into(), ..self.named.source.clone() };
        Database::connect(&beside, Some(&self.owner))
    }

    /// Those who may own what was made, connected to another database than the target's: the one who makes, and the role.
    pub(crate) fn owners(&self) -> Vec<Database> {
        let beside = DataSource { database: "postgres".into(), ..self.named.source.clone() };
        let own = self.admin.as_ref().and_then(|_| Database::connect(&beside, Some(&self.owner)).ok());
        self.maker().into_iter().chain(own).collect()
    }

    /// The database as the administrator.
    pub(crate) fn admin_inside(&self) -> Option<Database> {
        self.admin.as_ref().map(|admin| admin.sibling(self.name()))
    }

    /// Whoever sets more of the database than its owner may: a superuser, where one is named.
    pub(crate) fn setter(&self, own: &Database) -> Database {
        self.admin_inside().filter(|_| self.is_superuser).unwrap_or_else(|| own.clone())
    }

    /// Executes a statement in the database as its owner or, where that may not, as the administrator; a superuser comes first.
    ///
    /// # Errors
    /// The first one's, where neither may.
    pub(crate) fn as_either(&self, own: &Database, sql: &str) -> Result<()> {
        let first = self.setter(own);
        first.execute_verbatim(sql).or_else(|error| match self.admin_inside() {
            Some(admin) if !self.is_superuser => admin.execute_verbatim(sql).map_err(|_| error),
            _ => Err(error),
        })
    }

    /// Connects to the database once it is there.
    pub(crate) fn enter(&mut self) -> Result<Database> {
        let own = Database::connect(&self.named.source, Some(&self.owner))?;
        self.own = Some(own.clone());
        (self.has_database, self.has_role) = (true, true);
        Ok(own)
    }

    /// The database itself where the role gets in, else the one that somebody was let into.
    pub(crate) fn front_inside(&self) -> Database {
        self.own.clone().unwrap_or_else(|| self.front.clone())
    }

    /// What somebody is at the target.
    pub(crate) fn powers(database: &Database, role: &str) -> Result<Value> {
        let rows = database.rows(&format!(
            "SELECT rolsuper AS super, rolcreatedb AS creates, rolcreaterole AS makes_roles FROM pg_catalog.pg_roles WHERE rolname = {}",
            literal(role)
        ))?;
        Ok(rows.into_iter().next().unwrap_or_default())
    }
}

/// Connects as the administrator. Never as the user of the server, who could read the passfile then.
fn administrator(source: &DataSource) -> Result<Database> {
    let user = if source.is_socket() && source.password.is_none() {
        User::named(&source.user).ok()
    } else {
        user::tools().ok()
    };
    Database::administrator(source, user.as_ref())
        .context(|| "the administrator's data source, line 2 of the target's file".to_owned())
}

/// Everything in a database that somebody has put there, in words; what comes with extensions aside.
const CONTENTS: &str = r"WITH spaces AS (SELECT oid, nspname FROM pg_catalog.pg_namespace
    WHERE nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'),
  extension AS (SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e')
SELECT 'the schema ' || nspname AS what FROM spaces s
 WHERE nspname <> 'public' AND NOT EXISTS (SELECT FROM extension WHERE classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND objid = s.oid)
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extnamespace = s.oid)
UNION ALL
SELECT CASE c.relkind WHEN 'v' THEN 'the view ' WHEN 'm' THEN 'the materialized view ' WHEN 'S' THEN 'the sequence ' ELSE 'the table ' END
   || nspname || '.' || relname FROM pg_catalog.pg_class c JOIN spaces s ON s.oid = relnamespace
 WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND relpersistence <> 't'
   AND NOT EXISTS (SELECT FROM extension WHERE classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND objid = c.oid)
UNION ALL
SELECT 'the function ' || nspname || '.' || proname FROM pg_catalog.pg_proc p JOIN spaces s ON s.oid = pronamespace
 WHERE NOT EXISTS (SELECT FROM extension WHERE classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND objid = p.oid)
UNION ALL
SELECT 'the type ' || nspname || '.' || typname FROM pg_catalog.pg_type t JOIN spaces s ON s.oid = typnamespace
 WHERE (typtype IN ('d', 'e') OR typtype = 'c' AND EXISTS (SELECT FROM pg_catalog.pg_class k WHERE k.oid = typrelid AND k.relkind = 'c'))
   AND NOT EXISTS (SELECT FROM extension WHERE classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND objid = t.oid)
UNION ALL
SELECT 'the large object ' || oid FROM pg_catalog.pg_largeobject_metadata";

/// What is in a database, in words.
pub(crate) fn contents(database: &Database) -> Result<Vec<String>> {
    let rows = database.rows(&format!("SELECT what FROM ({CONTENTS}) AS all_of_it ORDER BY 1 LIMIT 1000"))?;
    Ok(rows.iter().filter_map(|row| row["what"].as_str().map(str::to_owned)).collect())
}

/// Ends the sessions of others in a database, as far as we may: those of a run that was killed go on otherwise.
pub(crate) fn end_sessions(front: &Database, name: &str) -> Result<()> {
    front.rows(&format!(
        "SELECT pg_catalog.pg_terminate_backend(a.pid) AS ended
         FROM pg_catalog.pg_stat_activity a JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid,
           (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) AS we
         WHERE a.datname = {} AND a.pid <> pg_catalog.pg_backend_pid() AND a.backend_type = 'client backend'
           AND (we.rolsuper OR NOT r.rolsuper AND pg_catalog.pg_has_role(r.oid, 'USAGE'))",
        literal(name)
    ))?;
    Ok(())
}

/// The number that a database has as long as it is there; another of the same name has another.
pub(crate) fn oid(front: &Database, name: &str) -> Result<Option<u64>> {
    let sql =
        format!("SELECT oid::pg_catalog.int8 AS oid FROM pg_catalog.pg_database WHERE datname = {}", literal(name));
    Ok(front.rows(&sql)?.first().and_then(|row| row["oid"].as_u64()))
}

/// Removes a database that is ours, as the first of `owners` who may. Sessions take a moment to end.
///
/// # Errors
/// When none of them may.
pub(crate) fn drop_database(owners: &[Database], name: &str) -> Result<()> {
    let mut last = Err(Error::failed(format!("nobody could be reached who may drop the database `{name}`")));
    for owner in owners {
        last = drop_as(owner, name);
        if last.is_ok() {
            break;
        }
    }
    last
}

fn drop_as(front: &Database, name: &str) -> Result<()> {
    for _ in 0..50 {
        end_sessions(front, name)?;
        match properties::drop(front, name) {
            Err(error)
                if error.one_line().contains("being accessed")
                    || error.causes().iter().any(|it| it.contains("being accessed")) =>
            {
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
            done => return done,
        }
    }
    properties::drop(front, name)
}
