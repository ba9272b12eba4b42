//! Writing to stdout. What could not be delivered is an error (74), never a success: the document is the product.

use std::io::{IsTerminal as _, Write as _};

use super::{Format, Output, Session};
use crate::contract::document::Document;
use crate::contract::error::{Error, Kind, Result};
use crate::contract::{call, exit, terminal, ui};

/// Writes what this run has to say.
pub(super) fn deliver(session: &Session, format: Format, code: u8) -> Result<()> {
    let people = match format {
        Format::Human => true,
        Format::Json => false,
        Format::Auto => std::io::stdout().is_terminal(),
    };
    match (&session.output, &session.human) {
        (Output::Streamed, _) => Ok(()),
        (Output::Text(text), _) if code == exit::DONE => write(text),
        (Output::Document, Some(table)) if people => write(&terminal::for_people(&call::prose(table))),
        // On a terminal the lines on stderr have said it already. A report that goes into a file has to say it itself.
        _ if people && (code != exit::DONE || std::io::stdout().is_terminal()) => Ok(()),
        _ if people => {
            let message = session.document.get("msg").and_then(serde_json::Value::as_str).unwrap_or_default();
            write(&ui::clean(&format!("{}\n", call::prose(message))))
        }
        _ => write(&session.document.to_json()),
    }
}

/// Writes a document that an earlier tool has marked as failed.
pub(super) fn pass_on(document: &Document) -> Result<()> {
    write(&document.to_json())
}

/// Shows a text that is told again and again: on a terminal in the place of the one before, elsewhere below it.
///
/// # Errors
/// Undelivered (exit 74) when stdout is closed.
pub fn tell_again(text: &str) -> Result<()> {
    let place = if std::io::stdout().is_terminal() { "\x1b[H\x1b[2J" } else { "" };
    write(&format!("{place}{}", terminal::for_people(&call::prose(text))))
}

fn write(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| {
        Error::new(Kind::Undelivered, "cannot write the document to standard output")
            .because(error)
            .hint("the work itself is done; run the tool again to get its report")
    })
}
