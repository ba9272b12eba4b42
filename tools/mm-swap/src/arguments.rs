//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use mm_common::contract::error::{Error, Result};
use mm_common::contract::version;
use mm_common::run::{Arguments, Format, FormatArgument};
use semver::Version;

pub(crate) use mm_common::run::Common;

use crate::restore_point::{Age, Wanted};

/// Seconds a start may take: rewriting the posts of the largest known installations took over an hour (the 6.0 step).
const START_TIMEOUT: u64 = 7200;

/// What stands first in the long help.
const FIRST: &str = concat!(
    "The installed release, exchanged for another one, and back.\n",
    "\n",
    "Examples:\n",
    "  mm-backup --stop --leave-stopped --document none | mm-swap --archive FILE | mm-verify\n",
    "      exchange it for that of a tarball\n",
    "  mm-swap status\n",
    "      what is installed and runs, and what was cut off\n",
    "  mm-swap rollback --database\n",
    "      the release before, and the database with it\n",
    "\n",
    "The manual: man mm-swap; the whole upgrade: man 7 mm-upgrade"
);

/// Exchanges the installed Mattermost release for another one
///
/// Unpacks the new release beside the install root while the old server runs, stops the service, exchanges what the
/// releases own (bin last), starts the service and waits until it is healthy; otherwise everything is put back.
/// Configuration, data, logs, plugins and whatever no release knows stay where they are. A run that was killed is
/// finished or undone by running it again.
#[derive(Debug, Clone, Parser)]
#[command(name = "mm-swap", before_long_help = FIRST, version = mm_common::mattermost::catalogue::tools_version(), after_long_help = AFTER)]
pub struct SwapArguments {
    /// What to do [default: run]
    #[command(subcommand)]
    pub verb: Option<Verb>,
    /// Flags of `run`, the default verb
    #[command(flatten)]
    pub run: RunArguments,
    /// Flags of every tool
    #[command(flatten)]
    pub common: Common,
    /// What to write
    #[command(flatten)]
    pub format: FormatArgument,
}

/// The verbs.
#[derive(Debug, Clone, Subcommand)]
pub enum Verb {
    /// Unpack the next release beside the install root while the old server runs, for the run that follows
    Stage(StageArguments),
    /// Exchange the installed release for the one that the document or --archive names
    Run(RunArguments),
    /// Go back to the release before the last swap
    Rollback(RollbackArguments),
    /// Finish or undo what a killed run has left
    Recover(LimitArgument),
    /// Let a server that runs privately serve its users again
    Publish(LimitArgument),
    /// Say what is installed, staged, retired and interrupted
    Status,
    /// Remove retired releases but the newest
    Prune(PruneArguments),
}

/// Flags of `run`.
#[derive(Debug, Clone, Args)]
pub struct RunArguments {
    /// Install this release tarball instead of the one that the document names
    #[arg(long, value_name = "FILE")]
    pub archive: Option<PathBuf>,
    /// Listen on a loopback port only and send neither mail nor push messages, until the next public start
    #[arg(long)]
    pub private: bool,
    /// Let the restore point be up to AGE old (90m, 24h, 2d) [default: made in this hop]
    #[arg(long, value_name = "AGE", conflicts_with = "no_backup")]
    pub require_backup: Option<Age>,
    /// Go without a restore point: a migrated database could not be put back
    #[arg(long)]
    pub no_backup: bool,
    /// Do not start the new server
    #[arg(long)]
    pub no_start: bool,
    /// How long it may take to get healthy
    #[command(flatten)]
    pub limit: LimitArgument,
}

/// Flags of `stage`.
#[derive(Debug, Clone, Args)]
pub struct StageArguments {
    /// Unpack this release tarball instead of the one that the document names
    #[arg(long, value_name = "FILE")]
    pub archive: Option<PathBuf>,
}

/// `--start-timeout`.
#[derive(Debug, Clone, Args)]
pub struct LimitArgument {
    /// Seconds a started server may take to get healthy, migrations included
    #[arg(long, value_name = "SECONDS", default_value_t = START_TIMEOUT)]
    pub start_timeout: u64,
}

/// Flags of `rollback`.
#[derive(Debug, Clone, Args)]
pub struct RollbackArguments {
    /// Where the schema has changed, put the database back too, PostgreSQL's own upgrade in the same hop included; what was
    /// written since is lost
    #[arg(long)]
    pub database: bool,
    /// Target release: the one before the last swap that was not rolled back yet. Needed only for a second hop: without it,
    /// a rollback that is done already is not followed by another one
    #[arg(long, value_name = "VERSION", value_parser = version::parse)]
    pub to: Option<Version>,
    /// How long it may take to get healthy
    #[command(flatten)]
    pub limit: LimitArgument,
}

/// Flags of `prune`.
#[derive(Debug, Clone, Args)]
pub struct PruneArguments {
    /// How many retired releases to keep
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub keep: usize,
}

