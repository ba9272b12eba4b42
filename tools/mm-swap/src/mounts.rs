//! Mount points at and below the install root. A mount inside a directory moves with it when the directory is
//! exchanged, so it has to be known.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use mm_common::contract::error::Result;
use mm_common::machine::files;

/// A machine with very many containers has some megabytes of mounts.
const MOST: u64 = 64 * 1024 * 1024;

/// What is mounted at and below a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mounts {
    /// Whether the directory itself is a mount point.
    pub(crate) is_root: bool,
    /// Mount points below it, relative.
    pub(crate) below: BTreeSet<PathBuf>,
}

/// Mount points of this process's namespace at and below `root` (resolved).
pub(crate) fn below(root: &Path) -> Result<Mounts> {
    Ok(parse(&files::read_text(Path::new("/proc/self/mountinfo"), MOST)?, root))
}

/// The fifth field of each line of mountinfo (proc(5)) is the mount point; space, tab, newline and backslash stand in
/// it as octal escapes.
fn parse(text: &str, root: &Path) -> Mounts {
    let mut mounts = Mounts::default();
    for line in text.lines() {
        let Some(field) = line.split(' ').nth(4) else { continue };
        let path = PathBuf::from(unescaped(field));
        match path.strip_prefix(root) {
            Ok(below) if below.as_os_str().is_empty() => mounts.is_root = true,
            Ok(below) => {
                mounts.below.insert(below.into());
            }
            Err(_) => {}
        }
    }
    mounts
}

fn unescaped(field: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(field.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_mounts_at_and_below_the_root() {
        let text = "22 1 8:1 / / rw - ext4 /dev/a rw\n\
                    30 22 8:2 / /opt/mm rw - ext4 /dev/b rw\n\
                    31 30 8:3 / /opt/mm/data\\040two rw shared:1 - ext4 /dev/c rw\n\
                    32 22 8:3 / /opt/mmx rw - ext4 /dev/d rw\n";
        let mounts = parse(text, Path::new("/opt/mm"));
        assert!(mounts.is_root);
        assert_eq!(mounts.below, BTreeSet::from(["data two".into()]));
        assert_eq!(parse(text, Path::new("/opt/other")), Mounts::default());
    }
}
