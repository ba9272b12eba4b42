//! Everything outside the API: the web client, its bundles, `/robots.txt`, incoming webhooks.

use std::path::{Component, Path};

use serde_json::{Value, json};

use crate::api::{self, Draft};
use crate::http::{Request, Response};
use crate::server::Server;
use crate::text;

pub(crate) fn answer(server: &Server, request: &Request) -> Response {
    if let Some(hook) = request.path.strip_prefix("/hooks/").filter(|_| request.method == "POST") {
        return incoming(server, request, hook);
    }
    if !matches!(request.method.as_str(), "GET" | "HEAD")
        || request.method == "HEAD" && !server.version().at_least(11, 0)
    {
        return Response::bare(405);
    }
    match request.path.as_str() {
        "/robots.txt" => Response::new(200, "text/plain; charset=utf-8", "User-agent: *\nDisallow: /\n").sized(),
        path => path.strip_prefix("/static/").map_or_else(|| root(server), |name| bundle(server, name)),
    }
}

/// `/`, `/login`, `/TEAM/channels/CHANNEL` and whatever else: the one page of the client.
fn root(server: &Server) -> Response {
    let version = server.version();
    let path = server.root.join("client/root.html");
    let Ok(page) = std::fs::read(&path) else { return not_found(server) };
    let policy = if version.at_least(11, 0) {
        "frame-ancestors 'self' ; script-src 'self'"
    } else if version.at_least(9, 6) {
        "frame-ancestors 'self' teams.microsoft.com; script-src 'self' cdn.rudderlabs.com"
    } else if version.at_least(8, 0) {
        "frame-ancestors 'self' teams.microsoft.com; script-src 'self' cdn.rudderlabs.com js.stripe.com/v3"
    } else if version.at_least(7, 2) {
        "frame-ancestors 'self'; script-src 'self' cdn.rudderlabs.com js.stripe.com/v3"
    } else {
        "frame-ancestors 'self'; script-src 'self' cdn.rudderlabs.com"
    };
    let kind = if version.at_least(8, 0) { "text/html" } else { "text/html; charset=utf-8" };
    let mut response = Response::new(200, kind, page)
        .sized()
        .with("Cache-Control", "no-cache, max-age=31556926, public")
        .with("Content-Security-Policy", policy)
        .with("X-Frame-Options", "SAMEORIGIN")
        .with("X-Request-Id", text::new_id())
        .with("X-Version-Id", server.version_id());
    if !version.at_least(8, 0) {
        response = response.with("Accept-Ranges", "bytes").with("Last-Modified", modified(&path));
    }
    server.hardened(response)
}

fn modified(path: &Path) -> String {
    let time = std::fs::metadata(path).and_then(|meta| meta.modified()).unwrap_or(std::time::UNIX_EPOCH);
    let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    text::http_date(i64::try_from(since.as_millis()).unwrap_or_default())
}

/// A file below `client/`; a clean 404 when it is not there.
fn bundle(server: &Server, name: &str) -> Response {
    let inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    let broken = server.faults.has("missing-bundle")
        && name.starts_with("main.")
        && Path::new(name).extension().is_some_and(|extension| extension == "js");
    // Plugin bundles are served from the client directory of the plugins.
    let path = match name.strip_prefix("plugins/") {
        Some(rest) => server.root.join(server.config.text("PluginSettings", "ClientDirectory")).join(rest),
        None => server.root.join("client").join(name),
    };
    if !inside || broken || !path.is_file() {
        return not_found(server);
    }
    let Ok(bytes) = std::fs::read(&path) else { return not_found(server) };
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    let response = Response::new(200, api::kind(extension), bytes).sized();
    let response = response.with("Accept-Ranges", "bytes").with("Cache-Control", "max-age=31556926, public");
    server.hardened(response.with("Last-Modified", modified(&path)).with("Vary", "Accept-Encoding"))
}

fn not_found(server: &Server) -> Response {
    let response = Response::new(404, "text/plain; charset=utf-8", "404 page not found\n")
        .with("Cache-Control", "no-cache, public");
    server.hardened(response.with("Vary", "Accept-Encoding").with("X-Content-Type-Options", "nosniff"))
}

/// An incoming webhook posts in the name of its owner.
fn incoming(server: &Server, request: &Request, id: &str) -> Response {
    let dressed = |response: Response| {
        let response = response.with("X-Request-Id", text::new_id()).with("X-Version-Id", server.version_id());
        let varied = server.version().at_least(6, 4);
        server.hardened(if varied { response.with("Vary", "Accept-Encoding") } else { response })
    };
    let failed = |status: u16| dressed(Response::new(status, "text/plain", "Invalid webhook.\n"));
    let query = "SELECT * FROM incomingwebhooks WHERE id = $1 AND deleteat = 0";
    let Ok(Some(hook)) = server.database.row(query, &[&id]) else { return failed(400) };
    let message = request.json().get("text").and_then(Value::as_str).unwrap_or_default().to_owned();
    if message.is_empty() {
        return failed(400);
    }
    let draft = Draft {
        id: text::new_id(),
        channel: hook.text("channelid").to_owned(),
        user: hook.text("userid").to_owned(),
        root: String::new(),
        message,
        props: json!({"from_webhook": "true", "webhook_display_name": hook.text("displayname")}),
        files: Vec::new(),
        at: text::now_ms(),
    };
    let script = api::statements(server.version(), &draft);
    match server.database.script(&format!("BEGIN;\n{script}COMMIT;")) {
        Ok(()) => dressed(Response::new(200, "text/plain", "ok")),
        Err(_) => failed(500),
    }
}
