//! Finding and reading the document.

use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::path::Path;

use nix::sys::stat::{SFlag, fstat};

use super::Arguments;
use crate::contract::document::Document;
use crate::contract::error::{Error, Kind, Result};
use crate::machine::files;

/// A document larger than this is not one of ours.
const MOST: u64 = 64 * 1024 * 1024;

const STANDARD_INPUT: &str = "on standard input";

/// The document this run works on; `None` when the flags alone say what to do.
pub(super) fn document<A: Arguments>(arguments: &A) -> Result<Option<Document>> {
    match arguments.common().document.as_deref() {
        Some(path) if path == Path::new("-") => Document::parse(&standard_input()?, STANDARD_INPUT).map(Some),
        Some(path) => {
            let text = files::read(path, MOST).map_err(|error| {
                error
                    .of_kind(Kind::BadDocument)
                    .hint("name a regular file, and no link to one; or `-` for standard input")
            })?;
            Document::parse(&text, &format!("in `{}`", path.display())).map(Some)
        }
        None if !arguments.reads_document() || !may_hold_a_document() => Ok(None),
        None => {
            let text = standard_input()?;
            if text.iter().all(u8::is_ascii_whitespace) && arguments.complete_without_document() {
                return Ok(None);
            }
            Document::parse(&text, STANDARD_INPUT).map(Some)
        }
    }
}

/// A pipe, a socket or a file may hold one; a terminal or /dev/null does not.
fn may_hold_a_document() -> bool {
    let Ok(data) = fstat(std::io::stdin().as_fd()) else { return false };
    let kind = SFlag::from_bits_truncate(data.st_mode) & SFlag::S_IFMT;
    kind == SFlag::S_IFIFO || kind == SFlag::S_IFREG || kind == SFlag::S_IFSOCK
}

fn standard_input() -> Result<Vec<u8>> {
    let unreadable = |message: &str| Error::new(Kind::BadDocument, format!("cannot read the document: {message}"));
    let mut text = Vec::new();
    std::io::stdin().lock().take(MOST + 1).read_to_end(&mut text).map_err(|error| unreadable(&error.to_string()))?;
    if text.len() as u64 > MOST {
        return Err(unreadable(&format!("it is larger than {MOST} bytes")));
    }
    Ok(text)
}
