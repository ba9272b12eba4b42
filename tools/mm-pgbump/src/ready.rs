//! What an upgrade needs is looked at and the upgrade worked out, in the same way for `--dry-run` and for `run`.

use mm_common::Result;
use mm_common::contract::sections::Status;
use mm_common::contract::ui;
use mm_common::machine::lock::LockGuard;
use mm_common::mattermost::site::Installation;
use mm_common::run::Session;

use crate::plan::{self, Before, Upgrade};
use crate::preflight::{self, Target};
use crate::repoint::{self, End};
use crate::wish::Wish;
use crate::{Options, check, wish};

/// An upgrade that nothing stands against.
pub(crate) struct Ready {
    pub(crate) wish: Wish,
    pub(crate) plan: Upgrade,
    /// Where the old cluster answers.
    pub(crate) from_end: End,
}

/// Looks at everything; nothing where no upgrade is wanted. The lock is that of a run.
///
/// # Errors
/// Refused (exit 5) when something stands in the way; the checks are in the document.
pub(crate) fn ready(
    session: &mut Session,
    options: &Options,
    installation: &Installation,
    lock: Option<&LockGuard>,
) -> Result<Option<Ready>> {
    let Some(wish) = wish::find(session, options, installation)? else { return Ok(None) };
    let question = wish.question(options, lock);
    let mut findings = preflight::look(&question);
    findings.accept(&session.common.accept);
    check::set(session, &findings)?;
    for check in findings.checks.iter().filter(|check| check.status == Status::Warn) {
        ui::warn(&format!("{} [{}]: {}", check.title, check.id, check.evidence));
    }
    if let Some(refusal) = findings.refusal(&question.obstacle()) {
        return Err(refusal);
    }
    let from_end = End::of(&wish.old, installation.source.as_ref().map(|source| source.host.as_str()))?;
    if options.keep_port {
        repoint::rehearse(installation, &from_end)?;
    }
    let before = match preflight::target(&question)? {
        Target::Free | Target::Taken(_) => Before::Nothing,
        Target::Empty(empty) => Before::Drop(empty),
        Target::RolledBack(kept) => Before::Rename(kept),
    };
    let plan = Upgrade {
        major: wish.major,
        method: plan::method(options.method, findings.clone_works),
        data: wish.data.clone(),
        log: plan::new_log(&wish.old.log, wish.major, &wish.old.name),
        keep_port: options.keep_port,
        force_packages: findings.warns(preflight::PACKAGES),
        before,
        leave_stopped: options.leave_stopped,
        old: wish.old.clone(),
    };
    Ok(Some(Ready { wish, plan, from_end }))
}
