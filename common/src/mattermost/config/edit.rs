//! Changing one string in a JSON text while every other byte stays as it is.

use std::ops::Range;

use serde_json::Value;

use crate::contract::error::{Error, Result};

/// `text` with the string at `section`.`key` replaced. Names are compared without regard to case.
///
/// # Errors
/// When there is no such string, or the result would differ in anything else.
pub fn replace(text: &str, section: &str, key: &str, value: &str) -> Result<String> {
    let missing = || Error::failed(format!("there is no string `{section}.{key}` to change"));
    let object = members(text, 0).and_then(|all| named(text, &all, section)).ok_or_else(missing)?;
    let span = members(text, object.start).and_then(|all| named(text, &all, key)).ok_or_else(missing)?;
    let old: String = serde_json::from_str(&text[span.clone()]).map_err(|_| missing())?;
    let new = format!("{}{}{}", &text[..span.start], literal(value), &text[span.end..]);
    let mut expected: Value = serde_json::from_str(text).map_err(|_| missing())?;
    let found = set(&mut expected, section, key, value);
    if found.as_deref() == Some(old.as_str()) && serde_json::from_str::<Value>(&new).is_ok_and(|new| new == expected) {
        return Ok(new);
    }
    Err(Error::failed(format!("cannot change `{section}.{key}` without touching anything else"))
        .because("the name stands more than once in the file"))
}

/// A JSON string as Go writes it: with `&`, `<` and `>` escaped.
fn literal(value: &str) -> String {
    let plain = Value::from(value).to_string();
    plain.replace('&', r"\u0026").replace('<', r"\u003c").replace('>', r"\u003e")
}

fn set(value: &mut Value, section: &str, key: &str, new: &str) -> Option<String> {
    let place = member(member(value, section)?, key)?;
    let old = place.as_str()?.to_owned();
    *place = new.into();
    Some(old)
}

fn member<'a>(value: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    let object = value.as_object_mut()?;
    let exact = object.contains_key(name);
    object.iter_mut().find(|(key, _)| if exact { *key == name } else { key.eq_ignore_ascii_case(name) }).map(|(_, v)| v)
}

/// Key and value of a member, as places in the text.
type Member = (Range<usize>, Range<usize>);

fn named(text: &str, members: &[Member], name: &str) -> Option<Range<usize>> {
    let key = |span: &Range<usize>| serde_json::from_str::<String>(&text[span.clone()]).unwrap_or_default();
    let exact = members.iter().rev().find(|(span, _)| key(span) == name);
    exact
        .or_else(|| members.iter().rev().find(|(span, _)| key(span).eq_ignore_ascii_case(name)))
        .map(|(_, value)| value.clone())
}

/// The members of the object that begins at or after `start`; `None` when there is no object.
fn members(text: &str, start: usize) -> Option<Vec<Member>> {
    let bytes = text.as_bytes();
    let mut at = skip_space(bytes, start);
    if bytes.get(at) != Some(&b'{') {
        return None;
    }
    at = skip_space(bytes, at + 1);
    let mut found = Vec::new();
    while bytes.get(at) == Some(&b'"') {
        let key = at..end_of_value(bytes, at)?;
        at = skip_space(bytes, key.end);
        if bytes.get(at) != Some(&b':') {
            return None;
        }
        at = skip_space(bytes, at + 1);
        let value = at..end_of_value(bytes, at)?;
        at = skip_space(bytes, value.end);
        found.push((key, value));
        if bytes.get(at) == Some(&b',') {
            at = skip_space(bytes, at + 1);
        }
    }
    (bytes.get(at) == Some(&b'}')).then_some(found)
}

fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

/// Where the value that begins at `start` ends. The text is known to be JSON.
fn end_of_value(bytes: &[u8], start: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = start;
    loop {
        match bytes.get(at)? {
            b'"' => {
                at += 1;
                while *bytes.get(at)? != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            b',' | b':' if depth > 0 => at += 1,
            byte if byte.is_ascii_whitespace() => at += 1,
            _ => {
                while bytes.get(at).is_some_and(|byte| !byte.is_ascii_whitespace() && !b",:{}[]\"".contains(byte)) {
                    at += 1;
                }
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_one_string_changes() {
        let text = "{\n    \"A\": {\"DataSource\": \"no\", \"l\": [1, {\"x\": \"}\"}]},\n    \"SqlSettings\": {\n\t\"DriverName\" : \"postgres\",\
                    \n        \"DataSource\" :  \"postgres://u:p@h/d?a=b\\u0026c=d\", \"n\": 1e3 }\n}";
        let new = replace(text, "SqlSettings", "DataSource", "postgres://h/d?a=1&b=2").unwrap();
        assert_eq!(new, text.replace("postgres://u:p@h/d?a=b\\u0026c=d", "postgres://h/d?a=1\\u0026b=2"));
    }

    #[test]
    fn a_missing_string_is_an_error() {
        for text in ["{}", r#"{"SqlSettings":{}}"#, r#"{"SqlSettings":{"DataSource":1}}"#, "[]", ""] {
            assert!(replace(text, "SqlSettings", "DataSource", "x").is_err(), "{text}");
        }
    }

    /// A value with no `DataSource` in it.
    fn some_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[^\"]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-z{}:,\\\\\"]{0,6}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_value_survives(value in ".*", other in ".*") {
            let json = serde_json::json!({"x": other, "SqlSettings": {"a": [other], "DataSource": "old"}, "z": {}});
            let pretty = serde_json::to_string_pretty(&json).unwrap();
            let new = replace(&pretty, "sqlsettings", "datasource", &value).unwrap();
            let parsed: Value = serde_json::from_str(&new).unwrap();
            prop_assert_eq!(&parsed["SqlSettings"]["DataSource"], &Value::from(value));
            prop_assert_eq!(&parsed["x"], &json["x"]);
        }

        /// However the file is laid out, and whatever else is in it.
        #[test]
        fn every_other_byte_stays(old in ".*", value in ".*", before in some_json(), after in some_json(), pretty: bool) {
            let json = serde_json::json!({
                "A": before, "SqlSettings": {"b": before, "DataSource": old, "c": after}, "Z": {"DataSource": after},
            });
            let text = if pretty { serde_json::to_string_pretty(&json).unwrap() } else { json.to_string() };
            let new = replace(&text, "SqlSettings", "DataSource", &value).unwrap();
            let written = literal(&value);
            let place = format!("\"DataSource\":{}", if pretty { " " } else { "" });
            let at = text.find(&format!("{place}{}", Value::from(old.as_str()))).unwrap() + place.len();
            let end = at + Value::from(old.as_str()).to_string().len();
            prop_assert_eq!(new, format!("{}{written}{}", &text[..at], &text[end..]));
        }

        #[test]
        fn what_is_not_json_is_an_error_and_no_panic(text in "[{}\\[\\]\"\\\\:, a]{0,40}") {
            if let Ok(new) = replace(&text, "a", "a", "b") {
                prop_assert!(serde_json::from_str::<Value>(&new).is_ok());
            }
        }
    }
}
