//! The document that travels through the pipe: one JSON object, schema `mm.upgrade/1`. Keys a tool does not know
//! survive, in order.

use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Map, Value};

use super::call;
use super::error::{Context as _, Error, Kind, Result};
use super::sections::{Failure, Run, Site};

/// The schema this code writes.
pub const SCHEMA: &str = "mm.upgrade/1";

/// A document. Its sections are read and written through types of [`super::sections`].
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    map: Map<String, Value>,
}

impl Default for Document {
    fn default() -> Self {
        let mut map = Map::new();
        map.insert("schema".into(), SCHEMA.into());
        Self { map }
    }
}

impl Document {
    /// Parses a document that stands at `place`: `on standard input`, or in a file.
    ///
    /// # Errors
    /// Kind `bad-document` (exit 65) when the text is empty, truncated, not a JSON object, or of another schema.
    pub fn parse(text: &[u8], place: &str) -> Result<Self> {
        let broken = |message: String| {
            Error::new(Kind::BadDocument, message).hint(if place.starts_with("in ") {
                "name a file that one of these tools has written, whole and as it is"
            } else {
                "the tool before this one failed or was killed; run the pipeline again"
            })
        };
        let part = |message: String| {
            Error::new(Kind::BadDocument, message)
                .hint("hand on the document of one tool, whole and as it is: no part of it, and no other one behind it")
        };
        if text.iter().all(u8::is_ascii_whitespace) {
            return Err(broken(format!("there is no document {place}")));
        }
        let value: Value = serde_json::from_slice(text).map_err(|error| {
            let first = serde_json::Deserializer::from_slice(text).into_iter::<IgnoredAny>().next();
            let told = match first {
                Some(Ok(_)) => part(format!("there is more than one document {place}")),
                _ => broken(format!("the document {place} is broken")),
            };
            told.because(&error).because(there(text, &error))
        })?;
        let kind = match &value {
            Value::Object(_) => "an object",
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::String(_) => "a text",
            Value::Array(_) => "a list",
        };
        let Value::Object(map) = value else {
            return Err(part(format!("the JSON {place} is {kind} and not a document, which is an object")));
        };
        match map.get("schema").and_then(Value::as_str) {
            Some(SCHEMA) => Ok(Self { map }),
            Some(other) => Err(Error::new(Kind::BadDocument, format!("the document has schema `{other}`"))
                .because(format!("this tool reads `{SCHEMA}`"))
                .hint("use tools of one version in a pipeline")),
            None => Err(broken(format!("the JSON {place} is not a document of mm-tools: it names no schema"))),
        }
    }

    /// The document as JSON with a newline at its end.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(&self.map).unwrap_or_default();
        text.push('\n');
        text
    }

    /// A section, when it is there.
    ///
    /// # Errors
    /// Kind `bad-document` when it does not have the section's shape.
    pub fn section<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => T::deserialize(value).map(Some).map_err(|error| {
                Error::new(Kind::BadDocument, format!("the section `{key}` of the document is not as it should be"))
                    .because(error)
                    .hint("begin again with mm-path: what is done already is recognised on the machine")
            }),
        }
    }

    /// Writes a section. A key that stands already keeps its place.
    pub fn set<T: Serialize>(&mut self, key: &str, section: &T) -> Result<()> {
        let mut value = serde_json::to_value(section).context(|| format!("cannot write the section `{key}`"))?;
        lead_hints(&mut value);
        self.map.insert(key.into(), value);
        Ok(())
    }

    /// Removes a section.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        self.map.shift_remove(key)
    }

    /// A key as it stands.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key)
    }

    /// `run`.
    pub fn run(&self) -> Result<Option<Run>> {
        self.section("run")
    }

    /// `site`.
    pub fn site(&self) -> Result<Option<Site>> {
        self.section("site")
    }

    /// `error`, when an earlier tool failed.
    pub fn failure(&self) -> Result<Option<Failure>> {
        self.section("error")
    }

    /// Whether nothing may be changed by any tool that reads this document.
    pub fn dry_run(&self) -> Result<bool> {
        Ok(self.run()?.is_some_and(|run| run.dry_run))
    }

    /// Records how a tool ended: `changed` stays true once it is, `failed` and `msg` are the last tool's.
    pub fn report(&mut self, changed: bool, failed: bool, message: &str) {
        let before = self.map.get("changed").and_then(Value::as_bool).unwrap_or(false);
        self.map.insert("changed".into(), (before || changed).into());
        self.map.insert("failed".into(), failed.into());
        self.map.insert("msg".into(), message.into());
    }

    /// Records a failure of `tool`, and how the server is after it.
    pub fn fail(&mut self, tool: &str, error: &Error, state: Option<String>) -> Result<()> {
        let kind = serde_json::to_value(error.kind()).ok().and_then(|kind| kind.as_str().map(str::to_owned));
        self.set(
            "error",
            &Failure {
                tool: tool.into(),
                code: error.code(),
                kind: kind.unwrap_or_default(),
                message: error.message().into(),
                causes: error.causes().to_vec(),
                state,
                hint: error.next_step().map(str::to_owned),
            },
        )
    }
}

