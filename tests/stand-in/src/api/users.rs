//! Users, their preferences and states.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::call::{ApiError, done, ok};
use super::shapes::Eyes;
use super::{Call, Reply, sessions, shapes};
use crate::text;

pub(super) fn route(call: &Call<'_>) -> Option<Reply> {
    Some(match (call.method(), call.path) {
        ("POST", ["users", "login"]) => sessions::login(call),
        ("POST", ["users", "logout"]) => sessions::logout(call),
        ("GET", ["users"]) => call.session().and_then(|_| list(call)),
        ("GET", ["users", "stats"]) => call.session().and_then(|_| stats(call)),
        ("POST", ["users", "ids"]) => call.session().and_then(|_| many(call, "id")),
        ("POST", ["users", "usernames"]) => call.session().and_then(|_| many(call, "username")),
        ("POST", ["users", "status", "ids"]) => call.session().and_then(|_| states(call)),
        ("GET", ["users", "username", name]) => call.session().and_then(|_| one(call, "username", name)),
        ("GET", ["users", "email", name]) => call.session().and_then(|_| one(call, "email", name)),
        ("GET", ["users", id]) => call.session().and_then(|_| get(call, id)),
        ("DELETE", ["users", id]) => call.session().and_then(|_| delete(call, id)),
        ("PUT", ["users", id, "active"]) => call.user(id).and_then(|id| active(call, &id)),
        ("PUT", ["users", id, "roles"]) => super::system::admin(call, |call| set_roles(call, id)),
        ("GET", ["users", id, "preferences"]) => call.user(id).and_then(|id| preferences(call, &id)),
        ("GET", ["users", id, "status"]) => call.session().and_then(|_| state(call, id)),
        ("GET", ["users", id, "sessions"]) => call.user(id).and_then(|id| own_sessions(call, &id)),
        ("POST", ["users", id, "sessions", "revoke", "all"]) => call.user(id).and_then(|id| revoke(call, &id)),
        _ => return None,
    })
}

fn eyes(call: &Call<'_>, id: &str) -> Eyes {
    if call.session.as_ref().is_some_and(|session| session.user == id) { Eyes::Own } else { Eyes::Others }
}

fn get(call: &Call<'_>, segment: &str) -> Reply {
    let id = if segment == "me" { call.user("me")? } else { segment.to_owned() };
    one(call, "id", &id)
}

fn one(call: &Call<'_>, column: &str, value: &str) -> Reply {
    let found = call.database().row(&format!("SELECT * FROM users WHERE {column} = $1"), &[&value])?;
    let row = found.ok_or_else(|| ApiError::missing("app.user.missing_account.const"))?;
    let id = row.text("id");
    let tag = format!("{}.{id}.{}..0.true.true.0", call.version(), row.int_or_zero("updateat"));
    let mut body = shapes::user(&row, call.version(), eyes(call, id));
    let accepted = "SELECT termsofserviceid FROM usertermsofservice WHERE userid = $1";
    if let Some(terms) = call.database().row(accepted, &[&id])?
        && matches!(eyes(call, id), Eyes::Own)
    {
        body["terms_of_service_id"] = json!(terms.text("termsofserviceid"));
    }
    Ok(ok(&body).with("Etag", tag))
}

fn list(call: &Call<'_>) -> Reply {
    let (offset, limit) = call.request.page(60);
    let team = call.request.param("in_team").unwrap_or_default();
    let query =
        "SELECT * FROM users WHERE $1 = '' OR id IN (SELECT userid FROM teammembers WHERE teamid = $1 AND deleteat = 0)
                 ORDER BY username OFFSET $2 LIMIT $3";
    let rows = call.database().rows(query, &[&team, &offset, &limit])?;
    Ok(ok(&rows.iter().map(|row| shapes::user(row, call.version(), Eyes::Others)).collect()))
}

fn many(call: &Call<'_>, column: &str) -> Reply {
    let asked = call.request.json();
    let words: Vec<String> =
        asked.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    let rows = call.database().rows(&format!("SELECT * FROM users WHERE {column} = ANY($1)"), &[&words])?;
    Ok(ok(&rows.iter().map(|row| shapes::user(row, call.version(), Eyes::Others)).collect()))
}

fn stats(call: &Call<'_>) -> Reply {
    Ok(ok(&json!({"total_users_count": call.database().number("SELECT count(*) FROM users WHERE deleteat = 0", &[])?})))
}

fn preferences(call: &Call<'_>, user: &str) -> Reply {
    let rows = call.database().rows("SELECT * FROM preferences WHERE userid = $1 ORDER BY category, name", &[&user])?;
    let shown = rows.iter().map(|row| {
        json!({"user_id": row.text("userid"), "category": row.text("category"), "name": row.text("name"), "value": row.text("value")})
    });
    Ok(ok(&shown.collect()))
}

