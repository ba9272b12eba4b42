//! Whether a server is getting worse, without touching anything: what was seen at each look, beside what is usual.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mm_common::contract::sections::{Check, Status};
use mm_common::contract::ui;
use serde::{Deserialize, Serialize};

use crate::check::some;

/// What was seen at one look.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Sample {
    /// Why the server is not well, if it is not.
    pub(crate) trouble: Option<String>,
    /// How long the status ping took, in milliseconds; absent when nobody answered.
    pub(crate) latency: Option<f64>,
    /// Connections to the database, and how many its server allows; absent when it could not be asked.
    pub(crate) connections: Option<(u64, u64)>,
    /// Lines of level error and above that the log got since the look before, by message.
    pub(crate) errors: BTreeMap<String, u64>,
}

/// What is usual, from the baseline or the first look.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Usual {
    /// Milliseconds of a status ping.
    #[serde(default)]
    pub(crate) latency: Option<f64>,
    /// Connections to the database.
    #[serde(default)]
    pub(crate) connections: Option<u64>,
    /// Messages of errors that stand in the log of a server nobody complains of.
    #[serde(default)]
    pub(crate) errors: BTreeSet<String>,
}

/// Looks in a row without an answer that mean down; one may be a restart or a lost packet.
const IN_A_ROW: usize = 2;
/// Slower than usual by this factor, and by this many milliseconds, is a fault; on a fast server the factor alone would
/// make noise of nothing.
const SLOWER: (f64, f64) = (3.0, 200.0);
/// New errors in the log beyond this number are a fault; a few are a warning.
const NEW_ERRORS: u64 = 10;
/// This part of the connections that PostgreSQL allows is a fault: beyond it the server waits for its own database.
const CONNECTIONS: (u64, u64) = (9, 10);

/// Errors that healthy servers log at their start and later (observed 5.29 to 11.6).
const HARMLESS: &[&str] = &[
    "License key from https://mattermost.com required to unlock enterprise features.",
    "Mail server connection test is failed",
    "Failed to send welcome email",
    "http: superfluous response.WriteHeader call",
    "Failed to upgrade websocket connection.",
];

/// Judges all looks so far.
pub(crate) fn judge(samples: &[Sample], usual: &Usual) -> Vec<Check> {
    vec![answers(samples), latency(samples, usual), errors(samples, usual), connections(samples, usual)]
}

fn check(id: &str, title: &str, status: Status, evidence: String, against: Option<String>, hint: &str) -> Check {
    let hint = matches!(status, Status::Fail | Status::Warn).then(|| hint.to_owned());
    Check { id: id.into(), title: title.into(), status, evidence, compared_with: against, hint, seconds: 0.0 }
}

fn answers(samples: &[Sample]) -> Check {
    let bad = samples.iter().filter(|sample| sample.trouble.is_some()).count();
    let longest = samples.split(|sample| sample.trouble.is_none()).map(<[Sample]>::len).max().unwrap_or(0);
    let last = samples.iter().rev().find_map(|sample| sample.trouble.clone());
    let status = match (bad, longest) {
        (0, _) => Status::Pass,
        (_, longest) if longest >= IN_A_ROW => Status::Fail,
        _ => Status::Warn,
    };
    let words = last.map(|last| format!("; last: {last}")).unwrap_or_default();
    let evidence = format!("{bad} of {} found it unwell{words}", ui::count(samples.len(), "look"));
    check(
        "watch.answers",
        "the server stays well",
        status,
        evidence,
        None,
        "see the server's log and that of PostgreSQL",
    )
}

fn latency(samples: &[Sample], usual: &Usual) -> Check {
    let title = "the server stays as fast as it was";
    let mut all: Vec<f64> = samples.iter().filter_map(|sample| sample.latency).collect();
    all.sort_by(f64::total_cmp);
    let Some(median) = all.get(all.len() / 2).copied() else {
        return check("watch.latency", title, Status::Error, "nobody answered".into(), None, "");
    };
    let evidence = format!("a status ping takes {median:.0} ms (median of {})", all.len());
    let Some(before) = usual.latency else {
        return check("watch.latency", title, Status::Pass, evidence, None, "");
    };
    // One slow look says nothing: it takes three to have a median worth the name.
    let is_slower = median > before * SLOWER.0 && median > before + SLOWER.1;
    let status = if is_slower && all.len() >= 3 { Status::Fail } else { Status::Pass };
    let hint =
        "after an upgrade of the cluster run `vacuumdb --analyze-in-stages`; look for long queries in pg_stat_activity";
    check("watch.latency", title, status, evidence, Some(format!("usual: {before:.0} ms")), hint)
}

