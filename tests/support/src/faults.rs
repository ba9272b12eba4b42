//! Failing system calls: a tool is run under strace, which lets one call of it fail with an error of the kernel's, or kills
//! it at that call.
//!
//! Not every call of every kind is tried: a release has thousands of files. [`Tool::faults`] takes the first, the last
//! and some evenly spaced between them, and goes round the errors.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::matrix;
use crate::process::PATH;
use crate::tool;
use crate::tool::PACE;

/// One failing call: the `when`-th of `call`, in every process and thread that is followed, ends with `error`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Name of the system call.
    pub call: &'static str,
    /// Name of the error.
    pub error: &'static str,
    /// Which one, counted from 1.
    pub when: usize,
}

/// A death: SIGKILL at the entry of the `when`-th call, which is therefore not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death {
    /// Name of the system call.
    pub call: &'static str,
    /// Which one, counted from 1.
    pub when: usize,
}

/// A call, the errors it may end with, and how many of its occurrences are tried.
pub type Sample = (&'static str, &'static [&'static str], usize);

/// A tool with its arguments, to be run with faults.
#[derive(Debug)]
pub struct Tool {
    name: &'static str,
    arguments: Vec<OsString>,
    trace: PathBuf,
    follow: bool,
}

/// How a run with a fault ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code.
    pub code: i32,
    /// The document on standard output, when there is one.
    pub document: Option<Value>,
    /// What it said to people.
    pub said: String,
    /// The calls that were made to fail, as strace shows them.
    pub hit: Vec<String>,
}

impl Tool {
    /// A tool whose main thread is to meet faults; the programs it starts do not. `place` is a directory for the trace.
    pub fn new<A: Into<OsString>>(name: &'static str, arguments: impl IntoIterator<Item = A>, place: &Path) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self { name, arguments, trace: place.join(format!("{name}.trace")), follow: false }
    }

    /// Its other threads, and the programs that it starts, meet them too. Each counts for itself.
    #[must_use]
    pub fn followed(mut self) -> Self {
        self.follow = true;
        self
    }

    fn run(&self, expressions: &[String]) -> (Output, String) {
        let mut command = Command::new("strace");
        command.args(["-y", "-s", "64", "-o"]).arg(&self.trace);
        // Without the filter every call of any kind stops the process; it works with -f only.
        command.args(self.follow.then_some(["-f", "--seccomp-bpf"]).into_iter().flatten());
        command.args(expressions.iter().flat_map(|expression| ["-e", expression]));
        command.arg(tool::executable(self.name)).args(&self.arguments);
        command.env_clear().env("PATH", PATH).env(PACE.0, PACE.1).current_dir("/").stdin(Stdio::null());
        let output = command.output().expect("strace is not installed: scripts/prepare");
        (output, std::fs::read_to_string(&self.trace).expect("strace writes its trace"))
    }

    /// Runs it without a fault.
    pub fn undisturbed(&self) -> Ended {
        let mut command = Command::new(tool::executable(self.name));
        command
            .args(&self.arguments)
            .env_clear()
            .env("PATH", PATH)
            .env(PACE.0, PACE.1)
            .current_dir("/")
            .stdin(Stdio::null());
        let output = command.output().expect("the tool runs");
        Ended {
            code: output.status.code().expect("nobody kills it"),
            document: serde_json::from_slice(&output.stdout).ok(),
            said: String::from_utf8_lossy(&output.stderr).into_owned(),
            hit: Vec::new(),
        }
    }

    /// Runs it undisturbed and returns the faults to try: for each call the first, the last and what is evenly spaced
    /// between them, with the errors in turn. Of `samples` as many as [`matrix::number`] says.
    pub fn faults(&self, samples: &[Sample]) -> Vec<Fault> {
        let calls: Vec<&str> = samples.iter().map(|(call, ..)| *call).collect();
        let counts = self.counts(&calls);
        let mut faults = Vec::new();
        for &(call, errors, most) in samples {
            let chosen = spaced(counts[call], matrix::number(most)).into_iter().zip(errors.iter().cycle());
            faults.extend(chosen.map(|(when, error)| Fault { call, error, when }));
        }
        eprintln!("{}: {counts:?}, of which {} are made to fail", self.name, faults.len());
        faults
    }

    /// Runs it undisturbed and returns the deaths to try, spaced as [`Tool::faults`] does.
    pub fn deaths(&self, samples: &[(&'static str, usize)]) -> Vec<Death> {
        let calls: Vec<&str> = samples.iter().map(|(call, _)| *call).collect();
        let counts = self.counts(&calls);
        let deaths: Vec<Death> = samples
            .iter()
            .flat_map(|&(call, most)| {
                spaced(counts[call], matrix::number(most)).into_iter().map(move |when| Death { call, when })
            })
            .collect();
        eprintln!("{}: {counts:?}, of which {} kill it", self.name, deaths.len());
        deaths
    }

    /// How often it makes each of these calls in an undisturbed run: at least once.
    fn counts(&self, calls: &[&str]) -> BTreeMap<String, usize> {
        let (output, trace) = self.run(&[format!("trace={}", calls.join(","))]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} undisturbed: {}: {said}", self.name, output.status);
        let counts = counts(&trace, self.follow);
        for call in calls {
            assert!(
                counts.contains_key(*call),
                "{} never calls {call}, so nothing would be shown: {counts:?}",
                self.name
            );
        }
        counts
    }

    /// Runs it until it is killed, and panics if it is not.
    pub fn dies(&self, death: Death) {
        let Death { call, when } = death;
        let expressions = [format!("trace={call}"), format!("inject={call}:signal=KILL:when={when}")];
        let (output, trace) = self.run(&expressions);
        // strace ends as its tracee did.
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), Some(9), "it was to die at {death:?}: {}: {said}\n{trace}", output.status);
    }

    /// Runs it with a fault. Whatever the fault: no panic, no death by a signal, an exit code of the table, and with it a
    /// document that says the same, what failed and what to do next; or, when the fault also hit the writing of the
    /// document itself, both errors on stderr.
    pub fn with(&self, fault: &Fault) -> Ended {
        let Fault { call, error, when } = fault;
        // Tracing execve too makes the first line one of the tool itself, which tells its process from the others.
        let expressions = [format!("trace={call},execve"), format!("inject={call}:error={error}:when={when}")];
        let (output, trace) = self.run(&expressions);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let hit: Vec<String> = trace.lines().filter(|line| line.contains("(INJECTED)")).map(str::to_owned).collect();
        let context = format!("{fault:?}, {hit:?}: {}\n{said}", output.status);
        assert!(!said.contains("panicked"), "{context}");
        let code = output.status.code().unwrap_or_else(|| panic!("ended by a signal: {context}"));
        assert!([0, 1, 3, 4, 5, 6, 74, 75].contains(&code), "{context}");
        let document: Option<Value> = serde_json::from_slice(&output.stdout).ok();
        if code != 0 && code != 74 && document.is_none() && self.hit_the_document(&trace) {
            // Each process counts for itself: one of its programs met the fault before, and the document after that.
            assert!(said.contains("cannot write the document to standard output"), "{context}");
            let errors = said.lines().filter(|line| line.contains("error: ")).count();
            assert!(errors >= 2 && said.contains("hint: "), "stderr does not say what failed: {context}");
        } else if code != 0 && code != 74 {
            let document = document.as_ref().unwrap_or_else(|| panic!("no document: {context}"));
            assert_eq!(document["error"]["code"], code, "{context}");
            assert_eq!(document["failed"], true, "{context}");
            let next = document["error"]["hint"].as_str().unwrap_or_default();
            assert!(!next.is_empty(), "no hint in {}: {context}", document["error"]);
            let cause = &document["error"]["causes"];
            assert!(cause.as_array().is_some_and(|causes| !causes.is_empty()), "no cause in {document}: {context}");
        }
        Ended { code, document, said, hit }
    }

    /// Whether a call that was made to fail was a write of the tool itself to its standard output.
    fn hit_the_document(&self, trace: &str) -> bool {
        let split = |line| if self.follow { str::split_once(line, ' ').unwrap_or(("", line)) } else { ("", line) };
        let tool = trace.lines().next().map_or("", |line| split(line).0);
        let ours: Vec<&str> =
            trace.lines().map(split).filter(|(process, _)| *process == tool).map(|(_, call)| call).collect();
        let is_output = |call: &str| call.trim_start().starts_with("write(1<");
        // A call that another process's line interrupted is shown in two parts, and the first names the descriptor.
        ours.iter().enumerate().any(|(at, call)| {
            call.contains("(INJECTED)")
                && (is_output(call) || (call.contains("resumed>") && at > 0 && is_output(ours[at - 1])))
        })
    }
}

/// How often each call was made: the most of any one process or thread, since each counts for itself.
fn counts(trace: &str, follow: bool) -> BTreeMap<String, usize> {
    let mut by_process: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for line in trace.lines() {
        let (process, line) = if follow { line.split_once(' ').unwrap_or(("", line)) } else { ("", line) };
        if let Some((call, _)) = line.trim_start().split_once('(')
            && call.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            *by_process.entry((process, call)).or_default() += 1;
        }
    }
    let mut most = BTreeMap::new();
    for ((_, call), count) in by_process {
        let known: &mut usize = most.entry(call.to_owned()).or_default();
        *known = count.max(*known);
    }
    most
}

/// Of 1 to `count`: all when there are no more than `most`, otherwise the first, the last and evenly spaced ones.
fn spaced(count: usize, most: usize) -> Vec<usize> {
    if count <= most {
        return (1..=count).collect();
    }
    let most = most.max(2);
    (0..most).map(|at| 1 + at * (count - 1) / (most - 1)).collect()
}
