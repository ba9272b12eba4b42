//! Channels.

use serde_json::{Value, json};

use super::call::{ApiError, done, is_id, ok};
use super::{Call, Reply, shapes};
use crate::database::{NullError, Row, quoted};
use crate::text;

pub(super) fn route(call: &Call<'_>) -> Option<Reply> {
    Some(match (call.method(), call.path) {
        ("GET", ["channels"]) => super::system::admin(call, all),
        ("GET", ["teams", team, "channels"]) => call.session().and_then(|_| public(call, team)),
        ("GET", ["teams", team, "channels", "name", name]) => {
            call.session().and_then(|_| named(call, "id", team, name))
        }
        ("GET", ["teams", "name", team, "channels", "name", name]) => {
            call.session().and_then(|_| named(call, "name", team, name))
        }
        ("GET", ["channels", id]) if is_id(id) => call.session().and_then(|_| get(call, id)),
        ("GET", ["channels", id, "stats"]) => call.session().and_then(|_| stats(call, id)),
        ("GET", ["channels", id, "members"]) => call.session().and_then(|_| members(call, id)),
        ("GET", ["channels", id, "members", user]) => call.session().and_then(|_| member(call, id, user)),
        ("DELETE", ["channels", id]) => call.session().and_then(|_| delete(call, id)),
        ("GET", ["emoji"]) => call.session().and_then(|_| emojis(call)),
        ("GET", ["emoji", "name", name]) => call.session().and_then(|_| emoji(call, name)),
        ("GET", ["hooks", "incoming"]) => super::system::admin(call, hooks),
        _ => return None,
    })
}

fn unreadable(error: &NullError) -> ApiError {
    ApiError::new(500, "app.channel.get.find.app_error", "We encountered an error finding the channel.")
        .because("GetChannel", error)
}

fn listed(call: &Call<'_>, rows: &[Row]) -> Reply {
    let channels: Result<Vec<Value>, NullError> = rows.iter().map(|row| shapes::channel(row, call.version())).collect();
    Ok(ok(&Value::Array(channels.map_err(|error| unreadable(&error))?)))
}

fn all(call: &Call<'_>) -> Reply {
    let (offset, limit) = call.request.page(60);
    let query = "SELECT * FROM channels WHERE deleteat = 0 AND type::text IN ('O', 'P') ORDER BY displayname OFFSET $1 LIMIT $2";
    let rows = call.database().rows(query, &[&offset, &limit])?;
    listed(call, &rows)
}

fn public(call: &Call<'_>, team: &str) -> Reply {
    if !call.can_in_team(team, "list_team_channels")? {
        return Err(ApiError::permission());
    }
    let (offset, limit) = call.request.page(60);
    let query = "SELECT * FROM channels WHERE teamid = $1 AND deleteat = 0 AND type::text = 'O' ORDER BY displayname OFFSET $2 LIMIT $3";
    let rows = call.database().rows(query, &[&team, &offset, &limit])?;
    listed(call, &rows)
}

fn named(call: &Call<'_>, column: &str, team: &str, name: &str) -> Reply {
    let query = format!(
        "SELECT c.* FROM channels c JOIN teams t ON t.id = c.teamid WHERE t.{column} = $1 AND c.name = $2 AND c.deleteat = 0"
    );
    let row = call.database().row(&query, &[&team, &name])?.ok_or_else(missing)?;
    if !readable(call, &row)? {
        return Err(missing());
    }
    Ok(ok(&shapes::channel(&row, call.version()).map_err(|error| unreadable(&error))?))
}

fn missing() -> ApiError {
    ApiError::new(404, "app.channel.get_by_name.missing.app_error", "Channel does not exist.")
}

fn readable(call: &Call<'_>, row: &Row) -> Result<bool, ApiError> {
    Ok(call.can_in_channel(row.text("id"), "read_channel")?
        || row.text("type") == "O" && call.can_in_team(row.text("teamid"), "read_public_channel")?)
}

pub(super) fn found(call: &Call<'_>, id: &str) -> Result<Row, ApiError> {
    let found = call.database().row("SELECT * FROM channels WHERE id = $1", &[&id])?;
    found.ok_or_else(|| ApiError::missing("app.channel.get.existing.app_error"))
}

fn get(call: &Call<'_>, id: &str) -> Reply {
    let row = found(call, id)?;
    if !readable(call, &row)? {
        return Err(ApiError::permission());
    }
    Ok(ok(&shapes::channel(&row, call.version()).map_err(|error| unreadable(&error))?))
}

fn stats(call: &Call<'_>, id: &str) -> Reply {
    if !call.can_in_channel(id, "read_channel")? {
        return Err(ApiError::permission());
    }
    let count = |query: &str| call.database().number(query, &[&id]);
    let mut stats = json!({
        "channel_id": id,
        "member_count": count("SELECT count(*) FROM channelmembers WHERE channelid = $1")?,
        "guest_count": count("SELECT count(*) FROM channelmembers WHERE channelid = $1 AND schemeguest")?,
        "pinnedpost_count": count("SELECT count(*) FROM posts WHERE channelid = $1 AND ispinned AND deleteat = 0")?,
    });
    if call.version().at_least(6, 4) {
        let query =
            "SELECT count(*) FROM fileinfo f JOIN posts p ON p.id = f.postid WHERE p.channelid = $1 AND f.deleteat = 0";
        shapes::add(&mut stats, "files_count", json!(count(query)?));
    }
    Ok(ok(&stats))
}

