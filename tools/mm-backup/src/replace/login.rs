//! The role that the server will enter its database with, where a restored configuration names another one than the present
//! configuration, or another password: tried before anything is stopped.

use mm_common::contract::error::{Error, Result};
use mm_common::contract::ui;
use mm_common::mattermost::site::Installation;
use mm_common::postgres::server::Database;
use mm_common::postgres::source::DataSource;

use crate::configuration;

/// The database that every server has, for a role whose own is not there.
const FRONT: &str = "postgres";

/// The server of the present data source, entered as `login`: at its own place, or where that will lead (see
/// [`configuration::lead`]).
pub(super) fn enter(login: &DataSource, installation: &Installation) -> Result<Database> {
    let present = installation.database().ok();
    let there = present.as_ref().and_then(|present| configuration::started(present).ok());
    let moved = installation
        .source
        .as_ref()
        .filter(|present| (&present.host, present.port) != (&login.host, login.port))
        .map(|present| DataSource { host: present.host.clone(), port: present.port, ..login.clone() });
    let mut failed = None;
    for place in std::iter::once(login).chain(&moved) {
        for name in [login.database.as_str(), FRONT] {
            let source = DataSource { database: name.to_owned(), ..place.clone() };
            match Database::connect(&source, Some(&installation.owner)) {
                Ok(database) if there.is_none() || configuration::started(&database).ok() == there => {
                    return Ok(database);
                }
                Ok(_) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
    }
    Err(failed.unwrap_or_else(|| Error::failed("another database server answers where the data source leads")))
}

/// Says so where the restored configuration will not let the server into the database that is there: that may be wanted.
pub(crate) fn warn_shut_out(login: &DataSource, installation: &Installation) {
    if let Err(error) = require_let_in(login, installation) {
        ui::warn(&format!("{}; correct SqlSettings.DataSource in it before the server starts", error.one_line()));
    }
}

/// Whether the restored configuration lets the server into its database.
///
/// # Errors
/// Refused when its role does not get in, or not with its password.
pub(super) fn require_let_in(login: &DataSource, installation: &Installation) -> Result<()> {
    let Err(error) = enter(login, installation) else { return Ok(()) };
    let said = error.one_line();
    // Who may enter is looked at before the database is.
    if said.contains(&format!("database \"{}\" does not exist", login.database)) {
        return Ok(());
    }
    Err(Error::refused("the restored configuration would not let the server into its database").because(said).hint(format!(
        "let `{}` in as it was when the restore point was made (a password that was changed since: \\password in psql), then run this \
         again; or restore with --database and --path, which leave the configuration as it is",
        login.user
    )))
}
