//! A browser as the checks use it: one of ours, or one that somebody's driver steers.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use mm_common::Result;
use mm_common::machine::signals;
use serde_json::Value;

use crate::devtools::Page;
use crate::webdriver::Session;

/// How long something on a page may take to appear.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A page that can be looked at and worked with. An element is known by the word that [`Browser::find`] gives it.
pub(crate) trait Browser: Debug {
    /// Goes to an address and waits until the page is loaded.
    fn go(&self, address: &str) -> Result<()>;
    /// Where the page is now.
    fn place(&self) -> Result<String>;
    /// Sets a cookie for the host of this address, which is that of the server; a page elsewhere never gets it.
    fn cookie(&self, address: &str, name: &str, value: &str, http_only: bool) -> Result<()>;
    /// Runs the body of a function in the page and returns its value.
    fn script(&self, script: &str, arguments: &[&str]) -> Result<Value>;
    /// The first element of a selector, if there is one now.
    fn find(&self, selector: &str) -> Result<Option<String>>;
    /// The text of an element.
    fn text(&self, element: &str) -> Result<String>;
    /// Types into an element and returns what it holds then.
    fn type_into(&self, element: &str, text: &str) -> Result<String>;
    /// Moves the pointer over an element: some buttons appear only then.
    fn hover(&self, element: &str) -> Result<()>;
    /// Clicks on an element.
    fn click(&self, element: &str) -> Result<()>;
    /// A picture of the page, PNG.
    fn picture(&self) -> Result<Vec<u8>>;

    /// The element for a selector, as soon as it is there.
    fn element(&self, selector: &str) -> Result<Option<String>> {
        let started = Instant::now();
        loop {
            if let Some(element) = self.find(selector)? {
                return Ok(Some(element));
            }
            if started.elapsed() > PATIENCE {
                return Ok(None);
            }
            signals::check()?;
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Opens a browser: with the driver at `address`, or one of our own.
pub(crate) fn open(address: Option<&str>) -> Result<Box<dyn Browser>> {
    Ok(match address {
        Some(address) => Box::new(Session::open(address)?),
        None => Box::new(Page::open()?),
    })
}

/// Decodes base64 (RFC 4648); line breaks are ignored.
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut number, mut bits) = (0_u32, 0);
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=') {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        number = number << 6 | u32::from(digit);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(number >> bits & 0xFF).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_as_in_the_rfc() {
        for (coded, plain) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9v\nYmE=", "fooba")] {
            assert_eq!(base64(coded).unwrap(), plain.as_bytes(), "{coded}");
        }
        assert_eq!(base64("!"), None);
    }
}
