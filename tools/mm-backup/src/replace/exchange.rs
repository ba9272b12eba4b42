//! The restored database and the one that is there exchange their names.

use std::time::{Duration, Instant};

use mm_common::contract::error::{Error, Kind, Result};
use mm_common::machine::checkpoint;
use mm_common::mattermost::site::Installation;
use mm_common::mattermost::way_back::{administrator, exists as has};
use mm_common::postgres::dump::{identifier, literal};
use mm_common::postgres::tried;
use serde::{Deserialize, Serialize};

use super::Prepared;
use crate::database;

/// How often the exchange is tried: between the end of the old connections and the renaming somebody may connect.
const TRIES: u32 = 20;

/// How long the sessions of a database may take to end before it is tried all the same: each ends within milliseconds.
const SESSIONS: Duration = Duration::from_secs(1);

/// The pause between two looks at them.
const SESSIONS_PAUSE: Duration = Duration::from_millis(2);

/// How long sessions of our role are waited for that may be at the renaming, because one was lost.
const RENAMING: Duration = Duration::from_secs(60);

/// The pause before the next try: short at first, as whoever has come between is gone at once, and a quarter of a second
/// in the end.
fn pause(tries: u32) -> Duration {
    Duration::from_millis(10) * (1 << tries.min(5)).min(25)
}

/// The names that an exchange changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Renaming {
    /// The name that the server uses.
    pub target: String,
    /// The restored database's name until then.
    pub new: String,
    /// The old database's name from then on; absent when there is none.
    pub kept: Option<String>,
}

/// Whether an exchange of names has been made: then nothing has the new database's first name any more.
pub(crate) fn is_done(installation: &Installation, renaming: &Renaming) -> Result<bool> {
    let admin = administrator(installation, &database::claim(installation, false, None))?.database;
    let has = |name: &str| has(&admin, name);
    let old_is_away = renaming.kept.as_deref().map_or(Ok(true), has)?;
    Ok(old_is_away && !has(&renaming.new)? && has(&renaming.target)?)
}

/// What an exchange did.
pub(crate) struct Exchanged {
    /// What it is now, for people.
    pub said: String,
    /// The old database's new name; absent when there was none.
    pub kept: Option<String>,
}

impl Prepared {
    /// What the exchange will change. Users wait from the exchange on, or sooner, so the session in which it is made is begun
    /// now.
    pub(crate) fn renaming(&mut self) -> Result<Renaming> {
        self.admin = self.admin.clone().not_cancelled();
        let kept = has(&self.admin, &self.target)?.then(|| self.kept.clone());
        Ok(Renaming { target: self.target.clone(), new: self.new.clone(), kept })
    }

    /// Exchanges the names, in one transaction. Connections to the old database are ended.
    pub(crate) fn exchange(self, renaming: &Renaming) -> Result<Exchanged> {
        let exchanged = self.rename(renaming).and_then(|exchanged| match &self.untried {
            None => Ok(exchanged),
            Some((own, could)) => match tried::as_the_server(own, *could) {
                Ok(()) => Ok(exchanged),
                // With the names as they are now the journal has to stay: whoever recovers sees that it is done.
                Err(error) => Err(match self.take_names_back(exchanged.kept.as_ref()) {
                    Ok(()) => error,
                    Err(other) => error.because(other.one_line()).of_kind(Kind::HalfDone),
                }),
            },
        });
        if exchanged.as_ref().is_err_and(|error| error.kind() != Kind::HalfDone) {
            self.give_up();
        }
        exchanged
    }

    fn rename(&self, renaming: &Renaming) -> Result<Exchanged> {
        let kept = renaming.kept.clone();
        let in_place = [(&self.new, &self.target)];
        let renamings: Vec<_> = kept.iter().map(|kept| (&self.target, kept)).chain(in_place).collect();
        self.rename_all(&renamings, self.frozen.as_ref().map_or("", |frozen| &frozen.open))?;
        checkpoint::pass("database-renamed");
        Ok(Exchanged { said: self.said.clone(), kept })
    }

