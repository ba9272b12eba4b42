//! The threads a user follows.

use serde_json::{Value, json};

use super::call::{ApiError, ok};
use super::{Call, Reply, shapes};

pub(super) fn route(call: &Call<'_>) -> Option<Reply> {
    match (call.method(), call.path) {
        ("GET", ["users", id, "teams", team, "threads"]) if call.version().at_least(5, 35) => {
            Some(call.user(id).and_then(|id| threads(call, &id, team)))
        }
        _ => None,
    }
}

fn threads(call: &Call<'_>, user: &str, team: &str) -> Reply {
    if !call.can_in_team(team, "view_team")? {
        return Err(ApiError::permission());
    }
    let failed = |detail: &dyn ToString| {
        let error = ApiError::new(500, "app.user.get_threads_for_user.app_error", "Unable to get user threads");
        error.because("GetThreadsForUser", &detail.to_string())
    };
    let from = "FROM threadmemberships tm JOIN threads t ON t.postid = tm.postid JOIN channels c ON c.id = t.channelid
                JOIN posts p ON p.id = tm.postid
                WHERE tm.userid = $1 AND tm.following AND p.deleteat = 0 AND (c.teamid = $2 OR coalesce(c.teamid, '') = '')";
    let count = |what: &str| {
        call.database()
            .number(&format!("SELECT {what}::bigint {from}"), &[&user, &team])
            .map_err(|error| failed(&error))
    };
    let total = count("count(*)")?;
    let unread = count("count(*) FILTER (WHERE t.lastreplyat > tm.lastviewed)")?;
    let mentions = count("coalesce(sum(tm.unreadmentions), 0)")?;
    let (offset, limit) = call.request.page(30);
    let query = format!(
        "SELECT tm.postid, tm.lastviewed, tm.unreadmentions, t.replycount, t.lastreplyat, t.participants,
                (SELECT count(*) FROM posts r WHERE r.rootid = tm.postid AND r.deleteat = 0 AND r.createat > tm.lastviewed) AS unreadreplies
         {from} ORDER BY t.lastreplyat DESC OFFSET $3 LIMIT $4"
    );
    let rows = call.database().rows(&query, &[&user, &team, &offset, &limit]).map_err(|error| failed(&error))?;
    let mut shown = Vec::new();
    for row in &rows {
        let mentioned = row.int("unreadmentions").map_err(|error| failed(&error))?;
        let post = call.database().row("SELECT * FROM posts WHERE id = $1", &[&row.text("postid")])?;
        let people = row.document("participants");
        let people: Vec<Value> = people.as_array().into_iter().flatten().map(|id| json!({"id": id})).collect();
        shown.push(json!({
            "id": row.text("postid"), "reply_count": row.int_or_zero("replycount"), "last_reply_at": row.int_or_zero("lastreplyat"),
            "last_viewed_at": row.int_or_zero("lastviewed"), "participants": people,
            "post": post.map(|post| shapes::post(&post, call.version(), row.int_or_zero("replycount"))),
            "unread_replies": row.int_or_zero("unreadreplies"), "unread_mentions": mentioned,
        }));
    }
    Ok(ok(&json!({
        "total": total, "total_unread_threads": unread, "total_unread_mentions": mentions, "threads": shown,
    })))
}
