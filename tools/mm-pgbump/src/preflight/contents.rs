//! Checks of what the cluster holds.

use std::collections::BTreeSet;
use std::path::Path;

use mm_common::Result;
use mm_common::contract::sections::Status;
use mm_common::machine::command::Cmd;
use mm_common::postgres::cluster::KEPT;
use mm_common::postgres::server::Database;
use mm_common::postgres::slots::{self, Slot};

use super::{List, Question, Seen, code, definitions};
use crate::evidence;
use crate::plan::Method;
use crate::references;

/// Makes all of them.
pub(super) fn all(question: &Question<'_>, entrance: &Database, list: &mut List) {
    list.add("primary", "The cluster is a primary", || primary(entrance));
    list.add("other-databases", "Nobody else has a database in the cluster", || others(question, entrance));
    list.add("connections", "Every database takes connections", || {
        let found = names(
            entrance,
            "SELECT datname FROM pg_catalog.pg_database WHERE NOT datallowconn AND datname <> 'template0'",
        )?;
        let hint = "ALTER DATABASE name ALLOW_CONNECTIONS true, for each of them";
        Ok(Seen::list(&found, "all but template0", Seen::fail, hint))
    });
    list.add("prepared", "No transaction is prepared", || {
        let found =
            names(entrance, "SELECT gid || ' of ' || owner || ' in ' || database FROM pg_catalog.pg_prepared_xacts")?;
        Ok(Seen::list(
            &found,
            "none",
            Seen::fail,
            "COMMIT PREPARED or ROLLBACK PREPARED each of them: an upgrade loses them",
        ))
    });
    list.add("replication", "No replication hangs on the cluster", || replication(entrance));
    list.add("archiving", "The write-ahead log is not archived", || {
        let found = names(
            entrance,
            "SELECT pg_catalog.current_setting('archive_command') WHERE pg_catalog.current_setting('archive_mode') <> 'off'",
        )?;
        let hint = "the archive of the old cluster cannot be continued: make a new base backup after the upgrade";
        Ok(Seen::list(&found, "it is not", Seen::warn, hint))
    });
    list.add(references::ID, "Nothing points into the directories of the old cluster", || {
        let found = references::of_old(question.old, entrance)?;
        Ok(Seen::list(&found, "nothing that is not carried along", Seen::fail, references::HINT))
    });
    list.add("locales", "The locales of every database exist", || locales(entrance));
    list.add("libraries", "The libraries to preload exist in the new major", || libraries(question, entrance));
    let databases = names(entrance, "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn ORDER BY 1");
    let databases = match databases {
        Ok(databases) => databases,
        Err(error) => return list.add("databases", "The databases can be listed", || Err(error)),
    };
    let mut written = None;
    list.add("readable", "What is to be compared can be read", || {
        let facts = evidence::catalogue(question.old, question.database, question.major)?;
        let count = facts.len();
        written = Some(facts);
        Ok(Seen::pass(format!("{count} facts besides the contents of the tables")))
    });
    if let Some(facts) = written {
        list.add("column-options", "The new major knows the options of every column", || {
            Ok(definitions::column_options(question, &facts))
        });
    }
    list.add("extensions", "The extensions exist in the new major", || extensions(question, &databases));
    list.add("invalid-indexes", "Every index is valid", || {
        let found = everywhere(
            question,
            &databases,
            "SELECT indexrelid::pg_catalog.regclass::pg_catalog.text FROM pg_catalog.pg_index WHERE NOT indisvalid",
        )?;
        Ok(Seen::list(
            &found,
            "all are",
            Seen::warn,
            "an upgrade drops them silently: REINDEX INDEX CONCURRENTLY them first if they matter",
        ))
    });
    list.add(code::FOREIGN, "Reading the tables runs nobody's functions as a superuser", || {
        code::foreign(question, &databases)
    });
    list.add(code::USER_CODE, "Making every object anew runs no user's functions as a superuser", || {
        code::carried(question)
    });
    if question.method == Some(Method::Dump) {
        let runs_nothing = list.checks.iter().any(|check| check.id == code::USER_CODE && check.status == Status::Pass);
        list.add("definitions", "The new major takes every definition as a dump writes it", || {
            definitions::remade(question, &databases, runs_nothing)
        });
    }
    list.add("duplicates", "No unique index hides duplicate rows", || super::indexes::duplicates(question, &databases));
    list.add("indexes", "Every B-tree index holds every row, in its order", || {
        super::indexes::btrees(question, &databases)
    });
    list.add("collation", "The collation is the one the indexes were built with", || {
        collation(question, entrance, &databases)
    });
}

