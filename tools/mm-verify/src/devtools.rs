//! A browser of our own, for the time of the checks. It is steered over a pair of sockets that it has from its start, in the
//! protocol of its developer tools (`--remote-debugging-pipe`): no port is open, so nobody else on this machine can steer it. It
//! runs as a user that nobody is, so nobody can take its descriptors either: not as root, least of all on pages that belong to
//! the service user.

use std::cell::RefCell;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use mm_common::machine::command::{self, Cmd};
use mm_common::machine::files;
use mm_common::machine::given::Given;
use mm_common::machine::signals;
use mm_common::machine::user::{self, User};
use mm_common::{Error, Result};
use serde_json::{Value, json};

use crate::browsing::{self, Browser};

/// A first page of a cold browser takes seconds on a small machine.
const LIMIT: Duration = Duration::from_secs(60);

/// The longest pause between two looks at signals and limits.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest message: a picture of a page has a twentieth of it.
const MOST: usize = 32 << 20;

/// What a browser may use of the memory, in bytes: pages of the service user's are in it.
const MEMORY: u64 = 8 << 30;

/// By what names Chromium and Chrome are installed.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];

/// The browser reads commands from descriptor 3 and answers on 4.
const JOINED: &str = "exec 3<&1 4>&1 >/dev/null && exec \"$0\" \"$@\"";

/// What it is started with: without a window, without anything that would be looked up elsewhere, and with room for its pages
/// where a container gives little shared memory.
const FLAGS: [&str; 14] = [
    "--remote-debugging-pipe",
    "--headless=new",
    "--disable-gpu",
    "--window-size=1280,900",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--disable-popup-blocking",
    "--password-store=basic",
];

/// The browser that is installed. What only leads to a snap is none: that would not work in a directory of ours.
pub(crate) fn installed() -> Option<&'static str> {
    NAMES.into_iter().find(|name| command::find(name).is_ok_and(|path| !is_snaps(&path)))
}

/// Whether a program is one of a snap: a script that starts it, or a link to it, which is one to snap itself.
fn is_snaps(path: &Path) -> bool {
    let leads = |to: &Path| to.starts_with("/snap") || to.file_name().is_some_and(|name| name == "snap");
    let begin = files::read(path, 16 << 10).unwrap_or_default();
    path.canonicalize().is_ok_and(|to| leads(&to))
        || begin.starts_with(b"#!") && String::from_utf8_lossy(&begin).contains("/snap/bin/")
}

/// A page of a browser that was started for it.
#[derive(Debug)]
pub(crate) struct Page {
    line: RefCell<Line>,
    session: String,
    // Dropped last: it ends the browser.
    _process: Process,
}

/// A browser and its directory.
#[derive(Debug)]
struct Process {
    child: Child,
    // Dropped after its user's programs have ended.
    _directory: Given,
}

impl Drop for Process {
    fn drop(&mut self) {
        command::end(&mut self.child);
        let _ = self.child.wait();
    }
}

/// What is said to the browser and what it says, in messages that end with a zero byte.
#[derive(Debug)]
struct Line {
    stream: UnixStream,
    heard: Vec<u8>,
    number: u64,
    /// It was there, and is not any more.
    ended: bool,
}

impl Line {
    fn over(stream: UnixStream) -> Result<Self> {
        let set = stream.set_read_timeout(Some(PAUSE)).and_then(|()| stream.set_write_timeout(Some(LIMIT)));
        set.map_err(|error| Error::failed("cannot talk to the browser").because(error))?;
        Ok(Self { stream, heard: Vec::new(), number: 0, ended: false })
    }

