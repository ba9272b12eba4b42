//! Calls about the server itself.

use std::thread;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::call::{ApiError, done, ok, uncached};
use super::{Call, Reply};
use crate::database::migrate;
use crate::http::Response;
use crate::{plugins, text};

const CLIENT: &str = include_str!("../../data/client-config.tsv");

pub(super) fn route(call: &Call<'_>) -> Option<Reply> {
    Some(match (call.method(), call.path) {
        ("GET", ["system", "ping"]) => ping(call),
        ("GET", ["config", "client"]) => Ok(ok(&client_config(call))),
        ("GET", ["license", "client"]) => Ok(ok(&json!({"IsLicensed": "false"}))),
        ("GET", ["config"]) => admin(call, |call| Ok(uncached(ok(&call.server.config.masked())))),
        ("GET", ["config", "environment"]) => admin(call, environment),
        ("GET", ["system", "schema", "version"]) if call.version().at_least(6, 4) => admin(call, schema),
        ("GET", ["plugins"]) => admin(call, |call| Ok(ok(&plugins::listed(call.server)))),
        ("GET", ["plugins", "statuses"]) => admin(call, |call| Ok(ok(&plugins::statuses(call.server)))),
        ("GET", ["plugins", "webapp"]) => call.session().map(|_| ok(&plugins::webapp(call.server))),
        ("GET", ["jobs"]) => admin(call, |call| jobs(call, None)),
        ("GET", ["jobs", "type", kind]) => admin(call, |call| jobs(call, Some(kind))),
        ("GET", ["jobs", id]) => admin(call, |call| job(call, id)),
        ("POST", ["caches", "invalidate"]) => admin(call, |_| Ok(uncached(done()))),
        ("POST", ["database", "recycle"]) => admin(call, recycle),
        ("GET", ["server_busy"]) => admin(call, |_| {
            Ok(ok(
                &json!({"busy": false, "expires": -62_135_596_800_i64, "expires_ts": "Mon Jan 1 00:00:00 +0000 UTC 0001"}),
            ))
        }),
        ("GET", ["cluster", "status"] | ["schemes"]) => admin(call, |_| Ok(ok(&json!([])))),
        ("GET", ["system", "timezones"]) => {
            call.session().map(|_| ok(&json!(["Africa/Abidjan", "Europe/Berlin", "UTC"])))
        }
        ("GET", ["logs"]) => admin(call, logs),
        ("GET", ["audits"]) => admin(call, audits),
        ("GET", ["analytics", "old"]) => admin(call, analytics),
        ("GET", ["permissions", "ancillary"]) if call.version().at_least(5, 30) => {
            let asked = call.request.param("subsection_permissions").unwrap_or_default().to_owned();
            admin(call, |_| Ok(ok(&json!(asked.split(',').collect::<Vec<_>>()))))
        }
        _ => return None,
    })
}

/// Runs `answer` for somebody with the permission to manage the system.
pub(super) fn admin(call: &Call<'_>, answer: impl FnOnce(&Call<'_>) -> Reply) -> Reply {
    if call.can("manage_system")? { answer(call) } else { Err(ApiError::permission()) }
}

/// The plain form says OK whatever happens to the database.
fn ping(call: &Call<'_>) -> Reply {
    let version = call.version();
    let mut body = Map::new();
    if version.at_least(8, 0) {
        body.insert("ActiveSearchBackend".to_owned(), json!("database"));
    }
    let desktop = !version.at_least(6, 0);
    for key in [
        "AndroidLatestVersion",
        "AndroidMinVersion",
        "DesktopLatestVersion",
        "DesktopMinVersion",
        "IosLatestVersion",
        "IosMinVersion",
    ] {
        if desktop || !key.starts_with("Desktop") {
            body.insert(key.to_owned(), json!(""));
        }
    }
    if call.request.param("get_server_status") != Some("true") {
        body.insert("status".to_owned(), json!("OK"));
        return Ok(ok(&Value::Object(body)));
    }
    let word = |good: bool| if good { "OK" } else { "UNHEALTHY" };
    // The real server writes a row and deletes it again; a query tells the same.
    let database = call.database().number("SELECT count(*) FROM systems", &[]).is_ok();
    let files = call.server.storage_works();
    let status = word(database && files);
    body.insert("database_status".to_owned(), json!(word(database)));
    body.insert("filestore_status".to_owned(), json!(word(files)));
    body.insert("status".to_owned(), json!(status));
    if version.at_least(11, 0) && call.session.is_some() {
        body.insert("root_status".to_owned(), json!(false));
    }
    let code = if database && files { 200 } else { 500 };
    let response = Response::new(code, "application/json", Value::Object(body).to_string());
    Ok(response.with("Database_status", word(database)).with("Filestore_status", word(files)).with("Status", status))
}

