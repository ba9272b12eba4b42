//! The frame every `main` calls: arguments, document in, act, document out, exit code.
//!
//! Standard input is read to its end before anything is looked at, because all processes of a pipe start at once. The
//! lock is a guard inside the acting function, so it is released before the document is written.

mod arguments;
mod defaults;
mod flags;
mod input;
mod output;
mod record;
mod same;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use semver::Version;

pub use arguments::{Common, Format, FormatArgument, Output, path};
pub use output::tell_again;

use crate::contract::document::Document;
use crate::contract::error::{Error, Kind, Result};
use crate::contract::sections::{Hop, Path, Run};
use crate::contract::{exit, time, ui};
use crate::machine::door::Open;
use crate::machine::state::{BASE, State};
use crate::machine::{command, door, host, lock, runs, signals};
use crate::mattermost::site::{self, Ground, Installation, Supposed, Wanted};
use crate::postgres::passfile;

/// The command line of a tool, as far as the frame needs to know it.
pub trait Arguments: Parser {
    /// The flags all tools have.
    fn common(&self) -> &Common;

    /// What stdout is to get.
    fn format(&self) -> Format;

    /// Whether the flags alone say what to do. If not, an empty pipe is refused (65): the tool before this one failed.
    fn complete_without_document(&self) -> bool;

    /// Whether this verb takes part in the pipeline at all. One that does not (a list, an export) reads no document
    /// unless `--document` names one.
    fn reads_document(&self) -> bool {
        true
    }

    /// The verb where none is given.
    fn default_verb() -> &'static str {
        "run"
    }
}

/// Seconds that a tool of a pipeline waits for another run; the checks of mm-verify take a few.
const PIPELINE_WAIT: u64 = 60;

/// One run of a tool: what came in, and what will go out.
#[derive(Debug)]
pub struct Session {
    /// Name of the tool.
    pub tool: &'static str,
    /// Its verb, also where that is the default.
    pub verb: String,
    /// The document; a fresh one when none came in.
    pub document: Document,
    /// Whether one came in.
    pub had_document: bool,
    /// The flags all tools have.
    pub common: Common,
    /// Nothing may be changed.
    pub dry_run: bool,
    /// Whether this tool changed anything so far.
    pub changed: bool,
    /// What a terminal gets instead of the document.
    pub human: Option<String>,
    /// What stdout gets, whatever the format: set by verbs that do not report through the document.
    pub output: Output,
    /// Where the document is put down when this tool ends.
    record: Option<record::Record>,
    /// The service is stopped because somebody wants it so, and not for the next tool.
    pub stopped_for_good: bool,
}

impl Session {
    /// The state directory of an installation.
    pub fn state(&self, install: &std::path::Path) -> State {
        State::of(install, self.common.state_dir.as_deref())
    }

    /// How long to wait for another run: with a document the tool before this one may have stopped the server, and
    /// giving up at once for a check from cron would leave it so.
    pub fn lock_wait(&self) -> Duration {
        Duration::from_secs(self.common.lock_wait.unwrap_or(if self.had_document { PIPELINE_WAIT } else { 0 }))
    }

    /// Which installation the flags or the document name.
    pub fn wanted(&self) -> Result<Wanted> {
        let recorded = self.document.site()?;
        Ok(Wanted {
            install: self.common.install.clone().or_else(|| recorded.as_ref().map(|site| site.install.clone())),
            service: self.common.service.clone(),
            stop_command: self.common.stop_command.clone(),
            start_command: self.common.start_command.clone(),
            state_dir: self.common.state_dir.clone(),
            recorded,
            owner: None,
        })
    }

    /// Observes the installation that the flags or the document name, and puts `site` into the document when it has
    /// none yet.
    pub fn probe(&mut self) -> Result<Installation> {
        let wanted = self.wanted()?;
        let installation = site::probe(&wanted)?;
        self.note(&wanted, installation)
    }

    /// As [`Session::probe`], for what is to mend an installation whose executable may be damaged or gone.
    ///
    /// # Errors
    /// As [`site::probe_ruin`].
    pub fn probe_ruin(&mut self, supposed: &Supposed) -> Result<Installation> {
        let wanted = self.wanted()?;
        let installation = site::probe_ruin(&wanted, supposed)?;
        self.note(&wanted, installation)
    }

    /// Refuses while a run of any tool is open here that was cut off, but for those whose journal is in `own`: before
    /// anything is looked at, as what is half-made may not be fit to be looked at. Whoever takes the lock asks again.
    ///
    /// # Errors
    /// As [`door::refuse_open`].
    pub fn refuse_open(&self, own: &[&str]) -> Result<()> {
        // What is wrong with the place is for the look at it to say.
        self.ground().map_or(Ok(()), |ground| door::refuse_open(&ground.state, &ground.root, own))
    }

