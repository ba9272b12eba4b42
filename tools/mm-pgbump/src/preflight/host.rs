//! Checks of the machine: programs, names, space, files.

use mm_common::contract::shell;
use mm_common::machine::command::{Cmd, TO_ASK};
use mm_common::machine::{disk, files, tree};
use mm_common::mattermost::way_back::PATRONI_HINT;
use mm_common::postgres::cluster::{self, Cluster};
use mm_common::postgres::manager::{self, Manager};
use mm_common::postgres::programs::{Part, install};
use mm_common::postgres::server::{self, Database};
use mm_common::{Error, Result};

use super::{Question, Seen, shortened};
use crate::aside;
use crate::control::{self, entries};
use crate::debian;
use crate::plan::{Method, Mode};

/// What a fresh cluster, its logs and the schema take besides the data (observed: 46 MB).
const FIXED: u64 = 100 * 1024 * 1024;

/// Units that systemd stops with the unit of the old cluster, or starts it for: after the upgrade they would go on to do
/// so, with the wrong one. That of the server itself would start the old cluster again as soon as it is started.
pub(super) fn bound(question: &Question<'_>) -> Result<Seen> {
    if !control::is_run_by_systemd() {
        return Ok(Seen::pass("systemd does not run the clusters here"));
    }
    let unit = |major: u32| format!("postgresql@{major}-{}.service", question.old.name);
    let shown = Cmd::new("systemctl")
        .args(["show", "--property=BoundBy,RequiredBy,RequisiteOf,ConsistsOf,WantedBy", &unit(question.old.major)])
        .run()?;
    Ok(bound_by(&bound_units(&shown.text()), question.unit, &unit(question.major)))
}

fn bound_by(units: &[String], own: Option<&str>, new: &str) -> Seen {
    match own.filter(|own| units.iter().any(|unit| unit == own)) {
        Some(own) => Seen::fail(
            shortened(units),
            format!(
                "its start would start the old cluster again: let {own} name postgresql.service instead (systemctl edit --full {own})"
            ),
        ),
        None => Seen::list(
            units,
            "none is",
            Seen::warn,
            &format!("let them name postgresql.service, or {new} after the upgrade (systemctl edit --full)"),
        ),
    }
}

/// A cluster manager keeps others from starting its clusters by `disabled`. It would start the old cluster again in the
/// middle of the upgrade, and does not know the new one.
pub(super) fn startable(question: &Question<'_>) -> Result<Seen> {
    let path = question.old.configuration.join("start.conf");
    let disabled = control::start_conf(question.old)?.is_some_and(|text| control::is_disabled(&text));
    Ok(if disabled {
        Seen::fail(
            format!("`{}` says `disabled`, as cluster managers have it (Pacemaker, Patroni)", path.display()),
            format!(
                "take the cluster out of its manager's hands for the upgrade, then: echo manual > {}",
                shell::word(&path)
            ),
        )
    } else {
        match manager::of(question.old) {
            Some(Manager::Patroni) => Seen::fail("Patroni runs here and manages it", PATRONI_HINT),
            Some(Manager::Pacemaker) => Seen::warn(
                "Pacemaker runs here, and may start and stop it",
                "where it does, take the cluster out of its hands for the upgrade (pcs resource unmanage, or crm resource unmanage)",
            ),
            None => Seen::pass("by its start.conf"),
        }
    })
}

/// The units in what `systemctl show` prints: a line for each property, `NAME=UNIT UNIT`.
fn bound_units(shown: &str) -> Vec<String> {
    let mut units: Vec<String> = shown
        .lines()
        .filter_map(|line| line.split_once('='))
        .flat_map(|(_, units)| units.split_whitespace())
        // Debian's own for all clusters.
        .filter(|unit| *unit != "postgresql.service")
        .map(str::to_owned)
        .collect();
    units.sort();
    units.dedup();
    units
}

/// What stands where the new cluster goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// Nothing.
    Free,
    /// A cluster that has never held anything, as the packages make one: it may be dropped.
    Empty(Box<Cluster>),
    /// The new cluster of an upgrade that was rolled back: it gets another name.
    RolledBack(Box<Cluster>),
    /// Something that may not be touched, and what it is.
    Taken(String),
}

/// Looks at the place of the new cluster.
pub(crate) fn target(question: &Question<'_>) -> Result<Target> {
    let (major, name) = (question.major, &question.old.name);
    if let Some(cluster) = cluster::find(major, name)? {
        return Ok(match holds(&cluster)? {
            None => Target::Empty(Box::new(cluster)),
            Some(_) if aside::is_rolled_back(&cluster, question.claim.state)? => Target::RolledBack(Box::new(cluster)),
            Some(what) => Target::Taken(format!("the cluster {} exists already and {what}", cluster.label())),
        });
    }
    let configuration = cluster::configuration_directory(major, name).join("postgresql.conf");
    for path in [question.data, configuration.as_path()] {
        let there = match files::look(path)? {
            None => false,
            Some(data) => !data.is_dir() || !entries(path)?.is_empty(),
        };
        if there {
            return Ok(Target::Taken(format!("`{}` exists already, though it is no cluster", path.display())));
        }
    }
    Ok(Target::Free)
}

