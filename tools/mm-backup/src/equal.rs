//! Whether a restored database is what was dumped: every row, and everything that a dump says besides. What was left out by
//! rule has been named, and is no difference.

use std::collections::BTreeSet;
use std::path::Path;

use mm_common::contract::error::{Error, Kind, Result};
use mm_common::contract::ui;
use mm_common::postgres::besides::{self, Besides};
use mm_common::postgres::definitions::{self, Definitions};
use mm_common::postgres::fingerprint::{self, Fingerprint};
use mm_common::postgres::owners::KeptBack;
use mm_common::postgres::properties::{self, Properties};
use mm_common::postgres::schemas::{self, Spaces};
use mm_common::postgres::server::Database;
use mm_common::postgres::untrusted;

use crate::fill::SUPERUSER_OBJECTS;
use crate::manifest::DatabasePart;

/// How many differences are named.
const NAMED: usize = 10;

/// The roles of a server, and those that are no superusers.
pub(crate) struct Roles {
    /// All of them.
    pub all: Vec<String>,
    /// Those that have no power over others.
    pub ordinary: Vec<String>,
}

impl Roles {
    /// Asks for them.
    pub(crate) fn of(server: &Database) -> Result<Self> {
        let rows = server.rows("SELECT rolname AS name, rolsuper AS super FROM pg_catalog.pg_roles ORDER BY 1")?;
        let names = |all: bool| {
            let wanted = rows.iter().filter(|row| all || row["super"] == false);
            wanted.filter_map(|row| row["name"].as_str().map(str::to_owned)).collect()
        };
        Ok(Self { all: names(true), ordinary: names(false) })
    }
}

/// The schemas that a restored database is to have, as far as that is known: what is replaced tells of `public` where the
/// restore point, one of an earlier release, does not.
pub(crate) fn spaces(properties: &Properties, replaced: Option<&Database>, roles: &Roles) -> Result<Option<Spaces>> {
    let known = match (properties.spaces(), replaced) {
        (Some(known), _) => Some(known),
        (None, Some(replaced)) => {
            let mut now = schemas::read(replaced)?;
            now.retain(|name, _| name == "public");
            Some(now)
        }
        (None, None) => None,
    };
    Ok(known.map(|known| schemas::for_roles(&known, &roles.all, &properties.owner)))
}

/// What differs in what a restored database holds: rows, large objects, where sequences stand, what is filled. Where its tables
/// cannot be read as a superuser they are read as `role`, which owns them.
pub(crate) fn of_contents(
    part: &DatabasePart,
    dump: &Path,
    (restored, role): (&Database, Option<&Database>),
    connections: usize,
) -> Result<Vec<String>> {
    let read = |database: &Database| fingerprint::tables_by(database, part.hashed, connections);
    let tables = role.map_or_else(|| read(restored), |role| fingerprint::either(restored, role, read));
    let mut found = match tables {
        Ok(tables) => differences(&part.tables, &tables),
        // Its role may not get in yet. What a dump restores to is proven where that harms nobody.
        Err(error) if error.kind() == Kind::Refused => {
            ui::warn(&format!(
                "the rows of `{}` were not compared: {}; `mm-backup verify --restore` compares them with the dump",
                restored.name,
                error.one_line()
            ));
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    found.extend(Besides::of_dump(dump)?.differences(&Besides::of(restored)?));
    if let Some(then) = &part.large_objects {
        let now = besides::large_objects(restored, None)?;
        if now.number != then.number {
            found.push(format!("{} restored, {} stored", ui::count(now.number, "large object"), then.number));
        } else if now.hash != then.hash {
            found.push("the contents of large objects differ".to_owned());
        }
    }
    Ok(found)
}

/// Whether a restored database holds what was dumped.
pub(crate) fn require(point: &Path, part: &DatabasePart, database: &Database, jobs: usize) -> Result<()> {
    refuse_different(database, of_contents(part, &point.join(&part.dump.path), (database, None), jobs)?)
}

/// Makes an error of what was found.
pub(crate) fn refuse_different(database: &Database, found: Vec<String>) -> Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let error = Error::failed(format!("the restored database `{}` is not what was dumped", database.name));
    let count = found.len();
    let error = found.into_iter().take(NAMED).fold(error, Error::because);
    let error = if count > NAMED { error.because(format!("and {} more", count - NAMED)) } else { error };
    Err(error.hint("take another restore point (mm-backup list)"))
}

/// What differs between the fingerprints in a manifest and those of a restored database.
fn differences(stored: &Fingerprint, found: &Fingerprint) -> Vec<String> {
    let mut all = Vec::new();
    for (table, print) in stored {
        match found.get(table) {
            None => all.push(format!("the table {table} is not in the restored database")),
            Some(other) if other.rows != print.rows => {
                all.push(format!(
                    "the table {table} has {} restored, {} stored",
                    ui::count(other.rows, "row"),
                    print.rows
                ));
            }
            Some(other) if other.hash != print.hash => all.push(format!("rows of the table {table} differ")),
            Some(_) => {}
        }
    }
    all.extend(
        found.keys().filter(|table| !stored.contains_key(*table)).map(|table| format!("the table {table} is new")),
    );
    all
}

/// A restored database beside what its restore point says.
pub(crate) struct Comparison<'a> {
    /// What the restore point says.
    pub part: &'a DatabasePart,
    /// The dump.
    pub dump: &'a Path,
    /// The restored database.
    pub restored: &'a Database,
    /// What did not go to its owner.
    pub kept_back: &'a [KeptBack],
    /// Rights that were left out.
    pub left_rights: &'a BTreeSet<String>,
    /// The schemas as they are to be, where that is known and was to be had.
    pub spaces: Option<&'a Spaces>,
    /// The roles of the server.
    pub roles: &'a Roles,
    /// Whether what only a superuser makes is as the replaced database has it: it need not be as the dump has it.
    pub as_replaced: bool,
}

