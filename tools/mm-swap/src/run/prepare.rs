//! What is known of a swap before anything is done: all that can be refused is refused here.

use jiff::Timestamp;
use mm_common::contract::error::{Error, Result};
use mm_common::contract::sections::{Backup, ModifiedFile, Pgbump};
use mm_common::contract::{shell, ui};
use mm_common::machine::service::Manager;
use mm_common::mattermost::handed_on;
use mm_common::mattermost::manifest::Manifest;
use mm_common::mattermost::schema;
use mm_common::mattermost::site::Installation;
use mm_common::mattermost::way_back::{Bump, RestorePoint, original};
use mm_common::postgres::server::Database;
use mm_common::run::Session;

use crate::arguments::RunArguments;
use crate::hashed::Hashed;
use crate::observe::{self, Observed};
use crate::plan::{self, Plan};
use crate::target::{self, Target};
use crate::{allowed, restore_point, shape};

/// What is known before anything is done.
pub(super) struct Prepared {
    pub(super) database: Database,
    pub(super) old: Option<Manifest>,
    pub(super) observed: Observed,
    pub(super) plan: Plan,
    pub(super) restore_point: Option<RestorePoint>,
    pub(super) bump: Option<Bump>,
    pub(super) shape: shape::Shape,
    pub(super) excused: Vec<String>,
}

/// The restore point, when it is one of this installation. Who goes without one is not sent back to somebody else's.
fn own(
    point: Option<RestorePoint>,
    backup: Option<&Backup>,
    (site, database): (&Installation, &str),
    goes_without: bool,
) -> Result<Option<RestorePoint>> {
    match backup.map(|backup| handed_on::require_own(backup, &site.root, database)) {
        Some(Err(error)) if goes_without => {
            ui::warn(&format!("it is not kept as a way back: {}", error.one_line()));
            Ok(None)
        }
        Some(Err(error)) => Err(error),
        _ => Ok(point),
    }
}

/// Everything that can be refused is refused here, with nothing done.
pub(super) fn prepare(
    session: &Session,
    arguments: &RunArguments,
    site: &Installation,
    target: &Target,
) -> Result<Prepared> {
    let new = &target.manifest;
    if new.version < site.version {
        return Err(Error::refused(format!("{} is older than the installed {}", new.version, site.version))
            .because("an older server does not work on the database of a newer one")
            .hint(format!("to undo the last upgrade: mm-swap rollback --install {}", shell::word(&site.root))));
    }
    let base = session.common.state_dir.as_deref();
    if !session.common.accepts(allowed::ACCEPT) {
        allowed::refuse_jump(base, site, new)?;
    }
    if arguments.private && matches!(site.service.manager, Manager::Sysv { .. } | Manager::Supervisor { .. }) {
        return Err(Error::refused(format!("{} cannot start the server privately", site.service.manager.name()))
            .because("it hands no variables on for a single start")
            .hint("leave out --private"));
    }
    let backup: Option<Backup> = session.document.section("backup")?;
    let restore_point = restore_point::check(backup.as_ref(), arguments.restore_point(), Timestamp::now())?;
    let database = site.database()?;
    let name = name_before(session, &database.name)?;
    let restore_point = own(restore_point, backup.as_ref(), (site, &name), arguments.no_backup)?;
    if let Some(backup) = backup.as_ref().filter(|_| !arguments.no_backup)
        && let Some(left) = handed_on::needs_original(&backup.path)?
    {
        original::require_left(site.state.path(), &backup.id, &left, &database)?;
    }
    allowed::refuse_old_database(base, &database, new)?;
    let shape = shape::of(&database)?;
    allowed::refuse_clash(base, site, &shape.level, new)?;
    let mut excused = schema::missing_flags(&database, &site.version)?;
    excused.extend(schema::jobs_begun(&database)?);
    let old = target::installed(session, site)?;
    if old.is_none() {
        ui::warn(&format!(
            "the release {} has not been fetched, so files that only it has cannot be told from your own and stay",
            site.version
        ));
    }
    let theirs = observe::named_in_configuration(&site.root, &site.config);
    let observed = observe::observe(&site.root, &theirs)?;
    let plan = plan::plan(old.as_ref(), new, &observed.tree(), &theirs);
    refuse_conflicts(site, &plan)?;
    Ok(Prepared { database, old, observed, plan, restore_point, bump: bump(session)?, shape, excused })
}

/// What the database was called when the restore point was made: a move in this hop may have given it another name.
fn name_before(session: &Session, now: &str) -> Result<String> {
    let section: Option<Pgbump> = session.document.section("pgbump")?;
    let from = section.filter(|section| section.method.as_deref() == Some("move")).and_then(|section| section.from);
    let name = from.as_deref().and_then(|label| label.rsplit_once('/')).map(|(_, name)| name);
    Ok(name.unwrap_or(now).to_owned())
}

/// The upgrade of PostgreSQL that this hop has begun with.
fn bump(session: &Session) -> Result<Option<Bump>> {
    let section: Option<Pgbump> = session.document.section("pgbump")?;
    Ok(section.and_then(|section| Some(Bump { from: section.from?, to: section.to? })))
}

fn refuse_conflicts(site: &Installation, plan: &Plan) -> Result<()> {
    if plan.conflicts.is_empty() {
        return Ok(());
    }
    let error = Error::refused(format!("something in `{}` is in the way of the new release", site.root.display()));
    let error = plan.conflicts.iter().fold(error, |error, conflict| {
        error.because(format!("`{}`: {}", site.root.join(&conflict.path).display(), conflict.reason))
    });
    Err(error.hint("move it out of the way, then run this again"))
}

/// The files of the old release that somebody has changed.
pub(super) fn modified(site: &Installation, prepared: &Prepared) -> Result<Vec<ModifiedFile>> {
    match &prepared.old {
        // What mm-swap stage has read is as it was, or is read again.
        Some(old) => observe::modified(&site.root, old, &prepared.observed, &mut Hashed::read(&site.state)),
        None => Ok(Vec::new()),
    }
}
