//! What has not changed is a link into the restore point before; what has, however well it hides, is not.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use mm_test_support::process;
use mm_test_support::site::Site;
use mm_test_support::tool::executable;

use crate::{listed, make, stored, verify};

#[test]
fn only_what_changed_is_stored_again() {
    let site = Site::builder("5.29.0").build();
    let one = make(&site, &[]);
    // Same size, same time of change: only the inode's own time tells.
    let hidden = site.install().join("README.md");
    let data = fs::metadata(&hidden).unwrap();
    let mut bytes = fs::read(&hidden).unwrap();
    bytes[0] ^= 1;
    fs::write(&hidden, &bytes).unwrap();
    fs::File::options().write(true).open(&hidden).unwrap().set_modified(data.modified().unwrap()).unwrap();
    process::run("chmod", &["0600", site.install().join("NOTICE.txt").to_str().unwrap()]);
    fs::write(site.install().join("custom/new"), "new").unwrap();
    let two = make(&site, &[]);
    let ino = |path: &Path| fs::metadata(path).unwrap().ino();
    let same = |below: &str| ino(&stored(&site, &one, below)) == ino(&stored(&site, &two, below));
    assert!(same("bin/mattermost") && same("config/config.json") && same("custom/tls/server.key"));
    assert!(!same("README.md") && !same("NOTICE.txt"));
    assert_eq!(fs::read(stored(&site, &two, "README.md")).unwrap(), bytes);
    assert_ne!(fs::read(stored(&site, &one, "README.md")).unwrap(), bytes, "the older one is as it was");
    assert_eq!(fs::read(stored(&site, &two, "custom/new")).unwrap(), b"new");

    let three = make(&site, &["--rehash"]);
    assert_ne!(ino(&stored(&site, &two, "bin/mattermost")), ino(&stored(&site, &three, "bin/mattermost")));
    for point in [&one, &two, &three] {
        let (code, said) = verify(&site, &[point["id"].as_str().unwrap()]);
        assert_eq!(code, 0, "{said}");
    }
}

#[test]
fn a_restore_point_does_not_need_the_one_before() {
    let site = Site::builder("5.29.0").build();
    let one = make(&site, &[]);
    let two = make(&site, &["--keep-last", "1"]);
    assert_eq!(listed(&site).0, [two["id"].as_str().unwrap()]);
    assert!(!Path::new(one["path"].as_str().unwrap()).exists());
    assert_eq!(verify(&site, &[]).0, 0);
}

#[test]
fn a_damaged_manifest_is_not_linked_against() {
    let site = Site::builder("5.29.0").build();
    let one = make(&site, &[]);
    let path = Path::new(one["path"].as_str().unwrap()).join("manifest.json");
    let text = fs::read_to_string(&path).unwrap().replace("\"mode\":\"0644\"", "\"mode\":\"0664\"");
    fs::write(&path, text).unwrap();
    let two = make(&site, &[]);
    let ino = |point| fs::metadata(stored(&site, point, "bin/mattermost")).unwrap().ino();
    assert_ne!(ino(&one), ino(&two));
    assert_eq!(verify(&site, &[two["id"].as_str().unwrap()]).0, 0);
}

#[test]
fn a_clock_that_is_set_back_does_not_make_an_old_restore_point_the_newest() {
    let site = Site::builder("5.29.0").build();
    let one = make(&site, &[]);
    // What the clock said when the first one was made, as if it had run far ahead.
    let later = site.store().join("20990101T000000Z");
    let before = Path::new(one["path"].as_str().unwrap());
    fs::rename(before, &later).unwrap();
    let manifest = later.join("manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    let text = text.replace(one["id"].as_str().unwrap(), "20990101T000000Z");
    let text = text.replace(one["created"].as_str().unwrap(), "2099-01-01T00:00:00Z");
    fs::write(&manifest, &text).unwrap();
    let line = format!("{}  manifest.json\n", mm_common::contract::digest::of_bytes(text.as_bytes()));
    fs::write(later.join("manifest.json.sha256"), line).unwrap();

    let two = make(&site, &["--keep-last", "2"]);
    let id = two["id"].as_str().unwrap();
    assert_eq!(listed(&site).0, ["20990101T000000Z", id], "in the order in which they were made");
    make(&site, &["--keep-last", "1"]);
    let left = listed(&site).0;
    assert!(left.len() == 1 && left[0].as_str() > id && left[0] != "20990101T000000Z", "{left:?}");
}

/// The most memory in kB that a run takes, all it starts included.
fn memory(site: &Site) -> u64 {
    let script = "import os, resource, subprocess, sys\n\
        subprocess.run(sys.argv[1:], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)\n\
        print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";
    let mut arguments = vec!["-c".to_owned(), script.to_owned(), executable("mm-backup").display().to_string()];
    arguments.extend(site.flags());
    let own = ["--to", site.store().to_str().unwrap(), "--no-database", "--stop"].map(str::to_owned);
    arguments.extend(own);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    process::run("python3", &arguments).trim().parse().unwrap()
}

#[test]
fn memory_does_not_grow_with_the_files() {
    let site = Site::builder("10.5.14").running().build();
    make(&site, &["--no-database"]);
    let few = memory(&site);
    let files = 40_000;
    for number in 0..files {
        let directory = site.install().join(format!("data/many/{}", number / 1000));
        if number % 1000 == 0 {
            fs::create_dir_all(&directory).unwrap();
        }
        fs::write(directory.join(format!("a-file-with-a-name-of-some-length-{number}")), "").unwrap();
    }
    process::run("chown", &["-R", "mm-test:", site.install().join("data/many").to_str().unwrap()]);
    // All are new, then all are as they were: known from the restore point before, and from the pass before the stop.
    for what in ["new", "known"] {
        let many = memory(&site);
        // 50 bytes each for what is known of them, and what is held of entries until it goes into a file.
        let allowed = few + files * 50 / 1024 + 20 * 1024;
        assert!(many < allowed, "{what}: {many} kB, and {few} kB for few; {allowed} kB are allowed");
    }
}
