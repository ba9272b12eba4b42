//! Strings of a JSON text: where they stand, and changing one while every other byte stays as it is.

use std::ops::Range;

use serde_json::Value;

use super::token::{Edits, Mover, Token, replaced};
use crate::contract::error::{Error, Result};

/// `text` with parts of the string at `setting` exchanged, and the edits that were made. A setting is the names of the
/// members that lead to it, compared without regard to case, and the numbers of elements.
///
/// # Errors
/// When there is no such string, or the change cannot be made without touching anything else.
pub fn change(text: &str, setting: &[String], mover: Mover<'_>) -> Result<(String, Edits)> {
    let token = locate(text, setting)?;
    let replacements = mover(&token.value)?;
    let edits = token.edits(text, &replacements)?;
    let raw = edits.made(&text[token.span.clone()]).unwrap_or_default();
    let new = format!("{}{raw}{}", &text[..token.span.start], &text[token.span.end..]);
    let read = serde_json::from_str(&new).ok();
    if read.as_ref().and_then(|new| find(new, setting)?.as_str()) == Some(&replaced(&token.value, &replacements)) {
        return Ok((new, edits));
    }
    Err(Error::failed(format!("cannot change `{}` without touching anything else", setting.join(".")))
        .because("the name stands more than once in the file"))
}

/// The string at `setting`.
///
/// # Errors
/// When there is none.
pub(super) fn locate(text: &str, setting: &[String]) -> Result<Token> {
    let missing = || Error::failed(format!("there is no string `{}` to change", setting.join(".")));
    let whole = serde_json::from_str::<Value>(text).map_err(|_| missing())?;
    find(&whole, setting).filter(|value| value.is_string()).ok_or_else(missing)?;
    let mut span = skip_space(text.as_bytes(), 0)..text.len();
    for name in setting {
        let next = match text.as_bytes().get(span.start) {
            Some(b'[') => name.parse().ok().and_then(|index: usize| elements(text, span.start)?.get(index).cloned()),
            _ => members(text, span.start).and_then(|all| named(text, &all, name)),
        };
        span = next.ok_or_else(missing)?;
    }
    Token::json(text, span).ok_or_else(missing)
}

/// The value at `setting`, as the configuration is read.
pub(super) fn find<'a>(value: &'a Value, setting: &[String]) -> Option<&'a Value> {
    setting.iter().try_fold(value, |value, name| match value {
        Value::Array(list) => list.get(name.parse::<usize>().ok()?),
        _ => super::member(value, name),
    })
}

/// The elements of the list that begins at `start`.
fn elements(text: &str, start: usize) -> Option<Vec<Range<usize>>> {
    let bytes = text.as_bytes();
    let mut at = skip_space(bytes, start + 1);
    let mut found = Vec::new();
    while bytes.get(at).is_some_and(|byte| *byte != b']') {
        let element = at..end_of_value(bytes, at)?;
        at = skip_space(bytes, element.end);
        found.push(element);
        if bytes.get(at) == Some(&b',') {
            at = skip_space(bytes, at + 1);
        }
    }
    Some(found)
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

    use super::super::token::Replacement;
    use super::*;

    fn setting(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    /// The whole string made another one.
    fn replace(text: &str, words: &[&str], value: &str) -> Result<String> {
        let all = |old: &str| Ok(vec![Replacement { range: 0..old.len(), with: value.to_owned() }]);
        change(text, &setting(words), &all).map(|(new, _)| new)
    }

    #[test]
    fn only_the_one_string_changes() {
        let text = "{\n    \"A\": {\"DataSource\": \"no\", \"l\": [1, {\"x\": \"}\"}]},\n    \"SqlSettings\": {\n\t\"DriverName\" : \"postgres\",\
                    \n        \"DataSource\" :  \"postgres://u:p@h/d?a=b\\u0026c=d\", \"n\": 1e3 }\n}";
        let new = replace(text, &["SqlSettings", "DataSource"], "postgres://h/d?a=1&b=2").unwrap();
        assert_eq!(new, text.replace("postgres://u:p@h/d?a=b\\u0026c=d", "postgres://h/d?a=1\\u0026b=2"));
    }

    #[test]
    fn an_element_of_a_list_changes() {
        let text = r#" {"SqlSettings": { "Replicas" : [ "a" , [1,"]"],{"DataSource":"b"}, "c\"" ] }}"#;
        let new = replace(text, &["sqlsettings", "Replicas", "3"], "d").unwrap();
        assert_eq!(new, text.replace(r#""c\"""#, r#""d""#));
        let new = replace(text, &["SqlSettings", "Replicas", "2", "DataSource"], "d").unwrap();
        assert_eq!(new, text.replace(r#""b""#, r#""d""#));
        assert!(replace(text, &["SqlSettings", "Replicas", "4"], "d").is_err());
    }

    #[test]
    fn a_missing_string_is_an_error() {
        for text in ["{}", r#"{"SqlSettings":{}}"#, r#"{"SqlSettings":{"DataSource":1}}"#, "[]", ""] {
            assert!(replace(text, &["SqlSettings", "DataSource"], "x").is_err(), "{text}");
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
            let new = replace(&pretty, &["sqlsettings", "datasource"], &value).unwrap();
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
            let all = |old: &str| Ok(vec![Replacement { range: 0..old.len(), with: value.clone() }]);
            let (new, edits) = change(&text, &setting(&["SqlSettings", "DataSource"]), &all).unwrap();
            let place = format!("\"DataSource\":{}", if pretty { " " } else { "" });
            let at = text.find(&format!("{place}{}", Value::from(old.as_str()))).unwrap() + place.len();
            let end = at + Value::from(old.as_str()).to_string().len();
            prop_assert!(new.starts_with(&text[..at]) && new.ends_with(&text[end..]));
            let written = &new[at..new.len() - (text.len() - end)];
            prop_assert_eq!(serde_json::from_str::<String>(written).unwrap(), value);
            prop_assert_eq!(edits.taken_back(written), Some(text[at..end].to_owned()));
        }

        #[test]
        fn what_is_not_json_is_an_error_and_no_panic(text in "[{}\\[\\]\"\\\\:, a]{0,40}") {
            if let Ok(new) = replace(&text, &["a", "a"], "b") {
                prop_assert!(serde_json::from_str::<Value>(&new).is_ok());
            }
        }
    }
}
