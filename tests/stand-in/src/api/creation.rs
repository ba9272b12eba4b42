//! What an administrator (or a user who may) creates: users, teams, channels, memberships. New rows are written in full.

use serde_json::Value;

use super::call::{ApiError, created, done, ok};
use super::{Call, Reply, shapes};
use crate::database::Insert;
use crate::emulated::Version;
use crate::text;

pub(super) fn route(call: &Call<'_>) -> Option<Reply> {
    Some(match (call.method(), call.path) {
        ("POST", ["users"]) => user(call),
        ("POST", ["teams"]) => call.session().and_then(|_| team(call)),
        ("POST", ["teams", team, "members"]) => call.session().and_then(|_| team_member(call, team)),
        ("DELETE", ["teams", team, "members", user]) => call.user(user).and_then(|user| leave_team(call, team, &user)),
        ("POST", ["channels"]) => call.session().and_then(|_| channel(call)),
        ("POST", ["channels", "direct"]) => call.session().and_then(|_| direct(call)),
        ("POST", ["channels", channel, "members"]) => call.session().and_then(|_| channel_member(call, channel)),
        ("DELETE", ["channels", channel, "members", user]) => {
            call.user(user).and_then(|user| leave(call, channel, &user))
        }
        _ => return None,
    })
}

/// Rows of new things, in the columns that `version` writes. Used by the seeder too.
pub(crate) mod rows {
    use super::{Insert, Version, text};

    pub(crate) const NOTIFY: &str = r#"{"desktop":"default","email":"default","ignore_channel_mentions":"default","mark_unread":"all","push":"default"}"#;

    pub(crate) fn user(
        version: Version,
        id: &str,
        name: &str,
        email: &str,
        password: &str,
        roles: &str,
        at: i64,
    ) -> String {
        let notify = r#"{"channel":"true","comments":"never","desktop":"mention","desktop_sound":"true","email":"true","first_name":"false","mention_keys":"","push":"mention","push_status":"away"}"#;
        let salt: String = id.chars().take(8).collect();
        Insert::into("users")
            .text("id", id)
            .int("createat", at)
            .int("updateat", at)
            .int("deleteat", 0)
            .text("username", name)
            .text("password", &text::hashed(password, &salt))
            .null("authdata")
            .text("authservice", "")
            .text("email", email)
            .bool("emailverified", false)
            .text("nickname", "")
            .text("firstname", "")
            .text("lastname", "")
            .text("position", "")
            .text("roles", roles)
            .bool("allowmarketing", false)
            .text("props", "{}")
            .text("notifyprops", notify)
            .int("lastpasswordupdate", at)
            .int("lastpictureupdate", 0)
            .int("failedattempts", 0)
            .text("locale", "en")
            .text("timezone", r#"{"automaticTimezone":"","manualTimezone":"","useAutomaticTimezone":"true"}"#)
            .bool("mfaactive", false)
            .text("mfasecret", "")
            .when(version.at_least(5, 32), |insert| insert.text("remoteid", ""))
            .sql()
    }

    pub(crate) fn team(id: &str, name: &str, display: &str, email: &str, open: bool, at: i64) -> String {
        Insert::into("teams")
            .text("id", id)
            .int("createat", at)
            .int("updateat", at)
            .int("deleteat", 0)
            .text("displayname", display)
            .text("name", name)
            .text("description", "")
            .text("email", email)
            .text("type", if open { "O" } else { "I" })
            .text("companyname", "")
            .text("alloweddomains", "")
            .text("inviteid", &text::id_for(&format!("invite {id}")))
            .bool("allowopeninvite", open)
            .int("lastteamiconupdate", 0)
            .null("schemeid")
            .null("groupconstrained")
            .sql()
    }

    /// `kind`: user, admin or guest.
    pub(crate) fn team_member(version: Version, team: &str, user: &str, kind: &str, at: i64) -> String {
        Insert::into("teammembers")
            .text("teamid", team)
            .text("userid", user)
            .text("roles", "")
            .int("deleteat", 0)
            .bool("schemeuser", kind != "guest")
            .bool("schemeadmin", kind == "admin")
            .bool("schemeguest", kind == "guest")
            .when(version.at_least(7, 4), |insert| insert.int("createat", at))
            .on_conflict("ON CONFLICT (teamid, userid) DO UPDATE SET deleteat = 0")
            .sql()
    }

    /// What a new channel is made of.
    pub(crate) struct Channel<'a> {
        pub(crate) id: &'a str,
        pub(crate) team: &'a str,
        pub(crate) kind: &'a str,
        pub(crate) name: &'a str,
        pub(crate) display: &'a str,
        pub(crate) creator: &'a str,
        pub(crate) at: i64,
    }

