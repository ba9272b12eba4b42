//! Finds entries below one directory, whatever the length of their paths.

use std::path::{Path, PathBuf};

use super::Dir;
use crate::contract::error::Result;

/// Reaches directories through descriptors, none of them by a link. The last one stays open: who goes through entries in
/// their order asks for the same one again and again.
#[derive(Debug)]
pub struct Finder {
    top: Dir,
    last: Option<(PathBuf, Dir)>,
}

impl Finder {
    /// Below `top`.
    pub fn new(top: Dir) -> Self {
        Self { top, last: None }
    }

    /// The directory at `below`; `None` when nothing, or anything that is no directory, is there or on the way.
    pub fn directory(&mut self, below: &Path) -> Result<Option<&Dir>> {
        if self.last.as_ref().is_none_or(|(path, _)| path != below) {
            self.last = self.top.descend_directories(below)?.map(|dir| (below.to_owned(), dir));
        }
        Ok(self.last.as_ref().map(|(_, dir)| dir))
    }
}
