//! Releases of the stand-in, built once and kept.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{Flock, FlockArg};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::tool;

/// What to build.
#[derive(Debug, Clone)]
pub struct Order {
    /// The version to imitate.
    pub version: String,
    /// `team` or `enterprise`.
    pub edition: String,
    /// Padding files under `client/`, and their total size in bytes.
    pub padding: (u64, u64),
    /// Faults built in.
    pub faults: Vec<String>,
}

impl Order {
    /// A sound team release without padding.
    pub fn of(version: &str) -> Self {
        Self { version: version.to_owned(), edition: "team".to_owned(), padding: (0, 0), faults: Vec::new() }
    }

    /// With a fault built in, see the stand-in's README.
    #[must_use]
    pub fn fault(mut self, fault: &str) -> Self {
        self.faults.push(fault.to_owned());
        self
    }

    /// With padding: so many files of so many bytes together.
    #[must_use]
    pub fn padding(mut self, files: u64, bytes: u64) -> Self {
        self.padding = (files, bytes);
        self
    }

    /// The tarball, from the cache when it is there.
    pub fn build(&self) -> Release {
        let standin = tool::executable("stand-in");
        let data = fs::metadata(&standin).expect("the executable is there");
        // Another stand-in makes other releases; those of the one before are of no use any more.
        let generation = format!("{:x}-{:x}{:x}", data.len(), data.mtime(), data.mtime_nsec());
        let base = tool::cache().join("releases");
        fs::create_dir_all(&base).expect("the target directory can be written");
        let lock = File::create(base.join("lock")).expect("the target directory can be written");
        let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, error)| error).expect("flock works");
        for old in fs::read_dir(&base).expect("it was just made").flatten() {
            if old.path().is_dir() && old.file_name().to_str() != Some(&generation) {
                fs::remove_dir_all(old.path()).expect("the cache is ours");
            }
        }
        let name = format!(
            "{}-{}-{}-{}-{}",
            self.version,
            self.edition,
            self.padding.0,
            self.padding.1,
            hex(&Sha256::digest(self.faults.join(",")))[..8].to_owned()
        );
        let directory = base.join(generation).join(name);
        if !directory.is_dir() {
            let working = directory.with_extension("new");
            let _ = fs::remove_dir_all(&working);
            self.make(&standin, &working);
            fs::rename(&working, &directory).expect("the cache is ours");
        }
        self.describe(&directory)
    }

    fn make(&self, standin: &Path, out: &Path) {
        fs::create_dir_all(out).expect("the cache is ours");
        let mut command = Command::new(standin);
        command.args(["build-release", "--version", &self.version, "--edition", &self.edition, "--out"]).arg(out);
        if self.padding.0 > 0 {
            command.args(["--files", &self.padding.0.to_string(), "--bytes", &self.padding.1.to_string()]);
        }
        for fault in &self.faults {
            command.args(["--fault", fault]);
        }
        let output = command.output().expect("the stand-in runs");
        assert!(
            output.status.success(),
            "the stand-in cannot build {self:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn describe(&self, directory: &Path) -> Release {
        let file = match self.edition.as_str() {
            "enterprise" => format!("mattermost-{}-linux-amd64.tar.gz", self.version),
            edition => format!("mattermost-{edition}-{}-linux-amd64.tar.gz", self.version),
        };
        let tarball = directory.join(&self.version).join(&file);
        let bytes = fs::read(&tarball).unwrap_or_else(|error| panic!("{}: {error}", tarball.display()));
        Release {
            version: self.version.clone(),
            edition: self.edition.clone(),
            sha256: hex(&Sha256::digest(bytes)),
            url_path: format!("{}/{file}", self.version),
            tarball,
        }
    }
}

/// A release tarball.
#[derive(Debug, Clone)]
pub struct Release {
    /// The version it imitates.
    pub version: String,
    /// `team` or `enterprise`.
    pub edition: String,
    /// The file.
    pub tarball: PathBuf,
    /// Its digest.
    pub sha256: String,
    /// Where it stands on a release site, without a leading slash.
    pub url_path: String,
}

/// Makes `directory` a release site: the tarballs in the paths of the official one.
pub fn publish(directory: &Path, releases: &[Release]) {
    for release in releases {
        let place = directory.join(&release.url_path);
        fs::create_dir_all(place.parent().expect("it has one")).expect("the directory can be written");
        if !place.exists() {
            fs::hard_link(&release.tarball, &place)
                .or_else(|_| fs::copy(&release.tarball, &place).map(|_| ()))
                .expect("the directory can be written");
        }
    }
}

/// The overlay for `--catalogue` that says the digests of these releases.
pub fn catalogue(releases: &[Release]) -> Value {
    let records: Vec<Value> = releases
        .iter()
        .map(|release| json!({"version": release.version, (release.edition.clone()): {"sha256": [release.sha256]}}))
        .collect();
    json!({ "releases": records })
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes it");
        text
    })
}
