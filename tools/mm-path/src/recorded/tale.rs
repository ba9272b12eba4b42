//! What there is to tell of a run, and how: as a section of the document, and as lines for people.

use std::fmt::Write as _;

use mm_common::contract::sections::{Failure, Hop};
use mm_common::machine::door::Open;
use serde::Serialize;

use super::ends::End;

/// How a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum How {
    /// A tool works on it.
    Running,
    /// Nobody works on it, and it has not arrived.
    Stopped,
    /// It has arrived.
    Finished,
    /// It was being taken back when that was cut off.
    RollingBack,
    /// It was taken back.
    RolledBack,
    /// Somebody has closed it.
    Closed,
}

impl How {
    fn in_words(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Finished => "finished",
            Self::RollingBack => "being rolled back, which was cut off",
            Self::RolledBack => "rolled back",
            Self::Closed => "closed",
        }
    }
}

/// The tool that works at this moment.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Working {
    pub(crate) tool: String,
    pub(crate) verb: String,
    pub(crate) process: u32,
    pub(crate) since: String,
    pub(crate) seconds: Option<i64>,
}

/// The hop that is under way or comes next.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Current {
    /// The how many-th it is.
    pub(crate) number: usize,
    /// Of how many.
    pub(crate) of: usize,
    pub(crate) from: String,
    pub(crate) to: String,
    /// What it changes.
    pub(crate) changes: Vec<String>,
    /// Whether it is in place, and only its verification is missing.
    pub(crate) in_place: bool,
    /// Seconds that it is expected to take, where that is known.
    pub(crate) expected_seconds: Option<f64>,
}

/// What is really there.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Server {
    pub(crate) installed: String,
    pub(crate) edition: String,
    pub(crate) running: bool,
    /// Where it listens while users are kept out.
    pub(crate) private_address: Option<String>,
}

/// From a release to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Leg {
    pub(crate) from: String,
    pub(crate) to: String,
    /// What it changes.
    pub(crate) changes: Vec<String>,
}

/// What a hop does, for people.
fn in_words(from: &str, to: &str, changes: &[String]) -> String {
    if from == to && changes == ["database"] {
        return format!("{to}, whose database moves");
    }
    format!("{from} to {to}")
}

impl Leg {
    pub(crate) fn of(hop: &Hop) -> Self {
        Self { from: hop.from.to_string(), to: hop.to.to_string(), changes: hop.changes.clone() }
    }
}

/// All of it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Tale {
    pub(crate) run: String,
    pub(crate) directory: String,
    pub(crate) started: String,
    pub(crate) how: How,
    /// Since when it has ended, where that was noted.
    pub(crate) since: Option<String>,
    pub(crate) working: Option<Working>,
    pub(crate) from: String,
    /// How far it is: the release that was verified last.
    pub(crate) now: String,
    pub(crate) target: String,
    pub(crate) done: Vec<Leg>,
    pub(crate) hop: Option<Current>,
    pub(crate) to_do: Vec<Leg>,
    /// Seconds that all that is left is expected to take, where that is known.
    pub(crate) expected_seconds: Option<f64>,
    pub(crate) error: Option<Failure>,
    /// What was cut off and comes first.
    pub(crate) open: Vec<Open>,
    /// Absent where it cannot be seen at this moment.
    pub(crate) server: Option<Server>,
    /// What it comes to when nobody works on it.
    pub(crate) end: End,
    /// The last line that was logged.
    pub(crate) last_line: Option<String>,
    /// The command to go on with.
    pub(crate) next: Option<String>,
}

/// What is being done, as users of the tools would call it.
fn stage(working: &Working) -> &'static str {
    match (working.tool.as_str(), working.verb.as_str()) {
        ("mm-fetch", _) => "downloading the releases",
        ("mm-swap", "stage") => "unpacking the release; users notice nothing",
        ("mm-backup", "create") => "making the restore point",
        ("mm-backup", "restore") => "restoring; the server is stopped",
        ("mm-pgbump", "move") => "moving the database; the server is stopped while its rows are carried",
        ("mm-pgbump", "run") => "upgrading PostgreSQL; the server is stopped",
        ("mm-swap", "run") => "exchanging the release and starting the server",
        ("mm-swap" | "mm-pgbump", "rollback" | "recover") => "going back",
        ("mm-verify", "baseline") => "recording how the server is now; users notice nothing",
        ("mm-verify", "watch") => "watching the server; users are in",
        ("mm-verify", _) => "verifying",
        ("mm-upgrade", _) => "between two steps",
        _ => "working",
    }
}

