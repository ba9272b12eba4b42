//! What a restore needs is looked at and the restore worked out, in the same way for `--dry-run` and for a run. Nothing is touched.

use std::path::{Path, PathBuf};

use mm_common::contract::error::Result;
use mm_common::machine::disk;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::service::Service;
use mm_common::mattermost::site::Installation;
use mm_common::postgres::proven;
use mm_common::postgres::room;
use mm_common::postgres::server::Database;
use mm_common::postgres::source::DataSource;
use mm_common::run::Session;

use super::plan::{Below, Elsewhere, InPlace, InPlaceOf};
use crate::arguments::RestoreArguments;
use crate::manifest::{DatabasePart, Unstored};
use crate::replace::{self, Ready, Way};
use crate::restore_files::{self, Planned, Selection};
use crate::store::Point;
use crate::wish::Wish;
use crate::{complete, configuration, database, fill, flip, original, salvage, target};

/// What `--accept` lets through, and with how many threads the work is done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    database: bool,
    superuser_objects: bool,
    changes: bool,
    jobs: usize,
}

impl Terms {
    /// Those of this run.
    pub(crate) fn of(session: &Session, jobs: usize) -> Self {
        let accepts = |check| session.common.accepts(check);
        Self {
            database: accepts(proven::ACCEPT),
            superuser_objects: accepts(fill::SUPERUSER_OBJECTS),
            changes: accepts(complete::ACCEPT),
            jobs,
        }
    }

    /// How the database of an installation is put back.
    pub(crate) fn way<'a>(
        &self,
        installation: &'a Installation,
        login: Option<&'a DataSource>,
        stamp: &'a str,
        lock: Option<&'a LockGuard>,
    ) -> Way<'a> {
        Way {
            claim: database::claim(installation, self.database, lock),
            accepts_superuser_objects: self.superuser_objects,
            accepts_changes: self.changes,
            stamp,
            jobs: self.jobs,
            login,
        }
    }
}

/// Works out a restore into place. The lock is that of a run.
///
/// # Errors
/// Those that a restore ends with before it changes anything.
pub(crate) fn in_place<'a>(
    point: &'a Point,
    (wanted, wish, terms): (&RestoreArguments, &Wish, Terms),
    installation: Option<&'a Installation>,
    lock: Option<&LockGuard>,
) -> Result<InPlace<'a>> {
    let service = installation.map(|there| &there.service);
    let stop = target::refuse_running(service, &point.head.install, wanted)?;
    // A run that was cut off may have stopped it.
    let ran = service.map(Service::was_running).transpose()?.unwrap_or(false);
    let files = wish.files.as_ref().map(|selection| Planned::of(point, selection)).transpose()?;
    let stored = |path: &Path| -> Option<PathBuf> {
        let is_restored = wish.files.as_ref().is_some_and(|selection| selection.has(path));
        is_restored.then(|| point.path.join("files").join(path.strip_prefix("/").unwrap_or(path)))
    };
    let login = installation.map(|there| configuration::login(&point.head, &stored, there)).transpose()?.flatten();
    let exchanged = |there| database_of(point, there, login.as_ref(), terms, lock);
    let database = match (installation.filter(|_| wish.database), point.head.incomplete()) {
        (Some(there), Some(Unstored::Original(part))) => {
            // A run has stored it before this, or ends a restore that was cut off with it first.
            if lock.is_none() && flip::interrupted(&there.state)?.is_none() {
                original::require_there(there.state.path(), point)?;
                complete::require_space(point)?;
                replace::foretell(point, &part.database, there, &terms.way(there, login.as_ref(), "", None))?;
            }
            InPlaceOf::Unstored(&part.database)
        }
        (Some(there), _) => InPlaceOf::This(Box::new(exchanged(there)?)),
        (None, _) if wish.database => InPlaceOf::Configured,
        (None, _) => InPlaceOf::Nothing,
    };
    if let (Some(files), InPlaceOf::This(ready)) = (&files, &database) {
        for need in room::together(files.needs.iter().chain(ready.needs()).cloned().collect()) {
            disk::require(&need.place, need.bytes, "what is restored")?;
        }
    }
    Ok(InPlace { point, first: None, stop, files, database, login, start: wanted.stop && ran && !wanted.leave_stopped })
}

/// What a restore is refused for that is quickly looked at, before its database is stored, which takes long.
///
/// # Errors
/// Refused as [`in_place`] does it.
pub(crate) fn before_storing(
    point: &Point,
    (wanted, wish): (&RestoreArguments, &Wish),
    installation: Option<&Installation>,
) -> Result<()> {
    if wish.database && matches!(point.head.incomplete(), Some(Unstored::Original(_))) {
        let _running = target::refuse_running(installation.map(|there| &there.service), &point.head.install, wanted)?;
        let _planned = wish.files.as_ref().map(|selection| Planned::of(point, selection)).transpose()?;
    }
    Ok(())
}

/// Works out what takes the place of the database of an installation.
///
/// # Errors
/// As [`replace::ready`].
pub(crate) fn database_of<'a>(
    point: &'a Point,
    installation: &'a Installation,
    login: Option<&DataSource>,
    terms: Terms,
    lock: Option<&LockGuard>,
) -> Result<Ready<'a>> {
    replace::ready(point, installation, &terms.way(installation, login, "", lock))
}

/// Works out a restore that exchanges nothing.
///
/// # Errors
/// Refused when something is in the way, or there is no room.
pub(super) fn elsewhere<'a>(point: &'a Point, wanted: &'a RestoreArguments, wish: &'a Wish) -> Result<Elsewhere<'a>> {
    point.require_complete()?;
    let below = |(directory, selection): (&'a PathBuf, &'a Selection)| -> Result<Below<'a>> {
        restore_files::refuse_taken(point, selection, directory)?;
        // What an earlier one has put there is there.
        let places = if salvage::is_begun(directory, &point.head.id) { Vec::new() } else { vec![nearest(directory)] };
        let entries = restore_files::require_space(point, selection, &places)?;
        Ok(Below { directory, selection, entries })
    };
    let files = wanted.into.as_ref().zip(wish.files.as_ref()).map(below).transpose()?;
    let head = &point.head;
    let part = if wish.configuration { &head.config_database } else { &head.database };
    let filled = |(url, part): (&String, &'a DatabasePart)| -> Result<_> {
        let database = Database::connect(&DataSource::parse(url)?, None)?;
        target::refuse_filled(&database)?;
        Ok((database, part))
    };
    let database = wanted.into_database.as_ref().zip(part.as_ref()).map(filled).transpose()?;
    Ok(Elsewhere { files, database })
}

/// The directory that is there already of a path that is to be made.
fn nearest(path: &Path) -> PathBuf {
    let there = path.ancestors().find(|above| above.is_dir());
    there.filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}
