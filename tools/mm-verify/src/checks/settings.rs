//! Settings that vanished or changed. Values are never shown: some of them are secrets.

use std::collections::BTreeMap;

use mm_common::Result;
use mm_common::contract::error::Context as _;
use mm_common::machine::files;
use mm_common::mattermost::way_back;
use serde_json::Value;

use crate::check::{Finding, some};
use crate::look::Look;

/// Settings whose change takes the server away from its users or its data.
const VITAL: &[&str] = &[
    "filesettings.directory",
    "filesettings.drivername",
    "pluginsettings.enable",
    "servicesettings.connectionsecurity",
    "servicesettings.listenaddress",
    "servicesettings.siteurl",
    "sqlsettings.datasource",
    "sqlsettings.drivername",
];

/// Settings then and now in a form in which they can be compared, and a name for then.
struct Pair {
    before: BTreeMap<String, String>,
    now: BTreeMap<String, String>,
    label: String,
}

/// The restore point of this hop knows the settings themselves, the baseline their digests.
fn pair(look: &Look) -> Result<Option<Pair>> {
    let settings = &look.installation.config.settings;
    if let (Some(backup), Some(path)) = (&look.backup, &look.installation.config.path) {
        let copy = backup.path.join("files").join(path.strip_prefix("/").unwrap_or(path));
        if files::look(&copy)?.is_some() {
            let text = files::read(&copy, MOST)?;
            let before: Value =
                serde_json::from_slice(&text).context(|| format!("cannot read `{}`", copy.display()))?;
            let label = format!("the restore point {}", backup.id);
            return Ok(Some(Pair { before: flatten(&before), now: flatten(settings), label }));
        }
    }
    Ok(look.baseline.as_ref().map(|baseline| Pair {
        before: baseline.settings.clone(),
        now: baseline.digests_of(settings),
        label: format!("the baseline of {} ({})", baseline.created, baseline.version),
    }))
}

/// No configuration is larger.
const MOST: u64 = 16 * 1024 * 1024;

pub(crate) fn kept(look: &mut Look) -> Result<Finding> {
    let Some(Pair { before, now, label }) = pair(look)? else {
        return Ok(Finding::skip("neither a restore point nor a baseline is at hand to compare with")
            .hint("run `mm-verify baseline` before the next upgrade"));
    };
    let repointed = look.pgbump.as_ref().is_some_and(|pgbump| !pgbump.repointed.is_empty()) || is_led(look);
    let (lost, changed) = compare(&before, &now, repointed);
    let vital: Vec<&str> =
        lost.iter().chain(&changed).map(String::as_str).filter(|name| VITAL.contains(name)).collect();
    let mut words = Vec::new();
    if !changed.is_empty() {
        words.push(format!("changed: {}", some(&changed, 8)));
    }
    if !lost.is_empty() {
        // A release drops some at its first start; none of those that stayed was changed in value (observed).
        words.push(format!("gone: {}", some(&lost, 8)));
    }
    let finding = if !vital.is_empty() {
        Finding::fail(format!("{} (vital: {})", words.join("; "), vital.join(", ")))
            .hint("compare with the configuration in the restore point; `mm-backup restore ID --config` puts it back")
    } else if !changed.is_empty() {
        Finding::warn(words.join("; "))
    } else if words.is_empty() {
        Finding::pass(format!("all {} settings are as they were", now.len()))
    } else {
        Finding::pass(format!("no value changed; {}", words.join("; ")))
    };
    Ok(finding.against(label))
}

/// Whether mm-pgbump has led the server to the database that it works with since the baseline was made: by itself, or in an
/// earlier hop.
fn is_led(look: &Look) -> bool {
    let (Some(baseline), Ok(database)) = (&look.baseline, look.database()) else { return false };
    way_back::led_since(look.installation.state.path(), &baseline.created, database).unwrap_or(false)
}

/// Names of settings that are gone, and of those whose value changed.
fn compare(
    before: &BTreeMap<String, String>,
    now: &BTreeMap<String, String>,
    repointed: bool,
) -> (Vec<String>, Vec<String>) {
    let mut lost = Vec::new();
    let mut changed = Vec::new();
    for (name, value) in before {
        match now.get(name) {
            // A baseline of an earlier mm-verify holds a whole object under the name.
            None if now
                .keys()
                .any(|other| other.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('.'))) => {}
            None => lost.push(name.clone()),
            // mm-pgbump changed it on purpose.
            Some(_) if repointed && holds_data_source(name) => {}
            // A move out of MySQL, too.
            Some(value) if repointed && name == "sqlsettings.drivername" && value.contains("postgres") => {}
            Some(other) if other != value => changed.push(name.clone()),
            Some(_) => {}
        }
    }
    (lost, changed)
}

