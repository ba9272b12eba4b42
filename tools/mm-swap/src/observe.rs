//! The tree below the install root as it is: what is there, whose it is, what it carries besides its contents. Nothing
//! is followed, and what belongs to the user anyway is not gone into.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use mm_common::contract::digest;
use mm_common::contract::error::{Error, Result};
use mm_common::contract::sections::ModifiedFile;
use mm_common::machine::signals::{self, Heeding};
use mm_common::machine::tree::{Dir, Go, Kind, Meta, walk};
use mm_common::mattermost::config::Config;
use mm_common::mattermost::manifest::{EntryKind, Manifest};
use xattr::FileExt as _;

use crate::hashed::Hashed;
use crate::mounts::{self, Mounts};
use crate::plan::{ALWAYS_THE_USERS, Seen, Tree};

/// Extended attributes that the new entry gets from the old one. Capabilities only for programs: see [`Entry::carried`].
const CARRIED: [&str; 4] =
    ["security.capability", "security.selinux", "system.posix_acl_access", "system.posix_acl_default"];

/// Settings that name files and directories; the server takes relative ones from the install root (its working
/// directory).
const PATH_SETTINGS: [(&str, &str); 13] = [
    ("FileSettings", "Directory"),
    ("FileSettings", "ExportDirectory"),
    ("PluginSettings", "Directory"),
    ("PluginSettings", "ClientDirectory"),
    ("ImportSettings", "Directory"),
    ("ExportSettings", "Directory"),
    ("BleveSettings", "IndexDir"),
    ("ComplianceSettings", "Directory"),
    ("LogSettings", "FileLocation"),
    ("NotificationLogSettings", "FileLocation"),
    ("ServiceSettings", "TLSCertFile"),
    ("ServiceSettings", "TLSKeyFile"),
    ("ServiceSettings", "LetsEncryptCertificateCacheFile"),
];

/// An observed entry.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) seen: Seen,
    pub(crate) meta: Meta,
    /// Extended attributes to be carried over.
    pub(crate) carried: Vec<(String, Vec<u8>)>,
}

/// The tree below an install root.
#[derive(Debug, Clone, Default)]
pub(crate) struct Observed {
    pub(crate) entries: BTreeMap<String, Entry>,
}

impl Observed {
    /// The tree as the plan needs it.
    pub(crate) fn tree(&self) -> Tree {
        self.entries.iter().map(|(path, entry)| (path.clone(), entry.seen)).collect()
    }
}

/// Observes the tree. `theirs` are paths that are the user's by configuration.
pub(crate) fn observe(root: &Path, theirs: &BTreeSet<String>) -> Result<Observed> {
    let mounts = mounts::below(root)?;
    let mut observed = Observed::default();
    walk(root, &mut |met| {
        signals::check()?;
        let Some(directory) = met.directory else { return Ok(Go::In) };
        // A name that is not UTF-8 is in no manifest; with replaced bytes it still is the user's.
        let path = met.path.to_string_lossy().into_owned();
        let seen = seen(&met.meta, met.path, &mounts);
        let carried = carried(directory, met.name, &met.meta, &path)?;
        let go = if seen == Seen::Directory && !is_the_users(&path, theirs) { Go::In } else { Go::Past };
        observed.entries.insert(path, Entry { seen, meta: met.meta, carried });
        Ok(go)
    })?;
    Ok(observed)
}

fn is_the_users(path: &str, theirs: &BTreeSet<String>) -> bool {
    // What `config/` lacks is completed, so its entries have to be known.
    (ALWAYS_THE_USERS.contains(&path) && path != "config") || theirs.contains(path)
}

fn seen(meta: &Meta, path: &Path, mounts: &Mounts) -> Seen {
    if mounts.below.contains(path) {
        return Seen::Mount;
    }
    match meta.kind {
        Kind::File => Seen::File,
        Kind::Directory => Seen::Directory,
        Kind::Symlink => Seen::Symlink,
        Kind::Special => Seen::Special,
    }
}

