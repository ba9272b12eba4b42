//! Asking the executable for its version where it can do no harm. `version` of 5.x to 6.3 migrates the configured
//! database before it answers (observed), so it gets neither configuration nor environment nor network: an empty
//! private directory to work in, a configuration file there that does not exist yet, and a network namespace without
//! interfaces. It belongs to the server's user and may be anything by now: it has process numbers of its own, so that
//! nothing it starts outlives it, no terminal, no way to privileges, and limits of time, size and output.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use semver::Version;

use super::version::{Found, Source, precise};
use crate::contract::error::{Context as _, Error, Result};
use crate::contract::version::{self, Edition};
use crate::machine::command::{Cmd, Output};
use crate::machine::files;
use crate::machine::given::Given;
use crate::machine::signals::Heeding;
use crate::machine::user::User;

/// Observed: 0.03 s to 1 s; a server that looks for its database instead is stopped here.
const PATIENCE: Duration = Duration::from_secs(20);

/// Larger than any server, in bytes: those of 12.x have 200 MB.
const MOST: u64 = 1 << 30;

/// Refuses what is too large to be a server, so that nobody hashes or copies it for hours.
///
/// # Errors
/// Refused (exit 5).
pub(super) fn refuse_huge(executable: &Path, bytes: u64) -> Result<()> {
    if bytes <= MOST {
        return Ok(());
    }
    Err(Error::refused(format!("`{}` is not a Mattermost server", executable.display()))
        .because(format!("it has {bytes} bytes, and no server has more than {MOST}"))
        .hint("find out who has replaced it; then put the release back, with mm-swap or from a restore point"))
}

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
    let place = place().context(attempt)?;
    let copy = lend(&place, executable, owner).context(attempt)?;
    run(&copy, owner).context(attempt)
}

pub(super) fn run(executable: &Path, owner: &User) -> Result<Found> {
    let attempt = || format!("cannot find out the version of `{}`", executable.display());
    let place = place().context(attempt)?;
    place.give(owner).context(attempt)?;
    let mut refusals = Vec::new();
    // 5.x and 6.x need the flag, or they open the database; the newest no longer know it.
    for flags in [&["--skip-server-start"][..], &[]] {
        let output = command(executable, owner, place.path(), flags).output();
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
    let config = place.join("config.json");
    let command = Cmd::new(executable.to_string_lossy()).arg("version").args(flags).arg("-c").arg(config);
    command.user(owner).asked().without_network().directory(place).limit(PATIENCE)
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

fn place() -> Result<Given> {
    Given::make(&std::env::temp_dir(), "mm-tools-version.")
}

/// A copy of the executable that the owner may execute, and neither it nor the directory is the owner's: nothing here can
/// be exchanged while we change modes, nor before it is executed.
fn lend(place: &Given, executable: &Path, owner: &User) -> Result<PathBuf> {
    let name = OsStr::new("server");
    let path = place.path().join(name);
    // Through a link the owner of the tree would have any file of root's copied to where he can read it.
    let mut from = Heeding(files::open_nofollow(executable)?);
    let bytes = from.0.metadata().map_err(|error| Error::io("look at", executable, error))?.len();
    refuse_huge(executable, bytes)?;
    let mut copy = place.dir().create_file(name)?;
    io::copy(&mut from, &mut copy).map_err(|error| Error::io("write", &path, error))?;
    let group = (!owner.is_current()).then_some(owner.gid);
    fchown(&copy, None, group)
        .and_then(|()| copy.set_permissions(Permissions::from_mode(0o550)))
        .map_err(|error| Error::io("change the mode of", &path, error))?;
    place.open_for(0o710, group)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test runs the copy as its user would")]
    fn what_is_executed_is_never_its_users() {
        use std::os::unix::fs::MetadataExt as _;
        if !crate::machine::user::is_root() {
            return;
        }
        let nobody = User::named("nobody").unwrap();
        let place = super::place().unwrap();
        let copy = lend(&place, Path::new("/bin/true"), &nobody).unwrap();
        for (path, mode) in [(copy.as_path(), 0o550), (place.path(), 0o710)] {
            let data = path.symlink_metadata().unwrap();
            assert_eq!((data.uid(), data.gid(), data.mode() & 0o7777), (0, nobody.gid, mode), "{}", path.display());
        }
        let link = place.path().join("link");
        std::os::unix::fs::symlink("/bin/true", &link).unwrap();
        assert!(lend(&super::place().unwrap(), &link, &nobody).is_err());
        let status = std::process::Command::new("setpriv").args(nobody.setpriv_arguments()).arg(&copy).status();
        assert!(status.unwrap().success());
    }

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
