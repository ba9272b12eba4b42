//! A string as it is written down, with the place of each byte of what it means: a part of it can be exchanged while
//! every other byte of the file stays as it is.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::contract::error::{Error, Result};

/// A part of a string, and what is to stand there instead. Places are those in the string as it is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// The bytes that go; an empty range is an insertion.
    pub range: Range<usize>,
    /// What comes.
    pub with: String,
}

/// Says what of a data source has to be exchanged: nothing where it may stay.
pub type Mover<'a> = &'a dyn Fn(&str) -> Result<Vec<Replacement>>;

/// An exchange as it was made in the file. It holds no more of a data source than host and port, so it may be written
/// down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Edit {
    /// Where, from the beginning of the string as it was written before.
    at: usize,
    /// What stood there.
    old: String,
    /// What stands there now.
    new: String,
}

/// The edits of one string.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edits {
    /// Bytes of the string as it was written before. With it no state is mistaken for the other: `5432` begins `54321`.
    bytes: usize,
    list: Vec<Edit>,
}

/// How characters are written that mean something to the file they stand in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writing {
    /// As Go writes JSON: `&`, `<` and `>` escaped.
    Json,
    /// As they are.
    Plain,
    /// A percent sign doubled: systemd units, supervisord.
    Percent,
}

/// A string in a text.
#[derive(Clone)]
pub(super) struct Token {
    /// What it means.
    pub(super) value: String,
    /// Where it stands, quotes included.
    pub(super) span: Range<usize>,
    /// Where each byte of the value stands.
    places: Vec<Range<usize>>,
    writing: Writing,
}

impl Token {
    /// A token of the text `raw` that begins at `begin`; [`Token::push`] fills it.
    pub(super) fn new(begin: usize, writing: Writing) -> Self {
        Self { value: String::new(), span: begin..begin, places: Vec::new(), writing }
    }

    /// The next character of the value, written at `place`.
    pub(super) fn push(&mut self, c: char, place: Range<usize>) {
        self.value.push(c);
        self.places.resize(self.value.len(), place);
    }

    /// Keeps the first `length` bytes of the value.
    pub(super) fn truncate(&mut self, length: usize) {
        self.value.truncate(length);
        self.places.truncate(length);
    }

    /// A text that means what it is.
    pub(super) fn plain(text: &str) -> Self {
        let mut token = Self::new(0, Writing::Plain);
        text.char_indices().for_each(|(at, c)| token.push(c, at..at + c.len_utf8()));
        token.span = 0..text.len();
        token
    }

    /// The JSON string that stands at `span`, quotes included. The text is known to be JSON.
    pub(super) fn json(text: &str, span: Range<usize>) -> Option<Self> {
        let mut token = Self::new(span.start + 1, Writing::Json);
        let mut at = span.start + 1;
        while at + 1 < span.end {
            let rest = &text[at..span.end - 1];
            // A character outside the basic plane is two escapes.
            let length = match rest.as_bytes() {
                [b'\\', b'u', ..] => {
                    let whole = |length: &usize| rest.get(..*length).and_then(decoded).is_some();
                    [6, 12].into_iter().find(whole)?
                }
                [b'\\', ..] => 2,
                _ => rest.chars().next()?.len_utf8(),
            };
            token.push(decoded(rest.get(..length)?)?, at..at + length);
            at += length;
        }
        token.span = span;
        Some(token)
    }

    /// The edits that make these replacements.
    ///
    /// # Errors
    /// When they are not in order, or a part is written in such a way that it cannot be exchanged by itself.
    pub(super) fn edits(&self, text: &str, replacements: &[Replacement]) -> Result<Edits> {
        let mut list: Vec<Edit> = Vec::new();
        for Replacement { range, with } in replacements {
            let opening = self.places.get(range.start).filter(|_| !range.is_empty());
            let closing = range.end.checked_sub(1).map(|end| self.places.get(end));
            let (start, end) = match (opening, closing) {
                (Some(opening), Some(Some(closing))) => (opening.start, closing.end),
                (None, Some(Some(before))) => (before.end, before.end),
                (None, None) => (self.first(), self.first()),
                _ => return Err(Error::failed("cannot change a part of a string that is not in it")),
            };
            let from = self.span.start;
            if list.last().is_some_and(|edit| edit.at + edit.old.len() > start - from) {
                return Err(Error::failed("cannot change two parts of a string that overlap"));
            }
            list.push(Edit { at: start - from, old: text[start..end].to_owned(), new: self.written(with) });
        }
        Ok(Edits { bytes: self.span.len(), list })
    }

    fn first(&self) -> usize {
        // Behind an opening quote.
        self.places.first().map_or(self.span.start + usize::from(self.span.len() > 1), |place| place.start)
    }

