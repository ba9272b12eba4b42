//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use mm_common::contract::error::{Error, Result};
use mm_common::contract::version::{self, Edition};
use mm_common::machine::state::CACHE;
use mm_common::mattermost::catalogue::{self, Dotted, Line};
use mm_common::run::{self, Arguments, Common, Format};
use semver::Version;
use serde_json::{Map, Value, json};

use crate::wish::{Policy, Spot, Target, Wish};

/// What stands first in the long help.
const FIRST: &str = concat!(
    "Which releases to stop at on the way to the wanted one, and what will break there.\n",
    "\n",
    "Examples:\n",
    "  mm-path --install /opt/mattermost\n",
    "      where the server stands, and what comes next\n",
    "  mm-path --to 10.6.1 --check --format human\n",
    "      the way, and everything that would break on it\n",
    "  mm-path --from 5.29.0 --edition team --to 10.6.1 --hops\n",
    "      the releases to stop at, on paper\n",
    "\n",
    "The manual: man mm-path; the whole upgrade: man 7 mm-upgrade"
);

/// Which way leads from the installed Mattermost release to the wanted one
///
/// Looks at the installation (or takes --from and plans on paper), and finds the staged path to --to over the releases
/// that were published: required stops, PostgreSQL upgrades and upgrade notes included, each hop with its reasons and
/// their source. Changes nothing.
///
/// Without --to it reads a document from standard input, moves the finished hop into `done`, looks at the installation
/// again and sets the next hop; `path.next` is null at the end. On a terminal, or with standard input from /dev/null, it
/// says instead what is installed, how long that is supported, what the newest releases would take, and the next command.
#[derive(Debug, Clone, Parser)]
#[command(name = "mm-path", before_long_help = FIRST, version = mm_common::mattermost::catalogue::tools_version(), after_long_help = AFTER)]
pub struct PathArguments {
    /// Where to go: a version (10.6.1), a line (10.6: its newest release), latest or latest-esr
    #[arg(long, value_name = "TARGET", value_parser = text::<Target>)]
    pub to: Option<Target>,
    /// Which releases to stop at [default: esr]
    #[arg(long, value_enum)]
    pub policy: Option<Policy>,
    /// Stop at this version or line; may be given more than once
    #[arg(long, value_name = "VERSION", value_parser = text::<Spot>, value_delimiter = ',')]
    pub via: Vec<Spot>,
    /// Never stop at this version or line; may be given more than once
    #[arg(long, value_name = "VERSION", value_parser = text::<Spot>, value_delimiter = ',')]
    pub avoid: Vec<Spot>,
    /// Be on this PostgreSQL major at the end
    #[arg(long, value_name = "MAJOR")]
    pub postgres: Option<u32>,
    /// Be on this edition from the first hop on [default: the installed one; on paper team]
    #[arg(long, value_enum)]
    pub edition: Option<Edition>,
    /// Look into database, configuration and host for what will break on the way
    #[arg(long, conflicts_with = "from")]
    pub check: bool,
    /// In the table for people, the hops and what stands in their way alone
    #[arg(long)]
    pub brief: bool,
    /// The releases to stop at alone, one a line
    #[arg(long, conflicts_with_all = ["brief", "notes"])]
    pub hops: bool,
    /// The upgrade notes alone: what to do before, what to look at after, what to tell your users
    #[arg(long, conflicts_with = "brief")]
    pub notes: bool,
    /// With --check: directory that mm-fetch keeps releases in
    #[arg(long, value_name = "DIR", default_value = CACHE)]
    pub cache: PathBuf,
    /// With --check: directory of the restore points [default: that of the document, or of mm-backup]
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Say how old the catalogue of releases is and what it knows of each supported line, then end
    #[arg(long, conflicts_with_all = ["to", "check", "from"])]
    pub catalogue_status: bool,
    /// Add the releases, rules and notes of FILE to the catalogue; `none` plans with the built-in one alone
    #[arg(long, value_name = "FILE", value_parser = run::path())]
    pub catalogue: Option<PathBuf>,
    /// Plan a release that the catalogue does not know as if it were of this line
    #[arg(long, value_name = "X.Y", value_parser = text::<Line>)]
    pub assume_like: Option<Line>,
    /// Give the document that the last run goes on with: finished hops are folded, what is left is planned
    #[arg(long, group = "recorded", conflicts_with_all = ["to", "from", "catalogue_status"], help_heading = "Runs")]
    pub resume: bool,
    /// Tell how far the last run is, also while it is under way, and what is installed
    #[arg(long, group = "recorded", conflicts_with_all = ["to", "from", "catalogue_status", "check"], help_heading = "Runs")]
    pub status: bool,
    /// With --status: tell it again whenever it changes, until the run has ended
    #[arg(long, requires = "status", help_heading = "Runs")]
    pub follow: bool,
    /// End the last run: what it has pinned is released
    #[arg(long, group = "recorded", conflicts_with_all = ["to", "from", "catalogue_status", "check"], help_heading = "Runs")]
    pub close: bool,
    /// With --resume, --status or --close: the run with this identifier [default: the last one]
    #[arg(long, value_name = "ID", requires = "recorded", help_heading = "Runs")]
    pub run: Option<String>,
    /// Plan on paper: the release to start from
    #[arg(long, value_name = "VERSION", value_parser = release, conflicts_with = "install", requires = "to", help_heading = "On paper")]
    pub from: Option<Version>,
    /// Plan on paper: the installed edition [default: that of --edition]
    #[arg(long, value_enum, value_name = "EDITION", requires = "from", help_heading = "On paper")]
    pub from_edition: Option<Edition>,
    /// Plan on paper: the PostgreSQL version that the server uses
    #[arg(long, value_name = "MAJOR", value_parser = text::<Dotted>, requires = "from", help_heading = "On paper")]
    pub from_postgres: Option<Dotted>,
    /// Plan on paper: the MySQL version that the server uses
    #[arg(long, value_name = "VERSION", value_parser = text::<Dotted>, requires = "from", conflicts_with = "from_postgres", help_heading = "On paper")]
    pub from_mysql: Option<Dotted>,
    /// What to write to standard output
    #[arg(long, value_enum, default_value_t, help_heading = "Common options")]
    pub format: PathFormat,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// What mm-path can write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum PathFormat {
    /// A table on a terminal, the document elsewhere
    #[default]
    Auto,
    /// The document
    Json,
    /// A table for people
    Human,
    /// A picture for Graphviz: the path, and the jumps that were rejected
    Dot,
    /// The same picture for Mermaid
    Mermaid,
}

