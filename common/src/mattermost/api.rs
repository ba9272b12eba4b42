//! The server's HTTP API, as far as the tools use it. Any status is an answer; only a server that cannot be reached,
//! or one that does not answer in time, is an error.

use std::io::Read as _;
use std::time::{Duration, Instant};

use semver::Version;
use serde_json::Value;
use ureq::http::{Request, Response};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use crate::contract::digest::Hasher;
use crate::contract::error::{Error, Result};
use crate::machine::signals;
use crate::mattermost::reach::{Confirming, Reach};

/// How long a call may take. `POST /database/recycle`, the slowest call observed, takes 12 s on every version.
pub const DEFAULT_LIMIT: Duration = Duration::from_secs(30);

/// How long a server that answers 429 is left alone when it does not say how long.
const BREATH: Duration = Duration::from_millis(200);

/// An answer larger than this is not one of the API (the largest recorded is under 300 kB).
const MOST: u64 = 32 * 1024 * 1024;

/// A server and how to reach it.
#[derive(Debug, Clone)]
pub struct Server {
    /// Base address without a slash at its end, such as `http://127.0.0.1:8065`.
    pub url: String,
    /// The way to it.
    pub reach: Reach,
    agent: Agent,
    limit: Duration,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers by lower-case name.
    pub headers: Vec<(String, String)>,
    /// The body as JSON; null when it is none.
    pub body: Value,
    /// The body as it came.
    pub bytes: Vec<u8>,
}

/// What is known of a body that was not kept.
#[derive(Debug, Clone)]
pub struct Measured {
    /// HTTP status.
    pub status: u16,
    /// Headers by lower-case name.
    pub headers: Vec<(String, String)>,
    /// Bytes of the body.
    pub bytes: u64,
    /// SHA-256 of the body.
    pub sha256: String,
}

/// A file to upload.
#[derive(Debug, Clone, Copy)]
pub struct Upload<'a> {
    /// The form field it goes into: `files` for posts.
    pub field: &'a str,
    /// Its name. Quotes and line breaks are not allowed in it.
    pub name: &'a str,
    /// Its contents.
    pub contents: &'a [u8],
}

impl Server {
    /// The server at a base address. Nothing is sent yet.
    pub fn at(url: impl Into<String>) -> Self {
        Self::with_limit(url, DEFAULT_LIMIT)
    }

    /// As [`Server::at`], with a limit for each call.
    pub fn with_limit(url: impl Into<String>, limit: Duration) -> Self {
        Self::reached_by(Reach::default(), url, limit)
    }

    /// As [`Server::with_limit`], over no connection but those of this way.
    pub fn reached_by(reach: Reach, url: impl Into<String>, limit: Duration) -> Self {
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier);
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // A redirect is an answer too: who follows it does not see where the server sent its users.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(limit))
            // The server is on this machine or in this network; a proxy for the way out is not for it.
            .proxy(None)
            .user_agent(concat!("mm-tools/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls.disable_verification(reach.takes_any_certificate()).build())
            .build();
        let url: String = url.into();
        let names = reach.names();
        let agent = Agent::with_parts(config, Confirming::new(reach.clone(), &url), names);
        Self { url: url.trim_end_matches('/').to_owned(), reach, agent, limit }
    }

    /// GET, with a session token if given.
    pub fn get(&self, path: &str, token: Option<&str>) -> Result<Answer> {
        self.call("GET", path, token, None)
    }

    /// DELETE, with a session token if given.
    pub fn delete(&self, path: &str, token: Option<&str>) -> Result<Answer> {
        self.call("DELETE", path, token, None)
    }

    /// POST of JSON, with a session token if given.
    pub fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Result<Answer> {
        self.call("POST", path, token, Some(body))
    }

    /// PUT of JSON, with a session token if given.
    pub fn put(&self, path: &str, token: Option<&str>, body: &Value) -> Result<Answer> {
        self.call("PUT", path, token, Some(body))
    }

    /// Uploads a file with form fields beside it (`multipart/form-data`).
    pub fn upload(&self, path: &str, token: Option<&str>, fields: &[(&str, &str)], file: &Upload) -> Result<Answer> {
        // No real file holds this line: it is longer than chance and only ours.
        let boundary = format!("mm-tools-{}", crate::mattermost::id::new()?);
        let mut body = Vec::new();
        for (name, value) in fields {
            body.extend_from_slice(
                format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
                    .as_bytes(),
            );
        }
        body.extend_from_slice(
            format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"; filename=\"{}\"\r\nContent-Type: \
                 application/octet-stream\r\n\r\n",
                file.field, file.name
            )
            .as_bytes(),
        );
        body.extend_from_slice(file.contents);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        let content_type = format!("multipart/form-data; boundary={boundary}");
        keep(&self.url, path, self.send("POST", path, token, &[("content-type", &content_type)], Some(&body))?)
    }

