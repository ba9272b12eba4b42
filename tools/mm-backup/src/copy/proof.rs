//! Whether a copy would reach more than its own: its database, its port, its files, and no host but this machine. Pure.

use std::path::Path;

use mm_common::contract::error::{Error, Result};
use mm_common::contract::{shell, ui};
use mm_common::mattermost::config::Config;
use mm_common::postgres::source::DataSource;
use serde_json::Value;

use super::names;
use super::place::{Named, Place};
use super::record::Record;

/// The check that `--accept` lets through.
pub(crate) const ACCEPT: &str = "outside";

/// Faults that are shown.
const SHOWN: usize = 10;

/// Refuses a configuration by which the copy would reach anything that is not its own.
///
/// # Errors
/// Refused (exit 5), with what it names.
pub(crate) fn require(config: &Config, record: &Record, ports: &[u16], accepted: bool) -> Result<()> {
    let own = Own {
        place: &record.place(),
        listen: &record.listen(),
        ports,
        avoided: &record.avoided,
        with_plugins: record.with_plugins,
    };
    let mut found = own.faults(&config.settings);
    let variables = config.overrides.iter().filter(|variable| variable.name.starts_with("MM_"));
    found.extend(variables.map(|variable| format!("the variable {} is set for it", variable.name)));
    if found.is_empty() {
        return Ok(());
    }
    if accepted {
        for fault in &found {
            ui::warn(fault);
        }
        return Ok(());
    }
    let error = Error::refused(format!("the copy in `{}` would reach more than its own", record.directory.display()));
    let error = found.into_iter().take(SHOWN).fold(error, Error::because);
    Err(error.hint(format!(
        "correct its configuration (below {}), or start it as it is with --accept {ACCEPT}",
        shell::word(record.place().root())
    )))
}

/// What is a copy's own.
struct Own<'a> {
    place: &'a Place,
    listen: &'a str,
    /// The ports of its clusters.
    ports: &'a [u16],
    /// Ports of the original.
    avoided: &'a [u16],
    with_plugins: bool,
}

impl Own<'_> {
    /// What the settings name besides, in words; no values, which may be secrets.
    fn faults(&self, settings: &Value) -> Vec<String> {
        let text = |section: &str, key: &str| settings[section][key].as_str().unwrap_or_default();
        let mut found = Vec::new();
        match DataSource::parse(text("SqlSettings", "DataSource")) {
            Ok(source) if source.host == "127.0.0.1" && self.ports.contains(&source.port) => {}
            _ => found.push("SqlSettings.DataSource is not a database of the copy".to_owned()),
        }
        let listen = text("ServiceSettings", "ListenAddress");
        if listen != self.listen {
            found.push(format!("ServiceSettings.ListenAddress is `{listen}`, and {} is the copy's", self.listen));
        }
        for (section, key, expected) in
            [("SqlSettings", "DriverName", "postgres"), ("FileSettings", "DriverName", "local")]
        {
            if text(section, key) != expected {
                found.push(format!("{section}.{key} is not `{expected}`"));
            }
        }
        for (section, all) in settings.as_object().into_iter().flatten() {
            for (key, value) in all.as_object().into_iter().flatten() {
                let is_seen = section == "SqlSettings" && key == "DataSource";
                if !is_seen && !is_unused(section, key, all) {
                    self.look(section, key, key, value, &mut found);
                }
            }
        }
        found
    }

    fn look(&self, section: &str, setting: &str, key: &str, value: &Value, found: &mut Vec<String>) {
        if names::is_exempt(section, setting, self.with_plugins) {
            return;
        }
        match value {
            Value::Object(members) => {
                members.iter().for_each(|(name, member)| self.look(section, setting, name, member, found));
            }
            Value::Array(list) => list.iter().for_each(|member| self.look(section, setting, key, member, found)),
            Value::String(text) => {
                let (what, named) = match names::host(key, text) {
                    Some((host, _)) if !names::is_loopback(&host) => ("the host", host),
                    Some((_, Some(port))) if self.avoided.contains(&port) => {
                        ("a port of the original,", port.to_string())
                    }
                    None if self.is_outside(key, text) => ("the path", text.clone()),
                    _ => return,
                };
                found.push(format!("{section}.{setting} names {what} {named}"));
            }
            _ => {}
        }
    }

    fn is_outside(&self, key: &str, text: &str) -> bool {
        let path = Path::new(text);
        if path.starts_with(&self.place.directory) {
            return false;
        }
        path.starts_with(&self.place.install)
            || names::names_path(key, text) && !matches!(self.place.named(text), Named::Within)
    }
}