/// What a cluster holds beyond what initdb put there; `None` when it is proven to hold nothing.
fn holds(cluster: &Cluster) -> Result<Option<String>> {
    match control::mode(cluster)? {
        Mode::Down => never_used(cluster),
        Mode::Open => {
            let databases = ["postgres", "template1"];
            let mut found = Database::superuser(cluster, "postgres")?.rows(
                "SELECT 'the database ' || datname AS what FROM pg_catalog.pg_database
                      WHERE datname NOT IN ('postgres', 'template0', 'template1')
                     UNION ALL SELECT 'the role ' || rolname FROM pg_catalog.pg_authid WHERE oid >= 16384
                     UNION ALL SELECT 'the tablespace ' || spcname FROM pg_catalog.pg_tablespace WHERE oid >= 16384",
            )?;
            for database in databases {
                found.extend(Database::superuser(cluster, database)?.rows(
                    "SELECT 'the relation ' || relname AS what FROM pg_catalog.pg_class WHERE oid >= 16384 AND relnamespace <> 'pg_toast'::pg_catalog.regnamespace
                     UNION ALL SELECT 'the function ' || proname FROM pg_catalog.pg_proc WHERE oid >= 16384
                     UNION ALL SELECT 'the schema ' || nspname FROM pg_catalog.pg_namespace WHERE oid >= 16384",
                )?);
            }
            let found: Vec<String> = found.iter().filter_map(|row| row["what"].as_str().map(str::to_owned)).collect();
            Ok((!found.is_empty()).then(|| format!("holds {}", shortened(&found))))
        }
        Mode::Shut | Mode::BinaryUpgrade => Ok(Some("is in the middle of another upgrade".into())),
    }
}

/// A server gives every object, role and database it makes a number from 16384 on, and its control file says which one
/// comes next. At 16384 or below, nothing was ever made.
fn never_used(cluster: &Cluster) -> Result<Option<String>> {
    let program = server::program_of("pg_controldata", cluster.major)
        .ok_or_else(|| Error::failed(format!("PostgreSQL {} has no pg_controldata", cluster.major)))?;
    let output = Cmd::new(program.display().to_string())
        .arg("-D")
        .arg(&cluster.data)
        .user(&mm_common::machine::user::User::named(&cluster.owner)?)
        .within(TO_ASK)
        .run()?
        .text();
    let field = |name: &str| output.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if field("Database cluster state:") != Some("shut down") {
        return Ok(Some("was not shut down cleanly, so what it holds cannot be told".into()));
    }
    match field("Latest checkpoint's NextOID:").and_then(|number| number.parse::<u64>().ok()) {
        Some(next) if next <= 16384 => Ok(None),
        Some(_) => Ok(Some("has been used: objects were made in it".into())),
        None => Ok(Some("does not say whether it was used".into())),
    }
}

pub(super) fn free_target(question: &Question<'_>) -> Result<Seen> {
    let (major, name) = (question.major, &question.old.name);
    Ok(match target(question)? {
        Target::Free => Seen::pass(format!("{major}/{name} does not exist")),
        Target::Empty(_) => {
            Seen::pass(format!("{major}/{name} exists and has never held anything: it will be dropped"))
        }
        Target::RolledBack(_) => Seen::pass(format!(
            "{major}/{name} is the one from which was rolled back: it will be kept under another name"
        )),
        Target::Taken(what) => Seen::fail(
            what,
            format!("look at it; if nobody needs it: pg_dropcluster --stop {major} {name} (or remove the directory)"),
        ),
    })
}

pub(super) fn programs(question: &Question<'_>) -> Result<Seen> {
    let mut missing = Vec::new();
    for major in [question.old.major, question.major] {
        for program in ["postgres", "pg_ctl", "pg_upgrade", "initdb", "pg_controldata", "pg_dump", "psql", "vacuumdb"] {
            if server::program_of(program, major).is_none() {
                missing.push(format!("{program} of PostgreSQL {major}"));
            }
        }
    }
    mm_common::machine::command::find("pg_upgradecluster")?;
    let absent = |major: &u32| server::program_of("pg_ctl", *major).is_none();
    let major = [question.major, question.old.major].into_iter().find(absent).unwrap_or(question.major);
    // Asking apt takes a second.
    let fix = if missing.is_empty() { String::new() } else { install(major, Part::Server) };
    Ok(Seen::list(&missing, "both with server and client", Seen::fail, &fix))
}

/// Extensions and the like, which the package of the new major does not bring.
pub(super) fn packages(question: &Question<'_>) -> Result<Seen> {
    let missing = debian::missing_packages(question.old, question.major)?;
    Ok(Seen::list(
        &missing,
        "pg_upgradecluster misses none",
        Seen::fail,
        "install what is missing, or remove the package of the old major if nothing uses it",
    ))
}

