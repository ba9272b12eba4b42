//! The schema migrations that a release carries, read in its server program without running it.
//!
//! The program holds the names of the scripts it embeds: `migrations/postgres/NNNNNN_NAME.up.sql`, and up to 10.x the
//! same below `migrations/mysql/` (seen in programs from 6.7 to 10.11; a packed one, as 5.37 is, tells nothing). Several
//! sets share a directory's name and the low numbers: that of the server and that of the configuration store, which has
//! 1 to 3. So a number may have several names.

mod compare;
mod scan;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use compare::{Comparison, RENUMBERED, renumbers};
pub use scan::Scanner;

/// The most migrations that are believed; releases have about 300, both engines counted.
const MOST: usize = 4096;

/// The longest name of a migration that is believed, in bytes; the longest known one has 57.
const LONGEST: usize = 128;

/// The migrations of a release, by number and name, ascending. Empty where nothing could be read: not known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// Those for PostgreSQL, the configuration store's among them.
    pub postgres: Vec<(u64, String)>,
    /// Those for MySQL. A database that was moved by hand carries their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mysql: Vec<(u64, String)>,
}

impl Carried {
    /// Whether anything is known.
    pub fn is_known(&self) -> bool {
        !self.postgres.is_empty()
    }

    /// Whether it is such as [`Scanner`] makes; the reason otherwise.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.postgres.len() + self.mysql.len() > MOST {
            return Err("it names more migrations than any release has".into());
        }
        match self.postgres.iter().chain(&self.mysql).find(|(_, name)| !is_name(name.as_bytes())) {
            Some((number, _)) => Err(format!("its migration {number} has a name that is none")),
            None => Ok(()),
        }
    }
}

/// Names may hold dots: `upgrade_channels_v6.0`.
fn is_name(name: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    !name.is_empty() && name.len() <= LONGEST && name.iter().all(plain)
}
