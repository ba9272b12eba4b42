//! Checks of the schema: columns left empty by a jump, keys and tables that are missing, migrations of another branch.

use mm_common::contract::error::Result;
use mm_common::contract::ui;
use mm_common::mattermost::carried::RENUMBERED;
use mm_common::mattermost::catalogue::Severity;
use semver::Version;

use super::database::{DatabaseView, text};
use super::{Bad, Check, Outcome};

pub(super) fn checks<'a>() -> Vec<Check<DatabaseView<'a>>> {
    vec![
        Check {
            id: "jumped-columns",
            title: "Columns that a jump over 5.35 leaves empty",
            source: "mattermost/mattermost#30543; server migrations 000040, 000041, 000043, 000051",
            look: jumped_columns,
        },
        Check {
            id: "scheme-guest",
            title: "Members without a guest flag",
            source: "mattermost/mattermost#25849",
            look: scheme_guest,
        },
        Check {
            id: "systems-key",
            title: "Primary key of systems",
            source: "a start of 9.4 inserts with ON CONFLICT, which needs it",
            look: systems_key,
        },
        Check {
            id: "primary-keys",
            title: "Primary keys",
            source: "server schema of every release",
            look: primary_keys,
        },
        Check {
            id: "missing-tables",
            title: "Tables that every server has",
            source: "server schema of every release",
            look: |view| Ok(missing_tables(view)),
        },
        Check {
            id: "table-owners",
            title: "Owner of the tables",
            source: "migrations alter tables, which only their owner may",
            look: table_owners,
        },
        Check {
            id: "schema-behind",
            title: "Migrations of the installed release",
            source: "migrations recorded of each release",
            look: schema_behind,
        },
        Check {
            id: "migration-names",
            title: "Migration numbers used for something else",
            source: "mattermost/mattermost#24201, #24341, #36594",
            look: migration_names,
        },
        Check {
            id: "db-lock",
            title: "Lock of a migration",
            source: "table db_lock of servers from 6.4 on",
            look: migration_lock,
        },
    ]
}

/// The eight columns that releases 5.30 to 6.3 add with a default and later ones without.
const JUMPED: [(&str, &str); 8] = [
    ("channelmembers", "mentioncountroot"),
    ("channelmembers", "msgcountroot"),
    ("channels", "totalmsgcountroot"),
    ("threadmemberships", "unreadmentions"),
    ("sidebarcategories", "muted"),
    ("sidebarcategories", "collapsed"),
    ("uploadsessions", "remoteid"),
    ("uploadsessions", "reqfileid"),
];

fn jumped_columns(view: &DatabaseView<'_>) -> Result<Outcome> {
    let there = JUMPED.into_iter().filter(|(table, column)| view.column(table, column).is_some());
    let evidence = nulls(view, there)?;
    Ok(Outcome::of(evidence, "none of the eight columns holds a NULL", |evidence| Bad {
        severity: Severity::Action,
        evidence,
        hop: None,
        fix: "mm-verify repair fills them; no later release does".into(),
    }))
}

/// The columns that hold NULLs, and in how many rows.
fn nulls(view: &DatabaseView<'_>, columns: impl Iterator<Item = (&'static str, &'static str)>) -> Result<Vec<String>> {
    let columns: Vec<_> = columns.collect();
    let wanted: Vec<_> = columns.iter().map(|(table, column)| (*table, format!("{column} IS NULL"))).collect();
    let counted = columns.iter().zip(view.counts(&wanted)?).filter(|(_, empty)| *empty > 0);
    Ok(counted
        .map(|((table, column), empty)| format!("{table}.{column} is NULL in {}", ui::count(empty, "row")))
        .collect())
}

fn scheme_guest(view: &DatabaseView<'_>) -> Result<Outcome> {
    let release = Version::new(9, 4, 0);
    let Some(hop) = view.way.crossing(&release) else { return Ok(Outcome::not_crossed("9.4")) };
    let flags = [("channelmembers", "schemeguest"), ("teammembers", "schemeguest")];
    let evidence = nulls(view, flags.into_iter().filter(|(table, column)| view.column(table, column).is_some()))?;
    Ok(Outcome::of(evidence, "no member without the flag", |evidence| Bad {
        severity: Severity::Action,
        evidence,
        hop: Some(hop.to.clone()),
        fix: "UPDATE channelmembers SET schemeguest = false WHERE schemeguest IS NULL; the same for teammembers".into(),
    }))
}

