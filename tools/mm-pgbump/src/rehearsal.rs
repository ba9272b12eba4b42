//! `pg_upgrade --check` against a scratch cluster while the old one serves: it finds what the new major cannot take,
//! and touches nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mm_common::machine::command::{self, Cmd};
use mm_common::machine::given::Given;
use mm_common::machine::tree;
use mm_common::machine::user::User;
use mm_common::postgres::cluster::Cluster;
use mm_common::postgres::programs::{Part, install};
use mm_common::postgres::server::{self, Database};
use mm_common::{Error, Result};

use crate::control;
use crate::plan::Method;

/// The check takes seconds (observed: 1.6 s); a large catalogue on a slow disk takes longer.
const LIMIT: Duration = Duration::from_secs(900);

/// What `pg_upgrade --check` said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The clusters are compatible.
    Compatible,
    /// They are not, and this is why.
    Incompatible(String),
}

/// A scratch cluster of the new major on the file system the real one will be on: whether files can be cloned or
/// linked depends on that. Removed when dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    directory: Given,
    owner: User,
    major: u32,
}

impl Scratch {
    /// Makes one beside the future data directory, like the old cluster in encoding, locale and checksums.
    pub(crate) fn create(old: &Cluster, entrance: &Database, major: u32, data: &Path) -> Result<Self> {
        let owner = User::named(&old.owner)?;
        let place = data.ancestors().skip(1).find(|path| path.is_dir()).unwrap_or(Path::new("/"));
        // The place is the owner's own, and that is not root: what is done in there, a program does as the owner.
        let directory = Given::make(place, &format!(".mm-pgbump.{}.", old.name))?;
        directory.give(&owner)?;
        let scratch = Self { directory, owner, major };
        let rows = entrance.rows(
            "SELECT pg_catalog.pg_encoding_to_char(encoding)::pg_catalog.text AS encoding, datcollate::pg_catalog.text AS collate, datctype::pg_catalog.text AS ctype,
                    pg_catalog.current_setting('data_checksums') AS checksums
             FROM pg_catalog.pg_database WHERE datname = 'template1'",
        )?;
        let row = rows.first().ok_or_else(|| Error::failed("the cluster has no database template1"))?;
        let word = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let initdb = scratch
            .program("initdb")?
            .args(["--no-sync", "--auth=peer", "--encoding", &word("encoding")])
            .args(["--lc-collate", &word("collate"), "--lc-ctype", &word("ctype"), "-D"])
            .arg(scratch.data());
        initdb.args(checksums(word("checksums") == "on", major)).run()?;
        Ok(scratch)
    }

    /// Asks `pg_upgrade` whether it could.
    pub(crate) fn check(&self, old: &Cluster, method: Method) -> Result<Verdict> {
        let bin = |major: u32| server::program_of("postgres", major).and_then(|path| path.parent().map(Path::to_owned));
        let (Some(from), Some(to)) = (bin(old.major), bin(self.major)) else {
            return Err(Error::refused("the server programs of both majors have to be installed"));
        };
        self.as_owner("rm").args(["-rf", "--"]).arg(self.data().join("pg_upgrade_output.d")).run()?;
        let command = self
            .program("pg_upgrade")?
            .directory(self.directory.path())
            .arg("--check")
            .arg("-b")
            .arg(from)
            .arg("-B")
            .arg(to)
            .arg("-d")
            .arg(&old.configuration)
            .arg("-D")
            .arg(self.data())
            .args(["-p", &old.port.to_string(), "-P", &free_port()?.to_string()])
            .limit(LIMIT);
        let command = match method {
            Method::Clone => command.arg("--clone"),
            Method::Link => command.arg("--link"),
            Method::Upgrade | Method::Dump => command,
        };
        let output = command.output()?;
        if output.status.success() {
            return Ok(Verdict::Compatible);
        }
        Ok(Verdict::Incompatible(self.reasons(&output.text(), &output.stderr)))
    }

    /// Whether the new major accepts these lines in its configuration.
    pub(crate) fn accepts(&self, configuration: &str) -> Result<Option<String>> {
        let (own, tried) = (self.data().join("postgresql.conf"), self.data().join("tried.conf"));
        self.as_owner("cp").arg("--").arg(own).arg(&tried).run()?;
        self.as_owner("tee").arg("-a").arg(&tried).run_with(configuration)?;
        let file = format!("config_file={}", tried.display());
        let postgres = self.program("postgres")?.arg("-D").arg(self.data());
        let output = postgres.args(["-c", &file, "-C", "data_directory"]).output()?;
        Ok((!output.status.success()).then(|| command::tail(&output.stderr).to_owned()))
    }

