//! What a JSON text says, in one form: MySQL, `MariaDB` and jsonb write the same value in different ways. Of keys that are
//! there twice the last one counts, keys are in the order of their code points, numbers are decimals without zeros that
//! say nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::value::RawValue;

/// Deeper than any that a server writes; a text of brackets alone must not use up the stack.
const DEEPEST: usize = 200;

/// How far jsonb's numbers reach: digits before and behind the point (PostgreSQL's manual, "Numeric Types").
const BEFORE: i64 = 131_072;
const BEHIND: i64 = 16_383;

/// Why PostgreSQL will not take a text as jsonb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It is no JSON, or a number in it is too large.
    None,
    /// It holds U+0000.
    Nul,
}

/// The one form of a JSON text.
///
/// # Errors
/// When it is none, or jsonb cannot hold it.
pub(crate) fn canonical(text: &str) -> Result<String, Unfit> {
    let mut out = String::with_capacity(text.len());
    let raw: &RawValue = serde_json::from_str(text).map_err(|_| Unfit::None)?;
    write(raw, &mut out, 0)?;
    Ok(out)
}

fn write(raw: &RawValue, out: &mut String, depth: usize) -> Result<(), Unfit> {
    let text = raw.get();
    if depth > DEEPEST {
        return Err(Unfit::None);
    }
    match text.as_bytes().first() {
        Some(b'{') => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).map_err(|_| Unfit::None)?;
            out.push('{');
            for (at, (key, value)) in members.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { "," });
                string(key, out)?;
                out.push(':');
                write(value, out, depth + 1)?;
            }
            out.push('}');
        }
        Some(b'[') => {
            let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| Unfit::None)?;
            out.push('[');
            for (at, value) in elements.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { "," });
                write(value, out, depth + 1)?;
            }
            out.push(']');
        }
        Some(b'"') => string(&serde_json::from_str::<String>(text).map_err(|_| Unfit::None)?, out)?,
        Some(b't' | b'f' | b'n') => out.push_str(text),
        _ => number(text, out).ok_or(Unfit::None)?,
    }
    Ok(())
}

fn string(text: &str, out: &mut String) -> Result<(), Unfit> {
    if text.contains('\0') {
        return Err(Unfit::Nul);
    }
    out.push_str(&serde_json::to_string(text).map_err(|_| Unfit::None)?);
    Ok(())
}

/// `-12e-1` for `-1.20`: digits without zeros at either end, and the power of ten.
fn number(text: &str, out: &mut String) -> Option<()> {
    let (sign, rest) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (mantissa, power) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let power: i64 = power.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let length = |text: &str| i64::try_from(text.len()).ok();
    let scale = power.checked_sub(length(fraction)?)?;
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        out.push('0');
        return (scale >= -BEHIND).then_some(());
    }
    let scale_of_all = scale + length(digits)? - length(significant)?;
    if scale_of_all + length(significant)? > BEFORE || scale < -BEHIND {
        return None;
    }
    // Writing to a String cannot fail.
    let _ = write!(out, "{sign}{significant}e{scale_of_all}");
    Some(())
}

/// The text with U+2400 in the place of each U+0000 in its strings, every other byte as it was.
pub(crate) fn without_nul(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        // An escape is taken whole: `\\u0000` is a backslash and five characters.
        let length = if escape.starts_with("\\u") { 6 } else { 2 };
        let (escape, after) = escape.split_at_checked(length).unwrap_or((escape, ""));
        out.push_str(if escape == "\\u0000" { "\\u2400" } else { escape });
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_has_one_form() {
        for (one, other) in [
            (r#"{"b":1,"a":2}"#, r#"{ "a": 2.0, "b": 10e-1 }"#),
            (r#"{"a":1,"a":[1.10]}"#, r#"{"a":[1.1]}"#),
            ("-0.0", "0"),
            ("1e30", "1000000000000000000000000000000"),
            (r#""\u00e9\/""#, r#""é/""#),
            (r#""\ud83d\ude00""#, "\"\u{1f600}\""),
            (" null ", "null"),
        ] {
            assert_eq!(canonical(one), canonical(other), "{one}");
            assert!(canonical(one).is_ok(), "{one}");
        }
        for (one, other) in [
            ("1", "-1"),
            ("1", "10"),
            (r#""1""#, "1"),
            ("[]", "{}"),
            ("0.1", "0.01"),
            ("18446744073709551615", "18446744073709551616"),
        ] {
            assert_ne!(canonical(one), canonical(other), "{one}");
        }
    }

    #[test]
    fn what_jsonb_does_not_take_is_told() {
        for text in ["", "{", "{} {}", "{'a':1}", r#""\ud800""#, "1e999999", "1e-20000", "NaN", "01", "\"\u{1}\""] {
            assert_eq!(canonical(text), Err(Unfit::None), "{text}");
        }
        assert_eq!(canonical(&"[".repeat(5000)), Err(Unfit::None));
        assert_eq!(canonical(&format!("{}{}", "[".repeat(1000), "]".repeat(1000))), Err(Unfit::None));
        for text in [r#"{"a":"x\u0000"}"#, r#"{"\u0000":1}"#, r#"["\\\u0000"]"#] {
            assert_eq!(canonical(text), Err(Unfit::Nul), "{text}");
        }
        assert!(canonical(r#"["\\u0000"]"#).is_ok());
    }

    #[test]
    fn a_nul_is_exchanged_where_it_is_one() {
        for (text, wanted) in [
            (r#"{"a":"x\u0000y"}"#, r#"{"a":"x\u2400y"}"#),
            (r#"["\\u0000","\\\u0000","\n\u0000"]"#, r#"["\\u0000","\\\u2400","\n\u2400"]"#),
            ("[1]", "[1]"),
            ("\\u00", "\\u00"),
        ] {
            assert_eq!(without_nul(text), wanted);
        }
    }
}
