//! What mm-upgrade was called with. The words of the call stand in the run, so that a later verb needs none of them.

use std::path::{Component, Path, PathBuf};

use mm_common::contract::error::{Error, Result};
use mm_common::contract::near;

/// The verbs of mm-upgrade.
const VERBS: [&str; 4] = ["run", "resume", "rollback", "status"];

/// Its options with a value.
const VALUED: [&str; 16] = [
    "--to",
    "--store",
    "--install",
    "--policy",
    "--postgres",
    "--postgres-target",
    "--edition",
    "--runs",
    "--window",
    "--rehearsal",
    "--announce",
    "--on-failure",
    "--watch",
    "--flag",
    "--accept",
    "--format",
];

/// Its options without one.
const PLAIN: [&str; 5] = ["--public", "--dry-run", "--follow", "--shared-cluster", "--help"];

/// The six tools: what is accepted is accepted by all of them.
pub(super) const TOOLS: [&str; 6] = ["mm-path", "mm-fetch", "mm-backup", "mm-pgbump", "mm-swap", "mm-verify"];

/// The call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Called {
    pub(super) verb: String,
    pub(super) to: String,
    pub(super) store: Option<PathBuf>,
    pub(super) install: Option<PathBuf>,
    pub(super) policy: String,
    pub(super) postgres: Option<String>,
    pub(super) postgres_target: Option<PathBuf>,
    pub(super) edition: Option<String>,
    pub(super) runs: PathBuf,
    pub(super) window: Option<Window>,
    pub(super) rehearsal: Option<PathBuf>,
    pub(super) announce: String,
    pub(super) on_failure: String,
    pub(super) watch: String,
    pub(super) format: String,
    pub(super) public: bool,
    pub(super) dry_run: bool,
    pub(super) follow: bool,
    pub(super) shared_cluster: bool,
    /// `TOOL=FLAG`, in the order in which they were given.
    pub(super) flags: Vec<String>,
}

impl Called {
    /// Understands the words of a call; what is said later counts. Paths are made whole: a later verb may be called from
    /// elsewhere.
    ///
    /// # Errors
    /// Wrong usage (exit 2), with the word that may have been meant.
    pub(super) fn of(words: &[String]) -> Result<Self> {
        let mut called = Self {
            verb: "run".into(),
            to: String::new(),
            store: None,
            install: None,
            policy: "esr".into(),
            postgres: None,
            postgres_target: None,
            edition: None,
            runs: "/var/lib/mm-tools/runs".into(),
            window: None,
            rehearsal: None,
            announce: String::new(),
            on_failure: "stop".into(),
            watch: "300".into(),
            format: "human".into(),
            public: false,
            dry_run: false,
            follow: false,
            shared_cluster: false,
            flags: Vec::new(),
        };
        let mut words = words.iter();
        let mut window = String::new();
        while let Some(word) = words.next() {
            let (name, joined) = match word.split_once('=') {
                Some((name, value)) if word.starts_with("--") => (name, Some(value.to_owned())),
                _ => (word.as_str(), None),
            };
            if joined.is_none() && VERBS.contains(&name) {
                name.clone_into(&mut called.verb);
            } else if joined.is_none() && PLAIN.contains(&name) {
                called.plain(name);
            } else if VALUED.contains(&name) {
                let value = joined.or_else(|| words.next().cloned()).ok_or_else(|| {
                    Error::usage(format!("{name} needs a value")).hint("mm-upgrade --help says which")
                })?;
                if name == "--window" { window = value } else { called.valued(name, value) }
            } else {
                return Err(unknown(name));
            }
        }
        called.check(&window)?;
        called.make_whole();
        Ok(called)
    }

    fn plain(&mut self, name: &str) {
        match name {
            "--public" => self.public = true,
            "--dry-run" => self.dry_run = true,
            "--follow" => self.follow = true,
            "--shared-cluster" => {
                self.shared_cluster = true;
                self.flags.push("mm-pgbump=--shared-cluster".into());
            }
            _ => {}
        }
    }

