//! Where the server listens, and how this machine reaches it.

use crate::mattermost::config::Config;

/// The default of `ServiceSettings.ListenAddress`.
const DEFAULT: &str = ":8065";

pub(super) fn listen(config: &Config) -> String {
    config
        .text("ServiceSettings", "ListenAddress")
        .filter(|address| !address.is_empty())
        .unwrap_or_else(|| DEFAULT.into())
}

pub(super) fn speaks_tls(config: &Config) -> bool {
    config.text("ServiceSettings", "ConnectionSecurity").is_some_and(|value| value.eq_ignore_ascii_case("TLS"))
}

/// The address of a client on this machine: a server that listens everywhere is reached over loopback.
pub(super) fn local(listen: &str, tls: bool) -> String {
    let scheme = if tls { "https" } else { "http" };
    let (host, port) = split(listen);
    let host = match host {
        "" | "0.0.0.0" | "[::]" | "*" => "127.0.0.1",
        host => host,
    };
    match port {
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
    }
}
