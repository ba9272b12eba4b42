//! The configuration of a copy, made of the original's. Pure.
//!
//! First everything that names a host is taken out and every path is led below the copy, whatever setting it is in; then
//! the switches are set by which a server reaches users, other servers or outside services. What the server would set
//! by itself where nothing is said stands there, too.

use mm_common::contract::error::{Error, Result};
use mm_common::contract::shell;
use serde_json::{Map, Value, json};

use super::names;
use super::place::{Named, Place};

/// What the copy is to have for its own.
pub(crate) struct Own<'a> {
    /// Where its files are.
    pub place: &'a Place,
    /// Its data source.
    pub source: &'a str,
    /// Address and port on loopback.
    pub listen: &'a str,
    /// Its plugins run, and keep the hosts that their settings name.
    pub with_plugins: bool,
}

/// Changes the original's configuration into that of the copy.
///
/// # Errors
/// Refused where its directory for uploaded files is the install root or above it.
pub(crate) fn change(config: &mut Value, own: &Own<'_>) -> Result<()> {
    let Value::Object(sections) = config else {
        return Err(Error::refused("the configuration in the restore point is no JSON object"));
    };
    for (section, settings) in sections.iter_mut() {
        sweep(section, "", settings, own);
    }
    let directory = text(sections, "FileSettings", "Directory").unwrap_or_default().to_owned();
    if own.place.named(if directory.is_empty() { "data" } else { &directory }) == Named::Above {
        return Err(Error::refused(format!("the directory for uploaded files, `{directory}`, is none of its own"))
            .because(format!("it is `{}` or a directory above it", own.place.install.display()))
            .hint("correct FileSettings.Directory of the server, then make a new restore point (mm-backup)"));
    }
    put(sections, &switches(own), true);
    put(sections, &switches_where_there(own), false);
    if !own.with_plugins {
        put(sections, &json!({"PluginSettings": {"Enable": false, "AutomaticPrepackagedPlugins": false}}), true);
    }
    Ok(())
}

/// What every copy has: sections that every release knows.
fn switches(own: &Own<'_>) -> Value {
    let logs = own.place.root().join("logs");
    json!({
        "SqlSettings": {
            "DriverName": "postgres", "DataSource": own.source, "DataSourceReplicas": [], "DataSourceSearchReplicas": [],
            "ReplicaLagSettings": []
        },
        "ServiceSettings": {
            "ListenAddress": own.listen, "SiteURL": format!("http://{}", own.listen), "ConnectionSecurity": "",
            "TLSCertFile": "", "TLSKeyFile": "", "Forward80To443": false, "UseLetsEncrypt": false, "EnableLocalMode": false,
            "EnableOutgoingWebhooks": false, "EnableCommands": false, "EnableLinkPreviews": false,
            "EnableSecurityFixAlert": false, "LocalModeSocketLocation": own.place.root().join("local.socket"), "AllowPersistentNotifications": false, "EnableOutgoingOAuthConnections": false
        },
        // Where no mail server is named the server takes `localhost`: nobody answers on this port.
        "EmailSettings": {
            "SendEmailNotifications": false, "SendPushNotifications": false, "EnableEmailBatching": false,
            "SMTPServer": "127.0.0.1", "SMTPPort": "9", "EnableSMTPAuth": false, "SMTPUsername": "", "SMTPPassword": "",
            "PushNotificationServer": ""
        },
        "FileSettings": { "DriverName": "local" },
        "LogSettings": { "EnableDiagnostics": false, "EnableSentry": false, "FileLocation": logs },
        "PluginSettings": { "EnableMarketplace": false, "EnableRemoteMarketplace": false },
        "AnnouncementSettings": { "AdminNoticesEnabled": false, "UserNoticesEnabled": false },
        "JobSettings": { "RunScheduler": false }
    })
}

