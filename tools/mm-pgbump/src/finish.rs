//! What `pg_upgradecluster` leaves undone: files it does not carry, materialized views it leaves empty, statistics,
//! extensions, collations.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use mm_common::contract::ui;
use mm_common::machine::files::Access;
use mm_common::machine::threads;
use mm_common::machine::tree::{Dir, Kind};
use mm_common::postgres::cluster::Cluster;
use mm_common::postgres::members::{self, Member};
use mm_common::postgres::schemas::{self, Spaces};
use mm_common::postgres::server::Database;
use mm_common::postgres::{fingerprint, session};
use mm_common::{Error, Result};

use crate::evidence;
use crate::plan::Method;
use crate::record::Entry;

/// A configuration file of a server is smaller.
const MOST: u64 = 1 << 20;

/// Statistics of every table; they are samples, so the size of the tables hardly matters (observed: 2 s at any size).
const ANALYZE_LIMIT: Duration = Duration::from_secs(3600);

/// Copies `conf.d` and the `environment` file, which `pg_upgradecluster` forgets.
pub(crate) fn carry_files(old: &Cluster, new: &Cluster) -> Result<()> {
    let (from, to) = (old.directory()?, new.directory()?);
    carry(&from, &to, "environment".as_ref())?;
    let name = "conf.d".as_ref();
    let Some(parts) = from.child_directory(name)? else { return Ok(()) };
    let names = parts.names()?;
    if names.is_empty() {
        return Ok(());
    }
    let place = if let Some(place) = to.child_directory(name)? {
        place
    } else {
        let made = to.create_directory(name)?;
        let set = made.file().set_permissions(Permissions::from_mode(0o755));
        set.map_err(|error| Error::io("change the mode of", made.path(), error))?;
        made
    };
    names.iter().try_for_each(|name| carry(&parts, &place, name))
}

/// Copies a regular file, where there is one, with mode and owner.
fn carry(from: &Dir, to: &Dir, name: &OsStr) -> Result<()> {
    match from.look(name)?.filter(|meta| meta.kind == Kind::File) {
        None => Ok(()),
        Some(meta) => {
            let access = Access { mode: meta.mode, owner: Some((meta.uid, meta.gid)) };
            to.write(name, &from.read(name, MOST)?, access)
        }
    }
}

/// Fills the materialized views that the old cluster had filled and a dump leaves empty. One may depend on another, so
/// it goes round until none is left or none can be filled.
pub(crate) fn fill_views(new: &Cluster, entrance: &str, before: &evidence::Facts) -> Result<()> {
    for name in evidence::databases(new, entrance)? {
        let database = Database::superuser(new, &name)?.with_limit(fingerprint::LIMIT);
        // PostgreSQL fills a view as its owner; only this session may read what it is made of.
        let filling = if session::restricts(database.version_num) {
            database.clone().with_options(session::VIEWS)
        } else {
            database.clone()
        };
        let mut left = usize::MAX;
        loop {
            let empty = database.rows(
                "SELECT n.nspname || '.' || relname AS called, pg_catalog.format('%I.%I', n.nspname, relname) AS quoted
                 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace WHERE relkind = 'm' AND NOT relispopulated",
            )?;
            let empty: Vec<_> = empty
                .iter()
                .filter_map(|row| Some((row["called"].as_str()?, row["quoted"].as_str()?)))
                .filter(|(called, _)| {
                    let fact = before.get(&format!("{name}: relation {called}"));
                    fact.is_some_and(|fact| fact.ends_with("filled true"))
                })
                .collect();
            if empty.is_empty() || empty.len() >= left {
                break;
            }
            left = empty.len();
            for (_, quoted) in empty {
                // What cannot be filled yet, or at all, is seen by the proof.
                let _ = filling.execute(&format!("REFRESH MATERIALIZED VIEW {quoted}"));
            }
        }
    }
    Ok(())
}

/// Triggers whose state is not the usual one, each by the statement that gives it.
const TRIGGERS: &str = "SELECT pg_catalog.format('ALTER TABLE ONLY %I.%I %s TRIGGER %I', nspname, relname,
    CASE tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, tgname) AS sql
  FROM pg_catalog.pg_trigger JOIN pg_catalog.pg_class c ON c.oid = tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
 WHERE tgenabled <> 'O' AND NOT tgisinternal";

/// What an upgrade does not carry as it was, of each database of a cluster.
pub(crate) struct Kept {
    databases: Vec<Of>,
}

/// Of one of them.
struct Of {
    name: String,
    spaces: Spaces,
    /// Statements that give triggers their state.
    triggers: Vec<String>,
    members: Vec<Member>,
}

impl Kept {
    /// Reads it.
    pub(crate) fn of(cluster: &Cluster, entrance: &str) -> Result<Self> {
        let read = |name: String| {
            let database = Database::superuser(cluster, &name)?;
            let triggers = database.rows(TRIGGERS)?;
            let triggers = triggers.iter().filter_map(|row| row["sql"].as_str().map(str::to_owned)).collect();
            Ok(Of { spaces: schemas::read(&database)?, members: members::read(&database)?, name, triggers })
        };
        let databases = evidence::databases(cluster, entrance)?.into_iter().map(read).collect::<Result<_>>()?;
        Ok(Self { databases })
    }

