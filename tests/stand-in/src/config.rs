//! `config.json`: read, stripped of what the version does not know, completed with what it adds, and rewritten in place before anything else happens.
//! Facts: 5.29.0 to 11.6.0 observed; four spaces, no newline at the end, `&` as `\u0026`, truncate and write (not atomic).

mod stored;

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::emulated::Version;
use crate::error::{Error, Result};
use crate::text;

const TABLE: &str = include_str!("../data/config.tsv");

/// The configuration in force: the file, completed, with the overrides of the environment.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    value: Value,
    /// Which keys the environment overrides, in the form of `GET /config/environment`.
    pub(crate) overridden: Map<String, Value>,
}

/// How loading went, for the messages that differ.
pub(crate) struct Loaded {
    pub(crate) config: Config,
    /// The file needed additions and could not be written (5.x starts all the same).
    pub(crate) unwritable: Option<String>,
}

impl Config {
    /// Loads, completes and rewrites the file; a missing one is created.
    ///
    /// # Errors
    /// The texts of the version for an unreadable, broken or (6.0 and newer) read-only file.
    pub(crate) fn load(path: &Path, version: Version, environment: &[(String, String)]) -> Result<Loaded> {
        let shown = path.display();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(_) => return Err(Error::new(format!("failed to load configuration: open {shown}: permission denied"))),
        };
        let found = match &text {
            None => json!({}),
            Some(text) => serde_json::from_str(text).map_err(|error| broken(version, text, &error))?,
        };
        let completed = complete(&found, version);
        let mut unwritable = None;
        if text.is_none() || completed != found {
            let mode = if version.at_least(6, 0) { 0o644 } else { 0o600 };
            if let Err(problem) = write(path, &completed, mode) {
                if version.at_least(6, 0) && text.is_some() {
                    return Err(Error::new(format!(
                        "failed to load configuration: failed to create store: unable to load on store creation: failed to persist: \
                         failed to write file: {problem}"
                    )));
                }
                unwritable = Some(problem);
            }
        }
        let mut config = Self { value: completed, overridden: Map::new() };
        config.overlay(version, environment);
        Ok(Loaded { config, unwritable })
    }

    /// The same out of a database.
    pub(crate) fn load_stored(source: &str, version: Version, environment: &[(String, String)]) -> Result<Loaded> {
        let mut config = Self { value: stored::load(source, version)?, overridden: Map::new() };
        config.overlay(version, environment);
        Ok(Loaded { config, unwritable: None })
    }

    /// Puts `MM_SECTION_KEY` of the environment over the file. Never written back.
    fn overlay(&mut self, version: Version, environment: &[(String, String)]) {
        for row in text::rows(TABLE) {
            let [section, key, from, until, default] = row.as_slice() else { continue };
            if !version.within(from, until) {
                continue;
            }
            let name = format!("MM_{}_{}", section.to_uppercase(), key.to_uppercase());
            let Some((_, said)) = environment.iter().find(|(variable, _)| *variable == name) else { continue };
            let kind: Value = serde_json::from_str(default).unwrap_or_default();
            let value = match kind {
                Value::String(_) => json!(said),
                Value::Array(_) => json!(said.split_whitespace().collect::<Vec<_>>()),
                _ => serde_json::from_str(said).unwrap_or(kind),
            };
            if let Some(slot) = self.value.get_mut(*section).and_then(|section| section.get_mut(*key)) {
                *slot = value;
                let entry = self.overridden.entry((*section).to_owned()).or_insert_with(|| json!({}));
                if let Value::Object(entry) = entry {
                    entry.insert((*key).to_owned(), json!(true));
                }
            }
        }
    }

    pub(crate) fn get(&self, section: &str, key: &str) -> Option<&Value> {
        self.value.get(section)?.get(key)
    }

    pub(crate) fn text(&self, section: &str, key: &str) -> String {
        self.get(section, key).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    pub(crate) fn on(&self, section: &str, key: &str) -> bool {
        self.get(section, key).and_then(Value::as_bool).unwrap_or_default()
    }

    pub(crate) fn whole(&self) -> &Value {
        &self.value
    }

    /// The configuration as the API shows it: secrets and the data source replaced by asterisks.
    pub(crate) fn masked(&self) -> Value {
        let mut shown = self.value.clone();
        for (section, key) in SECRETS {
            if let Some(slot) = shown.get_mut(*section).and_then(|section| section.get_mut(*key))
                && slot.as_str().is_some_and(|text| !text.is_empty())
            {
                *slot = json!("********************************");
            }
        }
        shown
    }
}

const SECRETS: &[(&str, &str)] = &[
    ("SqlSettings", "DataSource"),
    ("SqlSettings", "AtRestEncryptKey"),
    ("FileSettings", "PublicLinkSalt"),
    ("FileSettings", "AmazonS3SecretAccessKey"),
    ("EmailSettings", "SMTPPassword"),
    ("GitLabSettings", "Secret"),
    ("GoogleSettings", "Secret"),
    ("Office365Settings", "Secret"),
    ("OpenIdSettings", "Secret"),
    ("LdapSettings", "BindPassword"),
    ("ElasticsearchSettings", "Password"),
];

