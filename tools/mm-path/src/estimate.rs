//! How long a hop may take. Guesses from documented rates on other people's machines, and called so.

use mm_common::mattermost::catalogue::Catalogue;
use semver::Version;
use serde_json::{Map, Value, json};

use crate::plan::Start;

/// `seconds` and the parts it is made of, for the tables whose rows are known; a rehearsal's measurement when there is
/// one. Empty when nothing is known.
pub(crate) fn of_hop(catalogue: &Catalogue, start: &Start, from: &Version, to: &Version) -> Map<String, Value> {
    let mut estimate = Map::new();
    let mut seconds = 0.0;
    let mut parts = Vec::new();
    for rate in catalogue.rates_between(from, to) {
        let Some(rows) = start.rows.get(&rate.table) else { continue };
        let part = seconds_for(*rows, rate.seconds_per_million);
        seconds += part;
        parts.push(json!({
            "id": rate.id, "title": rate.title, "table": rate.table, "rows": rows, "seconds": part, "source": rate.source,
        }));
    }
    if !parts.is_empty() {
        estimate.insert("seconds".into(), rounded(seconds).into());
        estimate.insert("parts".into(), parts.into());
        estimate.insert("basis".into(), "documented rates on other machines".into());
    }
    if let Some(measured) = start.measured.get(&(from.clone(), to.clone())) {
        estimate.insert("seconds".into(), rounded(*measured).into());
        estimate.insert("basis".into(), "measured in a rehearsal".into());
    }
    if let Some(bytes) = start.database_bytes {
        estimate.insert("database_bytes".into(), bytes.into());
    }
    estimate
}

/// The room a new release takes beside the installed one: from one extended support line to the next releases have
/// grown by less than half.
pub(crate) fn grown(bytes: u64) -> u64 {
    bytes.saturating_add(bytes / 2)
}

#[expect(clippy::cast_precision_loss, reason = "an estimate does not need more than 52 bits of rows")]
fn seconds_for(rows: u64, per_million: f64) -> f64 {
    rounded(rows as f64 / 1_000_000.0 * per_million)
}

/// To a tenth: more digits would promise what a guess cannot keep.
fn rounded(seconds: f64) -> f64 {
    (seconds * 10.0).round() / 10.0
}
