//! Transactions that stay open while others work beside them.

use super::dump;
use crate::contract::error::{Context as _, Error, Result};
use crate::machine::command::{Cmd, Talk};

/// A transaction that keeps a view of the database for others. Dropping it ends the transaction.
#[derive(Debug)]
pub struct Snapshot(Standing);

impl Snapshot {
    pub(super) fn export(psql: &Cmd) -> Result<Self> {
        let script = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\nSELECT pg_catalog.pg_export_snapshot();\n";
        Standing::open(psql, script).map(Self).context(|| "cannot export a snapshot of the database".to_owned())
    }

    /// Its name, for `SET TRANSACTION SNAPSHOT` and `pg_dump --snapshot`.
    pub fn id(&self) -> &str {
        &self.0.said
    }
}

/// A transaction that stays open until this is dropped, and the line that it has said.
#[derive(Debug)]
pub(super) struct Standing {
    /// The line.
    pub(super) said: String,
    _talk: Talk,
}

impl Standing {
    /// Runs a script that begins a transaction and says one line at its end. It may wait for locks of others, as long as
    /// the session's `lock_timeout` lets it.
    ///
    /// # Errors
    /// Failed with the words of `psql` when it ends without a line. A signal that asks this tool to stop ends it, and so
    /// does what cancels the work that it is part of.
    pub(super) fn open(psql: &Cmd, script: &str) -> Result<Self> {
        let mut talk = psql.clone().interruptible().limit(dump::LIMIT).talk()?;
        let unlimited = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;
SELECT pg_catalog.count(pg_catalog.set_config(s.name, '0', false)) AS mm_set FROM pg_catalog.pg_settings s
 WHERE s.name OPERATOR(pg_catalog.=) 'transaction_timeout' \\gset
";
        // Nothing but this line comes before the transaction ends.
        let answer = talk.ask(&format!("{unlimited}{script}"), "\n")?;
        if talk.ended().is_some() {
            return Err(Error::failed("`psql` ended with its transaction, which was to stay open"));
        }
        Ok(Self { said: String::from_utf8_lossy(&answer).into_owned(), _talk: talk })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn one_that_waits_ends_when_the_work_it_is_part_of_is_cancelled() {
        let waiting = Cmd::new("sleep").arg("600").cancelled_by(&Arc::new(AtomicBool::new(true)));
        let error = Standing::open(&waiting, "").unwrap_err();
        assert_eq!(error.causes(), [crate::machine::command::CANCELLED]);
    }

    #[test]
    fn one_that_ends_stands_for_nothing() {
        let error = Standing::open(&Cmd::new("sh").args(["-c", "echo broken >&2; exit 3"]), "").unwrap_err();
        assert_eq!(error.causes(), ["exit status 3", "broken"]);
        assert_eq!(Standing::open(&Cmd::new("true"), "").unwrap_err().code(), 1);
    }
}
