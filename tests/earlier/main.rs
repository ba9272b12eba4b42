//! What earlier programs wrote is read, finished, or refused with a command that works (see README.md beside this).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a test fails by panicking, and its files need not outlive a power cut"
)]

mod documents;
#[cfg(feature = "checkpoints")]
mod journals;
mod run;
mod state;
mod store;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use mm_test_support::site::Site;
use serde_json::{Map, Value};

/// Stands for what belongs to the host.
const HOST: &str = "@";

fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/earlier/recorded").join(name)
}

fn read(path: &Path) -> Value {
    let text = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What was recorded, with what belongs to the host as the program of today has written it.
fn filled(name: &str, today: &Value) -> Value {
    fill(&read(&recorded(name)), today, name)
}

fn fill(recorded: &Value, today: &Value, at: &str) -> Value {
    match (recorded, today) {
        (Value::String(text), today) if text == HOST => {
            assert!(!today.is_null(), "today's program has written nothing at {at}");
            today.clone()
        }
        (Value::Object(keys), today) => {
            let of = |(key, value): (&String, &Value)| (key.clone(), fill(value, &today[key], &format!("{at}.{key}")));
            Value::Object(keys.iter().map(of).collect::<Map<_, _>>())
        }
        (Value::Array(samples), Value::Array(all)) if samples.iter().any(is_filled) => {
            let kinds = all.iter().enumerate().filter_map(|(number, one)| {
                let sample = samples.iter().find(|sample| is_of_kind(sample, one))?;
                Some(fill(sample, one, &format!("{at}[{number}]")))
            });
            Value::Array(kinds.collect())
        }
        _ => recorded.clone(),
    }
}

fn is_filled(value: &Value) -> bool {
    match value {
        Value::String(text) => text == HOST,
        Value::Array(all) => all.iter().any(is_filled),
        Value::Object(keys) => keys.values().any(is_filled),
        _ => false,
    }
}

/// The words of a sample say which kind it is of.
fn is_of_kind(sample: &Value, one: &Value) -> bool {
    sample.as_object().is_none_or(|keys| {
        keys.iter().filter(|(_, value)| value.is_string() && *value != HOST).all(|(key, value)| one[key] == *value)
    })
}

/// The state directory of a site.
fn state(site: &Site) -> PathBuf {
    let mut all = fs::read_dir(site.state()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    all.next().unwrap()
}

/// Puts what was recorded into the place of what today's program has written there.
fn put(path: &Path, name: &str) {
    let text = serde_json::to_vec_pretty(&filled(name, &read(path))).unwrap();
    fs::write(path, text).unwrap();
}

/// The only file of a directory.
fn only(directory: &Path) -> PathBuf {
    let all: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(all.len(), 1, "{all:?}");
    all[0].clone()
}

/// What a tool answers to these words.
fn ask(site: &Site, tool: &str, words: &[&str]) -> Output {
    site.tool(tool).args(words).output().unwrap()
}

/// Its document; it must have ended well.
fn good(site: &Site, tool: &str, words: &[&str]) -> Value {
    document(&ask(site, tool, words), 0)
}

fn document(output: &Output, code: i32) -> Value {
    assert_eq!(output.status.code(), Some(code), "{}", said(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
