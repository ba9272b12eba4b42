//! SIGINT and SIGTERM ask a tool to stop. It does so where that is safe: [`check`] between steps, never inside one.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::contract::error::{Error, Result};

static CAUGHT: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// From now on SIGINT and SIGTERM are noted instead of ending the process.
pub fn watch() -> Result<()> {
    let caught = CAUGHT.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM] {
        let number = usize::try_from(signal).unwrap_or_default();
        signal_hook::flag::register_usize(signal, Arc::clone(caught), number)
            .map_err(|error| Error::failed("cannot watch for signals").because(error))?;
    }
    Ok(())
}

/// The signal that came, if one did.
pub fn caught() -> Option<&'static str> {
    match CAUGHT.get().map(|caught| caught.load(Ordering::Relaxed)) {
        Some(number) if number == usize::try_from(SIGINT).unwrap_or_default() => Some("SIGINT"),
        Some(number) if number == usize::try_from(SIGTERM).unwrap_or_default() => Some("SIGTERM"),
        _ => None,
    }
}

/// Fails when a signal asked to stop. To be called where stopping is safe; the caller undoes what it did.
pub fn check() -> Result<()> {
    match caught() {
        None => Ok(()),
        Some(signal) => Err(Error::failed("stopped as asked")
            .because(format!("{signal} was received"))
            .hint("run it again to continue")),
    }
}
