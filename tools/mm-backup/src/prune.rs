//! `prune`: removes restore points that need not be kept, and what restores have kept of before.

use std::path::Path;

use mm_common::contract::error::{Error, Result};
use mm_common::contract::ui;
use mm_common::machine::door;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::pins::{self, Pin};
use mm_common::machine::state::State;
use mm_common::machine::{files, tree};
use mm_common::mattermost::site::Installation;
use mm_common::postgres::proven;
use mm_common::run::Session;

use crate::arguments::BackupArguments;
use crate::copies::{self, Going};
use crate::manifest::Unstored;
use crate::pinning::RELEASED_BY;
use crate::retention::{self, Keep};
use crate::store::{Point, Store};
use crate::whose::Whose;
use crate::{database, kept, original, replace};

/// The verb.
pub(crate) fn prune(session: &mut Session, arguments: &BackupArguments, keep: Keep) -> Result<String> {
    let store = Store::open(&arguments.store)?;
    session.refuse_open(&[])?;
    let installation = session.probe()?;
    let lock = installation.state.lock(session.lock_wait())?;
    // What a restore that was cut off has kept is what it is undone with.
    door::refuse_open(&installation.state, &installation.root, &[])?;
    let has_copies = !copies::all(&installation.state)?.is_empty();
    if !keep.is_given() && !has_copies && kept::all(&installation.state)?.is_empty() {
        return Err(Error::usage("nothing says which restore points to keep")
            .hint("give --keep-last N or another of the --keep flags"));
    }
    let Superfluous { ids: superfluous, pinned, others } = if keep.is_given() {
        superfluous(&store, &installation.root, &installation.state, keep)?
    } else {
        <_>::default()
    };
    if others > 0 {
        let (are, root) = (ui::count(others, "restore point"), installation.root.display());
        ui::say(&format!("neither counted nor removed: {are} of `{root}` that other machines have made"));
    }
    let before = kept::all(&installation.state)?;
    if session.dry_run {
        tell(&pinned);
        let words: Vec<String> = before.iter().map(|(_, kept)| kept.in_words()).collect();
        return Ok(format!("would remove {}", [superfluous, words].concat().join(", ")));
    }
    copies::follow(&installation.state, &store, &lock)?;
    remove(&store, &superfluous, &lock)?;
    for (record, kept) in &before {
        for directory in &kept.directories {
            tree::remove_without_links(directory)?;
        }
        for database in &kept.databases {
            replace::drop_kept(&installation, database)?;
        }
        kept::forget(record, &lock)?;
    }
    let claim = database::claim(&installation, session.common.accepts(proven::ACCEPT), Some(&lock));
    let copies = copies::sweep(&installation, &claim, Going::Released, &lock)?;
    tell(&pinned);
    session.changed |= !superfluous.is_empty() || !before.is_empty() || copies > 0;
    let mut said = format!(
        "{} removed, {} that restores had kept",
        ui::count(superfluous.len(), "restore point"),
        ui::count(before.len(), "thing")
    );
    if copies > 0 {
        said = format!("{said}, {}", ui::count(copies, "frozen copy"));
    }
    let are = if pinned.len() == 1 { "is" } else { "are" };
    Ok(if pinned.is_empty() { said } else { format!("{said}, {} kept that {are} pinned", pinned.len()) })
}

/// After `create`: the same without what restores have kept.
pub(crate) fn after_create(store: &Store, there: &Installation, keep: Keep, lock: &LockGuard) -> Result<usize> {
    let superfluous = superfluous(store, &there.root, &there.state, keep)?;
    copies::follow(&there.state, store, lock)?;
    remove(store, &superfluous.ids, lock)?;
    copies::sweep(there, &database::claim(there, false, Some(lock)), Going::Released, lock)?;
    tell(&superfluous.pinned);
    Ok(superfluous.ids.len())
}

/// What the flags do not keep.
#[derive(Default)]
struct Superfluous {
    /// What goes.
    ids: Vec<String>,
    /// What would go if it were not pinned.
    pinned: Vec<Pin>,
    /// How many of other machines there are at this place, which the flags do not count.
    others: usize,
}

/// Says what is kept although the flags do not keep it, and why.
fn tell(pinned: &[Pin]) {
    for pin in pinned {
        ui::say(&format!("kept the restore point {}: {}", pin.id, pin.in_words()));
    }
    if !pinned.is_empty() {
        ui::say(RELEASED_BY);
    }
}

fn superfluous(store: &Store, install: &Path, state: &State, keep: Keep) -> Result<Superfluous> {
    let pins = pins::all(&store.path)?;
    let whose = Whose::at(install);
    let (points, others): (Vec<Point>, Vec<Point>) = store
        .list()?
        .0
        .into_iter()
        .filter(|point| point.head.install == *install)
        .partition(|point| whose.may_remove(&point.head));
    let journals = journals(state)?;
    let copies = copies::all(state)?;
    let is_there = |id: &str, unstored: Unstored<'_>| match unstored {
        Unstored::Copy(part) => copies.iter().any(|record| record.copy == part.copy.copy),
        // One that cannot be looked at may be there.
        Unstored::Original(_) => original::is_left(state, id).unwrap_or(true),
    };
    let points: Vec<retention::Point> = points
        .iter()
        .map(|Point { head, .. }| {
            Ok(retention::Point {
                id: head.id.clone(),
                created: head.created.parse().map_err(|error| Error::io("read", head.id.as_str(), error))?,
                // A frozen one has its database elsewhere, which is for the next run to complete.
                needed: journals.iter().any(|journal| journal.contains(&head.id))
                    || head.incomplete().is_some_and(|unstored| is_there(&head.id, unstored)),
                incomplete: head.incomplete().is_some(),
            })
        })
        .collect::<Result<_>>()?;
    let (pinned, ids): (Vec<String>, Vec<String>) =
        retention::superfluous(&points, keep).into_iter().partition(|id| pins.iter().any(|pin| pin.id == *id));
    let others = others.len();
    Ok(Superfluous { ids, others, pinned: pins.into_iter().filter(|pin| pinned.contains(&pin.id)).collect() })
}

/// The journals of all tools: a restore point that one of them names is needed to undo what it began.
fn journals(state: &State) -> Result<Vec<String>> {
    if files::look(state.path())?.is_none() {
        return Ok(Vec::new());
    }
    let names = tree::Dir::open(state.path())?.names()?;
    let journals = names.into_iter().filter(|name| Path::new(name).extension().is_some_and(|end| end == "journal"));
    journals.map(|name| files::read_text(&state.path().join(name), 64 << 20)).collect()
}

fn remove(store: &Store, ids: &[String], _lock: &LockGuard) -> Result<()> {
    for id in ids {
        store.remove(id)?;
        ui::say(&format!("removed the restore point {id}"));
    }
    Ok(())
}