/// 18 and later make data checksums unless told not to, and `pg_upgrade` wants them to be as they were.
pub(super) fn checksums(question: &Question<'_>, entrance: &Database) -> Result<Seen> {
    let on = entrance.value("SELECT pg_catalog.current_setting('data_checksums')")? == "on";
    Ok(if on || question.method == Some(Method::Dump) || debian::Script::of_this_machine()?.keeps_checksums_off() {
        Seen::pass("pg_upgradecluster does so")
    } else {
        let program = server::program_of("pg_checksums", question.old.major).unwrap_or_else(|| "pg_checksums".into());
        let (program, data) = (program.display(), question.old.data.display());
        Seen::fail(
            "the old cluster has no data checksums, and this pg_upgradecluster cannot make one of that major without",
            format!(
                "upgrade postgresql-common to 266 or later; or stop the cluster, then as {}: {program} --enable -D '{data}'",
                question.old.owner
            ),
        )
    })
}

/// Copying needs as much again, in each tablespace, too; a dump writes its rows into the log as well. Links and clones share.
pub(super) fn disk(question: &Question<'_>) -> Result<Seen> {
    let data = tree::size(&question.old.data)?.bytes;
    let copies = !matches!(question.method, Some(Method::Link | Method::Clone));
    let spaces = if copies { control::tablespace_directories(question.old, question.old.major)? } else { Vec::new() };
    // Where several lie on one file system, they need its room together.
    let mut needs = vec![(question.data.to_owned(), FIXED + if copies { data } else { 0 })];
    let mut all = data;
    for space in spaces {
        let (bytes, device) = (tree::size(&space)?.bytes, disk::device(&space)?);
        all += bytes;
        match needs.iter_mut().find(|(place, _)| disk::device(place).is_ok_and(|known| known == device)) {
            Some((_, needed)) => *needed += bytes,
            None => needs.push((space, bytes)),
        }
    }
    if question.method == Some(Method::Dump) {
        needs[0].1 += all / 2;
    }
    let mut evidence = Vec::new();
    let mut fits = true;
    for (place, needed) in &needs {
        let free = disk::free(place)?;
        fits &= free >= *needed;
        evidence.push(format!("{needed} bytes needed at `{}`, {free} free", place.display()));
    }
    let evidence = evidence.join("; ");
    Ok(if fits { Seen::pass(evidence) } else { Seen::fail(evidence, "make room on that file system") })
}

pub(super) fn tablespaces(question: &Question<'_>) -> Result<Seen> {
    let found = control::tablespace_directories(question.old, question.major)?;
    let found: Vec<String> = found.iter().map(|path| path.display().to_string()).collect();
    Ok(Seen::list(
        &found,
        "none has a directory of that major",
        Seen::fail,
        "they are of another cluster or left over: look at them, and remove them if nobody needs them",
    ))
}

pub(super) fn wal(question: &Question<'_>) -> Seen {
    let path = question.old.data.join("pg_wal");
    match std::fs::read_link(&path) {
        Err(_) => Seen::pass("it is"),
        Ok(to) => Seen::warn(
            format!("`{}` leads to `{}`", path.display(), to.display()),
            "the new cluster will have its log inside its data directory; move it there afterwards if the disk matters",
        ),
    }
}

/// The files that `pg_upgradecluster` does not carry over, and the new server has to accept.
pub(super) fn settings(question: &Question<'_>, scratch: &crate::rehearsal::Scratch) -> Result<Seen> {
    let mut text = String::from("\n");
    let mut names = Vec::new();
    let mut parts = entries(&question.old.configuration.join("conf.d"))?;
    parts.sort();
    for path in parts.iter().filter(|path| path.extension().is_some_and(|end| end == "conf")) {
        text.push_str(&String::from_utf8_lossy(&files::read(path, 1 << 20)?));
        text.push('\n');
        names.push(path.display().to_string());
    }
    if names.is_empty() {
        return Ok(Seen::pass("there are none"));
    }
    Ok(match scratch.accepts(&text)? {
        None => Seen::pass(format!("they will be carried over: {}", shortened(&names))),
        Some(words) => Seen::fail(words, "take out of conf.d what the new major does not know"),
    })
}

#[cfg(test)]
mod tests {
    use mm_common::contract::sections::Status;

    use super::*;

    #[test]
    fn the_units_of_every_kind_of_binding_are_found_once() {
        let shown = "RequiredBy=\nRequisiteOf=wiki.service\nConsistsOf=\nBoundBy=mattermost.service wiki.service postgresql.service\n";
        assert_eq!(bound_units(shown), ["mattermost.service", "wiki.service"]);
        assert!(bound_units("BoundBy=\n").is_empty());
    }

    #[test]
    fn a_server_that_would_start_the_old_cluster_stands_in_the_way_and_others_do_not() {
        let units = ["mattermost.service".to_owned(), "wiki.service".to_owned()];
        let seen = |units: &[String], own| bound_by(units, own, "postgresql@15-main.service").status;
        assert_eq!(seen(&units, Some("mattermost.service")), Status::Fail);
        assert_eq!(seen(&units, Some("chat.service")), Status::Warn);
        assert_eq!(seen(&units, None), Status::Warn);
        assert_eq!(seen(&[], Some("mattermost.service")), Status::Pass);
    }
}
