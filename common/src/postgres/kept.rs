//! Sessions that are kept: a `psql` that is asked one thing after the other. A start of it takes longer than most queries,
//! and where users wait there are many.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::contract::error::{Error, Result};
use crate::machine::command::{Cmd, Talk};
use crate::machine::files;

/// How `psql` ends when its connection is lost (its manual).
const LOST: i32 = 2;

/// The session of a database and its clones; there is none before the first question, nor after an error. Who asks while
/// it is busy gets another one, which ends with the answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    place: Arc<Mutex<Place>>,
    /// What it holds would be lost with it: no other one takes its place, and who asks waits for his turn.
    only: Option<Arc<Mutex<()>>>,
}

#[derive(Debug, Default)]
struct Place {
    idle: Option<Open>,
    begun: bool,
}

#[derive(Debug)]
struct Open {
    talk: Talk,
    /// What it says behind every answer: nobody else knows it.
    end: String,
    /// What it is to be told before its next question.
    due: String,
}

impl Open {
    fn begin(psql: &Cmd) -> Result<Self> {
        Ok(Self { talk: psql.talk()?, end: files::random_hexadecimal(16)?, due: String::new() })
    }

    fn ask(&mut self, script: &str) -> Result<Vec<u8>> {
        let Self { talk, end, due } = self;
        let due = std::mem::take(due);
        // Said by `psql` and not by the server: a transaction has seen nothing by it.
        talk.ask(&format!("{due}{script}\n;\n\\echo {end}\n"), &format!("{end}\n"))
    }

    /// Whether the server, or who stands between, has ended it.
    fn is_lost(&self) -> bool {
        self.talk.ended().is_some_and(|status| status.code().is_none_or(|code| code == LOST))
    }
}

impl Kept {
    /// A session that no other one takes the place of.
    pub(super) fn only() -> Self {
        Self { only: Some(Arc::default()), ..Self::default() }
    }

    /// Whether it is one.
    pub(super) fn is_only(&self) -> bool {
        self.only.is_some()
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Settings that a session which begins now has in its start packet, for one that has begun already.
    pub(super) fn set(&self, settings: &[(&str, String)]) {
        if let Some(open) = &mut self.place().idle {
            open.due.extend(
                settings.iter().flat_map(|(name, value)| ["SET ", name, " = ", value, ";\n"].map(str::to_owned)),
            );
        }
    }

    /// Gives the session that has begun another limit for each question, when it is nobody else's.
    pub(super) fn relimit(&self, limit: Duration) -> bool {
        let alone = Arc::strong_count(&self.place) == 1;
        if alone && let Some(open) = &mut self.place().idle {
            open.talk.relimit(limit);
        }
        alone
    }

    /// What `psql` prints for a script. A session that was lost while nobody asked is begun anew, once.
    ///
    /// # Errors
    /// When the script fails, which ends the session; the next question begins another one, or fails where there is to be
    /// one only.
    pub(super) fn ask(&self, psql: impl FnOnce() -> Result<Cmd>, script: &str) -> Result<Vec<u8>> {
        let _turn = self.only.as_ref().map(|turn| turn.lock().unwrap_or_else(PoisonError::into_inner));
        let idle = self.place().idle.take();
        if let Some(mut open) = idle {
            match open.ask(script) {
                Ok(answer) => {
                    self.keep(open);
                    return Ok(answer);
                }
                Err(_) if self.only.is_none() && open.is_lost() => {}
                Err(error) => return Err(error),
            }
        }
        if std::mem::replace(&mut self.place().begun, true) && self.only.is_some() {
            return Err(Error::failed("the session has ended that held tables as they are"));
        }
        let mut open = Open::begin(&psql()?)?;
        let answer = open.ask(script)?;
        self.keep(open);
        Ok(answer)
    }

    fn keep(&self, open: Open) {
        if open.talk.ended().is_none() {
            self.place().idle.get_or_insert(open);
        }
    }
}
