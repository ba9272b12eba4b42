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

/// Where Debian keeps the certificates of the host's authorities, which lib/pq trusts when no `sslrootcert` is given.
const HOST_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

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
            None if text.contains("@tcp(") || text.contains("@unix(") => {
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
            words.insert("sslrootcert".into(), HOST_AUTHORITIES.into());
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

fn wrong(why: &str) -> Error {
    Error::refused("cannot understand the data source of the server")
        .because(why)
        .hint("look at SqlSettings.DataSource of the configuration, or at MM_SQLSETTINGS_DATASOURCE")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> DataSource {
        DataSource::parse(text).unwrap()
    }

    fn variable<'a>(source: &'a DataSource, name: &str) -> Option<&'a str> {
        source.environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn reads_what_mattermost_writes() {
        let source = parse(
            "postgres://mmuser:p%40ss%2Fw%3Ard%25@db.example.com:5601/mattermost?sslmode=disable&connect_timeout=10&binary_parameters=yes",
        );
        assert_eq!((source.host.as_str(), source.port), ("db.example.com", 5601));
        assert_eq!((source.user.as_str(), source.database.as_str()), ("mmuser", "mattermost"));
        assert_eq!(source.password, Some(Secret::new("p@ss/w:rd%")));
        assert_eq!(variable(&source, "PGSSLMODE"), Some("disable"));
        assert_eq!(variable(&source, "PGCONNECT_TIMEOUT"), Some("10"));
        assert_eq!(variable(&source, "PGOPTIONS"), None);
    }

    #[test]
    fn one_of_mysql_is_told_so_in_either_form() {
        for text in ["u:secret@tcp(db:3306)/mm?charset=utf8mb4", "u:secret@unix(/run/mysqld/mysqld.sock)/mm"] {
            let error = DataSource::parse(text).unwrap_err();
            let said = format!("{} {:?}", error.one_line(), error.causes());
            assert!(said.contains("MySQL") && !said.contains("secret"), "{said}");
        }
    }

    #[test]
    fn what_lib_pq_hands_to_the_server_becomes_an_option() {
        let source = parse("postgres://u@h/d?statement_timeout=5000&search_path=a,+b&options=-c%20geqo%3Doff");
        assert_eq!(variable(&source, "PGOPTIONS"), Some("-c geqo=off -c search_path=a,\\ b -c statement_timeout=5000"));
        let words = parse("host=h user=u statement_timeout=7");
        assert_eq!(variable(&words, "PGOPTIONS"), Some("-c statement_timeout=7"));
    }

    #[test]
    fn every_way_to_write_a_socket() {
        for text in [
            "postgres://u:p@/d?host=/run/postgresql&port=5601",
            "postgres://u:p@%2Frun%2Fpostgresql:5601/d",
            "user=u password=p host=/run/postgresql port=5601 dbname=d",
        ] {
            let source = parse(text);
            assert_eq!((source.host.as_str(), source.port), ("/run/postgresql", 5601), "{text}");
            assert!(source.is_socket());
            assert_eq!(variable(&source, "PGSSLMODE"), Some("disable"), "{text}");
        }
        assert_eq!(parse("postgres:///d?host=/run/postgresql&user=u").user, "u");
    }

    #[test]
    fn a_data_source_without_a_user_is_entered_by_the_user_of_the_server() {
        // As NixOS and some images write it.
        let source = DataSource::parse_for("postgres:///mattermost?host=/run/postgresql", "mm").unwrap();
        assert_eq!((source.user.as_str(), source.database.as_str()), ("mm", "mattermost"));
        let words = DataSource::parse_for("host=/run/postgresql", "mm").unwrap();
        assert_eq!((words.user.as_str(), words.database.as_str()), ("mm", "mm"));
        assert_eq!(DataSource::parse_for("postgres://u@/d", "mm").unwrap().user, "u");
    }

    #[test]
    fn defaults_are_those_of_lib_pq() {
        let source = parse("postgres://u@[::1]");
        assert_eq!((source.host.as_str(), source.port, source.database.as_str()), ("::1", 5432, "u"));
        assert_eq!(variable(&source, "PGSSLMODE"), Some("require"));
        assert_eq!(parse("user=u").host, "localhost");
        let verified = parse("postgres://u@h/d?sslmode=verify-full");
        assert_eq!(variable(&verified, "PGSSLROOTCERT"), Some(HOST_AUTHORITIES));
    }

    #[test]
    fn quoting_of_words() {
        let source = parse(r"user = u password='a b:c\\d@/%\'' dbname=x\ y");
        assert_eq!(source.password, Some(Secret::new(r"a b:c\d@/%'")));
        assert_eq!(source.database, "x y");
    }

    #[test]
    fn what_is_no_data_source_is_refused_without_quoting_it() {
        for text in [
            "",
            "hunter2",
            "postgres://u:hunter2%zz@h/d",
            "postgres://u:hunter2@h:port/d",
            "postgres://u:hunter2@h1:1,h2:2/d",
            "user=u password='hunter2",
            "mmuser:hunter2@tcp(db:3306)/mattermost",
            "user=u password='hunter2\nx'",
            "postgres://u:hunter2@h/d?sslinline=true",
        ] {
            let error = DataSource::parse(text).unwrap_err();
            assert_eq!(error.code(), 5, "{text}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
        assert!(!format!("{:?}", parse("postgres://u:hunter2@h/d")).contains("hunter2"));
    }

    fn encoded(text: &str) -> String {
        text.bytes().fold(String::new(), |mut all, byte| {
            use std::fmt::Write as _;
            write!(all, "%{byte:02X}").unwrap();
            all
        })
    }

    proptest! {
        #[test]
        fn any_password_survives_both_forms(password in "[^\\p{Cc}]{1,40}", database in "[^\\p{Cc}\\s]{1,20}") {
            let url = format!("postgres://u:{}@h/{}", encoded(&password), encoded(&database));
            let quoted = |text: &str| text.replace('\\', r"\\").replace('\'', r"\'");
            let words = format!("host=h user=u dbname='{}' password='{}'", quoted(&database), quoted(&password));
            for text in [url, words] {
                let source = DataSource::parse(&text).unwrap();
                prop_assert_eq!(source.password.as_ref().map(Secret::reveal), Some(password.as_str()));
                prop_assert_eq!(&source.database, &database);
                prop_assert_eq!(&source.host, "h");
            }
        }

        #[test]
        fn nothing_makes_it_panic(text in "\\PC{0,60}") {
            let _ = DataSource::parse(&text);
            let _ = DataSource::parse(&format!("postgres://{text}"));
        }
    }
}
