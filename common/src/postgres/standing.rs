//! Transactions that stay open while others work beside them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::AsFd as _;
use std::process::{Child, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::contract::error::{Context as _, Error, Result};
use crate::machine::command::{self, Cmd};
use crate::machine::signals;

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
    child: Child,
}

impl Standing {
    /// Runs a script that begins a transaction and says one line at its end.
    ///
    /// # Errors
    /// Failed with the words of `psql` when it ends without a line; a signal that asks this tool to stop ends it.
    pub(super) fn open(psql: &Cmd, script: &str) -> Result<Self> {
        let child = psql.start(Stdio::piped(), Stdio::piped(), Stdio::piped())?;
        let mut standing = Self { said: String::new(), child };
        let unlimited = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;\n";
        let words = format!("{unlimited}{script}");
        let stdin = standing.child.stdin.as_mut();
        let asked = stdin.map(|stdin| stdin.write_all(words.as_bytes()).and_then(|()| stdin.flush()));
        if let (Some(Ok(())), Some(stdout)) = (asked, standing.child.stdout.as_mut()) {
            // It may wait for locks of others.
            while let Ok(0) = poll(&mut [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)], PollTimeout::from(200_u8)) {
                signals::check()?;
            }
            // Nothing but this line comes before the transaction ends, so the buffer holds back nothing.
            let _ = BufReader::new(stdout).read_line(&mut standing.said);
        }
        standing.said.truncate(standing.said.trim_end().len());
        if standing.said.is_empty() {
            let mut words = String::new();
            drop(standing.child.stdin.take());
            if let Some(mut stderr) = standing.child.stderr.take() {
                let _ = std::io::Read::read_to_string(&mut stderr, &mut words);
            }
            return Err(Error::failed("`psql` said nothing").because(command::tail(&words)));
        }
        Ok(standing)
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        command::kill_group(&mut self.child);
        let _ = self.child.wait();
    }
}
