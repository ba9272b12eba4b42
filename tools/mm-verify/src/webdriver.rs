//! A browser that the administrator's own driver steers, over WebDriver (W3C): the few commands the checks need.

use std::time::Duration;

use mm_common::mattermost::api::{Answer, Server};
use mm_common::{Error, Result};
use serde_json::{Value, json};
use url::Url;

use crate::browsing::{self, Browser};

/// A first page of a cold browser takes seconds on a small machine.
const LIMIT: Duration = Duration::from_secs(60);

/// The key under which WebDriver gives an element (fixed by the standard).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A session of a driver.
#[derive(Debug)]
pub(crate) struct Session {
    driver: Server,
    session: String,
}

impl Session {
    /// Opens a browser with the driver at `address`.
    pub(crate) fn open(address: &str) -> Result<Self> {
        let driver = Server::with_limit(address, LIMIT);
        let session = new_session(&driver)?;
        Ok(Self { driver, session })
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

impl Browser for Session {
    fn go(&self, address: &str) -> Result<()> {
        self.post("url", &json!({ "url": address })).map(drop)
    }

    fn place(&self) -> Result<String> {
        Ok(self.get("url")?.as_str().unwrap_or_default().to_owned())
    }

    fn cookie(&self, address: &str, name: &str, value: &str, http_only: bool) -> Result<()> {
        // A driver sets it for wherever the page is.
        let place = self.place()?;
        if origin(&place).is_none_or(|now| Some(now) != origin(address)) {
            return Err(Error::failed(format!("the browser does not get the cookie {name}"))
                .because(format!("the page of {address} has led it to {}", origin(&place).unwrap_or(place))));
        }
        let cookie = json!({ "name": name, "value": value, "path": "/", "httpOnly": http_only });
        self.post("cookie", &json!({ "cookie": cookie })).map(drop)
    }

    fn script(&self, script: &str, arguments: &[&str]) -> Result<Value> {
        self.post("execute/sync", &json!({ "script": script, "args": arguments }))
    }

    fn find(&self, selector: &str) -> Result<Option<String>> {
        let found = self.post("elements", &json!({ "using": "css selector", "value": selector }))?;
        Ok(found[0][ELEMENT].as_str().map(str::to_owned))
    }

    fn text(&self, element: &str) -> Result<String> {
        Ok(self.get(&format!("element/{element}/text"))?.as_str().unwrap_or_default().to_owned())
    }

    fn type_into(&self, element: &str, text: &str) -> Result<String> {
        self.post(&format!("element/{element}/value"), &json!({ "text": text }))?;
        Ok(self.get(&format!("element/{element}/property/value"))?.as_str().unwrap_or_default().to_owned())
    }

    fn hover(&self, element: &str) -> Result<()> {
        let origin = json!({ ELEMENT: element });
        let action = json!({ "type": "pointerMove", "duration": 0, "x": 0, "y": 0, "origin": origin });
        self.post("actions", &json!({ "actions": [{ "type": "pointer", "id": "mouse", "actions": [action] }] }))
            .map(drop)
    }

    fn click(&self, element: &str) -> Result<()> {
        self.post(&format!("element/{element}/click"), &json!({})).map(drop)
    }

    fn picture(&self) -> Result<Vec<u8>> {
        let answer = self.get("screenshot")?;
        browsing::base64(answer.as_str().unwrap_or_default())
            .ok_or_else(|| Error::failed("the browser gave a picture that is not base64"))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.driver.delete(&format!("/session/{}", self.session), None);
    }
}

fn new_session(driver: &Server) -> Result<String> {
    // What a container gives as shared memory is too small for a page.
    let arguments = ["--headless=new", "--disable-gpu", "--window-size=1280,900", "--disable-dev-shm-usage"];
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

fn value(path: &str, answer: &Answer) -> Result<Value> {
    if answer.is_success() {
        return Ok(answer.body["value"].clone());
    }
    let message = answer.body["value"]["message"].as_str().unwrap_or("no message");
    let first = message.lines().next().unwrap_or_default().to_owned();
    Err(Error::failed(format!("the browser refuses {path}")).because(first))
}

/// Scheme, host and port of an address; none where it has no host.
fn origin(address: &str) -> Option<String> {
    let origin = Url::parse(address).ok()?.origin();
    origin.is_tuple().then(|| origin.ascii_serialization())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert_eq!(origin("http://localhost:8065/login"), origin("http://localhost:8065"));
        assert_eq!(origin("https://chat.example.com:443/x"), origin("https://chat.example.com"));
        for other in ["https://localhost:8065", "http://localhost:8066", "http://elsewhere:8065"] {
            assert_ne!(origin(other), origin("http://localhost:8065"), "{other}");
        }
        assert_eq!((origin("about:blank"), origin("data:text/html,x"), origin("")), (None, None, None));
    }
}
