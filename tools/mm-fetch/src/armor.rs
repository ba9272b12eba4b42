//! Keys as people have them: `gpgv` wants them in binary, key servers and web pages give them in ASCII armor (RFC 4880,
//! section 6). Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";

/// The binary form of a keyring; one that is binary already stays as it is.
pub(crate) fn bare(keyring: &[u8]) -> Result<Vec<u8>, &'static str> {
    let Some(mut text) = std::str::from_utf8(keyring).ok().filter(|text| text.contains(BEGIN)) else {
        // The first byte of an OpenPGP packet has its highest bit set.
        return match keyring.first() {
            Some(byte) if byte & 0x80 != 0 => Ok(keyring.to_vec()),
            _ => Err("it holds no OpenPGP key"),
        };
    };
    let mut keys = Vec::new();
    while let Some((_, rest)) = text.split_once(BEGIN) {
        let (block, rest) = rest.split_once(END).ok_or("a key in it has no end")?;
        text = rest;
        // Headers such as `Comment:` end at an empty line.
        let lines: Vec<&str> = block.lines().map(str::trim).collect();
        let body = lines.iter().skip(1).position(|line| line.is_empty()).map_or(0, |at| at + 2);
        let digits: String = lines[body..].iter().take_while(|line| !line.starts_with('=')).copied().collect();
        keys.extend(STANDARD.decode(digits).map_err(|_| "a key in it is damaged")?);
    }
    Ok(keys)
}

/// A binary keyring in armor; none when it is no keyring.
pub(crate) fn armored(keyring: &[u8]) -> Option<String> {
    fingerprint(keyring)?;
    let digits = STANDARD.encode(keyring);
    let lines: Vec<&str> = digits.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    Some(format!("{BEGIN}\n\n{}\n{END}\n", lines.join("\n")))
}

/// The fingerprint of the key that a binary keyring begins with (RFC 4880, sections 4.2 and 12.2).
pub(crate) fn fingerprint(keyring: &[u8]) -> Option<String> {
    let (head, rest) = keyring.split_first()?;
    let (tag, length, body) = if head & 0xc0 == 0xc0 {
        match rest {
            [one @ 0..192, body @ ..] => (head & 0x3f, usize::from(*one), body),
            [one @ 192..224, two, body @ ..] => {
                (head & 0x3f, (usize::from(*one) - 192) * 256 + usize::from(*two) + 192, body)
            }
            _ => return None,
        }
    } else {
        match (head & 3, rest) {
            (0, [one, body @ ..]) => (head >> 2 & 0x0f, usize::from(*one), body),
            (1, [one, two, body @ ..]) => (head >> 2 & 0x0f, usize::from(*one) * 256 + usize::from(*two), body),
            _ => return None,
        }
    };
    let body = body.get(..length)?;
    if head & 0x80 == 0 || tag != 6 || body.first() != Some(&4) {
        return None;
    }
    let mut hash = Sha1::new();
    hash.update([0x99]);
    hash.update(u16::try_from(length).ok()?.to_be_bytes());
    hash.update(body);
    Some(hash.finalize().iter().fold(String::new(), |text, byte| format!("{text}{byte:02X}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn armor_comes_off() {
        let armored = format!("{BEGIN}\nComment: x\n\nmQEN\nBF8=\n=abcd\n{END}\n{BEGIN}\n\nmQ==\n{END}\n");
        assert_eq!(bare(armored.as_bytes()).unwrap(), [0x99, 0x01, 0x0d, 0x04, 0x5f, 0x99]);
        let without_headers = format!("text\n{BEGIN}\n\nmQEN\n=abcd\n{END}");
        assert_eq!(bare(without_headers.as_bytes()).unwrap(), [0x99, 0x01, 0x0d]);
    }

    #[test]
    fn a_binary_keyring_stays_and_anything_else_is_none() {
        assert_eq!(bare(&[0x99, 1, 2]).unwrap(), [0x99, 1, 2]);
        assert!(bare(b"").is_err());
        assert!(bare(b"<html>").is_err());
        assert!(bare(format!("{BEGIN}\n\nm").as_bytes()).is_err());
        assert!(bare(format!("{BEGIN}\n\nm~\n{END}").as_bytes()).is_err());
    }
}
