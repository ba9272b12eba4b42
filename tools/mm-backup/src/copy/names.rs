//! What a setting names: a host, a path, or neither. Pure.
//!
//! Releases and plugins bring settings that nobody here knows, so it is the value and the end of the name that tell.

use std::net::IpAddr;

use mm_common::postgres::source::{DataSource, is_words};
use serde_json::{Map, Value};
use url::{Host, Url};

/// How the names of settings end whose values are hosts.
const HOSTS: [&str; 7] = ["Server", "ServerName", "Host", "Hostname", "Address", "Endpoint", "IP"];

/// How the names of settings end whose values are files or directories.
const PATHS: [&str; 10] =
    ["Directory", "Dir", "File", "Files", "FileName", "Location", "Path", "Cert", "ClientKey", "CA"];

/// Sections with links and texts for people, which no server follows.
const FOR_PEOPLE: [&str; 6] = [
    "SupportSettings",
    "NativeAppSettings",
    "DisplaySettings",
    "TeamSettings",
    "ThemeSettings",
    "LocalizationSettings",
];

/// The name that a member has there, if one differs in case only: releases have renamed `...Url` to `...URL`.
pub(crate) fn exact(object: &Map<String, Value>, name: &str) -> String {
    if object.contains_key(name) {
        return name.to_owned();
    }
    object.keys().find(|key| key.eq_ignore_ascii_case(name)).map_or_else(|| name.to_owned(), Clone::clone)
}

/// Whether the server does not go by a setting, or an administrator has let it be: links for people, which origins a browser
/// may come from, and, with plugins, what those are told.
pub(crate) fn is_exempt(section: &str, key: &str, with_plugins: bool) -> bool {
    FOR_PEOPLE.contains(&section)
        || section == "AnnouncementSettings" && key != "NoticesURL"
        || section == "ServiceSettings" && matches!(key, "AllowCorsFrom" | "AllowedUntrustedInternalConnections")
        || section == "PluginSettings" && key == "Plugins" && with_plugins
}

/// Whether a setting holds targets of logs in a grammar of its own: hosts and files.
pub(crate) fn is_logging_target(key: &str) -> bool {
    key.starts_with("AdvancedLogging")
}

/// Whether a setting leads to an object store, or is a key to it.
pub(crate) fn is_of_bucket(section: &str, key: &str) -> bool {
    section == "FileSettings" && key.contains("AmazonS3")
}

/// Whether it is the name of a setting for a directory.
pub(crate) fn is_directory(key: &str) -> bool {
    key.ends_with("Directory") || key.ends_with("Dir")
}

/// Whether a value names any host, this machine's loopback too.
pub(crate) fn names_host(key: &str, text: &str) -> bool {
    host(key, text).is_some()
}

/// Whether any text in a value does.
pub(crate) fn any(key: &str, value: &Value) -> bool {
    match value {
        Value::String(text) => names_host(key, text),
        Value::Array(list) => list.iter().any(|member| any(key, member)),
        Value::Object(members) => members.iter().any(|(name, member)| any(name, member)),
        _ => false,
    }
}

/// The host that a value names and its port, where it says one: of an address with a scheme wherever it stands, of a bare
/// name where the setting is for one.
pub(crate) fn host(key: &str, text: &str) -> Option<(String, Option<u16>)> {
    let text = text.trim();
    // It may name its host among parameters or words (`host=db password=...`). What cannot be understood is somewhere.
    if text.starts_with("postgres://")
        || text.starts_with("postgresql://")
        || (key.starts_with("DataSource") && is_words(text))
    {
        let source = DataSource::parse(text).ok();
        return Some(source.map_or_else(|| ("?".into(), None), |source| (source.host, Some(source.port))));
    }
    if text.contains("://") {
        let url = Url::parse(text).ok()?;
        let host = match url.host()? {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        return Some((host, url.port())).filter(|(host, _)| !host.is_empty());
    }
    // MySQL's form of a data source.
    if let Some((_, rest)) = text.split_once("@tcp(") {
        let (host, port) = split(rest.split(')').next()?);
        return Some((host, port));
    }
    let is_bare = !text.is_empty() && !text.starts_with(':') && !text.contains(['@', '/', ' ', '\n']);
    (is_bare && HOSTS.iter().any(|end| key.ends_with(end))).then(|| split(text))
}

fn split(text: &str) -> (String, Option<u16>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') && port.parse::<u16>().is_ok() => (host.into(), port.parse().ok()),
        _ => (text.trim_matches(['[', ']']).into(), None),
    }
}

/// Whether a host is this machine's loopback.
pub(crate) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether a value is a path: it begins with `/`, or leads up, and the setting is for one.
pub(crate) fn names_path(key: &str, text: &str) -> bool {
    (text.starts_with('/') || text.split('/').any(|part| part == "..")) && PATHS.iter().any(|end| key.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_known_by_value_or_by_the_name_of_the_setting() {
        let named = |key: &str, text: &str| host(key, text).map(|(host, port)| format!("{host} {}", port.unwrap_or(0)));
        for (key, text, expected) in [
            ("ConnectionURL", "http://search.example.com:9200", Some("search.example.com 9200")),
            ("DataSource", "postgres://u:p@db:5433/mm?sslmode=disable", Some("db 5433")),
            ("DataSource", "postgres://u:p@/mm?host=/run/postgresql", Some("/run/postgresql 5432")),
            ("DataSource", "u:p@tcp(db:3306)/mm?charset=x", Some("db 3306")),
            ("DataSource", "host=lag user=u password=p dbname=mm", Some("lag 5432")),
            ("DataSource", "host=lag user=u password=://@tcp(x) dbname=mm", Some("lag 5432")),
            ("SMTPServer", "mail.example.com", Some("mail.example.com 0")),
            ("RedisAddress", "cache:6379", Some("cache 6379")),
            ("ReplyToAddress", "me@example.com", None),
            ("ListenAddress", ":8067", None),
            ("BannerText", "see the wiki", None),
            ("AppCustomURLSchemes", "mmauth://", None),
            ("UserFilter", "(memberOf=x)", None),
        ] {
            assert_eq!(named(key, text).as_deref(), expected, "{key} {text}");
        }
        assert!(is_loopback("LOCALHOST") && is_loopback("127.0.0.2") && is_loopback("::1") && !is_loopback("10.0.0.1"));
    }

    #[test]
    fn paths_are_those_that_lead_somewhere_of_settings_that_are_for_them() {
        assert!(names_path("Directory", "/srv/x") && names_path("IndexDir", "../x") && names_path("TLSCertFile", "/x"));
        assert!(
            !names_path("Directory", "./data/") && !names_path("SiteName", "/x") && !names_path("BannerText", "a/../b")
        );
    }
}
