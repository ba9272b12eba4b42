//! Where a variable is set in a file: an environment file, a systemd unit or drop-in, a program of supervisord.

use std::ops::Range;

use super::environment::assignments;
use super::token::{Token, Writing};
use crate::contract::error::{Error, Result};

/// The value that the file gives to `name`: the last one of an environment file, the only one of a unit.
///
/// # Errors
/// When it is not there, or written in a way that cannot be told from something else.
pub(super) fn locate(text: &str, name: &str) -> Result<Token> {
    let last = assignments(text).into_iter().rev().find(|found| found.name == name);
    if let Some(found) = last {
        return Ok(found.token);
    }
    let unclear = || {
        Error::failed(format!("cannot find the one place where {name} is set"))
            .hint(format!("put {name} into an environment file of the service, on a line of its own"))
    };
    let mut found = text.match_indices(name).filter_map(|(at, _)| in_unit(text, at, name));
    let (Some(span), None) = (found.next(), found.next()) else { return Err(unclear()) };
    let raw = &text[span.clone()];
    if raw.contains(['\\', '\n', '"', '\'']) {
        return Err(unclear());
    }
    let mut token = Token::new(span.start, Writing::Percent);
    let mut characters = raw.char_indices().map(|(offset, c)| (span.start + offset, c)).peekable();
    while let Some((at, c)) = characters.next() {
        let doubled = c == '%' && characters.next_if(|(_, next)| *next == '%').is_some();
        token.push(c, at..at + c.len_utf8() + usize::from(doubled));
    }
    token.span = span;
    Ok(token)
}

/// The value, without its quotes, of `Environment="NAME=value"` or `NAME="value"`, where the name stands at `at`.
fn in_unit(text: &str, at: usize, name: &str) -> Option<Range<usize>> {
    let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let before = text[line..at].trim_start();
    let separate = before.is_empty() || before.ends_with([' ', '\t', '=', '"', '\'', ',']);
    if before.starts_with(['#', ';']) || !separate {
        return None;
    }
    let begin = at + name.len() + text[at + name.len()..].strip_prefix('=').map(|_| 1)?;
    let quote = |c: Option<char>| c.filter(|c| matches!(c, '"' | '\''));
    Some(match (quote(before.chars().next_back()), quote(text[begin..].chars().next())) {
        (Some(open), _) => begin..begin + text[begin..].find(open)?,
        (None, Some(open)) => begin + 1..begin + 1 + text[begin + 1..].find(open)?,
        (None, None) => begin..text[begin..].find(char::is_whitespace).map_or(text.len(), |end| begin + end),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "MM_SQLSETTINGS_DATASOURCE";

    fn value(text: &str) -> Option<(String, String)> {
        let token = locate(text, NAME).ok()?;
        Some((text[token.span.clone()].to_owned(), token.value))
    }

    fn pair(raw: &str, value: &str) -> Option<(String, String)> {
        (!raw.is_empty()).then(|| (raw.to_owned(), value.to_owned()))
    }

    #[test]
    fn an_environment_file_sets_it_on_its_last_line() {
        let text = format!("# secret\n{NAME}=old\n{NAME}=\"new\"  \nOTHER=old\n");
        assert_eq!(value(&text), pair("\"new\"", "new"));
    }

    #[test]
    fn a_unit_sets_it_within_a_line() {
        let unit = |assignment: &str| format!("[Service]\n#Environment={NAME}=x\nEnvironment={assignment} X=1\n");
        assert_eq!(value(&unit(&format!("\"{NAME}=a b\""))), pair("a b", "a b"));
        assert_eq!(value(&unit(&format!("A=1 {NAME}=a"))), pair("a", "a"));
        assert_eq!(value(&unit(&format!("'{NAME}=a%%40b'"))), pair("a%%40b", "a%40b"));
        assert_eq!(value(&format!("[program:x]\nenvironment=A=\"1\",{NAME}=\"a,b\",C=2\n")), pair("a,b", "a,b"));
        assert_eq!(value(&unit(&format!("{NAME}REPLICAS=x"))), None);
        assert_eq!(value(&unit(&format!("{NAME}=a {NAME}=b"))), None);
        assert_eq!(value(&unit(&format!("\"{NAME}=a\\\"b\""))), None);
        assert_eq!(value("nothing"), None);
    }
}
