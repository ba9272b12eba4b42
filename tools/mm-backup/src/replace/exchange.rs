//! The restored database and the one that is there exchange their names.

use std::time::Duration;

use mm_common::contract::error::{Kind, Result};
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
        self.admin = self.admin.clone().not_cancelled().kept();
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
    fn rename_all(&self, renamings: &[(&String, &String)], then: &str) -> Result<()> {
        let rename = |(from, to): &(&String, &String)| {
            format!("ALTER DATABASE {} RENAME TO {};\n", identifier(from), identifier(to))
        };
        let sql = renamings.iter().map(rename).collect::<String>() + then;
        let names: Vec<String> = renamings.iter().map(|(from, _)| literal(from)).collect();
        let end_sessions = format!(
            "SELECT pg_catalog.pg_terminate_backend(pid) AS ended FROM pg_catalog.pg_stat_activity
             WHERE datname IN ({}) AND pid <> pg_catalog.pg_backend_pid()",
            names.join(", ")
        );
        let mut tries = 1;
        loop {
            self.admin.rows(&end_sessions)?;
            match self.admin.execute_verbatim(&sql) {
                Ok(()) => return Ok(()),
                Err(_) if tries < TRIES => std::thread::sleep(pause(tries)),
                Err(error) => {
                    return Err(error
                        .within(format!("cannot put the restored database into the place of `{}`", self.target))
                        .hint("end the sessions of that database (pg_stat_activity), then run this again"));
                }
            }
            tries += 1;
        }
    }
}