fn member_failed(error: &NullError) -> ApiError {
    ApiError::new(500, "app.channel.get_member.app_error", "Unable to get the channel member.")
        .because("GetChannelMember", error)
}

fn members(call: &Call<'_>, id: &str) -> Reply {
    if !call.can_in_channel(id, "read_channel")? {
        return Err(ApiError::permission());
    }
    let (offset, limit) = call.request.page(60);
    let rows = call.database().rows(
        "SELECT * FROM channelmembers WHERE channelid = $1 ORDER BY userid OFFSET $2 LIMIT $3",
        &[&id, &offset, &limit],
    )?;
    let members: Result<Vec<Value>, NullError> =
        rows.iter().map(|row| shapes::channel_member(row, call.version())).collect();
    Ok(ok(&Value::Array(members.map_err(|error| member_failed(&error))?)))
}

fn member(call: &Call<'_>, id: &str, user: &str) -> Reply {
    let user = if user == "me" { call.user("me")? } else { user.to_owned() };
    if !call.can_in_channel(id, "read_channel")? {
        return Err(ApiError::permission());
    }
    let row =
        call.database().row("SELECT * FROM channelmembers WHERE channelid = $1 AND userid = $2", &[&id, &user])?;
    let row = row.ok_or_else(|| {
        ApiError::new(
            404,
            "app.channel.get_member.missing.app_error",
            "No channel member found for that user ID and channel ID.",
        )
    })?;
    Ok(ok(&shapes::channel_member(&row, call.version()).map_err(|error| member_failed(&error))?))
}

/// Archives; `?permanent=true` removes where the configuration allows it (always in local mode).
fn delete(call: &Call<'_>, id: &str) -> Reply {
    let row = found(call, id)?;
    let permission = if row.text("type") == "P" { "delete_private_channel" } else { "delete_public_channel" };
    if row.text("name") == "town-square" {
        return Err(ApiError::new(
            400,
            "api.channel.delete_channel.cannot.app_error",
            "Unable to delete the default channel town-square.",
        ));
    }
    let local = call.session()?.local;
    if !call.can_in_channel(id, permission)? && !call.can("manage_system")? {
        return Err(ApiError::permission());
    }
    if call.request.param("permanent") != Some("true") {
        let now = text::now_ms();
        call.database().execute("UPDATE channels SET deleteat = $2, updateat = $2 WHERE id = $1", &[&id, &now])?;
        call.database().execute("UPDATE publicchannels SET deleteat = $2 WHERE id = $1", &[&id, &now])?;
        return Ok(done());
    }
    if !local && !call.server.config.on("ServiceSettings", "EnableAPIChannelDeletion") {
        return Err(ApiError::new(
            401,
            "api.user.delete_channel.not_enabled.app_error",
            "Permanent channel deletion feature is not enabled. Please contact your System Administrator.",
        ));
    }
    let id = quoted(id);
    call.database().script(&format!(
        "BEGIN;
         DELETE FROM threadmemberships WHERE postid IN (SELECT id FROM posts WHERE channelid = {id});
         DELETE FROM threads WHERE channelid = {id};
         DELETE FROM posts WHERE channelid = {id};
         DELETE FROM channelmembers WHERE channelid = {id};
         DELETE FROM sidebarchannels WHERE channelid = {id};
         DELETE FROM publicchannels WHERE id = {id};
         DELETE FROM channels WHERE id = {id};
         COMMIT;"
    ))?;
    Ok(done())
}

fn emoji_of(row: &Row) -> Value {
    json!({
        "id": row.text("id"), "create_at": row.int_or_zero("createat"), "update_at": row.int_or_zero("updateat"),
        "delete_at": row.int_or_zero("deleteat"), "creator_id": row.text("creatorid"), "name": row.text("name"),
    })
}

fn emojis(call: &Call<'_>) -> Reply {
    let (offset, limit) = call.request.page(60);
    let rows = call
        .database()
        .rows("SELECT * FROM emoji WHERE deleteat = 0 ORDER BY name OFFSET $1 LIMIT $2", &[&offset, &limit])?;
    Ok(ok(&rows.iter().map(emoji_of).collect()))
}

fn emoji(call: &Call<'_>, name: &str) -> Reply {
    let row = call.database().row("SELECT * FROM emoji WHERE name = $1 AND deleteat = 0", &[&name])?;
    row.map(|row| ok(&emoji_of(&row))).ok_or_else(|| ApiError::missing("app.emoji.get_by_name.no_result"))
}

fn hooks(call: &Call<'_>) -> Reply {
    let (offset, limit) = call.request.page(60);
    let rows = call
        .database()
        .rows("SELECT * FROM incomingwebhooks WHERE deleteat = 0 OFFSET $1 LIMIT $2", &[&offset, &limit])?;
    let shown = rows.iter().map(|row| {
        json!({
            "id": row.text("id"), "create_at": row.int_or_zero("createat"), "update_at": row.int_or_zero("updateat"),
            "delete_at": row.int_or_zero("deleteat"), "user_id": row.text("userid"), "channel_id": row.text("channelid"),
            "team_id": row.text("teamid"), "display_name": row.text("displayname"), "description": row.text("description"),
            "username": row.text("username"), "icon_url": row.text("iconurl"), "channel_locked": row.is("channellocked"),
        })
    });
    Ok(ok(&shown.collect()))
}
