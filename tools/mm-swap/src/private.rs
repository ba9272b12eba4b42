//! Private hops: the server listens on a loopback port of its own and sends neither mail nor push messages, so users
//! stay out while it runs through the versions in between. Variables do it; the configuration file stays as it is
//! (observed 5.29 to 9.10).

use std::net::TcpListener;

use mm_common::contract::error::{Context as _, Error, Result};
use mm_common::contract::time;
use mm_common::machine::files::{self, Access};
use mm_common::machine::lock::LockGuard;
use mm_common::machine::service::process::Process;
use mm_common::machine::state::State;
pub(crate) use mm_common::mattermost::site::private::noted;
use mm_common::mattermost::site::private::{self, Note};

/// An address on loopback that nobody listens on.
pub(crate) fn free_address() -> Result<String> {
    let failed = |error: std::io::Error| Error::failed("cannot find a free port on 127.0.0.1").because(error);
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(failed)?;
    Ok(listener.local_addr().map_err(failed)?.to_string())
}

/// The variable that makes a start a private one.
const LISTEN: &str = "MM_SERVICESETTINGS_LISTENADDRESS";

/// Whether this server was started privately. One that a reboot has started was not: its drop-in is gone.
pub(crate) fn is_of(process: Process, address: &str) -> bool {
    process.was_started_with(LISTEN, address)
}

/// The variables of a private start.
pub(crate) fn overrides(address: &str) -> Vec<(String, String)> {
    [
        (LISTEN, address),
        // Plain HTTP: no certificate names the loopback interface.
        ("MM_SERVICESETTINGS_CONNECTIONSECURITY", ""),
        ("MM_SERVICESETTINGS_FORWARD80TO443", "false"),
        ("MM_EMAILSETTINGS_SENDEMAILNOTIFICATIONS", "false"),
        ("MM_EMAILSETTINGS_SENDPUSHNOTIFICATIONS", "false"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

/// The base address of a private server.
pub(crate) fn url(address: &str) -> String {
    format!("http://{address}")
}

/// Notes, before it happens, that the server will run privately.
pub(crate) fn note(state: &State, address: &str, _lock: &LockGuard) -> Result<()> {
    let path = private::path(state);
    let note = Note { address: address.into(), since: time::now() };
    let text = serde_json::to_vec_pretty(&note).context(|| format!("cannot write `{}`", path.display()))?;
    files::write(&path, &text, Access::PRIVATE)
}

/// The server is public again.
pub(crate) fn forget(state: &State, _lock: &LockGuard) -> Result<()> {
    let path = private::path(state);
    if files::look(&path)?.is_some() {
        files::remove_file(&path)?;
        files::sync_directory(state.path())?;
    }
    Ok(())
}
