use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

use super::*;

struct Release {
    directory: tempfile::TempDir,
    archive: PathBuf,
    version: Version,
}

/// A small sound release, with `more` added to it by the test.
fn release(more: impl FnOnce(&mut Builder<GzEncoder<std::fs::File>>)) -> Release {
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("release.tar.gz");
    let file = std::fs::File::create(&archive).unwrap();
    let mut builder = Builder::new(GzEncoder::new(file, Compression::fast()));
    add(&mut builder, "mattermost/", EntryType::Directory, 0o777, b"");
    add(&mut builder, "mattermost/bin/mattermost", EntryType::Regular, 0o755, &vec![7; 70_000]);
    add(&mut builder, "mattermost/bin/", EntryType::Directory, 0o700, b"");
    add(&mut builder, "mattermost/client/", EntryType::Directory, 0o755, b"");
    add(&mut builder, "mattermost/client/root.html", EntryType::Regular, 0o666, b"<html>");
    add(&mut builder, "mattermost/config/config.json", EntryType::Regular, 0o644, b"{}");
    add(&mut builder, "mattermost/i18n/en.json", EntryType::Regular, 0o644, b"");
    more(&mut builder);
    builder.into_inner().unwrap().finish().unwrap().flush().unwrap();
    Release { directory, archive, version: Version::new(10, 6, 1) }
}

fn add<W: std::io::Write>(builder: &mut Builder<W>, path: &str, kind: EntryType, mode: u32, data: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(1_600_000_000);
    header.set_size(data.len() as u64);
    builder.append_data(&mut header, path, data).unwrap();
}

impl Release {
    fn manifest(&self) -> Result<Manifest> {
        let sha256 = files::sha256(&self.archive).unwrap();
        Manifest::of_archive(&self.archive, &self.version, Edition::Team, &sha256)
    }

    fn unpack(&self, manifest: &Manifest) -> Result<PathBuf> {
        let into = self.directory.path().join("staging");
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        unpack(&self.archive, manifest, &into, uid, gid).map(|()| into)
    }
}

#[test]
fn a_sound_release_is_known_file_by_file_and_unpacks_to_what_its_manifest_says() {
    let release = release(|builder| {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        builder.append_link(&mut header, "mattermost/bin/link", "./mattermost").unwrap();
        // A name beyond the hundred bytes of a header.
        let long = format!("mattermost/client/{}/x", "d".repeat(150));
        add(builder, &long, EntryType::Regular, 0o600, b"deep");
    });
    let manifest = release.manifest().unwrap();
    let paths: Vec<_> = manifest.entries.iter().map(|entry| entry.path.as_str()).collect();
    let deep = format!("client/{}", "d".repeat(150));
    let deeper = format!("{deep}/x");
    assert_eq!(
        paths,
        [
            "bin",
            "bin/link",
            "bin/mattermost",
            "client",
            deep.as_str(),
            deeper.as_str(),
            "client/root.html",
            "config",
            "config/config.json",
            "i18n",
            "i18n/en.json"
        ]
    );
    assert_eq!(manifest.bytes, 70_000 + 6 + 2 + 4);
    let stored = release.directory.path().join("manifest.json");
    manifest.write(&stored).unwrap();
    assert_eq!(Manifest::read(&stored).unwrap(), manifest);

    let root = release.unpack(&manifest).unwrap();
    assert_eq!(Access::of(&root).unwrap().mode, 0o700);
    for entry in &manifest.entries {
        let path = root.join(&entry.path);
        let data = std::fs::symlink_metadata(&path).unwrap();
        match entry.kind {
            EntryKind::File => assert_eq!(files::sha256(&path).ok(), entry.sha256, "{}", entry.path),
            EntryKind::Directory => assert!(data.is_dir()),
            EntryKind::Symlink => assert_eq!(std::fs::read_link(&path).unwrap().to_str(), entry.target.as_deref()),
        }
        if entry.kind != EntryKind::Symlink {
            assert_eq!(data.mode() & 0o7777, entry.mode, "{}", entry.path);
        }
    }
    assert_eq!(Access::of(&root.join("config/config.json")).unwrap().mode, 0o600);
    assert_eq!(std::fs::metadata(root.join("client")).unwrap().mtime(), 1_600_000_000);
}

#[test]
fn an_archive_that_is_not_the_one_of_the_manifest_is_not_unpacked() {
    let other = release(|builder| add(builder, "mattermost/more", EntryType::Regular, 0o644, b"x"));
    let mut manifest = release(|_| {}).manifest().unwrap();
    assert_eq!(other.unpack(&manifest).unwrap_err().code(), 5);
    let same = release(|_| {});
    manifest.entries.iter_mut().find(|entry| entry.path == "bin/mattermost").unwrap().sha256 = Some("0".repeat(64));
    assert_eq!(same.unpack(&manifest).unwrap_err().code(), 5);
}

#[test]
fn an_archive_with_less_than_the_manifest_says_is_not_unpacked() {
    let less = release(|_| {});
    let more = release(|builder| add(builder, "mattermost/more", EntryType::Regular, 0o644, b"x"));
    assert_eq!(less.unpack(&more.manifest().unwrap()).unwrap_err().code(), 5);
}

#[test]
fn a_wrong_digest_is_named() {
    let release = release(|_| {});
    let error = Manifest::of_archive(&release.archive, &release.version, Edition::Team, &"0".repeat(64)).unwrap_err();
    assert_eq!(error.code(), 5);
    assert!(error.one_line().contains("its SHA-256 is"), "{error:?}");
}

