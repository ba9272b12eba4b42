//! The command lines of the stages: each with the flags that all get and, once, those that the administrator gave for this
//! tool and that the verb knows.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use mm_common::contract::error::{Error, Result};
use mm_common::contract::shell;
use mm_common::machine::signals;
use mm_common::run::beside::beside;

use super::called::{Called, TOOLS};

/// Seconds that a stage waits for another tool.
const WAIT: u32 = 60;

/// The same for one that only leaves the server stopped when it gives up: a backup that has got the lock in between ends.
const WAIT_WHILE_STOPPED: u32 = 3600;

/// What puts command lines together.
pub(super) struct Commands<'a> {
    called: &'a Called,
    install: Option<String>,
    /// Which flags a verb of a tool was found to know.
    known: RefCell<BTreeMap<Vec<String>, bool>>,
}

impl<'a> Commands<'a> {
    pub(super) fn of(called: &'a Called, install: Option<&Path>) -> Self {
        Self { called, install: install.map(|path| path.display().to_string()), known: RefCell::default() }
    }

    /// A stage: `words` are tool, verb and flags of its own.
    pub(super) fn stage<T: AsRef<str>>(&self, words: &[T]) -> Result<Vec<String>> {
        self.compose(words, Some(WAIT))
    }

    /// A stage that begins while the server is stopped.
    pub(super) fn stage_while_stopped<T: AsRef<str>>(&self, words: &[T]) -> Result<Vec<String>> {
        self.compose(words, Some(WAIT_WHILE_STOPPED))
    }

    /// The same for people, as they would type it.
    pub(super) fn typed<T: AsRef<str>>(&self, words: &[T]) -> Result<String> {
        Ok(shell::words(&self.compose(words, None)?))
    }

    fn compose<T: AsRef<str>>(&self, words: &[T], wait: Option<u32>) -> Result<Vec<String>> {
        let words: Vec<String> = words.iter().map(|word| word.as_ref().to_owned()).collect();
        let (tool, verb) = (&words[0], words.get(1).filter(|word| !word.starts_with('-')));
        let mut line = words.clone();
        if let Some(install) = &self.install {
            line.extend(["--install".to_owned(), install.clone()]);
        }
        if let Some(wait) = wait {
            if !words.iter().any(|word| word == "--format") {
                line.extend(["--format".to_owned(), "json".into()]);
            }
            if !self.called.hands(tool).any(|flag| flag.starts_with("--lock-wait=")) {
                line.extend(["--lock-wait".to_owned(), wait.to_string()]);
            }
        }
        for flag in self.called.hands(tool) {
            let name = flag.split('=').next().unwrap_or(flag);
            // A verb that is called with the flags of the run again means the same flag with the same value once.
            if line[1..].iter().any(|word| word == name || word == flag) {
                continue;
            }
            let asked: Vec<&str> = std::iter::once(tool).chain(verb).map(String::as_str).chain([flag]).collect();
            if self.knows(&asked)? {
                line.push(flag.to_owned());
            }
        }
        Ok(line)
    }

    /// Whether a tool takes these words, its verb and flags with their values. Nothing is done.
    fn knows(&self, words: &[&str]) -> Result<bool> {
        let key: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        if let Some(known) = self.known.borrow().get(&key) {
            return Ok(*known);
        }
        signals::check()?;
        let ask = || beside(words[0])?.args(&words[1..]).arg("--help").output();
        let mut output = ask()?;
        // Ended by a signal that was meant for all of a group, it has said nothing of the words.
        if output.status.code().is_none() {
            output = ask()?;
        }
        let Some(code) = output.status.code() else {
            return Err(Error::failed(format!("cannot ask {} whether it takes `{}`", words[0], words[1..].join(" ")))
                .because("its --help was ended by a signal")
                .hint("run it again"));
        };
        let knows = code != 2;
        self.known.borrow_mut().insert(key, knows);
        Ok(knows)
    }

    /// Refuses a flag that no verb takes, or that mm-upgrade gives itself with another value: that would else be found out when
    /// the server is stopped already.
    ///
    /// # Errors
    /// Wrong usage (exit 2).
    pub(super) fn check_flags(&self) -> Result<()> {
        for entry in &self.called.flags {
            self.check_flag(entry)?;
        }
        Ok(())
    }

    fn check_flag(&self, entry: &str) -> Result<()> {
        let parts = entry.split_once('=').filter(|(tool, flag)| TOOLS.contains(tool) && flag.starts_with('-'));
        let Some((tool, flag)) = parts else {
            return Err(Error::usage(format!("--flag is TOOL=FLAG with one of the six tools, not '{entry}'"))
                .hint("for example: --flag mm-fetch=--mirror=URL"));
        };
        // What a tool is asked here says nothing of flags that exclude each other.
        if (tool, flag) == ("mm-backup", "--no-database") {
            return Err(Error::usage(
                "a restore point without the database is no way back: mm-upgrade takes no --no-database",
            )
            .hint("leave it out"));
        }
        let Called { postgres, edition, .. } = self.called;
        let mut own: Vec<&str> = match tool {
            "mm-path" => vec!["--to", "1.0.0", "--policy", "esr", "--check", "--store", "/"],
            "mm-backup" => vec!["--to", "/", "--stop", "--freeze", "--leave-stopped"],
            "mm-pgbump" => vec!["--leave-stopped"],
            "mm-verify" => vec!["--screenshots", "/"],
            _ => Vec::new(),
        };
        for (name, value) in [("--postgres", postgres), ("--edition", edition)] {
            if let Some(value) = value.as_deref().filter(|_| tool == "mm-path") {
                own.extend([name, value]);
            }
        }
        own.extend(["--install", "/", "--format", "json"]);
        if own.contains(&flag) {
            return Ok(());
        }
        for verb in [None, Some("restore"), Some("recover"), Some("watch")] {
            if verb == Some("watch") {
                own.extend(["--for", "1s"]);
            }
            let words: Vec<&str> =
                [Some(tool), verb].into_iter().flatten().chain(own.iter().copied()).chain([flag]).collect();
            if self.knows(&words)? {
                return Ok(());
            }
        }
        Err(Error::usage(format!("{tool} does not take '{flag}' here"))
            .hint(format!("see {tool} --help; some flags mm-upgrade gives itself")))
    }
}
