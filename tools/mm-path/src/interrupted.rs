//! Runs that were killed come first: whoever plans on a half-made state plans wrongly.

use std::path::Path;

use mm_common::Result;
use mm_common::contract::sections::Note;
use mm_common::machine::door::{self, Open};
use mm_common::machine::state::State;

/// A blocker for each run that was cut off and not ended.
pub(crate) fn blockers(state: &State, install: &Path) -> Result<Vec<Note>> {
    Ok(door::open(state, install, &[])?.into_iter().map(blocker).collect())
}

fn blocker(Open { tool, command, .. }: Open) -> Note {
    Note {
        id: "interrupted-run".into(),
        severity: "block".into(),
        title: format!("An earlier run of {tool} was cut off"),
        action: command,
        source: "this host".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_command_that_ends_what_was_begun() {
        let place = tempfile::tempdir().unwrap();
        let root = Path::new("/opt/mattermost");
        let state = State::of(root, Some(place.path()));
        assert!(blockers(&state, root).unwrap().is_empty());
        std::fs::create_dir(state.path()).unwrap();
        std::fs::File::create(state.path().join("swap.journal")).unwrap();
        let blockers = blockers(&state, root).unwrap();
        assert!(blockers[0].action.starts_with("mm-swap recover --install /opt/mattermost"), "{:?}", blockers[0]);
        assert_eq!((blockers.len(), blockers[0].severity.as_str()), (1, "block"));
    }
}
