//! Opening files with the rights of another user, as the kernel sees them: modes, lists of access, directories on the way,
//! rules of a network file system. What is opened so is what that user could have opened.

use std::ffi::CString;

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, getgrouplist, getgroups, setfsgid, setfsuid, setgroups};

use super::user::{self, User};
use crate::contract::error::{Context as _, Error, Result};

/// While it lasts, this process has the further groups of that user. Only root's rights are larger, and they do not come
/// from groups.
#[derive(Debug)]
pub struct Guise {
    uid: Uid,
    gid: Gid,
    before: Vec<Gid>,
}

impl Guise {
    /// That of `user`; `None` where it would change nothing: this process is not root, or the user is.
    pub fn of(user: &User) -> Result<Option<Self>> {
        if !user::is_root() || user.uid == 0 {
            return Ok(None);
        }
        let attempt = || format!("cannot take on the groups of the user {}", user.name);
        let before = getgroups().context(attempt)?;
        setgroups(&groups(user)?).context(attempt)?;
        Ok(Some(Self { uid: Uid::from_raw(user.uid), gid: Gid::from_raw(user.gid), before }))
    }

    /// Does `work`, which opens files, with that user's rights. Other threads keep theirs.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        let _worn = Worn { gid: setfsgid(self.gid), uid: setfsuid(self.uid) };
        work()
    }
}

impl Drop for Guise {
    fn drop(&mut self) {
        // Root needs none of them; it could set others before, so it can now.
        let _ = setgroups(&self.before);
    }
}

/// Gives the thread its own rights back, also when the work panics.
struct Worn {
    uid: Uid,
    gid: Gid,
}

impl Drop for Worn {
    fn drop(&mut self) {
        setfsuid(self.uid);
        setfsgid(self.gid);
    }
}

/// All groups of a user. One that is only a number has its primary group, and those that its unit gives it.
pub fn groups(user: &User) -> Result<Vec<Gid>> {
    let gid = Gid::from_raw(user.gid);
    let name = CString::new(user.name.as_str()).ok().filter(|_| user.name != user.uid.to_string());
    let mut groups = match name {
        Some(name) => {
            getgrouplist(&name, gid).context(|| format!("cannot look up the groups of the user {}", user.name))?
        }
        None => vec![gid],
    };
    groups.extend(user.further.iter().copied().map(Gid::from_raw));
    Ok(groups)
}

/// Whether the kernel has said no.
pub fn is_denied(error: &Error) -> bool {
    error.causes().iter().any(|cause| cause == Errno::EACCES.desc())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use super::*;
    use crate::machine::files::{self, Access};
    use crate::machine::tree::Dir;

    #[test]
    fn the_kernel_is_asked_as_that_user() {
        let place = tempfile::tempdir().unwrap();
        let nobody = User::of_ids(65534, 65534);
        let Some(guise) = Guise::of(&nobody).unwrap() else { return };
        std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        files::write(&place.path().join("open"), b"o", Access::PUBLIC).unwrap();
        files::write(&place.path().join("root"), b"r", Access::PRIVATE).unwrap();
        let closed = place.path().join("closed");
        files::create_directory(&closed, 0o700).unwrap();
        files::write(&closed.join("open"), b"o", Access::PUBLIC).unwrap();
        let open = |path: &Path| {
            guise.run(|| Dir::reach(files::parent(path)?)?.unwrap().open_file(path.file_name().unwrap())).map(|_| ())
        };
        open(&place.path().join("open")).unwrap();
        for denied in ["root", "closed/open"] {
            assert!(is_denied(&open(&place.path().join(denied)).unwrap_err()), "{denied}");
        }
        assert_eq!(files::read(&place.path().join("root"), 1).unwrap(), b"r", "this thread has its own rights back");
    }
}
