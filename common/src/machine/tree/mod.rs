//! Trees that somebody else owns: reached through directory descriptors, entry by entry, without ever following a
//! symlink. Whoever may write into such a tree can exchange a directory for a link between two calls of ours; with
//! descriptors that changes nothing.

mod attributes;
mod copy;
mod dir;
mod exchange;
mod finder;
mod places;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

pub use attributes::{Attributes, Time};
pub use copy::{Copied, Holes, contents, copy};
pub use dir::Dir;
pub use finder::Finder;
pub use places::{Identity, Place, Places};

use super::budget::Budget;
use super::files;
use crate::contract::error::{Error, Result};

/// Deeper trees than this are refused: Mattermost's own are less than 20 deep, and each level costs a descriptor.
pub const DEEPEST: usize = 1024;

/// A tree that is removed is flattened where it is deeper than this, so that any can be removed.
const FLATTENED: usize = 100;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symlink.
    Symlink,
    /// A fifo, socket or device: nothing that a copy could hold.
    Special,
}

/// What the file system says about an entry itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// What it is.
    pub kind: Kind,
    /// Permission bits with set-uid, set-gid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes.
    pub bytes: u64,
    /// Bytes that it takes on disk.
    pub allocated: u64,
    /// Last change of the contents.
    pub mtime: Time,
    /// Last change of anything.
    pub ctime: Time,
    /// Inode number.
    pub ino: u64,
    /// Device of the file system.
    pub dev: u64,
    /// Number of names.
    pub names: u64,
}

/// An entry met on a walk.
#[derive(Debug)]
pub struct Met<'a> {
    /// Path below the root of the walk; empty for the root itself.
    pub path: &'a Path,
    /// The directory it is in; `None` for the root itself.
    pub directory: Option<&'a Dir>,
    /// Its name in that directory.
    pub name: &'a OsStr,
    /// What it is.
    pub meta: Meta,
}

/// Whether to go into a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Go {
    /// Into it.
    In,
    /// Past it.
    Past,
}

/// Walks the tree at `root`, parents before their children, names in order. `root` must be a directory and not a
/// link. Entries that vanish meanwhile are left out.
pub fn walk(root: &Path, visit: &mut dyn FnMut(&Met<'_>) -> Result<Go>) -> Result<()> {
    let top = Dir::open(root)?;
    let met = Met { path: Path::new(""), directory: None, name: OsStr::new(""), meta: top.meta()? };
    if visit(&met)? == Go::In {
        walk_into(&top, Path::new(""), 0, visit)?;
    }
    Ok(())
}

fn walk_into(dir: &Dir, below: &Path, depth: usize, visit: &mut dyn FnMut(&Met<'_>) -> Result<Go>) -> Result<()> {
    dir.refuse_deeper_than(depth)?;
    for name in dir.names()? {
        let Some(meta) = dir.look(&name)? else { continue };
        let path = below.join(&name);
        let go = visit(&Met { path: &path, directory: Some(dir), name: &name, meta })?;
        if go == Go::In
            && meta.kind == Kind::Directory
            && let Some(child) = dir.child(&name)?
        {
            walk_into(&child, &path, depth + 1, visit)?;
        }
    }
    Ok(())
}

/// Entries below `root`, itself not among them, that belong to somebody else than `uid`, as far as the budget goes.
pub fn of_others(root: &Path, uid: u32, budget: &Budget) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    walk(root, &mut |met| {
        budget.spend(0)?;
        if met.directory.is_some() && met.meta.uid != uid {
            found.push(root.join(met.path));
        }
        Ok(Go::In)
    })?;
    Ok(found)
}

/// How large a tree is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Bytes of all regular files, each counted once however many names it has below the root.
    pub bytes: u64,
    /// Regular files.
    pub files: u64,
    /// All entries, the root included.
    pub entries: u64,
}

/// Measures what is at `path`: a tree, a file, or nothing (which measures zero).
pub fn size(path: &Path) -> Result<Size> {
    let mut size = Size::default();
    let Some(data) = files::look(path)? else { return Ok(size) };
    if !data.is_dir() {
        return Ok(Size { bytes: data.len(), files: 1, entries: 1 });
    }
    let mut seen = std::collections::HashSet::new();
    walk(path, &mut |met| {
        size.entries += 1;
        if met.meta.kind == Kind::File {
            size.files += 1;
            if met.meta.names == 1 || seen.insert((met.meta.dev, met.meta.ino)) {
                size.bytes += met.meta.bytes;
            }
        }
        Ok(Go::In)
    })?;
    Ok(size)
}

