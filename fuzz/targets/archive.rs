//! A release archive: no panic, and nothing is ever written outside the directory it is unpacked into.
//!
//! The first byte says what the rest is: a gzip file as it is, or the blocks of a tar archive, which get sound checksums
//! and are compressed, so that the fuzzer does not have to guess checksums.
#![no_main]

use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;
use mm_common::contract::digest;
use mm_common::contract::version::Edition;
use mm_common::mattermost::manifest::{Limits, Manifest, look_through, unpack};
use semver::Version;

const BLOCK: usize = 512;

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else { return };
    let archive = if kind % 8 == 0 { rest.to_vec() } else { compressed(&summed(rest)) };
    let limits = Limits { entries: 200, file_bytes: 1 << 20, bytes: 4 << 20 };
    let version = Version::new(if kind % 2 == 0 { 4 } else { 10 }, 0, 0);
    match look_through(std::io::Cursor::new(archive.clone()), &version, &limits) {
        Err(error) => assert!(matches!(error.code(), 1 | 5), "{error:?}"),
        Ok(looked) => {
            assert_eq!(looked.sha256, digest::of_bytes(&archive));
            let manifest = Manifest::of_looked(looked, &version, Edition::Team);
            for entry in &manifest.entries {
                let inside = |part| !matches!(part, std::path::Component::ParentDir | std::path::Component::RootDir);
                assert!(Path::new(&entry.path).components().all(inside), "{}", entry.path);
                assert_eq!(entry.mode & !0o755, 0);
            }
            unpacked(&archive, &manifest);
        }
    }
});

/// What a look has found sound unpacks, to what was found, and beside it nothing appears.
fn unpacked(archive: &[u8], manifest: &Manifest) {
    let place =
        tempfile::tempdir_in(if Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "/tmp" }).expect("a place");
    let file = place.path().join("archive");
    std::fs::write(&file, archive).expect("the place can be written");
    let into = place.path().join("into");
    let owner = std::fs::metadata(&file).expect("it was just written");
    use std::os::unix::fs::MetadataExt as _;
    unpack(&file, manifest, &into, owner.uid(), owner.gid()).expect("what was found sound unpacks");
    for entry in &manifest.entries {
        assert!(std::fs::symlink_metadata(into.join(&entry.path)).is_ok(), "{} is not there", entry.path);
    }
    let mut beside: Vec<_> =
        std::fs::read_dir(place.path()).expect("it is ours").flatten().map(|e| e.file_name()).collect();
    beside.sort();
    assert_eq!(beside, ["archive", "into"]);
}

/// The blocks with the checksum of every header set right, as far as headers can be found, and an end.
fn summed(tar: &[u8]) -> Vec<u8> {
    let mut tar = tar.to_vec();
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
    let mut at = 0;
    while at + BLOCK <= tar.len() {
        let block = &mut tar[at..at + BLOCK];
        if block.iter().all(|byte| *byte == 0) {
            break;
        }
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let digits: String = block[124..135].iter().map(|byte| char::from(*byte)).collect();
        let size = usize::from_str_radix(digits.trim_matches(['\0', ' ']), 8).unwrap_or(0).min(1 << 20);
        at += BLOCK + size.next_multiple_of(BLOCK);
    }
    tar.resize(tar.len() + 2 * BLOCK, 0);
    tar
}

fn compressed(tar: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(tar).expect("memory takes it");
    gzip.finish().expect("memory takes it")
}
