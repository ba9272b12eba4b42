//! Finding the names of embedded scripts in a program that comes in pieces.

use std::collections::BTreeSet;

use super::{Carried, LONGEST, MOST, is_name};

/// Where every name begins.
const BEGIN: &[u8] = b"migrations/";

/// The directory of each engine's scripts.
const POSTGRES: &[u8] = b"postgres/";
const MYSQL: &[u8] = b"mysql/";

/// What a script that goes forward ends with.
const END: &[u8] = b".up.sql";

/// What a script that goes back ends with: it is no name of one that goes forward, whatever follows it.
const BACK: &str = ".down.sql";

/// Digits of a number.
const DIGITS: usize = 6;

/// No name of a script is longer than this, its directories included.
const WHOLE: usize = BEGIN.len() + POSTGRES.len() + DIGITS + 1 + LONGEST + END.len();

/// Bytes that are looked through at once.
const AT_ONCE: usize = 128 * 1024;

/// Reads the names out of a stream of bytes, wherever the pieces are cut. It holds one piece and the names.
#[derive(Debug, Default)]
pub struct Scanner {
    /// What has not been looked at yet.
    held: Vec<u8>,
    postgres: BTreeSet<(u64, String)>,
    mysql: BTreeSet<(u64, String)>,
    too_many: bool,
}

impl Scanner {
    /// Takes the next bytes.
    pub fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(AT_ONCE) {
            self.held.extend_from_slice(piece);
            // A name may begin only where all of it can be seen.
            let end = self.held.len().saturating_sub(WHOLE);
            let next = self.look(end);
            self.held.drain(..next);
        }
    }

    /// What was found. Nothing, where there were more names than can be true.
    pub fn finish(mut self) -> Carried {
        self.look(self.held.len());
        if self.too_many {
            return Carried::default();
        }
        Carried { postgres: self.postgres.into_iter().collect(), mysql: self.mysql.into_iter().collect() }
    }

    /// Looks at what is held for names that begin before `end`; returns where to go on.
    fn look(&mut self, end: usize) -> usize {
        let held = std::mem::take(&mut self.held);
        let mut at = 0;
        while at < end && !self.too_many {
            match held.get(at + BEGIN.len() - 1) {
                None => break,
                // No name that begins in these bytes holds this one where it would have to.
                Some(byte) if !BEGIN.contains(byte) => at += BEGIN.len(),
                Some(_) => {
                    if let Some(rest) = held[at..].strip_prefix(BEGIN) {
                        self.note(rest);
                    }
                    at += 1;
                }
            }
        }
        self.held = held;
        // Skipping may have passed the end, and nothing begins in what was skipped.
        if self.too_many { self.held.len() } else { at.max(end).min(self.held.len()) }
    }

    fn note(&mut self, rest: &[u8]) {
        let (set, rest) = match (rest.strip_prefix(POSTGRES), rest.strip_prefix(MYSQL)) {
            (Some(rest), _) => (&mut self.postgres, rest),
            (_, Some(rest)) => (&mut self.mysql, rest),
            _ => return,
        };
        set.extend(script(rest));
        self.too_many = self.postgres.len() + self.mysql.len() > MOST;
    }
}

/// Number and name of a script that begins here. What follows it follows at once: the program's texts are not separated.
fn script(bytes: &[u8]) -> Option<(u64, String)> {
    let (number, rest) = bytes.split_at_checked(DIGITS)?;
    if !number.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let rest = rest.strip_prefix(b"_")?;
    let rest = &rest[..rest.len().min(LONGEST + END.len())];
    let name = &rest[..rest.windows(END.len()).position(|window| window == END)?];
    let number = std::str::from_utf8(number).ok()?.parse().ok()?;
    let name = std::str::from_utf8(name).ok().filter(|name| is_name(name.as_bytes()) && !name.contains(BACK))?;
    Some((number, name.to_owned()))
}
