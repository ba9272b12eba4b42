//! What the control file of a cluster says, by `pg_controldata`: which cluster it is, and whether anybody has written since.

use super::cluster::Cluster;
use super::programs::{Part, install};
use super::server;
use crate::contract::error::{Error, Result};
use crate::machine::command::{Cmd, TO_ASK};
use crate::machine::user::User;

/// The state of a cluster that was stopped in order.
const SHUT_DOWN: &str = "shut down";

/// What the control file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlFile {
    /// The number initdb gave the cluster.
    pub system_identifier: String,
    /// `shut down`, `in production`, ...
    pub state: String,
    /// The next transaction as of the last checkpoint, with its epoch (`0:731`). Of a cluster that is shut down it is the
    /// first that has not begun: as long as it is the same, nobody has written a row.
    pub next_transaction: String,
}

impl ControlFile {
    /// Whether the cluster was stopped in order.
    pub fn is_shut_down(&self) -> bool {
        self.state == SHUT_DOWN
    }

    fn parse(text: &str) -> Option<Self> {
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            line.map(|value| value.trim().to_owned())
        };
        Some(Self {
            system_identifier: value("Database system identifier")?,
            state: value("Database cluster state")?,
            next_transaction: value("Latest checkpoint's NextXID")?,
        })
    }
}

impl Cluster {
    /// What its control file says.
    ///
    /// # Errors
    /// Refused when the program that reads it is not installed; failed when there is no such file.
    pub fn control_file(&self) -> Result<ControlFile> {
        let program = server::program_of("pg_controldata", self.major).ok_or_else(|| {
            Error::refused(format!("the program `pg_controldata` of PostgreSQL {} is not installed", self.major))
                .hint(install(self.major, Part::Server))
        })?;
        let owner = User::named(&self.owner)?;
        let output =
            Cmd::new(program.display().to_string()).arg("-D").arg(&self.data).user(&owner).within(TO_ASK).run()?;
        ControlFile::parse(&output.text())
            .ok_or_else(|| Error::failed(format!("pg_controldata names no system identifier of {}", self.label())))
    }

    /// The number initdb gave this cluster, read from its files: a cluster is known by it, whatever port it is on. A
    /// major upgrade makes a new one.
    pub fn system_identifier(&self) -> Result<String> {
        Ok(self.control_file()?.system_identifier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_and_the_next_transaction_are_read() {
        let text = "pg_control version number:            1300\n\
                    Database system identifier:           7577\n\
                    Database cluster state:               shut down\n\
                    Latest checkpoint's NextXID:          1:731\n";
        let read = ControlFile::parse(text).unwrap();
        assert_eq!((read.system_identifier.as_str(), read.next_transaction.as_str()), ("7577", "1:731"));
        assert!(read.is_shut_down());
        assert!(!ControlFile::parse(&text.replace("shut down", "shut down in recovery")).unwrap().is_shut_down());
        assert_eq!(ControlFile::parse("Database system identifier: 7577\n"), None);
    }
}
