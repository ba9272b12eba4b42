//! The archives that the server takes its plugins from: `ID/plugin.json` and the programs of the plugin, in a tar in gzip.

use std::io::Read;

use flate2::read::GzDecoder;
use semver::Version;
use serde_json::Value;
use tar::Archive;

use crate::contract::error::{Context as _, Error, Result};
use crate::machine::signals;

/// What a bundle says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Identifier of the plugin.
    pub id: String,
    /// Its version.
    pub version: Version,
    /// The highest number of the database migrations that its program for this machine carries; `None` when none is seen
    /// in it (or was not asked for).
    pub migration: Option<u64>,
}

/// A bundle that unpacks to more than this many bytes is none.
const MOST_UNPACKED: u64 = 1024 * 1024 * 1024;
/// A plugin.json is no larger.
const MOST_MANIFEST: u64 = 1024 * 1024;

/// Reads a bundle; its programs only `with_migrations`, which takes as long as unpacking it.
///
/// # Errors
/// Failed when it is no such archive, or a signal asked to stop.
pub fn read(file: impl Read, with_migrations: bool) -> Result<Bundle> {
    let (mut said, mut migration) = (None, None);
    entries(GzDecoder::new(file).take(MOST_UNPACKED), |name, entry| {
        if name == "plugin.json" {
            said = Some(manifest(entry)?);
        } else if with_migrations && name.starts_with("server/dist/") && name.ends_with(suffix()) {
            migration = highest(entry).context(attempt)?.max(migration);
        }
        Ok(said.is_some() && !with_migrations)
    })?;
    let (id, version) = said.ok_or_else(nameless)?;
    Ok(Bundle { id, version, migration })
}

/// Identifier and version of a bundle, which is unpacked as far as they stand in it; `left` is the number of bytes that it
/// may take, and loses what it took.
///
/// # Errors
/// As [`read`].
pub fn identity(file: impl Read, left: &mut u64) -> Result<(String, Version)> {
    let mut said = None;
    let mut unpacked = GzDecoder::new(file).take((*left).min(MOST_UNPACKED));
    let before = unpacked.limit();
    let read = entries(&mut unpacked, |name, entry| {
        if name == "plugin.json" {
            said = Some(manifest(entry)?);
        }
        Ok(said.is_some())
    });
    *left -= before - unpacked.limit();
    read?;
    said.ok_or_else(nameless)
}

fn attempt() -> String {
    "cannot read the bundle of a plugin".to_owned()
}

fn nameless() -> Error {
    Error::failed(attempt()).because("there is no plugin.json in it")
}

/// Shows each file of a bundle, by its name below the plugin's directory, until one is said to be the last.
fn entries(unpacked: impl Read, mut visit: impl FnMut(&str, &mut dyn Read) -> Result<bool>) -> Result<()> {
    let mut archive = Archive::new(unpacked);
    for entry in archive.entries().context(attempt)? {
        signals::check()?;
        let mut entry = entry.context(attempt)?;
        let path = entry.path().context(attempt)?.to_string_lossy().into_owned();
        let mut below = path.trim_start_matches("./").splitn(2, '/').skip(1);
        if visit(below.next().unwrap_or_default(), &mut entry)? {
            break;
        }
    }
    Ok(())
}

/// How the programs for this machine end.
const fn suffix() -> &'static str {
    if cfg!(target_arch = "aarch64") { "linux-arm64" } else { "linux-amd64" }
}

fn manifest(file: &mut dyn Read) -> Result<(String, Version)> {
    let mut text = Vec::new();
    file.take(MOST_MANIFEST).read_to_end(&mut text).context(attempt)?;
    let manifest: Value = serde_json::from_slice(&text).context(|| "cannot read a plugin.json".into())?;
    let of = |key: &str| manifest[key].as_str().unwrap_or_default();
    let version = Version::parse(of("version").trim_start_matches('v'));
    let version = version.map_err(|cause| Error::failed("cannot read the version of a plugin").because(cause))?;
    Ok((of("id").to_owned(), version))
}

/// How the names of the migrations end that a program carries: `migrations/postgres/000018_add_teams.up.sql`.
const END: &[u8] = b".up.sql";
/// A name is no longer.
const LONGEST: usize = 256;

/// The highest number of the migrations whose names are in a program.
fn highest(program: &mut dyn Read) -> std::io::Result<Option<u64>> {
    let (mut window, mut highest) = (Vec::new(), None);
    loop {
        signals::check_io()?;
        // What was at the end of the last piece may be the beginning of a name.
        let kept = window.len().saturating_sub(LONGEST);
        window.drain(..kept);
        if (&mut *program).take(1024 * 1024).read_to_end(&mut window)? == 0 {
            return Ok(highest);
        }
        highest = numbers(&window).max().max(highest);
    }
}

fn numbers(text: &[u8]) -> impl Iterator<Item = u64> {
    let dots = text.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(at, _)| at);
    dots.filter(|at| text[*at..].starts_with(END)).filter_map(|at| {
        let name = text[..at].rsplit(|byte| *byte == b'/').next()?;
        let number = std::str::from_utf8(name).ok()?.split('_').next()?;
        (name.len() < at && number.len() >= 4 && number.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| number.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        for (name, contents) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(contents.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, name, *contents).unwrap();
        }
        archive.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn a_bundle_says_what_it_is_and_which_migrations_it_carries() {
        let json = br#"{"id": "focalboard", "version": "0.15.0"}"#;
        // A name across the border of two pieces.
        let mut program = vec![b'x'; 1024 * 1024 - 20];
        program.extend(b"migrations/000018_add_teams.up.sqlmigrations/000007_x.up.sql no/abc_9.up.sql 000099_y.up.sqx");
        let name = format!("focalboard/server/dist/plugin-{}", suffix());
        let file = bundle(&[(&name, &program), ("focalboard/plugin.json", json)]);
        let read_whole = read(&file[..], true).unwrap();
        assert_eq!((read_whole.id.as_str(), read_whole.migration), ("focalboard", Some(18)));
        assert_eq!(read_whole.version, Version::new(0, 15, 0));
        assert_eq!(read(&file[..], false).unwrap().migration, None);
        let mut left = 4 << 20;
        assert_eq!(identity(&file[..], &mut left).unwrap(), ("focalboard".into(), Version::new(0, 15, 0)));
        assert!((2 << 20..3 << 20).contains(&left), "the program is passed over: {left}");
        assert!(identity(&file[..], &mut 1000).is_err(), "it may not take more");
        assert!(read(&bundle(&[("a/b", b"")])[..], true).is_err());
        assert!(read(&b"no archive"[..], true).is_err());
    }
}
