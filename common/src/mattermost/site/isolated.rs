//! Asking the executable for its version where it can do no harm. `version` of 5.x to 6.3 migrates the configured
//! database before it answers (observed), so it gets neither configuration nor environment nor network: an empty
//! private directory to work in, a configuration file there that does not exist yet, and a network namespace without
//! interfaces.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use semver::Version;

use super::version::{Found, Source, precise};
use crate::contract::error::{Context as _, Error, Result};
use crate::contract::version::{self, Edition};
use crate::machine::command::{Cmd, Output};
use crate::machine::tree;
use crate::machine::user::{self, User};

/// Observed: 0.03 s to 1 s; a server that looks for its database instead is stopped here.
const PATIENCE: Duration = Duration::from_secs(20);

/// The version of an executable that is not installed, as it says itself. A copy of it is asked, because its owner
/// cannot get to where it is staged.
///
/// # Errors
/// Failed when it does not say.
pub fn version_of(executable: &Path, owner: &User) -> Result<Version> {
    run_copy(executable, owner).map(|found| found.version)
}

/// As [`run`], with a copy that the owner may execute.
pub(super) fn run_copy(executable: &Path, owner: &User) -> Result<Found> {
    let attempt = || format!("cannot find out the version of `{}`", executable.display());
    let place = Place::make(owner).context(attempt)?;
    let copy = place.path.join("server");
    tree::copy(executable, &copy).context(attempt)?;
    let mode = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(&copy, mode).map_err(|error| Error::io("change the mode of", &copy, error))?;
    if !owner.is_current() {
        chown(&copy, Some(owner.uid), Some(owner.gid))
            .map_err(|error| Error::io("change the owner of", &copy, error))?;
    }
    run(&copy, owner).context(attempt)
}

pub(super) fn run(executable: &Path, owner: &User) -> Result<Found> {
    let attempt = || format!("cannot find out the version of `{}`", executable.display());
    let place = Place::make(owner).context(attempt)?;
    let mut refusals = Vec::new();
    // 5.x and 6.x need the flag, or they open the database; the newest no longer know it.
    for flags in [&["--skip-server-start"][..], &[]] {
        let output = command(executable, owner, &place.path, flags).output();
        match output.map(|output| (parse(&output.text()), output)) {
            Ok((Some(found), _)) => return Ok(found),
            // Without the flag only what does not know it may be asked: an older one would look for its database.
            Ok((None, output)) if !knows_no_such_flag(&output) => {
                refusals.push(said(&output));
                break;
            }
            Ok((None, output)) => refusals.push(said(&output)),
            Err(error) => {
                refusals.push(error.one_line());
                break;
            }
        }
    }
    let error = refusals.into_iter().fold(Error::failed(attempt()), Error::because);
    Err(error.hint("start the server, or fetch its release with `mm-fetch VERSION`, then run this again"))
}

fn command(executable: &Path, owner: &User, place: &Path, flags: &[&str]) -> Cmd {
    // Whoever is not root needs a user namespace to be allowed a network namespace.
    let mut command = Cmd::new("unshare").args(if user::is_root() { &["--net"][..] } else { &["--user", "--net"] });
    command = command.arg("--");
    if !owner.is_current() {
        command = command.arg("setpriv").args(owner.setpriv_arguments());
    }
    let config = place.join("config.json");
    command.arg(executable).arg("version").args(flags).arg("-c").arg(config).directory(place).limit(PATIENCE)
}

fn knows_no_such_flag(output: &Output) -> bool {
    output.stderr.contains("unknown flag") || output.text().contains("unknown flag")
}

fn said(output: &Output) -> String {
    let words = crate::machine::command::tail(&output.stderr);
    format!("{}: {}", output.status, if words.is_empty() { "it named no version" } else { words })
}

/// The lines are the same in every version; log lines may stand among them (6.3).
fn parse(text: &str) -> Option<Found> {
    let line = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    let version = precise(version::parse(line("Version: ")?).ok()?, line("Build Number: "));
    let edition = if line("Build Enterprise Ready: ") == Some("true") { Edition::Enterprise } else { Edition::Team };
    Some(Found { version, edition, source: Source::IsolatedRun })
}

/// An empty directory that the owner may work in, removed when dropped.
struct Place {
    path: PathBuf,
}

impl Place {
    fn make(owner: &User) -> Result<Self> {
        let base = std::env::temp_dir();
        let path = nix::unistd::mkdtemp(&base.join("mm-tools-version.XXXXXX"))
            .context(|| format!("cannot make a directory in `{}`", base.display()))?;
        let place = Self { path };
        if !owner.is_current() {
            chown(&place.path, Some(owner.uid), Some(owner.gid))
                .map_err(|error| Error::io("change the owner of", &place.path, error))?;
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What stays is an empty configuration in a private directory.
        let _ = tree::remove(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_version_among_log_lines() {
        let text = "{\"level\":\"info\"}\nVersion: 6.3.0\nBuild Number: 7\nBuild Enterprise Ready: true\n{}\n";
        let found = parse(text).unwrap();
        assert_eq!((found.version, found.edition), (Version::new(6, 3, 0), Edition::Enterprise));
        let patch = parse("Version: 5.31.0\nBuild Number: 5.31.9\nBuild Enterprise Ready: false\n").unwrap();
        assert_eq!(patch.version, Version::new(5, 31, 9));
        assert!(parse("Error: unknown flag: --skip-server-start\n").is_none());
    }
}
