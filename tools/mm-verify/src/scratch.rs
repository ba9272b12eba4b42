//! A place to write in that nobody else sees: a temporary user, member of one team, with a private channel of its own.
//! It is put into the database directly, because a user who joins a team through the API is announced to everybody.

use std::time::SystemTime;

use mm_common::contract::error::Context as _;
use mm_common::contract::secret::Secret;
use mm_common::mattermost::id;
use mm_common::mattermost::session::{Session, milliseconds};
use mm_common::postgres::server::Database;
use mm_common::{Error, Result};
use serde_json::{Value, json};

use crate::erase::{self, PREFIX};
use crate::look::Look;
use crate::people::LIFE;

/// The temporary user and what belongs to it.
#[derive(Debug, Clone)]
pub(crate) struct Scratch {
    /// Its user.
    pub(crate) user: String,
    /// The team it is a member of.
    pub(crate) team: String,
    /// The private channel.
    pub(crate) channel: String,
    /// What is shown to the server as the user.
    pub(crate) token: Secret,
    /// A word that stands in every message of this run, and in none before.
    pub(crate) word: String,
    /// The root post, once there is one.
    pub(crate) root: Option<String>,
    /// The reply, once there is one.
    pub(crate) reply: Option<String>,
    /// What a browser shows beside its cookie when it writes.
    pub(crate) csrf: Secret,
    session: Session,
}

impl Look {
    /// The place to write in; the first call makes it.
    pub(crate) fn scratch(&mut self) -> Result<&mut Scratch> {
        if self.scratch.is_none() {
            let made = make(self, None);
            self.scratch = Some(made);
        }
        made(&mut self.scratch)
    }

    /// A temporary user like the first of those looked as, in whom faults of the data are likeliest to show: a member
    /// of the same teams, with copies of the same memberships of their main channels and of the same sidebar.
    pub(crate) fn shadow(&mut self) -> Result<&mut Scratch> {
        if self.shadow.is_none() {
            let like = self.people().ok().and_then(|people| people.first().map(|person| person.id.clone()));
            let made = make(self, like.as_deref());
            self.shadow = Some(made);
        }
        made(&mut self.shadow)
    }

    /// Removes all that was made, for good, and proves that nothing is left.
    pub(crate) fn clear(&mut self) -> Result<()> {
        // The browser first: it would go on talking to the server.
        self.visit = None;
        for scratch in [self.scratch.take(), self.shadow.take()].into_iter().flatten().flatten() {
            let token = Some(scratch.token.reveal());
            // Through the API first, so that search engines and plugins hear of it; SQL then removes what only was marked.
            for post in [&scratch.reply, &scratch.root].into_iter().flatten() {
                let _ = self.server.delete(&format!("/api/v4/posts/{post}"), token);
            }
            let _ = self.server.delete(&format!("/api/v4/channels/{}", scratch.channel), token);
            scratch.session.close(&self.server, self.database()?, &self.traces)?;
        }
        self.dismiss()?;
        erase::sweep(self.database()?, &self.traces, &self.installation).map(drop)
    }
}

fn made(place: &mut Option<Result<Scratch>>) -> Result<&mut Scratch> {
    match place {
        Some(Ok(scratch)) => Ok(scratch),
        Some(Err(error)) => Err(error.clone()),
        None => Err(Look::without("there is no place to write in")),
    }
}

fn make(look: &Look, like: Option<&str>) -> Result<Scratch> {
    let database = look.database()?;
    let whose = like.map_or_else(String::new, |like| format!("AND pg_catalog.bool_or(m.userid = '{like}')"));
    let teams = database.rows(&format!(
        "SELECT t.id FROM teams t JOIN teammembers m ON m.teamid = t.id AND m.deleteat = 0
         WHERE t.deleteat = 0 GROUP BY t.id HAVING true {whose} ORDER BY pg_catalog.count(*) DESC, t.id LIMIT 1"
    ))?;
    let team = teams.first().and_then(|row| row["id"].as_str()).unwrap_or_default().to_owned();
    if !id::is_id(&team) {
        return Err(Look::without("there is no team with members"));
    }
    let user = id::new()?;
    let word = format!("mmverify{}", &id::new()?[..12]);
    let username = format!("{PREFIX}{}", &word[8..]);
    look.traces.note(|recorded| recorded.users.push(user.clone()))?;
    insert_user(database, &user, &username, &team)?;
    if let Some(like) = like {
        copy_memberships(database, &user, &team, like)?;
    }
    mm_common::machine::checkpoint::pass("verify-user-made");
    let csrf = Secret::new(id::new()?);
    let session = Session::open_with(database, &look.traces, &user, "system_user", LIFE, Some(&csrf))?;
    let mut scratch = Scratch {
        token: session.token.clone(),
        session,
        csrf,
        channel: String::new(),
        root: None,
        reply: None,
        user,
        team,
        word,
    };
    let channel = create_channel(look, &scratch)?;
    mm_common::machine::checkpoint::pass("verify-channel-asked-for");
    look.traces.note(|recorded| recorded.channels.push(channel.clone()))?;
    scratch.channel = channel;
    step_down(look, &scratch)?;
    mm_common::machine::checkpoint::pass("verify-channel-made");
    Ok(scratch)
}

