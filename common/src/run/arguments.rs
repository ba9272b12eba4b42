//! The flags all tools have.

use std::path::PathBuf;

use clap::builder::{PathBufValueParser, PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};

use crate::contract::accepted;

/// The parser of a path that stands in the document or in a record: it has to be text, and that is known before anything
/// is done.
pub fn path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| {
        if path.to_str().is_some() { Ok(path) } else { Err("it is not UTF-8, and could not stand in the document") }
    })
}

/// Flags of every tool. Long names are part of the contract.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Common options")]
pub struct Common {
    /// Install root of the Mattermost server [default: that of the document, or /opt/mattermost]
    #[arg(long, value_name = "DIR", global = true)]
    pub install: Option<PathBuf>,
    /// Read the document from FILE; `-` is standard input, and it must be there; `none`: there is none, standard input is never read
    #[arg(long, value_name = "FILE", global = true)]
    pub document: Option<PathBuf>,
    /// Directory for journal, lock and baselines [default: /var/lib/mm-tools]
    #[arg(long, value_name = "DIR", value_parser = path(), global = true)]
    pub state_dir: Option<PathBuf>,
    /// Say what would be done, change nothing
    #[arg(long, global = true)]
    pub dry_run: bool,
    /// Who starts and stops the server: systemd, sysv, supervisor, exec or command, with `:NAME` where it has one [default: found]
    #[arg(long, value_name = "MANAGER[:NAME]", global = true)]
    pub service: Option<String>,
    /// Command that stops the server, for `--service command`
    #[arg(long, value_name = "CMD", global = true)]
    pub stop_command: Option<String>,
    /// Command that starts the server, for `--service command`
    #[arg(long, value_name = "CMD", global = true)]
    pub start_command: Option<String>,
    /// Go on although the check with this id failed; can be repeated
    #[arg(long, value_name = "ID", global = true, value_parser = PossibleValuesParser::new(accepted::CHECKS), hide_possible_values = true)]
    pub accept: Vec<String>,
    /// Seconds to wait for another run to end before giving up with 75 [default: 60 with a document, else 0]
    #[arg(long, value_name = "SECONDS", global = true)]
    pub lock_wait: Option<u64>,
    /// Say on stderr what is done
    #[arg(long, short, global = true)]
    pub verbose: bool,
    /// Say nothing on stderr but errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

impl Common {
    /// Whether an administrator lets the check with this id through.
    pub fn accepts(&self, id: &str) -> bool {
        debug_assert!(accepted::is_check(id), "`{id}` could not be accepted");
        self.accept.iter().any(|accepted| accepted == id)
    }
}

/// What stdout gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table on a terminal, the document elsewhere.
    #[default]
    Auto,
    /// The document.
    Json,
    /// A table for people.
    Human,
}

/// `--format`, for tools without formats of their own.
#[derive(Debug, Clone, Default, Args)]
pub struct FormatArgument {
    /// What to write to standard output
    #[arg(long, value_enum, default_value_t, global = true, help_heading = "Common options")]
    pub format: Format,
}

/// What goes to stdout at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Output {
    /// The document, or the table for people, as the format says.
    #[default]
    Document,
    /// This text, in every format.
    Text(String),
    /// Nothing more: the verb has written to stdout itself.
    Streamed,
}