    /// As [`Session::refuse_open`], for what mm-swap may ask of this tool.
    ///
    /// # Errors
    /// As [`door::refuse_open_unless_asked`].
    pub fn refuse_open_unless_asked(&self, own: &[&str]) -> Result<()> {
        self.ground().map_or(Ok(()), |ground| door::refuse_open_unless_asked(&ground.state, &ground.root, own))
    }

    /// Says which runs were cut off here, where there is an installation to ask about: for a verb that only looks at something
    /// else.
    pub fn tell_open(&self) {
        let open = self.ground().and_then(|ground| door::open(&ground.state, &ground.root, &[]));
        for Open { tool, command, .. } in open.unwrap_or_default() {
            ui::warn(&format!("an earlier run of {tool} was cut off, which is ended by: {command}"));
        }
    }

    /// Where the flags or the document say that the installation is; its executable may be gone.
    ///
    /// # Errors
    /// As [`site::ground_of_ruin`].
    pub fn ground(&self) -> Result<Ground> {
        let wanted = self.wanted()?;
        site::ground(&wanted).or_else(|_| site::ground_of_ruin(&wanted))
    }

    fn note(&mut self, wanted: &Wanted, installation: Installation) -> Result<Installation> {
        if wanted.recorded.is_none() {
            self.document.set("site", &installation.section())?;
        }
        Ok(installation)
    }

    /// The release that the way of the document has arrived at: no hop is left, so a tool that is part of a hop has
    /// nothing to do.
    ///
    /// # Errors
    /// When the document's `path` cannot be understood.
    pub fn arrived(&self) -> Result<Option<Version>> {
        let path: Option<Path> = self.document.section("path")?;
        Ok(path
            .filter(|path| path.next.is_none() && path.hops.is_empty() && path.blockers.is_empty())
            .map(|path| path.current))
    }

    /// Whether what the hop of the document changes is in place already, so that a step of it has nothing to do.
    ///
    /// # Errors
    /// When the document's `path` cannot be understood.
    pub fn hop_in_place(&self, installation: &Installation) -> Result<Option<Hop>> {
        let path: Option<Path> = self.document.section("path")?;
        let Some(hop) = path.and_then(|path| path.next) else { return Ok(None) };
        if installation.version != hop.to || installation.edition != hop.edition {
            return Ok(None);
        }
        let major = match hop.needs.postgres {
            Some(_) => Some(installation.database()?.major()),
            None => None,
        };
        Ok(hop.is_in_place((&installation.version, installation.edition), major).then_some(hop))
    }

    /// From here on this tool works for a run, as if it had been given a document of it: its own is put down there.
    ///
    /// # Errors
    /// Kind `locked` (exit 75) while another tool works on the run.
    pub fn join(&mut self, run: runs::Run, install: &std::path::Path) -> Result<()> {
        self.record = Some(record::Record::of(run, install, Some(self.lock_wait()))?);
        Ok(())
    }

    /// The `run` of the document; a new one is begun when it has none.
    pub fn ensure_run(&mut self) -> Result<Run> {
        let mut run = self.document.run()?.unwrap_or_else(|| Run {
            id: format!("{}-{}", time::stamp(), std::process::id()),
            started: time::now(),
            dry_run: false,
            host: None,
            state_dir: None,
        });
        run.dry_run |= self.dry_run;
        self.document.set("run", &run)?;
        Ok(run)
    }

    /// Notes in the document's `run` which machine and which state directory it belongs to, unless that stands there.
    pub fn place_run(&mut self) -> Result<()> {
        let mut run = self.ensure_run()?;
        if run.host.is_none() {
            run.host = Some(host::identity());
            let base = self.common.state_dir.clone().unwrap_or_else(|| BASE.into());
            run.state_dir = Some(std::path::absolute(&base).unwrap_or(base));
            self.document.set("run", &run)?;
        }
        Ok(())
    }
}

/// Runs a tool: `act` does the work and returns the line that becomes `msg`.
pub fn main<A: Arguments>(tool: &'static str, act: impl FnOnce(&mut Session, A) -> Result<String>) -> ExitCode {
    if let Some(code) = command::serve() {
        return code;
    }
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    allow_descriptors();
    passfile::sweep();
    let parsed = A::command().try_get_matches().and_then(|mut matches| {
        let verb = matches.subcommand_name().unwrap_or(A::default_verb()).to_owned();
        let arguments = A::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut A::command()))?;
        Ok((verb, arguments))
    });
    let (verb, arguments) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return usage::<A>(&error),
    };
    ExitCode::from(run((tool, verb), arguments, act))
}

/// Each level of a deep tree costs some descriptors, and shells and managers give only 1,024 of those that are allowed.
fn allow_descriptors() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    const MOST: u64 = 16_384;
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard.min(MOST)
    {
        // Without it only what is very deep fails, and says so.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(MOST), hard);
    }
}

fn usage<A: Arguments>(error: &clap::Error) -> ExitCode {
    // Help asked for goes to stdout; if that is closed, nobody is there to be told.
    let _ = error.print();
    if let Some(hint) = flags::hint(error, &A::command()) {
        ui::notice(&format!("hint: {hint}"));
    }
    ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::DONE })
}

