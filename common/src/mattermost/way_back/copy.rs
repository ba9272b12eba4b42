//! The frozen copy of the database that a restore point has in the cluster: whether it can take the place of the database.

use super::{Hop, RestorePoint, administrator};
use crate::contract::error::Result;
use crate::mattermost::handed_on;
use crate::mattermost::site::Installation;
use crate::postgres::proven::Claim;

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
    match usable(point, site, claim) {
        Ok(None) => Look::NotFrozen,
        Ok(Some(None)) => Look::Usable(point),
        Ok(Some(Some(why))) => Look::Unusable(format!("the frozen copy of {} cannot be used: {why}", point.id)),
        Err(error) => Look::Unusable(format!(
            "whether the frozen copy of {} can be used cannot be told: {}",
            point.id,
            error.one_line()
        )),
    }
}

/// Why the copy of a restore point cannot be used, where it has one.
fn usable(point: &RestorePoint, site: &Installation, claim: &Claim<'_>) -> Result<Option<Option<String>>> {
    let path = point.store.join(&point.id);
    let name = site.source.as_ref().map_or("", |source| source.database.as_str());
    // What is wrong with the restore point itself is said of its dump.
    let Ok(held) = handed_on::held(&path, &point.id, &site.root, name) else { return Ok(None) };
    let Some(frozen) = held.frozen else { return Ok(None) };
    let admin = administrator(site, claim)?;
    if !admin.is_superuser {
        return Ok(Some(Some("no superuser can be reached".into())));
    }
    let Some(copy) = frozen.find(&admin.database)? else {
        return Ok(Some(Some(format!("the database {} is gone", frozen.copy))));
    };
    let found = frozen.changes(&copy, false)?.found;
    Ok(Some((!found.is_empty()).then(|| format!("it was changed: {}", found.join(", ")))))
}