fn errors(samples: &[Sample], usual: &Usual) -> Check {
    let mut new: BTreeMap<&str, u64> = BTreeMap::new();
    for (message, count) in samples.iter().flat_map(|sample| &sample.errors) {
        let is_harmless = HARMLESS.iter().any(|harmless| message.starts_with(harmless));
        if !is_harmless && !usual.errors.contains(message) {
            *new.entry(message).or_default() += count;
        }
    }
    let total: u64 = new.values().sum();
    let status = match total {
        0 => Status::Pass,
        total if total >= NEW_ERRORS => Status::Fail,
        _ => Status::Warn,
    };
    let mut words: Vec<(&str, u64)> = new.into_iter().collect();
    words.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let words: Vec<String> = words.iter().map(|(message, count)| format!("{count} x `{message}`")).collect();
    let evidence = if total == 0 { "the log has no new errors".to_owned() } else { some(&words, 3) };
    check(
        "watch.errors",
        "the log has no new errors",
        status,
        evidence,
        None,
        "read them in the server's log; mm-verify says what users see of it",
    )
}

fn connections(samples: &[Sample], usual: &Usual) -> Check {
    let title = "the database has connections to spare";
    let Some((most, allowed)) = samples.iter().filter_map(|sample| sample.connections).max() else {
        return check("watch.connections", title, Status::Error, "the database could not be asked".into(), None, "");
    };
    let is_full = most * CONNECTIONS.1 >= allowed * CONNECTIONS.0;
    let status = if is_full { Status::Fail } else { Status::Pass };
    let against = usual.connections.map(|usual| format!("usual: {usual}"));
    let hint = "raise max_connections, or lower SqlSettings.MaxOpenConns";
    check("watch.connections", title, status, format!("at most {most} of {allowed}"), against, hint)
}

/// Reads `90`, `30s`, `5m`, `2h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(digits) => (digits, &text[digits.len()..]),
        None => (text, "s"),
    };
    let seconds = match unit {
        "h" => 3600,
        "m" => 60,
        _ => 1,
    };
    let number: u64 = digits.parse().map_err(|_| "write it as in 90, 30s, 5m or 2h".to_owned())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(|| "that is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(latency: f64, trouble: bool) -> Sample {
        Sample {
            trouble: trouble.then(|| "500".into()),
            latency: Some(latency),
            connections: Some((10, 100)),
            errors: BTreeMap::new(),
        }
    }

    fn status(samples: &[Sample], id: &str) -> Status {
        let usual = Usual { latency: Some(100.0), connections: Some(5), errors: BTreeSet::from(["known".to_owned()]) };
        judge(samples, &usual).into_iter().find(|check| check.id == id).unwrap().status
    }

    #[test]
    fn one_lost_look_is_a_warning_and_two_in_a_row_are_a_fault() {
        let looks = |troubles: &[bool]| troubles.iter().map(|trouble| sample(90.0, *trouble)).collect::<Vec<_>>();
        assert_eq!(status(&looks(&[false, false]), "watch.answers"), Status::Pass);
        assert_eq!(status(&looks(&[true, false, true]), "watch.answers"), Status::Warn);
        assert_eq!(status(&looks(&[false, true, true]), "watch.answers"), Status::Fail);
    }

    #[test]
    fn slow_means_slower_than_usual_by_much_and_more_than_once() {
        let looks = |latency: f64, count: usize| vec![sample(latency, false); count];
        assert_eq!(status(&looks(290.0, 5), "watch.latency"), Status::Pass);
        assert_eq!(status(&looks(310.0, 2), "watch.latency"), Status::Pass);
        assert_eq!(status(&looks(310.0, 3), "watch.latency"), Status::Fail);
    }

    #[test]
    fn only_new_errors_count() {
        let with = |message: &str, count| {
            let mut one = sample(90.0, false);
            one.errors.insert(message.into(), count);
            [one]
        };
        assert_eq!(status(&with("known", 50), "watch.errors"), Status::Pass);
        assert_eq!(status(&with("Failed to send welcome email to x", 50), "watch.errors"), Status::Pass);
        assert_eq!(status(&with("new", 1), "watch.errors"), Status::Warn);
        assert_eq!(status(&with("new", 10), "watch.errors"), Status::Fail);
    }

    #[test]
    fn nine_tenths_of_the_connections_are_too_many() {
        let with = |count| [Sample { connections: Some((count, 100)), ..sample(90.0, false) }];
        assert_eq!(status(&with(89), "watch.connections"), Status::Pass);
        assert_eq!(status(&with(90), "watch.connections"), Status::Fail);
    }

    #[test]
    fn durations_are_read_with_their_units() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        assert!(duration("soon").is_err() && duration("").is_err());
    }
}