/// All values are strings. Members see more than everybody.
fn client_config(call: &Call<'_>) -> Value {
    let (server, version) = (call.server, call.version());
    let mut body = Map::new();
    for row in text::rows(CLIENT) {
        let [key, who, from, until, value] = row.as_slice() else { continue };
        if !version.within(from, until) || *who == "m" && call.session.is_none() {
            continue;
        }
        let value =
            if *value == "@" { server.client_value(key) } else { serde_json::from_str(value).unwrap_or_default() };
        body.insert((*key).to_owned(), json!(value));
    }
    // With a licence for them; nobody is asked where they are switched off.
    let newest = "SELECT id FROM termsofservice ORDER BY createat DESC LIMIT 1";
    if server.config.on("SupportSettings", "CustomTermsOfServiceEnabled")
        && let Ok(Some(terms)) = call.database().row(newest, &[])
    {
        body.insert("EnableCustomTermsOfService".to_owned(), json!("true"));
        body.insert("CustomTermsOfServiceId".to_owned(), json!(terms.text("id")));
    }
    Value::Object(body)
}

fn environment(call: &Call<'_>) -> Reply {
    let overridden = &call.server.config.overridden;
    if overridden.is_empty() && call.version().at_least(5, 30) {
        return Ok(uncached(ok(&Value::Null)));
    }
    Ok(uncached(ok(&Value::Object(overridden.clone()))))
}

fn schema(call: &Call<'_>) -> Reply {
    let applied = migrate::applied(call.database())?;
    Ok(ok(&applied.into_iter().map(|(version, name)| json!({"version": version, "name": name})).collect()))
}

fn job_of(row: &crate::database::Row) -> Value {
    json!({
        "id": row.text("id"), "type": row.text("type"), "priority": row.int_or_zero("priority"), "create_at": row.int_or_zero("createat"),
        "start_at": row.int_or_zero("startat"), "last_activity_at": row.int_or_zero("lastactivityat"), "status": row.text("status"),
        "progress": row.int_or_zero("progress"), "data": row.document("data"),
    })
}

fn jobs(call: &Call<'_>, kind: Option<&str>) -> Reply {
    let (offset, limit) = call.request.page(60);
    let kind = kind.unwrap_or("%");
    let query = "SELECT * FROM jobs WHERE type LIKE $1 ORDER BY createat DESC OFFSET $2 LIMIT $3";
    let rows = call.database().rows(query, &[&kind, &offset, &limit])?;
    Ok(ok(&rows.iter().map(job_of).collect()))
}

fn job(call: &Call<'_>, id: &str) -> Reply {
    let found = call.database().row("SELECT * FROM jobs WHERE id = $1", &[&id])?;
    found.map(|row| ok(&job_of(&row))).ok_or_else(|| ApiError::missing("app.job.get.app_error"))
}

/// A fixed wait of about twelve seconds, observed in every version.
fn recycle(call: &Call<'_>) -> Reply {
    thread::sleep(call.server.faults.seconds("recycle", 12.0).unwrap_or(Duration::from_secs(12)));
    Ok(done())
}

fn logs(call: &Call<'_>) -> Reply {
    let text = std::fs::read_to_string(call.server.root.join("logs/mattermost.log")).unwrap_or_default();
    let count = call.request.param("logs_per_page").and_then(|text| text.parse().ok()).unwrap_or(100);
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines.iter().skip(lines.len().saturating_sub(count)).map(|line| format!("\n{line}"));
    Ok(ok(&json!(tail.collect::<Vec<_>>())))
}

fn audits(call: &Call<'_>) -> Reply {
    let (offset, limit) = call.request.page(60);
    let rows =
        call.database().rows("SELECT * FROM audits ORDER BY createat DESC OFFSET $1 LIMIT $2", &[&offset, &limit])?;
    let shown = rows.iter().map(|row| {
        json!({
            "id": row.text("id"), "create_at": row.int_or_zero("createat"), "user_id": row.text("userid"), "action": row.text("action"),
            "extra_info": row.text("extrainfo"), "ip_address": row.text("ipaddress"), "session_id": row.text("sessionid"),
        })
    });
    Ok(ok(&shown.collect()))
}

fn analytics(call: &Call<'_>) -> Reply {
    let queries = [
        ("channel_open_count", "SELECT count(*) FROM channels WHERE type::text = 'O' AND deleteat = 0"),
        ("channel_private_count", "SELECT count(*) FROM channels WHERE type::text = 'P' AND deleteat = 0"),
        ("post_count", "SELECT count(*) FROM posts"),
        ("unique_user_count", "SELECT count(*) FROM users WHERE deleteat = 0"),
        ("team_count", "SELECT count(*) FROM teams WHERE deleteat = 0"),
    ];
    let mut rows = Vec::new();
    for (name, query) in queries {
        rows.push(json!({"name": name, "value": call.database().number(query, &[])?}));
    }
    for name in [
        "total_websocket_connections",
        "total_master_db_connections",
        "total_read_db_connections",
        "daily_active_users",
        "monthly_active_users",
        "inactive_user_count",
    ] {
        rows.push(json!({"name": name, "value": 0}));
    }
    Ok(ok(&Value::Array(rows)))
}