    fn valued(&mut self, name: &str, value: String) {
        let given = |value: String| Some(value).filter(|value| !value.is_empty());
        match name {
            "--to" => self.to = value,
            "--store" => self.store = given(value).map(PathBuf::from),
            "--install" => self.install = given(value).map(PathBuf::from),
            "--policy" => self.policy = value,
            "--postgres" => self.postgres = given(value),
            "--postgres-target" => self.postgres_target = given(value).map(PathBuf::from),
            "--edition" => self.edition = given(value),
            "--runs" => self.runs = value.into(),
            "--rehearsal" => self.rehearsal = given(value).map(PathBuf::from),
            "--announce" => self.announce = value,
            "--on-failure" => self.on_failure = value,
            "--watch" => self.watch = value,
            "--format" => self.format = value,
            "--flag" => self.flags.push(value),
            _ => self.flags.extend(TOOLS.map(|tool| format!("{tool}=--accept={value}"))),
        }
    }

    fn check(&mut self, window: &str) -> Result<()> {
        let bad = |message: String, hint: &str| Err(Error::usage(message).hint(hint));
        let Self { on_failure, format, watch, verb, .. } = &self;
        if self.dry_run && verb != "run" {
            let hint = "what comes next of a run: mm-upgrade status";
            return bad(format!("--dry-run goes with run, not with {verb}"), hint);
        }
        if !["stop", "publish", "rollback"].contains(&on_failure.as_str()) {
            let message = format!("--on-failure '{on_failure}' is none of stop, publish and rollback");
            return bad(message, "for example: --on-failure rollback");
        }
        if !["human", "json"].contains(&format.as_str()) {
            return bad(format!("--format '{format}' is neither human nor json"), "for example: --format json");
        }
        if watch.is_empty() || !watch.chars().all(|c| c.is_ascii_digit()) {
            let message = format!("--watch '{watch}' is no number of seconds");
            return bad(message, "for example: --watch 300; 0 leaves it out");
        }
        if !window.is_empty() {
            self.window = Window::parse(window);
            if self.window.is_none() {
                let message = format!("--window '{window}' is no time of day from HH:MM to HH:MM");
                return bad(message, "for example: --window 02:00-05:00 (local time; it may go over midnight)");
            }
        }
        match self.postgres_target.as_deref().and_then(Path::to_str) {
            Some(target) if target.starts_with("fd:") => bad(
                format!("--postgres-target takes a file, not '{target}': resume reads it again"),
                "for example: --postgres-target /etc/mm-target",
            ),
            _ => Ok(()),
        }
    }

    fn make_whole(&mut self) {
        let paths = [&mut self.store, &mut self.install, &mut self.postgres_target, &mut self.rehearsal];
        for path in paths.into_iter().flatten() {
            *path = whole(path);
        }
        self.runs = whole(&self.runs);
        if self.announce.contains('/') {
            self.announce = whole(Path::new(&self.announce)).display().to_string();
        }
    }

    /// The value of a flag that is handed to a tool, if one is.
    pub(super) fn hands(&self, tool: &str) -> impl Iterator<Item = &str> {
        self.flags.iter().filter_map(move |entry| entry.strip_prefix(tool)?.strip_prefix('='))
    }
}

/// An absolute path without `.` and `..`; links stay what they are.
fn whole(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let mut whole = PathBuf::new();
    for component in absolute.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                whole.pop();
            }
            other => whole.push(other),
        }
    }
    whole
}

fn unknown(word: &str) -> Error {
    let known = VERBS.iter().chain(&VALUED).chain(&PLAIN).copied();
    let near = near::nearest(word, known).map_or_else(String::new, |near| format!("{near} may be meant; "));
    Error::usage(format!("unknown argument '{word}'"))
        .hint(format!("{near}the verbs are run, resume, rollback and status; for the options: mm-upgrade --help"))
}

