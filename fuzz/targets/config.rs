//! config.json, which belongs to the service user: no panic, and a change of the data source changes nothing else.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mm_common::mattermost::config;
use mm_common::postgres::source::DataSource;

const NEW: &str = "postgres://mmuser@/mattermost?host=/run/postgresql&a=<\u{e4}>";

fuzz_target!(|text: &[u8]| {
    let read = config::parse(text);
    let Ok(text) = std::str::from_utf8(text) else { return };
    if let Ok(settings) = &read
        && let Some(source) = settings["SqlSettings"]["DataSource"].as_str()
    {
        let _ = DataSource::parse(source);
    }
    let setting = ["SqlSettings", "DataSource"].map(str::to_owned);
    let all = |old: &str| Ok(vec![config::Replacement { range: 0..old.len(), with: NEW.into() }]);
    let Ok((changed, _)) = config::change(text, &setting, &all) else { return };
    let before = read.expect("only JSON is changed");
    let after = config::parse(changed.as_bytes()).expect("what was written reads");
    let differences = differences(&before, &after);
    assert!(differences <= 1, "{differences} strings have changed");
    assert!(changed.contains(r"/mattermost?host=/run/postgresql\u0026a=\u003c"));
});

/// How many values differ; another shape counts as many.
fn differences(one: &serde_json::Value, other: &serde_json::Value) -> usize {
    use serde_json::Value::{Array, Object};
    match (one, other) {
        (Object(one), Object(other)) if one.keys().eq(other.keys()) => {
            one.values().zip(other.values()).map(|(one, other)| differences(one, other)).sum()
        }
        (Array(one), Array(other)) if one.len() == other.len() => {
            one.iter().zip(other).map(|(one, other)| differences(one, other)).sum()
        }
        (one, other) if one == other => 0,
        (serde_json::Value::String(_), serde_json::Value::String(_)) => 1,
        _ => 100,
    }
}
