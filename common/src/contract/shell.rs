//! Words of command lines that people copy: a name of somebody else's choice is one word there and nothing more.

use std::borrow::Cow;
use std::ffi::OsStr;

/// Stands in a hint for a name that cannot be shown as it is.
const UNPRINTABLE: &str = "NAME-WITH-CONTROL-CHARACTERS";

/// A path or name as one word of a command line in a hint. One with control characters, or that is no text, does not
/// stand there: `UNPRINTABLE` does.
pub fn word(name: impl AsRef<OsStr>) -> String {
    match name.as_ref().to_str() {
        Some(text) if !text.contains(is_unprintable) => quoted(text).into_owned(),
        _ => UNPRINTABLE.into(),
    }
}

/// Several of them.
pub fn words<T: AsRef<OsStr>>(names: &[T]) -> String {
    names.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// A text as one word for a shell: in quotes where it would be anything else without them.
pub fn quoted(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_alphanumeric() || "_@%+=:,./-".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(format!("'{}'", text.replace('\'', r"'\''")))
    }
}

/// Control characters, and those that change the direction of what follows: what is shown would not be what is run.
fn is_unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;
    use crate::machine::command::Cmd;

    #[test]
    fn a_name_is_one_word_and_nothing_of_it_is_run() {
        assert_eq!(word("/opt/mattermost"), "/opt/mattermost");
        assert_eq!(word("/opt/x y;id"), "'/opt/x y;id'");
        for name in ["/opt/x y;id", "~root", "a'b", "$(id)", "`id`", "a\\b", "#a", "{a,b}", "!!", "*", "", "größe"] {
            let script = format!("printf '<%s>' {}", word(name));
            assert_eq!(Cmd::new("sh").args(["-c", &script]).run().unwrap().text(), format!("<{name}>"));
        }
    }

    #[test]
    fn what_cannot_be_shown_does_not_stand_there() {
        for name in
            [&b"/opt/x\nhint: id"[..], b"/opt/\x1b[2J", b"/opt/\xff", "/opt/\u{202e}di".as_bytes(), b"/\xc2\x9b"]
        {
            assert_eq!(word(OsStr::from_bytes(name)), UNPRINTABLE);
        }
    }
}
