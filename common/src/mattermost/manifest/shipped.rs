//! The plugins that come with a release: what their bundles say of themselves, read while the archive passes by.

use std::io::{self, Read};

use semver::Version;
use serde::{Deserialize, Serialize};

use super::archive::unreadable;
use crate::contract::digest::Hasher;
use crate::contract::error::Result;
use crate::mattermost::bundle;

/// A plugin that comes with a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shipped {
    /// Identifier of the plugin.
    pub id: String,
    /// Its version.
    pub version: Version,
    /// Where its bundle is, relative to the install root.
    pub path: String,
}

/// Where a release has them.
const DIRECTORY: &str = "prepackaged_plugins/";

/// Releases come with some twenty, which unpack to less than 2 GB.
const MOST: usize = 1000;
const MOST_UNPACKED: u64 = 8 << 30;

/// Collects them.
#[derive(Debug)]
pub(super) struct Collector {
    /// Bytes that may still be unpacked.
    left: u64,
    found: Vec<Shipped>,
}

impl Default for Collector {
    fn default() -> Self {
        Self { left: MOST_UNPACKED, found: Vec::new() }
    }
}

impl Collector {
    /// Whether the file at a path is looked into.
    pub(super) fn wants(&self, path: &str) -> bool {
        self.left > 0 && self.found.len() < MOST && path.starts_with(DIRECTORY) && path.ends_with(".tar.gz")
    }

    /// Looks into a file as far as it has to; `hasher` gets what was read of it. What is no bundle is left out: the release
    /// is sound without.
    ///
    /// # Errors
    /// When the archive around it cannot be read.
    pub(super) fn take(&mut self, path: &str, file: &mut dyn Read, hasher: &mut Hasher) -> Result<()> {
        let mut passed = Passed { file, hasher, failed: None };
        let said = bundle::identity(&mut passed, &mut self.left);
        if let Some(error) = passed.failed {
            return Err(unreadable(error));
        }
        if let Ok((id, version)) = said
            && is_id(&id)
        {
            self.found.push(Shipped { id, version, path: path.to_owned() });
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Vec<Shipped> {
        self.found.sort_by(|one, other| one.path.cmp(&other.path));
        self.found
    }
}

/// Whether they are such as [`Collector`] finds; the reason otherwise.
pub(super) fn check(shipped: &[Shipped]) -> Result<(), String> {
    let is_sound = |one: &Shipped| is_id(&one.id) && one.path.starts_with(DIRECTORY);
    match shipped.iter().find(|one| !is_sound(one)) {
        Some(one) => Err(format!("it names a plugin at `{}` that is none", one.path)),
        None if shipped.len() > MOST => Err("it names more plugins than any release has".into()),
        None => Ok(()),
    }
}

/// What the server takes for the identifier of a plugin.
fn is_id(id: &str) -> bool {
    (3..=190).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

/// Hashes what passes, and remembers why reading failed: for whoever looks into a bundle that is only the end of it.
struct Passed<'a> {
    file: &'a mut dyn Read,
    hasher: &'a mut Hasher,
    failed: Option<io::Error>,
}

impl Read for Passed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.file.read(buffer) {
            Ok(count) => {
                self.hasher.update(&buffer[..count]);
                Ok(count)
            }
            Err(error) => {
                let kind = error.kind();
                self.failed = Some(error);
                Err(kind.into())
            }
        }
    }
}
