//! Keys as people have them: `gpgv` wants them in binary, key servers and web pages give them in ASCII armor (RFC 4880,
//! section 6). Pure.

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
        let digits = lines[body..].iter().take_while(|line| !line.starts_with('=')).flat_map(|line| line.bytes());
        decode(digits, &mut keys)?;
    }
    Ok(keys)
}

/// Radix 64: four digits hold three bytes.
fn decode(digits: impl Iterator<Item = u8>, into: &mut Vec<u8>) -> Result<(), &'static str> {
    let (mut bits, mut count) = (0_u32, 0_u32);
    for digit in digits.take_while(|digit| *digit != b'=') {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return Err("a key in it is damaged"),
        };
        bits = (bits << 6 | u32::from(value)) & 0x00ff_ffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            into.push((bits >> count & 0xff) as u8);
        }
    }
    Ok(())
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
