//! The frozen copy of the database that a restore point has in the cluster: whether it can take the place of the database.

use super::{Hop, RestorePoint, administrator};
use crate::contract::error::Result;
use crate::mattermost::handed_on;
use crate::mattermost::site::Installation;
use crate::postgres::proven::Claim;
use crate::postgres::since;

/// What was found.
pub(super) enum Look<'a> {
    /// The database was not frozen for the hop.
    NotFrozen,
    /// It can.
    Usable(&'a RestorePoint),
    /// It cannot, and why.
    Unusable(String),
}

/// Looks whether the copy of the hop is there, and as it was made as far as that is known without reading it.
pub(super) fn look<'a>(hop: Hop<'a>, site: &Installation, claim: &Claim<'_>) -> Look<'a> {
    let Some(point) = hop.point else { return Look::NotFrozen };
    let found = seen(point, site, claim);
    found.unwrap_or_else(|error| {
        Look::Unusable(format!(
            "whether the frozen copy of {} can be used cannot be told: {}",
            point.id,
            error.one_line()
        ))
    })
}

fn seen<'a>(point: &'a RestorePoint, site: &Installation, claim: &Claim<'_>) -> Result<Look<'a>> {
    let path = point.store.join(&point.id);
    let name = site.source.as_ref().map_or("", |source| source.database.as_str());
    // What is wrong with the restore point itself is said of its dump.
    let Ok(held) = handed_on::held(&path, &point.id, &site.root, name) else { return Ok(Look::NotFrozen) };
    let Some(frozen) = held.frozen else { return Ok(Look::NotFrozen) };
    let unusable = |why: &str| {
        let id = &point.id;
        Ok(Look::Unusable(format!("the frozen copy of {id} cannot be used: {why}")))
    };
    let admin = administrator(site, claim)?;
    if !admin.is_superuser {
        return unusable("no superuser can be reached");
    }
    let Some(copy) = frozen.find(&admin.database)? else {
        return unusable(&format!("the database {} is gone", frozen.copy));
    };
    if let Some(role) = since::missing(&admin.database, &frozen.opened_to())?.first() {
        return unusable(&format!("the role {role}, to which it is opened, is not there any more"));
    }
    let found = frozen.changes(&copy, false)?.found;
    if found.is_empty() { Ok(Look::Usable(point)) } else { unusable(&format!("it was changed: {}", found.join(", "))) }
}
