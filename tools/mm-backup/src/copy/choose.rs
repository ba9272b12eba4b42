//! The restore point that a copy is made of: the one named, or the newest of what is installed. A newer one can be of another
//! release, when an upgrade has been rolled back.

use std::path::{Path, PathBuf};

use mm_common::contract::error::{Error, Result};
use mm_common::contract::version::Edition;
use mm_common::contract::{shell, ui};
use mm_common::mattermost::site::{self, Wanted};
use mm_common::run::Session;
use semver::Version;

use crate::store::{Point, Store};
use crate::whose::{self, Whose};

/// What is installed now.
struct Installed {
    version: Version,
    edition: Edition,
    database: Option<String>,
}

/// The restore point with this identifier (`latest`: the newest there is), or the newest of what is installed.
///
/// # Errors
/// Refused when there is none.
pub(crate) fn choose(session: &Session, store: &Path, id: Option<&str>) -> Result<Point> {
    let store = Store::open(store)?;
    let given = session.common.install.as_ref().map(|path| path.canonicalize().unwrap_or_else(|_| path.clone()));
    if let Some(id) = id.filter(|id| *id != "latest") {
        let point = store.find(id)?;
        return match given.filter(|install| *install != point.head.install) {
            None => Ok(point),
            Some(install) => {
                Err(Error::refused(format!("the restore point {id} is not one of `{}`", install.display()))
                    .because(format!("it was made of `{}`", point.head.install.display()))
                    .hint("leave out --install, or name another one (mm-backup list)"))
            }
        };
    }
    let mut points = store.list()?.0;
    let install = given.or_else(|| only_install(&points));
    points.retain(|point| install.as_ref().is_none_or(|install| point.head.install == *install));
    if let Some(install) = install.as_deref().filter(|install| install.join("bin/mattermost").exists()) {
        points = of_this_machine(&store, points, install)?;
    }
    let installed = install.as_deref().filter(|_| id.is_none()).and_then(|install| look(session, install));
    if let Some(now) = &installed {
        points.retain(|Point { head, .. }| {
            head.version == now.version
                && head.edition == now.edition
                && head.database_name() == now.database.as_deref()
        });
    }
    points.pop().ok_or_else(|| none(&store, install.as_deref(), installed.as_ref()))
}

/// Where one is installed, that one's: the newest of another machine is another server's.
fn of_this_machine(store: &Store, points: Vec<Point>, install: &Path) -> Result<Vec<Point>> {
    let (own, others) = Whose::at(install).divided(points);
    match others.last() {
        Some(other) if own.is_empty() => Err(Error::refused(format!(
            "there is no restore point of `{}` on this machine in `{}`",
            install.display(),
            store.path.display()
        ))
        .because(format!("the newest there, {}, is of {}", other.head.id, whose::place(&other.head)))
        .hint("name the one that is to be copied")),
        _ => Ok(own),
    }
}

/// The installation that all of them are of.
fn only_install(points: &[Point]) -> Option<PathBuf> {
    let first = &points.first()?.head.install;
    points.iter().all(|point| point.head.install == *first).then(|| first.clone())
}

fn look(session: &Session, install: &Path) -> Option<Installed> {
    if !install.join("bin/mattermost").exists() {
        return None;
    }
    let wanted = session.wanted().map(|wanted| Wanted { install: Some(install.into()), ..wanted });
    match wanted.and_then(|wanted| site::probe(&wanted)) {
        Ok(there) => Some(Installed {
            version: there.version,
            edition: there.edition,
            database: there.source.map(|source| source.database),
        }),
        Err(error) => {
            ui::warn(&format!("taking the newest restore point of any release: {}", error.one_line()));
            None
        }
    }
}

fn none(store: &Store, install: Option<&Path>, installed: Option<&Installed>) -> Error {
    let shown = store.path.display();
    let list = format!("mm-backup list --to {}", shell::word(&store.path));
    let (Some(install), Some(Installed { version, edition, database })) = (install, installed) else {
        return Error::refused(format!("there is no restore point in `{shown}` to copy")).hint(list);
    };
    let database = database.as_deref().unwrap_or("none");
    Error::refused(format!("there is no restore point of {version} {edition}, database {database}, in `{shown}`"))
        .because(format!("that is what is installed in `{}`", install.display()))
        .hint(format!(
            "make one: mm-backup --install {} --to {}; or name another one ({list})",
            shell::word(install),
            shell::word(&store.path)
        ))
}
