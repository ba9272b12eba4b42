//! Sessions are rows: a row inserted by SQL works at once.

use serde_json::{Value, json};

use super::call::{ApiError, done};
use super::{Call, Reply, shapes};
use crate::database::{Insert, Row};
use crate::http::{Request, Response};
use crate::server::Server;
use crate::{log, text};

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) user: String,
    pub(crate) roles: Vec<String>,
    pub(crate) local: bool,
}

/// Columns that versions 6.4 to 7.7 choke on when a newer schema has them (observed for 6.7.0 and 7.1.0 on a 9.10 schema: every login 401).
const CHOKE: &[(&str, &str, &str, &str)] = &[
    ("teams", "cloudlimitsarchived", "7.1", "Team"),
    ("teammembers", "createat", "7.4", "TeamMember"),
    ("users", "lastlogin", "9.5", "User"),
];

/// What such a version says of the first column it does not know.
pub(crate) fn choked(server: &Server) -> Option<String> {
    let version = server.version();
    if server.faults.has("login-broken") {
        return Some("failed to get Session".to_owned());
    }
    if !version.within("6.4", "7.8") {
        return None;
    }
    let column = CHOKE.iter().filter(|(_, _, known, _)| version.within("", known));
    let found =
        column.into_iter().find(|(table, column, _, _)| server.database.has_column(table, column).unwrap_or_default());
    found.map(|(table, column, _, model)| {
        let what = table.trim_end_matches('s');
        format!("failed to get {what}: missing destination name {column} in *model.{model}")
    })
}

/// The session of a request, from the Authorization header, the cookie or the query; none when there is none, or it is over.
pub(crate) fn of(server: &Server, request: &Request) -> Result<Option<Session>, ApiError> {
    if request.local {
        let roles = vec!["system_admin".to_owned(), "system_user".to_owned()];
        return Ok(Some(Session { id: String::new(), user: String::new(), roles, local: true }));
    }
    let header = request.header("authorization").and_then(|value| value.split_once(' ')).map(|(_, token)| token.trim());
    let cookie = request.cookie("MMAUTHTOKEN");
    let Some(token) = header.or(cookie).or_else(|| request.param("access_token")).filter(|token| !token.is_empty())
    else {
        return Ok(None);
    };
    let found = match server.database.row("SELECT * FROM sessions WHERE token = $1", &[&token]) {
        Ok(found) => found,
        Err(error) => {
            log::info("Invalid session", json!({"error": error.to_string()}));
            return Ok(None);
        }
    };
    let Some(row) = found else {
        log::info("Invalid session", json!({"error": format!("GetSession: Invalid session token={token}, err=")}));
        return Ok(None);
    };
    if let Err(missing) = row.bool("expirednotify") {
        log::error("Invalid session", json!({"error": missing.to_string()}));
        // 500 in the old servers, 401 in the newer ones.
        return if server.version().at_least(6, 0) {
            Ok(None)
        } else {
            Err(ApiError::new(500, "app.session.get.app_error", "We encountered an error finding the session.")
                .because("GetSession", &missing))
        };
    }
    if let Some(words) = choked(server) {
        log::info("Invalid session", json!({"error": words}));
        return Ok(None);
    }
    let expires = row.int_or_zero("expiresat");
    if expires != 0 && expires < text::now_ms() || !alive(server, row.text("userid"))? {
        return Ok(None);
    }
    if header.is_none() && cookie.is_some() && !trusted(request, &row) {
        return Ok(None);
    }
    let roles = row.text("roles").split_whitespace().map(str::to_owned).collect();
    Ok(Some(Session { id: row.text("id").to_owned(), user: row.text("userid").to_owned(), roles, local: false }))
}

fn alive(server: &Server, user: &str) -> Result<bool, ApiError> {
    Ok(server.database.number("SELECT count(*) FROM users WHERE id = $1 AND deleteat = 0", &[&user])? > 0)
}

/// A cookie alone may read; to write it needs the word of the script that it is no forged form.
fn trusted(request: &Request, row: &Row) -> bool {
    let token = row.document("props").get("csrf").and_then(Value::as_str).map(str::to_owned);
    request.method == "GET"
        || request.header("x-requested-with").is_some_and(|value| value == "XMLHttpRequest")
        || request.header("x-csrf-token").is_some_and(|value| token.as_deref() == Some(value))
}