const AFTER: &str = "\
EXIT STATUS
  0   planned; also when there is nothing to do (`path.next` is null)
  1   something could not be read
  2   wrong usage
  5   refused: the path is blocked (`path.blockers` says by what), the target is unknown or older than the
      installed release
  65  no document, a broken one, or one of another schema
  74  the document could not be delivered

FOR SCRIPTS
  The script mm-upgrade asks this tool with --upgrade STEP [FILE...] -- WORDS what it has to know, WORDS being those
  that it was called with: the answer is lines that set variables of bash. The steps change with that script; other
  scripts read the document, or --status with --format json. Nothing is changed by it.

EXAMPLES
  The way to 10.6.1 with PostgreSQL 15 at its end, as a table:
      mm-path --install /opt/mattermost --to 10.6.1 --postgres 15 --format human

  Preflight: the same, with a look at what will break on the way:
      mm-path --install /opt/mattermost --to 10.6.1 --check --format human

  The same on paper:
      mm-path --from 5.29.0 --edition team --from-postgres 12 --to 10.6.1 --format human

  Where the server stands, and what comes next:
      mm-path --install /opt/mattermost

  How old the release data is:
      mm-path --catalogue-status

  One hop:
      mm-path --to 10.6.1 | mm-fetch | mm-backup --stop --leave-stopped | mm-pgbump --leave-stopped | mm-swap | mm-verify

  With the times that a rehearsal of the same way took instead of estimates:
      mm-path --document /var/lib/mm-tools/rehearsal/rehearsal.json --to 10.6.1 --format human

  From Team to Enterprise Edition on the way:
      mm-path --install /opt/mattermost --to 10.11 --edition enterprise --check --format human

  A picture:
      mm-path --from 5.29.0 --to 10.6.1 --format dot | dot -Tsvg > path.svg";

/// A value parser for anything that reads itself.
fn text<T: std::str::FromStr<Err = String>>(value: &str) -> Result<T, String> {
    value.parse()
}

fn release(value: &str) -> Result<Version, String> {
    version::parse(value).map_err(|_| format!("`{value}` is not a release: give all of its numbers, as in 5.29.0"))
}

