//! Builds copies of stored entries in a staging directory, each proven by its digest while it is written.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};

use mm_common::contract::digest::Hasher;
use mm_common::contract::error::{Error, Result};
use mm_common::contract::progress::Meter;
use mm_common::contract::ui;
use mm_common::machine::signals;
use mm_common::machine::tree::{self, Attributes, Dir, Finder, Holes};
use mm_common::machine::user::User;

use crate::manifest::{self, Entry, Head, Kind};
use crate::salvage::{self, LeftOut};
use crate::store::Point;
use crate::text::Digest;

/// Owners on this machine of what had owners on that machine.
pub(crate) struct Owners {
    users: BTreeMap<u32, u32>,
    groups: BTreeMap<u32, u32>,
}

impl Owners {
    /// The same names where they exist here, the same numbers otherwise.
    pub(crate) fn new(head: &Head) -> Self {
        let users = head.users.iter().map(|(uid, name)| (*uid, User::named(name).map_or(*uid, |user| user.uid)));
        let groups = head.groups.iter().map(|(gid, name)| {
            let here = nix::unistd::Group::from_name(name).ok().flatten();
            (*gid, here.map_or(*gid, |group| group.gid.as_raw()))
        });
        Self { users: users.collect(), groups: groups.collect() }
    }

    /// The attributes of an entry, with its owner on this machine.
    pub(crate) fn attributes(&self, entry: &Entry) -> Attributes {
        let mut attributes = entry.attributes();
        attributes.uid = *self.users.get(&attributes.uid).unwrap_or(&attributes.uid);
        attributes.gid = *self.groups.get(&attributes.gid).unwrap_or(&attributes.gid);
        attributes
    }
}

/// What is done about what is not as it should be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct How {
    /// A damaged file is left out, and is no failure.
    pub leaves_out: bool,
    /// What is there already stays: an earlier run has put it there.
    pub goes_on: bool,
}

/// Builds copies below one directory.
pub(crate) struct Stage<'a> {
    point: &'a Point,
    files: Finder,
    owners: &'a Owners,
    top: Dir,
    /// The directory that was worked in last, and its path below the top.
    last: Option<(PathBuf, Dir)>,
    /// The files that have several names, by the one that was stored.
    shared: &'a HashSet<OsString>,
    /// Where the first name of each of them was put, and its digest.
    firsts: HashMap<OsString, (PathBuf, Option<Digest>)>,
    how: How,
    /// Files whose copies are damaged.
    left_out: Vec<LeftOut>,
    /// Directories get their attributes last, because filling them changes their times.
    directories: Vec<(PathBuf, Attributes)>,
    /// Shows how far it is.
    _meter: Meter,
}

impl<'a> Stage<'a> {
    /// Into the empty directory `top`.
    pub(crate) fn new(
        point: &'a Point,
        owners: &'a Owners,
        shared: &'a HashSet<OsString>,
        top: Dir,
        how: How,
    ) -> Result<Self> {
        let files = point.files()?;
        Ok(Self {
            point,
            files,
            owners,
            top,
            last: None,
            shared,
            firsts: HashMap::new(),
            how,
            left_out: Vec::new(),
            directories: Vec::new(),
            _meter: Meter::passing("copying files", Some(point.head.file_bytes())),
        })
    }

