//! Headers that say more about the entry after them: long names as GNU tar writes them, and POSIX extended attributes.

use std::io::Read as _;

use tar::EntryType;

use super::archive::{Contents, skip_padding, unreadable};
use super::stream::Inflated;
use crate::contract::error::{Error, Result};

/// The longest name or set of attributes a header may carry beside itself.
const LONGEST_EXTENSION: u64 = 64 * 1024;

/// What a header says of the next entry beyond what fits into its own.
#[derive(Default, PartialEq)]
pub(super) struct Extensions {
    /// There was a header at all, whatever it said.
    pending: bool,
    pub(super) path: Option<Vec<u8>>,
    pub(super) target: Option<Vec<u8>>,
}

impl Extensions {
    /// Takes an extension header in; false when the header is that of an entry.
    pub(super) fn take(&mut self, kind: EntryType, size: u64, tar: &mut Inflated) -> Result<bool> {
        if !matches!(kind, EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader) {
            return Ok(false);
        }
        self.pending = true;
        if size > LONGEST_EXTENSION {
            return Err(Error::refused(format!("the tar archive has a name or attributes of {size} bytes")));
        }
        let mut text = Vec::new();
        Contents { tar, left: size }.read_to_end(&mut text).map_err(unreadable)?;
        skip_padding(tar, size)?;
        match kind {
            EntryType::GNULongName => set(&mut self.path, until_nul(text))?,
            EntryType::GNULongLink => set(&mut self.target, until_nul(text))?,
            _ => self.attributes(&text)?,
        }
        Ok(true)
    }

    /// Reads extended attributes (`LENGTH KEY=VALUE\n`, POSIX pax). Times, owners and comments do not matter here; a
    /// size or a sparse map would change what the entry is.
    fn attributes(&mut self, mut text: &[u8]) -> Result<()> {
        let broken = || Error::refused("the tar archive has broken extended attributes");
        while !text.is_empty() {
            let blank = text.iter().position(|byte| *byte == b' ').ok_or_else(broken)?;
            let length = std::str::from_utf8(&text[..blank]).ok().and_then(|digits| digits.parse::<usize>().ok());
            let length = length.filter(|length| *length > blank + 1 && *length <= text.len()).ok_or_else(broken)?;
            let (record, rest) = text.split_at(length);
            text = rest;
            let record = record[blank + 1..].strip_suffix(b"\n").ok_or_else(broken)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(broken)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            match key {
                b"path" => set(&mut self.path, value.to_vec())?,
                b"linkpath" => set(&mut self.target, value.to_vec())?,
                b"mtime" | b"atime" | b"ctime" | b"uid" | b"gid" | b"uname" | b"gname" | b"comment" => {}
                _ => {
                    let key = String::from_utf8_lossy(key).into_owned();
                    return Err(Error::refused(format!("the tar archive has an entry with the attribute `{key}`")));
                }
            }
        }
        Ok(())
    }
}

fn set(slot: &mut Option<Vec<u8>>, value: Vec<u8>) -> Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::refused("the tar archive names an entry twice")),
    }
}

fn until_nul(mut text: Vec<u8>) -> Vec<u8> {
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    text.truncate(end);
    text
}
