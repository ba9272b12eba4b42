//! A value of a row: what MySQL says of it, what PostgreSQL is to hold, and the one form in which both are compared.

use super::json::{self, Unfit as NoJson};

/// What a column of PostgreSQL holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    /// Of so many bits.
    Integer(u32),
    /// Up to so many characters.
    Text(Option<usize>),
    /// `char(n)`: blanks at the end are no part of it.
    Padded(usize),
    /// One of these.
    Enum(Vec<String>),
    Json,
    Bytes,
    /// Texts of up to so many characters.
    Texts(Option<usize>),
}

/// What stands in the way of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unfit {
    /// U+0000 in a text.
    Nul,
    /// JSON that is none, or that jsonb does not take.
    Json,
    /// More characters than the column holds.
    Long,
    /// NULL where the column holds none.
    Null,
    /// Not of the kind that the column holds.
    Value,
}

/// What was changed in a value so that PostgreSQL can hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repair {
    /// U+2400 stands for U+0000.
    Nul,
    /// Written in lower case.
    Lower,
}

/// How a column is carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub kind: Kind,
    /// It holds NULL.
    pub nullable: bool,
    /// The server looks things up by it, in lower case.
    pub lower: bool,
}

/// A value as PostgreSQL is to hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cell {
    Null,
    Bool(bool),
    Integer(i64),
    Text(String),
    /// As it is written, and in its one form.
    Json(String, String),
    Bytes(Vec<u8>),
    Texts(Vec<String>),
}

impl Rule {
    /// What PostgreSQL is to hold where MySQL says `value`. `mends_nul`: U+2400 may stand for U+0000.
    ///
    /// # Errors
    /// Why it cannot.
    pub(crate) fn of_mysql(&self, value: Option<&[u8]>, mends_nul: bool) -> Result<(Cell, Option<Repair>), Unfit> {
        let Some(bytes) = value else {
            return if self.nullable { Ok((Cell::Null, None)) } else { Err(Unfit::Null) };
        };
        if self.kind == Kind::Bytes {
            return Ok((Cell::Bytes(bytes.to_vec()), None));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Unfit::Value)?;
        let plain = |cell| Ok((cell, None));
        match &self.kind {
            Kind::Bool => match text {
                "0" => plain(Cell::Bool(false)),
                "1" => plain(Cell::Bool(true)),
                _ => Err(Unfit::Value),
            },
            Kind::Integer(bits) => plain(Cell::Integer(integer(text, *bits).ok_or(Unfit::Value)?)),
            Kind::Enum(labels) if labels.iter().any(|label| label == text) => plain(Cell::Text(text.to_owned())),
            Kind::Enum(_) | Kind::Bytes => Err(Unfit::Value),
            Kind::Text(most) => self.text(text, *most, mends_nul),
            Kind::Padded(most) => self.text(text.trim_end_matches(' '), Some(*most), mends_nul),
            Kind::Json => match json::canonical(text) {
                Ok(form) => plain(Cell::Json(text.to_owned(), form)),
                Err(NoJson::Nul) if mends_nul => {
                    let text = json::without_nul(text);
                    let form = json::canonical(&text).map_err(|_| Unfit::Json)?;
                    Ok((Cell::Json(text, form), Some(Repair::Nul)))
                }
                Err(NoJson::Nul) => Err(Unfit::Nul),
                Err(NoJson::None) => Err(Unfit::Json),
            },
            Kind::Texts(most) => plain(Cell::Texts(texts(text, *most)?)),
        }
    }

    fn text(&self, text: &str, most: Option<usize>, mends_nul: bool) -> Result<(Cell, Option<Repair>), Unfit> {
        // The column counts characters, not bytes.
        if most.is_some_and(|most| text.chars().count() > most) {
            return Err(Unfit::Long);
        }
        let (text, nul) = match text.contains('\0') {
            true if mends_nul => (text.replace('\0', "\u{2400}"), Some(Repair::Nul)),
            true => return Err(Unfit::Nul),
            false => (text.to_owned(), None),
        };
        if self.lower {
            let lower = text.to_lowercase();
            if most.is_some_and(|most| lower.chars().count() > most) {
                return Err(Unfit::Long);
            }
            if lower != text {
                return Ok((Cell::Text(lower), Some(Repair::Lower)));
            }
        }
        Ok((Cell::Text(text), nul))
    }

