//! Where a variable is set in a file: an environment file, a systemd unit or drop-in, a program of supervisord.

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
    match (found.next(), found.next()) {
        (Some(token), None) => token.ok_or_else(unclear),
        _ => Err(unclear()),
    }
}

/// The value of `Environment="NAME=value"` or `NAME="value"`, where the name stands at `at`. `Some(None)` when it is an
/// assignment with escapes in it.
fn in_unit(text: &str, at: usize, name: &str) -> Option<Option<Token>> {
    let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let before = text[line..at].trim_start();
    let separate = before.is_empty() || before.ends_with([' ', '\t', '=', '"', '\'', ',']);
    if before.starts_with(['#', ';']) || !separate {
        return None;
    }
    let begin = at + name.len() + text[at + name.len()..].strip_prefix('=').map(|_| 1)?;
    let quote = |c: Option<char>| c.filter(|c| matches!(c, '"' | '\''));
    let (begin, end) = match (quote(before.chars().next_back()), quote(text[begin..].chars().next())) {
        (Some(open), _) => (begin, begin + text[begin..].find(open)?),
        (None, Some(open)) => (begin + 1, begin + 1 + text[begin + 1..].find(open)?),
        (None, None) => (begin, begin + text[begin..].find(char::is_whitespace).unwrap_or(text.len() - begin)),
    };
    let raw = &text[begin..end];
    if raw.contains(['\\', '\n', '"', '\'']) {
        return Some(None);
    }
    let mut token = Token::new(begin, Writing::Percent);
    let mut characters = raw.char_indices().peekable();
    while let Some((offset, c)) = characters.next() {
        let doubled = c == '%' && characters.next_if(|(_, next)| *next == '%').is_some();
        token.push(c, begin + offset..begin + offset + c.len_utf8() + usize::from(doubled));
    }
    token.span = begin..end;
    Some(Some(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "MM_SQLSETTINGS_DATASOURCE";

    fn value(text: &str) -> Option<(String, String)> {
        let token = locate(text, NAME).ok()?;
        Some((text[token.span.clone()].to_owned(), token.value))
    }

    fn both(one: &str) -> Option<(String, String)> {
        Some((one.to_owned(), one.to_owned()))
    }

    #[test]
    fn an_environment_file_sets_it_on_its_last_line() {
        let text = format!("# secret\n{NAME}=old\n{NAME}=\"new\"  \nOTHER=old\n");
        assert_eq!(value(&text), Some(("\"new\"".into(), "new".into())));
    }

    #[test]
    fn a_unit_sets_it_within_a_line() {
        let unit = |assignment: &str| format!("[Service]\n#Environment={NAME}=x\nEnvironment={assignment} X=1\n");
        assert_eq!(value(&unit(&format!("\"{NAME}=a b\""))), both("a b"));
        assert_eq!(value(&unit(&format!("A=1 {NAME}=a"))), both("a"));
        assert_eq!(value(&unit(&format!("'{NAME}=a%%40b'"))), Some(("a%%40b".into(), "a%40b".into())));
        assert_eq!(value(&format!("[program:x]\nenvironment=A=\"1\",{NAME}=\"a,b\",C=2\n")), both("a,b"));
        assert_eq!(value(&unit(&format!("{NAME}REPLICAS=x"))), None);
        assert_eq!(value(&unit(&format!("{NAME}=a {NAME}=b"))), None);
        assert_eq!(value(&unit(&format!("\"{NAME}=a\\\"b\""))), None);
        assert_eq!(value("nothing"), None);
    }
}