/// What only some releases know, or is off where nothing is said.
fn switches_where_there(own: &Own<'_>) -> Value {
    let off = json!({ "Enable": false });
    let search = json!({ "EnableIndexing": false, "EnableSearching": false, "EnableAutocomplete": false });
    let shared = json!({ "EnableSharedChannels": false, "EnableRemoteClusterService": false });
    json!({
        "FileSettings": { "DedicatedExportStore": false, "ExportDriverName": "local" },
        "NotificationLogSettings": { "FileLocation": own.place.root().join("logs") },
        "ExperimentalAuditSettings": { "SysLogEnabled": false, "FileEnabled": false },
        "LdapSettings": { "Enable": false, "EnableSync": false },
        "SamlSettings": { "Enable": false, "EnableSyncWithLdap": false },
        "GitLabSettings": off, "GoogleSettings": off, "Office365Settings": off, "OpenIdSettings": off,
        "ClusterSettings": off, "MetricsSettings": off, "ImageProxySettings": off, "AutoTranslationSettings": off,
        "ElasticsearchSettings": search, "BleveSettings": search,
        "MessageExportSettings": { "EnableExport": false },
        "ComplianceSettings": { "Enable": false, "EnableDaily": false },
        "DataRetentionSettings": { "EnableMessageDeletion": false, "EnableFileDeletion": false },
        "ExperimentalSettings": shared, "ConnectedWorkspacesSettings": shared,
        "CacheSettings": { "CacheType": "lru" }
    })
}

/// Puts settings in. A section that is not there is made where `always`.
fn put(sections: &mut Map<String, Value>, settings: &Value, always: bool) {
    for (section, wanted) in settings.as_object().into_iter().flatten() {
        let name = names::exact(sections, section);
        if !always && !sections.contains_key(&name) {
            continue;
        }
        let there = sections.entry(name).or_insert_with(|| json!({}));
        if !there.is_object() {
            *there = json!({});
        }
        let Value::Object(there) = there else { continue };
        for (key, value) in wanted.as_object().into_iter().flatten() {
            let key = names::exact(there, key);
            // A key of a section that is there stays unknown to a release that does not know it.
            if always || there.contains_key(&key) || value == &json!(false) {
                there.insert(key, value.clone());
            }
        }
    }
}

/// Takes out what names a host, and leads paths below the copy.
fn sweep(section: &str, key: &str, value: &mut Value, own: &Own<'_>) {
    if names::is_exempt(section, key, own.with_plugins) {
        return;
    }
    match value {
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                sweep(section, name, member, own);
            }
        }
        Value::Array(list) => {
            list.retain(|member| !member.as_str().is_some_and(|text| names::names_host(key, text)));
            for member in list {
                sweep(section, key, member, own);
            }
        }
        Value::String(text)
            if names::is_logging_target(key) || names::names_host(key, text) || names::is_of_bucket(section, key) =>
        {
            text.clear();
        }
        Value::String(text) if names::names_path(key, text) => {
            if let Named::Moved(path) = own.place.named(text) {
                *text = path.display().to_string();
            }
        }
        _ => {}
    }
    if names::is_logging_target(key) && value.is_object() {
        *value = json!({});
    }
}

/// A setting that is text.
pub(crate) fn text<'a>(sections: &'a Map<String, Value>, section: &str, key: &str) -> Option<&'a str> {
    let section = sections.get(&names::exact(sections, section))?.as_object()?;
    section.get(&names::exact(section, key))?.as_str()
}

/// Directories outside of the install root that the changed configuration names: the copy has to have them.
pub(crate) fn directories(config: &Value, place: &Place) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let sections = config.as_object().into_iter().flatten();
    let settings = sections.flat_map(|(_, section)| section.as_object().into_iter().flatten());
    for (key, value) in settings {
        let path = value.as_str().map(std::path::Path::new).filter(|path| path.starts_with(place.files()));
        if let Some(path) = path.filter(|_| names::is_directory(key)) {
            found.push(path.to_owned());
        }
    }
    found
}

