//! The check of functions that somebody else than a superuser has written, and that a superuser would run.

use mm_common::Result;
use mm_common::contract::error::Kind;
use mm_common::postgres::fingerprint;
use mm_common::postgres::server::Database;

use super::{Question, Seen};
use crate::evidence;

/// The check of the proof. It cannot be accepted: the proof would be refused when the server is stopped.
pub(super) const FOREIGN: &str = "foreign-code";

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