/// Removes a tree of our own making, or a single entry; that there is nothing is fine. A mount point below it stops
/// the removal: whatever is mounted there is not ours.
pub fn remove(path: &Path) -> Result<()> {
    if files::look(path)?.is_none() {
        return Ok(());
    }
    let parent = Dir::open_following(files::parent(path)?)?;
    let name = path
        .file_name()
        .ok_or_else(|| Error::failed(format!("cannot remove `{}`", path.display())).because("it has no name"))?;
    remove_in(&parent, name)
}

/// As [`remove`], for what stands where others may write: no directory above it is gone through that is a link.
///
/// # Errors
/// Refused (exit 5) when there is one: then nothing is removed.
pub fn remove_without_links(path: &Path) -> Result<()> {
    match (Dir::without_links(files::parent(path)?)?, path.file_name()) {
        (Some(parent), Some(name)) => remove_in(&parent, name),
        _ => Ok(()),
    }
}

/// As [`remove`], for an entry of an opened directory: nothing above it is looked up by name again.
pub fn remove_in(parent: &Dir, name: &OsStr) -> Result<()> {
    let Some(meta) = parent.look(name)? else { return Ok(()) };
    if meta.kind == Kind::Directory
        && let Some(dir) = parent.child(name)?
    {
        let device = dir.meta()?.dev;
        let mut flattened = 0;
        // What is too deep comes up and is met in the next round.
        while empty(&dir, &dir, device, 0, &mut flattened)? {}
        return parent.remove_directory(name);
    }
    parent.remove_entry(name)
}