    /// Sends a command; the number by which its answer is known.
    fn send(&mut self, session: Option<&str>, method: &str, parameters: &Value) -> Result<u64> {
        self.number += 1;
        let mut message = json!({ "id": self.number, "method": method, "params": parameters });
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let mut text = message.to_string().into_bytes();
        text.push(0);
        self.stream.write_all(&text).map_err(|error| {
            self.ended = matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset);
            gone(method).because(error)
        })?;
        Ok(self.number)
    }

    /// Says something and waits for the answer. Whatever the page asks in a window of its own meanwhile gets a yes.
    fn ask(&mut self, session: Option<&str>, method: &str, parameters: &Value) -> Result<Value> {
        let number = self.send(session, method, parameters)?;
        let begun = Instant::now();
        loop {
            let mut message = self.hear(method, begun)?;
            if message["id"].as_u64() == Some(number) {
                return match message["error"]["message"].as_str() {
                    Some(why) => Err(Error::failed(format!("the browser refuses {method}")).because(why)),
                    None => Ok(message["result"].take()),
                };
            }
            if message["method"] == "Page.javascriptDialogOpening" {
                self.send(session, "Page.handleJavaScriptDialog", &json!({ "accept": true }))?;
            }
        }
    }

    /// The next message.
    fn hear(&mut self, method: &str, begun: Instant) -> Result<Value> {
        let mut seen = 0;
        loop {
            if let Some(end) = self.heard[seen..].iter().position(|byte| *byte == 0) {
                let rest = self.heard.split_off(seen + end + 1);
                let message = std::mem::replace(&mut self.heard, rest);
                return serde_json::from_slice(&message[..seen + end])
                    .map_err(|error| Error::failed("cannot understand the browser").because(error));
            }
            seen = self.heard.len();
            if seen > MOST {
                return Err(gone(method).because(format!("it says more than {} MiB at once", MOST >> 20)));
            }
            if begun.elapsed() > LIMIT {
                return Err(gone(method).because(format!("it has not answered after {} seconds", LIMIT.as_secs())));
            }
            signals::check()?;
            let mut buffer = [0; 16 << 10];
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    self.ended = true;
                    return Err(gone(method).because("it has ended"));
                }
                Ok(count) => self.heard.extend_from_slice(&buffer[..count]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {
                }
                Err(error) => {
                    self.ended = error.kind() == ErrorKind::ConnectionReset;
                    return Err(gone(method).because(error));
                }
            }
        }
    }
}

fn gone(method: &str) -> Error {
    Error::failed(format!("the browser does not answer {method}"))
}

/// Whether an answer only says that one document has gone and the next one is not there yet.
fn is_between(error: &Error) -> bool {
    let words = ["navigated or closed", "Cannot find context", "Cannot find default execution context"];
    error.causes().iter().any(|cause| words.iter().any(|word| cause.contains(word)))
}

impl Page {
    /// Starts a browser and opens a page in it.
    pub(crate) fn open() -> Result<Self> {
        // In a container the browser's own sandbox may not be allowed: it ends at once. The user without rights is still there.
        let opened = match Self::started(&[]) {
            Err((_, true)) => Self::started(&["--no-sandbox"]),
            opened => opened,
        };
        opened.map_err(|(error, _)| match signals::check() {
            Ok(()) => error.hint(
                "see that it starts by hand: chromium --headless=new --dump-dom about:blank; or give --browser no",
            ),
            Err(stopped) => stopped,
        })
    }

    /// The page, or why there is none and whether the browser has ended before it answered anything.
    fn started(further: &[&str]) -> std::result::Result<Self, (Error, bool)> {
        let (process, mut line) = start(further)
            .and_then(|(process, stream)| Ok((process, Line::over(stream)?)))
            .map_err(|error| (error, false))?;
        match line.ask(None, "Target.createTarget", &json!({ "url": "about:blank" })) {
            Ok(target) => Self::attached(process, line, &target).map_err(|error| (error, false)),
            Err(error) => Err((error, line.ended)),
        }
    }

    fn attached(process: Process, mut line: Line, target: &Value) -> Result<Self> {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let attached =
            line.ask(None, "Target.attachToTarget", &json!({ "targetId": target["targetId"], "flatten": true }))?;
        let page = Self { line: line.into(), session: word(&attached["sessionId"]), _process: process };
        page.ask("Page.enable", &json!({}))?;
        // The server is looked at under its local address, for which it may have no certificate.
        page.ask("Security.setIgnoreCertificateErrors", &json!({ "ignore": true }))?;
        Ok(page)
    }

