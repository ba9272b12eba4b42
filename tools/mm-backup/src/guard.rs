//! What lies outside of the install root is stored because the configuration names it, which the service user writes. So it
//! is opened with that user's rights, and what that user could not have read is left out.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use mm_common::contract::error::Result;
use mm_common::machine::guise::{self, Guise};
use mm_common::machine::tree::{Dir, Kind as There, Meta};
use mm_common::machine::user::User;
use mm_common::mattermost::site::Installation;
use nix::unistd::Gid;

use crate::manifest::{Root, Skipped, What};
use crate::plan::Plan;

/// Why something is left out.
const UNREADABLE: &str = "the user the server runs as may not read it";
const NOT_ITS_OWN: &str = "it is no directory for uploads: the user the server runs as, or its group, must own it and be \
                           able to write to it";

/// Opens what is stored.
pub(crate) struct Guard {
    install: PathBuf,
    owner: User,
    groups: Vec<Gid>,
    guise: Option<Guise>,
    data: PathBuf,
    named: Vec<PathBuf>,
}

impl Guard {
    /// For the server of this installation.
    pub(crate) fn of(installation: &Installation, plan: &Plan) -> Result<Self> {
        let owner = installation.owner.clone();
        let groups = guise::groups(&owner)?;
        let guise = Guise::of(&owner)?;
        let (data, named) = (plan.data.clone(), plan.named.clone());
        Ok(Self { install: installation.root.clone(), owner, groups, guise, data, named })
    }

    /// Whether a root is stored because the configuration says so. What starts the service, an administrator has named.
    pub(crate) fn guards(&self, root: &Root) -> bool {
        let configured = matches!(root.what, What::Data | What::Config);
        configured && !root.path.starts_with(&self.install) && !self.is_named(&root.path)
    }

    /// Whether an administrator has named this path.
    pub(crate) fn is_named(&self, path: &Path) -> bool {
        self.named.iter().any(|named| named == path)
    }

    /// Opens something: when it is guarded, with the server's rights.
    pub(crate) fn open<T>(&self, guarded: bool, open: impl FnOnce() -> Result<T>) -> Result<T> {
        match &self.guise {
            Some(guise) if guarded => guise.run(open),
            _ => open(),
        }
    }

    /// Opens the directory that a root stands in, or says why the root is left out; `None` when it is gone.
    pub(crate) fn admit(
        &self,
        parent: &Path,
        name: &OsStr,
        path: &Path,
        guarded: bool,
    ) -> Result<Result<Option<Dir>, Skipped>> {
        // It was resolved before: a link on the way has been put there since, and is an error.
        let source = match left_out(self.open(guarded, || Dir::reach(parent)), guarded, path)? {
            Ok(Some(source)) => source,
            other => return Ok(other),
        };
        let denied = match source.look(name)?.filter(|_| guarded).map(|meta| meta.kind) {
            Some(There::Directory) => self.directory(&source, name, path, guarded)?.err(),
            Some(There::File) => left_out(self.open(guarded, || source.open_file(name)), guarded, path)?.err(),
            _ => None,
        };
        Ok(denied.map_or(Ok(Some(source)), Err))
    }

    /// Opens a directory, or says why it is left out; `None` when it is gone.
    pub(crate) fn directory(
        &self,
        source: &Dir,
        name: &OsStr,
        path: &Path,
        guarded: bool,
    ) -> Result<Result<Option<Dir>, Skipped>> {
        let opened = left_out(self.open(guarded, || source.child(name)), guarded, path)?;
        if guarded
            && path == self.data
            && let Ok(Some(top)) = &opened
            && let Some(refused) = self.refuses_uploads(path, &top.meta()?)
        {
            return Ok(Err(refused));
        }
        Ok(opened)
    }

    /// Why the top directory of uploads is left out, if it is.
    fn refuses_uploads(&self, path: &Path, top: &Meta) -> Option<Skipped> {
        let own = top.uid == self.owner.uid && top.mode & 0o200 != 0;
        let of_group = self.groups.contains(&Gid::from_raw(top.gid)) && top.mode & 0o020 != 0;
        let accepted = self.owner.uid == 0 || own || of_group;
        (!accepted).then(|| Skipped { path: path.to_owned().into(), why: NOT_ITS_OWN.into() })
    }
}

/// What the kernel does not let that user open is left out; any other failure is one.
pub(crate) fn left_out<T>(opened: Result<T>, guarded: bool, path: &Path) -> Result<Result<T, Skipped>> {
    match opened {
        Err(error) if guarded && guise::is_denied(&error) => {
            Ok(Err(Skipped { path: path.to_owned().into(), why: UNREADABLE.into() }))
        }
        other => other.map(Ok),
    }
}