impl Comparison<'_> {
    /// What differs besides the rows, in words.
    pub(crate) fn differences(&self) -> Result<Vec<String>> {
        let majors = (major(&self.part.server_version), self.restored.major());
        let mut then = definitions::of_dump(self.dump)?;
        let mut now = definitions::as_dumped(self.restored)?;
        let rights_too = self.is_same_program()?;
        // A cluster without tablespaces has all in one place.
        let shelves = "SELECT pg_catalog.count(*) AS n FROM pg_catalog.pg_tablespace WHERE spcname !~ '^pg_'";
        if self.restored.value(shelves)? == 0 {
            for text in then.values_mut() {
                *text = definitions::without_tablespace(text);
            }
        }
        for side in [&mut then, &mut now] {
            side.retain(|object, _| self.is_compared(object, rights_too) && !self.left_rights.contains(object));
            self.forget_owners(side);
        }
        self.forget_left_out(&mut then, &now);
        self.forget_as_replaced(&mut then, &mut now, majors);
        let mut found = definitions::differences(&then, &now, majors);
        let are_given = self.spaces.is_some() && !self.kept_back.iter().any(|kept| kept.object.starts_with("BLOB "));
        if let Some(large) = self.part.large_objects.as_ref().filter(|_| are_given)
            && besides::settled(self.restored)? != large.settled
        {
            found.push("owners, rights or comments of large objects are others".to_owned());
        }
        if let Some(wanted) = self.spaces {
            found.extend(schemas::differences(wanted, &schemas::read(self.restored)?));
        }
        Ok(found)
    }

    /// Another `pg_dump` may write other statements for the same rights.
    fn is_same_program(&self) -> Result<bool> {
        let now = self.restored.command("pg_dump")?.arg("--version").run()?.text();
        Ok(now.trim() == self.part.dumped_by)
    }

    fn is_compared(&self, object: &str, rights_too: bool) -> bool {
        // An extension, with what is said of it, is made by its own script; that it is there is seen elsewhere.
        let of_extension = object.starts_with("EXTENSION ") || object.starts_with("COMMENT EXTENSION ");
        // That a view was filled is said among the rows.
        let of_rows = object.starts_with("MATERIALIZED VIEW DATA ");
        // These are facts of the restore point; the dump does not tell all of them.
        let of_schema = schemas::are_of_schemas(object)
            && (self.part.properties.schemas.is_some() || object.ends_with("SCHEMA public"));
        let of_rights = object.starts_with("ACL ") && !rights_too;
        !of_extension && !of_rows && !of_schema && !of_rights
    }

    /// Without what is said of the owners, and by them, where something went to another one.
    fn forget_owners(&self, side: &mut Definitions) {
        for KeptBack { object, .. } in self.kept_back {
            if let Some(text) = side.get_mut(object) {
                let lines: Vec<&str> = text.lines().filter(|line| !line.contains(" OWNER TO ")).collect();
                *text = lines.join("\n");
            }
            let bare = object.split_once(' ').map_or("", |(_, name)| name);
            let (schema, name) = bare.split_once('.').unwrap_or(("", bare));
            let start = if schema.is_empty() { "ACL ".to_owned() } else { format!("ACL {schema}.") };
            side.retain(|other, _| !(other.starts_with(&start) && other.ends_with(&format!(" {name}"))));
        }
    }

    /// Without what a superuser has made as the replaced database has it now, which need not be as the point has it: a password
    /// of a user mapping was changed since, or where a server is.
    fn forget_as_replaced(&self, then: &mut Definitions, now: &mut Definitions, majors: definitions::Majors) {
        let is_other = |object: &str, text: &str| {
            untrusted::is_superusers(object)
                && !object.starts_with("FOREIGN TABLE ")
                && now.get(object).is_some_and(|now| {
                    definitions::level(object, now, majors) != definitions::level(object, text, majors)
                })
        };
        let others: Vec<String> =
            then.iter().filter(|(object, text)| is_other(object, text)).map(|(object, _)| object.clone()).collect();
        for object in others.into_iter().filter(|_| self.as_replaced) {
            ui::warn(&format!(
                "{object} is as the replaced database has it now, not as in the restore point; --accept {SUPERUSER_OBJECTS} takes over what the point has"
            ));
            then.remove(&object);
            now.remove(&object);
        }
    }

    /// Without what only a superuser makes and has not made, and what is about that.
    fn forget_left_out(&self, then: &mut Definitions, now: &Definitions) {
        let gone: BTreeSet<String> = then
            .keys()
            .filter(|object| untrusted::is_superusers(object) && !now.contains_key(*object))
            .cloned()
            .collect();
        let tables: Vec<(String, String)> = gone
            .iter()
            .filter_map(|object| object.strip_prefix("FOREIGN TABLE ")?.split_once('.'))
            .map(|(schema, name)| (format!(" {schema}."), name.to_owned()))
            .collect();
        let is_about = |object: &str| {
            tables.iter().any(|(schema, name)| {
                object.contains(schema)
                    && (object.contains(&format!(" {name}")) || object.contains(&format!(".{name}")))
            })
        };
        let of_superuser = |object: &str| {
            let owner = object.strip_prefix("DEFAULT ACL ").and_then(|rest| rest.rsplit_once(" of "));
            owner.is_some_and(|(_, owner)| !self.roles.ordinary.iter().any(|role| role == owner))
        };
        then.retain(|object, _| {
            now.contains_key(object) || !(gone.contains(object) || is_about(object) || of_superuser(object))
        });
    }
}