    /// What PostgreSQL says that it holds, in the text form of COPY with escapes taken away.
    pub(crate) fn of_postgres(&self, value: Option<&[u8]>) -> Option<Cell> {
        let Some(bytes) = value else { return Some(Cell::Null) };
        let text = std::str::from_utf8(bytes).ok()?;
        Some(match &self.kind {
            Kind::Bool => Cell::Bool(match text {
                "t" => true,
                "f" => false,
                _ => return None,
            }),
            Kind::Integer(bits) => Cell::Integer(integer(text, *bits)?),
            Kind::Enum(_) | Kind::Text(_) => Cell::Text(text.to_owned()),
            Kind::Padded(_) => Cell::Text(text.trim_end_matches(' ').to_owned()),
            Kind::Json => Cell::Json(String::new(), json::canonical(text).ok()?),
            Kind::Bytes => Cell::Bytes(from_hexadecimal(text.strip_prefix("\\x")?)?),
            Kind::Texts(_) => Cell::Texts(serde_json::from_str(text).ok()?),
        })
    }
}

fn integer(text: &str, bits: u32) -> Option<i64> {
    let number: i64 = text.parse().ok()?;
    let fits = match bits {
        16 => i16::try_from(number).is_ok(),
        32 => i32::try_from(number).is_ok(),
        _ => true,
    };
    fits.then_some(number)
}

fn texts(text: &str, most: Option<usize>) -> Result<Vec<String>, Unfit> {
    let list: Vec<String> = serde_json::from_str(text).map_err(|_| Unfit::Json)?;
    if list.iter().any(|one| one.contains('\0')) {
        return Err(Unfit::Nul);
    }
    if list.iter().any(|one| most.is_some_and(|most| one.chars().count() > most)) {
        return Err(Unfit::Long);
    }
    Ok(list)
}

fn from_hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes().chunks(2).map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

impl Cell {
    /// The one form: what it is, how long, and what it says.
    pub(crate) fn form(&self, out: &mut Vec<u8>) {
        let mut put = |tag: u8, bytes: &[u8]| {
            out.push(tag);
            out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            out.extend_from_slice(bytes);
        };
        match self {
            Self::Null => put(b'-', b""),
            Self::Bool(value) => put(b'b', if *value { b"1" } else { b"0" }),
            Self::Integer(value) => put(b'i', value.to_string().as_bytes()),
            Self::Text(text) => put(b't', text.as_bytes()),
            Self::Json(_, form) => put(b'j', form.as_bytes()),
            Self::Bytes(bytes) => put(b'x', bytes),
            Self::Texts(list) => put(b'a', serde_json::to_string(list).unwrap_or_default().as_bytes()),
        }
    }

    /// What COPY is sent.
    pub(crate) fn copy(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"\\N"),
            Self::Bool(value) => out.push(if *value { b't' } else { b'f' }),
            Self::Integer(value) => out.extend_from_slice(value.to_string().as_bytes()),
            Self::Text(text) | Self::Json(text, _) => escape(text.as_bytes(), out),
            Self::Bytes(bytes) => {
                out.extend_from_slice(b"\\\\x");
                for byte in bytes {
                    const DIGITS: &[u8; 16] = b"0123456789abcdef";
                    out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
                }
            }
            Self::Texts(list) => {
                let quoted: Vec<String> =
                    list.iter().map(|one| format!("\"{}\"", one.replace('\\', "\\\\").replace('"', "\\\""))).collect();
                escape(format!("{{{}}}", quoted.join(",")).as_bytes(), out);
            }
        }
    }
}

fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => out.push(*byte),
        }
    }
}

