//! What a user belongs to: the calls a web client makes first, and the ones that break after a direct jump.

use serde_json::{Value, json};

use super::call::{ApiError, ok};
use super::{Call, Reply, shapes};
use crate::database::NullError;
use crate::text;

pub(super) fn route(call: &Call<'_>) -> Option<Reply> {
    Some(match (call.method(), call.path) {
        ("GET", ["users", id, "teams"]) => call.user(id).and_then(|id| teams(call, &id)),
        ("GET", ["users", id, "teams", "members"]) => call.user(id).and_then(|id| team_members(call, &id)),
        ("GET", ["users", id, "teams", "unread"]) => call.user(id).and_then(|id| teams_unread(call, &id)),
        ("GET", ["users", id, "teams", team, "channels"]) => call.user(id).and_then(|id| channels(call, &id, team)),
        ("GET", ["users", id, "teams", team, "channels", "members"]) => {
            call.user(id).and_then(|id| members(call, &id, team))
        }
        ("POST", ["channels", "members", id, "view"]) => call.user(id).and_then(|id| view(call, &id)),
        _ => return None,
    })
}

fn teams(call: &Call<'_>, user: &str) -> Reply {
    let query = "SELECT t.*, m.schemeadmin FROM teams t JOIN teammembers m ON m.teamid = t.id
                 WHERE m.userid = $1 AND m.deleteat = 0 AND t.deleteat = 0";
    let rows = call.database().rows(query, &[&user])?;
    let admin = call.can("manage_system")?;
    Ok(ok(&rows.iter().map(|row| shapes::team(row, call.version(), admin || row.is("schemeadmin"), true)).collect()))
}

fn team_members(call: &Call<'_>, user: &str) -> Reply {
    let rows = call
        .database()
        .rows("SELECT * FROM teammembers WHERE userid = $1 AND deleteat = 0 ORDER BY teamid", &[&user])?;
    Ok(ok(&rows.iter().map(shapes::team_member).collect()))
}

/// The memberships of a user in the channels of a team, direct messages included.
const MEMBERS: &str = "SELECT m.* FROM channelmembers m JOIN channels c ON c.id = m.channelid
    WHERE m.userid = $1 AND c.deleteat = 0 AND (c.teamid = $2 OR c.teamid = '' OR c.teamid IS NULL)";

fn members(call: &Call<'_>, user: &str, team: &str) -> Reply {
    in_team(call, team)?;
    let failed = |detail: &dyn ToString| {
        let error = ApiError::new(500, "app.channel.get_members.app_error", "Unable to get the channel members.");
        error.because("GetChannelMembersForUser", &detail.to_string())
    };
    let rows = call.database().rows(MEMBERS, &[&user, &team]).map_err(|error| failed(&error))?;
    let members: Result<Vec<Value>, NullError> =
        rows.iter().map(|row| shapes::channel_member(row, call.version())).collect();
    Ok(ok(&Value::Array(members.map_err(|error| failed(&error))?)))
}

fn in_team(call: &Call<'_>, team: &str) -> Result<(), ApiError> {
    if !super::call::is_id(team) {
        return Err(ApiError::parameter("team_id"));
    }
    if call.can_in_team(team, "view_team")? { Ok(()) } else { Err(ApiError::permission()) }
}

fn channels(call: &Call<'_>, user: &str, team: &str) -> Reply {
    in_team(call, team)?;
    let failed = |detail: &dyn ToString| {
        let error = ApiError::new(500, "app.channel.get_channels.get.app_error", "Unable to get the channels.");
        error.because("GetChannelsForTeamForUser", &detail.to_string())
    };
    let direct = if call.server.faults.has("direct-messages-hidden") { "false" } else { "coalesce(c.teamid, '') = ''" };
    let query = format!(
        "SELECT c.* FROM channels c JOIN channelmembers m ON c.id = m.channelid
         WHERE m.userid = $1 AND c.deleteat = 0 AND (c.teamid = $2 OR {direct}) ORDER BY c.displayname, c.id"
    );
    let rows = call.database().rows(&query, &[&user, &team]).map_err(|error| failed(&error))?;
    if rows.is_empty() {
        return Err(ApiError::new(404, "app.channel.get_channels.not_found.app_error", "No channels were found."));
    }
    let channels: Result<Vec<Value>, NullError> = rows.iter().map(|row| shapes::channel(row, call.version())).collect();
    let last =
        rows.iter().map(|row| row.int_or_zero("updateat").max(row.int_or_zero("lastpostat"))).max().unwrap_or_default();
    Ok(ok(&Value::Array(channels.map_err(|error| failed(&error))?)).with("Etag", format!("{}.{last}", call.version())))
}

