//! Posts: the thing it is all about.

use serde_json::{Map, Value, json};

use super::call::{ApiError, created, done, ok};
use super::{Call, Reply, shapes};
use crate::database::{Row, quoted};
use crate::text;

mod write;

pub(crate) use write::{Draft, statements};

pub(super) fn route(call: &Call<'_>) -> Option<Reply> {
    Some(match (call.method(), call.path) {
        ("POST", ["posts"]) => call.session().and_then(|_| create(call)),
        ("GET", ["posts", id]) => call.session().and_then(|_| get(call, id)),
        ("PUT", ["posts", id, "patch"]) => call.session().and_then(|_| patch(call, id)),
        ("DELETE", ["posts", id]) => {
            call.session().and_then(|_| works(call, "delete-broken")).and_then(|()| delete(call, id))
        }
        ("GET", ["posts", id, "thread"]) => call.session().and_then(|_| thread(call, id)),
        ("GET", ["posts", id, "reactions"]) => call.session().and_then(|_| reactions(call, id)),
        ("GET", ["channels", id, "posts"]) => call.session().and_then(|_| of_channel(call, id)),
        ("GET", ["users", user, "channels", id, "posts", "unread"]) => {
            call.user(user).and_then(|user| unread(call, &user, id))
        }
        ("POST", ["teams", team, "posts", "search"]) => {
            call.session().and_then(|_| works(call, "search-broken")).and_then(|()| search(call, team))
        }
        _ => return None,
    })
}

/// An error of the store when this fault is asked for.
fn works(call: &Call<'_>, fault: &str) -> Result<(), ApiError> {
    if call.server.faults.has(fault) {
        return Err(ApiError::new(500, "app.post.app_error", "The store has failed.")
            .because("Post", &format!("stand-in: {fault}")));
    }
    Ok(())
}

fn found(call: &Call<'_>, id: &str) -> Result<Row, ApiError> {
    let row = call.database().row("SELECT * FROM posts WHERE id = $1 AND deleteat = 0", &[&id])?;
    row.ok_or_else(|| ApiError::missing("app.post.get.app_error"))
}

fn replies(call: &Call<'_>, row: &Row) -> Result<i64, ApiError> {
    let root = if row.text("rootid").is_empty() { row.text("id") } else { row.text("rootid") };
    Ok(call.database().number("SELECT count(*) FROM posts WHERE rootid = $1 AND deleteat = 0", &[&root])?)
}

fn shown(call: &Call<'_>, row: &Row) -> Result<Value, ApiError> {
    Ok(shapes::post(row, call.version(), replies(call, row)?))
}

fn create(call: &Call<'_>) -> Reply {
    let body = call.request.json();
    let word = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let channel = Call::given(&body, "channel_id")?;
    if !call.can_in_channel(&channel, "create_post")? {
        return Err(ApiError::permission());
    }
    let files: Vec<String> = body
        .get("file_ids")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let message = word("message");
    if message.is_empty() && files.is_empty() {
        return Err(ApiError::new(400, "model.post.is_valid.msg.app_error", "Invalid message."));
    }
    let root = word("root_id");
    if !root.is_empty() {
        let parent =
            call.database().row("SELECT channelid, rootid FROM posts WHERE id = $1 AND deleteat = 0", &[&root])?;
        if !parent.is_some_and(|parent| parent.text("channelid") == channel && parent.text("rootid").is_empty()) {
            return Err(ApiError::new(400, "api.post.create_post.root_id.app_error", "Invalid RootId parameter."));
        }
    }
    let user = call.session()?.user.clone();
    let props = body.get("props").filter(|props| props.is_object()).cloned().unwrap_or_else(|| json!({}));
    let draft = Draft { id: text::new_id(), channel, user, root, message, props, files, at: text::now_ms() };
    let failed = |error: &dyn ToString| {
        ApiError::new(500, "app.post.save.app_error", "Unable to save the Post.")
            .because("CreatePost", &error.to_string())
    };
    if call.server.faults.has("post-broken") {
        return Err(failed(&"stand-in: post-broken"));
    }
    let script = statements(call.version(), &draft);
    call.database().script(&format!("BEGIN;\n{script}COMMIT;")).map_err(|error| {
        let _ = call.database().script("ROLLBACK");
        failed(&error)
    })?;
    super::memberships::viewed(call, &draft.user, &draft.channel)?;
    let post = shown(call, &found(call, &draft.id)?)?;
    let mut answer = post.clone();
    shapes::add(&mut answer, "pending_post_id", json!(word("pending_post_id")));
    announce(call, &post)?;
    Ok(created(&answer))
}

