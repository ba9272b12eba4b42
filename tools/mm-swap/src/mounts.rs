//! Mount points at and below the install root. A mount inside a directory moves with it when the directory is
//! exchanged, so it has to be known.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use mm_common::contract::error::Result;
use mm_common::machine::mounts;

/// What is mounted at and below a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mounts {
    /// Mount points below it, relative.
    pub(crate) below: BTreeSet<PathBuf>,
}

/// Mount points of this process's namespace at and below `root` (resolved).
pub(crate) fn below(root: &Path) -> Result<Mounts> {
    Ok(of(&mounts::below(root)?, root))
}

fn of(points: &[PathBuf], root: &Path) -> Mounts {
    let relative = points.iter().filter_map(|point| point.strip_prefix(root).ok());
    Mounts { below: relative.filter(|point| !point.as_os_str().is_empty()).map(Path::to_owned).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_mounts_at_the_root_from_those_below_it() {
        let points = ["/", "/opt/mm", "/opt/mm/data two", "/opt/mmx"].map(PathBuf::from);
        let mounts = of(&points, Path::new("/opt/mm"));
        assert_eq!(mounts.below, BTreeSet::from(["data two".into()]));
        assert_eq!(of(&points, Path::new("/opt/other")), Mounts::default());
    }
}