    /// Puts a copy of an entry at `below` the top. Parents come before their children.
    pub(crate) fn put(&mut self, entry: &Entry, below: &Path) -> Result<()> {
        signals::check()?;
        let name = below.file_name().ok_or_else(|| Error::io("restore", entry.path(), "it has no name"))?.to_owned();
        let parent = below.parent().unwrap_or(Path::new("")).to_owned();
        if self.last.as_ref().is_none_or(|(path, _)| *path != parent) {
            self.last = Some((parent.clone(), self.top.descend_creating(&parent)?));
        }
        let stored = self.stored(entry)?;
        let Some((_, dir)) = &self.last else { return Ok(()) };
        let is_there = self.how.goes_on && dir.look(&name)?.is_some();
        if is_there && entry.kind != Kind::Directory {
            return Ok(());
        }
        let left = match entry.kind {
            Kind::Directory => {
                if !is_there {
                    dir.create_directory(&name)?;
                }
                self.directories.push((below.into(), self.owners.attributes(entry)));
                Vec::new()
            }
            Kind::Symlink => {
                let target = entry.target.as_ref().ok_or_else(|| self.damaged(entry, "it has no target"))?;
                dir.create_symlink(&name, target.as_path().as_os_str())?;
                self.owners.attributes(entry).apply_to_symlink(dir, &name)?
            }
            Kind::File => match self.file(dir, &name, entry, stored)? {
                Ok(left) => left,
                Err(why) if self.how.leaves_out => {
                    dir.remove_entry(&name)?;
                    self.left_out.push(LeftOut { path: entry.path.clone(), why });
                    return Ok(());
                }
                Err(why) => return Err(self.damaged(entry, &why)),
            },
        };
        if entry.kind == Kind::File && self.shared.contains(shared_name(entry)) {
            // The name that was stored first need not be the first in the order of the paths.
            self.firsts.entry(shared_name(entry).clone()).or_insert_with(|| (below.into(), entry.sha256));
        }
        for attribute in left {
            ui::warn(&format!("`{}`: the attribute {attribute} cannot be set here", entry.path));
        }
        Ok(())
    }

    /// The copy of a file.
    fn stored(&mut self, entry: &Entry) -> Result<Option<File>> {
        let (parent, name) = manifest::place(entry.path());
        match self.files.directory(parent)? {
            Some(dir) if entry.kind == Kind::File => match dir.look(name)? {
                Some(there) if there.kind == tree::Kind::File => dir.open_file(name),
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// Makes a copy, which what is wrong with the stored one may keep from being whole. Returns the attributes that it
    /// could not be given.
    fn file(
        &self,
        dir: &Dir,
        name: &OsStr,
        entry: &Entry,
        stored: Option<File>,
    ) -> Result<std::result::Result<Vec<String>, String>> {
        if let Some((first, digest)) = self.firsts.get(shared_name(entry))
            && *digest == entry.sha256
            && let Some(other) = self.top.descend(first.parent().unwrap_or(Path::new("")))?
            && let Some(other_name) = first.file_name()
            && dir.link(name, &other, other_name)?
        {
            return Ok(Ok(Vec::new()));
        }
        let Some(stored) = stored else { return Ok(Err("it is missing".into())) };
        let made = dir.create_file(name)?;
        let mut hasher = Hasher::default();
        // Its size stands in the manifest, and a store's owner has let it in: whatever was stored is given back.
        match tree::contents(&stored, &made, &mut hasher, Holes::Any) {
            // A disk that cannot read it any more.
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EIO as i32) => {
                return Ok(Err(error.to_string()));
            }
            copied => copied.map_err(|error| Error::io("restore", entry.path(), error))?,
        };
        if entry.sha256 != Digest::parse(&hasher.finish()) {
            return Ok(Err("its contents have changed (SHA-256)".into()));
        }
        self.owners.attributes(entry).apply(&made, &dir.path().join(name)).map(Ok)
    }

    fn damaged(&self, entry: &Entry, why: &str) -> Error {
        Error::failed(format!("cannot restore `{}`", entry.path))
            .because(format!("its copy in the restore point {} is damaged: {why}", self.point.head.id))
            .hint(format!(
                "take another restore point (mm-backup list), or restore all but the damaged files: beside it with --into \
                 DIR, or into place with --accept {}",
                salvage::ACCEPT
            ))
    }

    /// Ends the work: directories get their attributes, the innermost first. Returns the files that are left out, too.
    pub(crate) fn finish(self) -> Result<(Dir, Vec<LeftOut>)> {
        for (below, attributes) in self.directories.iter().rev() {
            if let Some(dir) = self.top.descend(below)? {
                for attribute in attributes.apply(dir.file(), dir.path())? {
                    ui::warn(&format!("`{}`: the attribute {attribute} cannot be set here", dir.path().display()));
                }
            }
        }
        Ok((self.top, self.left_out))
    }
}

/// What all names of a file have in common: the one that was stored first.
fn shared_name(entry: &Entry) -> &OsString {
    entry.same_as.as_ref().map_or(&entry.path.0, |first| &first.0)
}
