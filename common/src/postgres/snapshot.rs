//! A view of a database that other sessions can share.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Stdio};

use crate::contract::error::{Error, Result};
use crate::machine::command::{self, Cmd};

/// A transaction that keeps a view of the database for others. Dropping it ends the transaction.
#[derive(Debug)]
pub struct Snapshot {
    id: String,
    child: Child,
}

impl Snapshot {
    pub(super) fn export(psql: &Cmd) -> Result<Self> {
        let mut child = psql.start(Stdio::piped(), Stdio::piped(), Stdio::piped())?;
        let script = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;\n\
                      BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\nSELECT pg_catalog.pg_export_snapshot();\n";
        let asked = child.stdin.as_mut().map(|stdin| stdin.write_all(script.as_bytes()).and_then(|()| stdin.flush()));
        let mut id = String::new();
        if let (Some(Ok(())), Some(stdout)) = (asked, child.stdout.as_mut()) {
            // Nothing but this line comes before the transaction ends, so the buffer holds back nothing; and the time
            // it may take is that of connecting, which has a limit.
            let _ = BufReader::new(stdout).read_line(&mut id);
        }
        let mut snapshot = Self { id: id.trim().to_owned(), child };
        if snapshot.id.is_empty() {
            let mut words = String::new();
            drop(snapshot.child.stdin.take());
            if let Some(mut stderr) = snapshot.child.stderr.take() {
                let _ = std::io::Read::read_to_string(&mut stderr, &mut words);
            }
            return Err(Error::failed("cannot export a snapshot of the database").because(command::tail(&words)));
        }
        Ok(snapshot)
    }

    /// Its name, for `SET TRANSACTION SNAPSHOT` and `pg_dump --snapshot`.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        command::kill_group(&mut self.child);
        let _ = self.child.wait();
    }
}
