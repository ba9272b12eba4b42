//! Data sources: how Mattermost's driver (lib/pq) writes them, and what libpq makes of them.
//!
//! The two disagree. lib/pq hands parameters it does not know to the server as settings, where libpq refuses them; it
//! has parameters of its own that libpq refuses; and it asks for TLS where libpq would be content without.

use std::collections::BTreeMap;

use crate::contract::error::{Error, Result};
use crate::contract::secret::Secret;
use crate::machine::user;

/// Where the database is and who may enter. Debug output hides the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataSource {
    /// Host name, address, or directory of a unix socket.
    pub host: String,
    /// Port, also of a socket.
    pub port: u16,
    /// User name.
    pub user: String,
    /// Password, when the data source has one.
    pub password: Option<Secret>,
    /// Database name.
    pub database: String,
    /// Parameters libpq knows, as its environment variables: `PGSSLMODE` and the like.
    pub environment: Vec<(String, String)>,
}

/// lib/pq's own defaults (its documentation, "Connection String Parameters").
const DEFAULT_HOST: &str = "localhost";
const DEFAULT_PORT: u16 = 5432;

/// Where distributions keep the certificates of the host's authorities (Debian, Red Hat before and since 7, SUSE, Alpine, in Go's
/// order: crypto/x509, `certFiles`): lib/pq trusts the first that is there when no `sslrootcert` is given.
const HOST_AUTHORITIES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

fn host_authorities(is_there: impl Fn(&str) -> bool) -> &'static str {
    HOST_AUTHORITIES.into_iter().find(|place| is_there(place)).unwrap_or(HOST_AUTHORITIES[0])
}

/// Parameters of both drivers, and libpq's variable for each.
const COMMON: &[(&str, &str)] = &[
    ("application_name", "PGAPPNAME"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("krbsrvname", "PGKRBSRVNAME"),
    ("passfile", "PGPASSFILE"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
];

/// Parameters that only concern lib/pq itself, or that every connection of ours sets anyway.
const DROPPED: &[&str] = &[
    "binary_parameters",
    "client_encoding",
    "datestyle",
    "disable_prepared_binary_result",
    "extra_float_digits",
    "fallback_application_name",
    "krbspn",
    "sslinline",
    "sslsni",
];

impl DataSource {
    /// Parses `SqlSettings.DataSource`, a URL or `key=value` words, as Mattermost's driver (lib/pq) would in a process
    /// of ours: one that names no user is entered by the user of the process. For a data source that the server is to
    /// be followed with, see [`DataSource::parse_for`].
    ///
    /// # Errors
    /// Refused when it is not a data source; the text itself is never quoted in the error, as it holds the password.
    pub fn parse(text: &str) -> Result<Self> {
        Self::parse_for(text, &user::current().name)
    }

    /// The same as it is read in a process of the user `process_user`, such as the server: lib/pq (`userCurrent`) and
    /// libpq both take the user of the process where none is named.
    ///
    /// # Errors
    /// As [`DataSource::parse`].
    pub fn parse_for(text: &str, process_user: &str) -> Result<Self> {
        let text = text.trim();
        let words = match text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://")) {
            Some(rest) => url_words(rest)?,
            None if text.is_empty() => return Err(wrong("it is empty")),
            None if !is_words(text) && (text.contains("@tcp(") || text.contains("@unix(")) => {
                return Err(wrong("it is one of MySQL").with_hint("these tools work with PostgreSQL only"));
            }
            None => plain_words(text)?,
        };
        Self::of_words(words, process_user)
    }

    /// Whether the server is reached through a unix socket.
    pub fn is_socket(&self) -> bool {
        self.host.starts_with('/')
    }

    fn of_words(mut words: BTreeMap<String, String>, process_user: &str) -> Result<Self> {
        if words.get("sslinline").is_some_and(|value| value == "true") {
            return Err(wrong("it holds its TLS certificate inline, which psql cannot use")
                .with_hint("put the certificate into a file and name it with sslcert and sslkey"));
        }
        let mut take = |key: &str| words.remove(key).filter(|value| !value.is_empty());
        let host = take("host").unwrap_or_else(|| DEFAULT_HOST.into());
        if host.contains(',') {
            return Err(wrong("it names more than one host").with_hint("name the one primary server in it"));
        }
        let port = match take("port") {
            None => DEFAULT_PORT,
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or_else(|| wrong("its port is not a port"))?,
        };
        let user = take("user").unwrap_or_else(|| process_user.into());
        let password = take("password").map(Secret::new);
        let database = take("dbname").or_else(|| take("database")).unwrap_or_else(|| user.clone());
        // lib/pq asks for TLS unless told otherwise, and never on a unix socket.
        let mode = take("sslmode").unwrap_or_else(|| "require".into());
        let mode = if host.starts_with('/') { "disable".into() } else { mode };
        if mode.starts_with("verify-") && !words.contains_key("sslrootcert") {
            let authorities = host_authorities(|place| std::path::Path::new(place).is_file());
            words.insert("sslrootcert".into(), authorities.into());
        }
        words.insert("sslmode".into(), mode);
        let environment = environment(&words);
        let source = Self { host, port, user, password, database, environment };
        let texts = [&source.host, &source.user, &source.database];
        let lines = source.password.iter().map(Secret::reveal).chain(texts.into_iter().map(String::as_str));
        if lines
            .chain(source.environment.iter().map(|(_, value)| value.as_str()))
            .any(|text| text.contains(['\n', '\r', '\0']))
        {
            return Err(wrong("it holds a line break"));
        }
        Ok(source)
    }
}

/// What libpq is told besides host, port, user, database and password.
fn environment(words: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let mut environment = Vec::new();
    let mut options = words.get("options").cloned().unwrap_or_default();
    for (key, value) in words {
        if let Some((_, variable)) = COMMON.iter().find(|(name, _)| name == key) {
            environment.push(((*variable).to_owned(), value.clone()));
        } else if key != "options" && !DROPPED.contains(&key.to_lowercase().as_str()) {
            if !options.is_empty() {
                options.push(' ');
            }
            options.push_str("-c ");
            options.push_str(&escape_option(&format!("{key}={value}")));
        }
    }
    if !options.is_empty() {
        environment.push(("PGOPTIONS".into(), options));
    }
    environment
}

/// In `PGOPTIONS` a blank ends an option unless a backslash stands before it.
fn escape_option(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_whitespace() || c == '\\' {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// The URL form, `rest` being what follows `//`. Read as Go's `net/url` does, on which lib/pq builds.
fn url_words(rest: &str) -> Result<BTreeMap<String, String>> {
    let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (credentials, address) = authority.rsplit_once('@').unwrap_or(("", authority));
    let mut words = BTreeMap::new();
    if !credentials.is_empty() {
        let (user, password) =
            credentials.split_once(':').map_or((credentials, None), |(user, password)| (user, Some(password)));
        words.insert("user".to_owned(), percent(user, false)?);
        if let Some(password) = password {
            words.insert("password".to_owned(), percent(password, false)?);
        }
    }
    let (host, port) = split_address(address)?;
    words.insert("host".to_owned(), percent(host, false)?);
    words.insert("port".to_owned(), port.to_owned());
    words.insert("dbname".to_owned(), percent(path, false)?);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        // A parameter of the query outranks the same thing said before it.
        words.insert(percent(key, true)?, percent(value, true)?);
    }
    Ok(words)
}

fn split_address(address: &str) -> Result<(&str, &str)> {
    if let Some(bracketed) = address.strip_prefix('[') {
        let (host, after) = bracketed.split_once(']').ok_or_else(|| wrong("its IPv6 address lacks the `]`"))?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, port)),
            None if after.is_empty() => Ok((host, "")),
            None => Err(wrong("something follows its IPv6 address")),
        };
    }
    if address.contains(',') {
        return Ok((address, ""));
    }
    Ok(address.rsplit_once(':').unwrap_or((address, "")))
}

