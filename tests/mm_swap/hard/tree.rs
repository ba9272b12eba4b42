//! What stands below an install root, to be compared with what stood there.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use mm_test_support::site::Site;

/// An entry: everything that an exchange could lose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) inode: u64,
    /// Owner, group and mode with the type of the file.
    pub(crate) access: (u32, u32, u32),
    /// Digest of a file, target of a link.
    pub(crate) holds: String,
    pub(crate) attributes: BTreeMap<String, Vec<u8>>,
}

pub(crate) type Tree = BTreeMap<String, Entry>;

/// Everything below an install root but a work area in it, by relative path. Nothing is followed.
pub(crate) fn of(top: &Path) -> Tree {
    let mut found = Tree::new();
    collect(top, top, &mut found);
    found
}

fn collect(top: &Path, directory: &Path, found: &mut Tree) {
    for path in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        // A running server replaces its logs.
        let Ok(data) = std::fs::symlink_metadata(&path) else { continue };
        let holds = if data.is_file() {
            mm_common::contract::digest::of_bytes(&std::fs::read(&path).unwrap())
        } else if data.is_symlink() {
            std::fs::read_link(&path).unwrap().display().to_string()
        } else {
            String::new()
        };
        let attributes = xattr::list(&path).unwrap().map(|name| {
            let value = xattr::get(&path, &name).unwrap().unwrap_or_default();
            (name.to_string_lossy().into_owned(), value)
        });
        let attributes = if data.is_symlink() { BTreeMap::new() } else { attributes.collect() };
        let access = (data.uid(), data.gid(), data.mode());
        let name = path.strip_prefix(top).unwrap().display().to_string();
        if name == ".mattermost.mm" {
            continue;
        }
        found.insert(name, Entry { inode: data.ino(), access, holds, attributes });
        if data.is_dir() {
            collect(top, &path, found);
        }
    }
}

fn is_the_users(path: &str) -> bool {
    ["config", "data", "logs", "plugins", "client/plugins", "custom", "bin/mine.sh"]
        .iter()
        .any(|own| path == *own || path.starts_with(&format!("{own}/")))
}

/// What a release has, with everything but inodes. Every server rewrites some files at its start; these are left out.
pub(crate) fn released(tree: &Tree) -> Tree {
    let rewritten = |path: &str| {
        path == "client/root.html"
            || path == "client/manifest.json"
            || Path::new(path).extension().is_some_and(|kind| kind == "css")
    };
    let own = tree.iter().filter(|(path, _)| !is_the_users(path) && !rewritten(path));
    own.map(|(path, entry)| (path.clone(), Entry { inode: 0, ..entry.clone() })).collect()
}

/// What is the user's, whole. The configuration may be rewritten, and logs are.
pub(crate) fn users(tree: &Tree) -> Tree {
    let own = tree.iter().filter(|(path, _)| is_the_users(path));
    own.filter(|(path, _)| *path != "config/config.json" && !path.starts_with("logs/"))
        .map(|(path, entry)| (path.clone(), entry.clone()))
        .collect()
}

/// Things of the user's among the release's, and what only extended attributes hold.
pub(crate) fn adorn(site: &Site) {
    let root = site.install();
    std::fs::write(root.join("bin/mine.sh"), "#!/bin/sh\n").unwrap();
    let path = |name: &str| root.join(name).display().to_string();
    let run = mm_test_support::process::run;
    run("setcap", &["cap_net_bind_service=+ep", &path("bin/mattermost")]);
    run("setfacl", &["-m", "u:daemon:r", &path("i18n/en.json"), &path("templates/invite_body.html")]);
    let label = "system_u:object_r:usr_t:s0";
    for name in ["bin/mattermost", "client", "fonts/luximbi.ttf"] {
        run("setfattr", &["-n", "security.selinux", "-v", label, &path(name)]);
    }
}