    /// Gives the schemas the owners and rights that they had: what an upgrade carries is what a dump says, and that is silent
    /// about a schema that was `public` once; and it leaves a `public` where there was none. And what a dump makes anew: triggers
    /// their state, as that of `pg_upgradecluster` enables every one, and the extensions' functions of other versions the rights.
    pub(crate) fn carry(&self, new: &Cluster, method: Method) -> Result<()> {
        for Of { name, spaces, triggers, members } in &self.databases {
            let database = Database::superuser(new, name)?;
            schemas::settle(&database, spaces)?;
            if method == Method::Dump {
                members::carry(&database, members)?;
                if !triggers.is_empty() {
                    database.execute_verbatim(&triggers.join(";\n"))?;
                }
            }
        }
        Ok(())
    }

    /// Whether [`Kept::carry`] settles what a complaint of the upgrade is about.
    pub(crate) fn settles(&self, complaint: &str) -> bool {
        self.databases.iter().any(|of| members::is_carried(complaint, &of.members))
    }
}

/// Extensions to the versions of the new major, indexes anew where the collation is another, and the first statistics, unless
/// full ones follow at once. None of it loses anything when it fails, so a failure is a warning with what to do.
pub(crate) fn settle(new: &Cluster, entrance: &str, method: Method, is_analyzed: bool) -> Result<()> {
    if method == Method::Dump {
        // A restore made them all anew, and analyzed them.
        return Ok(());
    }
    let databases = evidence::databases(new, entrance)?;
    for name in &databases {
        let database = Database::superuser(new, name)?.with_limit(fingerprint::LIMIT);
        let updates = database.rows(
            "SELECT pg_catalog.format('ALTER EXTENSION %I UPDATE', name) AS sql FROM pg_catalog.pg_available_extensions
             WHERE installed_version IS NOT NULL AND installed_version <> default_version",
        )?;
        let members = members::read(&database)?;
        for sql in updates.iter().filter_map(|row| row["sql"].as_str()) {
            warn_unless(database.execute(sql), &format!("{sql} in the database {name}"));
        }
        let given = if updates.is_empty() { Ok(()) } else { members::carry(&database, &members) };
        warn_unless(given, &format!("rights on the extensions of the database {name}"));
        let drifted = new.major >= 15
            && database.value(
                "SELECT datcollversion IS DISTINCT FROM pg_catalog.pg_database_collation_actual_version(oid) FROM pg_catalog.pg_database
                 WHERE datname = pg_catalog.current_database()",
            )? == true;
        if drifted {
            let quoted = database.value("SELECT pg_catalog.quote_ident(pg_catalog.current_database())")?;
            let quoted = quoted.as_str().unwrap_or_default().to_owned();
            let sql = format!("REINDEX DATABASE {quoted}; ALTER DATABASE {quoted} REFRESH COLLATION VERSION");
            warn_unless(database.execute_each(&sql), &format!("{sql} in the database {name}"));
        }
    }
    if !is_analyzed {
        let (options, arguments) = first_statistics(new.major);
        analyze(new, entrance, options, arguments);
    }
    Ok(())
}

/// Full statistics, which a server can do without while it starts. Also from 18 on: the counters that autovacuum goes by
/// are not carried over (documentation of `pg_upgrade`).
pub(crate) fn analyze_fully(new: &Cluster, entry: &Entry) {
    if entry.method == Method::Dump {
        return;
    }
    ui::progress("collecting statistics");
    analyze(new, &entry.database, "", &[]);
    ui::progress_done();
}

/// Settings of the session and options of `vacuumdb` for the statistics that a server must not begin without.
///
/// Up to 17, `pg_upgrade` carries none over: the first of the stages of `--analyze-in-stages` keeps the planner from the
/// worst plans. From 18 on it carries them over, all but extended ones, and that stage would replace them by a sample:
/// only what is missing is collected (release notes of 18, and `vacuumdb`).
fn first_statistics(major: u32) -> (&'static str, &'static [&'static str]) {
    if major >= 18 {
        ("-c vacuum_cost_delay=0", &["--missing-stats-only"])
    } else {
        ("-c default_statistics_target=1 -c vacuum_cost_delay=0", &[])
    }
}

fn analyze(new: &Cluster, entrance: &str, options: &str, arguments: &[&str]) {
    let analyzed = Database::superuser(new, entrance)
        .and_then(|database| database.with_limit(ANALYZE_LIMIT).with_options(options).command("vacuumdb"));
    let analyzed = analyzed.and_then(|command| {
        let jobs = threads::fitting().to_string();
        let all = ["--all", "--analyze-only", "--quiet", "--no-password", "--jobs", &jobs];
        command.args(all).args(arguments).run()
    });
    warn_unless(analyzed.map(drop), "vacuumdb --all --analyze-in-stages");
}

fn warn_unless(result: Result<(), Error>, what: &str) {
    if let Err(error) = result {
        ui::warn(&format!("the upgrade is sound, but this is left to do: {what} ({})", error.one_line()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_that_were_carried_over_are_kept() {
        assert_eq!(first_statistics(18), ("-c vacuum_cost_delay=0", &["--missing-stats-only"][..]));
        let (options, arguments) = first_statistics(17);
        assert!(options.contains("default_statistics_target=1") && arguments.is_empty());
    }
}
