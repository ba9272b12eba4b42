//! Unpacking the new release beside the install root while the old server runs, and giving it what the old one has:
//! owners, capabilities, labels. The owners are never assumed.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use mm_common::contract::error::{Context as _, Error, Result};
use mm_common::contract::progress::Meter;
use mm_common::contract::ui;
use mm_common::machine::checkpoint;
use mm_common::machine::lock::LockGuard;
use mm_common::machine::tree::{self, Dir};
use mm_common::machine::{disk, files};
use mm_common::mattermost::manifest::{self, EntryKind, Manifest};
use xattr::FileExt as _;

use crate::area;
use crate::observe::Observed;
use crate::plan::Seen;

/// Directories, journals and rounding to blocks come on top of the files of a release.
const OVERHEAD: u64 = 64 * 1024 * 1024;

/// Owner and group.
type Owner = (u32, u32);

/// Refuses when the release does not fit beside the install root.
pub(crate) fn require_space(root: &Path, manifest: &Manifest) -> Result<()> {
    let area = area::place(root)?;
    if files::look(&place(&area, manifest))?.is_some() {
        return Ok(());
    }
    let blocks = manifest.entries.len() as u64 * 4096;
    disk::require(&area, manifest.bytes + blocks + OVERHEAD, "the new release beside the old one")
}

/// Stages a release: unpacked, checked, complete and on disk under the returned name. One that an earlier run staged is
/// taken as it is: only root can have touched it, and it got its name when it was complete.
pub(crate) fn stage(
    root: &Path,
    archive: &Path,
    manifest: &Manifest,
    observed: &Observed,
    _lock: &LockGuard,
) -> Result<PathBuf> {
    let area = area::make(root)?;
    let staged = place(&area, manifest);
    let owners = Owners::of(observed);
    let mut is_new = false;
    if files::look(&staged)?.is_none() {
        let building = area.join("building");
        // Left by a run that was cut off while it unpacked.
        tree::remove(&building)?;
        ui::say(&format!("unpacking {} beside {}", manifest.version, root.display()));
        let (uid, gid) = owners.of_programs;
        let _meter = Meter::passing(format!("unpacking {}", manifest.version), Some(manifest.bytes));
        manifest::unpack(archive, manifest, &building, uid, gid)?;
        checkpoint::pass("unpacked");
        // What has this name is whole, after a power cut too.
        files::sync_file_system(&area)?;
        files::rename_new(&building, &staged)?;
        is_new = true;
    }
    dress(&staged, manifest, observed, &owners)
        .context(|| format!("cannot give the staged release in `{}` what the old one has", staged.display()))?;
    // What was staged before is on disk; what it has been given now is, before an exchange begins.
    if is_new {
        files::sync_file_system(&area)?;
        files::sync_directory(&area)?;
    }
    checkpoint::pass("staged");
    Ok(staged)
}

/// Where a release is staged.
pub(crate) fn place(area: &Path, manifest: &Manifest) -> PathBuf {
    let digest = manifest.archive_sha256.get(..12).unwrap_or_default();
    area.join(format!("staged-{}-{}-{digest}", manifest.version, manifest.edition))
}

struct Owners<'a> {
    /// Whoever owns the old `bin/mattermost`.
    of_programs: Owner,
    observed: &'a Observed,
}

impl<'a> Owners<'a> {
    fn of(observed: &'a Observed) -> Self {
        let programs = ["bin/mattermost", "bin/platform", "bin"].iter().find_map(|path| observed.entries.get(*path));
        Self { of_programs: programs.map_or((0, 0), |entry| (entry.meta.uid, entry.meta.gid)), observed }
    }

    /// What the old entry of that name has, or the directory it comes into.
    fn of_path(&self, path: &str) -> Owner {
        let mut path = Some(path);
        while let Some(name) = path {
            if let Some(entry) = self.observed.entries.get(name).filter(|entry| entry.seen != Seen::Symlink) {
                return (entry.meta.uid, entry.meta.gid);
            }
            path = name.rsplit_once('/').map(|(parent, _)| parent);
        }
        self.of_programs
    }
}

/// Owners and extended attributes, entry by entry.
fn dress(staged: &Path, manifest: &Manifest, observed: &Observed, owners: &Owners<'_>) -> Result<()> {
    let top = Dir::open(staged)?;
    let mut directories: BTreeMap<String, Dir> = BTreeMap::new();
    for entry in &manifest.entries {
        let owner = owners.of_path(&entry.path);
        let carried = carried(observed, &entry.path);
        if owner == owners.of_programs && carried.is_empty() || entry.kind == EntryKind::Symlink {
            continue;
        }
        let (parent, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
        if !directories.contains_key(parent) {
            // Only the last one is kept open: entries are sorted.
            directories.clear();
            let opened = top.descend(Path::new(parent))?.ok_or_else(|| vanished(staged, parent))?;
            directories.insert(parent.to_owned(), opened);
        }
        let Some(directory) = directories.get(parent) else { continue };
        set(directory, name.as_ref(), entry.kind, entry.mode, owner, &carried)?;
    }
    Ok(())
}

/// A new name gets the label of the directory it comes into, as the policy would have it; capabilities and access lists
/// were given to one file and stay with its name.
fn carried(observed: &Observed, path: &str) -> Vec<(String, Vec<u8>)> {
    if let Some(entry) = observed.entries.get(path) {
        return entry.carried.clone();
    }
    let parent = path.rsplit_once('/').and_then(|(parent, _)| observed.entries.get(parent));
    let labels = parent.map(|parent| parent.carried.iter().filter(|(name, _)| name == "security.selinux").cloned());
    labels.map(Iterator::collect).unwrap_or_default()
}

fn set(
    directory: &Dir,
    name: &OsStr,
    kind: EntryKind,
    mode: u32,
    (uid, gid): Owner,
    carried: &[(String, Vec<u8>)],
) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = directory.path().join(name);
    let file = if kind == EntryKind::Directory {
        directory.child(name)?.map(|child| child.file().try_clone()).transpose()
    } else {
        Ok(directory.open_file(name)?)
    };
    let file = file.map_err(|error| Error::io("open", &path, error))?.ok_or_else(|| vanished(&path, ""))?;
    // The owner first: a change of owner takes capabilities away.
    std::os::unix::fs::fchown(&file, Some(uid), Some(gid))
        .map_err(|error| Error::io("change the owner of", &path, error))?;
    file.set_permissions(std::fs::Permissions::from_mode(mode))
        .map_err(|error| Error::io("change the mode of", &path, error))?;
    for (attribute, value) in carried {
        file.set_xattr(attribute, value)
            .map_err(|error| Error::io("set an extended attribute of", &path, error).because(attribute))?;
    }
    Ok(())
}

fn vanished(path: &Path, below: &str) -> Error {
    Error::failed(format!("`{}` has vanished", path.join(below).display()))
}
