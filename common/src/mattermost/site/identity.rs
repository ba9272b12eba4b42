//! Whose the server is, and which process it is. Both come from what nobody else can make: the unit, and the owners of what
//! is installed. Anybody may run the executable, and anybody may listen on a port while the server is down.

use std::path::Path;

use url::Url;

use super::{Installation, whose};
use crate::contract::error::{Error, Result};
use crate::contract::ui;
use crate::machine::service::{Manager, others, process, systemd};
use crate::machine::user::{self, User};

/// The user of the unit, or that of what is installed.
pub(super) fn owner(root: &Path, manager: &Manager) -> Result<User> {
    for stranger in process::strangers(root) {
        let uid = stranger.owner().map(|(uid, _)| uid.to_string()).unwrap_or_default();
        ui::warn(&format!(
            "process {} of the user {uid} executes `{}/bin/mattermost` and is not taken for the server: nothing there belongs to that user",
            stranger.pid,
            root.display()
        ));
    }
    match manager {
        Manager::Systemd { unit } => {
            let shown = systemd::show(unit)?;
            if let Some(name) = &shown.user {
                return Ok(user_of(name)?.with_groups(shown.group.as_deref(), &shown.further_groups));
            }
            // systemd.exec(5): without `User=` it is root who executes it, whatever it belongs to.
            if systemd::is_server_of(&shown.exec_start, root) {
                ui::warn(&format!("the server runs as root: the unit {unit} has no User="));
                return Ok(User::of_ids(0, 0).with_groups(shown.group.as_deref(), &shown.further_groups));
            }
        }
        Manager::Supervisor { name } => {
            if let Some(name) = others::supervisor_user(name) {
                return user_of(&name);
            }
        }
        _ => {}
    }
    whose::owner(root)
}

/// A user by name or number.
fn user_of(name: &str) -> Result<User> {
    name.parse().map_or_else(|_| User::named(name), |uid| Ok(User::of_ids(uid, uid)))
}

impl Installation {
    /// Refuses an address of this machine at which something else than the server listens: a session of a user would be
    /// sent there. That nobody listens is for others to say. Who may not look at the server's descriptors is not asked.
    ///
    /// # Errors
    /// Refused (exit 5).
    pub fn refuse_impostor(&self, url: &str) -> Result<()> {
        // One that speaks TLS itself is asked at its own port, whatever its name says.
        let port = if url == self.answering_url() {
            self.port()
        } else {
            Url::parse(url).ok().and_then(|url| url.port_or_known_default())
        };
        let Some(port) = port else { return Ok(()) };
        let ours =
            process::servers(&self.root).into_iter().chain(self.service.process()?).any(|it| it.listens_on(port));
        if ours || !user::is_root() || !process::is_taken(port) {
            return Ok(());
        }
        Err(Error::refused(format!("it is not the server that listens on port {port}"))
            .because(format!(
                "no process of the installation in `{}` holds that port, and another one does",
                self.root.display()
            ))
            .hint(format!("find out what it is: ss -tlnp sport = :{port}; or say where to ask with --url URL")))
    }
}