/// A field as COPY gives it; `None` for NULL. It writes control characters as letters behind a backslash.
pub(crate) fn unescape(field: &[u8]) -> Option<Vec<u8>> {
    if field == b"\\N" {
        return None;
    }
    let mut out = Vec::with_capacity(field.len());
    let mut bytes = field.iter().copied();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'\\' => match bytes.next().unwrap_or(b'\\') {
                b'b' => 8,
                b'f' => 12,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'v' => 11,
                other => other,
            },
            byte => byte,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(kind: Kind) -> Rule {
        Rule { kind, nullable: true, lower: false }
    }

    fn of(kind: Kind, text: &str) -> Result<Cell, Unfit> {
        rule(kind).of_mysql(Some(text.as_bytes()), false).map(|(cell, _)| cell)
    }

    #[test]
    fn what_a_column_cannot_hold_is_told() {
        assert_eq!(of(Kind::Text(Some(3)), "漢字漢字"), Err(Unfit::Long));
        assert_eq!(of(Kind::Text(Some(4)), "漢字漢字"), Ok(Cell::Text("漢字漢字".into())));
        // PostgreSQL would cut blanks off and say nothing.
        assert_eq!(of(Kind::Text(Some(3)), "abc "), Err(Unfit::Long));
        assert_eq!(of(Kind::Text(None), "a\0"), Err(Unfit::Nul));
        assert_eq!(of(Kind::Padded(3), "a  "), Ok(Cell::Text("a".into())));
        assert_eq!(of(Kind::Bool, "2"), Err(Unfit::Value));
        assert_eq!(of(Kind::Integer(32), "3000000000"), Err(Unfit::Value));
        assert_eq!(of(Kind::Integer(64), "18446744073709551615"), Err(Unfit::Value));
        assert_eq!(of(Kind::Enum(vec!["O".into()]), ""), Err(Unfit::Value));
        assert_eq!(of(Kind::Json, ""), Err(Unfit::Json));
        assert_eq!(of(Kind::Json, r#""\u0000""#), Err(Unfit::Nul));
        assert_eq!(of(Kind::Texts(Some(2)), r#"["abc"]"#), Err(Unfit::Long));
        assert_eq!(rule(Kind::Text(None)).of_mysql(Some(b"\xff"), false), Err(Unfit::Value));
        let required = Rule { nullable: false, ..rule(Kind::Bool) };
        assert_eq!(required.of_mysql(None, false), Err(Unfit::Null));
    }

    #[test]
    fn what_was_asked_for_is_repaired_and_said() {
        let text = rule(Kind::Text(Some(2))).of_mysql(Some(b"a\0"), true);
        assert_eq!(text, Ok((Cell::Text("a\u{2400}".into()), Some(Repair::Nul))));
        let (json, repair) = rule(Kind::Json).of_mysql(Some(br#"["\u0000"]"#), true).unwrap();
        assert_eq!((json, repair), (Cell::Json("[\"\\u2400\"]".into(), "[\"\u{2400}\"]".into()), Some(Repair::Nul)));
        let name = Rule { lower: true, ..rule(Kind::Text(Some(9))) };
        assert_eq!(name.of_mysql(Some(b"Bob"), false), Ok((Cell::Text("bob".into()), Some(Repair::Lower))));
        assert_eq!(name.of_mysql(Some(b"bob"), false), Ok((Cell::Text("bob".into()), None)));
    }

    proptest! {
        /// PostgreSQL gives back what it was sent, so both forms are one.
        #[test]
        fn what_is_sent_is_read_back(text in any::<String>(), bytes in any::<Vec<u8>>(), list in any::<Vec<String>>()) {
            let text = text.replace('\0', "");
            let sent = Cell::Text(text.clone());
            let mut line = Vec::new();
            sent.copy(&mut line);
            prop_assert!(!line.contains(&b'\n') && !line.contains(&b'\t'));
            let back = rule(Kind::Text(None)).of_postgres(unescape(&line).as_deref());
            prop_assert_eq!(back, Some(sent));
            let mut line = Vec::new();
            Cell::Bytes(bytes.clone()).copy(&mut line);
            let back = rule(Kind::Bytes).of_postgres(unescape(&line).as_deref());
            prop_assert_eq!(back, Some(Cell::Bytes(bytes)));
            let json = serde_json::to_string(&list).unwrap();
            let (mut one, mut other) = (Vec::new(), Vec::new());
            Cell::Texts(list).form(&mut one);
            rule(Kind::Texts(None)).of_postgres(Some(json.as_bytes())).unwrap().form(&mut other);
            prop_assert_eq!(one, other);
        }

        /// No two rows have one form.
        #[test]
        fn forms_tell_values_apart(one in any::<(String, String)>(), other in any::<(String, String)>()) {
            let form = |(first, second): &(String, String)| {
                let mut out = Vec::new();
                Cell::Text(first.clone()).form(&mut out);
                Cell::Text(second.clone()).form(&mut out);
                out
            };
            prop_assert_eq!(one == other, form(&one) == form(&other));
        }
    }
}