/// How much is unread in each team.
fn teams_unread(call: &Call<'_>, user: &str) -> Reply {
    let version = call.version();
    let failed = |detail: &dyn ToString| {
        let error = ApiError::new(500, "app.team.get_unread.app_error", "Unable to get the teams unread messages.");
        error.because("GetTeamsUnreadForUser", &detail.to_string())
    };
    let rooted = version.at_least(5, 35);
    let root = if rooted { ", c.totalmsgcountroot, m.mentioncountroot, m.msgcountroot" } else { "" };
    let query = format!(
        "SELECT tm.teamid, m.msgcount, m.mentioncount, c.totalmsgcount{root} FROM teammembers tm
         LEFT JOIN channels c ON c.teamid = tm.teamid AND c.deleteat = 0 LEFT JOIN channelmembers m ON m.channelid = c.id AND m.userid = tm.userid
         WHERE tm.userid = $1 AND tm.deleteat = 0 AND m.userid IS NOT NULL ORDER BY tm.teamid"
    );
    let rows = call.database().rows(&query, &[&user]).map_err(|error| failed(&error))?;
    let mut teams: Vec<(String, [i64; 4])> = Vec::new();
    for row in &rows {
        let read = || -> Result<[i64; 4], NullError> {
            let plain = [row.int("totalmsgcount")? - row.int("msgcount")?, row.int("mentioncount")?];
            let roots = if rooted {
                [row.int("totalmsgcountroot")? - row.int("msgcountroot")?, row.int("mentioncountroot")?]
            } else {
                [0, 0]
            };
            Ok([plain[0].max(0), plain[1], roots[0].max(0), roots[1]])
        };
        let counts = read().map_err(|error| failed(&error))?;
        if teams.last().is_none_or(|(team, _)| team != row.text("teamid")) {
            teams.push((row.text("teamid").to_owned(), [0; 4]));
        }
        if let Some((_, sum)) = teams.last_mut() {
            sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
    }
    let shown = teams.into_iter().map(|(team, [messages, mentions, roots, root_mentions])| {
        let mut unread = json!({"team_id": team, "msg_count": messages, "mention_count": mentions});
        if rooted {
            shapes::add(&mut unread, "mention_count_root", json!(root_mentions));
            shapes::add(&mut unread, "msg_count_root", json!(roots));
        }
        if version.at_least(6, 0) {
            shapes::add(&mut unread, "thread_count", json!(0));
            shapes::add(&mut unread, "thread_mention_count", json!(0));
        }
        if version.at_least(7, 2) {
            shapes::add(&mut unread, "thread_urgent_mention_count", json!(0));
        }
        unread
    });
    Ok(ok(&shown.collect()))
}

/// The user looked at a channel: what was unread is read. This also fills the NULLs of that one row, as with the real server.
pub(super) fn viewed(call: &Call<'_>, user: &str, channel: &str) -> Result<i64, ApiError> {
    let root =
        if call.version().at_least(5, 35) { ", msgcountroot = c.totalmsgcountroot, mentioncountroot = 0" } else { "" };
    let statement = format!(
        "UPDATE channelmembers m SET msgcount = c.totalmsgcount, mentioncount = 0, lastviewedat = greatest(m.lastviewedat, c.lastpostat), lastupdateat = $3{root}
         FROM channels c WHERE c.id = m.channelid AND m.channelid = $1 AND m.userid = $2"
    );
    let now = text::now_ms();
    call.database().execute(&statement, &[&channel, &user, &now])?;
    Ok(now)
}

fn view(call: &Call<'_>, user: &str) -> Reply {
    let channel = Call::given(&call.request.json(), "channel_id")?;
    let now = viewed(call, user, &channel)?;
    Ok(ok(&json!({"status": "OK", "last_viewed_at_times": {channel: now}})))
}
