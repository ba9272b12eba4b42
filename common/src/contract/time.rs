//! Points in time as the document writes them, and lengths of time as people do.

use std::time::Duration;

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

/// Reads a length of time: `90s`, `30m`, `24h`, `7d`, or seconds.
pub fn length(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return Err(format!("`{unit}` is none of s, m, h, d")),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| format!("`{text}` is not a length of time such as 24h"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_as_people_write_them() {
        let read = |text: &str| length(text).map(|length| length.as_secs());
        assert_eq!([read("90"), read("30m"), read("26h"), read("2d")], [Ok(90), Ok(1800), Ok(93_600), Ok(172_800)]);
        for bad in ["", "h", "1w", "1.5h", "99999999999999999999d"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