fn run<A: Arguments>(
    (tool, verb): (&'static str, String),
    arguments: A,
    act: impl FnOnce(&mut Session, A) -> Result<String>,
) -> u8 {
    ui::set_level(arguments.common().verbose, arguments.common().quiet);
    let incoming = signals::watch(tool).and_then(|()| input::document(tool, &arguments));
    let (document, had_document) = match incoming {
        Ok(Some(document)) => (document, true),
        Ok(None) => (Document::default(), false),
        Err(error) => {
            ui::error(tool, &error);
            return error.code();
        }
    };
    match document.failure() {
        Ok(None) => {}
        Ok(Some(failure)) => {
            ui::say(&format!("{tool}: nothing done, because {} failed: {}", failure.tool, failure.message));
            let delivered = output::pass_on(&document);
            return finish(tool, delivered, failure.code.max(1));
        }
        Err(error) => {
            ui::error(tool, &error);
            return error.code();
        }
    }
    let arguments = match defaults::apply(tool, arguments, had_document.then_some(&document)) {
        Ok(arguments) => arguments,
        Err(error) => {
            ui::error(tool, &error);
            return error.code();
        }
    };
    let common = arguments.common().clone();
    let format = arguments.format();
    let mut session = Session {
        tool,
        verb,
        dry_run: common.dry_run,
        document,
        had_document,
        common,
        changed: false,
        human: None,
        output: Output::Document,
        record: None,
        stopped_for_good: false,
    };
    let result = match signals::check() {
        // The document had come in whole: what an earlier tool has left stopped for this one is not left so.
        Err(stopped) if had_document => Err(service_back(&mut session, stopped)),
        Err(stopped) => Err(stopped),
        Ok(()) => attempt(&mut session, arguments, act),
    };
    ui::progress_done();
    let code = match result {
        Ok(message) => {
            session.document.report(session.changed, false, &message);
            ui::say(&format!("{tool}: {message}"));
            exit::DONE
        }
        Err(error) => {
            let error = error.advised();
            session.document.report(session.changed, true, &error.one_line());
            ui::error(tool, &error);
            if let Err(unwritable) = session.document.fail(tool, &error) {
                ui::error(tool, &unwritable);
            }
            error.code()
        }
    };
    let kept = session.record.take().and_then(|record| record.keep((tool, &session.verb), &session.document));
    let delivered = output::deliver(&session, format, code).map_err(|error| {
        let error = record::lies_in(error, kept.as_deref());
        // Nobody reads that the service is stopped for the next tool.
        if code == exit::DONE && !session.stopped_for_good { service_back(&mut session, error) } else { error }
    });
    finish(tool, delivered, code)
}

/// Starts the service where the document says that it ran when all of this began, and it is stopped now: no tool after this
/// one will. What was cut off comes first, and until then no server may run.
fn service_back(session: &mut Session, error: Error) -> Error {
    let mut back = || -> Result<()> {
        same::settle(session)?;
        let ran = session.document.site()?.is_some_and(|site| site.service.was_running);
        if !ran || session.dry_run || session.document.dry_run()? {
            return Ok(());
        }
        let installation = site::probe(&session.wanted()?)?;
        if installation.service.is_running()? {
            return Ok(());
        }
        let lock = installation.state.lock(session.lock_wait())?;
        door::refuse_open(&installation.state, &installation.root, &[])?;
        installation.put_service_back(&lock)?;
        ui::notice(&format!("{}: the server {} runs again", session.tool, installation.version));
        Ok(())
    };
    match back() {
        Ok(()) => error,
        Err(other) => error.because(format!("and the service is not as it was: {}", other.one_line())),
    }
}

/// Acts; a panic becomes an error in band, because a pipeline must not lose its document to a bug of ours.
fn attempt<A: Arguments>(
    session: &mut Session,
    arguments: A,
    act: impl FnOnce(&mut Session, A) -> Result<String>,
) -> Result<String> {
    session.dry_run |= session.document.dry_run()?;
    if session.dry_run {
        session.ensure_run()?;
    }
    lock::introduce(session.tool, &session.verb, session.document.run()?.map(|run| run.id));
    same::settle(session)?;
    session.record = record::begin(session)?;
    let unwound = std::panic::catch_unwind(AssertUnwindSafe(|| act(session, arguments)));
    unwound.unwrap_or_else(|_| {
        Err(Error::new(Kind::HalfDone, "a fault in this program stopped it")
            .hint("the message above says where; please report it. Run the tool again: it recovers what was begun"))
    })
}

fn finish(tool: &str, delivered: Result<()>, code: u8) -> u8 {
    match delivered {
        Ok(()) => code,
        Err(error) if code == exit::DONE => {
            ui::error(tool, &error);
            error.code()
        }
        Err(error) => {
            ui::error(tool, &error.with_hint("fix the error above; the next run has its own report"));
            // A failure of the work itself matters more than that of its report.
            code
        }
    }
}