/// `POST /users/login`
pub(crate) fn login(call: &Call<'_>) -> Reply {
    let body = call.request.json();
    let word = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    let wrong = || {
        ApiError::new(
            401,
            "api.user.login.invalid_credentials_email_username",
            "Enter a valid email or username and/or password.",
        )
    };
    let name = word("login_id").to_lowercase();
    let found = match call.database().row("SELECT * FROM users WHERE username = $1 OR email = $1 OR id = $1", &[&name])
    {
        Ok(found) => found,
        Err(error) => {
            log::error("We encountered an error saving the audit.", json!({"error": "Unable to write to database."}));
            return Err(wrong().because("login", &error));
        }
    };
    let user = found.filter(|row| row.int_or_zero("deleteat") == 0).ok_or_else(wrong)?;
    let id = user.text("id").to_owned();
    if !text::fits(word("password"), user.text("password")) {
        call.database().execute("UPDATE users SET failedattempts = failedattempts + 1 WHERE id = $1", &[&id])?;
        return Err(wrong());
    }
    if let Some(words) = choked(call.server) {
        log::error("Failed to login", json!({"error": words}));
        return Err(wrong().because("login", &words));
    }
    let now = text::now_ms();
    let (session, token, csrf) = (text::new_id(), text::new_id(), text::new_id());
    let days =
        call.server.config.get("ServiceSettings", "SessionLengthWebInDays").and_then(Value::as_i64).unwrap_or(30);
    let expires = now + days * 86_400_000;
    let props = json!({"browser": "Unknown", "csrf": csrf, "isMobile": "false", "os": "", "platform": ""});
    let insert = Insert::into("sessions")
        .text("id", &session)
        .text("token", &token)
        .int("createat", now)
        .int("expiresat", expires)
        .int("lastactivityat", now)
        .text("userid", &id)
        .text("deviceid", word("device_id"))
        .text("roles", user.text("roles"))
        .bool("isoauth", false)
        .bool("expirednotify", false)
        .text("props", &props.to_string());
    call.database().script(&insert.sql())?;
    audit(call, &id, &session, "/api/v4/users/login", "success");
    if call.version().at_least(9, 5) {
        call.database().execute("UPDATE users SET lastlogin = $2, failedattempts = 0 WHERE id = $1", &[&id, &now])?;
    }
    let body = shapes::user(&user, call.version(), shapes::Eyes::Login);
    let mut response = Response::new(200, "application/json", body.to_string()).with("Token", token.as_str());
    // Cookies only for browsers, which say so.
    if call.request.header("x-requested-with").is_some_and(|value| value == "XMLHttpRequest") {
        let tail = format!("Path=/; Expires={}; Max-Age={}", text::http_date(expires), days * 86_400);
        response = response
            .with("Set-Cookie", format!("MMAUTHTOKEN={token}; {tail}; HttpOnly"))
            .with("Set-Cookie", format!("MMUSERID={id}; {tail}"))
            .with("Set-Cookie", format!("MMCSRF={csrf}; {tail}"));
    }
    Ok(response)
}

/// `POST /users/logout`
pub(crate) fn logout(call: &Call<'_>) -> Reply {
    if let Some(session) = &call.session {
        call.database().execute("DELETE FROM sessions WHERE id = $1", &[&session.id])?;
        audit(call, &session.user, &session.id, "/api/v4/users/logout", "");
    }
    Ok(done().with("Set-Cookie", "MMAUTHTOKEN=; Path=/; Max-Age=0; HttpOnly"))
}

fn audit(call: &Call<'_>, user: &str, session: &str, action: &str, extra: &str) {
    let insert = Insert::into("audits")
        .text("id", &text::new_id())
        .int("createat", text::now_ms())
        .text("userid", user)
        .text("action", action)
        .text("extrainfo", extra)
        .text("ipaddress", "127.0.0.1")
        .text("sessionid", session);
    if call.database().script(&insert.sql()).is_err() {
        log::error("We encountered an error saving the audit.", json!({}));
    }
}
