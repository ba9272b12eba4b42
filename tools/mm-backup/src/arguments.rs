//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use mm_common::contract::time;
use mm_common::machine::state::STORE;
use mm_common::mattermost::health::StartTimeout;
use mm_common::run::{self, Arguments, Common, Format, FormatArgument};

use crate::plan::Wish;
use crate::retention::Keep;

/// What stands first in the long help.
const FIRST: &str = concat!(
    "Restore points that are known to restore.\n",
    "\n",
    "Examples:\n",
    "  mm-backup create --install /opt/mattermost --to /srv/backup\n",
    "      make one, while the server runs\n",
    "  mm-backup verify --restore --to /srv/backup\n",
    "      prove the newest one by restoring it elsewhere\n",
    "  mm-backup restore latest --stop --to /srv/backup\n",
    "      bring everything back as it was\n",
    "\n",
    "The manual: man mm-backup; the whole upgrade: man 7 mm-upgrade"
);

/// Make, list, prove and restore restore points of a Mattermost server: files, data, configuration and database.
///
/// A restore point is a plain directory: `files/` holds every file under its absolute path, `database/NAME.dump` is
/// for `pg_restore`, `database/globals.sql` for `psql`, and `manifest.json` says what everything was, with its SHA-256.
/// Unchanged files are hard links into the restore point before. It appears under its name only when it is complete
/// and synced.
#[derive(Debug, Parser)]
#[command(name = "mm-backup", before_long_help = FIRST, version = mm_common::mattermost::catalogue::tools_version(), after_long_help = crate::help::AFTER)]
pub struct BackupArguments {
    /// What to do; without it, a restore point is made
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
    /// Directory of the restore points; also --store
    #[arg(long = "to", alias = "store", value_name = "DIR", default_value = STORE, value_parser = run::path(), global = true)]
    pub(crate) store: PathBuf,
    /// Threads and processes to work with [default: as many as there are processors, at most 4]
    #[arg(long, value_name = "N", global = true, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) jobs: Option<u16>,
    #[command(flatten)]
    pub(crate) create: CreateArguments,
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) format: FormatArgument,
}

/// Flags of `create`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct CreateArguments {
    /// Stop the service first and start it again afterwards: nothing is written after the snapshot
    #[arg(long)]
    pub(crate) stop: bool,
    /// With --stop: leave it stopped for the next tool of the pipeline (when this one succeeds)
    #[arg(long)]
    pub(crate) leave_stopped: bool,
    /// With --stop: while nobody writes, only copy the database within its cluster; `mm-backup complete` makes the dump
    /// from the copy when the server serves again. In a hop that upgrades PostgreSQL or moves the database not even that:
    /// what the hop leaves as it was is dumped
    #[arg(long, requires = "stop", conflicts_with = "no_database")]
    pub(crate) freeze: bool,
    /// Leave out the uploaded files
    #[arg(long)]
    pub(crate) no_data: bool,
    /// Leave out the database
    #[arg(long)]
    pub(crate) no_database: bool,
    /// Also every other database of the cluster that the server's is in: what a major upgrade of the cluster needs
    #[arg(long, conflicts_with = "no_database")]
    pub(crate) whole_cluster: bool,
    /// Leave out what matches: `*` within a name, `**` across directories; below the install root, or absolute
    #[arg(long, value_name = "GLOB", value_parser = crate::glob::checked)]
    pub(crate) exclude: Vec<String>,
    /// Read every file again, even where size, times and inode say that it has not changed
    #[arg(long)]
    pub(crate) rehash: bool,
    /// In an upgrade: keep the restore points of every hop from retention, and not only the first and the newest
    #[arg(long)]
    pub(crate) pin_all: bool,
    #[command(flatten)]
    pub(crate) limit: StartTimeout,
    #[command(flatten)]
    pub(crate) keep: Keep,
    /// Write age, size, duration and success of this run to FILE, in Prometheus' text format
    #[arg(long, value_name = "FILE")]
    pub(crate) prometheus: Option<PathBuf>,
}

impl CreateArguments {
    pub(crate) fn wish(&self) -> Wish {
        Wish {
            stop: self.stop,
            leave_stopped: self.leave_stopped,
            freeze: self.freeze,
            no_data: self.no_data,
            no_database: self.no_database,
            whole_cluster: self.whole_cluster,
            exclude: self.exclude.clone(),
        }
    }
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make a restore point (the default)
    Create(CreateArguments),
    /// Store the database of a frozen restore point: the dump is made from the frozen copy, or from what the hop has left
    Complete {
        /// Which one [default: the one of the document, else every frozen one of the installation]
        id: Option<String>,
    },
    /// Show the restore points
    List(ListArguments),
    /// Prove a restore point: hash every file again, read the dump to its end
    Verify {
        /// Which one [default: the newest]
        #[arg(default_value = "latest")]
        id: String,
        /// Also restore the dump into a throw-away server and compare every table and every definition
        #[arg(long)]
        restore: bool,
    },
    /// Restore: everything, or what the flags name
    Restore(RestoreArguments),
    /// Make a private copy of the site from a restore point and start it: a server of its own that reaches nobody
    Copy(CopyArguments),
    /// Write a restore point to standard output as one tar stream
    Export {
        /// Which one [default: the newest]
        #[arg(default_value = "latest")]
        id: String,
    },
    /// Let retention take a restore point that an upgrade has pinned: its way back is given up
    Unpin {
        /// Which one
        id: String,
    },
    /// Remove restore points that the --keep flags do not keep
    Prune {
        #[command(flatten)]
        keep: Keep,
    },
    /// Undo a restore that was cut off, or finish it where only its last step was missing
    Recover {
        #[command(flatten)]
        limit: StartTimeout,
    },
}