fn major(version: &str) -> u32 {
    version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0)
}

/// What of the settings and rights of a restored database is not as `properties` say.
pub(crate) fn of_properties(restored: &Database, properties: &Properties) -> Result<Vec<String>> {
    let now = properties::read(restored)?;
    let mut found = Vec::new();
    let settings = |of: &Properties| -> BTreeSet<(Option<String>, String, String)> {
        of.settings.iter().map(|one| (one.role.clone(), one.name.clone(), one.value.clone())).collect()
    };
    if settings(&now) != settings(properties) {
        found.push("the settings of the database are others".to_owned());
    }
    // A point of an older program does not say who may pass a right on.
    let said = properties.grants.iter().flatten().any(|one| one.grantable);
    let grants = |of: &Properties| -> Option<BTreeSet<(Option<String>, String, bool)>> {
        let grants = of.grants.as_ref()?.iter();
        Some(grants.map(|one| (one.role.clone(), one.privilege.clone(), said && one.grantable)).collect())
    };
    if grants(properties).is_some() && grants(&now) != grants(properties) {
        found.push("the rights on the database are others".to_owned());
    }
    if now.connection_limit != properties.connection_limit {
        found.push("the limit of connections to the database is another one".to_owned());
    }
    if now.template != properties.template {
        found.push(format!("the database is {} template", if now.template { "a" } else { "no" }));
    }
    if now.owner != properties.owner {
        found.push(format!("the database belongs to `{}` and not to `{}`", now.owner, properties.owner));
    }
    Ok(found)
}