impl SwapArguments {
    /// Flags of `run` before another verb would have no effect: whoever wrote them expects one.
    pub(crate) fn refuse_misplaced(&self) -> Result<()> {
        let run = &self.run;
        let given = [
            (run.archive.is_some(), "--archive"),
            (run.private, "--private"),
            (run.require_backup.is_some(), "--require-backup"),
            (run.no_backup, "--no-backup"),
            (run.no_start, "--no-start"),
            (run.limit.start_timeout != START_TIMEOUT, "--start-timeout"),
        ];
        match given.iter().find(|(given, _)| *given) {
            Some((_, flag)) if self.verb.is_some() => {
                Err(Error::usage(format!("{flag} stands before the verb")).hint("write flags of a verb after it"))
            }
            _ => Ok(()),
        }
    }
}

impl LimitArgument {
    /// As a duration.
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs(self.start_timeout)
    }
}

impl RunArguments {
    /// How long a start may take.
    pub(crate) fn limit(&self) -> Duration {
        self.limit.duration()
    }

    /// What is asked of the restore point.
    pub(crate) fn restore_point(&self) -> Wanted {
        match self.require_backup {
            _ if self.no_backup => Wanted::None,
            Some(age) => Wanted::NotOlderThan(age),
            None => Wanted::OfThisHop,
        }
    }
}

impl Arguments for SwapArguments {
    fn common(&self) -> &Common {
        &self.common
    }

    fn format(&self) -> Format {
        self.format.format
    }

    fn complete_without_document(&self) -> bool {
        match &self.verb {
            None => self.run.archive.is_some(),
            Some(Verb::Run(run)) => run.archive.is_some(),
            Some(Verb::Stage(stage)) => stage.archive.is_some(),
            Some(_) => true,
        }
    }

    fn reads_document(&self) -> bool {
        matches!(self.verb, None | Some(Verb::Run(_) | Verb::Stage(_)))
    }
}

const AFTER: &str = concat!(
    "Exit status:
  0   done, or nothing to do (`changed` in the document tells)
  1   failed; the machine is as before, running it again is safe
  2   wrong usage; nothing touched
  3   stopped half-way and could not undo; the hint names the journal and the recovery command
  5   refused: a precondition does not hold; nothing touched
  6   failed and rolled back; the old server runs as before
  65  no document, a broken one, or an unknown schema; nothing touched
  74  the document could not be delivered; the work is done
  75  another run holds the lock; nothing touched, try again

A tool that only passes on the error of an earlier tool exits with that error's code.

Exit status 3:
  Something is half in place and could be neither finished nor undone; the error says why. Nothing is lost: the
  retired release, the restore points and the database of before are where they were.
  Safe: looking; correcting the cause; mm-swap recover, as often as you like; another boot of the machine.
  Not safe: starting the server by hand, giving bin/mattermost its execute permission back, removing anything
  from `.NAME.mm`, the state directory or the store. Other tools refuse until it is ended.
  Three commands:
      mm-swap status       what is half done, and what ends it
      mm-swap recover      finishes or undoes it, once the cause is corrected
      mm-verify            whether the server is well afterwards

Jumps:
  A release that the rules of the catalogue forbid over the installed one is refused, with or without a document;
  `mm-path --to VERSION` shows the path over the releases that have to run in between. --accept jump lets it through.

The way back:
  Where mm-swap stops the server itself, it tries first whether the database could be put back, and refuses (5) with what
  opens the way when it could not; --accept rollback goes on all the same. A later rollback lets the cluster of before the
  hop serve again, where PostgreSQL was upgraded in that hop and no other application has written to the new cluster since
  (mm-pgbump rollback), and else puts back the frozen copy or the dump of the restore point (mm-backup restore ID
  --database). Either is made ready beside the running server, which is stopped when only names are left to be exchanged:
  what users write until then goes as well, and is counted.
  Where it cannot be restored the server runs on as before (1). A server that has failed is stopped at once.
  prune gives the way back up: when the last retired release of a run that has arrived is removed (--keep 0), the run is
  closed, and its restore points are no longer pinned.

Install roots:
  Releases are staged beside the install root, in `.NAME.mm`. Inside it when the root is a mount point; the directory itself,
  not what is in it, then has to belong to root. A root behind a symlink is served and the symlink stays. On an overlay,
  directories of a lower layer can be exchanged when it is mounted with redirect_dir=on; else it is refused beforehand.

After a power cut:
  A machine that boots starts the server that is in place, and what users write is kept. While mm-swap goes back it starts
  none, whoever manages it (systemd, an init script, supervisord, cron): what users wrote would go with the database. Until
  the old server stands on its own database, bin/mattermost may not be executed, and a start fails with `Permission denied`.
  `mm-swap status` says that it is held, `mm-swap recover` ends it. Messages written to the new server before it was decided
  to go back are not in the restore point; mm-backup keeps their database, and mm-swap says how many and its name.

",
    "Examples:
  mm-path --to 10.6.1 | mm-fetch | mm-swap stage | mm-backup --to /srv/backup --stop --leave-stopped | mm-swap | mm-verify
          one hop of an upgrade
  mm-swap --archive mattermost-team-10.6.1-linux-amd64.tar.gz --no-backup --dry-run
          what would be exchanged
  mm-swap rollback
          back to the release before, files only; --database with the database, by the cluster that was kept or the
          restore point; --dry-run says by which, how long it takes, and what is lost
  mm-swap recover
          after a power cut in the middle of it"
);
