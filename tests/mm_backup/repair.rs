//! What is linked on is what was stored: damage in the store ends with the next restore point.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use mm_test_support::process;
use mm_test_support::site::Site;
use serde_json::Value;

use crate::damage::flip_a_bit;
use crate::{make, stored, verify};

fn ino(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

/// Makes a restore point and returns it with what was said.
fn make_and_hear(site: &Site, store: &Path) -> (Value, String) {
    let made = site.tool("mm-backup").arg("--to").arg(store).assert().success();
    let document: Value = serde_json::from_slice(&made.get_output().stdout).unwrap();
    (document["backup"].clone(), String::from_utf8_lossy(&made.get_output().stderr).into_owned())
}

#[test]
fn a_damaged_copy_is_not_linked_on() {
    let site = Site::builder("5.29.0").build();
    let names = ["truncated", "changed", "link", "gone", "directory", "whole"];
    for name in names {
        fs::write(site.install().join("data").join(name), "as it was").unwrap();
    }
    let one = make(&site, &[]);
    let two = make(&site, &[]);
    let copy = |backup: &Value, name: &str| stored(&site, backup, &format!("data/{name}"));
    let truncated = fs::File::options().write(true).open(copy(&two, "truncated")).unwrap();
    truncated.set_len(3).unwrap();
    fs::write(copy(&two, "changed"), "as it is.").unwrap();
    for name in ["link", "gone", "directory"] {
        fs::remove_file(copy(&two, name)).unwrap();
    }
    symlink("/etc/hostname", copy(&two, "link")).unwrap();
    fs::create_dir(copy(&two, "directory")).unwrap();

    let (three, said) = make_and_hear(&site, &site.store());
    for name in names {
        assert_eq!(fs::read_to_string(copy(&three, name)).unwrap(), "as it was", "{name}");
        assert_eq!(said.contains(&format!("data/{name}` is stored anew")), name != "whole", "{name}: {said}");
    }
    assert_eq!(ino(&copy(&two, "whole")), ino(&copy(&three, "whole")));
    // The first one has the very same damaged file.
    let both = format!("{}, {}", one["id"].as_str().unwrap(), two["id"].as_str().unwrap());
    let truncated = said.lines().find(|line| line.contains("truncated")).unwrap();
    assert!(truncated.contains(&both), "{truncated}");
    let link = said.lines().find(|line| line.contains("data/link`")).unwrap();
    assert!(!link.contains(one["id"].as_str().unwrap()), "{link}");
    let (code, said) = verify(&site, &[three["id"].as_str().unwrap()]);
    assert_eq!(code, 0, "{said}");
    let (_, said) = make_and_hear(&site, &site.store());
    assert!(!said.contains("stored anew"), "{said}");
}

#[test]
fn what_verify_has_found_is_stored_anew() {
    let site = Site::builder("5.29.0").build();
    let one = make(&site, &[]);
    let two = make(&site, &[]);
    flip_a_bit(&stored(&site, &one, "NOTICE.txt"), 3);
    // Size, time and inode are right: nobody can tell without reading.
    assert_eq!(verify(&site, &[one["id"].as_str().unwrap()]).0, 4);
    let (three, said) = make_and_hear(&site, &site.store());
    assert!(said.contains("NOTICE.txt` is stored anew"), "{said}");
    let (code, said) = verify(&site, &[three["id"].as_str().unwrap()]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(verify(&site, &[two["id"].as_str().unwrap()]).0, 4);
    make(&site, &["--keep-last", "1"]);
    let records = fs::read_dir(site.store()).unwrap().flatten();
    let records: Vec<_> = records.filter(|entry| entry.file_name().to_string_lossy().starts_with('.')).collect();
    assert!(records.is_empty(), "{records:?}");
}

/// Takes the facts about stored files out of a manifest, as earlier versions wrote it.
fn forget_stored_facts(point: &Path) {
    let manifest = point.join("manifest.json");
    let mut text = fs::read_to_string(&manifest).unwrap();
    while let Some(start) = text.find(",\"stored\":{") {
        let end = start + text[start..].find('}').unwrap() + 1;
        text.replace_range(start..end, "");
    }
    fs::write(&manifest, &text).unwrap();
    let line = format!("{}  manifest.json\n", mm_common::contract::digest::of_bytes(text.as_bytes()));
    fs::write(point.join("manifest.json.sha256"), line).unwrap();
}

#[test]
fn a_copied_store_and_an_old_manifest_are_read_once_and_linked_on() {
    let site = Site::builder("5.29.0").build();
    fs::write(site.install().join("data/upload"), "of no whole second").unwrap();
    let one = make(&site, &[]);
    let copied = site.directory().join("copied");
    fs::create_dir(&copied).unwrap();
    process::run("chmod", &["700", copied.to_str().unwrap()]);
    // As from a tape: this form keeps whole seconds.
    let archived = "tar --format=gnu -C \"$1\" -cf - . | tar -C \"$2\" -xpf -";
    process::run("sh", &["-c", archived, "_", site.store().to_str().unwrap(), copied.to_str().unwrap()]);
    let copy = |backup: &Value, below: &str| -> PathBuf { stored(&site, backup, below) };
    let there = |backup: &Value| copied.join(copy(backup, "data/upload").strip_prefix(site.store()).unwrap());
    flip_a_bit(&copied.join(copy(&one, "NOTICE.txt").strip_prefix(site.store()).unwrap()), 3);
    let (two, said) = make_and_hear(&site, &copied);
    assert!(said.contains("NOTICE.txt` is stored anew") && !said.contains("upload"), "{said}");
    assert_eq!(ino(&there(&one)), ino(&copy(&two, "data/upload")));
    let output = site.tool("mm-backup").arg("--to").arg(&copied).arg("verify").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));

    forget_stored_facts(Path::new(one["path"].as_str().unwrap()));
    flip_a_bit(&copy(&one, "NOTICE.txt"), 3);
    let (two, said) = make_and_hear(&site, &site.store());
    assert!(said.contains("NOTICE.txt` is stored anew") && !said.contains("README.md"), "{said}");
    assert_eq!(ino(&copy(&one, "README.md")), ino(&copy(&two, "README.md")));
    assert_eq!(verify(&site, &[]).0, 0);
}

#[test]
fn an_entry_of_another_kind_than_before_is_stored() {
    let site = Site::builder("5.29.0").build();
    let place = site.install().join("data/kinds");
    let put = |kind: &str, path: &Path| match kind {
        "file" => fs::write(path, "file").unwrap(),
        "link" => symlink("elsewhere", path).unwrap(),
        _ => {
            fs::create_dir(path).unwrap();
            fs::write(path.join("inside"), "inside").unwrap();
        }
    };
    let kinds = ["file", "link", "directory"];
    let all: Vec<_> = kinds.iter().flat_map(|from| kinds.iter().map(move |to| (*from, *to))).collect();
    fs::create_dir(&place).unwrap();
    for (from, to) in &all {
        put(from, &place.join(format!("{from}-{to}")));
    }
    make(&site, &[]);
    fs::remove_dir_all(&place).unwrap();
    fs::create_dir(&place).unwrap();
    for (from, to) in &all {
        put(to, &place.join(format!("{from}-{to}")));
    }
    let two = make(&site, &[]);
    assert_eq!(verify(&site, &[]).0, 0);
    let copy = stored(&site, &two, "data/kinds");
    crate::tree::assert_same(&crate::tree::describe(&place), &crate::tree::describe(&copy));
}
