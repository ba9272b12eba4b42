//! Events: without them nobody sees a message before reloading the page.

use std::time::{Duration, Instant};

use mm_common::Result;
use mm_common::mattermost::websocket::Socket;
use serde_json::{Value, json};

use crate::check::Finding;
use crate::look::Look;

/// Events arrive in milliseconds; a server under load may take seconds.
const LIMIT: Duration = Duration::from_secs(10);

pub(crate) fn event(look: &mut Look) -> Result<Finding> {
    let scratch = look.scratch()?;
    let (token, channel, word) = (scratch.token.clone(), scratch.channel.clone(), scratch.word.clone());
    let mut seen = Vec::new();
    for base in addresses(look) {
        let page = page(look, &base);
        let mut socket = match Socket::open(&base, &page, LIMIT) {
            Ok(socket) => socket,
            Err(error) => return Ok(refused(&base, &error.one_line(), error.next_step())),
        };
        // An upgrade alone proves nothing: only who is known gets a hello (observed).
        socket.send(&json!({"seq": 1, "action": "authentication_challenge", "data": {"token": token.reveal()}}))?;
        if let Err(error) = wait_for(&mut socket, "hello", "") {
            return Ok(refused(&base, &error.one_line(), None));
        }
        let body = json!({ "channel_id": channel, "message": format!("An event for mm-verify: {word}") });
        let posted = look.server.post("/api/v4/posts", Some(token.reveal()), &body)?;
        let Some(id) = posted.body["id"].as_str().filter(|_| posted.status == 201) else {
            return Err(Look::without("no message could be written"));
        };
        if let Err(error) = wait_for(&mut socket, "posted", id) {
            return Ok(refused(&base, &error.one_line(), None));
        }
        seen.push(base);
    }
    Ok(Finding::pass(format!("hello, and the event of a new message, at {}", seen.join(" and "))))
}

/// The server itself, and the way its users come: through the proxy, when the site URL is another address and this is
/// not a private hop.
fn addresses(look: &Look) -> Vec<String> {
    let mut addresses = vec![look.server.url.clone()];
    let site = look.installation.config.text("ServiceSettings", "SiteURL").unwrap_or_default();
    let site = site.trim_end_matches('/').to_owned();
    if !look.is_private && site.starts_with("http") && site != look.server.url {
        addresses.push(site);
    }
    addresses
}

/// The page that the request says it comes from. A server with `AllowCorsFrom` takes no other than those named there and
/// that of the site URL; any other server wants that of the address it is asked at.
fn page(look: &Look, base: &str) -> String {
    let setting = |key: &str| look.installation.config.text("ServiceSettings", key).filter(|text| !text.is_empty());
    setting("AllowCorsFrom").and_then(|_| setting("SiteURL")).unwrap_or_else(|| base.to_owned())
}

fn refused(base: &str, why: &str, hint: Option<&str>) -> Finding {
    Finding::fail(format!("{base}: {why}")).hint(hint.unwrap_or(
        "see whether a proxy passes WebSocket upgrades for /api/v4/websocket, and whether SiteURL is the address users type",
    ))
}

/// Waits for an event; for `posted`, for the one of this post.
fn wait_for(socket: &mut Socket, wanted: &str, post: &str) -> Result<()> {
    let started = Instant::now();
    loop {
        let message = socket.receive()?;
        if message["status"] == "FAIL" {
            return Err(mm_common::Error::failed(format!(
                "the server refuses the session: {}",
                message["error"]["message"]
            )));
        }
        let carries = |message: &Value| message["data"]["post"].as_str().is_some_and(|text| text.contains(post));
        if message["event"] == wanted && (post.is_empty() || carries(&message)) {
            return Ok(());
        }
        if started.elapsed() > LIMIT {
            return Err(mm_common::Error::failed(format!("no event `{wanted}` came within {} s", LIMIT.as_secs())));
        }
    }
}
