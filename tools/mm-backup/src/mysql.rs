//! The database of a server that works with MySQL or `MariaDB`: a dump of its own program is stored, with the rows of each table,
//! and is loaded by hand. None of our tools writes to MySQL.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use mm_common::contract::error::{Error, Result};
use mm_common::contract::sections::MysqlDump;
use mm_common::contract::{shell, ui};
use mm_common::machine::{checkpoint, files};
use mm_common::mattermost::site::Installation;
use mm_common::mysql::Address;
use mm_common::mysql::dump::{self, Dumper, Rows};
use serde::{Deserialize, Serialize};

use crate::database::{DIRECTORY, file_name, stored};
use crate::manifest::{Head, Stored};
use crate::store::Point;
use crate::verify::stored_fault;

/// The dump in a restore point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MysqlPart {
    /// The database's name.
    pub name: String,
    /// What the server says that it is.
    pub server_version: String,
    /// The program that wrote the dump.
    pub dumped_by: String,
    /// The dump, relative to the restore point.
    pub dump: Stored,
    /// Rows of every table in it.
    pub tables: Rows,
}

impl MysqlPart {
    /// The command that loads it into an empty database of its name.
    fn load(&self, point: &Path) -> String {
        let client = if self.dumped_by.to_ascii_lowercase().contains("mariadb") { "mariadb" } else { "mysql" };
        format!("zcat {} | {client} {}", shell::word(point.join(&self.dump.path)), shell::word(&self.name))
    }

    /// For the document, of a restore point that is, or will be, at `point`.
    pub(crate) fn told(&self, point: &Path) -> MysqlDump {
        MysqlDump {
            path: point.join(&self.dump.path),
            tables: self.tables.len(),
            rows: self.tables.values().sum(),
            load: self.load(point),
        }
    }

    /// `mattermost (10.11.19-MariaDB)`.
    pub(crate) fn in_words(&self) -> String {
        format!("{} (MySQL {})", self.name, self.server_version)
    }

    /// What is wrong with it in a restore point: it is hashed, and its rows are counted again.
    pub(crate) fn findings(&self, point: &Path) -> Vec<String> {
        let path = point.join(&self.dump.path);
        let counted = match dump::read(&path) {
            Ok(rows) if rows == self.tables => None,
            Ok(_) => Some(format!("`{}`: it holds other rows than those that were stored", path.display())),
            Err(error) => Some(error.one_line()),
        };
        stored_fault(point, &self.dump).into_iter().chain(counted).collect()
    }
}

/// Whoever dumps it; known before the server is stopped.
pub(crate) struct Ready {
    dumper: Dumper,
    name: String,
    server_version: String,
    /// Bytes of its tables in the server.
    pub(crate) bytes: u64,
}

impl Ready {
    /// Reaches it as the server does, and rehearses the dump.
    ///
    /// # Errors
    /// When no program for it is installed, or it cannot be dumped.
    pub(crate) fn of(installation: &Installation) -> Result<Self> {
        let address = Address::parse(installation.config.data_source()?.0.reveal())?;
        let dumper = Dumper::new(&address, &installation.owner)?;
        let (server_version, bytes) = dumper.rehearse()?;
        Ok(Self { dumper, name: address.database, server_version, bytes })
    }

    /// Writes the dump into `point`. With the server stopped, the tables are counted before and after it: what nobody has changed
    /// meanwhile has to be in the dump, row by row.
    pub(crate) fn store(&self, point: &Path, cold: bool, cancel: &Arc<AtomicBool>) -> Result<MysqlPart> {
        let directory = point.join(DIRECTORY);
        files::create_directory(&directory, 0o700)?;
        let path = Path::new(DIRECTORY).join(format!("{}.sql.gz", file_name(&self.name)));
        let before = if cold { Some(self.dumper.count()?) } else { None };
        let (tables, dumped_by) = self.dumper.dump(&point.join(&path), cancel)?;
        checkpoint::pass("mysql-dumped");
        if let Some(before) = before {
            require_all(&tables, &before, &self.dumper.count()?)?;
        }
        let dump = stored(point, path)?;
        let (name, server_version) = (self.name.clone(), self.server_version.clone());
        Ok(MysqlPart { name, server_version, dumped_by, dump, tables })
    }
}

/// Requires every row that was there before a dump and after it.
fn require_all(dumped: &Rows, before: &Rows, after: &Rows) -> Result<()> {
    let mut changed = Vec::new();
    for (table, now) in after {
        let then = before.get(table);
        if then != Some(now) {
            changed.push(table.as_str());
        } else if dumped.get(table) != Some(now) {
            let of_dump = dumped.get(table).map_or_else(|| "no such table".to_owned(), |rows| ui::count(*rows, "row"));
            return Err(Error::failed("the dump does not hold what the database does")
                .because(format!("{table}: {} in the database, {of_dump} in the dump", ui::count(*now, "row"))));
        }
    }
    if !changed.is_empty() {
        ui::warn(&format!("somebody else writes to the database while the server is stopped: {}", changed.join(", ")));
    }
    Ok(())
}

/// Says after a restore what it has not restored.
pub(crate) fn tell(point: &Point) {
    if let Some(part) = &point.head.mysql {
        ui::warn(&format!(
            "the database `{}` of MySQL is as it was; to load the stored one into an empty database: {}",
            part.name,
            part.load(&point.path)
        ));
    }
}

/// The refusal of a restore that asks for a database of ours.
pub(crate) fn no_database(head: &Head, point: &Path) -> Error {
    let refused = Error::refused(format!("the restore point {} holds no database of PostgreSQL", head.id));
    match &head.mysql {
        Some(part) => refused
            .because(format!("it holds a dump of `{}`, which is loaded by hand", part.in_words()))
            .hint(format!("into an empty database: {}", part.load(point))),
        None => refused.because("it was made with --no-database").hint("take another one (mm-backup list)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stood_still_has_to_be_in_the_dump() {
        let of = |posts: u64, jobs: u64| Rows::from([("Posts".to_owned(), posts), ("Jobs".to_owned(), jobs)]);
        require_all(&of(3, 5), &of(3, 5), &of(3, 5)).unwrap();
        // Whoever writes beside us changes nothing of that.
        require_all(&of(3, 5), &of(3, 4), &of(3, 6)).unwrap();
        for lost in [of(2, 5), Rows::from([("Jobs".to_owned(), 5)])] {
            assert_eq!(require_all(&lost, &of(3, 5), &of(3, 5)).unwrap_err().code(), 1);
        }
    }
}
