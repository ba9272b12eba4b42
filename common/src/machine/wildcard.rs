//! Paths with wildcards, as systemd takes them in `EnvironmentFile=`: those of glob(7), without its flags.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use super::files;
use crate::contract::error::{Error, Result};

/// The paths that a pattern stands for, in the order of their bytes: systemd runs without a locale. One without
/// wildcards stands for itself, whether it is there or not.
///
/// # Errors
/// Failed when a directory cannot be read, or the pattern cannot be understood.
pub fn expand(pattern: &Path) -> Result<Vec<PathBuf>> {
    if !is_pattern(pattern.as_os_str()) {
        return Ok(vec![pattern.into()]);
    }
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let mut next = Vec::new();
        for directory in found {
            match part {
                Component::Normal(name) if is_pattern(name) => next.extend(within(&directory, name)?),
                _ => next.push(directory.join(part)),
            }
        }
        found = next;
    }
    let mut there = Vec::new();
    for path in found {
        if exists(&path)? {
            there.push(path);
        }
    }
    there.sort_unstable_by(|one, other| one.as_os_str().cmp(other.as_os_str()));
    Ok(there)
}

fn is_pattern(text: &OsStr) -> bool {
    text.as_bytes().iter().any(|byte| b"*?[\\".contains(byte))
}

/// A file in the place of a directory holds nothing.
fn exists(path: &Path) -> Result<bool> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotADirectory => Ok(false),
        _ => Ok(files::look(path)?.is_some()),
    }
}

fn within(directory: &Path, pattern: &OsStr) -> Result<Vec<PathBuf>> {
    let pattern = pattern.as_bytes();
    if pattern.windows(2).any(|pair| matches!(pair, b"[:" | b"[." | b"[=")) {
        return Err(Error::failed(format!("cannot tell which files `{}` means", OsStr::from_bytes(pattern).display()))
            .because("these tools do not know the classes of characters (`[:alpha:]`)")
            .hint("name the characters, or use `*`"));
    }
    let failed = |error| Error::io("list the directory", directory, error);
    let entries = match std::fs::read_dir(directory) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        // A dot at the beginning has to be written.
        let hidden = name.as_bytes().starts_with(b".") && !pattern.starts_with(b".");
        if !hidden && matches(pattern, name.as_bytes()) {
            found.push(directory.join(name));
        }
    }
    Ok(found)
}

/// Whether a pattern matches all of a name.
fn matches(mut pattern: &[u8], mut name: &[u8]) -> bool {
    // What comes after the last star, and what it has not swallowed: a later star makes an earlier one irrelevant.
    let mut star: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', rest @ ..] = pattern {
            (pattern, star) = (rest, Some((rest, name)));
            continue;
        }
        match (one(pattern, name), star) {
            (Some(rest), _) => (pattern, name) = (rest, &name[1..]),
            _ if pattern.is_empty() && name.is_empty() => return true,
            (None, Some((rest, [_, tail @ ..]))) => (pattern, name, star) = (rest, tail, Some((rest, tail))),
            (None, _) => return false,
        }
    }
}

/// What is left of a pattern whose first piece, no star, stands for the first byte of a name.
fn one<'a>(pattern: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let byte = name.first()?;
    match pattern {
        [b'?', rest @ ..] => Some(rest),
        [b'[', rest @ ..] => match set(rest, *byte) {
            Some((is, rest)) => is.then_some(rest),
            None => (*byte == b'[').then_some(rest),
        },
        [b'\\', wanted, rest @ ..] | [wanted, rest @ ..] => (wanted == byte).then_some(rest),
        [] => None,
    }
}

/// Whether a set, from after its bracket, holds a byte, and what comes after it; nothing when it is not closed.
fn set(text: &[u8], byte: u8) -> Option<(bool, &[u8])> {
    let (not, mut text) = match text {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let (mut is, mut first) = (false, true);
    loop {
        // A bracket that comes first is one of the characters.
        if let (false, [b']', rest @ ..]) = (first, text) {
            return Some((is != not, rest));
        }
        let (low, rest) = character(text)?;
        let (high, rest) = match rest {
            [b'-', end, ..] if *end != b']' => character(&rest[1..])?,
            _ => (low, rest),
        };
        is |= (low..=high).contains(&byte);
        (text, first) = (rest, false);
    }
}

fn character(text: &[u8]) -> Option<(u8, &[u8])> {
    match text {
        [b'\\', byte, rest @ ..] | [byte, rest @ ..] => Some((*byte, rest)),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_fnmatch_does() {
        for (pattern, name, is) in [
            ("*.env", "a.env", true),
            ("*.env", "a.env~", false),
            ("*a*b", "xaxxb", true),
            ("*", "", true),
            ("?.env", ".env", false),
            ("1?", "10", true),
            ("[0-9][0-9]-*", "10-db", true),
            ("[!0-9]*", "10-db", false),
            ("[^0-9]*", "db", true),
            ("[]a]", "]", true),
            ("[a-]", "-", true),
            ("[a", "[a", true),
            (r"\*", "*", true),
            (r"\*", "a", false),
            (r"[\]]", "]", true),
            ("a", "ab", false),
            ("ab", "a", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), is, "{pattern} {name}");
        }
    }

    #[test]
    fn expands_to_what_is_there_in_the_order_of_bytes() {
        let temporary = tempfile::tempdir().unwrap();
        let root = temporary.path();
        for file in ["a/x.env", "a.d/x.env", "a.d/.hidden.env", "a.d/B.env", "b", "a.d/x.env~"] {
            std::fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            std::fs::File::create(root.join(file)).unwrap();
        }
        let names = |pattern: &str| -> Vec<String> {
            let found = expand(&root.join(pattern)).unwrap();
            found.iter().map(|path| path.strip_prefix(root).unwrap().display().to_string()).collect()
        };
        assert_eq!(names("*/*.env"), ["a.d/B.env", "a.d/x.env", "a/x.env"]);
        assert_eq!(names("*/x.env"), ["a.d/x.env", "a/x.env"]);
        assert_eq!(names("a.d/.*.env"), ["a.d/.hidden.env"]);
        assert!(names("c*").is_empty() && names("c/*").is_empty() && names("b/*").is_empty());
        assert_eq!(names("c"), ["c"], "no pattern");
        assert!(expand(&root.join("[[:digit:]]*")).is_err());
    }
}
