//! The address that users type, where it is another one than the server's own: what stands before the server is part of
//! what they get.

use mm_common::Error;
use mm_common::mattermost::api::Server;

use crate::look::Look;

/// The site URL, where one is set.
pub(crate) fn site_url(look: &Look) -> Option<String> {
    let site = look.installation.config.text("ServiceSettings", "SiteURL")?;
    Some(site.trim_end_matches('/').to_owned()).filter(|site| site.starts_with("http"))
}

/// The way that users come, when that is another address than the server's and this is not a private hop.
pub(crate) fn address(look: &Look) -> Option<String> {
    site_url(look).filter(|site| !look.is_private && *site != look.server.url)
}

/// Why this machine does not get through to the site URL, if so: its users may all the same, by another DNS server, from
/// outside a router that does not lead back in, or signed in at a gateway.
pub(crate) fn beyond_reach(base: &str) -> Option<Error> {
    let failed = |reason: String| {
        Error::failed(format!("{base}, the SiteURL, cannot be asked from this machine")).because(reason)
    };
    match Server::at(base.to_owned()).get("/api/v4/system/ping", None) {
        Ok(answer) if answer.status == 200 && answer.body["status"].is_string() => None,
        Ok(answer) => {
            Some(failed(format!("its ping answers {}: something else than this server is there", answer.status)))
        }
        Err(error) => Some(failed(error.one_line())),
    }
}
