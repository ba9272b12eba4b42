//! Events: without them nobody sees a message before reloading the page.

use std::iter;
use std::time::{Duration, Instant};

use mm_common::mattermost::reach::Reach;
use mm_common::mattermost::websocket::Socket;
use mm_common::{Error, Result};
use serde_json::{Value, json};

use crate::check::Finding;
use crate::look::Look;
use crate::outside;

/// Events arrive in milliseconds; a server under load may take seconds.
const LIMIT: Duration = Duration::from_secs(10);

pub(crate) fn event(look: &mut Look) -> Result<Finding> {
    let scratch = look.scratch()?;
    let (token, channel, word) = (scratch.token.clone(), scratch.channel.clone(), scratch.word.clone());
    let mut seen = Vec::new();
    for base in iter::once(look.server.url.clone()).chain(outside::address(look)) {
        if base != look.server.url
            && let Some(error) = outside::beyond_reach(&base)
        {
            return Err(error.hint(
                "open the site in a browser and see whether a message appears without reloading; the server itself passed",
            ));
        }
        // What users reach through a proxy ends there.
        let reach = if base == look.server.url { look.server.reach.clone() } else { Reach::default() };
        let mut socket = match Socket::open(&base, &reach, &pages(look, &base), LIMIT) {
            Ok(socket) => socket,
            Err(error) if error.code() == 5 => return Err(error),
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

/// The pages that the request may say it comes from, the likelier first. Up to 7.8.6 a server takes that of the address it is
/// asked at, and none other (observed 5.29.0 to 7.1.9); from 7.8.7 and 8.0 on that of its site URL, and none other (observed
/// 7.8.15, 10.6.0, 10.11.6); with `AllowCorsFrom` that of the site URL. Which dot release of a line in between has
/// which rule is not known, so the other one is tried before the check fails.
fn pages(look: &Look, base: &str) -> Vec<String> {
    let Some(site) = outside::site_url(look) else { return vec![base.to_owned()] };
    let setting = look.installation.config.text("ServiceSettings", "AllowCorsFrom").unwrap_or_default();
    if *look.release() >= semver::Version::new(7, 8, 7) || !setting.is_empty() {
        vec![site, base.to_owned()]
    } else {
        vec![base.to_owned(), site]
    }
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
            return Err(Error::failed(format!("the server refuses the session: {}", message["error"]["message"])));
        }
        let carries = |message: &Value| message["data"]["post"].as_str().is_some_and(|text| text.contains(post));
        if message["event"] == wanted && (post.is_empty() || carries(&message)) {
            return Ok(());
        }
        if started.elapsed() > LIMIT {
            return Err(Error::failed(format!("no event `{wanted}` came within {} s", LIMIT.as_secs())));
        }
    }
}
