//! mm-pgbump carries the PostgreSQL cluster of a Mattermost server to a new major version, proves that nothing was
//! lost, and goes back when something was.

mod arguments;
mod aside;
mod check;
mod control;
mod debian;
mod drop_old;
mod evidence;
mod finish;
mod logs;
mod moving;
mod mysql;
mod open;
pub mod plan;
mod preflight;
mod reach;
mod ready;
mod record;
mod recover;
mod references;
mod rehearsal;
mod repoint;
mod reports;
mod restore_point;
mod rollback;
mod run;
mod undo;
mod upgrade;
mod wish;

use std::process::ExitCode;

use clap::CommandFactory as _;

pub use arguments::{Options, PgbumpArguments, Verb};

/// The command line, for man pages and completions.
pub fn command() -> clap::Command {
    PgbumpArguments::command()
}

/// Runs the tool.
pub fn main() -> ExitCode {
    mm_common::run::main("mm-pgbump", |session, arguments: PgbumpArguments| match arguments.verb() {
        Verb::Run => run::run(session, &arguments.options),
        Verb::Move => moving::run::run(session, &arguments.options),
        Verb::Check if arguments.options.target.is_some() => moving::verbs::check(session, &arguments.options),
        Verb::Check => check::run(session, &arguments.options),
        Verb::Recover => recover::recover(session, &arguments.options),
        Verb::Rollback { of_move } => rollback::run(session, &arguments.options, of_move),
        Verb::DropOld { force } => drop_old::run(session, force),
    })
}
