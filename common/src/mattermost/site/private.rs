//! The note in the state directory that the server was started privately: mm-swap writes it before it happens and
//! removes it when the server is public again.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Installation;
use crate::contract::error::{Context as _, Error, Result};
use crate::contract::shell;
use crate::machine::files;
use crate::machine::state::State;

/// Larger than such a note.
const MOST: u64 = 64 * 1024;

/// Where the server listens, and since when.
#[derive(Debug, Serialize, Deserialize)]
pub struct Note {
    /// Address and port on loopback.
    pub address: String,
    /// When the note was written.
    pub since: String,
}

/// Where the note is.
pub fn path(state: &State) -> PathBuf {
    state.path().join("private.json")
}

/// The address of the private server that some run started and none has made public since.
pub fn noted(state: &State) -> Result<Option<String>> {
    let path = path(state);
    if files::look(&path)?.is_none() {
        return Ok(None);
    }
    let text = files::read(&path, MOST)?;
    let note: Note = serde_json::from_slice(&text).context(|| format!("cannot understand `{}`", path.display()))?;
    Ok(Some(note.address))
}

/// The base address of a private server as a document says it (`http://127.0.0.1:40123`), when this machine's state
/// directory says the same: whoever asks there sends a session of a user along.
///
/// # Errors
/// Refused (exit 5) when it is not on loopback, or not where the server was started.
pub fn confirm(installation: &Installation, address: &str) -> Result<String> {
    let refused = |why: &str| {
        Error::refused(format!("the document names the private address `{address}`, which is not used"))
            .because(why)
            .hint(format!(
                "ask the server that runs: mm-verify --install {} </dev/null",
                shell::word(&installation.root)
            ))
    };
    let bare = address.strip_prefix("http://").unwrap_or(address);
    if !bare.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback()) {
        return Err(refused("it is not an address and port of this machine's loopback interface"));
    }
    match noted(&installation.state)? {
        Some(noted) if noted == bare => Ok(format!("http://{bare}")),
        Some(noted) => Err(refused(&format!("the server was started at {noted}"))),
        None => Err(refused("the server was not started privately, or is public again")),
    }
}
