//! Patterns for `--exclude`: `*` and `?` stay within one name, `**` crosses directories. Matched against the whole
//! path below a root, or against the absolute path when the pattern begins with `/`.

/// The text of a flag. Brackets mean something to other programs and nothing here, so a pattern with them would leave
/// out nothing without a word.
pub(crate) fn checked(text: &str) -> Result<String, String> {
    match text.chars().find(|found| "[]{}".contains(*found)) {
        Some(found) => {
            Err(format!("`{found}` means nothing in a pattern: there are `*`, `**` and `?`, which stands for it too"))
        }
        None if text.is_empty() => Err("an empty pattern matches nothing".into()),
        None => Ok(text.into()),
    }
}

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glob {
    pattern: Vec<u8>,
}

impl Glob {
    /// From the text of a flag; a slash at its end means nothing.
    pub(crate) fn new(text: &str) -> Self {
        let trimmed = text.trim_end_matches('/');
        Self { pattern: if trimmed.is_empty() { text.into() } else { trimmed.into() } }
    }

    /// Whether it is matched against absolute paths.
    pub(crate) fn is_absolute(&self) -> bool {
        self.pattern.first() == Some(&b'/')
    }

    /// Whether it matches all of `path`.
    pub(crate) fn matches(&self, path: &[u8]) -> bool {
        // Where the last star stood, and how far it has swallowed: enough to go back to, because a later star makes an
        // earlier one irrelevant, but for a single star inside a double one.
        matches(&self.pattern, path)
    }
}

fn matches(mut pattern: &[u8], mut path: &[u8]) -> bool {
    let mut single: Option<(&[u8], &[u8])> = None;
    let mut double: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern, path) {
            ([], []) => return true,
            ([b'*', b'*', b'/', rest @ ..], _) => {
                // `a/**/b` also means `a/b`.
                pattern = rest;
                (single, double) = (None, Some((rest, path)));
            }
            ([b'*', b'*', rest @ ..], _) => {
                pattern = rest;
                (single, double) = (None, Some((rest, path)));
            }
            ([b'*', rest @ ..], _) => {
                pattern = rest;
                single = Some((rest, path));
            }
            ([b'?', rest @ ..], [byte, tail @ ..]) if *byte != b'/' => (pattern, path) = (rest, tail),
            ([wanted, rest @ ..], [byte, tail @ ..]) if wanted == byte => (pattern, path) = (rest, tail),
            _ => match (single, double) {
                (Some((rest, [byte, tail @ ..])), _) if *byte != b'/' => {
                    single = Some((rest, tail));
                    (pattern, path) = (rest, tail);
                }
                (_, Some((rest, [_, tail @ ..]))) => {
                    (single, double) = (None, Some((rest, tail)));
                    (pattern, path) = (rest, tail);
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_that_would_match_nothing_is_no_pattern() {
        for wrong in ["[", "logs/[a-c].gz", "*.{gz,xz}", ""] {
            assert!(checked(wrong).is_err(), "{wrong}");
        }
        assert_eq!(checked("logs/**/?.gz").unwrap(), "logs/**/?.gz");
    }

    #[test]
    fn stars_stay_within_a_name_and_double_stars_do_not() {
        for (pattern, path, is) in [
            ("logs", "logs", true),
            ("logs/", "logs", true),
            ("logs/*.gz", "logs/a.gz", true),
            ("logs/*.gz", "logs/a/b.gz", false),
            ("**/*.tmp", "a/b/c.tmp", true),
            ("**/*.tmp", "c.tmp", true),
            ("a/**/z", "a/z", true),
            ("a/**/z", "a/b/c/z", true),
            ("a/**", "a/b/c", true),
            ("?at", "cat", true),
            ("?at", "/at", false),
            ("*a*b*", "xaxxbx", true),
            ("**/x*y/z", "q/xay/xby/z", true),
            ("", "x", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(path.as_bytes()), is, "{pattern} {path}");
        }
    }
}