/// Undoes percent encoding. `+` is a blank in a query and itself elsewhere, as Go has it.
fn percent(text: &str, query: bool) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let high = rest.next().and_then(hexadecimal);
                let low = rest.next().and_then(hexadecimal);
                let (Some(high), Some(low)) = (high, low) else {
                    return Err(wrong("a `%` in it is not followed by two hexadecimal digits")
                        .with_hint("in the URL form a `%` itself is written %25"));
                };
                bytes.push(high * 16 + low);
            }
            b'+' if query => bytes.push(b' '),
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8 once decoded"))
}

fn hexadecimal(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// The `key=value` form: values in single quotes or bare, a backslash before a quote, a backslash or a blank.
fn plain_words(text: &str) -> Result<BTreeMap<String, String>> {
    let mut words = BTreeMap::new();
    let mut rest = text.chars().peekable();
    loop {
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        if rest.peek().is_none() {
            return Ok(words);
        }
        let mut key = String::new();
        while let Some(c) = rest.next_if(|c| !c.is_whitespace() && *c != '=') {
            key.push(c);
        }
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        if key.is_empty() || rest.next() != Some('=') {
            return Err(wrong("it is neither a URL nor a list of key=value words"));
        }
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        words.insert(key, plain_value(&mut rest)?);
    }
}

fn plain_value(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String> {
    let quoted = rest.next_if_eq(&'\'').is_some();
    let mut value = String::new();
    loop {
        match rest.next() {
            Some('\\') => value.push(rest.next().ok_or_else(|| wrong("it ends in a backslash"))?),
            Some('\'') if quoted => return Ok(value),
            Some(c) if !quoted && c.is_whitespace() => return Ok(value),
            Some(c) => value.push(c),
            None if quoted => return Err(wrong("a quote in it is not closed")),
            None => return Ok(value),
        }
    }
}

/// Whether a data source is written as `key=value` words: it begins with a key. What looks like another form further on
/// belongs to a value, a password for example.
pub fn is_words(text: &str) -> bool {
    text.split_once('=').is_some_and(|(key, _)| {
        let key = key.trim();
        !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

fn wrong(why: &str) -> Error {
    Error::refused("cannot understand the data source of the server")
        .because(why)
        .hint("look at SqlSettings.DataSource of the configuration, or at MM_SQLSETTINGS_DATASOURCE")
}

#[cfg(test)]
mod tests;