    fn written(&self, text: &str) -> String {
        match self.writing {
            Writing::Json => {
                let quoted = serde_json::Value::from(text).to_string();
                let escaped = quoted.replace('&', r"\u0026").replace('<', r"\u003c").replace('>', r"\u003e");
                escaped[1..escaped.len() - 1].to_owned()
            }
            Writing::Plain => text.to_owned(),
            Writing::Percent => text.replace('%', "%%"),
        }
    }
}

/// The one character that this inside of a JSON string means.
fn decoded(raw: &str) -> Option<char> {
    let text: String = serde_json::from_str(&format!("\"{raw}\"")).ok()?;
    let mut characters = text.chars();
    characters.next().filter(|_| characters.next().is_none())
}

/// `value` with the replacements made.
pub(super) fn replaced(value: &str, replacements: &[Replacement]) -> String {
    let mut new = String::with_capacity(value.len());
    let mut at = 0;
    for Replacement { range, with } in replacements {
        new.push_str(value.get(at..range.start).unwrap_or_default());
        new.push_str(with);
        at = range.end;
    }
    new + value.get(at..).unwrap_or_default()
}

impl Edits {
    /// Whether nothing is exchanged.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The string as written before, with the edits made; `None` when it is another one.
    pub(super) fn made(&self, raw: &str) -> Option<String> {
        if raw.len() != self.bytes {
            return None;
        }
        let (mut result, mut here) = (String::with_capacity(raw.len()), 0);
        for Edit { at, old, new } in &self.list {
            if !raw.get(*at..)?.starts_with(old.as_str()) {
                return None;
            }
            result.push_str(raw.get(here..*at)?);
            result.push_str(new);
            here = at + old.len();
        }
        result.push_str(raw.get(here..)?);
        Some(result)
    }

    /// The string as written after them, with the edits taken back; `None` when it is another one.
    pub(super) fn taken_back(&self, raw: &str) -> Option<String> {
        self.reversed().made(raw)
    }

    /// The edits that take these back.
    pub(super) fn reversed(&self) -> Self {
        let (mut list, mut grown, mut shrunk) = (Vec::new(), 0, 0);
        for Edit { at, old, new } in &self.list {
            list.push(Edit { at: (at + grown).saturating_sub(shrunk), old: new.clone(), new: old.clone() });
            grown += new.len();
            shrunk += old.len();
        }
        Self { bytes: (self.bytes + grown).saturating_sub(shrunk), list }
    }

    /// Each exchange with its place in the string as it was written before: place, bytes that go, what comes.
    pub(super) fn each(&self) -> impl Iterator<Item = (usize, usize, &str)> {
        self.list.iter().map(|edit| (edit.at, edit.old.len(), edit.new.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(range: Range<usize>, with: &str) -> Replacement {
        Replacement { range, with: with.into() }
    }

    #[test]
    fn what_is_exchanged_stands_in_the_string_as_it_is_written() {
        let text = r#"{"a": "h\u00f6\ud83d\ude00&\u0026x"}"#;
        let token = Token::json(text, 6..text.len() - 1).unwrap();
        assert_eq!(token.value, "h\u{f6}\u{1f600}&&x");
        let edits = token.edits(text, &[at(0..1, "H"), at(8..9, "<"), at(10..10, "!")]).unwrap();
        assert!(!edits.is_empty() && token.edits(text, &[]).unwrap().is_empty());
        let raw = &text[token.span.clone()];
        let new = edits.made(raw).unwrap();
        assert_eq!(new, r#""H\u00f6\ud83d\ude00&\u003cx!""#);
        assert_eq!(edits.taken_back(&new).as_deref(), Some(raw));
        assert_eq!((edits.made(&new), edits.taken_back(raw)), (None, None));
    }

    #[test]
    fn a_port_that_begins_another_is_not_taken_for_it() {
        let token = Token::plain("h:54321/d");
        let edits = token.edits("h:54321/d", &[at(2..7, "5432")]).unwrap();
        assert_eq!(edits.taken_back("h:54321/d"), None);
        assert_eq!(edits.taken_back("h:5432/d").as_deref(), Some("h:54321/d"));
    }

    proptest! {
        #[test]
        fn made_and_taken_back(value in ".{0,20}", first in 0_usize..20, second in 0_usize..20, with in "[a-z&%0-9]{0,5}") {
            let boundary = |at: usize| (0..=at.min(value.len())).rev().find(|at| value.is_char_boundary(*at)).unwrap();
            let (start, end) = (boundary(first.min(second)), boundary(first.max(second)));
            let text = serde_json::Value::from(value.as_str()).to_string();
            let token = Token::json(&text, 0..text.len()).unwrap();
            prop_assert_eq!(&token.value, &value);
            let replacements = [at(start..end, &with)];
            let edits = token.edits(&text, &replacements).unwrap();
            let new = edits.made(&text).unwrap();
            prop_assert_eq!(serde_json::from_str::<String>(&new).unwrap(), replaced(&value, &replacements));
            prop_assert_eq!(edits.taken_back(&new), Some(text));
        }
    }
}
