//! A name of a tree that gets another entry, and back. The other one waits in a directory that only root can change, and
//! what had the name before comes to lie there. Whether that has been done is read from inode numbers and need not be
//! believed; what has been done is not done again, as twice would undo it.

use std::ffi::OsStr;

use serde::{Deserialize, Serialize};

use super::Dir;
use crate::contract::error::{Error, Result};

/// An entry of a file system, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The file system it is on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
}

impl Identity {
    /// Of what has a name now.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn of(directory: &Dir, name: &OsStr) -> Result<Option<Self>> {
        Ok(directory.look(name)?.map(|meta| Self { device: meta.dev, inode: meta.ino }))
    }
}

/// Which of the two has the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// What had it before; or nothing has it, as before.
    Old,
    /// What was to have it; or nothing, as was to be.
    New,
}

/// A name, its counterpart, and the two entries that they have.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// The directory of the name, and the name.
    pub live: (&'a Dir, &'a OsStr),
    /// The directory of its counterpart, which only root can change, and the name there.
    pub aside: (&'a Dir, &'a OsStr),
    /// What has the name before; None where nothing has.
    pub old: Option<Identity>,
    /// What has it afterwards; None where nothing is to have it.
    pub new: Option<Identity>,
}

impl Places<'_> {
    /// Which of the two has the name; None where that cannot be told any more.
    ///
    /// # Errors
    /// When the directories cannot be read.
    pub fn place(&self) -> Result<Option<Place>> {
        let Self { old, new, .. } = *self;
        let waiting = Identity::of(self.aside.0, self.aside.1)?;
        let standing = || Identity::of(self.live.0, self.live.1);
        let (takes, leaves) = (new.is_some(), old.is_some());
        Ok(match waiting {
            Some(_) if takes && waiting == new => Some(Place::Old),
            Some(_) if leaves && waiting == old => Some(Place::New),
            // Something else had the name in the moment of the exchange, or moving gave it another number, as an overlay does
            // with what was in a lower layer.
            Some(_) if takes && leaves && standing()? == new => Some(Place::New),
            // The new one was deleted or replaced, and the old one has come back all the same.
            _ if takes && leaves => (standing()? == old).then_some(Place::Old),
            Some(_) if leaves => standing()?.is_none().then_some(Place::New),
            Some(_) => None,
            None => Some(if takes { Place::New } else { Place::Old }),
        })
    }

    /// Whether something has the name that is neither of the two.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn is_taken(&self) -> Result<bool> {
        let standing = Identity::of(self.live.0, self.live.1)?;
        Ok(standing.is_some() && standing != self.old && standing != self.new)
    }

    /// Gives the name to the new one, where it stands in the old one's place.
    ///
    /// # Errors
    /// When something else has the name than was seen when this was planned: whoever owns the tree has put it there.
    pub fn forward(&self) -> Result<()> {
        let ((live, name), (aside, counterpart)) = (self.live, self.aside);
        if Identity::of(live, name)? != self.old {
            return Err(Error::failed(format!("cannot exchange `{}`", live.path().join(name).display()))
                .because("somebody has put something else in its place since this run began"));
        }
        match (self.old, self.new) {
            (Some(_), Some(_)) => live.exchange(name, aside, counterpart),
            (None, Some(_)) => aside.move_new(counterpart, live, name),
            (Some(_), None) => live.move_new(name, aside, counterpart),
            (None, None) => Ok(()),
        }
    }

    /// Gives it back to the old one, where the new one stands in its place. What has been deleted since leaves its place to
    /// what comes back, if anything does.
    ///
    /// # Errors
    /// When the file system does not let it.
    pub fn back(&self) -> Result<()> {
        let ((live, name), (aside, counterpart)) = (self.live, self.aside);
        match (self.old, self.new) {
            (Some(_), Some(_)) if live.look(name)?.is_some() => live.exchange(name, aside, counterpart),
            (Some(_), _) => aside.move_new(counterpart, live, name),
            (None, Some(_)) if live.look(name)?.is_some() => live.move_new(name, aside, counterpart),
            (None, _) => Ok(()),
        }
    }
}
