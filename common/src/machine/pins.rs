//! Pins: which restore points of a store a way back needs. A pin is a file beside the restore points, so that it counts for
//! every retention, also after the state directory is lost, with another one, or on another machine.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files::{self, Access};
use super::state::State;
use super::tree::Dir;
use crate::contract::error::{Context as _, Error, Result};

/// How the name of a pin begins; the identifier of the restore point and `.json` follow.
pub const PIN: &str = ".pin-";
/// Larger than any pin.
const LARGEST: u64 = 64 * 1024;
/// Larger than any record of a tool.
const LARGEST_RECORD: u64 = 64 * 1024 * 1024;

/// Why a restore point is pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// It is the first one of its run: the state before all of it.
    First,
    /// It is that of the newest hop of its run.
    Newest,
    /// Every hop's of its run are pinned.
    Asked,
    /// Its pin cannot be read.
    Unknown,
}

/// A pin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The restore point.
    pub id: String,
    /// The upgrade run that needs it.
    pub run: String,
    /// Why.
    pub why: Why,
    /// The installation.
    pub install: PathBuf,
    /// Since when.
    pub since: String,
}

impl Pin {
    /// For people.
    pub fn in_words(&self) -> String {
        let why = match self.why {
            Why::First => "it is the first of the upgrade run",
            Why::Newest => "it is that of the newest hop of the upgrade run",
            Why::Asked => "it is that of a hop of the upgrade run",
            Why::Unknown => return "its pin cannot be read".into(),
        };
        format!("{why} {}, since {}", self.run, self.since)
    }
}

fn path(store: &Path, id: &str) -> PathBuf {
    store.join(format!("{PIN}{id}.json"))
}

/// All pins of a store, in the order of the identifiers. One that cannot be read is one all the same.
pub fn all(store: &Path) -> Result<Vec<Pin>> {
    let mut pins = Vec::new();
    for name in Dir::open(store)?.names()? {
        let Some(id) = name.to_str().and_then(|name| name.strip_prefix(PIN)?.strip_suffix(".json")) else { continue };
        let text = files::read(&store.join(&name), LARGEST).ok();
        let pin = text.and_then(|text| serde_json::from_slice::<Pin>(&text).ok()).filter(|pin| pin.id == id);
        pins.push(pin.unwrap_or_else(|| Pin {
            id: id.into(),
            run: String::new(),
            why: Why::Unknown,
            install: PathBuf::new(),
            since: String::new(),
        }));
    }
    Ok(pins)
}

/// Pins a restore point.
pub fn set(store: &Path, pin: &Pin) -> Result<()> {
    let text = serde_json::to_vec_pretty(pin).context(|| format!("cannot pin the restore point {}", pin.id))?;
    files::write(&path(store, &pin.id), &text, Access::PRIVATE)
}

/// Releases a restore point. Returns whether it was pinned.
pub fn release(store: &Path, id: &str) -> Result<bool> {
    if id.is_empty() || id.contains('/') {
        return Err(Error::usage(format!("`{id}` is not the identifier of a restore point")));
    }
    let path = path(store, id);
    let was_pinned = files::look(&path)?.is_some();
    files::remove_file(&path)?;
    Ok(was_pinned)
}

/// Releases a restore point that a tool has needed and needs no more, unless a record of another tool of this
/// installation names it still. Returns whether it was released.
pub fn release_forgotten(state: &State, store: &Path, id: &str) -> Result<bool> {
    if files::look(store)?.is_none() || is_named(state, id)? {
        return Ok(false);
    }
    release(store, id)
}

/// Whether a journal or record of any tool names a restore point.
fn is_named(state: &State, id: &str) -> Result<bool> {
    for directory in [state.path().to_owned(), state.path().join("swaps")] {
        if files::look(&directory)?.is_none() {
            continue;
        }
        for name in Dir::open(&directory)?.names()? {
            let is_record = Path::new(&name).extension().is_some_and(|end| {
                end == "journal" || end == "finished" || (end == "json" && directory != state.path())
            });
            if is_record && String::from_utf8_lossy(&files::read(&directory.join(&name), LARGEST_RECORD)?).contains(id)
            {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restore_point_stays_pinned_until_no_record_names_it() {
        let place = tempfile::tempdir().unwrap();
        let (store, state) = (place.path().join("store"), State::of(Path::new("/opt/mattermost"), Some(place.path())));
        for directory in [&store, &state.path().join("swaps")] {
            files::create_directory(directory, 0o700).unwrap();
        }
        let pin = |id: &str| Pin {
            id: id.into(),
            run: "r".into(),
            why: Why::First,
            install: "/opt/mattermost".into(),
            since: "2026-11-22T03:00:00Z".into(),
        };
        set(&store, &pin("one")).unwrap();
        set(&store, &pin("two")).unwrap();
        let record = state.path().join("swaps/x.json");
        files::write(&record, b"{\"restore_point\":{\"id\":\"one\"}}", Access::PRIVATE).unwrap();
        assert!(!release_forgotten(&state, &store, "one").unwrap());
        assert!(release_forgotten(&state, &store, "two").unwrap());
        assert_eq!(all(&store).unwrap(), [pin("one")]);
        files::remove_file(&record).unwrap();
        assert!(release_forgotten(&state, &store, "one").unwrap());
        assert!(!release(&store, "one").unwrap());
        files::write(&path(&store, "odd"), b"no pin", Access::PRIVATE).unwrap();
        assert_eq!(all(&store).unwrap()[0].why, Why::Unknown);
        assert!(!release_forgotten(&state, &place.path().join("none"), "one").unwrap());
    }
}
