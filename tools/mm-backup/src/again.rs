//! The service after a restore: it runs again if it ran, and is waited for, with what is restored.

use std::time::Duration;

use mm_common::contract::error::Result;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::signals;
use mm_common::mattermost::health::Started;
use mm_common::mattermost::site::Installation;
use mm_common::run::Session;

/// Starts it after what is `done`, and waits until it is healthy.
///
/// # Errors
/// Failed when it cannot be started or does not get healthy; the rest is done all the same.
pub(crate) fn start(
    session: &mut Session,
    before: Installation,
    done: &str,
    limit: Duration,
    lock: &LockGuard,
) -> Result<()> {
    session.changed = true;
    // The restored configuration says where it listens, and the restored files what it is.
    let site = session.probe().unwrap_or(before);
    let _start = signals::finishing(format!(
        "{done}; the start of the server {} is waited for, mostly some seconds",
        site.version
    ));
    let attempt = |what: &str| format!("{done}, but the server {what}");
    let started = Started::command(&site, lock).map_err(|error| error.within(attempt("could not be started again")))?;
    started.wait(&site, limit, lock).map_err(|error| error.within(attempt("did not get healthy again")))
}