/// Tells everybody in the channel who listens on a websocket.
fn announce(call: &Call<'_>, post: &Value) -> Result<(), ApiError> {
    let id = post.get("channel_id").and_then(Value::as_str).unwrap_or_default();
    let user = post.get("user_id").and_then(Value::as_str).unwrap_or_default();
    let row = super::channels::found(call, id)?;
    let sender = call.database().row("SELECT username FROM users WHERE id = $1", &[&user])?;
    let sender = sender.map(|row| row.text("username").to_owned()).unwrap_or_default();
    let data = json!({
        "channel_display_name": row.text("displayname"), "channel_name": row.text("name"), "channel_type": row.text("type"),
        "post": post.to_string(), "sender_name": format!("@{sender}"), "set_online": true, "team_id": row.text("teamid"),
    });
    let members = call.database().rows("SELECT userid FROM channelmembers WHERE channelid = $1", &[&id])?;
    let members: Vec<String> = members.iter().map(|row| row.text("userid").to_owned()).collect();
    call.server.hub.publish("posted", &data, id, &members);
    Ok(())
}

fn get(call: &Call<'_>, id: &str) -> Reply {
    let row = found(call, id)?;
    if !call.can_in_channel(row.text("channelid"), "read_channel")? {
        return Err(ApiError::permission());
    }
    Ok(ok(&shown(call, &row)?))
}

fn patch(call: &Call<'_>, id: &str) -> Reply {
    let row = found(call, id)?;
    let own = call.session()?.user == row.text("userid");
    if !call.can_in_channel(row.text("channelid"), if own { "edit_post" } else { "edit_others_posts" })? {
        return Err(ApiError::permission());
    }
    let body = call.request.json();
    let message = body.get("message").and_then(Value::as_str).unwrap_or(row.text("message")).to_owned();
    let now = text::now_ms();
    let limit = call.server.config.get("ServiceSettings", "PostEditTimeLimit").and_then(Value::as_i64).unwrap_or(-1);
    if limit != -1 && now > row.int_or_zero("createat") + limit * 1000 && message != row.text("message") {
        let said =
            format!("Post edit is only allowed for {limit} seconds. Please ask your System Administrator for details.");
        return Err(ApiError::new(400, "api.post.update_post.permissions_time_limit.app_error", &said));
    }
    call.database()
        .execute("UPDATE posts SET message = $2, updateat = $3, editat = $3 WHERE id = $1", &[&id, &message, &now])?;
    Ok(ok(&shown(call, &found(call, id)?)?))
}

