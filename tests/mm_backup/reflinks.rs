//! Where the file system has them, a new file shares its blocks with the original, and stays what it was when that changes.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use mm_test_support::process;
use mm_test_support::site::Site;
use serde_json::{Value, json};

/// A file system of its own, in a file.
struct Mounted(PathBuf);

impl Mounted {
    fn xfs(image: &Path, at: PathBuf) -> Self {
        // The smallest that XFS allows; it takes no more room than what is written.
        fs::File::create(image).unwrap().set_len(320 << 20).unwrap();
        fs::create_dir(&at).unwrap();
        process::run("mkfs.xfs", &["-q", "-m", "reflink=1", image.to_str().unwrap()]);
        process::run("mount", &["-o", "loop", image.to_str().unwrap(), at.to_str().unwrap()]);
        Self(at)
    }

    /// KiB in use.
    fn used(&self) -> u64 {
        process::run("sync", &["-f", self.0.to_str().unwrap()]);
        let table = process::run("df", &["-k", "--output=used", self.0.to_str().unwrap()]);
        table.lines().last().unwrap().trim().parse().unwrap()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        process::run("umount", &["-l", self.0.to_str().unwrap()]);
    }
}

#[test]
fn a_new_file_shares_its_blocks_where_the_file_system_can() {
    let site = Site::builder("5.29.0").build();
    let disk = Mounted::xfs(&site.directory().join("image"), site.directory().join("disk"));
    let (data, store) = (disk.0.join("data"), disk.0.join("store"));
    process::run("cp", &["-a", site.install().join("data").to_str().unwrap(), data.to_str().unwrap()]);
    site.set("FileSettings", "Directory", json!(data));
    // No multiple of a block, and a hole in the middle.
    let upload = data.join("upload");
    let bytes: Vec<u8> = (0..40_000_001_u32).map(|number| number.to_le_bytes()[(number % 3) as usize]).collect();
    let file = fs::File::create(&upload).unwrap();
    file.write_at(&bytes, 0).unwrap();
    file.write_at(b"end", 80 << 20).unwrap();
    let run = |flags: &[&str]| -> Value {
        let output = site.tool("mm-backup").arg("--to").arg(&store).args(flags).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    process::run("chown", &["mm-test:", upload.to_str().unwrap()]);

    let before = disk.used();
    let backup = run(&["--no-database", "--exclude", "client"])["backup"].clone();
    let copy = PathBuf::from(backup["path"].as_str().unwrap()).join("files").join(upload.strip_prefix("/").unwrap());
    let added = disk.used() - before;
    assert!(added < 20_000, "{added} KiB were added for a file of 40 MB that was there already");
    let extents = process::run("filefrag", &["-v", copy.to_str().unwrap()]);
    assert!(extents.contains("shared"), "{extents}");
    assert_eq!(fs::metadata(&copy).unwrap().len(), (80 << 20) + 3);

    // The blocks are shared, the file is not.
    file.write_at(b"changed", 0).unwrap();
    let mut start = [0; 7];
    fs::File::open(&copy).unwrap().read_exact_at(&mut start, 0).unwrap();
    assert_eq!(start[..], bytes[..7]);
    run(&["verify"]);
    run(&["restore", "latest", "--path", upload.to_str().unwrap()]);
    let restored = fs::read(&upload).unwrap();
    assert!(restored[..bytes.len()] == bytes[..] && restored.ends_with(b"\0end"), "it came back as it was stored");
}

#[test]
fn holes_have_their_limit_where_files_share_blocks_too() {
    let site = Site::builder("5.29.0").build();
    let disk = Mounted::xfs(&site.directory().join("image"), site.directory().join("disk"));
    let data = disk.0.join("data");
    process::run("cp", &["-a", site.install().join("data").to_str().unwrap(), data.to_str().unwrap()]);
    site.set("FileSettings", "Directory", json!(data));
    let hollow = data.join("hollow");
    let file = fs::File::create(&hollow).unwrap();
    process::run("chown", &["mm-test:", hollow.to_str().unwrap()]);
    // Data stands among the holes.
    let all: u64 = 6 << 40;
    file.set_len(all).unwrap();
    for part in 1..10 {
        file.write_at(b"data", all / 10 * part).unwrap();
    }
    let mut command = site.tool("mm-backup");
    let output = command.arg("--to").arg(disk.0.join("store")).arg("--no-database").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("128 GiB of holes"), "{said}");
}
