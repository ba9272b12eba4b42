//! The checks of functions that somebody else than a superuser has written, and that a superuser would run.

use mm_common::contract::error::Kind;
use mm_common::postgres::carried::{self, Way};
use mm_common::postgres::cluster::Cluster;
use mm_common::postgres::fingerprint;
use mm_common::postgres::server::Database;
use mm_common::{Error, Result};

use super::{Question, Seen};
use crate::evidence;
use crate::plan::Method;

/// The check of the proof. It cannot be accepted: the proof would be refused when the server is stopped.
pub(super) const FOREIGN: &str = "foreign-code";

/// The check of the upgrade itself.
pub(crate) const USER_CODE: &str = "user-code";

/// First major whose upgrades carry statistics over, as text that is read again.
const STATISTICS: u32 = 18;

/// Whether the proof can read every table without running functions of others as a superuser. What the tools keep is read
/// only where that is so ([`evidence::gather`]).
pub(super) fn foreign(question: &Question<'_>, databases: &[String]) -> Result<Seen> {
    let kept = evidence::kept(&Database::superuser(question.old, question.database)?)?;
    for name in databases.iter().filter(|name| !kept.contains(*name)) {
        match fingerprint::hold(&Database::superuser(question.old, name)?) {
            Err(error) if error.kind() == Kind::Refused => {
                let hint = error.next_step().unwrap_or_default().to_owned();
                return Ok(Seen::fail(error.one_line(), &hint));
            }
            other => drop(other?),
        }
    }
    Ok(Seen::pass("indexes, statistics and partitions call functions of superusers only"))
}

/// Whether the superuser who makes every object anew in the new cluster runs functions of users by that.
pub(super) fn carried(question: &Question<'_>) -> Result<Seen> {
    let (found, hints) = found(question.old, question.database, question.method, question.major)?;
    let hint = format!("{}; or let all of it run as a superuser: --accept {USER_CODE}", hints.join("; "));
    if found.is_empty() {
        return Ok(Seen::pass("what is computed by that calls functions of superusers only"));
    }
    // Each has to be judged, so each is named.
    Ok(Seen::fail(found.join("; "), hint))
}

/// The same of a cluster that nobody else can change any more: until it was shut, its users could.
///
/// # Errors
/// Refused when there is some, and it is not `accepted`.
pub(crate) fn require_none(
    old: &Cluster,
    entrance: &str,
    (method, major): (Method, u32),
    accepted: bool,
) -> Result<()> {
    let (found, hints) = found(old, entrance, Some(method), major)?;
    if found.is_empty() || accepted {
        return Ok(());
    }
    let error = Error::refused(format!("to upgrade {} would run code of its users as a superuser", old.label()));
    let error = found.into_iter().fold(error, Error::because);
    Err(error.because("it was not there before the service was stopped").hint(hints.join("; ")))
}

/// What is found in all databases, and what to do about it in each. One that takes no connections is carried by no method,
/// and is for another check.
fn found(old: &Cluster, entrance: &str, method: Option<Method>, major: u32) -> Result<(Vec<String>, Vec<String>)> {
    let way = Way { inserts_rows: method == Some(Method::Dump), sets_statistics: major >= STATISTICS };
    let (mut found, mut hints) = (Vec::new(), Vec::new());
    for name in evidence::databases(old, entrance)? {
        if let Some(code) = carried::code(&Database::superuser(old, &name)?, way)? {
            found.extend(code.places.iter().map(|place| format!("{name}: {place}")));
            hints.push(code.hint);
        }
    }
    Ok((found, hints))
}