/// What reads the cluster's changes from outside, and what reads others': no upgrade carries it as it is.
fn replication(entrance: &Database) -> Result<Seen> {
    let slots = slots::all(entrance)?;
    let standbys = names(
        entrance,
        "SELECT 'standby ' || coalesce(application_name, '?') || ' at ' || coalesce(client_addr::pg_catalog.text, 'a socket') FROM pg_catalog.pg_stat_replication",
    )?;
    let subscriptions = if entrance.major() >= 10 {
        names(
            entrance,
            "SELECT pg_catalog.format('subscription %I of %I', s.subname, d.datname) FROM pg_catalog.pg_subscription s
             JOIN pg_catalog.pg_database d ON d.oid = s.subdbid WHERE s.subenabled ORDER BY 1",
        )?
    } else {
        Vec::new()
    };
    let mut hints: Vec<String> = Vec::new();
    if !slots.is_empty() {
        let drops: Vec<&str> = slots.iter().map(|slot| slot.dropping.as_str()).collect();
        hints.push(format!("drop the slots, whose readers have to begin anew: {}", drops.join(" && ")));
    }
    if !standbys.is_empty() {
        hints.push("build the standbys anew after the upgrade".into());
    }
    if !subscriptions.is_empty() {
        hints.push("an upgrade leaves subscriptions disabled: ALTER SUBSCRIPTION name DISABLE each, and ENABLE it after the upgrade".into());
    }
    hints.push("or, where nobody needs them, --accept replication".into());
    let slots = slots.iter().map(Slot::in_words);
    let found: Vec<String> = slots.chain(standbys).chain(subscriptions).collect();
    Ok(Seen::list(&found, "none", Seen::fail, &hints.join("; ")))
}

/// The single text column of a query.
pub(super) fn names(database: &Database, sql: &str) -> Result<Vec<String>> {
    let rows = database.rows(sql)?;
    Ok(rows.iter().filter_map(|row| row.as_object()?.values().next()?.as_str().map(str::to_owned)).collect())
}

/// The same question to every database; the answers with the name of the database in front.
fn everywhere(question: &Question<'_>, databases: &[String], sql: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for name in databases {
        let database = Database::superuser(question.old, name)?;
        found.extend(names(&database, sql)?.into_iter().map(|what| format!("{name}: {what}")));
    }
    Ok(found)
}

fn primary(entrance: &Database) -> Result<Seen> {
    Ok(if entrance.value("SELECT pg_catalog.pg_is_in_recovery()")? == false {
        Seen::pass("it is")
    } else {
        Seen::fail("it is a standby of another server", "upgrade the primary, and build this one anew from it")
    })
}

/// The databases of the cluster that are none of the server's and not there from the beginning.
pub(crate) fn other_databases(question: &Question<'_>) -> Result<Vec<String>> {
    names(
        &Database::superuser(question.old, question.database)?,
        &format!(
            "SELECT datname::pg_catalog.text FROM pg_catalog.pg_database
             WHERE datallowconn AND datname NOT IN ('postgres', 'template0', 'template1', pg_catalog.current_database()) AND NOT {KEPT}
             ORDER BY 1"
        ),
    )
}

fn others(question: &Question<'_>, entrance: &Database) -> Result<Seen> {
    let found = names(
        entrance,
        &format!(
            "SELECT datname || ' of ' || pg_catalog.pg_get_userbyid(datdba) || ', ' ||
                    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity a WHERE a.datname = d.datname) || ' connections'
             FROM pg_catalog.pg_database d WHERE NOT datistemplate AND datname NOT IN ('postgres', pg_catalog.current_database()) AND NOT {KEPT}"
        ),
    )?;
    if question.shared && !found.is_empty() {
        return Ok(Seen::warn(
            super::shortened(&found),
            "they are upgraded with it: tell their owners, and stop their programs",
        ));
    }
    let hint = "they would be upgraded and stopped with it: give --shared-cluster if that is agreed with their owners";
    Ok(Seen::list(&found, "it is the server's alone", Seen::fail, hint))
}