/// Whether mm-pgbump may have changed it: the data sources of the server and of its replicas.
fn holds_data_source(name: &str) -> bool {
    name.starts_with("sqlsettings.datasource") || name.starts_with("sqlsettings.replicalagsettings")
}

/// Settings in which every server puts a slash at the end, or takes it away, as it starts.
const TIDIED: &[&str] = &["filesettings.directory", "servicesettings.siteurl"];

/// The settings by their names, `section.key` and deeper, in lower case: up to 6.3 some were only respelled (`Url` to `URL`).
/// Each is one that stands by itself, so that a server that adds keys inside of one has changed nothing: 6.x and later do so
/// in `MessageExportSettings.GlobalRelaySettings` and `PluginSettings.PluginStates` at their start (observed).
pub(crate) fn flatten(settings: &Value) -> BTreeMap<String, String> {
    let mut flat = BTreeMap::new();
    gather(settings, String::new(), &mut flat);
    flat
}

fn gather(value: &Value, name: String, flat: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(keys) if name.is_empty() || !keys.is_empty() => {
            for (key, value) in keys {
                let dot = if name.is_empty() { "" } else { "." };
                gather(value, format!("{name}{dot}{}", key.to_lowercase()), flat);
            }
        }
        Value::Array(list) if list.iter().any(Value::is_object) => {
            for (index, entry) in list.iter().enumerate() {
                gather(entry, format!("{name}.{index}"), flat);
            }
            flat.insert(name, format!("{} entries", list.len()));
        }
        // An empty object says no more than one that is not there.
        Value::Object(_) => {}
        Value::String(text) if TIDIED.contains(&name.as_str()) => {
            flat.insert(name, text.trim_end_matches('/').to_owned());
        }
        other => {
            flat.insert(name, other.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(text: &str) -> BTreeMap<String, String> {
        flatten(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn a_new_spelling_is_no_loss() {
        let before = flat(r#"{"ServiceSettings": {"SiteUrl": "x", "Old": 1}, "SqlSettings": {"DataSource": "a"}}"#);
        let now = flat(r#"{"ServiceSettings": {"SiteURL": "x", "New": 1}, "SqlSettings": {"DataSource": "b"}}"#);
        let (lost, changed) = compare(&before, &now, false);
        assert_eq!((lost, changed), (vec!["servicesettings.old".into()], vec!["sqlsettings.datasource".into()]));
        assert!(compare(&before, &now, true).1.is_empty());
        let before = flat(
            r#"{"ServiceSettings": {"SiteURL": "http://x/"}, "FileSettings": {"Directory": "/d", "Driver": "a"}}"#,
        );
        let now = flat(
            r#"{"ServiceSettings": {"SiteURL": "http://x"}, "FileSettings": {"Directory": "/d/", "Driver": "a/"}}"#,
        );
        assert_eq!(compare(&before, &now, false).1, ["filesettings.driver"]);
    }

    #[test]
    fn a_key_added_at_any_depth_is_no_change_and_a_changed_one_is() {
        let before = flat(
            r#"{"MessageExportSettings": {"GlobalRelaySettings": {"SmtpUsername": "a", "Deep": {"X": 1}}},
                "PluginSettings": {"PluginStates": {"com.x": {"Enable": true}}, "Plugins": {}}}"#,
        );
        let now = flat(
            r#"{"MessageExportSettings": {"GlobalRelaySettings": {"SMTPUsername": "a", "SmtpTimeout": 1800, "Deep": {"x": 1, "Y": 2}}},
                "PluginSettings": {"PluginStates": {"com.x": {"Enable": true}, "playbooks": {"Enable": true}}, "Plugins": {"playbooks": {"a": 1}}}}"#,
        );
        assert_eq!(compare(&before, &now, false), (vec![], vec![]));
        let other = flat(r#"{"PluginSettings": {"PluginStates": {"com.x": {"Enable": false}}}}"#);
        assert_eq!(compare(&before, &other, false).1, ["pluginsettings.pluginstates.com.x.enable"]);
    }
}