    fn ask(&self, method: &str, parameters: &Value) -> Result<Value> {
        self.line.borrow_mut().ask(Some(&self.session), method, parameters)
    }

    /// Runs the body of a function with the first element of a selector as its first argument.
    fn with(&self, element: &str, script: &str) -> Result<Value> {
        self.script(&format!("const element = document.querySelector(arguments[0]); {script}"), &[element])
    }

    /// Where an element can be pointed at, in pixels.
    fn point(&self, element: &str) -> Result<(f64, f64)> {
        let place = self.with(
            element,
            "element.scrollIntoView({ block: 'center', inline: 'center', behavior: 'instant' });
             const box = element.getBoundingClientRect();
             const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
             const top = document.elementFromPoint(x, y);
             return { x, y, reached: element === top || element.contains(top) };",
        )?;
        match (place["x"].as_f64(), place["y"].as_f64()) {
            (Some(x), Some(y)) if place["reached"] == true => Ok((x, y)),
            _ => Err(Error::failed("the browser cannot point at an element of the page")
                .because(format!("something covers `{element}`, or it is not shown"))),
        }
    }

    /// The document that is shown: each has a loader of its own.
    fn document(&self) -> Result<Value> {
        Ok(self.ask("Page.getFrameTree", &json!({}))?["frameTree"]["frame"]["loaderId"].take())
    }

    fn mouse(&self, kind: &str, (x, y): (f64, f64)) -> Result<()> {
        let button = if kind == "mouseMoved" { "none" } else { "left" };
        let event = json!({ "type": kind, "x": x, "y": y, "button": button, "clickCount": 1 });
        self.ask("Input.dispatchMouseEvent", &event).map(drop)
    }
}

