//! Another host and port in a data source, everything else in it left as it was written.

use std::ops::Range;

use super::Replacement;
use crate::contract::error::{Error, Result};
use crate::postgres::source::{DataSource, is_words};

/// What has to be exchanged in a data source, in order of place, so that it leads to `host` and `port`.
///
/// # Errors
/// Refused when the text cannot be changed in such a way that nothing else differs.
pub fn replacements(text: &str, host: &str, port: u16) -> Result<Vec<Replacement>> {
    let before = DataSource::parse(text)?;
    let spots = match text.find("://") {
        Some(at) if !is_words(text) => in_url(text, at + 3),
        _ => in_words(text),
    };
    let mut list = Vec::new();
    if before.host != host {
        list.push(spots.host.replacement(host));
    }
    if before.port != port {
        list.push(spots.port.replacement(&port.to_string()));
    }
    list.sort_by_key(|one| one.range.start);
    let changed = list.iter().rev().fold(text.to_owned(), |mut text, one| {
        text.replace_range(one.range.clone(), &one.with);
        text
    });
    let wanted = DataSource { host: host.to_owned(), port, ..before };
    // Over a socket there is no TLS; a data source moves to another one only.
    if DataSource::parse(&changed).is_ok_and(|changed| changed == wanted) {
        return Ok(list);
    }
    Err(Error::refused("cannot change host and port in the data source of the server")
        .because("it is written in a way this tool does not know how to change")
        .hint(format!("write it as a URL with host and port (the new one is {port})")))
}

/// Where host and port stand, or would stand.
struct Spots {
    host: Spot,
    port: Spot,
}

struct Spot {
    range: Range<usize>,
    /// What comes before the new value when it was not there at all.
    prefix: &'static str,
    form: Form,
}

/// How a value is written.
#[derive(Clone, Copy)]
enum Form {
    /// Between `@` and `/` of a URL.
    Authority,
    /// In the query of a URL.
    Query,
    /// In the quotes of a `key='value'`.
    Quoted,
    /// As a bare `key=value`.
    Bare,
}

impl Spot {
    fn replacement(&self, value: &str) -> Replacement {
        let written = match self.form {
            Form::Authority if value.contains(':') => format!("[{value}]"),
            Form::Authority => encoded(value, "-._~"),
            Form::Query => encoded(value, "-._~/"),
            Form::Quoted => value.replace('\\', r"\\").replace('\'', r"\'"),
            Form::Bare => value.replace('\\', r"\\").replace('\'', r"\'").replace(' ', r"\ "),
        };
        Replacement { range: self.range.clone(), with: format!("{}{written}", self.prefix) }
    }
}

fn encoded(text: &str, plain: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut all, byte| {
        let c = char::from(byte);
        if c.is_ascii_alphanumeric() || plain.contains(c) {
            all.push(c);
        } else {
            let _ = write!(all, "%{byte:02X}");
        }
        all
    })
}

fn in_url(text: &str, authority: usize) -> Spots {
    let whole = text.find('#').unwrap_or_else(|| text.trim_end().len());
    let question = text[..whole].find('?').unwrap_or(whole);
    let end = text[authority..question].find('/').map_or(question, |at| authority + at);
    let begin = text[authority..end].rfind('@').map_or(authority, |at| authority + at + 1);
    // The colons of an IPv6 address stand before its bracket.
    let name = text[begin..end].rfind(']').map_or(begin, |at| begin + at + 1);
    let colon = text[name..end].rfind(':').map(|at| name + at);
    let mut host = Spot { range: begin..colon.unwrap_or(end), prefix: "", form: Form::Authority };
    let mut port = match colon {
        Some(colon) => Spot { range: colon + 1..end, prefix: "", form: Form::Authority },
        None => Spot { range: end..end, prefix: ":", form: Form::Authority },
    };
    // A parameter outranks the same thing said before it, the last one all others.
    let mut at = (question + 1).min(whole);
    for pair in text[at..whole].split('&') {
        let value = |key: &str| pair.strip_prefix(key).map(|value| at + pair.len() - value.len()..at + pair.len());
        if let Some(range) = value("host=") {
            host = Spot { range, prefix: "", form: Form::Query };
        } else if let Some(range) = value("port=") {
            port = Spot { range, prefix: "", form: Form::Query };
        }
        at += pair.len() + 1;
    }
    Spots { host, port }
}

fn in_words(text: &str) -> Spots {
    let end = text.trim_end().len();
    let absent = |prefix| Spot { range: end..end, prefix, form: Form::Bare };
    let mut spots = Spots { host: absent(" host="), port: absent(" port=") };
    let mut at = 0;
    let skip = |at: usize| text[at..].find(|c: char| !c.is_whitespace()).map_or(text.len(), |skipped| at + skipped);
    loop {
        let begin = skip(at);
        let Some(length) = text[begin..].find(|c: char| c.is_whitespace() || c == '=') else { return spots };
        let key = &text[begin..begin + length];
        // The text is known to be key=value words.
        at = skip((skip(begin + length) + 1).min(text.len()));
        let quoted = text[at..].starts_with('\'');
        at += usize::from(quoted);
        let value = at..at + value_length(&text[at..], quoted);
        at = value.end + usize::from(quoted);
        let spot = Spot { range: value, prefix: "", form: if quoted { Form::Quoted } else { Form::Bare } };
        match key {
            "host" => spots.host = spot,
            "port" => spots.port = spot,
            _ => {}
        }
    }
}

