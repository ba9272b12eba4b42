//! Whether a move is needed: for the hop of the document, for any hop that remains, or for none.

#[cfg(not(feature = "mysql"))]
use mm_common::Error;
use mm_common::Result;
use mm_common::contract::sections::Path;
use mm_common::mattermost::site::Installation;
use mm_common::postgres::cluster;
use mm_common::run::Session;

use super::record::{Entry, Records};
use crate::{Options, wish};

/// What a hop of the document, or its absence, asks of this verb.
pub(super) enum Need {
    Nothing,
    /// The database is in a cluster of this machine: it is upgraded there.
    Bump,
    Move,
}

/// Whether the server works with MySQL or `MariaDB`.
pub(crate) fn is_mysql(installation: &Installation) -> bool {
    installation.config.driver() == "mysql"
}

#[cfg(not(feature = "mysql"))]
pub(crate) fn without_mysql() -> Error {
    Error::refused("the server works with MySQL, and this build of mm-pgbump cannot read that")
        .hint("take a package of the project; or build it with its default features")
}

/// What the hop of the document asks for, as the database is now.
///
/// # Errors
/// When the database cannot be asked.
pub(super) fn need(session: &Session, options: &Options, installation: &Installation) -> Result<Need> {
    // MySQL has no future, whatever the hop needs; and who names a restore point wants its database.
    if is_mysql(installation) || options.from_store.is_some() {
        return Ok(Need::Move);
    }
    let Some(path) = session.document.section::<Path>("path")? else { return Ok(Need::Move) };
    let Some(needed) = path.next.and_then(|hop| hop.needs.postgres) else { return Ok(Need::Nothing) };
    let database = installation.database()?;
    if database.major() >= needed {
        return Ok(Need::Nothing);
    }
    Ok(if cluster::of_database(&database)?.is_some() { Need::Bump } else { Need::Move })
}

/// Whether any hop of the document's way moves the database; without a way, that is what is asked for.
///
/// # Errors
/// When the database cannot be asked.
pub(crate) fn is_planned(session: &Session, options: &Options, installation: &Installation) -> Result<bool> {
    if is_mysql(installation) || options.from_store.is_some() {
        return Ok(true);
    }
    let Some(path) = session.document.section::<Path>("path")? else { return Ok(true) };
    let Some(needed) = path.hops.iter().filter_map(|hop| hop.needs.postgres).max() else { return Ok(false) };
    let database = installation.database()?;
    Ok(database.major() < needed && cluster::of_database(&database)?.is_none())
}

/// Whether a move is open, or was made in this hop by an earlier run whose report was lost.
pub(super) fn is_to_be_told(session: &Session, installation: &Installation) -> Result<bool> {
    let records = Records::at(installation.state.path());
    if records.journal.read::<Entry>()?.is_some() {
        return Ok(true);
    }
    let path: Option<Path> = session.document.section("path")?;
    let needs = path.and_then(|path| path.next).map(|hop| hop.needs);
    let asks = needs.is_some_and(|needs| needs.postgres.is_some() || needs.is_move);
    Ok(asks && !session.dry_run && made(session, installation, &records)?.is_some())
}

/// The move that this run of the document has made in this hop, where the server works with its target.
pub(super) fn made(session: &Session, installation: &Installation, records: &Records) -> Result<Option<Entry>> {
    let run = session.document.run()?.map(|run| run.id);
    let hop = wish::hop_of(session)?;
    let is_of_hop =
        |last: &Entry| Some(&last.moved.run) == run.as_ref() && wish::is_of_hop(last.hop.as_deref(), hop.as_deref());
    let Some(last) = records.last.read::<Entry>()?.filter(is_of_hop) else { return Ok(None) };
    if is_mysql(installation) || !last.moved.to.is(&installation.database()?)? {
        return Ok(None);
    }
    Ok(Some(last))
}