    /// What it printed from the first complaint on, and what it wrote into its reports.
    fn reasons(&self, stdout: &str, stderr: &str) -> String {
        let at = stdout.lines().position(|line| line.ends_with("fatal") || line.contains("failure")).unwrap_or(0);
        let mut words: Vec<String> = stdout.lines().skip(at).map(str::to_owned).collect();
        words.extend(stderr.lines().map(str::to_owned));
        for report in self.reports() {
            let name = report.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let text = self.as_owner("head").args(["-c", "65536", "--"]).arg(&report).output();
            let text = text.map(|output| output.text()).unwrap_or_default();
            words.extend(text.lines().take(20).map(|line| format!("{name}: {line}")));
        }
        words.retain(|line| !line.trim().is_empty());
        words.join("\n")
    }

    fn reports(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        // The directory is removed when all is well, so that it cannot be listed is no failure.
        let _ = tree::walk(&self.data().join("pg_upgrade_output.d"), &mut |met| {
            if met.path.extension().is_some_and(|end| end == "txt") {
                found.push(self.data().join("pg_upgrade_output.d").join(met.path));
            }
            Ok(tree::Go::In)
        });
        found
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A program that works in the directory, as the user whose it is.
    fn as_owner(&self, name: &str) -> Cmd {
        Cmd::new(name).user(&self.owner)
    }

    fn program(&self, name: &str) -> Result<Cmd> {
        let path = server::program_of(name, self.major).ok_or_else(|| {
            Error::refused(format!("the program `{name}` of PostgreSQL {} is not installed", self.major))
                .hint(install(self.major, Part::Server))
        })?;
        Ok(Cmd::new(path.display().to_string()).user(&self.owner).limit(LIMIT))
    }
}

/// What makes initdb of a major leave the data checksums as the old cluster has them, which `pg_upgrade` insists on:
/// from 18 on it makes them unless told not to (its release notes).
fn checksums(on: bool, major: u32) -> Option<&'static str> {
    if on { Some("--data-checksums") } else { (major >= 18).then_some("--no-data-checksums") }
}

/// The tablespaces of a cluster that cannot be cloned: `pg_upgrade --check` asks that of the file system of the data
/// directory alone. Each is tried with a file of four bytes, which goes away again.
pub(crate) fn unclonable_tablespaces(old: &Cluster) -> Result<Vec<String>> {
    let owner = User::named(&old.owner)?;
    let mut found = Vec::new();
    for directory in control::tablespace_directories(old, old.major)? {
        let place = directory.parent().unwrap_or(&directory);
        if let Err(error) = clone_within(place, &owner) {
            found.push(format!("no file can be cloned in the tablespace `{}`: {}", place.display(), error.one_line()));
        }
    }
    Ok(found)
}

/// A file is cloned, and both are removed: all of it as the owner, who may exchange what is in there at any time.
const CLONE: &str = "umask 077; f=$(mktemp -- \"$0/.mm-pgbump.XXXXXXXX\") && echo try >\"$f\" && \
    cp --reflink=always -- \"$f\" \"$f.clone\"; status=$?; rm -f -- \"$f\" \"$f.clone\"; exit $status";

fn clone_within(directory: &Path, owner: &User) -> Result<()> {
    Cmd::new("sh").args(["-c", CLONE]).arg(directory).user(owner).run().map(drop)
}

/// A port nobody listens on at this moment; only written into the scratch cluster, which is never started.
fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))
        .map_err(|error| Error::failed("cannot find a free port").because(error))?;
    listener
        .local_addr()
        .map(|address| address.port())
        .map_err(|error| Error::failed("cannot find a free port").because(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_stay_as_they_are_whatever_the_new_major_makes_by_itself() {
        assert_eq!(checksums(true, 15), Some("--data-checksums"));
        assert_eq!(checksums(true, 18), Some("--data-checksums"));
        assert_eq!(checksums(false, 18), Some("--no-data-checksums"));
        // 17 and older do not know that option.
        assert_eq!(checksums(false, 17), None);
    }
}