    /// GET of something that may be large: it is read to its end and measured, not kept.
    pub fn measure(&self, path: &str, token: Option<&str>) -> Result<Measured> {
        let mut response = self.send("GET", path, token, &[], None)?;
        let (status, headers) = (response.status().as_u16(), headers(&response));
        let mut reader = response.body_mut().with_config().limit(u64::MAX).reader();
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; 64 * 1024];
        let mut bytes = 0;
        loop {
            signals::check()?;
            let count = reader.read(&mut buffer).map_err(|error| unreadable(&self.url, path, error))?;
            if count == 0 {
                return Ok(Measured { status, headers, bytes, sha256: hasher.finish() });
            }
            bytes += count as u64;
            hasher.update(&buffer[..count]);
        }
    }

    /// A call with a JSON body or none, with any method.
    pub fn call(&self, method: &str, path: &str, token: Option<&str>, body: Option<&Value>) -> Result<Answer> {
        let text = body.map(Value::to_string);
        let kind: &[(&str, &str)] = if text.is_some() { &[("content-type", "application/json")] } else { &[] };
        keep(&self.url, path, self.send(method, path, token, kind, text.as_deref().map(str::as_bytes))?)
    }

    /// A server that limits the rate of requests (`RateLimitSettings`: 10 a second after the first 100) is asked again
    /// when it wants to be, as long as that is within the limit of a call. Its 429 says nothing of what was asked.
    fn send(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        extra: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<Response<Body>> {
        let begun = Instant::now();
        loop {
            let response = self.send_once(method, path, token, extra, body)?;
            let seconds = || response.headers().get("retry-after")?.to_str().ok()?.parse().ok();
            let pause = seconds().map_or(BREATH, Duration::from_secs).max(BREATH);
            if response.status() != 429 || begun.elapsed().saturating_add(pause) > self.limit {
                return Ok(response);
            }
            std::thread::sleep(pause);
        }
    }

    fn send_once(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        extra: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<Response<Body>> {
        let attempt = || Error::failed(format!("cannot call {method} {}{path}", self.url));
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in extra {
            request = request.header(*name, *value);
        }
        let unfit = |error| attempt().because(error);
        let answer = match body {
            Some(body) => self.agent.run(request.body(body).map_err(unfit)?),
            None => self.agent.run(request.body(()).map_err(unfit)?),
        };
        answer.map_err(|error| match own(error) {
            Ok(refusal) => refusal,
            Err(error) => attempt().because(error).hint(
                "see whether the server runs and listens there; its log is logs/mattermost.log in the install root",
            ),
        })
    }
}

impl Answer {
    /// A header by its name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// Whether the server that answers is of this release, by its `X-Version-Id`: version, build number, hash, licence,
    /// with dots between and inside. Releases of some lines name the line's first release there and the patch as build
    /// number after it.
    pub fn is_of(&self, version: &Version) -> bool {
        let id = self.header("x-version-id").unwrap_or_default();
        id.starts_with(&format!("{version}."))
            || id.starts_with(&format!("{}.{}.0.{version}.", version.major, version.minor))
    }

    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The server's identifier of the error, such as `app.channel.get_members.app_error`: the one part of an error
    /// that is the same in all versions.
    pub fn error_id(&self) -> Option<&str> {
        if self.is_success() { None } else { self.body.get("id").and_then(Value::as_str) }
    }

    /// Status, and the error when it is one: `500 app.channel.get_members.app_error (Unable to get ...)`.
    pub fn verdict(&self) -> String {
        let mut text = self.status.to_string();
        if let Some(id) = self.error_id() {
            text.push(' ');
            text.push_str(id);
        }
        // Up to 9.5 the SQL text that names the column stands in here for some calls (observed).
        let detail = self.body.get("detailed_error").and_then(Value::as_str).filter(|detail| !detail.is_empty());
        if let Some(detail) = detail.filter(|_| !self.is_success()) {
            text.push_str(" (");
            text.extend(detail.chars().take(300));
            text.push(')');
        }
        text
    }
}

impl Measured {
    /// A header by its name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn headers<T>(response: &Response<T>) -> Vec<(String, String)> {
    let text = |value: &ureq::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    response.headers().iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}

fn keep(url: &str, path: &str, mut response: Response<Body>) -> Result<Answer> {
    let bytes = response.body_mut().with_config().limit(MOST).read_to_vec();
    let bytes = bytes.map_err(|error| unreadable(url, path, error))?;
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Ok(Answer { status: response.status().as_u16(), headers: headers(&response), body, bytes })
}

/// The error of ours that an error of the client holds.
fn own(error: ureq::Error) -> std::result::Result<Error, ureq::Error> {
    match error {
        ureq::Error::Other(inner) => inner.downcast().map(|own| *own).map_err(ureq::Error::Other),
        other => Err(other),
    }
}

fn unreadable(url: &str, path: &str, error: impl std::fmt::Display) -> Error {
    Error::failed(format!("cannot read the answer of {url}{path}")).because(error)
}

#[cfg(test)]
mod tests;