/// Tables whose primary key the server relies on.
const KEYED: [&str; 15] = [
    "systems",
    "teams",
    "teammembers",
    "channels",
    "channelmembers",
    "users",
    "posts",
    "preferences",
    "sessions",
    "fileinfo",
    "roles",
    "status",
    "threads",
    "threadmemberships",
    "reactions",
];

const KEYLESS: &str = "SELECT c.relname AS name FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE n.nspname = pg_catalog.current_schema() AND c.relkind = 'r' \
    AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary) ORDER BY 1";

/// `expireat` is in seconds. Not among [`queries`]: an older database has no such table, and then none of them is answered.
const LOCK: &str = "SELECT id, expireat > extract(epoch FROM pg_catalog.now()) AS held FROM db_lock ORDER BY 1";

/// What the checks of this module ask of any database.
pub(super) fn queries() -> Vec<String> {
    vec![KEYLESS.into()]
}

fn without_key(view: &DatabaseView<'_>) -> Result<Vec<String>> {
    let rows = view.rows(KEYLESS)?;
    Ok(rows.iter().map(|row| text(row, "name")).filter(|name| KEYED.contains(&name.as_str())).collect())
}

fn systems_key(view: &DatabaseView<'_>) -> Result<Outcome> {
    let release = Version::new(9, 4, 0);
    let Some(hop) = view.way.crossing(&release) else { return Ok(Outcome::not_crossed("9.4")) };
    let evidence = without_key(view)?.into_iter().filter(|name| name == "systems").collect();
    Ok(Outcome::of(evidence, "it is there", |_| Bad {
        severity: Severity::Block,
        evidence: vec!["systems has no primary key".into()],
        hop: Some(hop.to.clone()),
        fix: "ALTER TABLE systems ADD PRIMARY KEY (name)".into(),
    }))
}

fn primary_keys(view: &DatabaseView<'_>) -> Result<Outcome> {
    let evidence = without_key(view)?.into_iter().map(|name| format!("{name} has none")).collect();
    Ok(Outcome::of(evidence, "every table has one", |evidence| Bad {
        severity: Severity::Warn,
        evidence,
        hop: None,
        fix: "compare with a fresh installation of the same release, and add the keys".into(),
    }))
}

/// Tables that every server from some release on has.
const TABLES: [(&str, Version); 13] = [
    ("systems", Version::new(3, 0, 0)),
    ("teams", Version::new(3, 0, 0)),
    ("teammembers", Version::new(3, 0, 0)),
    ("channels", Version::new(3, 0, 0)),
    ("channelmembers", Version::new(3, 0, 0)),
    ("users", Version::new(3, 0, 0)),
    ("posts", Version::new(3, 0, 0)),
    ("preferences", Version::new(3, 0, 0)),
    ("sessions", Version::new(3, 0, 0)),
    ("roles", Version::new(5, 0, 0)),
    ("threads", Version::new(5, 29, 0)),
    ("threadmemberships", Version::new(5, 29, 0)),
    ("sidebarcategories", Version::new(5, 29, 0)),
];

/// A table that came to dot releases of 7.8 and 8.1 before it came to 9.1: it has to be there where its migration is
/// recorded. Seen missing on the way from 8.1 to 9.11; what is recorded is never made again.
const RETENTION: (&str, &str) = ("create_retentionidsfordeletion_table", "retentionidsfordeletion");
const MAKE_RETENTION: &str = "as the server's user: CREATE TABLE retentionidsfordeletion (id varchar(26) PRIMARY KEY, \
    tablename varchar(64), ids varchar(26)[]); CREATE INDEX idx_retentionidsfordeletion_tablename ON \
    retentionidsfordeletion (tablename)";

/// Tables that were restored or moved by an administrator belong to that role: the server reads and writes them, and its
/// next migration fails. A role that the server's is a member of is as good as its own.
fn table_owners(view: &DatabaseView<'_>) -> Result<Outcome> {
    let names: Vec<String> = TABLES.iter().map(|(name, _)| format!("'{name}'")).collect();
    let rows = view.rows(&format!(
        "SELECT c.relname AS name, pg_catalog.pg_get_userbyid(c.relowner) AS owner, current_user AS role
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = pg_catalog.current_schema() AND c.relkind IN ('r', 'p') AND c.relname IN ({})
           AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE') ORDER BY 1",
        names.join(", ")
    ))?;
    let evidence = rows
        .iter()
        .map(|row| format!("{} belongs to {} and not to {}", text(row, "name"), text(row, "owner"), text(row, "role")));
    Ok(Outcome::of(evidence.collect(), "they belong to the server's role", |evidence| Bad {
        severity: Severity::Block,
        evidence,
        hop: None,
        fix:
            "give all tables of the server to its role, as a superuser in its database: ALTER TABLE NAME OWNER TO ROLE"
                .into(),
    }))
}