/// Inserts the user and its membership by altering copies of rows that are there: so every column of every release
/// gets a value that its server can read.
fn insert_user(database: &Database, user: &str, username: &str, team: &str) -> Result<()> {
    let now = milliseconds(SystemTime::now());
    let quiet =
        json!({ "email": "false", "push": "none", "desktop": "none", "first_name": "false", "channel": "false" });
    // Who has a second factor is let in where one is required; nobody is ever asked for it, as nobody signs in.
    let values = json!({
        "id": user, "username": username, "email": format!("{username}@localhost"), "createat": now, "updateat": now,
        "deleteat": 0, "password": "", "authdata": null, "authservice": "", "emailverified": true, "nickname": "",
        "firstname": "", "lastname": "", "position": "", "roles": "system_user", "allowmarketing": false, "props": {},
        "notifyprops": quiet, "lastpasswordupdate": now, "lastpictureupdate": 0, "failedattempts": 0, "locale": "en",
        "mfaactive": true, "mfasecret": "", "mfausedtimestamps": null, "timezone": {}, "remoteid": null, "lastlogin": 0,
    });
    let member = json!({
        "teamid": team, "userid": user, "roles": "", "deleteat": 0, "schemeuser": true, "schemeadmin": false,
        "schemeguest": false, "createat": now,
    });
    let copy = |table: &str, values: &Value, of: &str| {
        // The values are ours and hold no quote; doubling them costs nothing.
        let values = values.to_string().replace('\'', "''");
        format!(
            "INSERT INTO {table} SELECT (pg_catalog.jsonb_populate_record(x, '{values}')).* FROM {table} x WHERE {of} LIMIT 1;\n"
        )
    };
    let ordinary = "x.deleteat = 0 AND NOT EXISTS (SELECT 1 FROM bots b WHERE b.userid = x.id)";
    let membership = format!("x.teamid = '{team}' AND x.deleteat = 0");
    database
        .execute(&(copy("users", &values, ordinary) + &copy("teammembers", &member, &membership)))
        .context(|| "cannot make a temporary user".to_owned())
}

/// Gives `user` what `like` has: its other teams, its memberships of their main channels, its sidebar. Values that are
/// NULL there are NULL here, which is the point.
///
/// The list of first tasks, which clients since 2022 show a new user, would cover the page (observed with 10.6.0 and
/// 10.11.6; older ones do not know the preferences), and so would an organisation's own terms that it has not accepted
/// (source of the client).
fn copy_memberships(database: &Database, user: &str, team: &str, like: &str) -> Result<()> {
    let to_user = format!("jsonb_build_object('userid', '{user}')");
    let now = milliseconds(SystemTime::now());
    database
        .execute(&format!(
            "INSERT INTO teammembers SELECT (pg_catalog.jsonb_populate_record(m, {to_user} || pg_catalog.jsonb_build_object(
               'roles', '', 'schemeadmin', false))).* FROM teammembers m
             WHERE m.userid = '{like}' AND m.deleteat = 0 AND m.teamid <> '{team}';
             INSERT INTO channelmembers SELECT (pg_catalog.jsonb_populate_record(m, {to_user} || pg_catalog.jsonb_build_object(
               'roles', '', 'schemeadmin', false))).* FROM channelmembers m JOIN channels c ON c.id = m.channelid
             WHERE m.userid = '{like}' AND c.name = 'town-square' AND c.deleteat = 0;
             INSERT INTO sidebarcategories SELECT (pg_catalog.jsonb_populate_record(s, {to_user} || pg_catalog.jsonb_build_object(
               'id', pg_catalog.replace(s.id, '{like}', '{user}')))).* FROM sidebarcategories s
             WHERE s.userid = '{like}' AND s.id LIKE '%{like}%';
             INSERT INTO preferences (userid, category, name, value) VALUES
               ('{user}', 'onboarding_task_list', 'onboarding_task_list_show', 'false'),
               ('{user}', 'onboarding_task_list', 'onboarding_task_list_open', 'false');
             INSERT INTO usertermsofservice (userid, termsofserviceid, createat)
               SELECT '{user}', t.id, {now} FROM termsofservice t ORDER BY t.createat DESC LIMIT 1"
        ))
        .context(|| "cannot make a temporary user like a real one".to_owned())
}

fn create_channel(look: &Look, scratch: &Scratch) -> Result<String> {
    let name = format!("{PREFIX}{}", &scratch.word[8..]);
    let body = json!({ "team_id": scratch.team, "name": name, "display_name": name, "type": "P" });
    let mut answer = look.server.post("/api/v4/channels", Some(scratch.token.reveal()), &body)?;
    if answer.status == 403 {
        // Members may be kept from making channels; a session that carries the administrator's role may.
        let roles = "system_user system_admin";
        let administrator = Session::open(look.database()?, &look.traces, &scratch.user, roles, LIFE)?;
        answer = look.server.post("/api/v4/channels", Some(administrator.token.reveal()), &body)?;
        administrator.close(&look.server, look.database()?, &look.traces)?;
    }
    match answer.body["id"].as_str() {
        Some(channel) if answer.is_success() && id::is_id(channel) => Ok(channel.to_owned()),
        _ => Err(Error::failed("cannot make a private channel to write in").because(answer.verdict())),
    }
}

/// Who makes a channel is its administrator and may write whatever members may. What is to be seen is what members may.
fn step_down(look: &Look, scratch: &Scratch) -> Result<()> {
    let (channel, user) = (&scratch.channel, &scratch.user);
    let path = format!("/api/v4/channels/{channel}/members/{user}/schemeRoles");
    let body = json!({ "scheme_user": true, "scheme_admin": false });
    let answer = look.server.put(&path, Some(scratch.token.reveal()), &body)?;
    if answer.is_success() {
        return Ok(());
    }
    // The call may be forbidden to channel administrators too.
    look.database()?
        .execute(&format!(
            "UPDATE channelmembers SET schemeadmin = false WHERE channelid = '{channel}' AND userid = '{user}'"
        ))
        .context(|| "cannot make the temporary user an ordinary member".to_owned())
}
