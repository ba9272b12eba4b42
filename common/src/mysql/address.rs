//! Data sources of MySQL as Mattermost's driver (go-sql-driver) writes them:
//! `[user[:password]@][protocol[(address)]]/database[?parameters]`.

use std::path::PathBuf;

use crate::contract::error::{Error, Result};
use crate::contract::secret::Secret;

/// The driver's own defaults.
const DEFAULT_HOST: &str = "127.0.0.1";
const DEFAULT_PORT: u16 = 3306;
const DEFAULT_SOCKET: &str = "/tmp/mysql.sock";

/// Where the database is and who may enter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Host name or address; for a socket its path.
    pub host: String,
    /// Port; of no use for a socket.
    pub port: u16,
    /// The socket, when it is one.
    pub socket: Option<PathBuf>,
    /// User name.
    pub user: String,
    /// Password, when there is one.
    pub password: Option<Secret>,
    /// Database name.
    pub database: String,
    /// The parameter `tls`, when it asks for TLS.
    pub tls: Option<String>,
}

impl Address {
    /// Parses `SqlSettings.DataSource` of a server whose driver is `mysql`.
    ///
    /// # Errors
    /// Refused when it is no such data source. It is never quoted: it holds the password.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Error::refused("the data source of the server is not understood").because(why).hint(
                "SqlSettings.DataSource of MySQL is written USER:PASSWORD@tcp(HOST:PORT)/DATABASE?charset=utf8mb4",
            )
        };
        let (front, back) = text.trim().rsplit_once('/').ok_or_else(|| wrong("there is no / before the database"))?;
        let (login, place) = front.rsplit_once('@').map_or((None, front), |(login, place)| (Some(login), place));
        let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
            Some((user, password)) => (user, (!password.is_empty()).then(|| Secret::new(password))),
            None => ("", None),
        };
        let (database, parameters) = back.split_once('?').unwrap_or((back, ""));
        let (protocol, address) = match place.split_once('(') {
            Some((protocol, rest)) => {
                (protocol, rest.strip_suffix(')').ok_or_else(|| wrong("the address is not closed by a bracket"))?)
            }
            None => (place, ""),
        };
        let database = unescaped(database).ok_or_else(|| wrong("the name of the database is not UTF-8"))?;
        if database.is_empty() {
            return Err(wrong("it names no database"));
        }
        let (host, port, socket) = match protocol {
            "" | "tcp" | "tcp4" | "tcp6" => {
                let (host, port) = host_and_port(address).ok_or_else(|| wrong("its port is not a number"))?;
                (host, port, None)
            }
            "unix" => {
                let path = if address.is_empty() { DEFAULT_SOCKET } else { address };
                (path.to_owned(), DEFAULT_PORT, Some(PathBuf::from(path)))
            }
            _ => return Err(wrong("its protocol is neither tcp nor unix")),
        };
        let tls = parameters.split('&').find_map(|one| one.strip_prefix("tls=")).map(str::to_owned);
        let tls = tls.filter(|tls| !matches!(tls.to_ascii_lowercase().as_str(), "" | "false" | "0"));
        Ok(Self { host, port, socket, user: user.to_owned(), password, database, tls })
    }

    /// Whether another data source leads to this database.
    pub fn is_same(&self, other: &Self) -> bool {
        self.database == other.database
            && match (&self.socket, &other.socket) {
                (Some(one), Some(other)) => one == other,
                (None, None) => {
                    self.port == other.port && (self.host == other.host || self.is_here() && other.is_here())
                }
                // A socket and loopback are mostly one server, and to take a second one for it would be worse.
                _ => false,
            }
    }

    /// Whether what is said stays on this machine.
    pub fn is_here(&self) -> bool {
        self.socket.is_some() || self.host.starts_with("127.") || matches!(self.host.as_str(), "localhost" | "::1")
    }
}

fn host_and_port(address: &str) -> Option<(String, u16)> {
    if address.is_empty() {
        return Some((DEFAULT_HOST.into(), DEFAULT_PORT));
    }
    let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':')?)),
        None => address.rsplit_once(':').map_or((address, None), |(host, port)| (host, Some(port))),
    };
    let host = if host.is_empty() { DEFAULT_HOST } else { host };
    Some((host.to_owned(), port.map_or(Some(DEFAULT_PORT), |port| port.parse().ok())?))
}

/// Percent signs in the name of a database (go-sql-driver from 1.8 on).
fn unescaped(text: &str) -> Option<String> {
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::new(), 0);
    while at < bytes.len() {
        let digits = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => (out.push(byte), at += 3).1,
            None => (out.push(bytes[at]), at += 1).1,
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (String, u16, String, String, Option<String>) {
        let address = Address::parse(text).unwrap();
        let password = address.password.map(|word| word.reveal().to_owned()).unwrap_or_default();
        (address.host, address.port, address.user, password, address.tls)
    }

    #[test]
    fn every_form_that_the_driver_reads_is_read() {
        let here = |user: &str, password: &str| ("127.0.0.1".into(), 3306, user.into(), password.into(), None);
        assert_eq!(of("u:p@tcp(db:3307)/mm?charset=utf8mb4,utf8"), ("db".into(), 3307, "u".into(), "p".into(), None));
        assert_eq!(of("u:p@/mm"), here("u", "p"));
        assert_eq!(of("/mm"), here("", ""));
        assert_eq!(of("u:p@ss/w:d@tcp/mm"), here("u", "p@ss/w:d"));
        assert_eq!(of("u:a@tcp(:3306)/mm?tls=false"), here("u", "a"));
        assert_eq!(of("u:a@tcp([::1]:3310)/mm?tls=skip-verify").4.as_deref(), Some("skip-verify"));
        assert_eq!(of("u@tcp([fe80::1])/mm"), ("fe80::1".into(), 3306, "u".into(), String::new(), None));
        let socket = Address::parse("u:p@unix(/run/mysqld/mysqld.sock)/m%2Fm").unwrap();
        assert_eq!(
            (socket.socket.unwrap().to_str().unwrap(), socket.database.as_str()),
            ("/run/mysqld/mysqld.sock", "m/m")
        );
    }

    #[test]
    fn what_is_none_is_refused_without_a_word_of_it() {
        for text in
            ["", "geheim", "u:geheim@tcp(db/mm", "u:geheim@tcp(db:x)/mm", "u:geheim@pipe(x)/mm", "u:geheim@tcp(db)/"]
        {
            let error = Address::parse(text).unwrap_err();
            let said = format!("{error:?} {:?} {:?}", error.causes(), error.next_step());
            assert!(error.code() == 5 && !said.contains("geheim"), "{text}: {said}");
        }
    }

    #[test]
    fn one_database_is_known_again_however_it_is_written() {
        let of = |text: &str| Address::parse(text).unwrap();
        let one = of("u:p@tcp(localhost:3306)/mm?charset=utf8");
        assert!(one.is_same(&of("other:word@tcp(127.0.0.1)/mm")));
        for other in ["u:p@tcp(db)/mm", "u:p@tcp(localhost:3307)/mm", "u:p@/other", "u:p@unix(/run/mysqld.sock)/mm"] {
            assert!(!one.is_same(&of(other)), "{other}");
        }
    }
}