/// Marks the post and its replies as deleted. From 10.x an administrator may remove it for good where the configuration allows that.
fn delete(call: &Call<'_>, id: &str) -> Reply {
    let row = found(call, id)?;
    let own = call.session()?.user == row.text("userid");
    if !call.can_in_channel(row.text("channelid"), if own { "delete_post" } else { "delete_others_posts" })? {
        return Err(ApiError::permission());
    }
    if call.request.param("permanent") == Some("true") && call.version().at_least(10, 0) {
        if !call.server.config.on("ServiceSettings", "EnableAPIPostDeletion") {
            return Err(ApiError::new(
                501,
                "api.post.delete_post.not_enabled.app_error",
                "Permanent post deletion feature is not enabled. Please contact your System Administrator.",
            ));
        }
        let id = quoted(id);
        call.database().script(&format!(
            "BEGIN; DELETE FROM posts WHERE id = {id} OR rootid = {id}; DELETE FROM threads WHERE postid = {id};
             DELETE FROM threadmemberships WHERE postid = {id}; COMMIT;"
        ))?;
        return Ok(done());
    }
    let now = text::now_ms();
    call.database()
        .execute("UPDATE posts SET deleteat = $2, updateat = $2 WHERE id = $1 OR rootid = $1", &[&id, &now])?;
    Ok(done())
}

/// `{order, posts, next_post_id, prev_post_id}` and what later versions added.
fn list(call: &Call<'_>, rows: &[Row]) -> Result<Value, ApiError> {
    let version = call.version();
    let root = |row: &Row| if row.text("rootid").is_empty() { row.text("id") } else { row.text("rootid") }.to_owned();
    let roots: Vec<String> = rows.iter().map(root).collect();
    let query = "SELECT rootid, count(*) AS n FROM posts WHERE rootid = ANY($1) AND deleteat = 0 GROUP BY rootid";
    let counts = call.database().rows(query, &[&roots])?;
    let count = |root: &str| counts.iter().find(|row| row.text("rootid") == root).map_or(0, |row| row.int_or_zero("n"));
    let mut posts = Map::new();
    for (row, root) in rows.iter().zip(&roots) {
        posts.insert(row.text("id").to_owned(), shapes::post(row, version, count(root)));
    }
    let order: Vec<Value> = rows.iter().map(|row| row.raw("id")).collect();
    let mut list = json!({"order": order, "posts": posts, "next_post_id": "", "prev_post_id": ""});
    if version.within("6.4", "11.0") {
        shapes::add(&mut list, "has_next", json!(false));
    }
    if version.at_least(7, 2) {
        shapes::add(&mut list, "first_inaccessible_post_time", json!(0));
    }
    Ok(list)
}

fn thread(call: &Call<'_>, id: &str) -> Reply {
    let row = found(call, id)?;
    if !call.can_in_channel(row.text("channelid"), "read_channel")? {
        return Err(ApiError::permission());
    }
    let root = if row.text("rootid").is_empty() { id } else { row.text("rootid") };
    let query = "SELECT * FROM posts WHERE (id = $1 OR rootid = $1) AND deleteat = 0 ORDER BY createat DESC";
    let rows = call.database().rows(query, &[&root])?;
    let newest = rows.first().map(|row| row.text("id")).unwrap_or_default();
    let last = rows.iter().map(|row| row.int_or_zero("updateat")).max().unwrap_or_default();
    Ok(ok(&list(call, &rows)?).with("Etag", format!("{}.{root}.{newest}.{last}", call.version())))
}

fn reactions(call: &Call<'_>, id: &str) -> Reply {
    let rows = call.database().rows("SELECT * FROM reactions WHERE postid = $1", &[&id])?;
    if rows.is_empty() && call.version().at_least(6, 0) {
        return Ok(ok(&Value::Null));
    }
    let shown = rows.iter().map(|row| {
        json!({
            "user_id": row.text("userid"), "post_id": id, "emoji_name": row.text("emojiname"), "create_at": row.int_or_zero("createat"),
        })
    });
    Ok(ok(&shown.collect()))
}

