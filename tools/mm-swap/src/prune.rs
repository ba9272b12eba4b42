//! `mm-swap prune`: the one place where old releases are deleted, when asked to.

use std::path::{Path, PathBuf};

use mm_common::contract::error::{Error, Result};
use mm_common::contract::ui;
use mm_common::machine::state::KEPT_BY_RESTORE;
use mm_common::machine::tree;
use mm_common::machine::{checkpoint, door, files, pins};
use mm_common::mattermost::site;
use mm_common::run::Session;

use crate::operation::{self, Operation, Verdict};
use crate::{area, close, config};

/// Carries the verb out: keeps the newest `keep` retired releases.
pub(crate) fn prune(session: &mut Session, keep: usize) -> Result<String> {
    let ground = site::ground(&session.wanted()?)?;
    let guard = if session.dry_run { None } else { Some(ground.state.lock(session.lock_wait())?) };
    // A release that is half exchanged may be needed to finish or undo that.
    door::refuse_open(&ground.state, &ground.root, &[])?;
    let records = operation::records(&ground.state)?;
    let told = operation::last_finished(&records).filter(|last| last.is_rolled_back());
    let going = going(&records, keep, told)?;
    let known: Vec<PathBuf> = records.iter().map(|record| record.aside.clone()).collect();
    let place = area::place(&ground.root)?;
    let unknown = unknown(&place, &known)?;
    let mut bytes = 0;
    for path in going.iter().map(|record| &record.aside).chain(&unknown) {
        bytes += tree::size(path)?.bytes;
    }
    let count = ui::count(going.len() + unknown.len(), "release");
    let Some(lock) = guard else {
        let closed = close::foreseen(&ground, &records, &going)?;
        return Ok(format!("would remove {count}, {bytes} bytes{closed}"));
    };
    if files::look(&place)?.is_some() {
        area::check(&place)?;
    }
    for record in going {
        ui::say(&format!("removing {}", record.aside.display()));
        session.changed = true;
        tree::remove(&record.aside)?;
        files::remove_file(&config::copy_of(&ground.state, &record.id))?;
        checkpoint::pass("pruned-one");
        // That the last one has gone back is what keeps `mm-swap rollback` from going back over another one.
        if told != Some(record) {
            operation::forget(&ground.state, &record.id, &lock)?;
            if let Some(point) = &record.restore_point
                && pins::release_forgotten(&ground.state, &point.store, &point.id)?
            {
                ui::say(&format!("the restore point {} is no longer kept from retention", point.id));
            }
        }
    }
    for path in &unknown {
        ui::say(&format!("removing {}", path.display()));
        session.changed = true;
        tree::remove(path)?;
    }
    close::runs(session, &ground, &records, &lock)?;
    Ok(format!("removed {count}, {bytes} bytes"))
}

/// Undone swaps go; of the others the newest stay. Of the one whose record stays, `told`, only the release can go. Records
/// are oldest first.
fn going<'r>(records: &'r [Operation], keep: usize, told: Option<&Operation>) -> Result<Vec<&'r Operation>> {
    let done: Vec<&Operation> = records.iter().filter(|record| record.verdict == Verdict::Done).collect();
    let old = done.len().saturating_sub(keep);
    let mut going: Vec<&Operation> = done.into_iter().take(old).collect();
    for record in records.iter().filter(|record| record.verdict != Verdict::Done) {
        if told != Some(record) || files::look(&record.aside)?.is_some() {
            going.push(record);
        }
    }
    Ok(going)
}

/// Directories of the work area that no swap knows: staged and not used, or left by a run that was cut off. What restores
/// keep is theirs to prune.
pub(crate) fn unknown(area: &Path, known: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(area) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("list", area, error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| Error::io("list", area, error))?.path();
        let of_restore = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(KEPT_BY_RESTORE));
        if !of_restore && !known.contains(&path) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
