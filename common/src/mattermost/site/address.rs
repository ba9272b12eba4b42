//! Where the server listens, and how this machine reaches it.

use url::Url;

use crate::mattermost::config::Config;

/// The default of `ServiceSettings.ListenAddress`.
const DEFAULT: &str = ":8065";

/// One that is empty is not the default: the server then takes the port of its protocol.
pub(super) fn listen(config: &Config) -> String {
    match config.text("ServiceSettings", "ListenAddress") {
        None => DEFAULT.into(),
        Some(address) if address.is_empty() => if speaks_tls(config) { ":https" } else { ":http" }.into(),
        Some(address) => address,
    }
}

/// The site URL as a browser names it: scheme and host in small letters, names of other scripts encoded, the protocol's own port
/// left out, and no slash at the end. None where none is set, or none that a browser could be at.
pub(super) fn site_url(config: &Config) -> Option<String> {
    let url = Url::parse(config.text("ServiceSettings", "SiteURL")?.trim()).ok()?;
    let is_page = matches!(url.scheme(), "http" | "https") && url.has_host();
    is_page.then(|| format!("{}{}", url.origin().ascii_serialization(), url.path().trim_end_matches('/')))
}

/// The path of the site URL, such as `/chat`; nothing when it has none. The server answers below it only, on every
/// address, and sends whoever asks elsewhere there.
pub(super) fn subpath(config: &Config) -> String {
    let site_url = config.text("ServiceSettings", "SiteURL").unwrap_or_default();
    Url::parse(&site_url).map(|url| url.path().trim_end_matches('/').to_owned()).unwrap_or_default()
}

pub(super) fn speaks_tls(config: &Config) -> bool {
    config.text("ServiceSettings", "ConnectionSecurity").is_some_and(|value| value.eq_ignore_ascii_case("TLS"))
}

/// The address of a client on this machine: a server that listens everywhere is reached over loopback.
pub(super) fn local(listen: &str, tls: bool) -> String {
    let scheme = if tls { "https" } else { "http" };
    let host = match split(listen).0 {
        "" | "0.0.0.0" | "[::]" | "*" => "127.0.0.1",
        host => host,
    };
    match port(listen, tls) {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    }
}

pub(super) fn port(listen: &str, tls: bool) -> Option<u16> {
    let (_, port) = split(listen);
    match port? {
        "http" => Some(80),
        "https" => Some(443),
        number => number.parse().ok().or(Some(if tls { 443 } else { 80 })),
    }
}

fn split(listen: &str) -> (&str, Option<&str>) {
    match listen.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (listen, None),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_server_that_listens_everywhere_is_reached_over_loopback() {
        for listen in [":8065", "0.0.0.0:8065", "[::]:8065"] {
            assert_eq!(local(listen, false), "http://127.0.0.1:8065", "{listen}");
            assert_eq!(port(listen, false), Some(8065));
        }
        assert_eq!(local("10.1.2.3:8065", false), "http://10.1.2.3:8065");
        assert_eq!(local("[::1]:443", true), "https://[::1]:443");
        assert_eq!(port(":https", true), Some(443));
        assert_eq!(local(":http", false), "http://127.0.0.1:80");
    }

    fn config(service: &Value) -> Config {
        Config { path: None, settings: json!({ "ServiceSettings": service }), overrides: Vec::new() }
    }

    #[test]
    fn an_empty_listen_address_is_the_port_of_the_protocol() {
        assert_eq!(listen(&config(&json!({}))), ":8065");
        assert_eq!(listen(&config(&json!({ "ListenAddress": "" }))), ":http");
        assert_eq!(listen(&config(&json!({ "ListenAddress": "", "ConnectionSecurity": "TLS" }))), ":https");
    }

    #[test]
    fn the_site_url_is_named_as_a_browser_names_it() {
        let of = |url: &str| site_url(&config(&json!({ "SiteURL": url })));
        for (written, named) in [
            ("https://chat.example.org", "https://chat.example.org"),
            ("https://chat.example.org/", "https://chat.example.org"),
            ("HTTPS://Chat.Example.org:443//", "https://chat.example.org"),
            ("https://example.org:8443/chat/", "https://example.org:8443/chat"),
            ("http://[2001:DB8::1]:80/chat", "http://[2001:db8::1]/chat"),
            ("https://m\u{fc}nchen.example", "https://xn--mnchen-3ya.example"),
        ] {
            assert_eq!(of(written).as_deref(), Some(named), "{written}");
        }
        for none in ["", "chat.example.org", "mailto:chat@example.org", "https://"] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn the_path_of_the_site_url_is_that_of_the_server() {
        let of = |url: &str| subpath(&config(&json!({ "SiteURL": url })));
        assert_eq!(of("https://example.org/chat"), "/chat");
        assert_eq!(of("https://example.org/company/chat/"), "/company/chat");
        for none in ["https://example.org", "https://example.org/", ""] {
            assert_eq!(of(none), "", "{none}");
        }
        assert_eq!(subpath(&config(&json!({}))), "");
    }
}
