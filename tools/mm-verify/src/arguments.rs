//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use mm_common::contract::exit;
use mm_common::machine::state::CACHE;
use mm_common::run::{self, Common, Format, FormatArgument};

use crate::checks::{self, premise};

/// What stands first in the long help.
const FIRST: &str = concat!(
    "The server, looked at as its users would.\n",
    "\n",
    "Examples:\n",
    "  mm-verify baseline --document none\n",
    "      before a change: what is not in order already\n",
    "  mm-verify --install /opt/mattermost --document none --format human\n",
    "      after it: what has got worse\n",
    "  mm-verify repair --list\n",
    "      what a jump over releases has left, and its fix\n",
    "\n",
    "The manual: man mm-verify; the whole upgrade: man 7 mm-upgrade"
);

/// Looks at a Mattermost server as its users would, and says what is broken, why, and what to do.
#[derive(Debug, Clone, Parser)]
#[command(name = "mm-verify", before_long_help = FIRST, version = mm_common::mattermost::catalogue::tools_version(), about, long_about = None, after_long_help = after_long_help(), args_conflicts_with_subcommands = false)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(flatten)]
    format: FormatArgument,
    #[command(flatten)]
    common: Common,
}

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Verb {
    /// Make the checks (the default)
    Run,
    /// Make the checks and store them, so that old faults are not blamed on the upgrade
    Baseline,
    /// Keep looking for a while after the upgrade; ends with 4 as soon as the server gets worse
    Watch(Watch),
    /// Apply the documented fix for the known aftermath of a jump
    Repair(Repair),
}

/// Flags of `watch`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Watch {
    /// How long to look, such as 30m
    #[arg(long = "for", value_name = "DURATION", default_value = "30m", value_parser = crate::trend::duration)]
    pub(crate) length: std::time::Duration,
    /// How often to look, such as 30s
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = crate::trend::duration)]
    pub(crate) every: std::time::Duration,
}

/// Flags of `repair`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Repair {
    /// Say which repairs there are and which of them this server needs
    #[arg(long)]
    pub(crate) list: bool,
    /// Apply this repair, or `all` that are needed; can be given more than once
    #[arg(long, value_name = "ID", required_unless_present = "list")]
    pub(crate) fix: Vec<String>,
}

/// Flags of the checks.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Base address of the server [default: the private address of this hop, else the listen address; the site URL where the server itself speaks TLS]
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) url: Option<String>,
    /// How many real users to look as; those with unread channels, guests and several teams come first
    #[arg(long, value_name = "N", default_value_t = 5, global = true)]
    pub(crate) sample: usize,
    /// Which uploaded files to look for on disk: a sample of 2,000, or all; with all the files of the release are hashed
    /// too, as in a hop, whatever was hashed before
    #[arg(long, value_enum, value_name = "sample|all", default_value_t = Extent::Sample, hide_possible_values = true, global = true)]
    pub(crate) files: Extent,
    /// Directory that mm-fetch keeps releases in: the files of the release are compared with its list there, where no
    /// upgrade has kept one
    #[arg(long, value_name = "DIR", default_value = CACHE, value_parser = run::path(), global = true)]
    pub(crate) cache: PathBuf,
    /// Do not put short-lived sessions and a temporary user into the database
    #[arg(long, global = true)]
    pub(crate) no_sessions: bool,
    /// Look as this account instead of sampled users
    #[arg(long, value_name = "NAME", requires = "password_file", global = true)]
    pub(crate) user: Option<String>,
    /// File that holds the password of --user
    #[arg(long, value_name = "FILE", requires = "user", global = true)]
    pub(crate) password_file: Option<PathBuf>,
    /// File that holds a session token or personal access token to look with
    #[arg(long, value_name = "FILE", conflicts_with = "user", global = true)]
    pub(crate) token_file: Option<PathBuf>,
    /// Look with a real browser: auto (where Chromium or Chrome is installed), no, or the address of a WebDriver
    #[arg(long, value_name = "auto|no|URL", default_value = "auto", global = true)]
    pub(crate) browser: String,
    /// Directory for pictures of what the browser shows [default: screenshots/VERSION in the state directory]
    #[arg(long, value_name = "DIR", value_parser = run::path(), global = true)]
    pub(crate) screenshots: Option<PathBuf>,
    /// A check that could not be made, or was skipped, counts as failed
    #[arg(long, global = true)]
    pub(crate) strict: bool,
    /// Make only this check, or those of this area (the part before the dot); can be given more than once
    #[arg(long, value_name = "ID", global = true)]
    pub(crate) only: Vec<String>,
    /// Do not make this check, or those of this area; can be given more than once
    #[arg(long, value_name = "ID", global = true)]
    pub(crate) skip: Vec<String>,
    /// Write the checks to FILE as JUnit XML
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) junit: Option<PathBuf>,
    /// Write the checks to FILE in the Prometheus text format (for the textfile collector)
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) prometheus: Option<PathBuf>,
}

/// How many of many things to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Extent {
    /// So many that a loss of all shows.
    Sample,
    /// Each.
    All,
}

impl run::Arguments for Arguments {
    fn common(&self) -> &Common {
        &self.common
    }

    fn format(&self) -> Format {
        self.format.format
    }

    /// Without a document everything is found on the machine, but an empty pipe also is what a killed mm-swap leaves:
    /// then the old server must not be taken for the result. A flag has to say what to look at.
    fn complete_without_document(&self) -> bool {
        self.common.install.is_some() || self.options.url.is_some()
    }

    fn reads_document(&self) -> bool {
        matches!(self.verb, None | Some(Verb::Run | Verb::Baseline | Verb::Watch(_)))
    }
}

const HALF_WAY: &str = "\
Exit status 3:
  Only a repair ends so: it did not fix all, and what it did is kept. Nothing is lost: the file that undoes it was
  written first, and the error names it.
  Safe: looking; the same repair again, once the cause is corrected; leaving the server running.
  Not safe: removing the file that undoes it; an upgrade before it is known why the repair did not fix all.
  Three commands:
      mm-verify repair --list               what is still wrong
      mm-verify repair --fix NAME           the repair again
      mm-verify --install /opt/mattermost   whether the server is well afterwards";

fn after_long_help() -> String {
    format!(
        "{}\n\n{HALF_WAY}\n\n{}\nExamples:\n  \
         After an upgrade by hand, as root:\n    mm-verify --install /opt/mattermost\n  \
         Before and after, so that old faults are not blamed on the upgrade:\n    mm-verify baseline && upgrade && mm-verify\n  \
         At the end of a hop:\n    mm-path --to 10.6.1 | mm-fetch | mm-backup --to /srv/backup --stop --leave-stopped | mm-pgbump --leave-stopped | mm-swap | mm-verify\n  \
         From a timer, for a dashboard:\n    mm-verify -q --format json --prometheus /var/lib/node_exporter/mattermost.prom >/dev/null\n  \
         For half an hour after an upgrade:\n    mm-verify watch --for 30m --every 30s --prometheus /var/lib/node_exporter/mattermost.prom\n  \
         Nobody sees teams or a text box after a jump from 5.x:\n    mm-verify repair --list\n    mm-verify repair --fix null-counts",
        exit::HELP,
        premise::help(checks::ALL)
    )
}
