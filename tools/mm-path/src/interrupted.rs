//! Runs that were killed come first: whoever plans on a half-made state plans wrongly.

use std::path::Path;

use mm_common::Result;
use mm_common::contract::sections::Note;
use mm_common::machine::{door, journal};

/// A blocker for each journal that an interrupted run has left in the state directory.
pub(crate) fn blockers(state: &Path, install: &Path) -> Result<Vec<Note>> {
    Ok(journal::interrupted(state)?.iter().map(|name| blocker(state, name, install)).collect())
}

fn blocker(state: &Path, name: &str, install: &Path) -> Note {
    let tool = match name {
        "swap" => "mm-swap",
        "pgbump" | door::MOVE => "mm-pgbump",
        journal::RESTORE => "mm-backup",
        other => other,
    };
    let command = (tool != name).then(|| journal::command(state, name, install).ok()).flatten();
    let action = command.unwrap_or_else(|| format!("look at {name}.journal, then run that tool again"));
    Note {
        id: "interrupted-run".into(),
        severity: "block".into(),
        title: format!("An earlier run of {tool} was cut off"),
        action,
        source: "this host".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_command_that_ends_what_was_begun() {
        let place = tempfile::tempdir().unwrap();
        assert!(blockers(place.path(), Path::new("/opt/mattermost")).unwrap().is_empty());
        std::fs::File::create(place.path().join("swap.journal")).unwrap();
        let blockers = blockers(place.path(), Path::new("/opt/mattermost")).unwrap();
        assert!(blockers[0].action.starts_with("mm-swap recover --install /opt/mattermost"), "{:?}", blockers[0]);
        assert_eq!((blockers.len(), blockers[0].severity.as_str()), (1, "block"));
    }
}
