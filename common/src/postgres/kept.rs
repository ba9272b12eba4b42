//! A session that is kept: one `psql` that is asked one thing after the other. A start of it takes longer than most
//! queries, and where users wait there are many.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::contract::error::{Error, Result};
use crate::machine::command::{Cmd, Talk};
use crate::machine::files;

/// How `psql` ends when its connection is lost (its manual).
const LOST: i32 = 2;

/// The session of a database and its clones; there is none before the first question, nor after an error.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    place: Arc<Mutex<Place>>,
    /// What it holds would be lost with it: no other one takes its place.
    only: bool,
}

#[derive(Debug, Default)]
struct Place {
    open: Option<Open>,
    begun: bool,
    /// What the session that is open is to be told before its next question.
    due: String,
}

#[derive(Debug)]
struct Open {
    talk: Talk,
    /// What it says behind every answer: nobody else knows it.
    end: String,
}

impl Open {
    fn begin(psql: &Cmd) -> Result<Self> {
        Ok(Self { talk: psql.talk()?, end: files::random_hexadecimal(16)? })
    }

    fn ask(&mut self, script: &str) -> Result<Vec<u8>> {
        let Self { talk, end } = self;
        // Said by `psql` and not by the server: a transaction has seen nothing by it.
        talk.ask(&format!("{script}\n;\n\\echo {end}\n"), &format!("{end}\n"))
    }
}

impl Kept {
    /// A session that no other one takes the place of.
    pub(super) fn only() -> Self {
        Self { only: true, ..Self::default() }
    }

    /// Whether it is one.
    pub(super) fn is_only(&self) -> bool {
        self.only
    }

    /// Settings that a session which begins now has in its start packet, for one that has begun already.
    pub(super) fn set(&self, settings: &[(&str, String)]) {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if place.open.is_some() {
            place.due.extend(settings.iter().map(|(name, value)| format!("SET {name} = {value};\n")));
        }
    }

    /// Gives the session that is open another limit for each question, when nobody else asks in it.
    pub(super) fn relimit(&self, limit: Duration) -> bool {
        let alone = Arc::strong_count(&self.place) == 1;
        if alone {
            let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(open) = &mut place.open {
                open.talk.relimit(limit);
            }
        }
        alone
    }

    /// What `psql` prints for a script. A session that was lost while nobody asked is begun anew, once.
    ///
    /// # Errors
    /// When the script fails, which ends the session; the next question begins another one, or fails where there is to be
    /// one only.
    pub(super) fn ask(&self, psql: impl FnOnce() -> Result<Cmd>, script: &str) -> Result<Vec<u8>> {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let due = std::mem::take(&mut place.due);
        if let Some(mut open) = place.open.take() {
            match open.ask(&format!("{due}{script}")) {
                Ok(answer) => {
                    place.open = Some(open).filter(|open| open.talk.ended().is_none());
                    return Ok(answer);
                }
                Err(_)
                    if !self.only
                        && open.talk.ended().is_some_and(|status| status.code().is_none_or(|code| code == LOST)) => {}
                Err(error) => return Err(error),
            }
        }
        if self.only && place.begun {
            return Err(Error::failed("the session has ended that held tables as they are"));
        }
        place.begun = true;
        let mut open = Open::begin(&psql()?)?;
        let answer = open.ask(script)?;
        place.open = Some(open).filter(|open| open.talk.ended().is_none());
        Ok(answer)
    }
}
