//! The frozen copy of a restore point takes the place of the database: a change of names, whatever it holds.

use mm_common::contract::error::{Error, Result};
use mm_common::contract::shell;
use mm_common::contract::ui;
use mm_common::mattermost::site::Installation;
use mm_common::mattermost::way_back::{Administrator, administrator};
use mm_common::postgres::dump::identifier;
use mm_common::postgres::frozen::Frozen;
use mm_common::postgres::properties;
use mm_common::postgres::since;
use mm_common::postgres::tried;

use super::{Prepared, Way, beside, login, require_same_name};
use crate::complete;
use crate::fill::SUPERUSER_OBJECTS;
use crate::store::Point;

/// What gives a copy under its new name to its owner, and what closes it again under its old one.
pub(super) struct Opening {
    pub(super) open: String,
    pub(super) close: String,
}

/// A copy that can take the place of the database.
pub(crate) struct Copy<'a> {
    pub(super) frozen: &'a Frozen,
    pub(super) admin: Administrator,
}

/// The copy of a restore point, where it has one that can be used.
///
/// # Errors
/// Refused when it cannot be used and there is no dump either.
pub(super) fn look<'a>(point: &'a Point, installation: &Installation, how: &Way<'_>) -> Result<Option<Copy<'a>>> {
    let Some(part) = &point.head.frozen else { return Ok(None) };
    let frozen = &part.copy;
    let has_dump = point.head.database.is_some();
    let source = installation.source.as_ref().ok_or_else(|| Error::refused("the server does not use PostgreSQL"))?;
    require_same_name(point, &frozen.name, &source.database)?;
    let found = find(frozen, installation, how);
    let (admin, copy) = match found {
        Ok(Some(found)) => found,
        Ok(None) if has_dump => return Ok(None),
        Ok(None) => return Err(complete::gone(point, frozen)),
        Err(error) if has_dump => {
            ui::say(&format!("restoring the dump, for the frozen copy cannot be used: {}", error.one_line()));
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    if let Some(role) = since::missing(&admin.database, &frozen.opened_to())?.into_iter().next() {
        let why = format!("the role `{role}`, to which it is opened, is not there any more");
        if has_dump {
            ui::warn(&format!("restoring the dump, for the frozen copy `{}` cannot be used: {why}", frozen.copy));
            return Ok(None);
        }
        let sql = format!("CREATE ROLE {}", identifier(&role));
        let refused =
            format!("the frozen copy `{}` of the restore point {} cannot be used", frozen.copy, point.head.id);
        return Err(Error::refused(refused).because(why).hint(admin.database.shown(&sql)));
    }
    let changes = frozen.changes(&copy, false)?;
    let words = changes.found.join("; ");
    if words.is_empty() || how.accepts_changes {
        if !words.is_empty() {
            ui::warn(&format!("the frozen copy `{}` was changed: {words}", frozen.copy));
        }
        return Ok(Some(Copy { frozen, admin }));
    }
    if has_dump {
        ui::warn(&format!("restoring the dump, for the frozen copy `{}` was changed: {words}", frozen.copy));
        return Ok(None);
    }
    let root = shell::word(&installation.root);
    Err(Error::refused(format!("the frozen copy `{}` of the restore point {} was changed", frozen.copy, point.head.id))
        .because(words)
        .hint(format!(
            "to put it back as it is: mm-backup restore {} --database --install {root} --to {} --accept frozen-copy",
            point.head.id,
            shell::word(point.path.parent().unwrap_or(&point.path))
        )))
}

type Found = Option<(Administrator, mm_common::postgres::server::Database)>;

fn find(frozen: &Frozen, installation: &Installation, how: &Way<'_>) -> Result<Found> {
    let admin = administrator(installation, &how.claim)?;
    if !admin.is_superuser {
        return Err(Error::refused(format!("the frozen copy `{}` cannot be put back", frozen.copy))
            .because("that takes a superuser of the database server, and none can be reached")
            .hint("run this as root on the machine of the cluster, where `local all postgres peer` in pg_hba.conf lets it in"));
    }
    Ok(frozen.find(&admin.database)?.map(|copy| (admin, copy)))
}

impl Copy<'_> {
    /// Gives it its settings, which open it to nobody, and readies it for the change of names.
    pub(super) fn prepare(self, installation: &Installation, how: &Way<'_>) -> Result<Prepared> {
        let Self { frozen, admin: Administrator { database: admin, .. } } = self;
        let present = installation.database().ok();
        let could = present.as_ref().map(tried::now).unwrap_or_default();
        let own = match how.login {
            Some(login) => {
                login::require_let_in(login, installation)?;
                login::enter(login, installation).ok().map(|own| own.sibling(&frozen.name))
            }
            None => present,
        };
        let prepared = Prepared {
            target: frozen.name.clone(),
            new: frozen.copy.clone(),
            kept: beside(&frozen.name, &format!("_mm_before_{}", how.stamp)),
            said: format!("the frozen copy {}, renamed", frozen.copy),
            frozen: Some(Opening { open: frozen.opening(), close: frozen.closing() }),
            admin,
            untried: own.map(|own| (own, could)),
        };
        let mut settings = frozen.properties.clone();
        for left in prepared.leave_out_privileged(&mut settings, how.accepts_superuser_objects)? {
            ui::warn(&format!(
                "left out: {left}: it is a superuser's to set, and the database has not got it now; give --accept {SUPERUSER_OBJECTS} to take it over"
            ));
        }
        for (what, error) in properties::settle_closed(&prepared.admin, &prepared.new, &settings) {
            ui::warn(&format!("the frozen copy lacks what was set for it: {what} ({})", error.one_line()));
        }
        Ok(prepared)
    }
}
