//! The migrations that the releases of the way carry themselves, beside those of the database. This works for releases
//! that no catalogue knows; what is not in the cache is not known.

use std::collections::BTreeMap;
use std::path::Path;

use mm_common::contract::error::Result;
use mm_common::contract::sections::Hop;
use mm_common::machine::state::State;
use mm_common::mattermost::carried::{Carried, renumbers};
use mm_common::mattermost::catalogue::Severity;
use mm_common::mattermost::manifest::Manifest;
use semver::Version;

use super::database::DatabaseView;
use super::{Bad, Check, Outcome};

pub(super) fn checks<'a>() -> Vec<Check<DatabaseView<'a>>> {
    vec![Check {
        id: "release-migrations",
        title: "Migrations of the fetched releases",
        source: "names of the migrations in the server program of each release",
        look: carried,
    }]
}

/// What the fetched releases of the way carry. One whose manifest cannot be read is not known, like one that is not there.
pub fn of_way(state: &State, cache: &Path, hops: &[Hop]) -> BTreeMap<Version, Carried> {
    let manifest = |hop: &Hop| Manifest::find(state, cache, &hop.to, hop.edition).ok().flatten();
    hops.iter().filter_map(|hop| Some((hop.to.clone(), manifest(hop)?.carried()?.clone()))).collect()
}

fn carried(view: &DatabaseView<'_>) -> Result<Outcome> {
    let mut rows = view.level.clone()?.migrations;
    let (mut clashes, mut ahead, mut added) = (Vec::new(), Vec::new(), Vec::new());
    let (mut hop_of_clash, mut hop_ahead) = (None, None);
    let mut known = false;
    for hop in view.way.hops {
        let Some(carried) = view.way.carried.get(&hop.to) else { continue };
        known = true;
        let comparison = carried.against(rows.as_deref(), |name| renumbers(view.way.catalogue, &hop.to, name));
        carried.extend(rows.get_or_insert_default(), &comparison);
        added.extend(comparison.added_line().map(|line| format!("{} adds {line}", hop.to)));
        if !comparison.clashes.is_empty() {
            hop_of_clash.get_or_insert(&hop.to);
        }
        if !comparison.ahead.is_empty() {
            hop_ahead.get_or_insert(&hop.to);
        }
        clashes.extend(comparison.clashes.into_iter().map(|clash| format!("{clash}, in {}", hop.to)));
        ahead.extend(comparison.ahead.into_iter().map(|row| format!("{row} is not in {}", hop.to)));
    }
    if !known {
        return Ok(Outcome::Beside("no release of the way is in the cache with its migrations".into()));
    }
    if !clashes.is_empty() {
        clashes.extend(added);
        return Ok(Outcome::Bad(Bad {
            severity: Severity::Block,
            evidence: clashes,
            hop: hop_of_clash.cloned(),
            fix: "choose a target that knows these migrations (for 142 to 144: 11.6.5, 11.7.3, 11.8.1 or newer), or restore the database from before".into(),
        }));
    }
    if !ahead.is_empty() {
        ahead.extend(added);
        return Ok(Outcome::Bad(Bad {
            severity: Severity::Warn,
            evidence: ahead,
            hop: hop_ahead.cloned(),
            fix: "the database is ahead of that release: choose a newer one, which has these migrations".into(),
        }));
    }
    Ok(Outcome::Good(if added.is_empty() { "none is added".into() } else { added.join("; ") }))
}
