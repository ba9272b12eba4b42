//! Tools asked to stop with real signals at their checkpoints, one after the other.

use std::process::Output;

use serde_json::Value;

use crate::matrix;
use crate::site::Site;

/// A tool with its arguments on a site, to be asked to stop.
#[derive(Debug)]
pub struct Asked<'a> {
    site: &'a Site,
    tool: &'static str,
    arguments: Vec<String>,
    stdin: String,
}

/// How a run that was asked ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code.
    pub code: i32,
    /// The document.
    pub document: Value,
    /// What it said to people.
    pub said: String,
    /// Signal and checkpoint, for messages.
    pub at: String,
}

impl<'a> Asked<'a> {
    /// This tool with these arguments.
    pub fn of(site: &'a Site, tool: &'static str, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&word| word.to_owned()).collect();
        Self { site, tool, arguments, stdin: String::new() }
    }

    /// With a document on its standard input.
    #[must_use]
    pub fn given(self, document: &Value) -> Self {
        Self { stdin: document.to_string(), ..self }
    }

    fn run(&self, variables: &[(&str, &str)]) -> Output {
        let mut command = self.site.tool(self.tool);
        command.args(&self.arguments).args(["--format", "json"]).envs(variables.iter().copied());
        command.write_stdin(self.stdin.clone()).output().unwrap_or_else(|error| panic!("{}: {error}", self.tool))
    }

    /// The checkpoints that a run passes which nobody disturbs, each once: a third of them, and all with `MM_TEST_ALL`.
    pub fn checkpoints(&self) -> Vec<String> {
        let log = self.site.directory().join("checkpoints");
        let _ = std::fs::remove_file(&log);
        let output = self.run(&[("MM_CHECKPOINT_LOG", log.to_str().unwrap_or_default())]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {:?}, undisturbed: {said}", self.tool, self.arguments);
        let text = std::fs::read_to_string(&log).unwrap_or_else(|_| panic!("{} passes no checkpoint", self.tool));
        let mut names: Vec<String> = Vec::new();
        for name in text.lines() {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        matrix::some(names)
    }

    /// Runs it, asked at this checkpoint. Whatever it is, it says why it ended, writes its document, and ends with a code of
    /// those that are true then: done, nothing begun, undone.
    pub fn at(&self, signal: &str, checkpoint: &str) -> Ended {
        let at = format!("{} {:?}, {signal} at `{checkpoint}`", self.tool, self.arguments);
        let output = self.run(&[("MM_CHECKPOINT_SIGNAL", signal), ("MM_CHECKPOINT", checkpoint)]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let code = output.status.code().unwrap_or_else(|| panic!("{at}: {said}"));
        let document: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{at}: {error}: {said}"));
        assert!(matches!(code, 0 | 1 | 6), "{at}: exit status {code}: {said}");
        if code != 0 {
            assert!(document["error"].to_string().contains(signal), "{at}: {}", document["error"]);
            assert!(document["error"]["hint"].is_string(), "{at}: {}", document["error"]);
        }
        Ended { code, document, said, at }
    }

    /// Asks at each of these checkpoints, with one signal and the other in turns.
    pub fn at_each(&self, checkpoints: &[String], mut then: impl FnMut(Ended)) {
        for (name, signal) in checkpoints.iter().zip(["SIGTERM", "SIGINT"].into_iter().cycle()) {
            then(self.at(signal, name));
        }
    }
}

/// That no tool has left something open on this site, as it says itself.
pub fn nothing_is_open(site: &Site, at: &str) {
    let output = site.tool("mm-swap").arg("status").output().unwrap_or_else(|error| panic!("{at}: {error}"));
    let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let status = &status["status"];
    assert!(status["interrupted"].is_null() && status["held"] == false, "{at}: {status}");
    assert!(status["open"].as_array().is_some_and(Vec::is_empty), "{at}: {status}");
}
