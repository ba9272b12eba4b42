//! Points in time as the document writes them.

use jiff::Timestamp;

/// The present in RFC 3339, UTC, whole seconds: `2026-11-22T03:00:00Z`.
pub fn now() -> String {
    at(Timestamp::now())
}

/// A point in time in RFC 3339, UTC, whole seconds.
pub fn at(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

/// The present as it stands in names of files and restore points: `20261122T030000Z`.
pub fn stamp() -> String {
    now().replace(['-', ':'], "")
}
