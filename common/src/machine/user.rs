//! Users of the machine.

use nix::unistd::{Gid, Uid, geteuid};

use crate::contract::error::{Error, Result};

/// A user with its primary group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Name, or the number as text where the number has no name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
}

impl User {
    /// The user with this name.
    ///
    /// # Errors
    /// Refused when there is none.
    pub fn named(name: &str) -> Result<Self> {
        match nix::unistd::User::from_name(name) {
            Ok(Some(user)) => Ok(Self { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() }),
            Ok(None) => Err(Error::refused(format!("there is no user `{name}` on this machine"))),
            Err(error) => Err(Error::failed(format!("cannot look up the user `{name}`")).because(error.desc())),
        }
    }

    /// The user with this id, whether it has a name or not; `gid` serves when it has none.
    pub fn of_ids(uid: u32, gid: u32) -> Self {
        match nix::unistd::User::from_uid(Uid::from_raw(uid)) {
            Ok(Some(user)) => Self { name: user.name, uid, gid: user.gid.as_raw() },
            _ => Self { name: uid.to_string(), uid, gid: Gid::from_raw(gid).as_raw() },
        }
    }

    /// Home directory; `/` when it has none.
    pub fn home(&self) -> std::path::PathBuf {
        match nix::unistd::User::from_uid(Uid::from_raw(self.uid)) {
            Ok(Some(user)) => user.dir,
            _ => "/".into(),
        }
    }

    /// Arguments with which `setpriv` runs a program as this user: with that user's groups, no capabilities left over.
    /// The program follows.
    pub fn setpriv_arguments(&self) -> [String; 7] {
        let (uid, gid) = (self.uid.to_string(), self.gid.to_string());
        // Groups are looked up by name; a user that is only a number has none.
        let groups = if self.name == uid { "--clear-groups" } else { "--init-groups" };
        ["--reuid", &uid, "--regid", &gid, groups, "--inh-caps=-all", "--"].map(str::to_owned)
    }

    /// Whether this process already is that user.
    pub fn is_current(&self) -> bool {
        geteuid().as_raw() == self.uid
    }
}

/// The system user that runs throw-away servers, and programs that read what others have written. It owns nothing else.
pub const TOOLS: &str = "mm-tools";

/// [`TOOLS`].
///
/// # Errors
/// Refused when it has not been made.
pub fn tools() -> Result<User> {
    User::named(TOOLS).map_err(|error| {
        error.because("throw-away servers run what a dump holds, and it is to reach nobody's files").hint(format!(
            "useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin {TOOLS}"
        ))
    })
}

/// The user this process acts as.
pub fn current() -> User {
    User::of_ids(geteuid().as_raw(), nix::unistd::getegid().as_raw())
}

/// Whether this process is root.
pub fn is_root() -> bool {
    geteuid().is_root()
}
