//! Whose the server is, by what is installed, where no unit says so. What somebody else could have put there says nothing, and
//! neither does a process: everybody may run what is installed.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::contract::error::{Error, Result};
use crate::contract::shell;
use crate::machine::service::process::EXECUTABLES;
use crate::machine::tree::{Dir, Kind, Meta};
use crate::machine::user::User;

/// User and group.
type Ids = (u32, u32);

/// What is seen of an installation.
#[derive(Debug, Default)]
struct Seen {
    /// The install root and `bin`.
    above: Vec<Meta>,
    executable: Option<Ids>,
    /// What a server writes to: its logs and its configuration.
    written: Vec<Ids>,
    /// What it writes to besides, as far as that is no link: where it is hardened, that alone may be its user's.
    further: Vec<Ids>,
    /// Part of that is behind a link, where others may have put what is there.
    linked: bool,
}

impl Seen {
    /// Whether nobody but root could have put the executable there.
    fn is_roots(&self) -> bool {
        let closed = |meta: &Meta| {
            let others = if meta.gid == 0 { 0o002 } else { 0o022 };
            meta.uid == 0 && meta.mode & others == 0
        };
        self.above.iter().all(closed)
    }

    /// The owner of the executable. Root's in a tree of root's is a hardened installation, of whoever has its logs or
    /// configuration; root's where others can write was put there by them.
    fn owner(&self) -> Option<Ids> {
        let executable = self.executable.or_else(|| self.above.last().map(ids))?;
        if executable.0 != 0 {
            return Some(executable);
        }
        let of_another = |found: &[Ids]| found.iter().copied().find(|(uid, _)| *uid != 0);
        if self.is_roots() {
            return of_another(&self.written)
                .or_else(|| of_another(&self.further))
                .or((!self.linked).then_some(executable));
        }
        of_another(&self.above.iter().rev().map(ids).collect::<Vec<_>>()).or_else(|| self.common())
    }

    /// The one user, not root, whom all that a server writes to belongs to: others can write above it, and everyone of them would
    /// have had to be that user. What is behind a link says nothing.
    fn common(&self) -> Option<Ids> {
        let first = self.written.first().filter(|(uid, _)| *uid != 0 && !self.linked)?;
        self.written.iter().all(|(uid, _)| uid == &first.0).then_some(*first)
    }
}

fn ids(meta: &Meta) -> Ids {
    (meta.uid, meta.gid)
}

/// The user that the files of an installation say the server runs as; root only where nobody else could write any of them.
///
/// # Errors
/// Refused when they do not say.
pub(super) fn owner(root: &Path) -> Result<User> {
    let dir = Dir::open(root)?;
    let mut seen = Seen { above: vec![dir.meta()?], ..Seen::default() };
    if let Some(bin) = dir.child("bin".as_ref())? {
        seen.above.push(bin.meta()?);
        for name in EXECUTABLES {
            seen.executable = seen.executable.or(bin.look(name.as_ref())?.as_ref().map(ids));
        }
    }
    for name in ["logs", "config"] {
        let Some(meta) = dir.look(name.as_ref())? else { continue };
        if meta.kind == Kind::Symlink {
            seen.linked = true;
            seen.written.extend(std::fs::metadata(root.join(name)).ok().map(|data| (data.uid(), data.gid())));
        } else {
            seen.written.push(ids(&meta));
        }
    }
    let client = dir.look("client".as_ref())?.filter(|meta| meta.kind == Kind::Directory);
    let client = client.and_then(|_| dir.child("client".as_ref()).transpose()).transpose()?;
    for (place, name) in [(Some(&dir), "data"), (Some(&dir), "plugins"), (client.as_ref(), "plugins")] {
        let meta = place.map(|place| place.look(name.as_ref())).transpose()?.flatten();
        seen.further.extend(meta.filter(|meta| meta.kind == Kind::Directory).as_ref().map(ids));
    }
    seen.owner().map(|(uid, gid)| User::of_ids(uid, gid)).ok_or_else(|| {
        Error::refused(format!("nothing says as which user the server in `{}` runs", root.display()))
            .because(
                "its executable is root's, and others than root could have put it, its logs or its configuration there",
            )
            .hint(format!(
                "give the executable to that user (`chown USER {}`), or let a unit of systemd say it (User=)",
                shell::word(root.join("bin").join(EXECUTABLES[0]))
            ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory((uid, gid): Ids, mode: u32) -> Meta {
        Meta { mode, uid, gid, ..Dir::open(Path::new("/")).unwrap().meta().unwrap() }
    }

    #[test]
    fn the_user_is_that_of_what_nobody_else_could_have_put_there() {
        const ROOT: Ids = (0, 0);
        const CHAT: Ids = (70, 71);
        let closed = || vec![directory(ROOT, 0o755), directory(ROOT, 0o755)];
        let seen = |above, executable, written: &[Ids]| Seen {
            above,
            executable: Some(executable),
            written: written[..2.min(written.len())].to_vec(),
            further: written[2.min(written.len())..].to_vec(),
            linked: false,
        };
        for (above, executable, written, expected) in [
            (closed(), CHAT, &[ROOT, ROOT][..], Some(CHAT)),
            // Hardened.
            (closed(), ROOT, &[CHAT, ROOT], Some(CHAT)),
            (closed(), ROOT, &[ROOT, CHAT], Some(CHAT)),
            (vec![directory(ROOT, 0o775), directory(ROOT, 0o755)], ROOT, &[CHAT], Some(CHAT)),
            (closed(), ROOT, &[ROOT, ROOT], Some(ROOT)),
            // A file of root's, put where the owner is looked up.
            (vec![directory(CHAT, 0o755), directory(CHAT, 0o755)], ROOT, &[ROOT, ROOT], Some(CHAT)),
            (vec![directory(CHAT, 0o755), directory(ROOT, 0o755)], ROOT, &[ROOT, ROOT], Some(CHAT)),
            // Hardened, and all but what is uploaded is root's.
            (closed(), ROOT, &[ROOT, ROOT, CHAT], Some(CHAT)),
            // Others can write there, and all that a server writes is one user's.
            (vec![directory((0, 71), 0o2775), directory((0, 71), 0o2775)], ROOT, &[CHAT, CHAT], Some(CHAT)),
            (vec![directory((0, 71), 0o2775), directory((0, 71), 0o2775)], ROOT, &[CHAT, (72, 71)], None),
            // Others can write there, and who they are is not said.
            (vec![directory((0, 71), 0o775), directory(ROOT, 0o755)], ROOT, &[ROOT, ROOT], None),
            (vec![directory(ROOT, 0o755), directory(ROOT, 0o777)], ROOT, &[CHAT, ROOT], None),
        ] {
            let what = format!("{above:?} {executable:?} {written:?}");
            assert_eq!(seen(above, executable, written).owner(), expected, "{what}");
        }
        let linked = |written| Seen { linked: true, ..seen(closed(), ROOT, written) };
        assert_eq!(linked(&[ROOT, CHAT]).owner(), Some(CHAT));
        assert_eq!(linked(&[ROOT, ROOT]).owner(), None);
    }
}
