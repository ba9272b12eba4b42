//! A session that is kept: one `psql` that is asked one thing after the other. A start of it takes longer than most
//! queries, and where users wait there are many.

use std::sync::{Arc, Mutex, PoisonError};

use crate::contract::error::Result;
use crate::machine::command::{Cmd, Talk};
use crate::machine::files;

/// How `psql` ends when its connection is lost (its manual).
const LOST: i32 = 2;

/// The session of a database and its clones; there is none before the first question, nor after an error.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept(Arc<Mutex<Option<Open>>>);

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
        talk.ask(&format!("{script}\n;\nSELECT '{end}';\n"), &format!("{end}\n"))
    }
}

impl Kept {
    /// What `psql` prints for a script. A session that was lost while nobody asked is begun anew, once.
    ///
    /// # Errors
    /// When the script fails, which ends the session; the next question begins another one.
    pub(super) fn ask(&self, psql: impl FnOnce() -> Result<Cmd>, script: &str) -> Result<Vec<u8>> {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut open) = place.take() {
            match open.ask(script) {
                Ok(answer) => {
                    *place = Some(open).filter(|open| open.talk.ended().is_none());
                    return Ok(answer);
                }
                Err(_) if open.talk.ended().is_some_and(|status| status.code() == Some(LOST)) => {}
                Err(error) => return Err(error),
            }
        }
        let mut open = Open::begin(&psql()?)?;
        let answer = open.ask(script)?;
        *place = Some(open).filter(|open| open.talk.ended().is_none());
        Ok(answer)
    }
}