fn locales(entrance: &Database) -> Result<Seen> {
    let wanted: BTreeSet<String> = names(
        entrance,
        "SELECT datcollate::pg_catalog.text FROM pg_catalog.pg_database UNION SELECT datctype::pg_catalog.text FROM pg_catalog.pg_database UNION
         SELECT setting FROM pg_catalog.pg_settings WHERE name IN ('lc_messages', 'lc_monetary', 'lc_numeric', 'lc_time')",
    )?
    .into_iter()
    .filter(|name| !matches!(name.as_str(), "" | "C" | "POSIX"))
    .collect();
    let there: BTreeSet<String> = Cmd::new("locale").arg("-a").run()?.text().lines().map(normal).collect();
    let missing: Vec<String> = wanted.into_iter().filter(|name| !there.contains(&normal(name))).collect();
    Ok(Seen::list(&missing, "all do", Seen::fail, "add them to /etc/locale.gen and run locale-gen"))
}

/// As `locale -a` and initdb write one locale in two ways: `en_US.utf8`, `en_US.UTF-8`.
fn normal(name: &str) -> String {
    name.to_lowercase().replace('-', "")
}

fn libraries(question: &Question<'_>, entrance: &Database) -> Result<Seen> {
    let set = names(
        entrance,
        "SELECT setting FROM pg_catalog.pg_settings WHERE name IN ('shared_preload_libraries', 'session_preload_libraries', 'local_preload_libraries')",
    )?;
    let missing: Vec<String> = set
        .iter()
        .flat_map(|list| list.split(','))
        .map(|name| name.trim().trim_matches('"'))
        .filter(|name| !name.is_empty() && !name.contains('/'))
        .filter(|name| !Path::new(&format!("/usr/lib/postgresql/{}/lib/{name}.so", question.major)).exists())
        .map(str::to_owned)
        .collect();
    let hint = format!("install their packages for PostgreSQL {} (postgresql-{}-...)", question.major, question.major);
    Ok(Seen::list(&missing, "all do", Seen::fail, &hint))
}

fn extensions(question: &Question<'_>, databases: &[String]) -> Result<Seen> {
    let used = everywhere(question, databases, "SELECT extname::pg_catalog.text FROM pg_catalog.pg_extension")?;
    let missing: Vec<String> = used
        .into_iter()
        .filter(|used| {
            let name = used.rsplit(": ").next().unwrap_or_default();
            let home = format!("/usr/share/postgresql/{}/extension/{name}.control", question.major);
            !Path::new(&home).exists()
        })
        .collect();
    let hint = format!(
        "install their packages for PostgreSQL {} (apt-cache search postgresql-{})",
        question.major, question.major
    );
    Ok(Seen::list(&missing, "all do", Seen::fail, &hint))
}

/// From 15 on the server remembers the version of the system's collation, and says so itself. Before, nothing does.
fn collation(question: &Question<'_>, entrance: &Database, databases: &[String]) -> Result<Seen> {
    let dumped = question.method == Some(Method::Dump);
    let mut found = if entrance.major() >= 15 {
        names(
            entrance,
            "SELECT datname || ' was built with ' || datcollversion || ', the system has ' || pg_catalog.pg_database_collation_actual_version(oid)
             FROM pg_catalog.pg_database WHERE datcollversion <> pg_catalog.pg_database_collation_actual_version(oid)",
        )?
    } else {
        Vec::new()
    };
    if entrance.major() >= 10 {
        found.extend(everywhere(
            question,
            databases,
            "SELECT collname || ' was ' || collversion || ', the system has ' || pg_catalog.pg_collation_actual_version(oid)
             FROM pg_catalog.pg_collation WHERE collversion <> pg_catalog.pg_collation_actual_version(oid)",
        )?);
    }
    if dumped && !found.is_empty() {
        return Ok(Seen::pass("it is not, but a dump builds every index anew"));
    }
    Ok(Seen::list(&found, "no sign of another", Seen::warn, "the indexes are built anew after the upgrade"))
}