fn state_of(call: &Call<'_>, user: &str) -> Result<Value, ApiError> {
    let row = call.database().row("SELECT * FROM status WHERE userid = $1", &[&user])?;
    let word = row.as_ref().map_or("offline", |row| row.text("status"));
    let mut state = json!({
        "user_id": user, "status": word, "manual": row.as_ref().is_some_and(|row| row.is("manual")),
        "last_activity_at": row.as_ref().map_or(0, |row| row.int_or_zero("lastactivityat")),
    });
    if call.version().at_least(5, 36) {
        shapes::add(&mut state, "dnd_end_time", json!(0));
    }
    Ok(state)
}

fn state(call: &Call<'_>, segment: &str) -> Reply {
    let id = if segment == "me" { call.user("me")? } else { segment.to_owned() };
    Ok(ok(&state_of(call, &id)?))
}

fn states(call: &Call<'_>) -> Reply {
    let asked = call.request.json();
    let ids = asked.as_array().into_iter().flatten().filter_map(Value::as_str);
    let states: Result<Vec<Value>, ApiError> = ids.map(|id| state_of(call, id)).collect();
    Ok(ok(&Value::Array(states?)))
}

fn own_sessions(call: &Call<'_>, user: &str) -> Reply {
    let rows =
        call.database().rows("SELECT * FROM sessions WHERE userid = $1 ORDER BY lastactivityat DESC", &[&user])?;
    let shown = rows.iter().map(|row| {
        json!({
            "id": row.text("id"), "token": "", "create_at": row.int_or_zero("createat"), "expires_at": row.int_or_zero("expiresat"),
            "last_activity_at": row.int_or_zero("lastactivityat"), "user_id": user, "device_id": row.text("deviceid"),
            "roles": row.text("roles"), "is_oauth": row.is("isoauth"), "expired_notify": row.is("expirednotify"),
            "props": row.document("props"), "team_members": null, "local": false,
        })
    });
    Ok(ok(&shown.collect()))
}

fn revoke(call: &Call<'_>, user: &str) -> Reply {
    call.database().execute("DELETE FROM sessions WHERE userid = $1", &[&user])?;
    Ok(done())
}

fn set_active(call: &Call<'_>, user: &str, active: bool) -> Reply {
    let now = text::now_ms();
    let deleted = if active { 0 } else { now };
    call.database().execute("UPDATE users SET deleteat = $2, updateat = $3 WHERE id = $1", &[&user, &deleted, &now])?;
    if !active {
        call.database().execute("DELETE FROM sessions WHERE userid = $1", &[&user])?;
    }
    Ok(done())
}

/// Others only for administrators; oneself where the configuration allows it.
fn active(call: &Call<'_>, user: &str) -> Reply {
    let wanted = call.request.json().get("active").and_then(Value::as_bool).ok_or_else(|| ApiError::body("active"))?;
    let own = call.session()?.user == user && !call.session()?.local;
    if own && !call.server.config.on("TeamSettings", "EnableUserDeactivation") && !call.can("manage_system")? {
        return Err(ApiError::new(
            401,
            "api.user.update_active.not_enable.app_error",
            "You cannot deactivate yourself because this feature is not enabled.",
        ));
    }
    set_active(call, user, wanted)
}

/// Deactivates; `?permanent=true` removes the user where the configuration allows it (always in local mode).
fn delete(call: &Call<'_>, id: &str) -> Reply {
    let id = call.user(id)?;
    if call.request.param("permanent") != Some("true") {
        return set_active(call, &id, false);
    }
    if !call.session()?.local && !call.can("manage_system")? {
        return Err(ApiError::permission());
    }
    if !call.session()?.local && !call.server.config.on("ServiceSettings", "EnableAPIUserDeletion") {
        return Err(ApiError::new(
            401,
            "api.user.delete_user.not_enabled.app_error",
            "Permanent user deletion feature is not enabled. Please contact your System Administrator.",
        ));
    }
    let mut script = String::new();
    for (table, column) in [
        ("sessions", "userid"),
        ("preferences", "userid"),
        ("channelmembers", "userid"),
        ("teammembers", "userid"),
        ("threadmemberships", "userid"),
        ("sidebarchannels", "userid"),
        ("sidebarcategories", "userid"),
        ("reactions", "userid"),
        ("posts", "userid"),
        ("fileinfo", "creatorid"),
        ("status", "userid"),
        ("audits", "userid"),
        ("users", "id"),
    ] {
        let _ = writeln!(script, "DELETE FROM {table} WHERE {column} = {};", crate::database::quoted(&id));
    }
    call.database().script(&format!("BEGIN;\n{script}COMMIT;"))?;
    Ok(done())
}

fn set_roles(call: &Call<'_>, user: &str) -> Reply {
    let roles = Call::given(&call.request.json(), "roles")?;
    call.database()
        .execute("UPDATE users SET roles = $2, updateat = $3 WHERE id = $1", &[&user, &roles, &text::now_ms()])?;
    call.database().execute("UPDATE sessions SET roles = $2 WHERE userid = $1", &[&user, &roles])?;
    Ok(done())
}
