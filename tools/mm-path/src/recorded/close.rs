//! `--close`: a run ends, and what it has pinned is released. This is all that mm-path ever writes.

use std::collections::BTreeSet;
use std::path::PathBuf;

use mm_common::contract::document::Document;
use mm_common::contract::error::Result;
use mm_common::contract::ui;
use mm_common::machine::runs::Ending;
use mm_common::machine::story::Story;
use mm_common::machine::{door, files, pins};
use mm_common::run::Session;
use serde_json::Value;

use super::Standing;
use crate::arguments::PathArguments;

/// Carries it out.
///
/// # Errors
/// Refused (exit 5) while something is open; `locked` (exit 75) while a tool works.
pub(crate) fn close(session: &mut Session, arguments: &PathArguments) -> Result<String> {
    let standing = Standing::find(session, arguments.run.as_deref())?;
    let Standing { root, state, run } = &standing;
    door::refuse_open(state, root, &[])?;
    let stores = Story::read(run).map(|story| stores(&story.base)).unwrap_or_default();
    let mut pinned = Vec::new();
    for store in stores {
        if files::look(&store)?.is_some() {
            let of_run = pins::all(&store)?.into_iter().filter(|pin| pin.run == run.id && pin.install == *root);
            pinned.extend(of_run.map(|pin| (store.clone(), pin.id)));
        }
    }
    let released = ui::count(pinned.len(), "restore point");
    if session.dry_run {
        return Ok(format!("would close the run {} and release {released}", run.id));
    }
    let _lock = state.lock(session.lock_wait())?;
    let _run = run.lock(session.lock_wait())?;
    for (store, id) in &pinned {
        session.changed |= pins::release(store, id)?;
    }
    match run.end()?.map(|end| end.ending) {
        Some(Ending::Closed) if pinned.is_empty() => return Ok(format!("the run {} is closed already", run.id)),
        Some(Ending::RolledBack | Ending::Closed) => {}
        Some(Ending::RollingBack) | None => {
            run.set_end(Ending::Closed, None)?;
            session.changed = true;
        }
    }
    Ok(format!("the run {} is closed; {released} released", run.id))
}

/// The stores that the restore points of a run are in.
fn stores(document: &Document) -> BTreeSet<PathBuf> {
    let done = document.get("done").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let sections = document.get("backup").into_iter().chain(done.iter().filter_map(|hop| hop.get("backup")));
    sections.filter_map(|backup| backup.get("store")?.as_str()).map(PathBuf::from).collect()
}
