//! `mm-lab`: the fixtures of the tests for shell scripts, such as the demo.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};
use mm_test_support::mariadb::{self, Mariadb};
use mm_test_support::process;
use mm_test_support::release::{self, Order, Release};
use mm_test_support::serve::ReleaseSite;
use mm_test_support::site::{Site, quick};
use serde_json::json;

/// Throw-away servers, releases and release sites for scripts that show or measure the tools.
#[derive(Parser)]
struct Lab {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make a running server with content in a temporary directory, and say where
    Up {
        /// Version of the server
        #[arg(long, default_value = "5.29.0")]
        version: String,
        /// PostgreSQL major of its cluster
        #[arg(long, default_value_t = 13)]
        postgres: u32,
        /// Posts in its two teams of five users
        #[arg(long, default_value_t = 1000)]
        posts: u32,
        #[command(flatten)]
        padding: Padding,
    },
    /// Build releases and put them into DIR/releases, with DIR/catalogue.json beside it
    Releases {
        /// The directory that `up` has named
        directory: PathBuf,
        /// The versions
        #[arg(required = true)]
        versions: Vec<String>,
        #[command(flatten)]
        padding: Padding,
    },
    /// Serve a directory on a free port of 127.0.0.1 until killed, and write the address into FILE
    Serve {
        /// The directory
        directory: PathBuf,
        /// Where to write the address once it answers
        file: PathBuf,
    },
    /// What must not change in an upgrade: numbers of rows, digest of all posts, the user's files
    Facts {
        /// The directory that `up` has named
        directory: PathBuf,
    },
    /// The cluster that has the site's database, the version of its server, and the version that answers
    State {
        /// The directory that `up` has named
        directory: PathBuf,
    },
    /// Take a stopped site to a `MariaDB` server of its own, and say where that is; its `pid` is for whoever ends it
    Mariadb {
        /// The directory that `up` has named
        directory: PathBuf,
    },
    /// Stop the server, and wait for its end
    Stop {
        /// The directory that `up` has named
        directory: PathBuf,
    },
    /// Start the server, and wait until it answers
    Start {
        /// The directory that `up` has named
        directory: PathBuf,
    },
    /// Wait until there is no server process and then one again, and say how many seconds lay between
    Outage {
        /// The directory that `up` has named
        directory: PathBuf,
    },
    /// Remove the server, its clusters and its directory
    Down {
        /// The directory that `up` has named
        directory: PathBuf,
    },
}

/// How long an outage is waited for: a bench prepares for minutes.
const LONGEST: Duration = Duration::from_secs(1800);

/// Files that make a release as large as a real one.
#[derive(Args)]
struct Padding {
    /// Further files under client/ in the release
    #[arg(long, default_value_t = 0)]
    files: u64,
    /// Their size together, in bytes
    #[arg(long, default_value_t = 0)]
    bytes: u64,
}

impl Padding {
    fn release(&self, version: &str) -> Order {
        quick(version).padding(self.files, self.bytes)
    }
}

fn main() {
    match Lab::parse().verb {
        Verb::Up { version, postgres, posts, padding } => {
            let order = padding.release(&version);
            let mut site = Site::builder(&version).order(order).postgres(postgres).posts(posts).running().build();
            site.keep();
            say(&json!({
                "directory": site.directory(), "install": site.install(), "url": site.url(),
                "cluster": site.cluster.label(), "users": site.users,
            }));
        }
        Verb::Releases { directory, versions, padding } => releases(&directory, &versions, &padding),
        Verb::Serve { directory, file } => {
            let site = ReleaseSite::start(&directory);
            std::fs::write(&file, site.url()).expect("the file can be written");
            loop {
                std::thread::park();
            }
        }
        Verb::Facts { directory } => facts(&Site::reopen(&directory)),
        Verb::State { directory } => {
            let site = Site::reopen(&directory);
            let clusters = site.cluster.all_of_this_name();
            say(&json!({
                "version": site.running_version(),
                "postgres": site.cluster.query("SHOW server_version"),
                "clusters": clusters,
                "processes": process::running_below(site.directory()),
            }));
        }
        Verb::Mariadb { directory } => {
            let mut server = Mariadb::under(&Site::reopen(&directory));
            server.keep();
            let socket = server.socket();
            say(&json!({
                "source": server.source(), "port": server.port, "socket": socket, "pid": socket.with_file_name("pid"),
                "user": mariadb::USER, "password": mariadb::PASSWORD,
            }));
        }
        Verb::Stop { directory } => Site::reopen(&directory).stop(),
        Verb::Start { directory } => Site::reopen(&directory).start(),
        Verb::Outage { directory } => {
            let directory = directory.canonicalize().expect("the directory is there");
            process::wait_until("the server to end", LONGEST, || process::running_below(&directory).is_empty());
            let ended = Instant::now();
            process::wait_until("the server to start", LONGEST, || !process::running_below(&directory).is_empty());
            say(&json!(ended.elapsed().as_secs_f64()));
        }
        Verb::Down { directory } => Site::reopen(&directory).remove(),
    }
}

fn releases(directory: &Path, versions: &[String], padding: &Padding) {
    let releases: Vec<Release> = versions.iter().map(|version| padding.release(version).build()).collect();
    release::publish(&directory.join("releases"), &releases);
    let catalogue = release::catalogue(&releases);
    std::fs::write(directory.join("catalogue.json"), catalogue.to_string()).expect("the directory can be written");
}

fn facts(site: &Site) {
    let mut lines = vec![format!("posts and their digest: {}", site.history())];
    lines.extend(site.counts().into_iter().map(|(table, rows)| format!("rows of {table}: {rows}")));
    lines.extend(site.user_files().into_iter().map(|(path, what)| format!("{path}: {what}")));
    let mut stdout = std::io::stdout().lock();
    // Somebody who stops reading has seen enough.
    let _ = writeln!(stdout, "{}", lines.join("\n"));
}

fn say(value: &serde_json::Value) {
    let _ = writeln!(std::io::stdout(), "{value}");
}