    pub(crate) fn channel(version: Version, new: &Channel<'_>) -> String {
        let channel = Insert::into("channels")
            .text("id", new.id)
            .int("createat", new.at)
            .int("updateat", new.at)
            .int("deleteat", 0)
            .text("teamid", new.team)
            .text("type", new.kind)
            .text("displayname", new.display)
            .text("name", new.name)
            .text("header", "")
            .text("purpose", "")
            .int("lastpostat", new.at)
            .int("totalmsgcount", 0)
            .int("extraupdateat", 0)
            .text("creatorid", new.creator)
            .null("schemeid")
            .null("groupconstrained")
            .when(version.at_least(5, 35), |insert| insert.null("shared").int("totalmsgcountroot", 0))
            .when(version.at_least(6, 3), |insert| insert.int("lastrootpostat", new.at))
            .sql();
        if new.kind != "O" {
            return channel;
        }
        let public = Insert::into("publicchannels")
            .text("id", new.id)
            .int("deleteat", 0)
            .text("teamid", new.team)
            .text("displayname", new.display)
            .text("name", new.name)
            .text("header", "")
            .text("purpose", "");
        channel + &public.sql()
    }

    pub(crate) fn channel_member(version: Version, channel: &str, user: &str, kind: &str, at: i64) -> String {
        let member = Insert::into("channelmembers")
            .text("channelid", channel)
            .text("userid", user)
            .text("roles", "")
            .int("lastviewedat", 0)
            .int("msgcount", 0)
            .int("mentioncount", 0)
            .text("notifyprops", NOTIFY)
            .int("lastupdateat", at)
            .bool("schemeuser", kind != "guest")
            .bool("schemeadmin", kind == "admin")
            .bool("schemeguest", kind == "guest")
            .when(version.at_least(5, 35), |insert| insert.int("mentioncountroot", 0).int("msgcountroot", 0))
            .when(version.at_least(7, 7), |insert| insert.int("urgentmentioncount", 0))
            .on_conflict("ON CONFLICT DO NOTHING");
        let history = Insert::into("channelmemberhistory")
            .text("channelid", channel)
            .text("userid", user)
            .int("jointime", at)
            .on_conflict("ON CONFLICT DO NOTHING");
        member.sql() + &history.sql()
    }
}

fn user(call: &Call<'_>) -> Reply {
    let body = call.request.json();
    let (name, email, password) =
        (Call::given(&body, "username")?, Call::given(&body, "email")?, Call::given(&body, "password")?);
    let first = call.database().number("SELECT count(*) FROM users", &[])? == 0;
    let admin = call.session.is_some() && call.can("manage_system")?;
    if !first && !admin && !call.server.config.on("TeamSettings", "EnableOpenServer") {
        return Err(ApiError::new(
            403,
            "api.user.create_user.no_open_server",
            "This server does not allow open signups.  Please speak with your Administrator to receive an invitation.",
        ));
    }
    let taken =
        call.database().number("SELECT count(*) FROM users WHERE username = $1 OR email = $2", &[&name, &email])? > 0;
    if taken {
        return Err(ApiError::new(
            400,
            "app.user.save.username_exists.app_error",
            "An account with that username already exists.",
        ));
    }
    let id = text::new_id();
    let roles = if first { "system_admin system_user" } else { "system_user" };
    call.database().script(&rows::user(
        call.version(),
        &id,
        &name.to_lowercase(),
        &email.to_lowercase(),
        &password,
        roles,
        text::now_ms(),
    ))?;
    let row = call.database().row("SELECT * FROM users WHERE id = $1", &[&id])?;
    row.map(|row| created(&shapes::user(&row, call.version(), shapes::Eyes::Own)))
        .ok_or_else(|| ApiError::missing("app.user.missing_account.const"))
}

fn team(call: &Call<'_>) -> Reply {
    let body = call.request.json();
    let (name, display) = (Call::given(&body, "name")?, Call::given(&body, "display_name")?);
    let open = body.get("type").and_then(Value::as_str) == Some("O");
    if !call.can("create_team")? {
        return Err(ApiError::permission());
    }
    if call.database().number("SELECT count(*) FROM teams WHERE name = $1", &[&name])? > 0 {
        return Err(ApiError::new(400, "app.team.save.existing.app_error", "A team with that name already exists."));
    }
    let (id, now, version) = (text::new_id(), text::now_ms(), call.version());
    let owner = call.session()?.user.clone();
    let mut script = rows::team(&id, &name, &display, "", open, now);
    for (name, display) in [("town-square", "Town Square"), ("off-topic", "Off-Topic")] {
        let channel = text::new_id();
        script += &rows::channel(
            version,
            &rows::Channel { id: &channel, team: &id, kind: "O", name, display, creator: "", at: now },
        );
        if !owner.is_empty() {
            script += &rows::channel_member(version, &channel, &owner, "admin", now);
        }
    }
    if !owner.is_empty() {
        script += &rows::team_member(version, &id, &owner, "admin", now);
    }
    call.database().script(&format!("BEGIN;\n{script}COMMIT;"))?;
    let row = call.database().row("SELECT * FROM teams WHERE id = $1", &[&id])?;
    row.map(|row| created(&shapes::team(&row, version, true, true)))
        .ok_or_else(|| ApiError::missing("app.team.get.find.app_error"))
}

