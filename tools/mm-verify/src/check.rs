//! What a check is: data (identifier, title, area, function), and what one may find.

use mm_common::Result;
use mm_common::contract::call;
use mm_common::contract::sections::Status;
use std::fmt::Write as _;

use crate::checks::premise::Premise;
use crate::look::Look;

/// What a check is about; a report has a paragraph for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Area {
    /// The install tree.
    Files,
    /// Schema, roles, memberships.
    Database,
    /// The messages.
    History,
    /// The running server.
    Server,
    /// What people do, done over HTTP.
    Users,
    /// The files of the web client.
    Web,
    /// The web client in a browser.
    Browser,
}

impl Area {
    /// Its heading.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Files => "Files",
            Self::Database => "Database",
            Self::History => "Message history",
            Self::Server => "Server",
            Self::Users => "As users",
            Self::Web => "Web client",
            Self::Browser => "In a browser",
        }
    }
}

/// A check. `look` returns an error when it could not look, which is neither a pass nor a fail.
pub(crate) struct Definition {
    /// Stable identifier, `area.thing`.
    pub(crate) id: &'static str,
    /// What is checked, as a statement that holds on a good server.
    pub(crate) title: &'static str,
    /// What it is about.
    pub(crate) area: Area,
    /// Whether it writes (a session, a temporary user): forbidden by `--no-sessions` and `--dry-run`.
    pub(crate) needs: Needs,
    /// On which versions what it takes for granted was observed, and what it does on others.
    pub(crate) premise: Premise,
    /// Looks.
    pub(crate) look: fn(&mut Look) -> Result<Finding>,
}

/// What a check needs beyond reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing.
    Nothing,
    /// Sessions of real users or the account that was given.
    Sessions,
    /// A temporary user with a private channel.
    Scratch,
}

/// What a check that looked has seen.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    /// Good or bad.
    pub(crate) status: Status,
    /// What was seen.
    pub(crate) evidence: String,
    /// What it was compared with.
    pub(crate) compared_with: Option<String>,
    /// What to do.
    pub(crate) hint: Option<String>,
}

impl Finding {
    fn new(status: Status, evidence: impl Into<String>) -> Self {
        Self { status, evidence: evidence.into(), compared_with: None, hint: None }
    }

    /// It is good.
    pub(crate) fn pass(evidence: impl Into<String>) -> Self {
        Self::new(Status::Pass, evidence)
    }

    /// It is bad.
    pub(crate) fn fail(evidence: impl Into<String>) -> Self {
        Self::new(Status::Fail, evidence)
    }

    /// Somebody should know.
    pub(crate) fn warn(evidence: impl Into<String>) -> Self {
        Self::new(Status::Warn, evidence)
    }

    /// There is nothing to look at here.
    pub(crate) fn skip(evidence: impl Into<String>) -> Self {
        Self::new(Status::Skip, evidence)
    }

    /// Adds what to do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(call::hint(&hint.into()).into_owned());
        self
    }

    /// Adds what it was compared with.
    pub(crate) fn against(mut self, what: impl Into<String>) -> Self {
        self.compared_with = Some(what.into());
        self
    }
}

/// A list for a line of evidence: the first few, and how many more.
pub(crate) fn some<T: AsRef<str>>(items: &[T], most: usize) -> String {
    let mut text = items.iter().take(most).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    if items.len() > most {
        let _ = write!(text, " and {} more", items.len() - most);
    }
    text
}
