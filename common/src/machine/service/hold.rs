//! Keeping everybody from starting the server, whoever manages it: its executable may not be executed. That outlives a
//! power cut, asks nothing of the manager, and ends when another executable takes its place.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::process::EXECUTABLES;
use crate::contract::error::{Error, Result};
use crate::machine::lock::LockGuard;
use crate::machine::tree::{Dir, Kind, Meta};

/// Permission to execute, for owner, group and others.
const EXECUTE: u32 = 0o111;

/// An executable that is held, and how to let it go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    name: String,
    inode: u64,
    mode: u32,
}

/// Holds the server of the release at `root`, installed or staged. It is on disk when this returns. What is held already
/// is not in the answer.
///
/// # Errors
/// When the mode of its executable cannot be changed; also when the file has another name, which is not the server's.
pub fn hold(root: &Path, _lock: &LockGuard) -> Result<Vec<Held>> {
    let mut held = Vec::new();
    for (name, file, meta) in executables(root)? {
        if meta.mode & EXECUTE == 0 {
            continue;
        }
        if meta.names > 1 {
            return Err(Error::failed(format!("cannot keep `{}` from being started", shown(root, name)))
                .because("the file has another name somewhere, and would be changed there too"));
        }
        set_mode(root, name, &file, meta.mode & !EXECUTE)?;
        held.push(Held { name: name.to_owned(), inode: meta.ino, mode: meta.mode });
    }
    Ok(held)
}

/// Lets what was held be started again, now that it is installed at `root`. What has taken its place since is let alone.
///
/// # Errors
/// When the mode of its executable cannot be changed.
pub fn release(root: &Path, held: &[Held], _lock: &LockGuard) -> Result<()> {
    for (name, file, meta) in executables(root)? {
        if let Some(held) = held.iter().find(|held| held.name == name && held.inode == meta.ino) {
            set_mode(root, name, &file, held.mode)?;
        }
    }
    Ok(())
}

/// Whether the server that is installed at `root` is there and held. A link is not looked through.
///
/// # Errors
/// When `bin` cannot be looked into.
pub fn is_held(root: &Path) -> Result<bool> {
    let Some(bin) = Dir::open(root)?.child(OsStr::new("bin"))? else { return Ok(false) };
    for name in EXECUTABLES {
        if let Some(meta) = bin.look(OsStr::new(name))?.filter(|meta| meta.kind == Kind::File) {
            return Ok(meta.mode & EXECUTE == 0);
        }
    }
    Ok(false)
}

/// Whether the name is a link to the server's own executable beside it, as administrators make one for a unit that still
/// names `platform`: what it leads to is held.
fn is_alias(bin: &Dir, name: &str) -> Result<bool> {
    let [server, ..] = EXECUTABLES;
    let name = OsStr::new(name);
    if name == server || bin.look(name)?.is_none_or(|meta| meta.kind != Kind::Symlink) {
        return Ok(false);
    }
    Ok(Path::new(&bin.link_target(name)?).file_name() == Some(OsStr::new(server)))
}

fn executables(root: &Path) -> Result<Vec<(&'static str, File, Meta)>> {
    let mut found = Vec::new();
    if let Some(bin) = Dir::open(root)?.child(OsStr::new("bin"))? {
        for name in EXECUTABLES {
            if is_alias(&bin, name)? {
                continue;
            }
            if let Some(file) = bin.open_file(OsStr::new(name))? {
                let meta = Meta::of(&file, &root.join("bin").join(name))?;
                found.push((name, file, meta));
            }
        }
    }
    Ok(found)
}

fn set_mode(root: &Path, name: &str, file: &File, mode: u32) -> Result<()> {
    let set = file.set_permissions(std::fs::Permissions::from_mode(mode)).and_then(|()| file.sync_all());
    set.map_err(|error| Error::io("change the mode of", shown(root, name), error))
}

fn shown(root: &Path, name: &str) -> String {
    root.join("bin").join(name).display().to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::machine::files::{self, Access};

    fn mode(path: &Path) -> u32 {
        Access::of(path).unwrap().mode
    }

    #[test]
    fn what_is_held_cannot_be_executed_and_gets_back_the_mode_it_had() {
        let place = tempfile::tempdir().unwrap();
        let lock = LockGuard::take(&place.path().join("lock"), Duration::ZERO).unwrap();
        let (root, bin) = (place.path().join("root"), place.path().join("root/bin"));
        files::create_directory(&bin, 0o755).unwrap();
        assert!(!is_held(&root).unwrap() && hold(&root, &lock).unwrap().is_empty());
        let server = bin.join("mattermost");
        files::write(&server, b"#!/bin/sh\n", Access { mode: 0o751, owner: None }).unwrap();
        let held = hold(&root, &lock).unwrap();
        assert_eq!((mode(&server), is_held(&root).unwrap()), (0o640, true));
        // A second run does not take the mode for the one to go back to.
        assert!(hold(&root, &lock).unwrap().is_empty());
        release(&root, &held, &lock).unwrap();
        assert_eq!((mode(&server), is_held(&root).unwrap()), (0o751, false));

        hold(&root, &lock).unwrap();
        files::write(&server, b"another", Access { mode: 0o600, owner: None }).unwrap();
        release(&root, &held, &lock).unwrap();
        assert_eq!(mode(&server), 0o600, "another file has got its mode");
    }

    #[test]
    fn a_link_of_the_administrators_to_the_server_is_in_nobodys_way() {
        let place = tempfile::tempdir().unwrap();
        let lock = LockGuard::take(&place.path().join("lock"), Duration::ZERO).unwrap();
        let root = place.path().join("root");
        let (server, link) = (root.join("bin/mattermost"), root.join("bin/platform"));
        files::create_directory(&root.join("bin"), 0o755).unwrap();
        files::write(&server, b"", Access { mode: 0o755, owner: None }).unwrap();
        for target in ["mattermost", "./mattermost", server.to_str().unwrap()] {
            std::os::unix::fs::symlink(target, &link).unwrap();
            let held = hold(&root, &lock).unwrap();
            assert_eq!((held.len(), is_held(&root).unwrap()), (1, true), "{target}");
            release(&root, &held, &lock).unwrap();
            assert!(!is_held(&root).unwrap());
            std::fs::remove_file(&link).unwrap();
        }
        std::os::unix::fs::symlink("elsewhere", &link).unwrap();
        assert!(hold(&root, &lock).is_err() && !is_held(&root).unwrap());
    }

    #[test]
    fn a_file_of_somebody_elses_under_the_servers_name_is_let_alone() {
        let place = tempfile::tempdir().unwrap();
        let lock = LockGuard::take(&place.path().join("lock"), Duration::ZERO).unwrap();
        let (root, theirs) = (place.path().join("root"), place.path().join("theirs"));
        files::create_directory(&root.join("bin"), 0o755).unwrap();
        files::write(&theirs, b"", Access { mode: 0o755, owner: None }).unwrap();
        std::fs::hard_link(&theirs, root.join("bin/mattermost")).unwrap();
        assert!(hold(&root, &lock).is_err());
        std::fs::remove_file(root.join("bin/mattermost")).unwrap();
        std::os::unix::fs::symlink(&theirs, root.join("bin/mattermost")).unwrap();
        assert!(hold(&root, &lock).is_err());
        assert_eq!(mode(&theirs), 0o755);
    }
}