impl Tale {
    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, words: &str| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name:<8} {words}");
        };
        line("run", &format!("{}, begun {}", self.run, self.started));
        let since = self.since.as_ref().map_or_else(String::new, |since| format!(", since {since}"));
        line("state", &format!("{}{since}", self.how.in_words()));
        if let Some(working) = &self.working {
            let Working { tool, verb, process, .. } = working;
            let seconds = working.seconds.map_or_else(String::new, |seconds| format!(", {seconds} s so far"));
            line("stage", &format!("{} ({tool} {verb}, process {process}){seconds}", stage(working)));
        }
        line("from", &self.from);
        let back = if self.how == How::RolledBack { ", rolled back" } else { "" };
        line("now", &format!("{}{back}", self.now));
        line("target", &self.target);
        for leg in &self.done {
            line("done", &in_words(&leg.from, &leg.to, &leg.changes));
        }
        if let Some(hop) = &self.hop {
            let what = in_words(&hop.from, &hop.to, &hop.changes);
            let mut words = format!("{} of {}: {what}", hop.number, hop.of);
            if hop.in_place {
                words.push_str(", in place, not verified");
            }
            if let Some(seconds) = hop.expected_seconds {
                // Writing to a String cannot fail.
                let _ = write!(words, ", about {}", crate::human::duration(seconds));
            }
            line("hop", &words);
        }
        for leg in &self.to_do {
            line("to do", &in_words(&leg.from, &leg.to, &leg.changes));
        }
        if let Some(seconds) = self.expected_seconds.filter(|_| self.to_do.len() > 1) {
            line("left", &format!("about {}", crate::human::duration(seconds)));
        }
        if let Some(error) = &self.error {
            line("error", &format!("{}: {}", error.tool, error.message));
        }
        for open in &self.open {
            line("open", &format!("a run of {} was cut off", open.tool));
        }
        match &self.server {
            Some(server) => line("runs", &server.in_words()),
            None => line("runs", "cannot be seen at this moment"),
        }
        if self.working.is_none() {
            for (name, command) in [("let in", &self.end.publish), ("start", &self.end.start), ("back", &self.end.back)]
            {
                if let Some(command) = command {
                    line(name, command);
                }
            }
        }
        if let Some(last) = &self.last_line {
            line("last", last);
        }
        line("files", &self.directory);
        if let Some(next) = &self.next {
            line("next", next);
        }
        text
    }
}

impl Server {
    fn in_words(&self) -> String {
        let Self { installed, running, private_address, .. } = self;
        let rest = match (running, private_address) {
            (false, _) => ", stopped",
            (true, Some(_)) => ", privately: users are not let in",
            (true, None) => "",
        };
        format!("{installed}{rest}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tale() -> Tale {
        let leg = |from: &str, to: &str| Leg { from: from.into(), to: to.into(), changes: vec!["release".into()] };
        Tale {
            run: "20261122T030000Z-1".into(),
            directory: "/var/lib/mm-tools/x/runs/20261122T030000Z-1".into(),
            started: "2026-11-22T03:00:00Z".into(),
            how: How::Running,
            since: None,
            working: Some(Working {
                tool: "mm-pgbump".into(),
                verb: "run".into(),
                process: 4711,
                since: "2026-11-22T03:10:00Z".into(),
                seconds: Some(12),
            }),
            from: "9.11.18".into(),
            now: "10.5.14".into(),
            target: "10.11.23".into(),
            done: vec![leg("9.11.18", "10.5.14")],
            hop: Some(Current {
                number: 2,
                of: 3,
                from: "10.5.14".into(),
                to: "10.6.1".into(),
                changes: vec!["release".into()],
                in_place: false,
                expected_seconds: Some(40.0),
            }),
            to_do: vec![leg("10.5.14", "10.6.1"), leg("10.6.1", "10.11.23")],
            expected_seconds: Some(100.0),
            error: None,
            open: Vec::new(),
            end: End::of(None, None, &[], (None, "/".as_ref())),
            server: Some(Server {
                installed: "10.5.14".into(),
                edition: "team".into(),
                running: false,
                private_address: None,
            }),
            last_line: None,
            next: None,
        }
    }

    #[test]
    fn a_run_that_is_under_way_is_told_in_lines() {
        let text = tale().text();
        for line in [
            "state    running\n",
            "stage    upgrading PostgreSQL; the server is stopped (mm-pgbump run, process 4711), 12 s so far\n",
            "now      10.5.14\n",
            "done     9.11.18 to 10.5.14\n",
            "hop      2 of 3: 10.5.14 to 10.6.1, about 40 s\n",
            "to do    10.6.1 to 10.11.23\n",
            "left     about 2 min\n",
            "runs     10.5.14, stopped\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    #[test]
    fn what_has_stopped_says_why_and_what_comes_next() {
        let mut tale = tale();
        tale.how = How::Stopped;
        tale.working = None;
        tale.hop.as_mut().unwrap().in_place = true;
        tale.server.as_mut().unwrap().running = true;
        tale.server.as_mut().unwrap().private_address = Some("http://127.0.0.1:1".into());
        let message = "1 of 40 checks failed".into();
        tale.error = Some(Failure {
            tool: "mm-verify".into(),
            code: 4,
            kind: "check".into(),
            message,
            causes: Vec::new(),
            state: None,
            hint: None,
        });
        tale.next = Some("mm-path --resume".into());
        let text = tale.text();
        for line in [
            "state    stopped\n",
            "in place, not verified",
            "error    mm-verify: 1 of 40 checks failed\n",
            "runs     10.5.14, privately: users are not let in\n",
            "next     mm-path --resume\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        tale.done[0] = Leg { from: "9.11.18".into(), to: "9.11.18".into(), changes: vec!["database".into()] };
        assert!(tale.text().contains("done     9.11.18, whose database moves\n"), "{}", tale.text());
        tale.how = How::RolledBack;
        assert!(tale.text().contains("now      10.5.14, rolled back\n"));
    }
}