impl Browser for Page {
    fn go(&self, address: &str) -> Result<()> {
        let before = self.document()?;
        let went = self.ask("Page.navigate", &json!({ "url": address }))?;
        if let Some(why) = went["errorText"].as_str() {
            return Err(Error::failed(format!("the browser cannot open {address}")).because(why));
        }
        // Where only what follows a `#` is another, the document stays.
        let stays = went["loaderId"].is_null();
        let is_loaded = || -> Result<bool> {
            Ok((stays || self.document()? != before) && self.script("return document.readyState;", &[])? == "complete")
        };
        let begun = Instant::now();
        while !is_loaded().or_else(|error| if is_between(&error) { Ok(false) } else { Err(error) })? {
            if begun.elapsed() > LIMIT {
                return Err(Error::failed(format!("the browser cannot open {address}"))
                    .because(format!("it is not loaded after {} seconds", LIMIT.as_secs())));
            }
            signals::check()?;
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn place(&self) -> Result<String> {
        Ok(self.script("return location.href;", &[])?.as_str().unwrap_or_default().to_owned())
    }

    fn cookie(&self, address: &str, name: &str, value: &str, http_only: bool) -> Result<()> {
        let cookie = json!({ "url": address, "name": name, "value": value, "path": "/", "httpOnly": http_only });
        let set = self.ask("Network.setCookie", &cookie)?;
        if set["success"] == false {
            return Err(Error::failed(format!("the browser does not take the cookie {name}")));
        }
        Ok(())
    }

    fn script(&self, script: &str, arguments: &[&str]) -> Result<Value> {
        let expression = format!("(function () {{ {script} }}).apply(null, {})", json!(arguments));
        let mut ran = self.ask("Runtime.evaluate", &json!({ "expression": expression, "returnByValue": true }))?;
        if let Some(thrown) = ran["exceptionDetails"].as_object() {
            let words = thrown["exception"]["description"].as_str().or(thrown["text"].as_str()).unwrap_or_default();
            return Err(Error::failed("a script failed in the page").because(words.lines().next().unwrap_or_default()));
        }
        Ok(ran["result"]["value"].take())
    }

    fn find(&self, selector: &str) -> Result<Option<String>> {
        let found = self.with(selector, "return element !== null;")?;
        Ok((found == true).then(|| selector.to_owned()))
    }

    fn text(&self, element: &str) -> Result<String> {
        Ok(self.with(element, "return element.innerText;")?.as_str().unwrap_or_default().to_owned())
    }

    fn type_into(&self, element: &str, text: &str) -> Result<String> {
        self.with(element, "element.scrollIntoView({ block: 'center', behavior: 'instant' }); element.focus();")?;
        for letter in text.chars().map(String::from) {
            self.ask("Input.dispatchKeyEvent", &json!({ "type": "keyDown", "key": letter, "text": letter }))?;
            self.ask("Input.dispatchKeyEvent", &json!({ "type": "keyUp", "key": letter }))?;
        }
        Ok(self.with(element, "return element.value;")?.as_str().unwrap_or_default().to_owned())
    }

    fn hover(&self, element: &str) -> Result<()> {
        let point = self.point(element)?;
        self.mouse("mouseMoved", point)
    }

    fn click(&self, element: &str) -> Result<()> {
        let point = self.point(element)?;
        ["mouseMoved", "mousePressed", "mouseReleased"].into_iter().try_for_each(|kind| self.mouse(kind, point))
    }

    fn picture(&self) -> Result<Vec<u8>> {
        let answer = self.ask("Page.captureScreenshot", &json!({ "format": "png" }))?;
        browsing::base64(answer["data"].as_str().unwrap_or_default())
            .ok_or_else(|| Error::failed("the browser gave a picture that is not base64"))
    }
}

/// Starts a browser. It and its directory go when this process does, also when it is killed.
fn start(further: &[&str]) -> Result<(Process, UnixStream)> {
    let attempt = "cannot start a browser";
    let name = installed().ok_or_else(|| Error::refused("no browser is installed"))?;
    let directory = Given::make(Path::new("/tmp"), "mm-verify-browser-")?;
    let place = directory.path();
    let (ours, theirs) = UnixStream::pair().map_err(|error| Error::failed(attempt).because(error))?;
    // The browser leaves files of its own where temporary files go.
    let mut cmd = Cmd::new("sh").env("HOME", place).env("TMPDIR", place).args(["-c", JOINED]);
    cmd = cmd.arg(command::find(name)?).args(FLAGS).args(further);
    cmd = cmd.arg(format!("--user-data-dir={}", place.join("profile").display())).used_in(place, MEMORY);
    if user::is_root() {
        let nobody = User::nobodys()?;
        directory.give(&nobody)?;
        cmd = cmd.user(&nobody);
    }
    let child = cmd.start(Stdio::null(), OwnedFd::from(theirs).into(), Stdio::null())?;
    Ok((Process { child, _directory: directory }, ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test writes its fixture")]
    fn what_leads_to_a_snap_is_no_browser() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        std::fs::write(path("snap"), "").unwrap();
        std::fs::write(path("own"), "#!/bin/sh\nexec /usr/lib/chromium/chromium\n").unwrap();
        std::fs::write(path("script"), "#!/bin/sh\nexec /snap/bin/chromium \"$@\"\n").unwrap();
        for (name, to) in [("chromium", "snap"), ("other", "own")] {
            std::os::unix::fs::symlink(path(to), path(name)).unwrap();
        }
        let found = ["own", "other", "chromium", "script"].map(|name| is_snaps(&path(name)));
        assert_eq!(found, [false, false, true, true]);
    }

    #[test]
    fn an_end_is_told_from_silence() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut line = Line::over(ours).unwrap();
        let answer = std::thread::spawn(move || (&theirs).write_all(b"{\"id\":1,\"result\":{}}\0"));
        line.ask(None, "first", &json!({})).unwrap();
        assert!(!line.ended);
        answer.join().unwrap().unwrap();
        line.ask(None, "second", &json!({})).unwrap_err();
        assert!(line.ended);
    }
}
