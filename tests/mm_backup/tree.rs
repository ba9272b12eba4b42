//! Everything about a tree, so that two can be compared.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// What is known of every entry, by its path below `root`, in words. Fifos and sockets are left out: nothing stores
/// them. Names of one file have the same words.
pub(crate) fn describe(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut names: BTreeMap<u64, Vec<PathBuf>> = BTreeMap::new();
    look(root, root, &mut all, &mut names);
    for same in names.values().filter(|same| same.len() > 1) {
        for path in same {
            all.entry(path.clone()).and_modify(|words| *words = format!("{words} names={same:?}"));
        }
    }
    all
}

fn look(root: &Path, path: &Path, all: &mut BTreeMap<PathBuf, String>, names: &mut BTreeMap<u64, Vec<PathBuf>>) {
    let data = fs::symlink_metadata(path).expect("it was just listed");
    let kind = data.file_type();
    if kind.is_fifo() || kind.is_socket() {
        return;
    }
    let below = path.strip_prefix(root).expect("it is below").to_owned();
    let contents = if kind.is_symlink() {
        format!("-> {}", fs::read_link(path).expect("it is a link").display())
    } else if kind.is_file() {
        names.entry(data.ino()).or_default().push(below.clone());
        let bytes = fs::read(path).expect("it can be read");
        format!("{} bytes {}", bytes.len(), mm_common::contract::digest::of_bytes(&bytes))
    } else {
        String::new()
    };
    let xattrs: BTreeMap<_, _> = xattr::list(path)
        .expect("attributes can be listed")
        .map(|name| (name.clone(), xattr::get(path, &name).expect("it was just listed")))
        .collect();
    // A link has no mode of its own.
    let mode = if kind.is_symlink() { 0 } else { data.mode() };
    let words =
        format!("{mode:o} {}:{} {}.{} {contents} {xattrs:?}", data.uid(), data.gid(), data.mtime(), data.mtime_nsec());
    all.insert(below, words);
    if kind.is_dir() {
        for entry in fs::read_dir(path).expect("it can be listed") {
            look(root, &entry.expect("it can be listed").path(), all, names);
        }
    }
}

/// Panics with what differs.
pub(crate) fn assert_same(before: &BTreeMap<PathBuf, String>, after: &BTreeMap<PathBuf, String>) {
    let mut differences = Vec::new();
    for (path, words) in before {
        match after.get(path) {
            None => differences.push(format!("{} is missing", path.display())),
            Some(other) if other != words => {
                differences.push(format!("{}: was {words}, is {other}", path.display()));
            }
            Some(_) => {}
        }
    }
    differences.extend(
        after.keys().filter(|path| !before.contains_key(*path)).map(|path| format!("{} is new", path.display())),
    );
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