impl PathArguments {
    /// Whether it is about a run that stands in the state directory.
    pub(crate) fn is_of_a_run(&self) -> bool {
        self.resume || self.status || self.close
    }
}

impl Arguments for PathArguments {
    fn common(&self) -> &Common {
        &self.common
    }

    fn format(&self) -> Format {
        match self.format {
            PathFormat::Auto => Format::Auto,
            PathFormat::Human => Format::Human,
            PathFormat::Json | PathFormat::Dot | PathFormat::Mermaid => Format::Json,
        }
    }

    fn complete_without_document(&self) -> bool {
        self.to.is_some() || self.catalogue_status || self.is_of_a_run()
    }

    fn reads_document(&self) -> bool {
        // A new plan needs none, and must not eat the standard input of the script it stands in.
        self.to.is_none() && !self.catalogue_status && !self.is_of_a_run()
    }

    fn default_verb() -> &'static str {
        "plan"
    }
}

/// What was asked for, from the command line and, where it is silent, from the document of an earlier run.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) wish: Wish,
    pub(crate) catalogue: Option<PathBuf>,
    pub(crate) assume_like: Option<Line>,
}

impl Asked {
    /// Joins the two. Refuses (exit 2) when neither says where to go.
    pub(crate) fn of(arguments: &PathArguments, recorded: &Map<String, Value>) -> Result<Self> {
        let recorded_text = |key: &str| recorded.get(key).and_then(Value::as_str);
        let to = match (&arguments.to, recorded_text("to")) {
            (Some(to), _) => to.clone(),
            (None, Some(to)) => to.parse().map_err(Error::usage)?,
            (None, None) => {
                return Err(Error::usage("nothing says where to go").hint("give --to VERSION, latest or latest-esr"));
            }
        };
        let policy = match (arguments.policy, recorded_text("policy")) {
            (Some(policy), _) => policy,
            (None, Some(name)) => Policy::from_str(name, false).map_err(Error::usage)?,
            (None, None) => Policy::default(),
        };
        Ok(Self {
            wish: Wish {
                to,
                policy,
                via: spots(&arguments.via, recorded.get("via"))?,
                avoid: spots(&arguments.avoid, recorded.get("avoid"))?,
                postgres: arguments.postgres.or_else(|| recorded.get("postgres")?.as_u64()?.try_into().ok()),
                edition: match (arguments.edition, recorded_text("edition")) {
                    (None, Some(name)) => Some(name.parse()?),
                    (given, _) => given,
                },
            },
            catalogue: arguments.catalogue.clone().or_else(|| recorded_text("catalogue").map(PathBuf::from)),
            assume_like: match (arguments.assume_like, recorded_text("assume_like")) {
                (None, Some(line)) => Some(line.parse().map_err(Error::usage)?),
                (given, _) => given,
            },
        })
    }

    /// As it stands in `path.wish`.
    pub(crate) fn record(&self) -> Map<String, Value> {
        let texts = |spots: &[Spot]| Value::from(spots.iter().map(ToString::to_string).collect::<Vec<_>>());
        let mut map = Map::new();
        map.insert("to".into(), self.wish.to.to_string().into());
        map.insert("policy".into(), self.wish.policy.name().into());
        if !self.wish.via.is_empty() {
            map.insert("via".into(), texts(&self.wish.via));
        }
        if !self.wish.avoid.is_empty() {
            map.insert("avoid".into(), texts(&self.wish.avoid));
        }
        if let Some(major) = self.wish.postgres {
            map.insert("postgres".into(), major.into());
        }
        if let Some(edition) = self.wish.edition {
            map.insert("edition".into(), edition.to_string().into());
        }
        if let Some(path) = &self.catalogue {
            // The next tool may be called from elsewhere.
            let none = path.as_os_str() == catalogue::NONE;
            let named = if none { path.clone() } else { std::path::absolute(path).unwrap_or_else(|_| path.clone()) };
            map.insert("catalogue".into(), json!(named));
        }
        if let Some(line) = self.assume_like {
            map.insert("assume_like".into(), line.to_string().into());
        }
        map
    }
}

fn spots(given: &[Spot], recorded: Option<&Value>) -> Result<Vec<Spot>> {
    if !given.is_empty() {
        return Ok(given.to_vec());
    }
    let recorded = recorded.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    recorded.iter().filter_map(Value::as_str).map(|text| text.parse().map_err(Error::usage)).collect()
}