/// Removes what is in a directory; directories that are too deep are moved to the `top`. Returns whether any was.
fn empty(dir: &Dir, top: &Dir, device: u64, depth: usize, flattened: &mut usize) -> Result<bool> {
    if dir.meta()?.dev != device {
        return Err(Error::failed(format!("cannot remove `{}`", dir.path().display()))
            .because("another file system is mounted there"));
    }
    dir.let_us_in()?;
    let mut moved = false;
    let names: Vec<OsString> = dir.names()?;
    for name in names {
        let Some(meta) = dir.look(&name)? else { continue };
        if meta.kind != Kind::Directory {
            dir.remove_entry(&name)?;
        } else if depth >= FLATTENED {
            *flattened += 1;
            dir.move_new(&name, top, OsStr::new(&format!(".mm-deep-{flattened}")))?;
            moved = true;
        } else if let Some(child) = dir.child(&name)? {
            moved |= empty(&child, top, device, depth + 1, flattened)?;
            dir.remove_directory(&name)?;
        }
    }
    Ok(moved)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn holes_without_end_are_not_hashed() {
        let place = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            std::fs::File::options().read(true).write(true).create_new(true).open(place.path().join(name)).unwrap()
        };
        let (from, to, small) = (file("from"), file("to"), file("small"));
        let copy = |from, holes| contents(from, &to, &mut crate::contract::digest::Hasher::default(), holes);
        from.set_len(1 << 43).unwrap();
        let error = copy(&from, Holes::Few).unwrap_err();
        assert!(error.to_string().contains("GiB of holes"), "{error}");
        // What is wanted as it is, a restore, has no part in that count.
        small.set_len(1 << 20).unwrap();
        assert!(copy(&small, Holes::Few).is_err());
        assert_eq!(copy(&small, Holes::Any).unwrap(), 1 << 20);
    }

    #[test]
    fn no_name_leads_out_of_a_directory() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(place.path().join("a/b")).unwrap();
        let dir = Dir::open(place.path()).unwrap();
        assert!(dir.descend(Path::new("./a/b")).unwrap().is_some());
        for path in ["..", "a/../../etc", "/etc", "a/b/../../.."] {
            assert!(dir.descend(Path::new(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn a_walk_meets_links_and_does_not_follow_them() {
        let outside = tempfile::tempdir().unwrap();
        files::write(&outside.path().join("secret"), b"s", files::Access::PRIVATE).unwrap();
        let tree = tempfile::tempdir().unwrap();
        std::fs::create_dir(tree.path().join("d")).unwrap();
        files::write(&tree.path().join("d/f"), b"12", files::Access::PRIVATE).unwrap();
        symlink(outside.path(), tree.path().join("link")).unwrap();
        let mut seen = Vec::new();
        walk(tree.path(), &mut |met| {
            seen.push((met.path.display().to_string(), met.meta.kind));
            Ok(Go::In)
        })
        .unwrap();
        assert_eq!(
            seen,
            [
                (String::new(), Kind::Directory),
                ("d".into(), Kind::Directory),
                ("d/f".into(), Kind::File),
                ("link".into(), Kind::Symlink),
            ]
        );
        assert_eq!(size(tree.path()).unwrap(), Size { bytes: 2, files: 1, entries: 4 });
        assert!(walk(&tree.path().join("link"), &mut |_| Ok(Go::In)).is_err());
    }

    #[test]
    fn removing_a_tree_leaves_what_its_links_point_to() {
        let outside = tempfile::tempdir().unwrap();
        let kept = outside.path().join("kept");
        files::write(&kept, b"s", files::Access::PRIVATE).unwrap();
        let place = tempfile::tempdir().unwrap();
        let tree = place.path().join("tree");
        std::fs::create_dir_all(tree.join("a/b")).unwrap();
        symlink(outside.path(), tree.join("a/link")).unwrap();
        nix::unistd::mkfifo(&tree.join("a/fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::fs::set_permissions(tree.join("a/b"), std::fs::Permissions::from_mode(0o500)).unwrap();
        remove(&tree).unwrap();
        assert!(files::look(&tree).unwrap().is_none());
        assert_eq!(files::read(&kept, 9).unwrap(), b"s");
        remove(&tree).unwrap();
    }

    #[test]
    fn a_tree_of_any_depth_is_removed() {
        let place = tempfile::tempdir().unwrap();
        let top = place.path().join("top");
        std::fs::create_dir(&top).unwrap();
        let mut dir = Dir::open(&top).unwrap();
        for level in 0..3000 {
            dir = dir.create_directory(OsStr::new(&format!("level-{level}"))).unwrap();
            if level % 500 == 0 {
                drop(dir.create_file(OsStr::new("file")).unwrap());
            }
        }
        remove(&top).unwrap();
        assert!(files::look(&top).unwrap().is_none());
    }

    #[test]
    fn a_copy_keeps_modes_times_links_holes_and_attributes() {
        let place = tempfile::tempdir().unwrap();
        let (from, to) = (place.path().join("from"), place.path().join("to"));
        std::fs::create_dir_all(from.join("empty")).unwrap();
        files::write(&from.join("f"), b"hello", files::Access { mode: 0o640, owner: None }).unwrap();
        std::fs::hard_link(from.join("f"), from.join("g")).unwrap();
        symlink("nowhere", from.join("dangling")).unwrap();
        let sparse = std::fs::File::create(from.join("sparse")).unwrap();
        std::os::unix::fs::FileExt::write_at(&sparse, b"end", 8 << 20).unwrap();
        drop(sparse);
        // Not every file system has them; where it does, they must be kept.
        let has_xattrs = xattr::set(from.join("f"), "user.note", b"value").is_ok();
        std::fs::set_permissions(from.join("empty"), std::fs::Permissions::from_mode(0o2750)).unwrap();
        let copied = copy(&from, &to).unwrap();
        assert_eq!((copied.files, copied.skipped.len()), (2, 0));
        let (old, new) = (std::fs::metadata(from.join("f")).unwrap(), std::fs::metadata(to.join("f")).unwrap());
        assert_eq!((old.mode(), old.mtime_nsec()), (new.mode(), new.mtime_nsec()));
        assert_eq!(new.ino(), std::fs::metadata(to.join("g")).unwrap().ino());
        assert_eq!(std::fs::read_link(to.join("dangling")).unwrap(), Path::new("nowhere"));
        assert_eq!(std::fs::metadata(to.join("empty")).unwrap().mode() & 0o7777, 0o2750);
        let sparse = std::fs::metadata(to.join("sparse")).unwrap();
        assert_eq!(sparse.len(), (8 << 20) + 3);
        assert!(sparse.blocks() * 512 < 1 << 20, "{}", sparse.blocks());
        assert_eq!(files::sha256(&from.join("sparse")).unwrap(), files::sha256(&to.join("sparse")).unwrap());
        if has_xattrs {
            assert_eq!(xattr::get(to.join("f"), "user.note").unwrap().as_deref(), Some(b"value".as_slice()));
        }
        assert!(copy(&from, &to).is_err(), "an existing target is not merged into");
    }
}
