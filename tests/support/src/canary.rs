//! A place of root's that no tool has any business in: whether it was changed, and whether its words have got out.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// When each entry was last changed in any way, and its size.
pub type Changes = BTreeMap<PathBuf, (i64, i64, u64)>;

/// The entries below `top` and itself, as the kernel noted their last change: in seconds, nanoseconds, and bytes.
pub fn changes(top: &Path) -> Changes {
    let data = std::fs::symlink_metadata(top).expect("nobody removes it");
    let mut found = BTreeMap::from([(top.to_owned(), (data.ctime(), data.ctime_nsec(), data.size()))]);
    if data.is_dir() {
        for entry in std::fs::read_dir(top).expect("root can read it") {
            found.extend(changes(&entry.expect("root can read it").path()));
        }
    }
    found
}

/// Files below `top` with the words `secret` that others than root may read.
pub fn leaks(top: &Path, secret: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(top).expect("root can read it") {
        let path = entry.expect("root can read it").path();
        let data = std::fs::symlink_metadata(&path).expect("nobody removes it");
        if data.is_dir() {
            found.extend(leaks(&path, secret));
        } else if data.is_file() && (data.uid() != 0 || data.mode() & 0o044 != 0) {
            let bytes = std::fs::read(&path).expect("root can read it");
            if bytes.windows(secret.len()).any(|window| window == secret.as_bytes()) {
                found.push(path);
            }
        }
    }
    found
}
