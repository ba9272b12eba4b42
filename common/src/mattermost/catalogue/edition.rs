//! What a change of the edition means: notes like those of a release, for the hop that changes it.

use semver::Version;
use serde::Deserialize;

use super::Note;
use crate::contract::version::Edition;

/// Notes by the edition that is changed to; the version of each is the release from which on it matters.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Editions {
    to_enterprise: Vec<Note>,
    to_team: Vec<Note>,
}

impl Editions {
    /// The notes for a server that becomes this edition and will be of release `target` in the end.
    pub(super) fn notes<'a>(&'a self, becomes: Edition, target: &'a Version) -> impl Iterator<Item = &'a Note> {
        let notes = match becomes {
            Edition::Enterprise => &self.to_enterprise,
            Edition::Team => &self.to_team,
        };
        notes.iter().filter(move |note| note.version <= *target)
    }
}