/// The document this version would make of `found`: its keys only, values kept (found under another spelling of the key too), defaults for the rest.
fn complete(found: &Value, version: Version) -> Value {
    let sections = found.as_object();
    let mut result = Map::new();
    for row in text::rows(TABLE) {
        let [section, key, from, until, default] = row.as_slice() else { continue };
        if !version.within(from, until) {
            continue;
        }
        let given = sections.and_then(|sections| insensitive(sections, section)).and_then(Value::as_object);
        let mut value = match given.and_then(|given| insensitive(given, key)) {
            Some(value) if !value.is_null() => value.clone(),
            _ => serde_json::from_str(default).unwrap_or_default(),
        };
        if matches!((*section, *key), ("SqlSettings", "AtRestEncryptKey") | ("FileSettings", "PublicLinkSalt"))
            && value == json!("")
        {
            value = json!(text::hex(&text::random()).chars().take(32).collect::<String>());
        }
        if (*section, *key) == ("SqlSettings", "DataSource") && given.is_none() {
            value = json!(default_source(version));
        }
        if (*section, *key) == ("SqlSettings", "DriverName") && given.is_none() && !version.at_least(6, 0) {
            value = json!("mysql");
        }
        // A site URL without and a directory with a slash at its end, whatever the administrator has written.
        if let Some(text) = value.as_str().filter(|text| !text.is_empty()) {
            match (*section, *key) {
                ("ServiceSettings", "SiteURL") => value = json!(text.trim_end_matches('/')),
                ("FileSettings", "Directory") => value = json!(format!("{}/", text.trim_end_matches('/'))),
                _ => {}
            }
        }
        let entry = result.entry((*section).to_owned()).or_insert_with(|| json!({}));
        if let Value::Object(entry) = entry {
            entry.insert((*key).to_owned(), value);
        }
    }
    Value::Object(result)
}

fn default_source(version: Version) -> &'static str {
    if version.at_least(6, 0) {
        "postgres://mmuser:mostest@localhost/mattermost_test?sslmode=disable&connect_timeout=10&binary_parameters=yes"
    } else {
        "mmuser:mostest@tcp(localhost:3306)/mattermost_test?charset=utf8mb4,utf8&readTimeout=30s&writeTimeout=30s"
    }
}

/// The configuration a fresh release carries.
pub(crate) fn of_release(version: Version) -> String {
    let mut value = complete(&json!({}), version);
    for (section, key, kept) in [
        ("SqlSettings", "DriverName", json!("postgres")),
        ("SqlSettings", "AtRestEncryptKey", json!("")),
        ("FileSettings", "PublicLinkSalt", json!("")),
        (
            "SqlSettings",
            "DataSource",
            json!("postgres://mmuser:mostest@localhost/mattermost_test?sslmode=disable&connect_timeout=10"),
        ),
    ] {
        if let Some(slot) = value.get_mut(section).and_then(|section| section.get_mut(key)) {
            *slot = kept;
        }
    }
    render(&value)
}

fn insensitive<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    map.get(key).or_else(|| map.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value))
}

fn render(value: &Value) -> String {
    let mut bytes = Vec::new();
    let mut writer =
        serde_json::Serializer::with_formatter(&mut bytes, serde_json::ser::PrettyFormatter::with_indent(b"    "));
    let _ = serde::Serialize::serialize(value, &mut writer);
    let text = String::from_utf8(bytes).unwrap_or_default();
    text.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e")
}

/// In place, truncated first: a full disk leaves half a file, as with the real one.
fn write(path: &Path, value: &Value, mode: u32) -> Result<(), String> {
    let denied = |error: &std::io::Error| {
        let why = if error.kind() == std::io::ErrorKind::PermissionDenied {
            "permission denied".to_owned()
        } else {
            error.to_string()
        };
        format!("open {}: {why}", path.display())
    };
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)
        .map_err(|error| denied(&error))?;
    file.write_all(render(value).as_bytes()).map_err(|error| denied(&error))
}

fn broken(version: Version, text: &str, error: &serde_json::Error) -> Error {
    let why = if error.is_eof() || text.trim().is_empty() {
        "unexpected end of JSON input".to_owned()
    } else {
        error.to_string()
    };
    let place = format!("parsing error at line {}, character {}: {why}", error.line(), error.column());
    if version.at_least(6, 0) {
        Error::new(format!(
            "failed to load configuration: failed to create store: unable to load on store creation: {place}"
        ))
    } else {
        Error::new(format!(
            "failed to load configuration: failed to load: failed to unmarshal config with env overrides: {place}"
        ))
    }
}
