//! The installation as the verbs see it that mend it: a new release whose executable is empty, damaged, may not be
//! executed or is gone is what they are for, and which one it is stands in the journal and the records.

use mm_common::contract::error::Result;
use mm_common::machine::state::State;
use mm_common::mattermost::site::{self, Ground, Installation, Supposed};
use mm_common::run::Session;

use crate::flip::Flip;
use crate::operation::{self, Operation};

/// As [`site::ground`]; a server that is gone is missed only where no swap tells of it.
pub(crate) fn ground(session: &Session) -> Result<Ground> {
    let wanted = session.wanted()?;
    let error = match site::ground(&wanted) {
        Ok(ground) => return Ok(ground),
        Err(error) => error,
    };
    match site::ground_of_ruin(&wanted) {
        Ok(ground) if supposed(&ground.state)?.is_some() => Ok(ground),
        _ => Err(error),
    }
}

/// As [`Session::probe`]; a server that does not say its version is taken for the one that the last swap has left there.
pub(crate) fn probe(session: &mut Session, ground: &Ground) -> Result<Installation> {
    match supposed(&ground.state)? {
        Some(supposed) => session.probe_ruin(&supposed),
        None => session.probe(),
    }
}

fn supposed(state: &State) -> Result<Option<Supposed>> {
    if let Some(open) = Operation::open(state)? {
        let version = if Flip::of(&open)?.server_is_new()? { open.to } else { open.from };
        return Ok(Some(Supposed { version, edition: open.edition }));
    }
    let records = operation::records(state)?;
    Ok(operation::last_finished(&records).map(|last| Supposed {
        version: if last.is_rolled_back() { last.from.clone() } else { last.to.clone() },
        edition: last.edition,
    }))
}
