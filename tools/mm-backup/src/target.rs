//! What is there where a restore goes: the install root, the server in it, what others have left open, a database of its own.

use std::path::{Path, PathBuf};

use mm_common::contract::error::{Error, Result};
use mm_common::contract::ui;
use mm_common::machine::service::{Service, process};
use mm_common::machine::state::State;
use mm_common::machine::{door, files};
use mm_common::mattermost::site::{DEFAULT_ROOT, Installation, Supposed};
use mm_common::postgres::fingerprint;
use mm_common::postgres::server::Database;
use mm_common::run::Session;

use crate::arguments::RestoreArguments;
use crate::flip;
use crate::store::Point;
use crate::wish::Wish;

/// The install root to restore into.
///
/// # Errors
/// Refused when the restore point is of another one.
pub(crate) fn own_root(session: &Session, point: &Point) -> Result<PathBuf> {
    let install = asked_root(session)?.unwrap_or_else(|| point.head.install.clone());
    if install != point.head.install {
        return Err(Error::refused(format!(
            "the restore point {} is not one of `{}`",
            point.head.id,
            install.display()
        ))
        .because(format!("it was made of `{}`", point.head.install.display()))
        .hint("give --into DIR to restore it elsewhere"));
    }
    Ok(install)
}

/// The installation as it is; absent when there is nothing to observe, and the files come first.
pub(crate) fn observe(
    session: &mut Session,
    point: &Point,
    wish: &Wish,
    install: &Path,
) -> Result<Option<Installation>> {
    let supposed = Supposed { version: point.head.version.clone(), edition: point.head.edition };
    match session.probe() {
        // The database alone does not wait for its server to be fixed.
        Err(_) if wish.files.is_none() => session.probe_ruin(&supposed).map(Some),
        Ok(installation) => Ok(Some(installation)),
        Err(error) if wish.files.is_some() && process::servers(install).is_empty() => {
            ui::say(&format!("restoring without looking at the installation: {}", error.one_line()));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whether the server runs.
///
/// # Errors
/// Refused when it does and `--stop` is not given.
pub(crate) fn refuse_running(there: Option<&Service>, install: &Path, wanted: &RestoreArguments) -> Result<bool> {
    let running = there.map(Service::is_running).transpose()?.unwrap_or(false);
    if running && !wanted.stop {
        return Err(Error::refused(format!("the server in `{}` is running", install.display()))
            .because("it would go on working with what is exchanged under it")
            .hint("stop it, or give --stop to have it stopped and started again"));
    }
    Ok(running)
}

/// Another tool was cut off in the middle of something: that comes first. mm-swap asks for the database alone in the middle
/// of its own undoing.
pub(crate) fn refuse_foreign_journals(state: &State, install: &Path, wish: &Wish) -> Result<()> {
    match wish.files {
        None => door::refuse_open_unless_asked(state, install, &[flip::JOURNAL]),
        Some(_) => door::refuse_open(state, install, &[flip::JOURNAL]),
    }
}

/// The install root that the flags name, or the default one. It need not be there.
pub(crate) fn root(session: &Session) -> Result<PathBuf> {
    Ok(asked_root(session)?.unwrap_or_else(|| DEFAULT_ROOT.into()))
}

/// The install root that the flags name, resolved.
pub(crate) fn asked_root(session: &Session) -> Result<Option<PathBuf>> {
    let Some(given) = &session.common.install else { return Ok(None) };
    // It may be gone; then its parent tells.
    if files::look(given)?.is_some() {
        return std::fs::canonicalize(given).map(Some).map_err(|error| Error::io("resolve", given, error));
    }
    let parent = given.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent = std::fs::canonicalize(parent).unwrap_or_else(|_| parent.into());
    Ok(Some(given.file_name().map_or(parent.clone(), |name| parent.join(name))))
}

/// What is restored elsewhere goes into an empty database.
pub(crate) fn refuse_filled(database: &Database) -> Result<()> {
    let tables = fingerprint::names(database)?;
    let Some(table) = tables.first() else { return Ok(()) };
    Err(Error::refused(format!("the database `{}` is not empty", database.name))
        .because(format!("it has the table {table} and {} more", tables.len() - 1))
        .hint("name an empty one with --into-database"))
}