/// A time of day, in minutes, from and to; it may go over midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    begin: u32,
    end: u32,
}

const DAY: u32 = 24 * 60;

impl Window {
    fn parse(text: &str) -> Option<Self> {
        let (begin, end) = text.split_once('-')?;
        Some(Self { begin: minutes(begin)?, end: minutes(end)? })
    }

    /// Whether what begins at a time of day and takes so many seconds ends inside.
    pub(super) fn holds(self, now: u32, seconds: f64) -> bool {
        let end = if self.end > self.begin { self.end } else { self.end + DAY };
        let now = if now >= self.begin { now } else { now + DAY };
        now < end && f64::from(now) + (seconds.ceil() / 60.0).ceil() <= f64::from(end)
    }
}

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { begin, end } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", begin / 60, begin % 60, end / 60, end % 60)
    }
}

/// `HH:MM` in minutes.
pub(super) fn minutes(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    let is_digits = |text: &str| text.len() == 2 && text.chars().all(|c| c.is_ascii_digit());
    let two = |text: &str| text.parse::<u32>().ok().filter(|_| is_digits(text));
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Result<Called> {
        Called::of(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_said_later_counts() {
        let first =
            ["run", "--to", "10.6.1", "--watch=0", "--flag", "mm-swap=--start-timeout=5", "--window", "02:00-05:00"];
        let called =
            of(&[&first[..], &["resume", "--watch", "5", "--accept", "rollback", "--runs", "/a/../b/./c"]].concat());
        let called = called.unwrap();
        assert_eq!((called.verb.as_str(), called.to.as_str(), called.watch.as_str()), ("resume", "10.6.1", "5"));
        assert_eq!(called.runs, Path::new("/b/c"));
        assert_eq!(called.hands("mm-swap").collect::<Vec<_>>(), ["--start-timeout=5", "--accept=rollback"]);
        assert_eq!(called.hands("mm-path").collect::<Vec<_>>(), ["--accept=rollback"]);
    }

    #[test]
    fn what_is_wrong_is_named_with_what_may_be_meant() {
        for (words, hint) in [
            (&["resme"][..], "resume may be meant"),
            (&["--polcy", "esr"], "--policy may be meant"),
            (&["strat"], "the verbs are run"),
            (&["--to"], "mm-upgrade --help"),
            (&["--window", "24:00-05:00"], "02:00-05:00"),
            (&["--window", "2-5"], "02:00-05:00"),
            (&["--window", "+2:00-05:00"], "02:00-05:00"),
            (&["--watch", "5m"], "--watch 300"),
            (&["--postgres-target", "fd:3"], "/etc/mm-target"),
            (&["--public=yes"], "--public may be meant"),
            (&["resume", "--dry-run"], "mm-upgrade status"),
        ] {
            let error = of(words).unwrap_err();
            let said = error.next_step().unwrap_or_default();
            assert!(error.code() == 2 && said.contains(hint), "{words:?}: {said}");
        }
    }

    #[test]
    fn a_window_may_go_over_midnight_and_holds_what_ends_in_it() {
        let window = |text| Window::parse(text).unwrap();
        let at = |text| minutes(text).unwrap();
        let night = window("22:00-05:00");
        assert!(night.holds(at("23:59"), 300.0 * 60.0) && !night.holds(at("23:59"), 302.0 * 60.0));
        assert!(
            night.holds(at("04:00"), 3600.0) && !night.holds(at("04:00"), 3601.0) && !night.holds(at("05:00"), 0.0)
        );
        assert!(!night.holds(at("21:59"), 0.0) && night.holds(at("22:00"), 0.0));
        assert!(window("00:00-00:00").holds(at("12:00"), 11.0 * 3600.0));
        let day = window("02:00-05:00");
        assert!(!day.holds(at("01:59"), 0.0) && day.holds(at("02:00"), 10_800.0));
    }
}