/// A capability goes to programs only: the service user can move a file that has one to the name of any other.
fn carried(directory: &Dir, name: &OsStr, meta: &Meta, path: &str) -> Result<Vec<(String, Vec<u8>)>> {
    let file = match meta.kind {
        Kind::File => directory.open_file(name)?,
        Kind::Directory => directory.child(name)?.and_then(|child| child.file().try_clone().ok()),
        Kind::Symlink | Kind::Special => None,
    };
    let Some(file) = file else { return Ok(Vec::new()) };
    let failed = |error| Error::io("read the extended attributes of", directory.path().join(name), error);
    let mut found = Vec::new();
    for attribute in file.list_xattr().map_err(failed)? {
        let wanted = attribute.to_str().filter(|name| CARRIED.contains(name));
        let Some(wanted) = wanted.filter(|name| *name != "security.capability" || path.starts_with("bin/")) else {
            continue;
        };
        if let Some(value) = file.get_xattr(wanted).map_err(failed)? {
            found.push((wanted.to_owned(), value));
        }
    }
    Ok(found)
}

/// Paths below the root that the configuration names, relative.
pub(crate) fn named_in_configuration(root: &Path, config: &Config) -> BTreeSet<String> {
    let named = PATH_SETTINGS.iter().filter_map(|(section, key)| config.text(section, key));
    named.filter(|value| !value.is_empty()).filter_map(|value| relative(root, &value)).collect()
}

/// A path below the root without `.`; one that is the root, is outside, or goes upwards names nothing of it.
fn relative(root: &Path, value: &str) -> Option<String> {
    let joined = root.join(value);
    let below = joined.strip_prefix(root).ok()?;
    let mut tidy = PathBuf::new();
    for component in below.components() {
        match component {
            std::path::Component::Normal(name) => tidy.push(name),
            std::path::Component::CurDir => {}
            _ => return None,
        }
    }
    tidy.to_str().filter(|path| !path.is_empty()).map(str::to_owned)
}

/// Files of the old release that are not as it brought them, with the digest they have. What `hashed` knows is not read
/// again; what is read is noted there.
pub(crate) fn modified(
    root: &Path,
    old: &Manifest,
    observed: &Observed,
    hashed: &mut Hashed,
) -> Result<Vec<ModifiedFile>> {
    let top = Dir::open(root)?;
    let mut found = Vec::new();
    for entry in old.entries.iter().filter(|entry| entry.kind == EntryKind::File && !entry.path.starts_with("config/"))
    {
        signals::check()?;
        let there = observed.entries.get(&entry.path).filter(|there| there.seen == Seen::File);
        let Some(there) = there else { continue };
        if let Some(sha256) = hashed.digest(&entry.path, &there.meta) {
            if entry.sha256.as_deref() != Some(sha256) {
                found.push(ModifiedFile { path: entry.path.clone(), sha256: sha256.to_owned() });
            }
            continue;
        }
        let (directory, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
        let Some(directory) = top.descend(Path::new(directory))? else { continue };
        let Some(file) = directory.open_file(name.as_ref())? else { continue };
        let shown = root.join(&entry.path);
        let meta = Meta::of(&file, &shown)?;
        let sha256 = digest::of_reader(&mut Heeding(file)).map_err(|error| Error::io("read", &shown, error))?;
        hashed.note(&entry.path, &meta, &sha256);
        if entry.sha256.as_ref() != Some(&sha256) {
            found.push(ModifiedFile { path: entry.path.clone(), sha256 });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configured_paths_are_taken_from_the_install_root() {
        let root = Path::new("/opt/mm");
        assert_eq!(relative(root, "./data/").as_deref(), Some("data"));
        assert_eq!(relative(root, "/opt/mm/custom/tls/key.pem").as_deref(), Some("custom/tls/key.pem"));
        assert_eq!(relative(root, "/srv/data"), None);
        assert_eq!(relative(root, "../data"), None);
        assert_eq!(relative(root, "."), None);
    }
}
