//! The one error type. Its kind decides the exit code; its message says what was attempted, on what; the causes say
//! why it failed; the hint says what to do next.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{call, exit};

/// Result with the error of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it is. Each kind has one exit code (see [`exit`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Failed, machine as before.
    Failed,
    /// Wrong usage of the command line.
    Usage,
    /// Stopped half-way; a person is needed.
    HalfDone,
    /// A check looked and says no.
    CheckSaysNo,
    /// A precondition does not hold.
    Refused,
    /// Failed, and everything was put back.
    RolledBack,
    /// All that could be done is done; the rest is named.
    PartlyDone,
    /// No document, a broken or a foreign one.
    BadDocument,
    /// The document could not be written to stdout.
    Undelivered,
    /// Another run holds the lock.
    Locked,
}

impl Kind {
    /// The exit code of this kind.
    pub const fn code(self) -> u8 {
        match self {
            Self::Failed => exit::FAILED,
            Self::Usage => exit::USAGE,
            Self::HalfDone => exit::HALF_DONE,
            Self::CheckSaysNo => exit::CHECK_SAYS_NO,
            Self::Refused => exit::REFUSED,
            Self::RolledBack => exit::ROLLED_BACK,
            Self::PartlyDone => exit::PARTLY_DONE,
            Self::BadDocument => exit::BAD_DOCUMENT,
            Self::Undelivered => exit::UNDELIVERED,
            Self::Locked => exit::LOCKED,
        }
    }
}

/// A failure: what was attempted, why it did not work, what to do next.
#[derive(Debug, Clone)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Debug, Clone)]
struct Inner {
    kind: Kind,
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
}

impl Error {
    /// An error of the given kind. `message` says what was attempted and on what.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { inner: Box::new(Inner { kind, message: message.into(), causes: Vec::new(), hint: None }) }
    }

    /// Failed; the machine is as before (exit 1).
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, message)
    }

    /// A precondition does not hold; nothing was touched (exit 5).
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Kind::Refused, message)
    }

    /// Wrong usage (exit 2).
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// An input/output failure: `Error::io("write", path, error)`.
    pub fn io(attempt: &str, path: impl AsRef<std::path::Path>, cause: impl fmt::Display) -> Self {
        Self::failed(format!("cannot {attempt} `{}`", path.as_ref().display())).because(cause)
    }

    /// Adds the reason, below the reasons given so far.
    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.inner.causes.push(cause.to_string());
        self
    }

    /// Sets what to do next; the commands in it lead to what this tool was called on ([`call::hint`]). An earlier hint stays:
    /// the innermost one knows best.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        if self.inner.hint.is_none() {
            self.inner.hint = Some(call::hint(&hint.into()).into_owned());
        }
        self
    }

    /// Replaces the hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.inner.hint = Some(call::hint(&hint.into()).into_owned());
        self
    }

    /// The same failure seen from one layer up: `message` comes first, what was the message becomes its first cause.
    #[must_use]
    pub fn within(mut self, message: impl Into<String>) -> Self {
        let old = std::mem::replace(&mut self.inner.message, message.into());
        self.inner.causes.insert(0, old);
        self
    }

    /// The same failure with another kind.
    #[must_use]
    pub fn of_kind(mut self, kind: Kind) -> Self {
        self.inner.kind = kind;
        self
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        self.inner.kind
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        self.inner.kind.code()
    }

    /// What was attempted.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// Why, outermost first.
    pub fn causes(&self) -> &[String] {
        &self.inner.causes
    }

    /// What to do next.
    pub fn next_step(&self) -> Option<&str> {
        self.inner.hint.as_deref()
    }

    /// Message and causes in one line, for logs and records.
    pub fn one_line(&self) -> String {
        let mut line = self.inner.message.clone();
        for cause in &self.inner.causes {
            line.push_str(": ");
            line.push_str(cause);
        }
        line
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)
    }
}

impl std::error::Error for Error {}

/// Puts the attempt in front of a failure.
pub trait Context<T> {
    /// `message` says what this layer attempted; the failure becomes its cause.
    fn context(self, message: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Context<T> for Result<T, Error> {
    fn context(self, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| error.within(message()))
    }
}

impl<T> Context<T> for std::io::Result<T> {
    fn context(self, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::failed(message()).because(error))
    }
}

impl<T> Context<T> for std::result::Result<T, serde_json::Error> {
    fn context(self, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::failed(message()).because(error))
    }
}

impl<T> Context<T> for std::result::Result<T, nix::errno::Errno> {
    fn context(self, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::failed(message()).because(error.desc()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_above_keeps_the_causes_and_the_innermost_hint() {
        let error = Error::failed("cannot read `a`").because("permission denied").hint("run as root");
        let error = error.within("cannot probe the site").hint("never seen");
        assert_eq!(error.message(), "cannot probe the site");
        assert_eq!(error.causes(), ["cannot read `a`", "permission denied"]);
        assert_eq!(error.next_step(), Some("run as root"));
        assert_eq!(error.one_line(), "cannot probe the site: cannot read `a`: permission denied");
    }
}