/// Flags of `list`.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ListArguments {
    /// Show the newest whole one alone
    #[arg(long)]
    pub(crate) latest: bool,
    /// Fail (4) unless there is a whole one that is not older than this, such as 26h: for monitoring
    #[arg(long, value_name = "AGE", value_parser = time::length)]
    pub(crate) max_age: Option<Duration>,
}

/// Flags of `restore`.
#[derive(Debug, Clone, Args)]
pub(crate) struct RestoreArguments {
    /// Which restore point; `latest` is the newest
    #[arg(required_unless_present = "run")]
    pub(crate) id: Option<String>,
    /// Go back to the state before an upgrade run: its identifier, or `last`
    #[arg(long, value_name = "ID", conflicts_with_all = ["id", "files", "config", "database", "path", "into", "into_database"])]
    pub(crate) run: Option<String>,
    /// Restore the files
    #[arg(long)]
    pub(crate) files: bool,
    /// Restore the configuration: the directory `config`, what it names elsewhere, and what starts the service
    #[arg(long)]
    pub(crate) config: bool,
    /// Restore the database
    #[arg(long)]
    pub(crate) database: bool,
    /// Restore one file or directory, by its absolute path or relative to the install root
    #[arg(long, value_name = "P")]
    pub(crate) path: Vec<PathBuf>,
    /// Restore files below DIR instead of into place
    #[arg(long, value_name = "DIR")]
    pub(crate) into: Option<PathBuf>,
    /// Restore the dump into this empty database instead of into place; with --config, the dump of the configuration's
    /// own database, if it has one. Everybody on the machine can see a password in
    /// it: `?passfile=FILE` names a file with it
    #[arg(long, value_name = "URL")]
    pub(crate) into_database: Option<String>,
    /// Stop the service for it and start it again afterwards; without this flag, a running service is refused (5)
    #[arg(long)]
    pub(crate) stop: bool,
    /// With --stop: leave it stopped
    #[arg(long)]
    pub(crate) leave_stopped: bool,
    #[command(flatten)]
    pub(crate) limit: StartTimeout,
}

/// Flags of `copy`.
#[derive(Debug, Clone, Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["into", "stop", "remove"])))]
pub(crate) struct CopyArguments {
    /// Which restore point; `latest` is the newest [default: the newest of the installed release and database]
    #[arg(conflicts_with_all = ["stop", "remove"])]
    pub(crate) id: Option<String>,
    /// Make the copy in DIR, which is not there yet, and start it; start it again where it is there
    #[arg(long, value_name = "DIR", value_parser = run::path())]
    pub(crate) into: Option<PathBuf>,
    /// Stop the copy in DIR: its server and its database
    #[arg(long, value_name = "DIR", value_parser = run::path())]
    pub(crate) stop: Option<PathBuf>,
    /// Stop the copy in DIR and remove it: its files and its database, and nothing else
    #[arg(long, value_name = "DIR", value_parser = run::path())]
    pub(crate) remove: Option<PathBuf>,
    /// Leave sessions, tokens, OAuth apps and webhooks valid: whoever has them on the original can use them on the copy
    #[arg(long, requires = "into")]
    pub(crate) keep_sessions: bool,
    /// Let plugins run in the copy, with all that their settings name
    #[arg(long, requires = "into")]
    pub(crate) with_plugins: bool,
    #[command(flatten)]
    pub(crate) limit: StartTimeout,
}

impl RestoreArguments {
    /// Whether it goes elsewhere than where it came from.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.into.is_some() || self.into_database.is_some()
    }
}

impl BackupArguments {
    /// The flags of `create`, wherever they stand; `None` for another verb.
    pub(crate) fn creating(&self) -> Option<&CreateArguments> {
        match &self.verb {
            None => Some(&self.create),
            Some(Verb::Create(flags)) => Some(flags),
            Some(_) => None,
        }
    }
}

impl Arguments for BackupArguments {
    fn common(&self) -> &Common {
        &self.common
    }

    fn format(&self) -> Format {
        self.format.format
    }

    fn complete_without_document(&self) -> bool {
        // Every other verb needs no more than its own flags.
        self.creating().is_none() || self.common.install.is_some()
    }

    fn reads_document(&self) -> bool {
        self.creating().is_some() || matches!(self.verb, Some(Verb::Complete { .. }))
    }

    fn default_verb() -> &'static str {
        "create"
    }
}