#[test]
fn a_manifest_with_a_path_that_leaves_is_refused() {
    let release = release(|_| {});
    let mut manifest = release.manifest().unwrap();
    manifest.entries[0].path = "../bin".into();
    let stored = release.directory.path().join("manifest.json");
    manifest.write(&stored).unwrap();
    assert_eq!(Manifest::read(&stored).unwrap_err().code(), 5);
}

/// The bundle of a plugin that says this of itself.
fn bundle(said: &str) -> Vec<u8> {
    let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    add(&mut builder, "plugin/program", EntryType::Regular, 0o755, &vec![3; 300_000]);
    add(&mut builder, "plugin/plugin.json", EntryType::Regular, 0o644, said.as_bytes());
    add(&mut builder, "plugin/behind", EntryType::Regular, 0o644, &vec![4; 300_000]);
    builder.into_inner().unwrap().finish().unwrap()
}

#[test]
fn the_plugins_of_a_release_are_known_and_what_is_none_does_no_harm() {
    let sound = bundle(r#"{"id": "com.example.one", "version": "1.2.3"}"#);
    let files = [
        ("one.tar.gz", sound.clone()),
        ("one.tar.gz.sig", sound.clone()),
        ("bad-version.tar.gz", bundle(r#"{"id": "com.example.two", "version": "new"}"#)),
        ("bad-id.tar.gz", bundle(r#"{"id": "../x; id", "version": "1.0.0"}"#)),
        ("cut-off.tar.gz", sound[..sound.len() / 4].to_vec()),
        ("text.tar.gz", b"no archive".to_vec()),
    ];
    let release = release(|builder| {
        for (name, bytes) in &files {
            let path = format!("mattermost/prepackaged_plugins/{name}");
            add(builder, &path, EntryType::Regular, 0o644, bytes);
        }
        add(builder, "mattermost/fonts/two.tar.gz", EntryType::Regular, 0o644, &sound);
    });
    let manifest = release.manifest().unwrap();
    let found = manifest.plugins.as_deref().unwrap();
    let expected = Shipped {
        id: "com.example.one".into(),
        version: Version::new(1, 2, 3),
        path: "prepackaged_plugins/one.tar.gz".into(),
    };
    assert_eq!(found, [expected]);
    // Looked into or not, a file is hashed whole.
    for (name, bytes) in &files {
        let entry = manifest.entry(&format!("prepackaged_plugins/{name}")).unwrap();
        assert_eq!(entry.sha256.as_deref(), Some(digest::of_bytes(bytes).as_str()), "{name}");
    }
    let mut manifest = manifest;
    for (id, path) in [("x y", "prepackaged_plugins/one.tar.gz"), ("com.example.one", "/etc/passwd")] {
        manifest.plugins = Some(vec![Shipped { id: id.into(), version: Version::new(1, 2, 3), path: path.into() }]);
        let stored = release.directory.path().join("manifest.json");
        manifest.write(&stored).unwrap();
        assert_eq!(Manifest::read(&stored).unwrap_err().code(), 5, "{id} {path}");
    }
}

#[test]
fn limits_hold() {
    let release = release(|_| {});
    let sha256 = files::sha256(&release.archive).unwrap();
    let sane = Limits::default();
    for limits in
        [Limits { entries: 3, ..sane }, Limits { file_bytes: 69_999, ..sane }, Limits { bytes: 70_005, ..sane }]
    {
        let result = Manifest::of_archive_within(&release.archive, &release.version, Edition::Team, &sha256, &limits);
        assert_eq!(result.unwrap_err().code(), 5, "{limits:?}");
    }
}

/// The tar archive of a small release, as bytes.
fn bare() -> Vec<u8> {
    let release = release(|_| {});
    let mut bytes = Vec::new();
    let file = std::fs::File::open(&release.archive).unwrap();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(file), &mut bytes).unwrap();
    bytes
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(150))]

    /// Damage with a checksum made right again, as somebody would do it on purpose: refused, or harmless.
    #[test]
    fn no_damage_of_an_archive_breaks_out(
        damage in proptest::collection::vec((0_usize..16, 0_usize..512, proptest::num::u8::ANY), 1..4),
    ) {
        let mut bytes = bare();
        for (block, at, value) in damage {
            // The headers are among the first blocks and behind the large file; the rest is contents.
            let block = if block < 3 { block } else { bytes.len() / 512 - block - 1 };
            bytes[block * 512 + at] = value;
            let header = &mut bytes[block * 512..][..512];
            let mut fixed = Header::from_byte_slice(header).clone();
            fixed.set_cksum();
            header.copy_from_slice(fixed.as_bytes());
        }
        let directory = tempfile::tempdir().unwrap();
        let archive = directory.path().join("archive");
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&bytes).unwrap();
        files::write(&archive, &gzip.finish().unwrap(), Access::PRIVATE).unwrap();
        let sha256 = files::sha256(&archive).unwrap();
        match Manifest::of_archive(&archive, &Version::new(10, 6, 1), Edition::Team, &sha256) {
            Err(error) => proptest::prop_assert_eq!(error.code(), 5, "{:?}", error),
            Ok(manifest) => {
                let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
                unpack(&archive, &manifest, &directory.path().join("staging"), uid, gid).unwrap();
                let beside = std::fs::read_dir(directory.path()).unwrap().count();
                proptest::prop_assert_eq!(beside, 2, "something was written beside the staging tree");
            }
        }
    }
}