/// Keys under which a section says what to do next.
const HINTS: [&str; 3] = ["hint", "fix", "action"];

/// What a section says to do leads to what this tool was called on.
fn lead_hints(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(lead_hints),
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(text) if HINTS.contains(&key.as_str()) => *text = call::hint(text).into_owned(),
                    value => lead_hints(value),
                }
            }
        }
        _ => {}
    }
}

/// What stands where a text cannot be read as JSON.
fn there(text: &[u8], error: &serde_json::Error) -> String {
    const AROUND: usize = 30;
    let line = text.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let line: Vec<char> = String::from_utf8_lossy(line).chars().collect();
    let at = error.column().min(line.len());
    let shown: String = line[at.saturating_sub(AROUND)..(at + AROUND).min(line.len())].iter().collect();
    if shown.trim().is_empty() {
        format!("line {} is empty there", error.line())
    } else {
        format!("there stands `{}`", shown.trim())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn unknown_keys_survive_in_order() {
        let text = r#"{"zebra":1,"schema":"mm.upgrade/1","apple":{"b":2,"a":1},"run":{"id":"x","started":"now"}}"#;
        let mut document = Document::parse(text.as_bytes(), "here").unwrap();
        document.set("fetch", &super::super::sections::Fetch::default()).unwrap();
        let written: Value = serde_json::from_str(&document.to_json()).unwrap();
        let keys: Vec<_> = written.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["zebra", "schema", "apple", "run", "fetch"]);
        assert_eq!(written["apple"].to_string(), r#"{"b":2,"a":1}"#);
    }

    #[test]
    fn empty_truncated_and_foreign_documents_are_refused_with_65() {
        const ONE: &str = r#"{"schema":"mm.upgrade/1"}"#;
        for (text, words) in [
            ("", "there is no document"),
            (" \n", "there is no document"),
            ("{", "is broken"),
            ("null", "is null and not a document"),
            ("[]", "is a list and not a document"),
            (&format!("[{ONE}]"), "is a list and not a document"),
            ("\"x\"", "is a text and not a document"),
            ("{}", "names no schema"),
            (r#"{"schema":"mm.upgrade/2"}"#, "has schema `mm.upgrade/2`"),
            (&format!("{ONE} x"), "more than one document"),
            (&format!("{ONE}\n{ONE}\n"), "more than one document"),
        ] {
            let error = Document::parse(text.as_bytes(), "here").unwrap_err();
            assert_eq!(error.code(), 65, "{text:?}");
            assert!(error.message().contains(words), "{text:?}: {}", error.message());
            assert!(error.next_step().is_some(), "{text:?}");
        }
    }

    #[test]
    fn changed_stays_true() {
        let mut document = Document::default();
        document.report(true, false, "one");
        document.report(false, false, "two");
        assert_eq!(document.get("changed"), Some(&Value::Bool(true)));
        assert_eq!(document.get("msg").and_then(Value::as_str), Some("two"));
    }

    proptest! {
        /// What people and later versions put into a document comes out of every tool as it went in, in its place.
        #[test]
        fn unknown_keys_keep_their_values_and_their_order(
            unknown in proptest::collection::vec(("x-[a-z]{0,8}", ".{0,20}", any::<i64>(), proptest::num::f64::NORMAL), 0..8),
            at in 0_usize..8,
        ) {
            let mut map = Map::new();
            for (number, (key, text, value, fraction)) in unknown.into_iter().enumerate() {
                if number == at {
                    map.insert("schema".into(), SCHEMA.into());
                    map.insert("fetch".into(), Value::Null);
                }
                map.insert(key, serde_json::json!({"z": text, "a": [value, null, {"b": true, "a": fraction}]}));
            }
            map.insert("schema".into(), SCHEMA.into());
            let text = Value::Object(map.clone()).to_string();

            let mut document = Document::parse(text.as_bytes(), "here").unwrap();
            document.set("fetch", &super::super::sections::Fetch::default()).unwrap();
            document.set("verify", &1).unwrap();
            document.remove("verify");
            document.report(true, true, "no");
            document.fail("mm-swap", &Error::failed("no"), None).unwrap();

            let written: Map<String, Value> = serde_json::from_str(&document.to_json()).unwrap();
            let old = |key: &&String| map.contains_key(*key);
            prop_assert!(written.keys().filter(old).eq(map.keys()), "{:?} {:?}", written, map);
            for (key, value) in map.iter().filter(|(key, _)| *key != "fetch") {
                prop_assert_eq!(written[key].to_string(), value.to_string());
            }
        }
    }
}