    /// Takes the exchange back.
    fn take_names_back(&self, kept: Option<&String>) -> Result<()> {
        let away = [(&self.target, &self.new)];
        let renamings: Vec<_> = away.into_iter().chain(kept.map(|kept| (kept, &self.target))).collect();
        self.rename_all(&renamings, self.frozen.as_ref().map_or("", |frozen| &frozen.close))
    }

    /// Renames databases and does `then`, all or nothing. Connections to them are ended.
    ///
    /// # Errors
    /// Half done when the server does not tell whether it was done: the journal has to stay.
    fn rename_all(&self, renamings: &[(&String, &String)], then: &str) -> Result<()> {
        let rename = |(from, to): &(&String, &String)| {
            format!("ALTER DATABASE {} RENAME TO {};\n", identifier(from), identifier(to))
        };
        let sql = renamings.iter().map(rename).collect::<String>() + then;
        let begun = Instant::now();
        let mut tries = 1;
        loop {
            let ended = self.end_sessions(renamings);
            // Whoever may not end them may not do so in a moment either, and users wait.
            let is_refused = ended.is_err();
            let (error, is_known) = match ended.and_then(|()| self.admin.execute_verbatim(&sql)) {
                Ok(()) => return Ok(()),
                // A session that was lost says nothing about what it was told to do.
                Err(error) => match self.has_names(renamings, begun) {
                    Ok(true) => return Ok(()),
                    Ok(false) => (error, true),
                    Err(other) => (error.because(other.one_line()), false),
                },
            };
            if tries < TRIES && !(is_refused && is_known) {
                std::thread::sleep(pause(tries));
                tries += 1;
                continue;
            }
            let target = &self.target;
            return Err(if is_known {
                error
                    .within(format!("cannot put the restored database into the place of `{target}`"))
                    .hint("end the sessions of that database (pg_stat_activity), then run this again")
            } else {
                error
                    .within(format!("the server does not tell whether the restored database has the name `{target}`"))
                    .of_kind(Kind::HalfDone)
            });
        }
    }

    /// Ends the sessions of these databases. The renaming looks for them in steps of 100 ms (`CountOtherDBBackends` in
    /// PostgreSQL's source), and each takes a moment to end.
    fn end_sessions(&self, renamings: &[(&String, &String)]) -> Result<()> {
        let names: Vec<String> = renamings.iter().map(|(from, _)| literal(from)).collect();
        let end = format!(
            "SELECT pg_catalog.pg_terminate_backend(pid) AS ended FROM pg_catalog.pg_stat_activity
             WHERE datname IN ({}) AND pid <> pg_catalog.pg_backend_pid()",
            names.join(", ")
        );
        let begun = Instant::now();
        while !self.admin.rows(&end)?.is_empty() && begun.elapsed() < SESSIONS {
            std::thread::sleep(SESSIONS_PAUSE);
        }
        Ok(())
    }

    /// Whether the databases have their new names, once no session is at it any more: whoever renames holds the catalogue of
    /// databases to the end of his transaction.
    fn has_names(&self, renamings: &[(&String, &String)], begun: Instant) -> Result<bool> {
        let renames =
            "SELECT pg_catalog.count(*) AS n FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)
             WHERE l.locktype = 'relation' AND l.relation = 'pg_catalog.pg_database'::pg_catalog.regclass
               AND l.mode = 'RowExclusiveLock' AND a.usename = current_user AND pid <> pg_catalog.pg_backend_pid()";
        while self.admin.value(renames)? != 0 {
            if begun.elapsed() >= RENAMING {
                return Err(Error::failed("another session is still changing databases"));
            }
            std::thread::sleep(SESSIONS_PAUSE);
        }
        let has = |name: &str| has(&self.admin, name);
        for (from, to) in renamings {
            let is_reused = renamings.iter().any(|(_, name)| name == from);
            if !has(to)? || (!is_reused && has(from)?) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
