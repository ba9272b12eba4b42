//! The command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use mm_common::contract::digest;
use mm_common::contract::version::{self, Edition};
use mm_common::machine::http;
use mm_common::machine::state::CACHE;
use mm_common::mattermost::catalogue::Arch;
use mm_common::mattermost::manifest::Limits;
use mm_common::run::{self, Arguments, Common, Format, FormatArgument};
use semver::Version;

/// What stands first in the long help.
const FIRST: &str = concat!(
    "The releases of the way, downloaded and proven.\n",
    "\n",
    "Examples:\n",
    "  mm-path --to 10.6.1 | mm-fetch\n",
    "      all of the way\n",
    "  mm-fetch 10.6.1 --edition team --document none\n",
    "      one release\n",
    "  mm-fetch refresh\n",
    "      what Mattermost has released since\n",
    "\n",
    "The manual: man mm-fetch; the whole upgrade: man 7 mm-upgrade"
);

/// Fetch Mattermost releases and prove every byte of them
///
/// Downloads the tarballs of all hops that the document on standard input plans, and that of the running release,
/// whose list of files tells what the release owns; or those of the versions given. What is in the cache already is
/// hashed again and used; what was interrupted is continued. A tarball counts as fetched only when its SHA-256 is the
/// published one (or the one given), or, where none is known, when Mattermost's signature of it is good, and when it has been looked through and is a sound
/// release. What the document says about digests is no proof; where the catalogue has none, an administrator may vouch for them with `--accept document-digest`. Writes the section `fetch`.
#[derive(Debug, Clone, Parser)]
#[command(name = "mm-fetch", before_long_help = FIRST, version = mm_common::mattermost::catalogue::tools_version(), after_long_help = AFTER)]
pub struct FetchArguments {
    /// What to do [default: fetch]
    #[command(subcommand)]
    pub verb: Option<Verb>,
    /// Fetch these releases instead of those of the document
    #[arg(value_name = "VERSION", value_parser = release)]
    pub versions: Vec<Version>,
    /// Edition of the releases [default: that of the document, or of the installation]
    #[arg(long, value_enum)]
    pub edition: Option<Edition>,
    /// Processor the releases are for: amd64 or arm64 [default: this machine's]
    #[arg(long, value_name = "ARCH", value_parser = architecture)]
    pub arch: Option<Arch>,
    /// Directory that keeps what was fetched
    #[arg(long, value_name = "DIR", default_value = CACHE, value_parser = run::path())]
    pub cache: PathBuf,
    /// Take the releases from here: an address or a directory with VERSION/mattermost-team-VERSION-linux-amd64.tar.gz
    #[arg(long, value_name = "URL|DIR", conflicts_with = "from_bundle")]
    pub mirror: Option<String>,
    /// Use no network: only the cache, a mirror that is a directory, or a bundle
    #[arg(long)]
    pub offline: bool,
    /// Downloads at the same time
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub jobs: u8,
    /// Trust this digest; with VERSION= in front where more than one release is fetched. May be given more than once
    #[arg(long, value_name = "[VERSION=]HEX", value_parser = given)]
    pub sha256: Vec<Given>,
    /// Verify the detached OpenPGP signature of every release, against the keys in FILE in place of Mattermost's own
    #[arg(long, value_name = "FILE")]
    pub keyring: Option<PathBuf>,
    /// Trust the certificate authorities in FILE (PEM) beside the host's; also a server's own self-signed certificate, made
    /// with basicConstraints=CA:FALSE
    #[arg(long, value_name = "FILE", global = true)]
    pub ca: Option<PathBuf>,
    /// Put everything that a host without internet needs into DIR
    #[arg(long, value_name = "DIR")]
    pub bundle: Option<PathBuf>,
    /// Take the releases from a directory that --bundle made; implies --offline
    #[arg(long, value_name = "DIR")]
    pub from_bundle: Option<PathBuf>,
    /// Add the releases of FILE to the catalogue; `none` uses the built-in one alone [default: what mm-path was given]
    #[arg(long, value_name = "FILE")]
    pub catalogue: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) limits: LimitArguments,
    #[command(flatten)]
    pub(crate) format: FormatArgument,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// What else there is to do.
#[derive(Debug, Clone, Subcommand)]
pub enum Verb {
    /// Read what Mattermost has published since these tools were built into the catalogue of this machine
    Refresh(Refresh),
}

/// Flags of `refresh`.
#[derive(Debug, Clone, Args)]
pub struct Refresh {
    /// Read this instead of what Mattermost publishes: a page's address, a saved page, or a directory of them; can be
    /// repeated. Of a packager's file (`arm64.sha256 = "..."`) the digests for ARM count, of which Mattermost publishes none,
    /// under the name of the file
    #[arg(long, value_name = "URL|FILE|DIR")]
    pub from: Vec<String>,
}

