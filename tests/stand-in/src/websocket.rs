//! The websocket: an upgrade that proves nothing, a challenge, `hello`, and events.

use std::io::ErrorKind;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::Role;
use tungstenite::{Message, WebSocket};

use crate::api::Session;
use crate::http::{Answer, Connection, Request, Response};
use crate::server::Server;
use crate::{api, log, text};

/// Everybody who listens.
#[derive(Default)]
pub(crate) struct Hub {
    listeners: Mutex<Vec<(String, Sender<Value>)>>,
}

impl Hub {
    fn join(&self, user: &str) -> Receiver<Value> {
        let (sender, receiver) = channel();
        if let Ok(mut listeners) = self.listeners.lock() {
            listeners.push((user.to_owned(), sender));
        }
        receiver
    }

    /// Sends an event to those of `users` who listen.
    pub(crate) fn publish(&self, event: &str, data: &Value, channel: &str, users: &[String]) {
        let message = json!({
            "event": event, "data": data,
            "broadcast": {"omit_users": null, "user_id": "", "channel_id": channel, "team_id": ""},
        });
        if let Ok(mut listeners) = self.listeners.lock() {
            listeners.retain(|(user, sender)| !users.contains(user) || sender.send(message.clone()).is_ok());
        }
    }
}

/// Answers `GET /api/v4/websocket`.
pub(crate) fn upgrade(server: &'static Server, request: &Request) -> Answer {
    let wants = request.header("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket"));
    let key = request.header("sec-websocket-key").map(str::to_owned);
    let Some(key) = key.filter(|_| wants) else { return Answer::Send(refusal(server, 400, "")) };
    let host = request.header("host").unwrap_or_default();
    let origin = request.header("origin").unwrap_or_default();
    if !origin.is_empty() && !is_welcome(server, origin, host) {
        return Answer::Send(refusal(server, 403, origin));
    }
    let session = api::session_of(server, request);
    let response = Response::bare(101)
        .with("Upgrade", "websocket")
        .with("Connection", "Upgrade")
        .with("Sec-WebSocket-Accept", derive_accept_key(key.as_bytes()));
    Answer::Upgrade(response, Box::new(move |connection| talk(server, connection, session)))
}

/// Whether a page may come from there. With `AllowCorsFrom`: those named there and that of the site URL. Without: up to 7.8.6
/// that of the address asked at; from 7.8.7 and 8.0 on, where a site URL is set, that of the site URL alone (observed on
/// 7.8.15, 10.6.0 and 10.11.6: 403 for the address asked at, 101 for the site URL).
fn is_welcome(server: &Server, origin: &str, host: &str) -> bool {
    let allowed = server.config.text("ServiceSettings", "AllowCorsFrom");
    let site_url = server.config.text("ServiceSettings", "SiteURL");
    if allowed.is_empty() {
        let version = server.version();
        let by_site = version.at_least(7, 9) || (version.at_least(7, 8) && version.patch >= 7);
        if by_site && !site_url.is_empty() {
            let start = |text: &str| text.splitn(4, '/').take(3).collect::<Vec<_>>().join("/").to_ascii_lowercase();
            return start(origin) == start(&site_url);
        }
        return origin.split_once("://").is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(host));
    }
    let site = site_url.strip_suffix(&server.subpath()).unwrap_or(&site_url);
    allowed == "*" || allowed.split(' ').chain([site]).any(|one| one == origin)
}

/// The HTTP status says 400 or 403, the JSON in the body says something else (observed).
fn refusal(server: &Server, status: u16, origin: &str) -> Response {
    let id = text::new_id();
    let (message, code) = if server.version().at_least(9, 6) {
        (format!("URL Blocked because of CORS. Url: {origin}"), 400)
    } else {
        ("Failed to upgrade websocket connection.".to_owned(), 500)
    };
    log::error("Failed to upgrade websocket connection.", json!({"request_id": id}));
    let body = json!({
        "id": "api.web_socket.connect.upgrade.app_error", "message": message, "detailed_error": "", "request_id": id, "status_code": code,
    });
    let text = format!("{}\n{body}", crate::http::reason(status));
    let response = Response::new(status, "text/plain; charset=utf-8", text)
        .with("Expires", "0")
        .with("Sec-Websocket-Version", "13");
    let response = response.with("Vary", "Accept-Encoding").with("X-Content-Type-Options", "nosniff");
    response.with("X-Request-Id", id).with("X-Version-Id", server.version_id())
}

