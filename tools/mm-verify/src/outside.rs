//! The address that users type, where it is another one than the server's own: what stands before the server is part of
//! what they get.

use mm_common::mattermost::api::{Answer, Server};
use mm_common::{Error, Result};
use url::Url;

use crate::look::Look;

const PING: &str = "/api/v4/system/ping";

/// More than there are between what people type and the page, of those that stay at the same host.
const REDIRECTS: usize = 3;

/// The way that users come, when that is another address than the server's and this is not a private hop.
pub(crate) fn address(look: &Look) -> Option<String> {
    look.installation.site_url().filter(|site| !look.is_private && *site != look.server.url)
}

/// Where users end up who type the site URL `base`: itself, or where it sends them at the same host, as from http to https.
///
/// # Errors
/// Why this machine does not get through to it: its users may all the same, by another DNS server, from outside a router that
/// does not lead back in, or signed in at a gateway.
pub(crate) fn reached(base: &str) -> Result<String> {
    let failed = |reason: String| {
        Error::failed(format!("{base}, the SiteURL, cannot be asked from this machine")).because(reason)
    };
    let mut place = base.to_owned();
    for _ in 0..=REDIRECTS {
        let answer = Server::at(place.clone()).get(PING, None).map_err(|error| failed(error.one_line()))?;
        if answer.status == 200 && answer.body["status"].is_string() {
            return Ok(place);
        }
        place = sent_on(&place, &answer).ok_or_else(|| {
            failed(format!("its ping answers {}: something else than this server is there", answer.status))
        })?;
    }
    Err(failed(format!("it sends on more than {REDIRECTS} times")))
}

/// Whether anything answers where the configuration has clients ask for events.
///
/// # Errors
/// Why this machine does not get through to it.
pub(crate) fn answers(base: &str) -> Result<()> {
    Server::at(base.to_owned()).get(PING, None).map(drop).map_err(|error| {
        Error::failed(format!(
            "{base}, where ServiceSettings (WebsocketURL, WebsocketPort, WebsocketSecurePort) has clients ask for events, cannot be asked from this machine"
        ))
        .because(error.one_line())
    })
}

/// Where an answer to a ping at `place` sends on to, when the same is there at the same host.
fn sent_on(place: &str, answer: &Answer) -> Option<String> {
    let target = answer.header("location").filter(|_| matches!(answer.status, 301 | 302 | 303 | 307 | 308))?;
    let place = Url::parse(place).ok()?;
    let target = place.join(target).ok()?;
    let base = target.as_str().strip_suffix(PING)?;
    (target.host_str() == place.host_str()).then(|| base.to_owned())
}

/// Where the web client at `page` asks for events: at `ServiceSettings.WebsocketURL`, else at the page's own host, at
/// `WebsocketSecurePort` or `WebsocketPort` where its address has no port (webapp, `websocket_actions`).
pub(crate) fn websocket(look: &Look, page: &str) -> String {
    let setting = |key: &str| look.installation.config.text("ServiceSettings", key).filter(|text| !text.is_empty());
    if let Some(named) = setting("WebsocketURL").and_then(|named| as_http(&named)) {
        return named;
    }
    let key = if page.starts_with("https:") { "WebsocketSecurePort" } else { "WebsocketPort" };
    let port = setting(key).and_then(|port| port.parse().ok());
    port.and_then(|port| with_port(page, port)).unwrap_or_else(|| page.to_owned())
}

/// An address that has no port of its own, with one.
fn with_port(page: &str, port: u16) -> Option<String> {
    let mut url = Url::parse(page).ok().filter(|url| url.port().is_none())?;
    url.set_port(Some(port)).ok()?;
    Some(url.as_str().trim_end_matches('/').to_owned())
}

/// An address of a WebSocket as one of HTTP, which is asked first.
fn as_http(address: &str) -> Option<String> {
    let rest = |scheme: &str| {
        address.get(..scheme.len()).filter(|start| start.eq_ignore_ascii_case(scheme)).map(|_| &address[scheme.len()..])
    };
    let url =
        rest("wss:").map(|rest| format!("https:{rest}")).or_else(|| rest("ws:").map(|rest| format!("http:{rest}")));
    url.map(|url| url.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_sent_on_to_the_same_at_the_same_host_alone() {
        let to = |place: &str, status: u16, target: &str| {
            let headers = vec![("location".to_owned(), target.to_owned())];
            sent_on(place, &Answer { status, headers, body: serde_json::Value::Null, bytes: Vec::new() })
        };
        let ping = |base: &str| format!("{base}{PING}");
        assert_eq!(to("http://a.b", 301, &ping("https://a.b")).as_deref(), Some("https://a.b"));
        assert_eq!(to("http://a.b", 308, &ping("https://a.b:8443")).as_deref(), Some("https://a.b:8443"));
        assert_eq!(to("http://a.b", 302, &ping("/chat")).as_deref(), Some("http://a.b/chat"));
        assert_eq!(to("http://a.b", 302, "https://a.b/login"), None);
        assert_eq!(to("http://a.b", 301, &ping("https://sso.b")), None);
        assert_eq!(to("http://a.b", 200, &ping("https://a.b")), None);
    }

    #[test]
    fn an_address_of_a_websocket_is_asked_as_one_of_http() {
        assert_eq!(as_http("wss://a.b:8443/").as_deref(), Some("https://a.b:8443"));
        assert_eq!(as_http("WS://a.b").as_deref(), Some("http://a.b"));
        assert_eq!(with_port("https://a.b", 8443).as_deref(), Some("https://a.b:8443"));
        assert_eq!(with_port("https://a.b/chat", 443).as_deref(), Some("https://a.b/chat"));
        assert_eq!(with_port("https://a.b:1", 443), None);
        assert_eq!((as_http("a.b"), as_http("w\u{df}"), as_http("https://a.b")), (None, None, None));
    }
}
