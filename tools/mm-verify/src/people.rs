//! Whom the checks look as: sampled users through short-lived sessions, or an account that was given.

use std::time::Duration;

use mm_common::contract::error::Context as _;
use mm_common::contract::secret::Secret;
use mm_common::machine::files;
use mm_common::mattermost::session::Session;
use mm_common::postgres::server::Database;
use mm_common::{Error, Result};
use serde_json::{Value, json};

use crate::look::Look;
use crate::plan::{self, Candidate};

/// Sessions end by themselves after this long, should nothing else end them: unless `ExtendSessionLengthWithActivity` is
/// on, when the server lengthens every session at its first call to that of a user's. The next run removes those of one
/// that was killed. A run takes seconds; a browser may take a minute.
pub(crate) const LIFE: Duration = Duration::from_secs(15 * 60);

/// Somebody to look as.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    /// User id.
    pub(crate) id: String,
    /// User name.
    pub(crate) username: String,
    /// What is shown to the server.
    pub(crate) token: Secret,
    /// Whether the user is known to be a member of a team; unknown for a given account.
    pub(crate) teams: Option<u64>,
    /// How the session came about, and so how it is ended.
    pub(crate) origin: Origin,
}

/// How a session came about.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// A row we put into the database.
    Row(Session),
    /// A login with a password: ended by logout.
    Login,
    /// A token that was given: left alone.
    Given,
}

impl Look {
    /// The people to look as. The first call opens their sessions.
    pub(crate) fn people(&mut self) -> Result<Vec<Person>> {
        if self.people.is_none() {
            let found = find(self);
            self.people = Some(found);
        }
        self.people.clone().unwrap_or_else(|| Ok(Vec::new()))
    }

    /// Ends all sessions we began.
    pub(crate) fn dismiss(&mut self) -> Result<()> {
        let Some(Ok(people)) = self.people.take() else { return Ok(()) };
        let mut first = Ok(());
        for person in people {
            let ended = match &person.origin {
                Origin::Row(session) => {
                    self.database().and_then(|database| session.close(&self.server, database, &self.traces))
                }
                Origin::Login => {
                    self.server.post("/api/v4/users/logout", Some(person.token.reveal()), &json!({})).map(drop)
                }
                Origin::Given => Ok(()),
            };
            first = first.and(ended);
        }
        first
    }

    /// Whether an account was given to look with.
    pub(crate) fn has_account(&self) -> bool {
        self.options.user.is_some() || self.options.token_file.is_some()
    }
}

fn find(look: &Look) -> Result<Vec<Person>> {
    if look.has_account() {
        return account(look).map(|person| vec![person]);
    }
    let database = look.database()?;
    let chosen = plan::sample(&candidates(look, database)?, look.options.sample);
    if chosen.is_empty() {
        return Err(Look::without("no active user is a member of a team"));
    }
    let mut people: Vec<Person> = Vec::new();
    for candidate in chosen {
        // No more rights than the least of those the user has: what members see is to be seen, not what administrators do.
        let role = if candidate.guest { "system_guest" } else { "system_user" };
        let session = Session::open(database, &look.traces, &candidate.id, role, LIFE)?;
        mm_common::machine::checkpoint::pass("verify-session-open");
        people.push(Person {
            id: candidate.id,
            username: candidate.username,
            token: session.token.clone(),
            teams: Some(candidate.teams),
            origin: Origin::Row(session),
        });
    }
    Ok(people)
}

/// Users in whom something may show: the few with most unread channels, most teams, guests, and some of no distinction
/// (by the digest of their id, so that each run looks as the same ones).
fn candidates(look: &Look, database: &Database) -> Result<Vec<Candidate>> {
    let most = look.options.sample;
    // Where a second factor is required, the server refuses those who have none, whatever session they have. Without a
    // licence the setting is there and means nothing, and perhaps nobody has one.
    let is_required =
        look.installation.config.flag("ServiceSettings", "EnforceMultifactorAuthentication") == Some(true);
    let somebody = "SELECT pg_catalog.count(*) FROM users WHERE mfaactive AND deleteat = 0";
    let is_heeded = is_required && database.value(somebody)?.as_u64().unwrap_or_default() > 0;
    let admitted = if is_heeded { "AND u.mfaactive" } else { "" };
    let rows = database
        .rows(&format!(
            "WITH team AS (
               SELECT m.userid, pg_catalog.count(*) AS teams FROM teammembers m JOIN teams t ON t.id = m.teamid
               WHERE m.deleteat = 0 AND t.deleteat = 0 GROUP BY 1),
             unread AS (
               SELECT m.userid, pg_catalog.count(*) AS unread FROM channelmembers m JOIN channels c ON c.id = m.channelid
               WHERE c.deleteat = 0 AND c.lastpostat > m.lastviewedat GROUP BY 1),
             person AS (
               SELECT u.id, u.username, team.teams, coalesce(unread.unread, 0) AS unread,
                 ' ' || u.roles || ' ' LIKE '% system_guest %' AS guest
               FROM users u JOIN team ON team.userid = u.id LEFT JOIN unread ON unread.userid = u.id
               WHERE u.deleteat = 0 {admitted} AND NOT EXISTS (SELECT 1 FROM bots b WHERE b.userid = u.id))
             (SELECT * FROM person ORDER BY unread DESC, id LIMIT {most}) UNION
             (SELECT * FROM person WHERE guest ORDER BY id LIMIT {most}) UNION
             (SELECT * FROM person ORDER BY teams DESC, id LIMIT {most}) UNION
             (SELECT * FROM person ORDER BY pg_catalog.md5(id) LIMIT {most})"
        ))
        .context(|| "cannot choose users to look as".to_owned())?;
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    Ok(rows
        .iter()
        .map(|row| Candidate {
            id: text(row, "id"),
            username: text(row, "username"),
            teams: row["teams"].as_u64().unwrap_or_default(),
            unread: row["unread"].as_u64().unwrap_or_default(),
            guest: row["guest"].as_bool().unwrap_or_default(),
        })
        .collect())
}

/// The account that was given by flags.
fn account(look: &Look) -> Result<Person> {
    let secret = |path: &std::path::Path| -> Result<Secret> {
        let text = files::read_text(path, 4096)?;
        Ok(Secret::new(text.lines().next().unwrap_or_default()))
    };
    let (token, origin) = match (&look.options.token_file, &look.options.user, &look.options.password_file) {
        (Some(path), _, _) => (secret(path)?, Origin::Given),
        (None, Some(user), Some(path)) => {
            let body = json!({ "login_id": user, "password": secret(path)?.reveal() });
            let answer = look.server.post("/api/v4/users/login", None, &body)?;
            let token = answer.header("token").filter(|_| answer.is_success()).ok_or_else(|| {
                // A 401 does not prove that the password is wrong: a lost database gives it too (observed).
                Error::failed(format!("cannot sign in as `{user}`")).because(answer.verdict())
            })?;
            (Secret::new(token), Origin::Login)
        }
        _ => return Err(Error::usage("--user needs --password-file")),
    };
    let me = look.server.get("/api/v4/users/me", Some(token.reveal()))?;
    let field = |name: &str| me.body[name].as_str().unwrap_or_default().to_owned();
    if !me.is_success() || field("id").is_empty() {
        return Err(Error::failed("cannot look as the account that was given").because(me.verdict()));
    }
    Ok(Person { id: field("id"), username: field("username"), token, teams: None, origin })
}