fn value_length(text: &str, quoted: bool) -> usize {
    let mut escaped = false;
    let ends = |c: char| match c {
        _ if escaped => {
            escaped = false;
            false
        }
        '\\' => {
            escaped = true;
            false
        }
        _ => {
            if quoted {
                c == '\''
            } else {
                c.is_whitespace()
            }
        }
    };
    text.find(ends).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn moved(text: &str, host: Option<&str>, port: u16) -> Result<String> {
        let host = host.map_or_else(|| DataSource::parse(text).unwrap().host, str::to_owned);
        let list = replacements(text, &host, port)?;
        Ok(list.iter().rev().fold(text.to_owned(), |mut text, one| {
            text.replace_range(one.range.clone(), &one.with);
            text
        }))
    }

    #[test]
    fn nothing_but_the_port_changes() {
        for (before, after) in [
            ("postgres://u:p%40:w@h:5432/d?sslmode=disable", "postgres://u:p%40:w@h:5433/d?sslmode=disable"),
            ("postgres://u:p@h/d?a=1", "postgres://u:p@h:5433/d?a=1"),
            ("postgres://u@[::1]/d", "postgres://u@[::1]:5433/d"),
            ("postgres://u@[::1]:1/d", "postgres://u@[::1]:5433/d"),
            ("postgres://u@h", "postgres://u@h:5433"),
            ("postgres://u:p@/d?host=/run/postgresql&port=5432", "postgres://u:p@/d?host=/run/postgresql&port=5433"),
            ("postgres://u:p@/d?host=/run/postgresql", "postgres://u:p@:5433/d?host=/run/postgresql"),
            ("postgres://u:p@h:1/d?port=2&a=b&port=5432", "postgres://u:p@h:1/d?port=2&a=b&port=5433"),
            ("host=h  port=5432 user=u password='port=5432 '", "host=h  port=5433 user=u password='port=5432 '"),
            ("user=u port='5432' password=' port=5432 '", "user=u port='5433' password=' port=5432 '"),
            ("user = u password=a\\ port=5432 port= 5432", "user = u password=a\\ port=5432 port= 5433"),
            ("user=u host=h", "user=u host=h port=5433"),
            ("user=u password=a://b@tcp(c) port=5432", "user=u password=a://b@tcp(c) port=5433"),
        ] {
            assert_eq!(moved(before, None, 5433).unwrap(), after);
            assert!(replacements(after, &DataSource::parse(after).unwrap().host, 5433).unwrap().is_empty());
        }
    }

    #[test]
    fn nothing_but_the_host_changes() {
        for (before, host, after) in [
            ("postgres://u:p@/d?host=/run/a&port=5432", "/run/b c", "postgres://u:p@/d?host=/run/b%20c&port=5432"),
            ("postgres://u:p@%2Frun%2Fa:5432/d", "/run/b", "postgres://u:p@%2Frun%2Fb:5432/d"),
            ("host=/run/a port=5432 user=u", "/run/b c", "host=/run/b\\ c port=5432 user=u"),
            ("port=5432 user=u host='/run/a'", "/run/b c", "port=5432 user=u host='/run/b c'"),
            ("postgres://u@127.0.0.1:5432/d?sslmode=disable", "::1", "postgres://u@[::1]:5432/d?sslmode=disable"),
            ("postgres://u@[::1]:5432/d", "10.0.0.1", "postgres://u@10.0.0.1:5432/d"),
            ("port=5432 user=u", "10.0.0.1", "port=5432 user=u host=10.0.0.1"),
        ] {
            assert_eq!(moved(before, Some(host), 5432).unwrap(), after);
        }
        let both = moved("postgres://u:p@/d?port=5432&sslmode=disable&host=/run/a", Some("/run/b"), 5433).unwrap();
        assert_eq!(both, "postgres://u:p@/d?port=5433&sslmode=disable&host=/run/b");
    }

    #[test]
    fn what_cannot_be_changed_cleanly_is_refused() {
        // More than one host, and a key that only reads as one.
        for text in ["postgres://u@a:5432,b:5432/d", "user=u host=a,b", "postgres://u@h:5432/d?p%6Frt=5432"] {
            let refused = replacements(text, "h", 5433).unwrap_err();
            assert_eq!(refused.code(), 5, "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_password_holds(password in "[^\\p{Cc}]{1,30}", port in 1_u16..) {
            let url = format!("postgres://u:{}@h:5432/d?sslmode=disable", encoded(&password, ""));
            prop_assert_eq!(moved(&url, None, port).unwrap(), url.replace("@h:5432/", &format!("@h:{port}/")));
            let quoted = password.replace('\\', r"\\").replace('\'', r"\'");
            let words = format!("user=u password='{quoted}' host=h port=5432");
            prop_assert_eq!(moved(&words, None, port).unwrap(), format!("user=u password='{quoted}' host=h port={port}"));
        }
    }
}
