//! Acting as a user without a password: short-lived rows in `sessions` (observed to work at once from 5.29 to 11.6).
//! Everything put into the database is recorded before it is put there, so that the next run removes what a crashed
//! one left behind.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::api::Server;
use super::id;
use crate::contract::error::{Context as _, Error, Result};
use crate::contract::secret::Secret;
use crate::machine::files::{self, Access};
use crate::postgres::server::Database;

/// A session in the database.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its row.
    pub id: String,
    /// What a client shows.
    pub token: Secret,
    /// Whose it is.
    pub user: String,
}

/// The record of what is in the database because of us: a file of the state directory.
#[derive(Debug, Clone)]
pub struct Traces {
    path: PathBuf,
}

/// What was recorded; identifiers only, no tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Sessions.
    #[serde(default)]
    pub sessions: Vec<String>,
    /// Temporary users.
    #[serde(default)]
    pub users: Vec<String>,
    /// Temporary channels.
    #[serde(default)]
    pub channels: Vec<String>,
}

impl Recorded {
    /// Whether there is nothing to remove.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.users.is_empty() && self.channels.is_empty()
    }
}

impl Traces {
    /// The record at `path`. Nothing is created yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where the record is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is recorded.
    ///
    /// # Errors
    /// Failed when the record cannot be read or holds anything but identifiers: they go into statements.
    pub fn read(&self) -> Result<Recorded> {
        if files::look(&self.path)?.is_none() {
            return Ok(Recorded::default());
        }
        let broken = || format!("cannot read the record of our traces `{}`", self.path.display());
        let text = files::read(&self.path, 1024 * 1024)?;
        let recorded: Recorded = serde_json::from_slice(&text).context(broken)?;
        let ids = recorded.sessions.iter().chain(&recorded.users).chain(&recorded.channels);
        if let Some(other) = ids.into_iter().find(|text| !id::is_id(text)) {
            return Err(Error::failed(broken()).because(format!("`{other}` is not an identifier")));
        }
        Ok(recorded)
    }

    /// Changes the record, durably.
    pub fn note(&self, change: impl FnOnce(&mut Recorded)) -> Result<()> {
        let mut recorded = self.read()?;
        change(&mut recorded);
        if recorded.is_empty() {
            return files::remove_file(&self.path);
        }
        files::create_directory(files::parent(&self.path)?, 0o700)?;
        let text = serde_json::to_vec(&recorded).context(|| "cannot write the record of our traces".to_owned())?;
        files::write(&self.path, &text, Access::PRIVATE)
    }
}

impl Session {
    /// Opens a session of `user` that ends by itself after `life`. `roles` are those the session carries:
    /// `system_user`, and `system_admin` where an administrator's call is needed.
    pub fn open(database: &Database, traces: &Traces, user: &str, roles: &str, life: Duration) -> Result<Self> {
        Self::open_with(database, traces, user, roles, life, None)
    }

    /// As [`Session::open`], for a browser: with the value that it has to show beside its cookie when it writes.
    pub fn open_with(
        database: &Database,
        traces: &Traces,
        user: &str,
        roles: &str,
        life: Duration,
        csrf: Option<&Secret>,
    ) -> Result<Self> {
        if !id::is_id(user) {
            return Err(Error::failed(format!("`{user}` is not the identifier of a user")));
        }
        let session = Self { id: id::new()?, token: Secret::new(id::new()?), user: user.to_owned() };
        traces.note(|recorded| recorded.sessions.push(session.id.clone()))?;
        let now = milliseconds(SystemTime::now());
        let end = now + u64::try_from(life.as_millis()).unwrap_or(u64::MAX / 2);
        let props = csrf.map_or_else(|| "{}".to_owned(), |csrf| format!("{{\"csrf\":\"{}\"}}", csrf.reveal()));
        // `expirednotify` must not be NULL: the server reads it into a boolean (500 or 401 otherwise, observed).
        database
            .execute(&format!(
                "INSERT INTO sessions (id, token, createat, expiresat, lastactivityat, userid, deviceid, roles, \
                 isoauth, expirednotify, props) VALUES ('{}', '{}', {now}, {end}, {now}, '{user}', '', '{roles}', \
                 false, false, '{props}')",
                session.id,
                session.token.reveal()
            ))
            .context(|| "cannot open a short-lived session".to_owned())?;
        Ok(session)
    }

    /// Ends the session: logout, so that the server forgets it too, then the row, in case the server could not.
    pub fn close(&self, server: &Server, database: &Database, traces: &Traces) -> Result<()> {
        let _ = server.post("/api/v4/users/logout", Some(self.token.reveal()), &serde_json::json!({}));
        database
            .execute(&format!("DELETE FROM sessions WHERE id = '{}'", self.id))
            .context(|| "cannot remove a short-lived session".to_owned())?;
        traces.note(|recorded| recorded.sessions.retain(|id| *id != self.id))
    }
}

/// Milliseconds since 1970, as Mattermost counts time.
pub fn milliseconds(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_vanishes_when_nothing_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let traces = Traces::at(directory.path().join("deep/traces.json"));
        assert!(traces.read().unwrap().is_empty());
        let id = id::new().unwrap();
        traces.note(|recorded| recorded.sessions.push(id.clone())).unwrap();
        assert_eq!(traces.read().unwrap().sessions, [id]);
        traces.note(|recorded| recorded.sessions.clear()).unwrap();
        assert!(!traces.path().exists());
    }

    #[test]
    fn a_record_that_holds_anything_else_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let traces = Traces::at(directory.path().join("traces.json"));
        files::write(traces.path(), br#"{"users": ["' OR true --"]}"#, Access::PRIVATE).unwrap();
        assert!(traces.read().is_err());
    }
}
