//! Where programs are looked for, and which package has one that is missing.

use std::path::{Path, PathBuf};

use crate::contract::error::{Error, Result};
use crate::machine::distribution::Family;

/// Where programs are looked for, whatever PATH the caller had.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Programs and the Debian package that has them, for the hint when one is missing.
const PACKAGES: &[(&str, &str)] = &[
    ("pg_conftool", "postgresql-common"),
    ("pg_createcluster", "postgresql-common"),
    ("pg_ctlcluster", "postgresql-common"),
    ("pg_dropcluster", "postgresql-common"),
    ("pg_lsclusters", "postgresql-common"),
    ("pg_renamecluster", "postgresql-common"),
    ("pg_upgradecluster", "postgresql-common"),
    ("psql", "postgresql-client"),
    ("pg_dump", "postgresql-client"),
    ("pg_dumpall", "postgresql-client"),
    ("pg_restore", "postgresql-client"),
    ("vacuumdb", "postgresql-client"),
    ("prlimit", "util-linux"),
    ("setpriv", "util-linux"),
    ("unshare", "util-linux"),
    ("systemctl", "systemd"),
    ("supervisorctl", "supervisor"),
    ("service", "init-system-helpers"),
    ("gpgv", "gpgv"),
];

/// Looks a program up in [`PATH`].
///
/// # Errors
/// Refused, with the package to install in the hint.
pub fn find(program: &str) -> Result<PathBuf> {
    if program.contains('/') {
        return Ok(program.into());
    }
    if let Some(path) = PATH.split(':').map(|dir| Path::new(dir).join(program)).find(|path| path.is_file()) {
        return Ok(path);
    }
    let package = PACKAGES.iter().find(|(name, _)| *name == program).map_or(program, |(_, package)| package);
    Err(Error::refused(format!("the program `{program}` is not installed"))
        .because(format!("it is not in {PATH}"))
        .hint(Family::of_this_machine().install(program, package)))
}

/// Whether a program is there.
pub fn exists(program: &str) -> bool {
    find(program).is_ok()
}
