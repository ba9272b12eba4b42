//! The running server, asked as anybody may ask it.

use mm_common::Result;
use mm_common::contract::version;
use mm_common::mattermost::site::precise;
use serde_json::Value;

use crate::check::Finding;
use crate::look::Look;

pub(crate) fn ping(look: &mut Look) -> Result<Finding> {
    // That nobody answers is what we were to find out: a finding, not an error.
    let answer = match look.server.get("/api/v4/system/ping", None) {
        Ok(answer) => answer,
        Err(error) => {
            return Ok(Finding::fail(error.one_line()).hint(
                "start the server; while it migrates it does not listen yet. Its log is logs/mattermost.log in the install root",
            ));
        }
    };
    Ok(if answer.status == 200 && answer.body["status"] == "OK" {
        Finding::pass(format!("{} says OK", look.server.url))
    } else {
        Finding::fail(format!("{} answers {}", look.server.url, answer.verdict()))
            .hint("see whether that address is Mattermost's; give it with --url")
    })
}

pub(crate) fn status(look: &mut Look) -> Result<Finding> {
    // The plain ping says OK over a dead database (observed); only this form tells.
    let answer = look.server.get("/api/v4/system/ping?get_server_status=true", None)?;
    let of = |key: &str| answer.body[key].as_str().unwrap_or("not told").to_owned();
    let evidence =
        format!("{}; database {}, file store {}", answer.status, of("database_status"), of("filestore_status"));
    let bad = |key: &str| answer.body[key].as_str() == Some("UNHEALTHY");
    Ok(if bad("database_status") {
        Finding::fail(evidence)
            .hint("the server has lost its database: see whether PostgreSQL runs and where the data source points")
    } else if bad("filestore_status") {
        Finding::fail(evidence)
            .hint("the server cannot write into its data directory: see its owner, its mode and the free space")
    } else if answer.is_success() {
        Finding::pass(evidence)
    } else {
        Finding::fail(evidence)
    })
}

pub(crate) fn version(look: &mut Look) -> Result<Finding> {
    let client = look.server.get("/api/v4/config/client?format=old", None)?;
    let header = client.header("x-version-id").unwrap_or_default().to_owned();
    let text = |key: &str| client.body.get(key).and_then(Value::as_str);
    let named = text("Version").unwrap_or_default();
    let release = look.release();
    let is_named = version::parse(named).is_ok_and(|named| precise(named, text("BuildNumber")) == *release);
    let evidence = format!("X-Version-Id {header}, client configuration {named}");
    Ok(if client.is_of(release) && is_named {
        Finding::pass(evidence)
    } else if named.is_empty() && header.is_empty() {
        Finding::fail(format!("{} names no version (status {})", look.server.url, client.status))
            .hint("see whether that address is Mattermost's; give it with --url")
    } else {
        Finding::fail(evidence)
            .hint("an older process still runs, or another server answers at this address: restart the service")
    }
    .against(format!("{release}, which is installed")))
}
