//! `SqlSettings.DataSource`, as the driver of the real server reads it: a URL, or `key=value` words.

use std::time::Duration;

use postgres::{Client, NoTls};

use crate::error::{Error, Result};

/// A parsed data source.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    text: String,
    parsed: std::result::Result<postgres::Config, String>,
    /// `host:port`, for the messages.
    address: String,
}

impl Source {
    pub(crate) fn parse(text: &str) -> Self {
        let (parsed, address) = if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            from_url(text)
        } else if text.contains('=') && !text.contains("@tcp(") {
            from_words(text)
        } else {
            (Err("not a PostgreSQL data source".to_owned()), "127.0.0.1:3306".to_owned())
        };
        Self { text: text.to_owned(), parsed, address }
    }

    /// The source with user and password hidden, as logged from 8.1 on.
    pub(crate) fn masked(&self) -> String {
        match (self.text.find("://"), self.text.find('@')) {
            (Some(start), Some(at)) if start < at => {
                let (scheme, rest) =
                    (self.text.get(..start).unwrap_or_default(), self.text.get(at..).unwrap_or_default());
                format!("{scheme}://%2A%2A%2A%2A:%2A%2A%2A%2A{rest}")
            }
            _ => self.text.clone(),
        }
    }

    /// Opens a connection.
    pub(crate) fn connect(&self) -> Result<Client> {
        let config = self
            .parsed
            .as_ref()
            .map_err(|_| Error::new(format!("dial tcp {}: connect: connection refused", self.address)))?;
        config.connect(NoTls).map_err(|error| match error.as_db_error() {
            Some(said) => Error::new(format!("pq: {}", said.message())),
            None => Error::new(format!("dial tcp {}: connect: connection refused", self.address)),
        })
    }
}

fn from_url(text: &str) -> (std::result::Result<postgres::Config, String>, String) {
    let rest = text.split_once("://").map_or("", |(_, rest)| rest);
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (credentials, host_port) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let (host, port) = host_port.rsplit_once(':').unwrap_or((host_port, "5432"));
    let mut words = vec![
        ("user".to_owned(), decoded(user)),
        ("password".to_owned(), decoded(password)),
        ("host".to_owned(), decoded(host)),
        ("port".to_owned(), port.to_owned()),
        ("dbname".to_owned(), decoded(database)),
    ];
    let query = query.split('&').filter_map(|pair| pair.split_once('='));
    words.extend(query.map(|(key, value)| (key.to_owned(), decoded(value))));
    built(&words)
}

fn from_words(text: &str) -> (std::result::Result<postgres::Config, String>, String) {
    let words: Vec<(String, String)> = text
        .split_whitespace()
        .filter_map(|word| word.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.trim_matches('\'').to_owned()))
        .collect();
    built(&words)
}

/// Words the driver of the real server knows and ours does not (`binary_parameters`) are passed over.
fn built(words: &[(String, String)]) -> (std::result::Result<postgres::Config, String>, String) {
    let mut config = postgres::Config::new();
    config.connect_timeout(Duration::from_secs(10));
    let (mut host, mut port) = ("localhost".to_owned(), "5432".to_owned());
    for (key, value) in words.iter().filter(|(_, value)| !value.is_empty()) {
        match key.as_str() {
            "user" => {
                config.user(value);
            }
            "password" => {
                config.password(value);
            }
            "dbname" => {
                config.dbname(value);
            }
            "host" => host.clone_from(value),
            "port" => port.clone_from(value),
            "search_path" => {
                config.options(&format!("-c search_path={value}"));
            }
            "connect_timeout" => {
                if let Ok(seconds) = value.parse() {
                    config.connect_timeout(Duration::from_secs(seconds));
                }
            }
            _ => {}
        }
    }
    config.host(&host);
    match port.parse() {
        Ok(number) => {
            config.port(number);
        }
        Err(_) => return (Err(format!("`{port}` is not a port")), format!("{host}:{port}")),
    }
    (Ok(config), format!("{}:{port}", if host == "localhost" { "127.0.0.1" } else { &host }))
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let code = bytes
            .get(at + 1..at + 3)
            .and_then(|two| std::str::from_utf8(two).ok())
            .and_then(|two| u8::from_str_radix(two, 16).ok());
        if let (b'%', Some(code)) = (byte, code) {
            out.push(code);
            at += 3;
        } else {
            out.push(*byte);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_of_the_real_configuration_is_understood() {
        let source = Source::parse(
            "postgres://mmuser:p%40ss@127.0.0.1:5433/mm?sslmode=disable&connect_timeout=10&binary_parameters=yes",
        );
        let config = source.parsed.as_ref().unwrap();
        assert_eq!(config.get_password(), Some(&b"p@ss"[..]));
        assert_eq!((config.get_dbname(), config.get_ports()), (Some("mm"), &[5433_u16][..]));
        assert!(source.masked().starts_with("postgres://%2A%2A%2A%2A:%2A%2A%2A%2A@127.0.0.1:5433/mm"));
    }

    #[test]
    fn a_socket_directory_may_stand_in_the_query() {
        let source = Source::parse("postgres:///mattermost?host=/run/postgresql&user=mm");
        let config = source.parsed.as_ref().unwrap();
        assert_eq!(config.get_user(), Some("mm"));
        assert!(matches!(config.get_hosts(), [postgres::config::Host::Unix(_)]));
    }
}