fn missing_tables(view: &DatabaseView<'_>) -> Outcome {
    let expected = TABLES.into_iter().filter(|(_, since)| since <= view.way.from);
    let mut evidence: Vec<String> =
        expected.filter(|(name, _)| !view.has_table(name)).map(|(name, _)| format!("{name} is missing")).collect();
    let mut fix =
        "see whether the data source names the right database and its user the right schema; restore what is lost";
    let (migration, table) = RETENTION;
    let applied = view.level.as_ref().ok().and_then(|level| level.migrations.as_ref());
    if applied.is_some_and(|applied| applied.iter().any(|(_, name)| name == migration)) && !view.has_table(table) {
        if evidence.is_empty() {
            fix = MAKE_RETENTION;
        }
        evidence.push(format!("{table} is missing, though the migration that makes it is recorded"));
    }
    Outcome::of(evidence, "all are there", |evidence| Bad {
        severity: Severity::Block,
        evidence,
        hop: None,
        fix: fix.into(),
    })
}

fn schema_behind(view: &DatabaseView<'_>) -> Result<Outcome> {
    let standing = view.level.clone()?.against(view.way.from)?;
    let evidence: Vec<String> = standing.missing;
    Ok(Outcome::of(evidence, "all that are known are applied", |evidence| Bad {
        severity: Severity::Action,
        evidence,
        hop: None,
        fix: format!("start {} on this database once and see that it gets healthy before upgrading it", view.way.from),
    }))
}

/// A number that this database has used for another name than the releases on the way do: the first release that has
/// a migration of that number stops with `duplicate key value violates ... db_migrations_pkey`.
fn migration_names(view: &DatabaseView<'_>) -> Result<Outcome> {
    let Some(applied) = view.level.clone()?.migrations else {
        return Ok(Outcome::Beside("db_migrations comes with 6.4".into()));
    };
    let known = view.way.catalogue.migrations();
    let mut evidence = Vec::new();
    let mut first: Option<&Version> = None;
    for (number, name) in &applied {
        let Some(other) =
            u32::try_from(*number).ok().and_then(|number| known.name(number)).filter(|other| other.name != *name)
        else {
            continue;
        };
        if applied.iter().any(|(_, there)| *there == other.name) {
            continue;
        }
        let bites = view.way.hops.iter().find(|hop| collides(view, hop, *number, name));
        if let Some(hop) = bites {
            evidence.push(format!("{number} is {name} here and {} in {}", other.name, hop.to));
            first = Some(first.map_or(&hop.to, |earlier| earlier.min(&hop.to)));
        }
    }
    Ok(Outcome::of(evidence, "every number has the name that the releases give it", |evidence| {
        Bad {
        severity: Severity::Block,
        evidence,
        hop: first.cloned(),
        fix: "choose a target that knows these migrations (for 142 to 144: 11.6.5, 11.7.3, 11.8.1 or newer), or restore the database from before".into(),
    }
    }))
}

fn collides(view: &DatabaseView<'_>, hop: &mm_common::contract::sections::Hop, number: u64, name: &str) -> bool {
    if RENUMBERED.contains(&name) {
        let rule = view.way.catalogue.rules().iter().find(|rule| rule.id == "collision-142");
        return rule.is_some_and(|rule| rule.to.contains(&hop.to));
    }
    let highest = view.way.catalogue.migrations().of(&hop.to).and_then(|count| count.highest);
    highest.is_some_and(|highest| u64::from(highest) >= number)
}

/// A server that migrates holds a row and renews it; one that was killed leaves it behind, and the next start waits.
fn migration_lock(view: &DatabaseView<'_>) -> Result<Outcome> {
    if !view.has_table("db_lock") {
        return Ok(Outcome::Beside("there is no table db_lock".into()));
    }
    let rows = view.rows(LOCK)?;
    let is_held = rows.iter().any(|row| row["held"] == true);
    let evidence = rows
        .iter()
        .map(|row| {
            let until =
                if row["held"] == true { "held by a server that migrates now" } else { "left by one that was killed" };
            format!("{}: {until}", text(row, "id"))
        })
        .collect();
    Ok(Outcome::of(evidence, "nobody holds it", |evidence| {
        Bad {
        severity: if is_held { Severity::Action } else { Severity::Warn },
        evidence,
        hop: None,
        fix: if is_held {
            "wait until that migration is done, and see that only one server uses this database"
        } else {
            "leave it: the next start waits some seconds and takes it over; see whether the installed release starts first"
        }
        .into(),
    }
    }))
}
