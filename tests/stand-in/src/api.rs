//! The REST API: who asks, what they may, and how refusals look. Each file below answers the calls of one area.

mod call;
mod categories;
mod channels;
mod creation;
mod files;
mod memberships;
mod posts;
mod roles;
mod sessions;
mod shapes;
mod system;
mod teams;
mod threads;
mod users;

pub(crate) use call::{ApiError, Call, Reply};
pub(crate) use creation::rows;
pub(crate) use files::{New as NewFile, kind};
pub(crate) use posts::{Draft, statements};
pub(crate) use sessions::Session;
pub(crate) use shapes::add;

use serde_json::json;

use crate::http::{Request, Response};
use crate::server::Server;
use crate::{log, text};

/// Answers a call below `/api/v4`.
pub(crate) fn answer(server: &Server, request: &Request) -> Response {
    let id = text::new_id();
    let segments: Vec<&str> =
        request.path.trim_start_matches("/api/v4").split('/').filter(|segment| !segment.is_empty()).collect();
    if let Some(wait) = server.faults.seconds("slow-calls", 1.0) {
        std::thread::sleep(wait);
    }
    if server.faults.breaks(&request.method, &segments) {
        let error = ApiError::new(500, "app.store.app_error", "The store has failed.");
        return failed(server, request, &id, "", &error.because("Store", &"stand-in: call-broken"));
    }
    let session = match sessions::of(server, request) {
        Ok(session) => session,
        Err(error) => return failed(server, request, &id, "", &error),
    };
    let user = session.as_ref().map(|session| session.user.clone()).unwrap_or_default();
    let call = Call { server, request, path: &segments, session };
    let areas: [fn(&Call<'_>) -> Option<Reply>; 11] = [
        system::route,
        roles::route,
        users::route,
        memberships::route,
        categories::route,
        threads::route,
        teams::route,
        channels::route,
        creation::route,
        posts::route,
        files::route,
    ];
    match areas.iter().find_map(|area| area(&call)) {
        Some(Ok(response)) => dressed(server, request, &id, response),
        Some(Err(error)) => failed(server, request, &id, &user, &error),
        None => unknown(server, request),
    }
}

/// The session of a request, for those outside this module.
pub(crate) fn session_of(server: &Server, request: &Request) -> Option<Session> {
    sessions::of(server, request).ok().flatten()
}

/// The headers every answer of the API carries.
fn dressed(server: &Server, request: &Request, id: &str, response: Response) -> Response {
    let mut response =
        response.with("Vary", "Accept-Encoding").with("X-Request-Id", id).with("X-Version-Id", server.version_id());
    if request.method == "GET" {
        response = response.with("Expires", "0");
    }
    let tag = response.headers.iter().find(|(name, _)| name == "Etag").map(|(_, tag)| tag.as_str());
    if tag.is_some() && tag == request.header("if-none-match") {
        response = Response { status: 304, body: Vec::new(), ..response };
    }
    server.hardened(response)
}

fn failed(server: &Server, request: &Request, id: &str, user: &str, error: &ApiError) -> Response {
    let version = server.version();
    let mut fields = json!({
        "path": request.path, "request_id": id, "ip_addr": "127.0.0.1", "user_id": user, "method": request.method,
        "err_where": error.place, "http_code": error.status,
    });
    let key = if version.at_least(7, 2) { "error" } else { "err_details" };
    if let Some(fields) = fields.as_object_mut() {
        fields.insert(key.to_owned(), json!(error.detail));
    }
    log::line(if error.status >= 500 { "error" } else { "debug" }, &error.message, fields);
    // Which versions let the driver's words out: observed.
    let detail = if version.within("7.2", "9.6") { error.detail.as_str() } else { "" };
    let body = json!({
        "id": error.id, "message": error.message, "detailed_error": detail, "request_id": id, "status_code": error.status,
    });
    dressed(server, request, id, Response::new(error.status, "application/json", body.to_string()))
}

/// A path that is no call: neither request id nor version, and text/plain in old versions.
fn unknown(server: &Server, request: &Request) -> Response {
    let body = json!({
        "id": "api.context.404.app_error", "message": "Sorry, we could not find the page.",
        "detailed_error": format!(
            "There doesn't appear to be an api call for the url='{}'.  Typo? are you missing a team_id or user_id as part of the url?",
            request.path
        ),
        "status_code": 404,
    });
    let kind = if server.version().at_least(7, 2) { "application/json" } else { "text/plain; charset=utf-8" };
    Response::new(404, kind, body.to_string())
}
