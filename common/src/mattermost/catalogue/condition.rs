//! Conditions of rules and notes, judged against what is known of a site.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::line::Dotted;
use crate::contract::version::Edition;

/// The database that a server uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// PostgreSQL.
    Postgres,
    /// MySQL, or `MariaDB` under its name.
    Mysql,
}

/// What is known of a site. `None` means that it is not known, never that it is not so.
#[derive(Debug, Clone, Copy, Default)]
pub struct Facts<'a> {
    /// The edition that will run.
    pub edition: Option<Edition>,
    /// The database.
    pub driver: Option<Driver>,
    /// The C library of the host.
    pub glibc: Option<&'a Dotted>,
    /// The effective configuration: the file or the database, with the environment's overrides applied.
    pub config: Option<&'a Value>,
    /// The short name of the licence (`E10`, `professional`); the empty text when there is none.
    pub licence: Option<&'a str>,
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// Nobody knows.
    Unknown,
}

impl Verdict {
    fn of(known: Option<bool>) -> Self {
        match known {
            Some(true) => Self::Yes,
            Some(false) => Self::No,
            None => Self::Unknown,
        }
    }
}

/// All parts that are given have to hold; none given: always.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Condition {
    edition: Option<Edition>,
    driver: Option<Driver>,
    glibc_below: Option<Dotted>,
    licence: Option<Vec<String>>,
    /// Configuration keys (`SqlSettings.DriverName`) with the value, or one of the values, that they must have.
    config: BTreeMap<String, Value>,
    /// Configuration keys of which at least one must be set to something other than off, empty or zero.
    config_in_use: Vec<String>,
}

impl Condition {
    /// Judges the condition. One part that does not hold decides; else one that is unknown does.
    pub fn holds(&self, facts: &Facts<'_>) -> Verdict {
        let mut verdict = Verdict::Yes;
        for part in self.parts(facts) {
            match part {
                Verdict::No => return Verdict::No,
                Verdict::Unknown => verdict = Verdict::Unknown,
                Verdict::Yes => {}
            }
        }
        verdict
    }

    fn parts(&self, facts: &Facts<'_>) -> Vec<Verdict> {
        let mut parts = Vec::new();
        if let Some(wanted) = self.edition {
            parts.push(Verdict::of(facts.edition.map(|edition| edition == wanted)));
        }
        if let Some(wanted) = self.driver {
            parts.push(Verdict::of(facts.driver.map(|driver| driver == wanted)));
        }
        if let Some(limit) = &self.glibc_below {
            parts.push(Verdict::of(facts.glibc.map(|glibc| glibc < limit)));
        }
        if let Some(wanted) = &self.licence {
            parts.push(Verdict::of(
                facts.licence.map(|licence| wanted.iter().any(|one| one.eq_ignore_ascii_case(licence))),
            ));
        }
        for (key, wanted) in &self.config {
            parts.push(Verdict::of(facts.config.map(|config| has_value(config, key, wanted))));
        }
        if !self.config_in_use.is_empty() {
            let used = |config: &Value| self.config_in_use.iter().any(|key| in_use(lookup(config, key)));
            parts.push(Verdict::of(facts.config.map(used)));
        }
        parts
    }
}

/// The value at `Section.Key`, or the whole section for a key without a dot. Names are compared without regard to case,
/// as 6.x renamed `...Url` to `...URL` and the like.
fn lookup<'a>(config: &'a Value, key: &str) -> &'a Value {
    let member = |value: &'a Value, name: &str| {
        let members = value.as_object()?;
        members.get(name).or_else(|| Some(members.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?.1))
    };
    key.split('.').fold(config, |value, part| member(value, part).unwrap_or(&Value::Null))
}

fn has_value(config: &Value, key: &str, wanted: &Value) -> bool {
    let value = lookup(config, key);
    match wanted {
        Value::Array(choices) => choices.contains(value),
        single => single == value,
    }
}

fn in_use(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => fields.values().any(in_use),
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::Bool(true) => true,
    }
}
