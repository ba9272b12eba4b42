//! A new database, filled by the role that runs dumps, and then given to whom it belongs.

use std::collections::BTreeSet;
use std::path::PathBuf;

use mm_common::contract::error::Result;
use mm_common::contract::ui;
use mm_common::machine::checkpoint;
use mm_common::postgres::cluster::Cluster;
use mm_common::postgres::dump::identifier;
use mm_common::postgres::others;
use mm_common::postgres::owners::{self, KeptBack};
use mm_common::postgres::properties::{self, Properties};
use mm_common::postgres::restorer::{self, Restorer};
use mm_common::postgres::rights;
use mm_common::postgres::schemas::{self, Spaces};
use mm_common::postgres::server::Database;
use mm_common::postgres::untrusted::{self, Schema};

use crate::equal::{self, Roles};

/// The id for `--accept`, by which an administrator lets a restore make what only a superuser may make.
pub(crate) const SUPERUSER_OBJECTS: &str = "superuser-objects";

/// What is filled, and from what.
pub(crate) struct Filling<'a> {
    /// Another database of the server, as its superuser.
    pub admin: &'a Database,
    /// The name of the new database.
    pub name: &'a str,
    /// The database whose place it is to take: what a superuser has made there may be made again.
    pub replaced: Option<Database>,
    /// The dump.
    pub dump: PathBuf,
    /// What the new database is like.
    pub properties: &'a Properties,
    /// The cluster it is in.
    pub cluster: &'a Cluster,
    /// The role of the server.
    pub role: &'a str,
    /// `--accept superuser-objects`.
    pub accepted: bool,
}

/// How it was filled.
pub(crate) struct Filled {
    /// What did not go to its owner.
    pub kept_back: Vec<KeptBack>,
    /// Rights on what the dump does not make, as far as they were not given.
    pub left_rights: BTreeSet<String>,
    /// The schemas as they are to be; absent where that is not known, or not for us to say.
    pub spaces: Option<Spaces>,
    /// The roles of the server.
    pub roles: Roles,
    /// Whether what only a superuser makes was made as the replaced database has it.
    pub as_replaced: bool,
}

impl Filling<'_> {
    /// Makes the database and fills it; what is left out is said.
    pub(crate) fn fill(&self, jobs: usize) -> Result<Filled> {
        let Self { admin, name, replaced, dump, properties, accepted, .. } = self;
        let replaced = replaced.as_ref();
        let runner = Restorer::make(admin, self.cluster)?;
        // Before anything is made: whether it gets in.
        runner.connect(&admin.name, self.cluster)?;
        let owned = Properties { owner: untrusted::ROLE.into(), ..(*properties).clone() };
        properties::create_like(admin, name, &owned)?;
        checkpoint::pass("database-created");
        let restored = admin.sibling(name);
        let allowed = self.extensions(&restored, replaced)?;
        for name in untrusted::prepare(dump, &restored, &|name| *accepted || allowed.iter().any(|known| known == name))?
        {
            say_left_out(&format!("the extension {name}"));
        }
        let entries = untrusted::entries(dump)?;
        let schema = replaced.map(Schema::of).transpose()?;
        let trusted = if *accepted { Some(dump) } else { schema.as_ref().map(|schema| &schema.path) };
        let make = |kinds| match trusted {
            Some(from) => untrusted::make_as_superuser(from, &restored, kinds, &entries),
            None => Ok(BTreeSet::new()),
        };
        // It makes tables where they were.
        for sql in restorer::tablespaces(admin, "GRANT CREATE ON TABLESPACE %I TO mm_restore", "true")? {
            admin.execute(&sql)?;
        }
        let mut present = make(untrusted::BEFORE)?;
        let roles = Roles::of(admin)?;
        untrusted::restore_for(dump, &runner.connect(name, self.cluster)?, jobs, &roles.ordinary)?;
        admin.execute(&format!("ALTER DATABASE {} OWNER TO {}", identifier(name), identifier(&properties.owner)))?;
        let kept_back = owners::give(&restored, replaced, &entries, self.role, *accepted)?;
        for KeptBack { object, role } in &kept_back {
            say_left_out(&format!("the owner `{role}` of {object} (`{}` owns it now)", self.role));
        }
        for right in rights::give(dump, &restored, &roles.ordinary)? {
            ui::warn(&format!("a right could not be given: {right}"));
        }
        let left_rights = others::give(dump, &restored, trusted.map(PathBuf::as_path))?;
        for right in &left_rights {
            say_left_out(&format!("the rights that the dump calls `{right}`"));
        }
        // A function that an event trigger calls is run by everybody, superusers too.
        if kept_back.is_empty() {
            present.extend(make(untrusted::AFTER)?);
        }
        for what in untrusted::superusers(&entries, &present) {
            say_left_out(&what);
        }
        // Those of a superuser, too, where the replaced database has the same now.
        let ordinary = untrusted::default_privileges(dump, &roles.ordinary)?;
        let vouched = trusted.map_or_else(|| Ok(Vec::new()), |from| untrusted::default_privileges(from, &roles.all))?;
        for sql in untrusted::default_privileges(dump, &roles.all)? {
            if !ordinary.contains(&sql) && !vouched.contains(&sql) {
                say_left_out(&sql);
            } else if let Err(error) = restored.execute_verbatim(&sql) {
                ui::warn(&format!("a default privilege could not be given: {}", error.one_line()));
            }
        }
        let spaces = equal::spaces(properties, replaced, &roles)?;
        if let Some(spaces) = &spaces {
            schemas::settle(&restored, spaces)?;
        }
        Ok(Filled { kept_back, left_rights, spaces, roles, as_replaced: !*accepted })
    }

    /// The extensions that a superuser makes without being asked: those that any owner of a database could make, and those
    /// that the replaced database has.
    fn extensions(&self, restored: &Database, replaced: Option<&Database>) -> Result<Vec<String>> {
        let names = |database: &Database, sql: &str| -> Result<Vec<String>> {
            Ok(database.rows(sql)?.iter().filter_map(|row| row["name"].as_str().map(str::to_owned)).collect())
        };
        let mut all = if self.cluster.major >= 13 {
            names(restored, "SELECT DISTINCT name FROM pg_catalog.pg_available_extension_versions WHERE trusted")?
        } else {
            Vec::new()
        };
        if let Some(replaced) = replaced {
            all.extend(names(replaced, "SELECT extname AS name FROM pg_catalog.pg_extension")?);
        }
        Ok(all)
    }
}

fn say_left_out(what: &str) {
    ui::warn(&format!(
        "left out: {what}: it is a superuser's to make, and the database has not got it as it was; --accept {SUPERUSER_OBJECTS} takes over what can be"
    ));
}
