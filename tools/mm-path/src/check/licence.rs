//! The licence, as far as a plan needs it: its short name, its end and how many users it is for.

use mm_common::contract::error::{Error, Result};
use mm_common::postgres::server::Database;
use serde_json::Value;

/// What stands in a licence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Licence {
    /// Short name: `E10`, `E20`, `professional`, `enterprise`...
    pub(crate) name: String,
    /// Its end, in milliseconds since 1970.
    pub(crate) ends: Option<i64>,
    /// Users it is for.
    pub(crate) seats: Option<u64>,
}

/// The variable that holds a licence. The server then looks at no other one, also when it cannot read this one.
pub(crate) const VARIABLE: &str = "MM_LICENSE";

/// The licence given by the variable, else the one in the database; none when there is none.
///
/// The text is base64 of a JSON object with a signature behind it. The signature is the server's business.
pub(crate) fn read(database: &Database, given: Option<&str>) -> Result<Option<Licence>> {
    if let Some(text) = given.filter(|text| !text.is_empty()) {
        let unreadable = || {
            Error::failed(format!("cannot read the licence in {VARIABLE}"))
                .hint("a server that cannot read it runs without a licence: see its log, and set the whole text of the licence")
        };
        return parse(text).ok_or_else(unreadable).map(Some);
    }
    let rows = database.rows(
        "SELECT l.bytes AS bytes FROM licenses l JOIN systems s ON s.name = 'ActiveLicenseId' AND s.value = l.id",
    )?;
    let Some(text) = rows.first().and_then(|row| row["bytes"].as_str()) else { return Ok(None) };
    let licence = parse(text).ok_or_else(|| {
        Error::failed("cannot read the licence in the table `licenses`")
            .hint("see System Console > Edition and License")
    })?;
    Ok(Some(licence))
}

/// Its short name, empty when there is none.
pub(crate) fn sku(database: &Database, given: Option<&str>) -> Result<String> {
    Ok(read(database, given)?.map(|licence| licence.name).unwrap_or_default())
}

fn parse(text: &str) -> Option<Licence> {
    let bytes = decode(text)?;
    let object = serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>().next()?.ok()?;
    let name = object.get("sku_short_name").and_then(Value::as_str).filter(|name| !name.is_empty());
    // The old licences have no such name; E20 is the one with the features of a company.
    let old = || {
        let features = object.get("features")?;
        let on = |key: &str| features.get(key).and_then(Value::as_bool).unwrap_or(false);
        Some(if on("future_features") || on("compliance") { "E20" } else { "E10" }.to_owned())
    };
    Some(Licence {
        name: name.map(str::to_owned).or_else(old)?,
        ends: object.get("expires_at").and_then(Value::as_i64),
        seats: object.get("features").and_then(|features| features.get("users")?.as_u64()),
    })
}

/// Base64 of the standard alphabet; white space and padding are passed over.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut held) = (0u32, 0u32);
    for character in text.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=') {
        let value = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from((bits >> held) & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Option<String> {
        parse(text).map(|licence| licence.name)
    }

    #[test]
    fn reads_the_name_before_the_signature() {
        // {"id":"x","sku_short_name":"professional"} and two bytes of a signature
        let licence = "eyJpZCI6IngiLCJza3Vfc2hvcnRfbmFtZSI6InByb2Zlc3Npb25hbCJ9/wA=";
        assert_eq!(name(licence).as_deref(), Some("professional"));
        assert_eq!(name("not base64!"), None);
        assert_eq!(name(""), None);
    }

    #[test]
    fn an_old_licence_is_told_by_its_features() {
        // {"features":{"compliance":true}} and {"features":{}}
        assert_eq!(name("eyJmZWF0dXJlcyI6eyJjb21wbGlhbmNlIjp0cnVlfX0=").as_deref(), Some("E20"));
        assert_eq!(name("eyJmZWF0dXJlcyI6e319").as_deref(), Some("E10"));
    }
}