fn of_channel(call: &Call<'_>, id: &str) -> Reply {
    if !call.can_in_channel(id, "read_channel")? {
        return Err(ApiError::permission());
    }
    let (offset, limit) = call.request.page(60);
    let since: i64 = call.request.param("since").and_then(|text| text.parse().ok()).unwrap_or(0);
    let query = "SELECT * FROM posts WHERE channelid = $1 AND deleteat = 0 AND updateat > $4 ORDER BY createat DESC, id OFFSET $2 LIMIT $3";
    let rows = call.database().rows(query, &[&id, &offset, &limit, &since])?;
    let last = rows.iter().map(|row| row.int_or_zero("updateat")).max().unwrap_or_default();
    let mut shown = list(call, &rows)?;
    if let (Some(oldest), Some(map)) = (rows.last(), shown.as_object_mut()) {
        let query = "SELECT id FROM posts WHERE channelid = $1 AND deleteat = 0 AND createat < $2 ORDER BY createat DESC LIMIT 1";
        let before = call.database().row(query, &[&id, &oldest.int_or_zero("createat")])?;
        map.insert("prev_post_id".to_owned(), json!(before.map(|row| row.text("id").to_owned()).unwrap_or_default()));
    }
    Ok(ok(&shown).with("Etag", format!("{}.{last}", call.version())))
}

/// Up to 8.x this reads the membership strictly, and fails on NULL; from 9.x it does not (observed).
fn unread(call: &Call<'_>, user: &str, id: &str) -> Reply {
    let row =
        call.database().row("SELECT * FROM channelmembers WHERE channelid = $1 AND userid = $2", &[&id, &user])?;
    let row = row.ok_or_else(ApiError::permission)?;
    if !call.version().at_least(9, 0) {
        shapes::channel_member(&row, call.version()).map_err(|error| {
            ApiError::new(500, "app.channel.get_member.app_error", "Unable to get the channel member.")
                .because("GetChannelMember", &error)
        })?;
    }
    let viewed = row.int_or_zero("lastviewedat");
    let query = "(SELECT * FROM posts WHERE channelid = $1 AND deleteat = 0 AND createat <= $2 ORDER BY createat DESC LIMIT 30)
                 UNION ALL (SELECT * FROM posts WHERE channelid = $1 AND deleteat = 0 AND createat > $2 ORDER BY createat LIMIT 30)";
    let mut rows = call.database().rows(query, &[&id, &viewed])?;
    rows.sort_by_key(|row| -row.int_or_zero("createat"));
    let shown = ok(&list(call, &rows)?);
    let last = rows.iter().map(|row| row.int_or_zero("updateat")).max().unwrap_or_default();
    Ok(if call.version().at_least(5, 30) { shown } else { shown.with("Etag", format!("{}.{last}", call.version())) })
}

/// Every word must occur (or one of them, with `is_or_search`). The real search is cleverer.
fn search(call: &Call<'_>, team: &str) -> Reply {
    let body = call.request.json();
    let terms = Call::given(&body, "terms")?;
    if !call.can_in_team(team, "view_team")? {
        return Err(ApiError::permission());
    }
    if call.server.config.get("ServiceSettings", "EnablePostSearch").and_then(Value::as_bool) == Some(false) {
        let said = "Searching has been disabled on this server. Please contact your System Administrator.";
        return Err(ApiError::new(501, "store.sql_post.search.disabled", said));
    }
    let words: Vec<String> = terms.split_whitespace().map(|word| format!("%{}%", word.to_lowercase())).collect();
    let how = if body.get("is_or_search").and_then(Value::as_bool) == Some(true) { "ANY" } else { "ALL" };
    let query = format!(
        "SELECT p.* FROM posts p JOIN channels c ON c.id = p.channelid JOIN channelmembers m ON m.channelid = c.id AND m.userid = $1
         WHERE (c.teamid = $2 OR coalesce(c.teamid, '') = '') AND p.deleteat = 0 AND p.type = '' AND lower(p.message) LIKE {how}($3)
         ORDER BY p.createat DESC LIMIT 100"
    );
    let rows = call.database().rows(&query, &[&call.session()?.user, &team, &words])?;
    let mut list = list(call, &rows)?;
    shapes::add(&mut list, "matches", Value::Null);
    Ok(super::call::uncached(ok(&list)))
}
