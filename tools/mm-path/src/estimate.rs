//! How long a hop may take. Guesses from documented rates on other people's machines, and called so.

use mm_common::mattermost::catalogue::Catalogue;
use mm_common::mattermost::way_back;
use semver::Version;
use serde_json::{Map, Value, json};

use crate::plan::Start;

/// The basis of an estimate that was measured.
pub(crate) const MEASURED: &str = "measured in a rehearsal";

/// The basis of one that stands on what Mattermost has measured.
const DOCUMENTED: &str = "documented rates on other machines";

/// A migration of which nothing is known but its name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Guess {
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) table: String,
    pub(crate) rows: u64,
    pub(crate) seconds_per_million: f64,
}

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
        estimate.insert("basis".into(), DOCUMENTED.into());
    }
    if let Some(measured) = start.measured.get(&(from.clone(), to.clone())) {
        estimate.insert("seconds".into(), rounded(*measured).into());
        estimate.insert("basis".into(), MEASURED.into());
    }
    if let Some(bytes) = start.database_bytes {
        estimate.insert("database_bytes".into(), bytes.into());
        estimate.insert("restore_seconds".into(), way_back::restore_seconds(bytes).into());
    }
    estimate
}

/// Adds what the release of a hop brings, one text a migration, and what of it is guessed. A measurement stays as it is.
pub(crate) fn add_migrations(estimate: &mut Map<String, Value>, added: Vec<String>, guesses: &[Guess]) {
    if added.is_empty() {
        return;
    }
    estimate.insert("migrations".into(), added.into());
    if guesses.is_empty() || estimate.get("basis").is_some_and(|basis| basis == MEASURED) {
        return;
    }
    let mut seconds = estimate.get("seconds").and_then(Value::as_f64).unwrap_or(0.0);
    let mut parts = estimate.get("parts").and_then(Value::as_array).cloned().unwrap_or_default();
    let basis = if parts.is_empty() {
        "guessed from the names of its migrations".to_owned()
    } else {
        format!("{DOCUMENTED}, and the names of its migrations")
    };
    for guess in guesses {
        let part = seconds_for(guess.rows, guess.seconds_per_million);
        seconds += part;
        parts.push(json!({
            "id": format!("migration-{}", guess.number), "title": guess.name, "table": guess.table, "rows": guess.rows,
            "seconds": part, "source": "the server program of the release: the name of the migration",
        }));
    }
    estimate.insert("seconds".into(), rounded(seconds).into());
    estimate.insert("parts".into(), parts.into());
    estimate.insert("basis".into(), basis.into());
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
