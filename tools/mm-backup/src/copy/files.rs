//! The files of a copy. While they are made the directory above them is root's and closed: whoever they will belong to has
//! no way to them and no descriptor of one. They are handed over when everything is done.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use mm_common::contract::error::{Error, Kind as Fault, Result};
use mm_common::contract::shell;
use mm_common::machine::guise::Guise;
use mm_common::machine::tree::Dir;
use mm_common::machine::user::User;
use mm_common::machine::{files, trust};
use mm_common::mattermost::config::environment;

use super::contents::Contents;
use super::place::Place;
use crate::manifest::{Kind, Reader};
use crate::restore_files::{self, Selection};
use crate::salvage;
use crate::stage::Owners;
use crate::store::Point;

/// A configuration with all that plugins keep in it stays far below this.
const MOST: u64 = 64 << 20;

/// Why the directory for uploaded files is not empty in a copy without them: mm-backup takes an empty one, beside a database
/// that names uploads, for a file system that is not mounted.
const WITHOUT: (&str, &[u8]) = ("no-uploads.txt", b"The restore point of this copy was made without uploads.\n");

/// Where a copy may be: in a directory that nobody else can make entries in, or take ours away from, and that the server's
/// user can pass through.
///
/// # Errors
/// Refused otherwise.
pub(crate) fn require_parent(directory: &Path, user: &User) -> Result<()> {
    let parent = files::parent(directory)?;
    for above in parent.ancestors() {
        let data = std::fs::metadata(above).map_err(|error| Error::io("look at", above, error))?;
        // Where everybody may make entries, nobody may take away those of others.
        let is_shared = data.uid() == 0 && data.permissions().mode() & 0o1000 != 0;
        if let Some(fault) = trust::fault(&data).filter(|_| !is_shared) {
            return Err(Error::refused(format!("no copy is made below `{}`", above.display()))
                .because(fault)
                .because("whoever can write there can exchange the copy for something else")
                .hint("name another directory with --into, such as one in /srv"));
        }
    }
    // To look for a name in there is to pass through it.
    let name = directory.file_name().unwrap_or_default();
    let passes = || Dir::reach(parent)?.map(|dir| dir.look(name)).transpose();
    let found = Guise::of(user)?.map_or_else(passes, |guise| guise.run(passes));
    if found.is_ok_and(|found| found.is_some()) {
        return Ok(());
    }
    Err(Error::refused(format!("the copy's server could not get to `{}`", directory.display()))
        .because(format!("a directory above it does not let the user {} pass", user.name))
        .hint(format!("name another directory with --into, or look at the modes: namei -l {}", shell::word(parent))))
}

fn set(file: &std::fs::File, shown: &Path, (uid, gid): (u32, u32), mode: u32) -> Result<()> {
    fchown(file, Some(uid), Some(gid))
        .and_then(|()| file.set_permissions(Permissions::from_mode(mode)))
        .map_err(|error| Error::io("change owner and mode of", shown, error))
}

/// Makes the directory of a copy, closed. Returns its device and inode.
pub(crate) fn make_directory(directory: &Path) -> Result<(u64, u64)> {
    let parent = Dir::open_following(files::parent(directory)?)?;
    let name = directory.file_name().ok_or_else(|| Error::usage(format!("`{}` has no name", directory.display())))?;
    let made = parent.create_directory(name)?;
    let meta = made.meta()?;
    if meta.uid != 0 || meta.mode != 0o700 || !made.names()?.is_empty() {
        return Err(Error::refused(format!("`{}` is not the directory that was just made", directory.display()))
            .because("somebody who may write beside it has exchanged it"));
    }
    made.create_directory(OsStr::new("state"))?;
    Ok((meta.dev, meta.ino))
}

/// The files of a copy.
pub(crate) struct Files<'a> {
    pub place: &'a Place,
    pub contents: &'a Contents,
    pub user: &'a User,
}

