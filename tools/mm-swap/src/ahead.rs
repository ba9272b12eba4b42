//! `mm-swap stage`: unpacks and checks the release of the next hop beside the install root while the old server runs, so that
//! the hop itself, with the server stopped, finds it there.

use mm_common::contract::error::{Error, Result};
use mm_common::contract::shell;
use mm_common::machine::{door, files};
use mm_common::mattermost::site;
use mm_common::run::Session;

use crate::arguments::StageArguments;
use crate::hashed::Hashed;
use crate::{area, observe, stage, target};

/// Carries the verb out. Nothing to do, as at the end of a path, is no error.
///
/// # Errors
/// Refused when a swap is open, the release is older than the installed one, or the disk is too small. Whether
/// the jump is one that the rules allow is the run's to say.
pub(crate) fn stage(session: &mut Session, arguments: &StageArguments) -> Result<String> {
    let path: Option<mm_common::contract::sections::Path> = session.document.section("path")?;
    if arguments.archive.is_none() && path.as_ref().is_some_and(|path| path.next.is_none()) {
        return Ok("there is no next hop: nothing to stage".into());
    }
    if target::is_of_database_alone(session, arguments.archive.as_deref())? {
        return Ok("the next hop changes the database alone: nothing to stage".into());
    }
    let ground = site::ground(&session.wanted()?)?;
    let lock = if session.dry_run { None } else { Some(ground.state.lock(session.lock_wait())?) };
    // A release that is half exchanged may be needed to finish or undo that.
    door::refuse_open(&ground.state, &ground.root, &[])?;
    if session.dry_run && arguments.archive.is_none() && target::unfetched(session)?.is_some() {
        return Ok("would unpack the release of the next hop once it has been fetched".into());
    }
    let site = session.probe()?;
    let target = target::of(session, arguments.archive.as_deref())?;
    let new = &target.manifest;
    if site.version == new.version && site.edition == new.edition {
        return Ok(format!("{} is installed already: nothing to stage", site.version));
    }
    if new.version < site.version {
        return Err(Error::refused(format!("{} is older than the installed {}", new.version, site.version))
            .hint(format!("to undo the last upgrade: mm-swap rollback --install {}", shell::word(&site.root))));
    }
    stage::require_space(&site.root, new)?;
    let place = stage::place(&area::place(&site.root)?, new);
    let there = files::look(&place)?.is_some();
    let Some(lock) = lock else {
        return Ok(format!("would unpack {} into {}", new.version, place.display()));
    };
    let theirs = observe::named_in_configuration(&site.root, &site.config);
    let observed = observe::observe(&site.root, &theirs)?;
    let staged = stage::stage(&site.root, &target.archive, new, &observed, &lock)?;
    target::refuse_misnamed(&target, &staged, &site)?;
    if let Some(old) = target::installed(session, &site)? {
        let mut hashed = Hashed::default();
        observe::modified(&site.root, &old, &observed, &mut hashed)?;
        hashed.write(&site.state, &lock)?;
    }
    session.changed = !there;
    let word = if there { "stands ready" } else { "was unpacked" };
    Ok(format!("{} {word} in {}", new.version, staged.display()))
}
