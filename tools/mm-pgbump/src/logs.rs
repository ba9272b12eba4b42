//! A cluster of another user than Debian's own, and the directory of the logs. `pg_upgradecluster` makes a directory for the
//! reports of `pg_upgrade` in there as the cluster's owner, who may not: it ends, and takes the new cluster away. So it gets
//! a directory of its own in that place, in a mount namespace of its own; the machine's is as it was.

use std::fs::OpenOptions;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, fchown, lchown};
use std::path::{Path, PathBuf};

use mm_common::machine::command::Cmd;
use mm_common::machine::user::User;
use mm_common::machine::{access, files, tree};
use mm_common::postgres::cluster;
use mm_common::{Error, Result};

use crate::plan::Method;
use crate::record::Entry;

/// Where `pg_upgradecluster` makes the directory, whatever log it is told to write (postgresql-common 200 to 282).
const LOGS: &str = "/var/log/postgresql";

/// `$0` takes its place.
const IN_PLACE: &str = "mount --bind \"$0\" /var/log/postgresql && exec \"$@\"";

/// The directory that takes the place of that of the logs, in the state directory.
pub(crate) struct Logs(Option<PathBuf>);

impl Logs {
    /// Makes one where the cluster's owner could not do without. It is like the machine's own: root's, with the owner's group.
    pub(crate) fn of(entry: &Entry, state: &Path) -> Result<Self> {
        let owner = User::named(&entry.old.owner)?;
        if entry.method == Method::Dump || access::not_writable(&owner, &[LOGS.into()])?.is_empty() {
            return Ok(Self(None));
        }
        let alone = Cmd::new("unshare").args(["--mount", "--propagation", "private", "--", "true"]);
        alone.run().map_err(|error| {
            error
                .within(format!(
                    "{} cannot write to {LOGS}, as pg_upgradecluster has it, nor be given another place",
                    owner.name
                ))
                .hint("upgrade with --method dump, which writes nothing there")
        })?;
        let place = state.join("pgbump-logs");
        tree::remove(&place)?;
        files::create_directory(&place, 0o700)?;
        lchown(&place, Some(0), Some(owner.gid))
            .and_then(|()| std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o1775)))
            .map_err(|error| Error::io("change owner and mode of", &place, error))?;
        if entry.log.starts_with(LOGS) {
            make_log(&entry.log, &owner)?;
        }
        Ok(Self(Some(place)))
    }

    /// `pg_upgradecluster`, which sees that directory there.
    pub(crate) fn command(&self) -> Cmd {
        match &self.0 {
            None => cluster::tool("pg_upgradecluster"),
            Some(place) => cluster::tool("unshare")
                .args(["--mount", "--propagation", "private", "--", "sh", "-c", IN_PLACE])
                .arg(place)
                .arg("pg_upgradecluster"),
        }
    }

    /// What it has printed, with the directory where it really is.
    pub(crate) fn found(&self, said: String) -> String {
        match &self.0 {
            None => said,
            Some(place) => said.replace(LOGS, &place.display().to_string()),
        }
    }
}

/// The log of the new cluster where the machine's other programs look for it: its owner cannot make it there.
fn make_log(path: &Path, owner: &User) -> Result<()> {
    if files::look(path)?.is_some() {
        return Ok(());
    }
    let failed = |error| Error::io("create the log", path, error);
    let log = OpenOptions::new().write(true).create_new(true).mode(0o640).open(path).map_err(failed)?;
    fchown(&log, Some(owner.uid), Some(owner.gid)).map_err(failed)
}
