//! A browser, driven over WebDriver (W3C): the few commands the checks need. Chromedriver is started for the time of
//! the checks, as a user without rights: a browser must not run as root, least of all on pages that belong to the
//! service user.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use mm_common::machine::command::{self, Cmd};
use mm_common::machine::given::Given;
use mm_common::machine::user::{self, User};
use mm_common::mattermost::api::Server;
use mm_common::{Error, Result};
use serde_json::{Value, json};

/// A first page of a cold browser takes seconds on a small machine.
const LIMIT: Duration = Duration::from_secs(60);

/// How long something on a page may take to appear.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The key under which WebDriver gives an element (fixed by the standard).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A running browser.
#[derive(Debug)]
pub(crate) struct Browser {
    driver: Server,
    session: String,
    // Dropped after the session was ended: it kills the driver.
    _process: Option<Process>,
}

/// A chromedriver of ours and its scratch directory.
#[derive(Debug)]
struct Process {
    child: Child,
    // Dropped after its user's programs have ended.
    directory: Given,
}

impl Drop for Process {
    fn drop(&mut self) {
        command::end(&mut self.child);
        let _ = self.child.wait();
    }
}

/// Whether a browser is installed that could be driven.
pub(crate) fn is_installed() -> bool {
    command::exists("chromedriver")
}

impl Browser {
    /// Opens a browser: of the driver at `address`, or of a chromedriver started for it.
    pub(crate) fn open(address: Option<&str>) -> Result<Self> {
        if let Some(address) = address {
            let driver = Server::with_limit(address, LIMIT);
            let session = new_session(&driver, None, false)?;
            return Ok(Self { driver, session, _process: None });
        }
        let (process, port) = start()?;
        let driver = Server::with_limit(format!("http://127.0.0.1:{port}"), LIMIT);
        let profile = process.directory.path().join("profile");
        // In a container the browser's own sandbox may not be allowed; the user without rights is still there.
        let session =
            new_session(&driver, Some(&profile), false).or_else(|_| new_session(&driver, Some(&profile), true))?;
        Ok(Self { driver, session, _process: Some(process) })
    }

    /// Goes to an address and waits until the page is loaded.
    pub(crate) fn go(&self, address: &str) -> Result<()> {
        self.post("url", &json!({ "url": address })).map(drop)
    }

    /// Where the page is now.
    pub(crate) fn place(&self) -> Result<String> {
        Ok(self.get("url")?.as_str().unwrap_or_default().to_owned())
    }

    /// Sets a cookie for the page's host.
    pub(crate) fn cookie(&self, name: &str, value: &str, http_only: bool) -> Result<()> {
        let cookie = json!({ "name": name, "value": value, "path": "/", "httpOnly": http_only });
        self.post("cookie", &json!({ "cookie": cookie })).map(drop)
    }

    /// Runs a script in the page and returns its value.
    pub(crate) fn script(&self, script: &str, arguments: &[&str]) -> Result<Value> {
        self.post("execute/sync", &json!({ "script": script, "args": arguments }))
    }

