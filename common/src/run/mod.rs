//! The frame every `main` calls: arguments, document in, act, document out, exit code.
//!
//! Standard input is read to its end before anything is looked at, because all processes of a pipe start at once. The
//! lock is a guard inside the acting function, so it is released before the document is written.

mod arguments;
pub mod beside;
mod defaults;
mod flags;
mod input;
mod output;
mod record;
mod same;
mod session;
mod standing;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use clap::Parser;

pub use arguments::{Common, Format, FormatArgument, Output, path};
pub use output::tell_again;
pub use session::Session;

use crate::contract::document::Document;
use crate::contract::error::{Error, Kind, Result};
use crate::contract::{exit, ui};
use crate::machine::{command, door, lock, signals};
use crate::mattermost::site;
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
    let code = match result.map_err(|error| asked_to_stop(error, session.changed)) {
        Ok(message) => {
            session.document.report(session.changed, false, &message);
            ui::say(&format!("{tool}: {message}"));
            exit::DONE
        }
        Err(error) => {
            let error = error.advised();
            session.document.report(session.changed, true, &error.one_line());
            let state = standing::sentence(&session, error.kind());
            ui::failure(tool, &error, state.as_deref());
            if let Err(unwritable) = session.document.fail(tool, &error, state) {
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

/// What a signal has cut short may look like a check that failed, or like something that is missing: where nothing was changed, it
/// is not said that anything is wrong.
fn asked_to_stop(error: Error, has_changed: bool) -> Error {
    let looks = matches!(error.kind(), Kind::CheckSaysNo | Kind::Refused);
    if looks && !has_changed && signals::have_stopped(&error) { error.of_kind(Kind::Failed) } else { error }
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
    session.introduce_call();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_signal_has_cut_short_is_no_refusal() {
        let cut = || Error::failed("stopped as asked").because("SIGINT was received").hint("run it again to continue");
        for kind in [Kind::Refused, Kind::CheckSaysNo] {
            let error = asked_to_stop(cut().within("cannot try it").of_kind(kind), false);
            let told = (error.code(), error.message(), error.causes().len(), error.next_step());
            assert_eq!(told, (1, "cannot try it", 2, Some("run it again to continue")));
            assert_eq!(asked_to_stop(cut().of_kind(kind), true).kind(), kind, "something was changed");
            let open = Error::new(kind, "an earlier run was cut off").hint("mm-swap recover");
            let error = asked_to_stop(open, false);
            assert_eq!((error.kind(), error.next_step()), (kind, Some("mm-swap recover")));
        }
        assert_eq!(asked_to_stop(cut().of_kind(Kind::HalfDone), false).kind(), Kind::HalfDone);
    }
}
