//! The categories of the sidebar. After a direct jump every row that existed before has NULL in `muted` and `collapsed`.

use serde_json::{Value, json};

use super::call::{ApiError, ok};
use super::{Call, Reply, shapes};
use crate::database::{Insert, NullError, Row};

pub(super) fn route(call: &Call<'_>) -> Option<Reply> {
    match (call.method(), call.path) {
        ("GET", ["users", id, "teams", team, "channels", "categories"]) => {
            Some(call.user(id).and_then(|id| categories(call, &id, team)))
        }
        _ => None,
    }
}

/// Observed: 404 up to 10.x, 500 in 11.6, and this message.
fn failed(call: &Call<'_>, detail: &impl ToString) -> ApiError {
    let status = if call.version().at_least(11, 0) { 500 } else { 404 };
    let error =
        ApiError::new(status, "app.channel.sidebar_categories.app_error", "Failed to insert record to database.");
    error.because("GetSidebarCategories", detail)
}

fn categories(call: &Call<'_>, user: &str, team: &str) -> Reply {
    if !call.can_in_team(team, "view_team")? {
        return Err(ApiError::permission());
    }
    let query = "SELECT * FROM sidebarcategories WHERE userid = $1 AND teamid = $2 ORDER BY sortorder";
    let mut rows = call.database().rows(query, &[&user, &team]).map_err(|error| failed(call, &error))?;
    if rows.is_empty() {
        make(call, user, team)?;
        rows = call.database().rows(query, &[&user, &team])?;
    }
    let channels = call.database().rows(
        "SELECT c.id, c.type::text AS kind, coalesce(c.teamid, '') AS teamid FROM channels c JOIN channelmembers m ON m.channelid = c.id
         WHERE m.userid = $1 AND c.deleteat = 0 AND (c.teamid = $2 OR coalesce(c.teamid, '') = '') ORDER BY c.displayname, c.id",
        &[&user, &team],
    )?;
    let placed = call
        .database()
        .rows("SELECT channelid, categoryid FROM sidebarchannels WHERE userid = $1 ORDER BY sortorder", &[&user])?;
    let shown: Result<Vec<Value>, NullError> = rows.iter().map(|row| category(call, row, &channels, &placed)).collect();
    let shown = shown.map_err(|error| failed(call, &error))?;
    let order: Vec<Value> = rows.iter().map(|row| row.raw("id")).collect();
    Ok(ok(&json!({"categories": shown, "order": order})))
}

fn category(call: &Call<'_>, row: &Row, channels: &[Row], placed: &[Row]) -> Result<Value, NullError> {
    let version = call.version();
    let mut category = json!({"id": row.text("id"), "user_id": row.text("userid"), "team_id": row.text("teamid")});
    if version.at_least(6, 4) {
        shapes::add(&mut category, "sort_order", json!(row.int_or_zero("sortorder")));
    }
    shapes::add(&mut category, "sorting", json!(row.text("sorting")));
    shapes::add(&mut category, "type", json!(row.text("type")));
    shapes::add(&mut category, "display_name", json!(row.text("displayname")));
    if version.at_least(5, 35) {
        shapes::add(&mut category, "muted", json!(row.bool("muted")?));
        shapes::add(&mut category, "collapsed", json!(row.bool("collapsed")?));
    }
    let own =
        placed.iter().filter(|place| place.text("categoryid") == row.text("id")).map(|place| place.raw("channelid"));
    let mut ids: Vec<Value> = own.collect();
    let is_placed = |id: &str| placed.iter().any(|place| place.text("channelid") == id);
    for channel in channels.iter().filter(|channel| !is_placed(channel.text("id"))) {
        let direct = matches!(channel.text("kind"), "D" | "G");
        if row.text("type") == if direct { "direct_messages" } else { "channels" } {
            ids.push(channel.raw("id"));
        }
    }
    shapes::add(&mut category, "channel_ids", Value::Array(ids));
    Ok(category)
}

/// The three categories a user gets when he first looks. New rows are written in full, which is why new users are never broken.
fn make(call: &Call<'_>, user: &str, team: &str) -> Result<(), ApiError> {
    let kinds = [
        ("favorites", "Favorites", "", 0),
        ("channels", "Channels", "", 10),
        ("direct_messages", "Direct Messages", "recent", 20),
    ];
    for (kind, name, sorting, order) in kinds {
        let insert = Insert::into("sidebarcategories")
            .text("id", &format!("{kind}_{user}_{team}"))
            .text("userid", user)
            .text("teamid", team)
            .text("type", kind)
            .text("displayname", name)
            .text("sorting", sorting)
            .int("sortorder", order)
            .when(call.version().at_least(5, 35), |insert| insert.bool("muted", false).bool("collapsed", false))
            .on_conflict("ON CONFLICT DO NOTHING");
        call.database().script(&insert.sql())?;
    }
    Ok(())
}