    /// The element for a selector, as soon as it is there.
    pub(crate) fn element(&self, selector: &str) -> Result<Option<String>> {
        let started = Instant::now();
        loop {
            let found = self.post("elements", &json!({ "using": "css selector", "value": selector }))?;
            if let Some(element) = found[0][ELEMENT].as_str() {
                return Ok(Some(element.to_owned()));
            }
            if started.elapsed() > PATIENCE {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The text of an element.
    pub(crate) fn text(&self, element: &str) -> Result<String> {
        Ok(self.get(&format!("element/{element}/text"))?.as_str().unwrap_or_default().to_owned())
    }

    /// Types into an element and returns what it holds then.
    pub(crate) fn type_into(&self, element: &str, text: &str) -> Result<String> {
        self.post(&format!("element/{element}/value"), &json!({ "text": text }))?;
        Ok(self.get(&format!("element/{element}/property/value"))?.as_str().unwrap_or_default().to_owned())
    }

    /// Moves the pointer over an element: some buttons appear only then.
    pub(crate) fn hover(&self, element: &str) -> Result<()> {
        let origin = json!({ ELEMENT: element });
        let action = json!({ "type": "pointerMove", "duration": 0, "x": 0, "y": 0, "origin": origin });
        self.post("actions", &json!({ "actions": [{ "type": "pointer", "id": "mouse", "actions": [action] }] }))
            .map(drop)
    }

    /// Clicks on an element.
    pub(crate) fn click(&self, element: &str) -> Result<()> {
        self.post(&format!("element/{element}/click"), &json!({})).map(drop)
    }

    /// A picture of the page, PNG.
    pub(crate) fn picture(&self) -> Result<Vec<u8>> {
        let answer = self.get("screenshot")?;
        base64(answer.as_str().unwrap_or_default())
            .ok_or_else(|| Error::failed("the browser gave a picture that is not base64"))
    }

    fn get(&self, what: &str) -> Result<Value> {
        let path = format!("/session/{}/{what}", self.session);
        value(&path, &self.driver.get(&path, None)?)
    }

    fn post(&self, what: &str, body: &Value) -> Result<Value> {
        let path = format!("/session/{}/{what}", self.session);
        value(&path, &self.driver.post(&path, None, body)?)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.driver.delete(&format!("/session/{}", self.session), None);
    }
}

fn new_session(driver: &Server, profile: Option<&std::path::Path>, without_sandbox: bool) -> Result<String> {
    let mut arguments = vec!["--headless=new".to_owned(), "--disable-gpu".into(), "--window-size=1280,900".into()];
    // What a container gives as shared memory is too small for a page.
    arguments.push("--disable-dev-shm-usage".into());
    if let Some(profile) = profile {
        arguments.push(format!("--user-data-dir={}", profile.display()));
    }
    if without_sandbox {
        arguments.push("--no-sandbox".into());
    }
    let capabilities = json!({ "capabilities": { "alwaysMatch": {
        // The server is looked at under its local address, for which it may have no certificate.
        "acceptInsecureCerts": true,
        "goog:chromeOptions": { "args": arguments },
    } } });
    let answer = value("/session", &driver.post("/session", None, &capabilities)?)?;
    match answer["sessionId"].as_str() {
        Some(session) => Ok(session.to_owned()),
        None => Err(Error::failed("the WebDriver opened no session")),
    }
}

fn value(path: &str, answer: &mm_common::mattermost::api::Answer) -> Result<Value> {
    if answer.is_success() {
        return Ok(answer.body["value"].clone());
    }
    let message = answer.body["value"]["message"].as_str().unwrap_or("no message");
    let first = message.lines().next().unwrap_or_default().to_owned();
    Err(Error::failed(format!("the browser refuses {path}")).because(first))
}

/// What a browser may use of the memory, in bytes: pages of the service user's are in it.
const MEMORY: u64 = 8 << 30;

/// Starts a chromedriver on a free port. It, its browser and their directory go when this process does, also when it is
/// killed.
fn start() -> Result<(Process, u16)> {
    let directory = Given::make(Path::new("/tmp"), "mm-verify-browser-")?;
    let place = directory.path();
    // The browser leaves files of its own where temporary files go.
    let mut cmd = Cmd::new("chromedriver").arg("--port=0").env("HOME", place).env("TMPDIR", place);
    cmd = cmd.used_in(place, MEMORY);
    if user::is_root() {
        let nobody = User::named("nobody")?;
        directory.give(&nobody)?;
        cmd = cmd.user(&nobody);
    }
    let mut child = cmd.start(Stdio::null(), Stdio::piped(), Stdio::null())?;
    let stdout = child.stdout.take();
    let process = Process { child, directory };
    // A driver that says nothing for so long is ended with what it started when the value is dropped.
    let (sender, receiver) = std::sync::mpsc::channel();
    let heard = std::thread::Builder::new().spawn(move || {
        for line in stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines()).map_while(std::io::Result::ok)
        {
            let port = line.rsplit("on port ").next().and_then(|rest| rest.trim_end_matches('.').parse().ok());
            if let Some(port) = port.filter(|port: &u16| *port > 0 && line.contains("successfully")) {
                let _ = sender.send(port);
            }
        }
    });
    heard.map_err(|error| Error::failed("cannot listen to chromedriver").because(error))?;
    let port = receiver.recv_timeout(PATIENCE).map_err(|_| {
        Error::failed("chromedriver does not start").hint("try `chromedriver --port=0` by hand, or give --browser no")
    })?;
    Ok((process, port))
}

/// Decodes base64 (RFC 4648); line breaks are ignored.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut number, mut bits) = (0_u32, 0);
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=') {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        number = number << 6 | u32::from(digit);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(number >> bits & 0xFF).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_as_in_the_rfc() {
        for (coded, plain) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9v\nYmE=", "fooba")] {
            assert_eq!(base64(coded).unwrap(), plain.as_bytes(), "{coded}");
        }
        assert_eq!(base64("!"), None);
    }
}
