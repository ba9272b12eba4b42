//! Identifiers as Mattermost makes them: 26 characters of a-z and 0-9.

use std::io::Read as _;

use crate::contract::error::{Error, Result};

/// Characters of the server's own alphabet (z-base-32): a new identifier looks like one of its own.
const ALPHABET: &[u8; 32] = b"ybndrfg8ejkmcpqxot1uwisza345h769";

/// Random bytes of the kernel.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let path = "/dev/urandom";
    let mut bytes = [0; N];
    std::fs::File::open(path)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|error| Error::io("read", path, error))?;
    Ok(bytes)
}

/// A new random identifier or session token: 130 random bits.
pub fn new() -> Result<String> {
    Ok(random::<26>()?.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect())
}

/// Whether `text` has the form of an identifier, and so may stand in a path or a statement as it is.
pub fn is_id(text: &str) -> bool {
    text.len() == 26 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_ones_have_the_form_and_differ() {
        let (one, other) = (new().unwrap(), new().unwrap());
        assert!(is_id(&one) && is_id(&other));
        assert_ne!(one, other);
        assert!(!is_id("admin") && !is_id(&"A".repeat(26)));
    }
}
