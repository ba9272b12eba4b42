//! Where a restored server looks for its database. Since the restore point was made that may have gone to another port
//! or host (`mm-pgbump --keep-port`): the old configuration would lead to a cluster that does not run any more, or worse,
//! to one that does and holds what was there before the move.

use std::path::{Path, PathBuf};

use mm_common::contract::error::{Error, Result};
use mm_common::contract::shell;
use mm_common::contract::ui;
use mm_common::machine::files;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::service::Manager;
use mm_common::mattermost::config::{Config, Copied, Replacement, address, environment};
use mm_common::mattermost::site::Installation;
use mm_common::postgres::server::Database;
use mm_common::postgres::source::DataSource;

use crate::manifest::{Head, What};
use crate::replace::{self, Prepared};
use crate::restore_files::Placed;
use crate::store::Point;

/// Lets the staged configuration lead to the database where the server's data is now, before anything is exchanged.
/// Returns what was changed, for people.
///
/// With a database to restore, that is where it goes. Without one the old data source is left alone as long as a server
/// answers there: whoever restores a configuration may want just that.
///
/// # Errors
/// Refused when the restored configuration names another database than the one that is restored.
pub(crate) fn lead(
    point: &Point,
    placed: Option<&Placed>,
    prepared: Option<&Prepared>,
    installation: &Installation,
    lock: &LockGuard,
) -> Result<Option<String>> {
    let Some(present) = &installation.source else { return Ok(None) };
    let staged = |path: &Path| placed.and_then(|placed| placed.staged(path));
    let copied = copied(&point.head, &staged, prepared, installation)?;
    let Some(old) = copied.data_source(installation.config.path.is_none()) else { return Ok(None) };
    if let (Some(name), Some(_), false) =
        (point.head.database_name(), prepared, is_set_elsewhere(&staged, installation)?)
    {
        replace::require_same_name(point, name, &old.database)?;
    }
    if place(&old) == place(present) || is_set_elsewhere(&staged, installation)? {
        return Ok(None);
    }
    let answer = Database::connect(&old, Some(&installation.owner)).and_then(|database| started(&database)).ok();
    let leaves = match prepared {
        Some(prepared) => answer != Some(started(prepared.admin())?),
        None => answer.is_none() && installation.database().is_ok(),
    };
    if !leaves {
        return Ok(None);
    }
    let mover = |text: &str| follow(text, &old, present);
    copied.lead(&installation.service, &mover, lock)?;
    Ok(Some(format!(
        "the configuration now looks for the database at {}, where the server's data is, and not at {}",
        shown(present),
        shown(&old)
    )))
}

/// The data source that the restored configuration has for the server, where it enters as another role or with another password
/// than now.
pub(crate) fn login(head: &Head, place_of: Copies<'_>, installation: &Installation) -> Result<Option<DataSource>> {
    let Some(present) = &installation.source else { return Ok(None) };
    if is_set_elsewhere(place_of, installation)? {
        return Ok(None);
    }
    let copied = copied(head, place_of, None, installation)?;
    let then = copied.data_source(installation.config.path.is_none());
    let password = |source: &DataSource| source.password.as_ref().map(|password| password.reveal().to_owned());
    Ok(then.filter(|then| then.user != present.user || password(then) != password(present)))
}

/// Where the copy is of what goes to a path; none where that is not restored.
type Copies<'a> = &'a dyn Fn(&Path) -> Option<PathBuf>;

/// The copies of all that may say where the database is.
fn copied(
    head: &Head,
    place_of: Copies<'_>,
    prepared: Option<&Prepared>,
    installation: &Installation,
) -> Result<Copied> {
    let root = &installation.root;
    let staged = |path: &Path| -> Result<Option<PathBuf>> {
        let Some(copy) = place_of(path) else { return Ok(None) };
        Ok(files::look(&copy)?.filter(std::fs::Metadata::is_file).map(|_| copy))
    };
    let config = installation.config.path.clone().unwrap_or_else(|| root.join("config/config.json"));
    let mut setters: Vec<PathBuf> =
        head.roots.iter().filter(|root| root.what == What::Service).map(|root| root.path.clone()).collect();
    setters.extend(installation.config.environment_files());
    if matches!(installation.service.manager, Manager::Exec | Manager::Command { .. }) {
        setters.push(root.join(environment::DOCUMENTED));
    }
    let setters: Result<Vec<_>> = setters.iter().filter_map(|path| staged(path).transpose()).collect();
    let copied = Copied::of_files(staged(&config)?.as_deref(), &setters?)?;
    match prepared {
        Some(prepared) => copied.with_database(prepared.database()),
        None => Ok(copied),
    }
}

