//! A directory with everything that a host without internet needs: `VERSION/NAME.tar.gz` as on the official site, so
//! that it is a `--mirror` too, with manifest and signature beside each tarball, `SHA256SUMS` for `sha256sum -c`, the
//! plan, and what is known beyond the built-in catalogue, for `--catalogue` there. What it says about digests is for people: the host that
//! uses it verifies against what it trusts itself.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use mm_common::contract::digest::Hasher;
use mm_common::contract::error::{Context as _, Error, Result};
use mm_common::contract::version::Edition;
use mm_common::machine::files::{self, Access};
use mm_common::machine::{disk, signals};
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::cache::beside;
use crate::plan::Release;
use crate::work::Done;

/// The schema of `bundle.json`.
const SCHEMA: &str = "mm.bundle/1";

/// Name of the list of contents.
const INDEX: &str = "bundle.json";

/// Larger than any list, plan or overlay.
const MOST: u64 = 64 * 1024 * 1024;

/// The list of contents.
#[derive(Debug, Serialize, Deserialize)]
struct Index {
    schema: String,
    releases: Vec<Listed>,
}

/// A release in the bundle.
#[derive(Debug, Serialize, Deserialize)]
struct Listed {
    version: Version,
    edition: Edition,
    archive: String,
    sha256: String,
    bytes: u64,
}

/// Writes a bundle; true when anything was copied. Tarballs that are there and right already are left alone.
pub(crate) fn write(directory: &Path, done: &[Done], plan: &str, catalogue: Option<&str>) -> Result<bool> {
    let attempt = || format!("cannot write the bundle `{}`", directory.display());
    files::create_directory(directory, 0o755)?;
    let mut lacking = Vec::new();
    for one in done {
        let place = directory.join(one.want.version.to_string()).join(&one.want.file);
        if files::look(&place)?.is_none() || files::sha256(&place)? != one.held.sha256 {
            lacking.push((one, place));
        }
    }
    disk::require(directory, lacking.iter().map(|(one, _)| one.held.bytes).sum(), "the releases of the bundle")?;
    let changed = !lacking.is_empty();
    for (one, place) in lacking {
        copy(one, &place).context(attempt)?;
    }
    let mut sums = String::new();
    let mut index = Index { schema: SCHEMA.into(), releases: Vec::new() };
    for one in done {
        let archive = format!("{}/{}", one.want.version, one.want.file);
        let place = directory.join(&archive);
        transfer(&one.held.manifest, &beside(&place, ".release.json"))?;
        let signature = beside(&one.held.archive, ".sig");
        if files::look(&signature)?.is_some() {
            transfer(&signature, &beside(&place, ".sig"))?;
        }
        files::sync_directory(files::parent(&place)?)?;
        sums.extend([one.held.sha256.as_str(), "  ", &archive, "\n"]);
        index.releases.push(Listed {
            version: one.want.version.clone(),
            edition: one.want.edition,
            archive,
            sha256: one.held.sha256.clone(),
            bytes: one.held.bytes,
        });
    }
    if let Some(catalogue) = catalogue {
        files::write(&directory.join("catalogue.json"), catalogue.as_bytes(), Access::PUBLIC)?;
    }
    files::write(&directory.join("SHA256SUMS"), sums.as_bytes(), Access::PUBLIC)?;
    files::write(&directory.join("plan.json"), plan.as_bytes(), Access::PUBLIC)?;
    let index = serde_json::to_vec_pretty(&index).context(attempt)?;
    // Last: a bundle with a list of contents is a whole one.
    files::write(&directory.join(INDEX), &index, Access::PUBLIC)?;
    Ok(changed)
}

/// The releases of a bundle, oldest first.
///
/// # Errors
/// Refused when it is none, or only half of one.
pub(crate) fn contents(directory: &Path) -> Result<Vec<Release>> {
    let refused = || {
        Error::refused(format!("`{}` is not a bundle of mm-fetch", directory.display()))
            .hint("make one on a host with internet: mm-path --to VERSION | mm-fetch --bundle DIR")
    };
    let text = files::read(&directory.join(INDEX), MOST).map_err(|error| refused().because(error.one_line()))?;
    let index: Index = serde_json::from_slice(&text).map_err(|error| refused().because(error))?;
    if index.schema != SCHEMA {
        return Err(refused().because(format!("its schema is `{}`, not `{SCHEMA}`", index.schema)));
    }
    let mut releases: Vec<Release> = index
        .releases
        .into_iter()
        // Its digests are left out on purpose: a bundle does not vouch for itself.
        .map(|listed| Release {
            version: listed.version,
            edition: listed.edition,
            url: None,
            sha256: Vec::new(),
            needed: true,
        })
        .collect();
    releases.sort_by(|one, other| one.version.cmp(&other.version));
    Ok(releases)
}

/// Copies a small file.
fn transfer(from: &Path, to: &Path) -> Result<()> {
    let resolved = std::fs::canonicalize(from).map_err(|error| Error::io("find", from, error))?;
    files::write(to, &files::read(&resolved, MOST)?, Access::PUBLIC)
}

/// Copies a tarball from the cache, hashing what is copied, and names it when it is whole and synced.
fn copy(one: &Done, place: &Path) -> Result<()> {
    let directory = files::parent(place)?;
    files::create_directory(directory, 0o755)?;
    let temporary = files::temporary_beside(place)?;
    let copied = copy_bytes(one, &temporary).and_then(|()| files::rename(&temporary, place));
    if copied.is_err() {
        // The failure itself is what matters.
        let _ = files::remove_file(&temporary);
    }
    copied
}

fn copy_bytes(one: &Done, temporary: &Path) -> Result<()> {
    let unreadable = |error| Error::io("read", &one.held.archive, error);
    let unwritable = |error| Error::io("write", temporary, error);
    let mut from: File = files::open_nofollow(&one.held.archive)?;
    let mut to = OpenOptions::new().write(true).create_new(true).mode(0o644).open(temporary).map_err(unwritable)?;
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        signals::check()?;
        let count = from.read(&mut buffer).map_err(unreadable)?;
        if count == 0 {
            break;
        }
        to.write_all(&buffer[..count]).map_err(unwritable)?;
        hasher.update(&buffer[..count]);
    }
    if hasher.finish() != one.held.sha256 {
        return Err(Error::failed(format!("`{}` has changed since it was verified", one.held.archive.display()))
            .hint("run it again"));
    }
    to.sync_all().map_err(unwritable)
}
