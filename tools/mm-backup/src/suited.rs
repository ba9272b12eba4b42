//! Whether a store is where it should be, and on a file system that can hold restore points: tried before anything is
//! stopped.

use std::ffi::OsStr;
use std::fmt::Display;
use std::path::Path;

use mm_common::contract::error::{Error, Result};
use mm_common::contract::shell;
use mm_common::contract::ui;
use mm_common::machine::mounts;
use mm_common::machine::process::Identity;
use mm_common::machine::tree::{self, Attributes, Dir, Kind, Time};
use mm_common::machine::user::{self, User};

use crate::store::{self, Store};

/// A disk that is not mounted leaves an empty directory, and what is written there fills the disk below it.
pub(crate) fn refuse_unmounted(path: &Path) -> Result<()> {
    let Some(point) = mounts::missing(path)? else { return Ok(()) };
    let word = shell::word(&point);
    Err(Error::refused(format!("the store `{}` is on a file system that is not mounted", path.display()))
        .because(format!("/etc/fstab names one for `{}`, and none is mounted there", point.display()))
        .hint(format!("mount {word}; where it is not to be used any more, remove its line from /etc/fstab")))
}

/// Directories that belong to the system with all that is below them, and those that only hold others' directories.
const SYSTEM: [&str; 13] = [
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/proc",
    "/sbin",
    "/sys",
    "/usr/bin",
    "/usr/lib",
    "/usr/share",
];
const SHARED: [&str; 12] =
    ["/", "/home", "/opt", "/root", "/run", "/tmp", "/usr", "/usr/local", "/var", "/var/lib", "/var/log", "/var/tmp"];

/// A slip of the hand: `--to /etc`. One that is a store stays one, wherever it is.
pub(crate) fn refuse_of_the_system(path: &Path) -> Result<()> {
    let there = path.ancestors().find_map(|above| Some((above, std::fs::canonicalize(above).ok()?)));
    let Some((above, resolved)) = there else { return Ok(()) };
    let is_whole = above == path;
    let is_of_system = SYSTEM.iter().any(|system| resolved.starts_with(system))
        || is_whole && SHARED.iter().any(|one| resolved == Path::new(one));
    if !is_of_system {
        return Ok(());
    }
    let names = if is_whole && resolved.is_dir() { Dir::open(&resolved)?.names()? } else { Vec::new() };
    if names.iter().any(|name| store::is_of_store(&resolved, name)) {
        return Ok(());
    }
    Err(Error::refused(format!("`{}` is not made a store of restore points", path.display()))
        .because("it is a directory of the system")
        .hint("give a directory of its own with --to, such as /srv/backup/mattermost"))
}

/// Tries what a restore point is made of: links, owners, modes, times and any name, as the kernel's own file systems have
/// them. Those of other systems, and many shares of a network, have not. Returns whether restore points can share what has
/// not changed, by hard links.
pub(crate) fn refuse_unsuited(store: &Store, owner: &User) -> Result<bool> {
    let name = format!("{}trial.{}", store::PARTIAL, Identity::own()?);
    let dir = Dir::open(&store.path)?;
    let made = dir.create_directory(OsStr::new(&name)).map_err(|error| store::unwritable(&store.path, error))?;
    let mut shares = true;
    let trial = tried(&made, owner, &mut shares);
    tree::remove_in(&dir, OsStr::new(&name))?;
    let Some(lacks) = trial? else { return Ok(shares) };
    Err(Error::refused(format!("the file system of the store `{}` cannot hold restore points", store.path.display()))
        .because(lacks)
        .hint(
            "give a store on a file system of Linux (ext4, xfs, btrfs) with --to, or on a share of NFS that is exported with \
             no_root_squash; to others a restore point goes as one file (mm-backup export)",
        ))
}

/// What cannot be kept in this directory, if there is something.
fn tried(trial: &Dir, owner: &User, shares: &mut bool) -> Result<Option<String>> {
    let lacks = |what: &str, why: &dyn Display| Ok(Some(format!("it does not keep {what}: {why}")));
    if let Err(error) = trial.create_symlink(OsStr::new("link"), OsStr::new("target")) {
        return lacks("links", &error.one_line());
    }
    // Uploads have such names.
    let (given, other) = (OsStr::new("A name: \"1\" <?>"), OsStr::new("a name: \"1\" <?>"));
    let file = match trial.create_file(given) {
        Ok(file) => file,
        Err(error) => return lacks("every name", &error.one_line()),
    };
    if trial.look(other)?.is_some() {
        return lacks("names in upper and lower case apart", &"two uploads would be one file");
    }
    let attributes = Attributes {
        mode: 0o640,
        uid: owner.uid,
        gid: owner.gid,
        mtime: Time { seconds: 1_600_000_000, nanoseconds: 0 },
        xattrs: Vec::new(),
    };
    if let Err(error) = attributes.apply(&file, &trial.path().join(given)) {
        return lacks("owners, modes and times", &error.one_line());
    }
    match trial.link(OsStr::new("second"), trial, given) {
        Ok(true) => {}
        Ok(false) => {
            *shares = false;
            ui::warn(
                "the file system of the store has no hard links, by which restore points share what has not changed: each \
                 takes the room of all files. One on ext4, xfs or btrfs is given with --to",
            );
        }
        Err(error) => return lacks("hard links", &error.one_line()),
    }
    let kept = trial.look(given)?;
    let is_kept = kept.as_ref().is_some_and(|kept| {
        let of_owner = (kept.uid, kept.gid) == (owner.uid, owner.gid) || !user::is_root();
        kept.kind == Kind::File && kept.mode == 0o640 && kept.mtime == attributes.mtime && of_owner
    });
    Ok((!is_kept).then(|| "it does not keep owners, modes and times as they are set".into()))
}
