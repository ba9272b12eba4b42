//! Other nodes of a cluster: they go on writing to the old database, and nothing of that is moved.

use std::time::{Duration, Instant};

use mm_common::contract::ui;
use mm_common::mattermost::nodes;
use mm_common::postgres::server::Database;
use mm_common::{Error, Result};

use super::source::Source;
use crate::preflight::Seen;

/// The check, and what lets a move go on in spite of it.
pub(crate) const ACCEPT: &str = "move-nodes";

const HINT: &str = "stop every other node, and point it at the new database after the move; --accept move-nodes where they write nothing that is to be kept";

/// How long sessions may take to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether another node has reported itself.
pub(crate) fn look(source: &Source) -> Result<Seen> {
    let Some(names) = nodes::reporting(&source.own)? else {
        return Ok(Seen::pass("there is no table clusterdiscovery"));
    };
    let found = if names.len() > 1 { names } else { Vec::new() };
    Ok(Seen::list(&found, "this is the only one", Seen::fail, HINT))
}

/// From where else the role of the server is connected to the old database.
fn elsewhere(own: &Database) -> Result<Vec<String>> {
    let rows = own.rows(
        "SELECT DISTINCT COALESCE(pg_catalog.host(client_addr), 'a socket of its machine') AS place FROM pg_catalog.pg_stat_activity
         WHERE datname = pg_catalog.current_database() AND usename = current_user AND pid <> pg_catalog.pg_backend_pid()
           AND backend_type = 'client backend'
           AND pg_catalog.host(client_addr) IS DISTINCT FROM pg_catalog.host(pg_catalog.inet_client_addr()) ORDER BY 1",
    )?;
    Ok(rows.iter().filter_map(|row| row["place"].as_str().map(str::to_owned)).collect())
}

/// With our server stopped nobody else works as its role.
///
/// # Errors
/// Refused where somebody does, unless that was accepted.
pub(crate) fn require_gone(source: &Source, accepted: bool) -> Result<()> {
    let begun = Instant::now();
    let mut places = elsewhere(&source.own)?;
    while !places.is_empty() && !accepted && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(250));
        places = elsewhere(&source.own)?;
    }
    if places.is_empty() {
        return Ok(());
    }
    let role = &source.data.user;
    let said = format!("`{role}` is connected to the old database from {} too", places.join(", "));
    if accepted {
        ui::warn(&format!("{said}: what is written there from now on is not moved (accepted with --accept)"));
        return Ok(());
    }
    Err(Error::refused(said).because("what another node writes during and after the move is not moved").hint(HINT))
}