/// What `--with-plugins` lets through, for people: settings of plugins that name hosts.
pub(crate) fn plugins_with_hosts(config: &Value) -> Vec<String> {
    let plugins = config["PluginSettings"]["Plugins"].as_object().into_iter().flatten();
    let names = |settings: &Value| {
        settings.as_object().is_some_and(|all| all.iter().any(|(key, value)| names::any(key, value)))
    };
    plugins.filter(|(_, settings)| names(settings)).map(|(id, _)| shell::quoted(id).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reaches_others_is_off_and_paths_lead_below_the_copy() {
        let mut config = json!({
            "SqlSettings": {"DataSource": "postgres://u:p@db:5432/mm", "DataSourceReplicas": ["postgres://u:p@replica/mm"],
                "ReplicaLagSettings": [{"DataSource": "postgres://u:p@lag:5432/mm"}]},
            "ServiceSettings": {"SiteURL": "https://chat.example.com", "WebsocketURL": "wss://chat.example.com",
                "TLSCertFile": "/etc/ssl/chat.pem"},
            "FileSettings": {"DriverName": "amazons3", "Directory": "/srv/uploads/", "AmazonS3Endpoint": "s3.example.com",
                "AmazonS3SecretAccessKey": "hunter2", "AmazonS3Bucket": "live",
                "ExportDirectory": "./data"},
            "EmailSettings": {"SMTPServer": "mail.example.com", "ReplyToAddress": "chat@example.com"},
            "ElasticsearchSettings": {"ConnectionUrl": "http://localhost:9200", "EnableIndexing": true},
            "ExperimentalAuditSettings": {"AdvancedLoggingJSON": {"x": {"options": {"host": "log.example.com"}}}},
            "PluginSettings": {"Enable": true, "Directory": "/var/plugins", "Plugins": {"jira": {"url": "https://jira.example.com"}}},
            "SupportSettings": {"HelpLink": "https://help.example.com"},
            "LdapSettings": {"Enable": true, "LdapServer": "ldap.example.com", "UserFilter": "(x=/y)"},
        });
        let place = Place { directory: "/srv/copy".into(), install: "/opt/mattermost".into() };
        let own = Own { place: &place, source: "postgres://me", listen: "127.0.0.1:1", with_plugins: false };
        change(&mut config, &own).unwrap();
        let text = config.to_string();
        for gone in [
            "db:5432",
            "replica",
            "lag:",
            "chat.example.com",
            "s3.ex",
            "hunter2",
            "live",
            "mail.ex",
            "9200",
            "log.ex",
            "ldap.ex",
        ] {
            assert!(!text.contains(gone), "{gone}: {text}");
        }
        assert_eq!(config["SupportSettings"]["HelpLink"], "https://help.example.com");
        assert_eq!(config["EmailSettings"]["ReplyToAddress"], "chat@example.com");
        assert_eq!(config["LdapSettings"]["UserFilter"], "(x=/y)");
        assert_eq!(config["FileSettings"]["Directory"], "/srv/copy/files/srv/uploads");
        assert_eq!(config["FileSettings"]["ExportDirectory"], "./data");
        assert_eq!(config["PluginSettings"]["Directory"], "/srv/copy/files/var/plugins");
        assert_eq!(config["PluginSettings"]["Enable"], false);
        assert_eq!(config["JobSettings"]["RunScheduler"], false, "it is on where nothing is said");
        assert!(config.get("ClusterSettings").is_none());
        let made: Vec<_> = directories(&config, &place).iter().map(|path| path.display().to_string()).collect();
        assert!(made.contains(&"/srv/copy/files/srv/uploads".to_owned()), "{made:?}");
        assert_eq!(plugins_with_hosts(&config), Vec::<String>::new(), "they were taken out");
    }

    #[test]
    fn a_directory_for_uploads_above_the_install_root_is_refused() {
        let place = Place { directory: "/srv/copy".into(), install: "/opt/mattermost".into() };
        let own = Own { place: &place, source: "", listen: "", with_plugins: false };
        for directory in ["../../..", "/", "/opt"] {
            let mut config = json!({"FileSettings": {"Directory": directory}});
            assert_eq!(change(&mut config, &own).unwrap_err().code(), 5, "{directory}");
        }
    }
}
