//! Users of the machine.

use std::ops::RangeInclusive;

use nix::unistd::{Uid, geteuid};

use super::{command, guise};
use crate::contract::error::{Error, Result};

/// User ids that nobody is given: systemd's plan of them (`UIDS-GIDS`) has them as unused, and they are there in containers too.
const UNUSED: RangeInclusive<u32> = 60_706..=61_183;

/// A user with its groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Name, or the number as text where the number has no name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Groups that a program of this user has beside those of the system's database: a unit's `SupplementaryGroups=`.
    pub further: Vec<u32>,
}

impl User {
    /// The user with this name.
    ///
    /// # Errors
    /// Refused when there is none.
    pub fn named(name: &str) -> Result<Self> {
        match nix::unistd::User::from_name(name) {
            Ok(Some(user)) => {
                Ok(Self { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw(), further: Vec::new() })
            }
            Ok(None) => Err(Error::refused(format!("there is no user `{name}` on this machine"))),
            Err(error) => Err(Error::failed(format!("cannot look up the user `{name}`")).because(error.desc())),
        }
    }

    /// A user that nobody is: without a name, and without a process. What runs as it no user of the machine can look into,
    /// nor take descriptors from, as those who share `nobody` could of each other.
    ///
    /// # Errors
    /// Refused when there is none left.
    pub fn nobodys() -> Result<Self> {
        let own = std::process::id() % (UNUSED.end() - UNUSED.start());
        let has_name = |uid: &u32| !matches!(nix::unistd::User::from_uid(Uid::from_raw(*uid)), Ok(None));
        let uid = (0..=UNUSED.end() - UNUSED.start())
            .map(|at| UNUSED.start() + (own + at) % (UNUSED.end() - UNUSED.start() + 1))
            .find(|uid| !has_name(uid) && command::threads_of(*uid) == 0);
        uid.map(|uid| Self::of_ids(uid, uid)).ok_or_else(|| {
            Error::refused("there is no user id that nobody uses").because(format!(
                "all from {} to {} have a name or a process",
                UNUSED.start(),
                UNUSED.end()
            ))
        })
    }

    /// The user with this id, whether it has a name or not; `gid` serves when it has none.
    pub fn of_ids(uid: u32, gid: u32) -> Self {
        match nix::unistd::User::from_uid(Uid::from_raw(uid)) {
            Ok(Some(user)) => Self { name: user.name, uid, gid: user.gid.as_raw(), further: Vec::new() },
            _ => Self { name: uid.to_string(), uid, gid, further: Vec::new() },
        }
    }

    /// The user as a service manager starts a program with a group of its own in place of the primary one, and with
    /// further ones, by name or number (`Group=` and `SupplementaryGroups=`, systemd.exec(5)). A group that does not exist is
    /// left out: with it the program would not start.
    #[must_use]
    pub fn with_groups(mut self, primary: Option<&str>, further: &[String]) -> Self {
        self.gid = primary.and_then(group_id).unwrap_or(self.gid);
        self.further = further.iter().filter_map(|name| group_id(name)).collect();
        self
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
        let groups = match guise::groups(self) {
            // As the database has it.
            _ if *self == Self::of_ids(self.uid, self.gid) && self.name != uid => "--init-groups".to_owned(),
            Ok(all) => format!("--groups={}", all.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")),
            Err(_) => "--clear-groups".to_owned(),
        };
        ["--reuid", &uid, "--regid", &gid, &groups, "--inh-caps=-all", "--"].map(str::to_owned)
    }

    /// Whether this process already is that user.
    pub fn is_current(&self) -> bool {
        geteuid().as_raw() == self.uid
    }
}

/// The id of a group that is named or given as a number.
fn group_id(group: &str) -> Option<u32> {
    let named = nix::unistd::Group::from_name(group).ok().flatten().map(|group| group.gid.as_raw());
    named.or_else(|| group.parse().ok())
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
