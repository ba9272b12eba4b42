//! What an answer of a server means for a download of which some bytes are there already. Pure.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What tells whether a file is still the one of which the first part is here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validator {
    /// A strong entity tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// When the file was changed, as the server writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<String>,
}

impl Validator {
    /// From the headers of an answer. Weak tags (`W/`) say that a file means the same, not that it is the same.
    pub fn of(etag: Option<&str>, modified: Option<&str>) -> Self {
        let etag = etag.map(str::trim).filter(|tag| tag.starts_with('"') && tag.ends_with('"') && tag.len() > 1);
        Self { etag: etag.map(str::to_owned), modified: modified.map(|time| time.trim().to_owned()) }
    }

    /// The value of `If-Range`; without one, a download cannot be continued.
    pub fn if_range(&self) -> Option<&str> {
        self.etag.as_deref().or(self.modified.as_deref())
    }
}

/// The head of an answer, as far as it matters here.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// Status.
    pub status: u16,
    /// `Content-Length`.
    pub length: Option<u64>,
    /// `Content-Range`.
    pub range: Option<String>,
    /// `ETag` and `Last-Modified`.
    pub validator: Validator,
}

/// What to do with an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// The body is the whole file of this size, if that is known.
    Whole(Option<u64>),
    /// The body is what is missing of a file of this size.
    Rest(u64),
    /// Nothing is missing.
    Complete,
    /// What is here does not fit what the server has; why.
    StartOver(&'static str),
    /// The server does not deliver.
    No,
}

/// Judges an answer to a request for the bytes from `have` on (0: for the whole file). `before` is what the server said
/// about the file when the first bytes came.
pub fn judge(head: &Head, have: u64, before: &Validator) -> Meaning {
    match head.status {
        200 => Meaning::Whole(head.length),
        206 if have == 0 => Meaning::StartOver("the server sends a part that was not asked for"),
        206 => match head.range.as_deref().and_then(part) {
            Some((start, end, total)) if start == have && end + 1 == total => {
                let changed = matches!((&head.validator.etag, &before.etag), (Some(now), Some(then)) if now != then);
                let whole = head.length.is_none_or(|length| length == total - start);
                if changed {
                    Meaning::StartOver("the file on the server has changed")
                } else if whole {
                    Meaning::Rest(total)
                } else {
                    Meaning::StartOver("the server contradicts itself about the length of the part")
                }
            }
            _ => Meaning::StartOver("the server sends another part than was asked for"),
        },
        416 if have > 0 => match head.range.as_deref().and_then(|range| range.trim().strip_prefix("bytes */")) {
            Some(total) if total.trim().parse() == Ok(have) => Meaning::Complete,
            _ => Meaning::StartOver("the file on the server is shorter than what is here"),
        },
        _ => Meaning::No,
    }
}

/// Reads `bytes START-END/TOTAL`; only sound values.
fn part(range: &str) -> Option<(u64, u64, u64)> {
    let (span, total) = range.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (start, end) = span.split_once('-')?;
    let (start, end, total) = (start.trim().parse().ok()?, end.trim().parse().ok()?, total.trim().parse().ok()?);
    (start <= end && end < total).then_some((start, end, total))
}

/// How long a server asks to wait: seconds, or a date.
pub fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(Duration::from_secs(u64::try_from(date.as_second() - now.as_second()).unwrap_or(0)))
}

/// The pause before the next attempt: doubled for each failure in a row, with up to half of it left out by chance so
/// that many hosts do not come back together. `chance` is between 0 and 1.
pub fn pause(failures: u32, first: Duration, most: Duration, chance: f64) -> Duration {
    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(most);
    doubled.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(status: u16, range: &str, length: Option<u64>, etag: &str) -> Head {
        Head {
            status,
            length,
            range: (!range.is_empty()).then(|| range.to_owned()),
            validator: Validator::of(Some(etag), None),
        }
    }

    #[test]
    fn only_the_part_that_was_asked_for_is_taken() {
        let before = Validator::of(Some("\"a\""), None);
        let judge = |head: &Head| judge(head, 10, &before);
        assert_eq!(judge(&head(206, "bytes 10-99/100", Some(90), "\"a\"")), Meaning::Rest(100));
        assert_eq!(judge(&head(206, "bytes 10-99/100", None, "")), Meaning::Rest(100));
        for (range, length, etag) in [
            ("bytes 0-99/100", Some(100), "\"a\""),
            ("bytes 11-99/100", Some(89), "\"a\""),
            ("bytes 10-98/100", Some(89), "\"a\""),
            ("bytes 10-99/100", Some(91), "\"a\""),
            ("bytes 10-99/*", Some(90), "\"a\""),
            ("bytes 10-99/100", Some(90), "\"b\""),
            ("bytes 10-9/100", Some(90), "\"a\""),
            ("", Some(90), "\"a\""),
        ] {
            assert!(
                matches!(judge(&head(206, range, length, etag)), Meaning::StartOver(_)),
                "{range} {length:?} {etag}"
            );
        }
        assert_eq!(judge(&head(200, "", Some(100), "")), Meaning::Whole(Some(100)));
        assert_eq!(judge(&head(416, "bytes */10", None, "")), Meaning::Complete);
        assert!(matches!(judge(&head(416, "bytes */9", None, "")), Meaning::StartOver(_)));
        assert_eq!(judge(&head(503, "", None, "")), Meaning::No);
    }

    #[test]
    fn a_part_of_what_was_asked_for_whole_is_not_taken() {
        let answer = head(206, "bytes 0-99/100", Some(100), "");
        assert!(matches!(judge(&answer, 0, &Validator::default()), Meaning::StartOver(_)));
        assert_eq!(judge(&head(416, "", None, ""), 0, &Validator::default()), Meaning::No);
    }

    #[test]
    fn weak_tags_do_not_count() {
        assert_eq!(Validator::of(Some("W/\"a\""), None).if_range(), None);
        assert_eq!(Validator::of(Some("W/\"a\""), Some("yesterday")).if_range(), Some("yesterday"));
    }

    #[test]
    fn reads_what_the_server_asks_for() {
        let now: Timestamp = "2026-11-22T03:00:00Z".parse().unwrap();
        assert_eq!(retry_after("7", now), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 22 Nov 2026 03:00:30 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("Sun, 22 Nov 2026 02:00:30 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }

    #[test]
    fn pauses_grow_and_are_bounded() {
        let (first, most) = (Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!(pause(1, first, most, 0.0), Duration::from_secs(1));
        assert_eq!(pause(4, first, most, 0.0), Duration::from_secs(8));
        assert_eq!(pause(40, first, most, 0.0), most);
        assert_eq!(pause(1, first, most, 1.0), Duration::from_millis(500));
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_server_says_does_not_break_the_judgement(status: u16, range: String, have: u64, length: Option<u64>) {
            let head = Head { status, length, range: Some(range), validator: Validator::default() };
            let _ = judge(&head, have, &Validator::default());
            let _ = part(&format!("bytes {have}-{have}/{status}"));
        }

        #[test]
        fn no_retry_after_breaks_the_reading(text: String) {
            let _ = retry_after(&text, Timestamp::UNIX_EPOCH);
        }
    }
}