/// Joins the team and its two default channels.
fn team_member(call: &Call<'_>, team: &str) -> Reply {
    let user = Call::given(&call.request.json(), "user_id")?;
    let own = call.session()?.user == user;
    let open = call.database().number("SELECT count(*) FROM teams WHERE id = $1 AND allowopeninvite", &[&team])? > 0;
    let joins = own && open && call.can("join_public_teams")?;
    if !joins && !call.can_in_team(team, "add_user_to_team")? {
        return Err(ApiError::permission());
    }
    let (now, version) = (text::now_ms(), call.version());
    let mut script = rows::team_member(version, team, &user, "user", now);
    for row in call
        .database()
        .rows("SELECT id FROM channels WHERE teamid = $1 AND name IN ('town-square', 'off-topic')", &[&team])?
    {
        script += &rows::channel_member(version, row.text("id"), &user, "user", now);
    }
    call.database().script(&format!("BEGIN;\n{script}COMMIT;"))?;
    let row = call.database().row("SELECT * FROM teammembers WHERE teamid = $1 AND userid = $2", &[&team, &user])?;
    row.map(|row| created(&shapes::team_member(&row)))
        .ok_or_else(|| ApiError::missing("app.team.get_member.missing.app_error"))
}

fn leave_team(call: &Call<'_>, team: &str, user: &str) -> Reply {
    call.database().execute(
        "UPDATE teammembers SET deleteat = $3 WHERE teamid = $1 AND userid = $2",
        &[&team, &user, &text::now_ms()],
    )?;
    let statement =
        "DELETE FROM channelmembers WHERE userid = $2 AND channelid IN (SELECT id FROM channels WHERE teamid = $1)";
    call.database().execute(statement, &[&team, &user])?;
    Ok(done())
}

fn channel(call: &Call<'_>) -> Reply {
    let body = call.request.json();
    let (team, name, display) =
        (Call::given(&body, "team_id")?, Call::given(&body, "name")?, Call::given(&body, "display_name")?);
    let kind = Call::given(&body, "type")?;
    let permission = if kind == "P" { "create_private_channel" } else { "create_public_channel" };
    if !call.can_in_team(&team, permission)? {
        return Err(ApiError::permission());
    }
    let user = call.session()?.user.clone();
    make(
        call,
        &rows::Channel {
            id: &text::new_id(),
            team: &team,
            kind: &kind,
            name: &name,
            display: &display,
            creator: &user,
            at: text::now_ms(),
        },
        &[&user],
    )
}

/// The channel of two users, made when it is not there yet.
fn direct(call: &Call<'_>) -> Reply {
    let body = call.request.json();
    let mut ids: Vec<String> =
        body.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    ids.sort();
    let [first, second] = ids.as_slice() else { return Err(ApiError::body("user_ids")) };
    if !call.can("create_direct_channel")? {
        return Err(ApiError::permission());
    }
    let name = format!("{first}__{second}");
    if let Some(row) = call.database().row("SELECT * FROM channels WHERE name = $1 AND type::text = 'D'", &[&name])? {
        return Ok(created(&shapes::channel(&row, call.version())?));
    }
    let new = rows::Channel {
        id: &text::new_id(),
        team: "",
        kind: "D",
        name: &name,
        display: "",
        creator: "",
        at: text::now_ms(),
    };
    make(call, &new, &[first, second])
}

fn make(call: &Call<'_>, new: &rows::Channel<'_>, members: &[&str]) -> Reply {
    let version = call.version();
    let mut script = rows::channel(version, new);
    for user in members.iter().filter(|user| !user.is_empty()) {
        script += &rows::channel_member(version, new.id, user, if new.kind == "D" { "user" } else { "admin" }, new.at);
    }
    call.database().script(&format!("BEGIN;\n{script}COMMIT;"))?;
    let row = super::channels::found(call, new.id)?;
    Ok(created(&shapes::channel(&row, version)?))
}

fn channel_member(call: &Call<'_>, channel: &str) -> Reply {
    let user = Call::given(&call.request.json(), "user_id")?;
    let row = super::channels::found(call, channel)?;
    let own = call.session()?.user == user
        && row.text("type") == "O"
        && call.can_in_team(row.text("teamid"), "join_public_channels")?;
    if !own && !call.can_in_channel(channel, "manage_public_channel_members")? && !call.can("manage_system")? {
        return Err(ApiError::permission());
    }
    call.database().script(&rows::channel_member(call.version(), channel, &user, "user", text::now_ms()))?;
    let row =
        call.database().row("SELECT * FROM channelmembers WHERE channelid = $1 AND userid = $2", &[&channel, &user])?;
    let row = row.ok_or_else(|| ApiError::missing("app.channel.get_member.missing.app_error"))?;
    Ok(created(&shapes::channel_member(&row, call.version())?))
}

fn leave(call: &Call<'_>, channel: &str, user: &str) -> Reply {
    call.database().execute("DELETE FROM channelmembers WHERE channelid = $1 AND userid = $2", &[&channel, &user])?;
    Ok(ok(&serde_json::json!({"status": "OK"})))
}
