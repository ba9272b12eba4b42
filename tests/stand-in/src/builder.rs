//! The command line of the builder: `stand-in build-release` and `stand-in seed`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::emulated::Edition;
use crate::error::{During as _, Result};
use crate::release::{self, Request};
use crate::seed::{self, Plan};

/// Builds releases of the stand-in server and fills their databases. A test instrument, not Mattermost.
#[derive(Debug, Parser)]
#[command(name = "stand-in", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Writes OUT/VERSION/mattermost-[team-]VERSION-linux-amd64.tar.gz and OUT/SHA256SUMS
    BuildRelease {
        /// Versions to build
        #[arg(long = "version", required = true, num_args = 1..)]
        versions: Vec<String>,
        /// team or enterprise
        #[arg(long, default_value = "team")]
        edition: String,
        /// Directory that becomes the download site
        #[arg(long)]
        out: PathBuf,
        /// Extra files under client/
        #[arg(long, default_value_t = 0)]
        files: usize,
        /// Their total size in bytes
        #[arg(long, default_value_t = 0)]
        bytes: u64,
        /// A way to be broken, built in
        #[arg(long = "fault")]
        faults: Vec<String>,
        /// The executable that becomes bin/mattermost (default: this one)
        #[arg(long)]
        executable: Option<PathBuf>,
    },
    /// Fills a database that a stand-in has migrated, and prints what it made as JSON
    Seed {
        /// `postgres://user:password@host:port/database`
        #[arg(long)]
        database: String,
        /// Install root, for the files in data/
        #[arg(long)]
        install: PathBuf,
        #[arg(long, default_value_t = 2)]
        teams: usize,
        #[arg(long, default_value_t = 5)]
        users: usize,
        #[arg(long, default_value_t = 1000)]
        posts: usize,
        #[arg(long, default_value_t = 10)]
        files: usize,
    },
}

pub(crate) fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    let mut out_line = std::io::stdout();
    match cli.verb {
        Verb::BuildRelease { versions, edition, out, files, bytes, faults, executable } => {
            let executable = match executable {
                Some(path) => path,
                None => std::env::current_exe().during(|| "looking for the own executable".to_owned())?,
            };
            let edition: Edition = edition.parse()?;
            let mut made = Vec::new();
            for version in &versions {
                let request = Request {
                    files,
                    bytes,
                    faults: faults.clone(),
                    ..Request::new(version, edition, &out, &executable)
                };
                let release = release::build(&request)?;
                let _ = writeln!(out_line, "{}  {}", release.sha256, release.tarball.display());
                made.push(release);
            }
            release::write_sums(&out, &made)
        }
        Verb::Seed { database, install, teams, users, posts, files } => {
            let seeded = seed::seed(&database, &install, &Plan { teams, users, posts, files })?;
            let _ = writeln!(out_line, "{}", seeded.to_json());
            Ok(())
        }
    }
}
