//! Another port in a data source, everything else in it left as it was written.

use mm_common::contract::secret::Secret;
use mm_common::postgres::source::DataSource;
use mm_common::{Error, Result};

/// The data source with another port.
///
/// # Errors
/// Refused when the text cannot be changed in such a way that only the port differs.
pub(crate) fn with_port(text: &Secret, port: u16) -> Result<Secret> {
    let before = DataSource::parse(text.reveal())?;
    let changed = match text.reveal().find("://") {
        Some(at) => in_url(text.reveal(), at + 3, port),
        None => in_words(text.reveal(), before.port, port),
    };
    let wanted = DataSource { port, ..before };
    if DataSource::parse(&changed)? == wanted {
        return Ok(Secret::new(changed));
    }
    Err(Error::refused("cannot change the port in the data source of the server")
        .because("it is written in a way this tool does not know how to change")
        .hint(format!("set the port to {port} by hand, or run this without --keep-port")))
}

fn in_url(text: &str, authority: usize, port: u16) -> String {
    let (address, query) = text.split_once('?').map_or((text, None), |(address, query)| (address, Some(query)));
    if let Some(query) = query.filter(|query| query.split('&').any(|pair| pair.starts_with("port="))) {
        let pairs: Vec<String> = query
            .split('&')
            .map(|pair| if pair.starts_with("port=") { format!("port={port}") } else { pair.to_owned() })
            .collect();
        return format!("{address}?{}", pairs.join("&"));
    }
    let end = text[authority..].find(['/', '?', '#']).map_or(text.len(), |at| authority + at);
    let host = text[authority..end].rfind('@').map_or(authority, |at| authority + at + 1);
    // The colons of an IPv6 address stand before its bracket.
    let name = text[host..end].rfind(']').map_or(host, |at| host + at + 1);
    let colon = text[name..end].rfind(':').map_or(end, |at| name + at);
    format!("{}:{port}{}", &text[..colon], &text[end..])
}

fn in_words(text: &str, before: u16, port: u16) -> String {
    let numbered = format!("port={before}");
    let place = text.match_indices(&numbered).map(|(at, found)| (at, at + found.len())).find(|(start, end)| {
        let free = |c: Option<char>| c.is_none_or(char::is_whitespace);
        free(text[..*start].chars().next_back()) && free(text[*end..].chars().next())
    });
    match place {
        Some((start, end)) => format!("{}port={port}{}", &text[..start], &text[end..]),
        None => format!("{} port={port}", text.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn changed(text: &str) -> String {
        with_port(&Secret::new(text), 5433).unwrap().reveal().to_owned()
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
            ("host=h  port=5432 user=u password='port=5432 '", "host=h  port=5433 user=u password='port=5432 '"),
            ("user=u host=h", "user=u host=h port=5433"),
        ] {
            assert_eq!(changed(before), after);
        }
    }

    #[test]
    fn what_cannot_be_changed_cleanly_is_refused() {
        let error = with_port(&Secret::new("user=u port='5432' password=' port=5432 '"), 5433).unwrap_err();
        assert_eq!(error.code(), 5);
    }

    proptest! {
        #[test]
        fn whatever_the_password_holds(password in "[^\\p{Cc}]{1,30}", port in 1_u16..) {
            let encoded = password.bytes().fold(String::new(), |mut all, byte| {
                use std::fmt::Write as _;
                write!(all, "%{byte:02X}").unwrap();
                all
            });
            let url = format!("postgres://u:{encoded}@h:5432/d?sslmode=disable");
            let changed = with_port(&Secret::new(&url), port).unwrap();
            prop_assert_eq!(changed.reveal(), format!("postgres://u:{encoded}@h:{port}/d?sslmode=disable"));
        }
    }
}
