//! Teams.

use serde_json::json;

use super::call::{ApiError, done, is_id, ok};
use super::{Call, Reply, shapes};
use crate::database::{Row, quoted};
use crate::text;

pub(super) fn route(call: &Call<'_>) -> Option<Reply> {
    Some(match (call.method(), call.path) {
        ("GET", ["teams"]) => call.session().and_then(|_| list(call)),
        ("GET", ["teams", "name", name]) => call.session().and_then(|_| one(call, "name", name)),
        ("GET", ["teams", id]) => call.session().and_then(|_| get(call, id)),
        ("DELETE", ["teams", id]) => call.session().and_then(|_| delete(call, id)),
        ("GET", ["teams", id, "members"]) => call.session().and_then(|_| members(call, id)),
        ("GET", ["teams", id, "members", user]) => call.session().and_then(|_| member(call, id, user)),
        ("GET", ["teams", id, "stats"]) => call.session().and_then(|_| stats(call, id)),
        _ => return None,
    })
}

struct Eyes {
    admin: bool,
    member: bool,
}

fn eyes(call: &Call<'_>, team: &str) -> Result<Eyes, ApiError> {
    Ok(Eyes { admin: call.can_in_team(team, "manage_team")?, member: call.can_in_team(team, "view_team")? })
}

/// Ordinary users see the open teams only, even those of theirs that are closed are missing here (observed).
fn list(call: &Call<'_>) -> Reply {
    let all = call.can("list_private_teams")?;
    let condition = if all { "deleteat >= 0" } else { "deleteat = 0 AND allowopeninvite" };
    let (offset, limit) = call.request.page(60);
    let rows = call.database().rows(
        &format!("SELECT * FROM teams WHERE {condition} ORDER BY displayname OFFSET $1 LIMIT $2"),
        &[&offset, &limit],
    )?;
    let mut teams = Vec::new();
    for row in &rows {
        let eyes = eyes(call, row.text("id"))?;
        teams.push(shapes::team(row, call.version(), eyes.admin, eyes.member));
    }
    if call.request.param("include_total_count") == Some("true") {
        let total = call.database().number(&format!("SELECT count(*) FROM teams WHERE {condition}"), &[])?;
        return Ok(ok(&json!({"teams": teams, "total_count": total})));
    }
    Ok(ok(&json!(teams)))
}

fn get(call: &Call<'_>, id: &str) -> Reply {
    if is_id(id) { one(call, "id", id) } else { Err(ApiError::parameter("team_id")) }
}

fn found(call: &Call<'_>, column: &str, value: &str) -> Result<Row, ApiError> {
    let found = call.database().row(&format!("SELECT * FROM teams WHERE {column} = $1"), &[&value])?;
    found.ok_or_else(|| ApiError::missing("app.team.get.find.app_error"))
}

fn one(call: &Call<'_>, column: &str, value: &str) -> Reply {
    let row = found(call, column, value)?;
    let eyes = eyes(call, row.text("id"))?;
    let listed = row.is("allowopeninvite") && call.can("list_public_teams")?;
    if !eyes.member && !listed && !call.can("list_private_teams")? {
        return Err(ApiError::permission());
    }
    Ok(ok(&shapes::team(&row, call.version(), eyes.admin, eyes.member)))
}

fn members(call: &Call<'_>, team: &str) -> Reply {
    if !call.can_in_team(team, "view_team")? {
        return Err(ApiError::permission());
    }
    let (offset, limit) = call.request.page(60);
    let query = "SELECT * FROM teammembers WHERE teamid = $1 AND deleteat = 0 ORDER BY userid OFFSET $2 LIMIT $3";
    let rows = call.database().rows(query, &[&team, &offset, &limit])?;
    Ok(ok(&rows.iter().map(shapes::team_member).collect()))
}

fn member(call: &Call<'_>, team: &str, user: &str) -> Reply {
    let user = if user == "me" { call.user("me")? } else { user.to_owned() };
    if !call.can_in_team(team, "view_team")? {
        return Err(ApiError::permission());
    }
    let row = call.database().row("SELECT * FROM teammembers WHERE teamid = $1 AND userid = $2", &[&team, &user])?;
    row.map(|row| ok(&shapes::team_member(&row)))
        .ok_or_else(|| ApiError::missing("app.team.get_member.missing.app_error"))
}

fn stats(call: &Call<'_>, team: &str) -> Reply {
    if !call.can_in_team(team, "view_team")? {
        return Err(ApiError::permission());
    }
    let total =
        call.database().number("SELECT count(*) FROM teammembers WHERE teamid = $1 AND deleteat = 0", &[&team])?;
    Ok(ok(&json!({"team_id": team, "total_member_count": total, "active_member_count": total})))
}

/// Archives; `?permanent=true` removes the team with its channels and posts where the configuration allows it (always in local mode).
fn delete(call: &Call<'_>, team: &str) -> Reply {
    found(call, "id", team)?;
    let local = call.session()?.local;
    if !call.can_in_team(team, "manage_team")? {
        return Err(ApiError::permission());
    }
    if call.request.param("permanent") != Some("true") {
        let now = text::now_ms();
        call.database().execute("UPDATE teams SET deleteat = $2, updateat = $2 WHERE id = $1", &[&team, &now])?;
        return Ok(done());
    }
    if !local && !call.server.config.on("ServiceSettings", "EnableAPITeamDeletion") {
        return Err(ApiError::new(
            401,
            "api.team.delete_team.not_enabled.app_error",
            "Permanent team deletion feature is not enabled. Please contact your System Administrator.",
        ));
    }
    let id = quoted(team);
    let channels = format!("(SELECT id FROM channels WHERE teamid = {id})");
    call.database().script(&format!(
        "BEGIN;
         DELETE FROM threadmemberships WHERE postid IN (SELECT id FROM posts WHERE channelid IN {channels});
         DELETE FROM threads WHERE channelid IN {channels};
         DELETE FROM reactions WHERE postid IN (SELECT id FROM posts WHERE channelid IN {channels});
         DELETE FROM posts WHERE channelid IN {channels};
         DELETE FROM channelmembers WHERE channelid IN {channels};
         DELETE FROM sidebarchannels WHERE channelid IN {channels};
         DELETE FROM sidebarcategories WHERE teamid = {id};
         DELETE FROM publicchannels WHERE teamid = {id};
         DELETE FROM channels WHERE teamid = {id};
         DELETE FROM teammembers WHERE teamid = {id};
         DELETE FROM teams WHERE id = {id};
         COMMIT;"
    ))?;
    Ok(done())
}