struct Talk {
    socket: WebSocket<Connection>,
    sequence: i64,
}

impl Talk {
    fn say(&mut self, value: &Value) -> bool {
        self.socket.send(Message::text(value.to_string())).is_ok()
    }

    fn event(&mut self, mut event: Value) -> bool {
        api::add(&mut event, "seq", json!(self.sequence));
        self.sequence += 1;
        self.say(&event)
    }
}

fn talk(server: &Server, connection: Connection, session: Option<Session>) {
    if connection.read_timeout(Duration::from_millis(100)).is_err() {
        return;
    }
    let mut talk = Talk { socket: WebSocket::from_raw_socket(connection, Role::Server, None), sequence: 0 };
    let mut events = None;
    if let Some(session) = session {
        events = Some(welcome(server, &mut talk, &session.user, None));
    }
    loop {
        match talk.socket.read() {
            Ok(Message::Text(text)) => {
                let value: Value = serde_json::from_str(text.as_str()).unwrap_or_default();
                let sequence = value.get("seq").and_then(Value::as_i64).unwrap_or_default();
                if value.get("action").and_then(Value::as_str) == Some("authentication_challenge") {
                    let token = value
                        .get("data")
                        .and_then(|data| data.get("token"))
                        .and_then(Value::as_str)
                        .unwrap_or_default();
                    let Some(session) = by_token(server, token) else { return };
                    events = Some(welcome(server, &mut talk, &session.user, Some(sequence)));
                } else if !talk.say(&json!({"status": "OK", "seq_reply": sequence})) {
                    return;
                }
            }
            Ok(Message::Close(_)) => return,
            Ok(_) => {}
            Err(tungstenite::Error::Io(error))
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
        while let Some(receiver) = &events {
            match receiver.try_recv() {
                Ok(event) => {
                    if !talk.event(event) {
                        return;
                    }
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return,
            }
        }
    }
}

fn by_token(server: &Server, token: &str) -> Option<Session> {
    let headers = vec![("Authorization".to_owned(), format!("Bearer {token}"))];
    api::session_of(server, &Request { headers, ..Request::default() })
}

/// `hello` first, then the reply to the challenge, then the state of the user.
fn welcome(server: &Server, talk: &mut Talk, user: &str, reply: Option<i64>) -> Receiver<Value> {
    let version = server.version();
    let receiver = server.hub.join(user);
    if server.faults.has("websocket-broken") {
        return receiver;
    }
    let mut data = json!({});
    if version.at_least(5, 30) {
        api::add(
            &mut data,
            "connection_id",
            json!(if version.at_least(6, 0) { text::new_id() } else { String::new() }),
        );
    }
    api::add(&mut data, "server_version", json!(server.version_id()));
    if version.at_least(11, 0) {
        api::add(&mut data, "server_hostname", json!("localhost"));
    }
    let mut broadcast = json!({"omit_users": null, "user_id": user, "channel_id": "", "team_id": ""});
    if version.at_least(7, 2) {
        api::add(&mut broadcast, "connection_id", json!(""));
        api::add(&mut broadcast, "omit_connection_id", json!(""));
    }
    talk.event(json!({"event": "hello", "data": data, "broadcast": broadcast}));
    if let Some(sequence) = reply {
        talk.say(&json!({"status": "OK", "seq_reply": sequence}));
    }
    talk.event(
        json!({"event": "status_change", "data": {"status": "online", "user_id": user}, "broadcast": broadcast}),
    );
    receiver
}
