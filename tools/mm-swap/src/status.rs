//! `mm-swap status`: what is installed, what is staged, retired and interrupted. Changes nothing and needs no lock.

use std::path::PathBuf;

use mm_common::contract::error::Result;
use mm_common::machine::door::Open;
use mm_common::machine::service::hold;
use mm_common::machine::{files, tree};
use mm_common::run::Session;
use serde::Serialize;

use crate::operation::{self, Operation, Verdict};
use crate::{area, door, human, private, prune, standing};

/// What there is to say.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    pub(crate) installed: String,
    pub(crate) running: bool,
    /// Address of a private server.
    pub(crate) private_address: Option<String>,
    /// The swap that was cut off.
    pub(crate) interrupted: Option<String>,
    /// Runs of other tools that were cut off.
    pub(crate) open: Vec<Open>,
    /// Whether nobody can start the server before that is recovered.
    pub(crate) held: bool,
    /// Swaps whose old (or, if undone, new) release is kept.
    pub(crate) kept: Vec<Kept>,
    /// Releases that were staged and not used, and remains of runs that were cut off.
    pub(crate) staged: Vec<Sized>,
}

/// A finished swap.
#[derive(Debug, Serialize)]
pub(crate) struct Kept {
    pub(crate) id: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) undone: bool,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

/// A directory and its size.
#[derive(Debug, Serialize)]
pub(crate) struct Sized {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

/// Carries the verb out.
pub(crate) fn status(session: &mut Session) -> Result<String> {
    let ground = standing::ground(session)?;
    let site = standing::probe(session, &ground)?;
    let area = area::place(&site.root)?;
    let open = Operation::open(&site.state)?;
    let records = operation::records(&site.state)?;
    let known: Vec<PathBuf> = records.iter().chain(&open).map(|operation| operation.aside.clone()).collect();
    let mut kept = Vec::new();
    for record in records {
        // Of a rollback the record stays when its release is pruned.
        if record.is_rolled_back() && files::look(&record.aside)?.is_none() {
            continue;
        }
        let bytes = tree::size(&record.aside)?.bytes;
        kept.push(Kept {
            id: record.id,
            from: record.from.to_string(),
            to: record.to.to_string(),
            undone: record.verdict == Verdict::Undone,
            path: record.aside,
            bytes,
        });
    }
    let mut staged = Vec::new();
    for path in prune::unknown(&area, &known)? {
        staged.push(Sized { bytes: tree::size(&path)?.bytes, path });
    }
    let foreign = door::foreign(&ground.state, &ground.root)?;
    let status = Status {
        installed: site.version.to_string(),
        running: site.service.is_running()?,
        private_address: private::noted(&site.state)?.map(|address| private::url(&address)),
        held: (open.is_some() || !foreign.is_empty()) && hold::is_held(&site.root)?,
        open: foreign,
        interrupted: open.map(|open| format!("from {} to {}", open.from, open.to)),
        kept,
        staged,
    };
    session.human = Some(human::status(&status));
    session.document.set("status", &status)?;
    Ok(format!("{} is installed", site.version))
}