/// Whether a setting has no effect, because what it is for is off. The server writes addresses of its makers and of others into
/// some of them by itself.
fn is_unused(section: &str, key: &str, all: &Value) -> bool {
    let off = |name: &str| all[name] == false;
    match section {
        "FileSettings" => names::is_of_bucket(section, key) && all["DriverName"] == "local",
        "PluginSettings" => key.starts_with("Marketplace") && off("EnableMarketplace"),
        "AnnouncementSettings" => off("AdminNoticesEnabled") && off("UserNoticesEnabled"),
        "ElasticsearchSettings" => off("EnableIndexing") && off("EnableSearching") && off("EnableAutocomplete"),
        // Asked for by an administrator's order only.
        "CloudSettings" => true,
        _ => off("Enable"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::settings;
    use super::*;

    fn faults(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let place = Place { directory: "/srv/copy".into(), install: "/opt/mattermost".into() };
        let mut config = json!({
            "FileSettings": {"Directory": "/srv/data", "AmazonS3Endpoint": "s3.example.com"},
            "SqlSettings": {"DataSource": "postgres://u:p@db/mm"}, "EmailSettings": {"SMTPServer": "mail.example.com"}
        });
        let source = "postgres://u:p@127.0.0.1:20001/mm?sslmode=disable";
        let own = settings::Own { place: &place, source, listen: "127.0.0.1:20002", with_plugins: false };
        settings::change(&mut config, &own).unwrap();
        // As a server writes it.
        config["FileSettings"]["AmazonS3Endpoint"] = json!("s3.amazonaws.com");
        config["PluginSettings"]["MarketplaceURL"] = json!("https://api.integrations.mattermost.com");
        config["GoogleSettings"] =
            json!({"Enable": false, "AuthEndpoint": "https://accounts.google.com/o/oauth2/v2/auth"});
        change(&mut config);
        Own { place: &place, listen: "127.0.0.1:20002", ports: &[20001], avoided: &[8065, 5432], with_plugins: false }
            .faults(&config)
    }

    #[test]
    fn what_settings_make_of_a_configuration_is_proven() {
        assert_eq!(faults(|_| {}), Vec::<String>::new());
    }

    #[test]
    fn everything_that_is_not_the_copys_is_found() {
        for (section, key, value) in [
            ("SqlSettings", "DataSource", json!("postgres://u:hunter2@127.0.0.1:5432/mm?sslmode=disable")),
            ("SqlSettings", "DataSource", json!("postgres://u:hunter2@127.0.0.1:20001/mm?host=/run/postgresql")),
            ("SqlSettings", "DataSourceReplicas", json!(["postgres://u:hunter2@replica/mm"])),
            ("ServiceSettings", "ListenAddress", json!(":8065")),
            ("ServiceSettings", "SiteURL", json!("http://127.0.0.1:8065")),
            ("FileSettings", "DriverName", json!("amazons3")),
            ("FileSettings", "Directory", json!("/opt/mattermost/data")),
            ("FileSettings", "Directory", json!("../../../srv/data")),
            ("EmailSettings", "SMTPServer", json!("mail.example.com")),
            ("NewSettings", "Nested", json!({"Endpoint": "https://new.example.com"})),
            ("LogSettings", "FileLocation", json!("/var/log/mattermost")),
        ] {
            let found = faults(|config| config[section][key] = value.clone());
            let setting = format!("{section}.{key}");
            assert!(found.first().is_some_and(|fault| fault.contains(&setting)), "{setting} {value}: {found:?}");
            assert!(!found.concat().contains("hunter2"), "{found:?}");
        }
    }
}