impl Files<'_> {
    /// Restores them, leads links below the copy, and lets the server's user pass through the directories above its own.
    ///
    /// # Errors
    /// Failed also when a file of the restore point is damaged.
    pub(crate) fn fill(&self, point: &Point) -> Result<()> {
        let (_, left_out) = restore_files::below(point, &Selection::Everything, &self.place.files())?;
        if !left_out.is_empty() {
            return Err(salvage::error(&point.head, &left_out, "the copy would be complete").of_kind(Fault::Failed));
        }
        let roots = &point.head.roots;
        let top = self.top()?;
        self.let_pass(&top)?;
        for above in roots.iter().flat_map(|root| root.path.ancestors().skip(1)) {
            let is_made = above != Path::new("/") && !roots.iter().any(|root| above.starts_with(&root.path));
            if let Some(dir) = top.descend(below(above))?.filter(|_| is_made) {
                self.let_pass(&dir)?;
            }
        }
        self.lead_links(point, &top)
    }

    fn top(&self) -> Result<Dir> {
        Dir::open(&self.place.files())
    }

    /// A directory of root's that the server's user may pass through, and nobody else.
    fn let_pass(&self, dir: &Dir) -> Result<()> {
        set(dir.file(), dir.path(), (0, self.user.gid), 0o710)
    }

    /// Links that lead out of the copy would lead to the files of the original.
    fn lead_links(&self, point: &Point, top: &Dir) -> Result<()> {
        let owners = Owners::new(&point.head);
        let mut reader = Reader::open(&point.path)?;
        while let Some(entry) = reader.next()? {
            let link = entry.path();
            let Some(target) =
                Some(link).filter(|_| entry.kind == Kind::Symlink).and_then(|it| self.contents.leads_out(it))
            else {
                continue;
            };
            let (Some(name), Some(dir)) = (link.file_name(), top.descend(below(files::parent(link)?))?) else {
                continue;
            };
            dir.remove_entry(name)?;
            dir.create_symlink(name, self.place.below(&target).as_os_str())?;
            owners.attributes(&entry).apply_to_symlink(&dir, name)?;
        }
        Ok(())
    }

    /// The configuration file, where its links lead.
    fn config_file(&self, named: &Path) -> PathBuf {
        self.contents.resolve(named)
    }

    /// The text of the configuration file that the original's `named` leads to; `None` where there is none, or it is empty.
    pub(crate) fn read_config(&self, named: &Path) -> Result<Option<String>> {
        let path = self.place.below(&self.config_file(named));
        if files::look(&path)?.is_none_or(|data| data.len() == 0) {
            return Ok(None);
        }
        files::read_text(&path, MOST).map(Some)
    }

    /// Writes the configuration to where the server looks for it by itself, and takes away what would outrank it.
    pub(crate) fn write_config(&self, text: &str) -> Result<()> {
        let path = self.config_file(&self.place.install.join("config/config.json"));
        let dir = self.make(files::parent(&path)?)?;
        let name = path.file_name().unwrap_or(OsStr::new("config.json"));
        dir.remove_entry(name)?;
        let mut file = dir.create_file(name)?;
        let shown = dir.path().join(name);
        file.write_all(text.as_bytes()).map_err(|error| Error::io("write", &shown, error))?;
        set(&file, &shown, (self.user.uid, self.user.gid), 0o600)?;
        file.sync_all().map_err(|error| Error::io("write", &shown, error))?;
        let variables = self
            .contents
            .resolve(&self.place.install.join("config"))
            .join(Path::new(environment::DOCUMENTED).file_name().unwrap_or_default());
        if let Some(dir) = self.top()?.descend(below(files::parent(&variables)?))? {
            dir.remove_entry(variables.file_name().unwrap_or_default())?;
        }
        Ok(())
    }

    /// Makes the directories that the configuration names, where they are not there: only what is made is given away.
    pub(crate) fn make_named(&self, directories: &[PathBuf]) -> Result<()> {
        for directory in directories {
            let original = Path::new("/").join(directory.strip_prefix(self.place.files()).unwrap_or(directory));
            self.make(&self.contents.resolve(&original))?;
        }
        Ok(())
    }

    /// The directory for uploaded files; one without any is not left empty.
    pub(crate) fn make_uploads(&self, original: &Path) -> Result<()> {
        let dir = self.make(&self.contents.resolve(original))?;
        if dir.names()?.is_empty() {
            let (name, text) = WITHOUT;
            let mut file = dir.create_file(OsStr::new(name))?;
            let shown = dir.path().join(name);
            file.write_all(text).map_err(|error| Error::io("write", &shown, error))?;
            set(&file, &shown, (self.user.uid, self.user.gid), 0o644)?;
        }
        Ok(())
    }

    /// The directory at a path of the original, made where it is not there. Outside of the install root the last one is the
    /// server's user's, and those above it are root's.
    fn make(&self, original: &Path) -> Result<Dir> {
        let mut dir = self.top()?;
        let mut path = PathBuf::from("/");
        for name in below(original) {
            path.push(name);
            dir = if let Some(child) = dir.child(name)? {
                child
            } else {
                let made = dir.create_directory(name)?;
                if path.starts_with(&self.place.install) || path == original {
                    set(made.file(), made.path(), (self.user.uid, self.user.gid), 0o750)?;
                } else {
                    self.let_pass(&made)?;
                }
                made
            };
        }
        Ok(dir)
    }

    /// Hands the copy over: from now on nothing in it is touched by path but as the server's user.
    pub(crate) fn open(&self) -> Result<()> {
        self.let_pass(&Dir::open(&self.place.directory)?)
    }
}

fn below(original: &Path) -> &Path {
    original.strip_prefix("/").unwrap_or(original)
}