/// Limits of time and size.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArguments {
    /// Seconds to reach a server: name, connection, TLS
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    pub connect_timeout: u64,
    /// Seconds from the request to the head of the answer (a proxy that scans files takes long)
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub answer_timeout: u64,
    /// Seconds in which less than 1 KiB a second came in, before the connection is given up
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub stall_timeout: u64,
    /// Failures in a row, without progress between them, before a download is given up
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub retries: u32,
    /// Seconds before the first new attempt; doubled for each further one
    #[arg(long, value_name = "SECONDS", default_value_t = 1)]
    pub retry_wait: u64,
    /// Most seconds to wait before an attempt, also when the server asks for more
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub retry_wait_max: u64,
    /// Most bytes of a tarball
    #[arg(long, value_name = "BYTES", default_value_t = 2 << 30)]
    pub max_bytes: u64,
    /// Most entries in a tarball
    #[arg(long, value_name = "N", default_value_t = Limits::default().entries)]
    pub max_entries: u64,
    /// Most bytes of one file in a tarball
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().file_bytes)]
    pub max_file_bytes: u64,
    /// Most bytes of all files in a tarball
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().bytes)]
    pub max_unpacked_bytes: u64,
}

/// A digest that somebody vouches for on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The release it is for, when that is said.
    pub version: Option<Version>,
    /// The digest.
    pub sha256: String,
}

const AFTER: &str = "\
EXIT STATUS
  0   every release is there and verified (`changed` tells whether anything was fetched)
  1   a download failed, or its digest was wrong; what came is kept, and running it again continues
  2   wrong usage
  5   refused: pages that contradict what is known (refresh), neither a trusted digest nor a good signature (or neither gpgv nor sqv to verify it with), a hostile or wrong archive, not enough disk space, no network allowed
  65  no document, a broken one, or one of another schema
  74  the document could not be delivered; the releases are in the cache
  75  another mm-fetch is fetching the same release into the same cache

EXAMPLES
  The releases of a plan:
      mm-path --to 10.6.1 | mm-fetch

  Two releases, downloaded beforehand:
      mm-fetch --edition team 5.37.10 10.6.1

  For a host without internet, first here, then there:
      mm-path --from 5.29.0 --edition team --to 10.6.1 | mm-fetch --bundle /media/usb/mattermost
      mm-path --to 10.6.1 | mm-fetch --from-bundle /media/usb/mattermost

  What was released since these tools were built, for all of them:
      mm-fetch refresh

  The same from pages that were saved on another machine:
      mm-fetch refresh --from /media/usb/pages

  Through a proxy that opens TLS:
      https_proxy=http://proxy.example.com:3128 mm-fetch --ca /etc/ssl/company.pem --edition team 10.6.1

FILES
  DIR/SHA256/NAME.tar.gz    a proven release; release.json beside it lists every file of it with its digest
  DIR/partial/              what is on its way and will be continued
  DIR/refused/              what came and was wrong: kept for inspection, never used
  /var/lib/mm-tools/catalogue.json (or below --state-dir)
                            what refresh has read; every tool lays it over what is built in. Earlier ones: .1 to .3
  where DIR is that of --cache. Nothing in it is ever deleted but a tarball that has changed; what is not needed any
  more can be removed by hand while no mm-fetch runs.

ENVIRONMENT
  https_proxy, http_proxy, all_proxy, no_proxy (or in capitals; proxies are asked to CONNECT), SSL_CERT_FILE,
  SSL_CERT_DIR";

fn release(value: &str) -> Result<Version, String> {
    version::parse(value).map_err(|error| error.one_line())
}

fn architecture(value: &str) -> Result<Arch, String> {
    match value {
        "amd64" => Ok(Arch::Amd64),
        "arm64" => Ok(Arch::Arm64),
        _ => Err("releases exist for amd64 and arm64".into()),
    }
}

fn given(value: &str) -> Result<Given, String> {
    value.parse()
}

impl FromStr for Given {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (version, hex) = match text.split_once('=') {
            Some((version, hex)) => (Some(release(version)?), hex),
            None => (None, text),
        };
        let sha256 = hex.trim().to_ascii_lowercase();
        if digest::is_sha256(&sha256) {
            Ok(Self { version, sha256 })
        } else {
            Err("a SHA-256 has 64 hexadecimal digits".into())
        }
    }
}

impl LimitArguments {
    pub(crate) fn http(&self, ca: Option<PathBuf>) -> http::Options {
        http::Options {
            connect: Duration::from_secs(self.connect_timeout),
            first_byte: Duration::from_secs(self.answer_timeout),
            stall: Duration::from_secs(self.stall_timeout),
            ca,
            ..http::Options::default()
        }
    }

    pub(crate) fn archive(&self) -> Limits {
        Limits { entries: self.max_entries, file_bytes: self.max_file_bytes, bytes: self.max_unpacked_bytes }
    }
}

impl Arguments for FetchArguments {
    fn common(&self) -> &Common {
        &self.common
    }

    fn format(&self) -> Format {
        self.format.format
    }

    fn complete_without_document(&self) -> bool {
        self.verb.is_some() || !self.versions.is_empty() || self.from_bundle.is_some()
    }

    fn reads_document(&self) -> bool {
        self.verb.is_none()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        FetchArguments::command().debug_assert();
    }

    #[test]
    fn a_digest_may_name_its_release() {
        let hex = "A".repeat(64);
        let given: Given = format!("10.6.1={hex}").parse().unwrap();
        assert_eq!(given.version, Some(Version::new(10, 6, 1)));
        assert_eq!(given.sha256, "a".repeat(64));
        assert!("10.6.1".parse::<Given>().is_err());
        assert!("x=".parse::<Given>().is_err());
    }
}
