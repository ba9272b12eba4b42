//! mm-verify: looks at a Mattermost server as its users would, before they do.

mod arguments;
mod baseline;
mod browsing;
mod check;
mod checks;
mod devtools;
mod erase;
mod look;
mod outside;
mod people;
mod plan;
mod repair;
mod report;
mod restore_point;
mod run;
mod scratch;
mod server_log;
mod statements;
mod trend;
mod watch;
mod webdriver;

use std::process::ExitCode;

use clap::CommandFactory as _;
use mm_common::Result;
use mm_common::run::Session;

use arguments::{Arguments, Verb};

/// The command line, for man pages and completions.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Runs the tool.
pub fn main() -> ExitCode {
    mm_common::run::main("mm-verify", act)
}

fn act(session: &mut Session, arguments: Arguments) -> Result<String> {
    match arguments.verb {
        None | Some(Verb::Run) => run::run(session, arguments.options),
        Some(Verb::Baseline) => run::baseline(session, arguments.options),
        Some(Verb::Watch(watch)) => watch::watch(session, arguments.options, &watch),
        Some(Verb::Repair(repair)) => repair::repair(session, arguments.options, &repair),
    }
}
