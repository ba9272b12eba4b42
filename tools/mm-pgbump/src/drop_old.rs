//! `mm-pgbump drop-old`: the old cluster goes, once the new one is known to be good.

use mm_common::contract::sections::Verify;
use mm_common::contract::ui;
use mm_common::machine::{door, pins};
use mm_common::mattermost::way_back::original;
use mm_common::postgres::cluster;
use mm_common::postgres::server::Database;
use mm_common::run::Session;
use mm_common::{Error, Result};
use serde_json::Value;

use crate::record::{Entry, Records};
use crate::references;
use crate::{control, moving};

/// Drops the cluster that the last upgrade left behind.
///
/// # Errors
/// Refused when the server does not work with the new cluster, when that needs files of the old one, when a restore point has
/// its database nowhere else, when the upgrade was made by this very run, or when no
/// mm-verify has been content since (and `force` is not given).
pub(crate) fn run(session: &mut Session, force: bool) -> Result<String> {
    session.refuse_open(&[])?;
    let installation = session.probe()?;
    let records = Records::at(installation.state.path());
    let wait = session.lock_wait();
    let guard = if session.dry_run { None } else { Some(installation.state.lock(wait)?) };
    door::refuse_open(&installation.state, &installation.root, &[])?;
    if moving::back::is_latest(installation.state.path())? {
        return Ok("nothing is dropped: a move leaves the old database as it was, and it is not ours to drop".into());
    }
    let Some(entry) = records.last.read::<Entry>()? else {
        return Ok("there is no old cluster to drop".into());
    };
    let database = installation.database()?;
    let serving = cluster::of_database(&database)?;
    if serving.as_ref().is_none_or(|serving| serving.label() != entry.to()) {
        return Err(Error::refused(format!("the server does not work with the cluster {}", entry.to())).because(
            serving.map_or("it works with none of this machine".into(), |now| format!("it works with {}", now.label())),
        ));
    }
    if session.document.run()?.is_some_and(|run| run.id == entry.run) {
        return Err(Error::refused(format!("the cluster {} was upgraded by this very run", entry.from()))
            .because("what an upgrade leaves behind is dropped by a later decision, never by its own run")
            .hint("mm-verify | mm-pgbump drop-old, without the document of the upgrade"));
    }
    if !force && !verified(session)? {
        return Err(Error::refused(format!("whether the cluster {} is good has not been verified", entry.to()))
            .because("the document holds no mm-verify without failures after the upgrade")
            .hint("mm-verify | mm-pgbump drop-old, or --force"));
    }
    original::refuse_needed(installation.state.path(), &installation.root)?;
    let Some(old) = entry.old_now()? else {
        return Ok(format!("the cluster {} is gone already", entry.from()));
    };
    if old.online {
        return Err(Error::refused(format!("the cluster {} runs", old.label()))
            .because("something uses it again")
            .hint(format!("find out what; then pg_ctlcluster {} {} stop", old.major, old.name)));
    }
    if let Some(new) = serving.filter(|_| !session.common.accepts(references::ID)) {
        let found = references::into_old(&old, &new, &Database::superuser(&new, &entry.database)?)?;
        if !found.is_empty() {
            let error = Error::refused(format!("the cluster {} needs files of {}", new.label(), old.label()));
            return Err(found.into_iter().fold(error, Error::because).hint(format!(
                "{}; --accept {} drops it all the same",
                references::HINT,
                references::ID
            )));
        }
    }
    let Some(lock) = guard else {
        return Ok(format!("would drop the cluster {} with `{}`", old.label(), old.data.display()));
    };
    control::drop_cluster(&old)?;
    session.changed = true;
    records.last.close(&lock)?;
    if let Some(point) = &entry.restore_point
        && pins::release_forgotten(&installation.state, &point.store, &point.id)?
    {
        ui::say(&format!("the restore point {} is no longer kept from retention", point.id));
    }
    Ok(format!("the cluster {} is dropped", old.label()))
}

/// Whether an mm-verify of this document has looked, and nothing failed.
fn verified(session: &Session) -> Result<bool> {
    let present: Option<Verify> = session.document.section("verify")?;
    let last = session.document.get("done").and_then(Value::as_array).and_then(|done| done.last()).cloned();
    let earlier = last.and_then(|hop| serde_json::from_value::<Verify>(hop.get("verify")?.clone()).ok());
    Ok(present.or(earlier).is_some_and(|verify| {
        let number = |status: &str| verify.counts.get(status).and_then(Value::as_u64).unwrap_or_default();
        number("fail") == 0 && number("pass") > 0
    }))
}
