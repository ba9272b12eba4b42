//! `mm-swap publish`: whatever version runs privately serves its users again, so that an upgrade that stops half-way
//! does not lock them out.

use std::time::Duration;

use mm_common::contract::error::Result;
use mm_common::machine::checkpoint;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::service::STOP_LIMIT;
use mm_common::machine::signals;
use mm_common::mattermost::site::{self, Installation};
use mm_common::run::Session;

use crate::launch::Launch;
use crate::operation::Operation;
use crate::{door, private, recover};

/// Carries the verb out.
pub(crate) fn publish(session: &mut Session, limit: Duration) -> Result<String> {
    let ground = site::ground(&session.wanted()?)?;
    if session.dry_run {
        return Ok(match private::noted(&ground.state)? {
            Some(address) => format!("would start the server on its public address instead of {address}"),
            None => "the server is public; nothing would be done".into(),
        });
    }
    let lock = door::lock(session, &ground.state)?;
    door::refuse_foreign_journal(&ground.state, &ground.root)?;
    if let Some(open) = Operation::open(&ground.state)? {
        recover::finish(session, open, &lock, limit)?;
    }
    let site = session.probe()?;
    let published = publish_if_private(session, &site, limit, &lock)?;
    Ok(published.unwrap_or_else(|| "the server is public already".into()))
}

/// Makes a private server public. Returns what was done, or nothing when it is public.
pub(crate) fn publish_if_private(
    session: &mut Session,
    site: &Installation,
    limit: Duration,
    lock: &LockGuard,
) -> Result<Option<String>> {
    if private::noted(&site.state)?.is_none() {
        return Ok(None);
    }
    signals::check()?;
    let _started = signals::finishing(format!(
        "the server {} starts again for its users; that is waited for, mostly some seconds",
        site.version
    ));
    session.changed = true;
    site.service.stop(STOP_LIMIT, lock)?;
    checkpoint::pass("publish-stopped");
    let launch = Launch { site, version: &site.version, private: None, database: None, excused: &[], limit };
    launch.command(lock)?.wait(lock)?;
    Ok(Some(format!("the server {} is public at {}", site.version, site.listen())))
}