/// Whether a variable that stays as it is says where the database is, whatever the restored configuration says.
fn is_set_elsewhere(place_of: Copies<'_>, installation: &Installation) -> Result<bool> {
    let Some(variable) = environment::find(&installation.config.overrides, "MM_SQLSETTINGS_DATASOURCE") else {
        return Ok(false);
    };
    let Some(copy) = variable.file.as_ref().and_then(|file| place_of(file)) else { return Ok(true) };
    Ok(files::look(&copy)?.is_none())
}

/// The server of the present data source, when a restored one leads to where the old one did.
fn follow(text: &str, old: &DataSource, present: &DataSource) -> Result<Vec<Replacement>> {
    let is_local =
        |host: &str| matches!(host, "localhost" | "::1") || host.starts_with("127.") || host.starts_with('/');
    match DataSource::parse(text) {
        Ok(source) if place(&source) == place(old) => address::replacements(text, &present.host, present.port),
        // The same place by another name: it keeps that name where only the port is another one.
        Ok(source)
            if source.port == old.port && old.host == present.host && is_local(&source.host) && is_local(&old.host) =>
        {
            address::replacements(text, &source.host, present.port)
        }
        _ => Ok(Vec::new()),
    }
}

fn place(source: &DataSource) -> (&str, u16) {
    (&source.host, source.port)
}

fn shown(source: &DataSource) -> String {
    format!("{}, port {}", source.host, source.port)
}

/// The start of a database server to the microsecond: there is no second one with it.
pub(crate) fn started(database: &Database) -> Result<String> {
    let started =
        database.value("SELECT extract(epoch FROM pg_catalog.pg_postmaster_start_time())::pg_catalog.text")?;
    Ok(started.as_str().unwrap_or_default().to_owned())
}

/// Proves, when the files are in their places and the database is not, that the server will find it.
///
/// # Errors
/// When it would look elsewhere: it is written in a way that could not be followed.
pub(crate) fn prove(installation: &Installation, prepared: &Prepared) -> Result<()> {
    let Some(present) = &installation.source else { return Ok(()) };
    let config = Config::load(&installation.root, &installation.owner, &installation.service.manager)?;
    let source = DataSource::parse_for(config.data_source()?.0.reveal(), &installation.owner.name)?;
    if place(&source) == place(present) {
        return Ok(());
    }
    let there = Database::connect(&source, Some(&installation.owner)).and_then(|database| started(&database));
    if there.is_ok_and(|there| started(prepared.admin()).is_ok_and(|here| here == there)) {
        return Ok(());
    }
    Err(Error::failed("the restored configuration does not lead to the restored database")
        .because(format!("it names {}; the server's data is at {}", shown(&source), shown(present)))
        .hint("restore the database with --database and the files with --path, which leave the configuration as it is; or, after mm-pgbump --keep-port, take that back first: mm-pgbump rollback"))
}

/// A configuration in a database of its own is not restored into place, nor is a database of MySQL.
pub(crate) fn tell(point: &Point, with_files: bool) {
    crate::mysql::tell(point);
    if let (Some(part), true) = (&point.head.config_database, with_files) {
        ui::warn(&format!(
            "the configuration in the database `{}` is as it was before; to restore it: {}",
            part.name,
            command(point)
        ));
    }
}

/// How the database of the configuration is restored: into an empty one, which is compared with the manifest.
fn command(point: &Point) -> String {
    format!(
        "mm-backup restore {} --to {} --config --into-database URL (of an empty database)",
        point.head.id,
        shell::word(point.path.parent().unwrap_or(&point.path))
    )
}

/// The configuration tells where the server's database is, and may be lost with the database it was in.
pub(crate) fn lost(point: &Point, error: Error) -> Error {
    match &point.head.config_database {
        Some(part) => error.with_hint(format!(
            "if the database `{}` with the configuration is lost: {}; then run this again",
            part.name,
            command(point)
        )),
        None => error,
    }
}
