//! Which restore points of an upgrade run are pinned, and how that is said.

use mm_common::contract::error::{Error, Result};
use mm_common::contract::time;
use mm_common::contract::ui;
use mm_common::machine::pins::{self, Pin, Why};
use mm_common::run::Session;
use serde_json::Value;

use crate::create::Order;
use crate::manifest::Unstored;
use crate::original;
use crate::store::{Point, Store};

/// What releases pins.
pub(crate) const RELEASED_BY: &str = "a pin is released by mm-swap prune and mm-pgbump drop-old, when they give up the way back, and by mm-backup unpin ID";

/// The upgrade run whose hop a restore point is made for. One that belongs to no hop needs no pin.
pub(crate) fn run_of_hop(session: &Session) -> Result<Option<String>> {
    let has_hop = session.document.get("path").and_then(|path| path.get("next")).is_some_and(Value::is_object);
    Ok(if has_hop { session.document.run()?.map(|run| run.id) } else { None })
}

/// Pins the restore point that is about to be there. Returns those of the run that it takes the place of.
pub(crate) fn pin(order: &Order<'_>, id: &str) -> Result<Vec<String>> {
    let Some(run) = &order.pinned_for else { return Ok(Vec::new()) };
    let install = &order.installation.root;
    let (store, present) = (&order.store.path, pins::all(&order.store.path)?);
    let of_run: Vec<&Pin> = present.iter().filter(|pin| pin.run == *run && pin.install == *install).collect();
    let is_first = !of_run.iter().any(|pin| pin.why == Why::First && is_standing(order, &pin.id));
    let why = match (is_first, order.pins_all) {
        (true, _) => Why::First,
        (false, false) => Why::Newest,
        (false, true) => Why::Asked,
    };
    let (id, run, install) = (id.to_owned(), run.clone(), install.clone());
    pins::set(store, &Pin { id, run, why, install, since: time::now() })?;
    let is_replaced = |pin: &&&Pin| pin.why == Why::Newest || (pin.why == Why::First && is_first);
    Ok(of_run.iter().filter(is_replaced).map(|pin| pin.id.clone()).collect())
}

/// Whether the run can go back to its restore point. One that was frozen without a copy is none when its hop was taken back: the
/// server works with its database again, and what a later point holds is what it held.
fn is_standing(order: &Order<'_>, id: &str) -> bool {
    if !order.store.path.join(id).is_dir() {
        return false;
    }
    let unstored = |point: &Point| matches!(point.head.incomplete(), Some(Unstored::Original(_)));
    let is_original = order.store.find(id).is_ok_and(|point| unstored(&point));
    !is_original || original::is_left(&order.installation.state, id).unwrap_or(true)
}

/// Releases those that a newer hop's has taken the place of.
pub(crate) fn release(store: &Store, ids: &[String]) {
    for id in ids {
        if let Err(error) = pins::release(&store.path, id) {
            ui::warn(&error.one_line());
        }
    }
}

/// The verb `unpin`.
pub(crate) fn unpin(session: &mut Session, store: &Store, id: &str) -> Result<String> {
    session.refuse_open(&[])?;
    let pin = pins::all(&store.path)?.into_iter().find(|pin| pin.id == id);
    let Some(pin) = pin else {
        store.find(id)?;
        return Ok(format!("the restore point {id} is not pinned"));
    };
    if session.dry_run {
        return Ok(format!("would release the restore point {id}, which was pinned because {}", pin.in_words()));
    }
    session.changed |= pins::release(&store.path, id)?;
    Ok(format!("the restore point {id} is released; it was pinned because {}", pin.in_words()))
}

/// Names the pins to who has too little space.
pub(crate) fn name_pins(error: Error, store: &Store) -> Error {
    let pinned: Vec<String> = pins::all(&store.path).unwrap_or_default().into_iter().map(|pin| pin.id).collect();
    if pinned.is_empty() {
        return error;
    }
    error.because(format!("no prune takes the pinned restore points {}: {RELEASED_BY}", pinned.join(", ")))
}
