//! `mm-swap`: exchanges the installed release for another one, and puts it back when the new one does not get healthy.

mod ahead;
mod allowed;
mod area;
mod arguments;
mod close;
mod config;
mod door;
mod flip;
mod hashed;
mod human;
mod launch;
mod mounts;
mod observe;
mod operation;
pub mod plan;
mod private;
mod prune;
mod publish;
mod recover;
pub mod restore_point;
mod rollback;
mod run;
mod shape;
mod stage;
mod standing;
mod status;
mod target;
mod undo;

use std::process::ExitCode;

use clap::CommandFactory as _;
use mm_common::contract::error::Result;
use mm_common::run::Session;

pub use arguments::{
    LimitArgument, PruneArguments, RollbackArguments, RunArguments, StageArguments, SwapArguments, Verb,
};

/// The command line, for man pages and completions.
pub fn command() -> clap::Command {
    SwapArguments::command()
}

/// Runs the tool.
pub fn main() -> ExitCode {
    mm_common::run::main("mm-swap", |session, arguments| act(session, &arguments))
}

fn act(session: &mut Session, arguments: &SwapArguments) -> Result<String> {
    arguments.refuse_misplaced()?;
    match &arguments.verb {
        None => run::run(session, &arguments.run),
        Some(Verb::Run(run)) => run::run(session, run),
        Some(Verb::Stage(stage)) => ahead::stage(session, stage),
        Some(Verb::Rollback(rollback)) => rollback::rollback(session, rollback),
        Some(Verb::Recover(limit)) => recover::recover(session, limit.duration()),
        Some(Verb::Publish(limit)) => publish::publish(session, limit.duration()),
        Some(Verb::Status) => status::status(session),
        Some(Verb::Prune(prune)) => prune::prune(session, prune.keep),
    }
}
