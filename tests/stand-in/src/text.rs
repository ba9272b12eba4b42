//! Small things that many files here need: identifiers, digests, times, and the tables under `data/`.

use std::io::Read as _;
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest as _, Sha256};

/// The alphabet of Mattermost's identifiers.
const LETTERS: &[u8; 32] = b"ybndrfg8ejkmcpqxot1uwisza345h769";

/// An identifier as Mattermost makes them: 26 characters, here out of 130 given bits and more.
pub(crate) fn id_of(bytes: &[u8; 32]) -> String {
    bytes.iter().take(26).map(|byte| char::from(LETTERS.get(usize::from(byte % 32)).copied().unwrap_or(b'y'))).collect()
}

/// A random identifier.
pub(crate) fn new_id() -> String {
    id_of(&random())
}

/// An identifier that is the same for the same words.
pub(crate) fn id_for(words: &str) -> String {
    id_of(&Sha256::digest(words.as_bytes()).into())
}

/// Thirty-two random bytes.
pub(crate) fn random() -> [u8; 32] {
    let mut bytes = [0_u8; 32];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes));
    if read.is_err() {
        bytes = Sha256::digest(format!("{:?} {}", SystemTime::now(), std::process::id()).as_bytes()).into();
    }
    bytes
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// A password as it stands in `users.password`: a salted digest. Real servers use bcrypt; nobody looks inside.
pub(crate) fn hashed(password: &str, salt: &str) -> String {
    format!("$standin${salt}${}", sha256_hex(format!("{salt}{password}").as_bytes()))
}

/// Whether a password fits what stands in `users.password`.
pub(crate) fn fits(password: &str, stored: &str) -> bool {
    stored.split('$').nth(2).is_some_and(|salt| hashed(password, salt) == stored)
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// `Sun, 22 Nov 2026 12:03:33 GMT`
pub(crate) fn http_date(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).unwrap_or_default().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// The rows of a table under `data/`: tab-separated, `#` begins a comment line.
pub(crate) fn rows(table: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    table.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(|line| line.split('\t').collect())
}
