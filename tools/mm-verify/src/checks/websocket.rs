//! Events: without them nobody sees a message before reloading the page.

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
    let own = Place { base: look.server.url.clone(), reach: look.server.reach.clone(), pages: pages(look) };
    let mut seen = Vec::new();
    if let Some(refusal) = hears(look, &own, &mut seen)? {
        return Ok(refusal);
    }
    if let Some(site) = outside::address(look) {
        let beyond = |error: Error| {
            error.hint("open the site in a browser and see whether a message appears without reloading; the server itself passed")
        };
        let page = outside::reached(&site).map_err(beyond)?;
        let base = outside::websocket(look, &page);
        let is_page = base == page;
        // What users reach through a proxy ends there.
        let there = Place { base, reach: Reach::default(), pages: vec![page] };
        if let Some(refusal) = hears(look, &there, &mut seen)? {
            // A proxy may pass nothing but events there, so nothing else is asked before they do not come.
            if !is_page {
                outside::answers(&there.base).map_err(beyond)?;
            }
            return Ok(refusal);
        }
    }
    Ok(Finding::pass(format!("hello, and the event of a new message, at {}", seen.join(" and "))))
}

/// Where events are asked for.
struct Place {
    /// The address.
    base: String,
    /// The way to it.
    reach: Reach,
    /// The pages that the request may say it comes from, the likelier first.
    pages: Vec<String>,
}

/// Whether a new message is heard of there; what keeps it from that.
fn hears(look: &mut Look, place: &Place, seen: &mut Vec<String>) -> Result<Option<Finding>> {
    let scratch = look.scratch()?;
    let (token, channel, word) = (scratch.token.clone(), scratch.channel.clone(), scratch.word.clone());
    let base = &place.base;
    let mut socket = match Socket::open(base, &place.reach, &place.pages, LIMIT) {
        Ok(socket) => socket,
        Err(error) if error.code() == 5 => return Err(error),
        Err(error) => return Ok(Some(refused(base, &error.one_line(), error.next_step()))),
    };
    // An upgrade alone proves nothing: only who is known gets a hello (observed).
    socket.send(&json!({"seq": 1, "action": "authentication_challenge", "data": {"token": token.reveal()}}))?;
    if let Err(error) = wait_for(&mut socket, "hello", "") {
        return Ok(Some(refused(base, &error.one_line(), None)));
    }
    let body = json!({ "channel_id": channel, "message": format!("An event for mm-verify: {word}") });
    let posted = look.server.post("/api/v4/posts", Some(token.reveal()), &body)?;
    let Some(id) = posted.body["id"].as_str().filter(|_| posted.status == 201) else {
        return Err(Look::without("no message could be written"));
    };
    if let Err(error) = wait_for(&mut socket, "posted", id) {
        return Ok(Some(refused(base, &error.one_line(), None)));
    }
    seen.push(base.clone());
    Ok(None)
}

/// The pages that a request to the server itself may say it comes from. Up to 7.8.6 a server takes that of the address it is
/// asked at, and none other (observed 5.29.0 to 7.1.9); from 7.8.7 and 8.0 on that of its site URL, and none other (observed
/// 7.8.15, 10.6.0, 10.11.6); with `AllowCorsFrom` those named there and that of the site URL. Which dot release of a line in
/// between has which rule is not known, so the others are tried before the check fails.
fn pages(look: &Look) -> Vec<String> {
    let base = look.server.url.clone();
    let setting = look.installation.config.text("ServiceSettings", "AllowCorsFrom").unwrap_or_default();
    let site = look.installation.site_url();
    let mut pages: Vec<String> = if *look.release() >= semver::Version::new(7, 8, 7) || !setting.is_empty() {
        site.into_iter().chain([base]).collect()
    } else {
        [base].into_iter().chain(site).collect()
    };
    pages.extend(setting.split_whitespace().filter(|allowed| *allowed != "*").map(str::to_owned));
    pages
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
