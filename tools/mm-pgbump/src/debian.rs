//! What the `pg_upgradecluster` of this machine does and does not do: it has changed a good deal between the versions of
//! postgresql-common that are in use (225 in Debian 11 to 293 in forky, observed).

use std::path::Path;
use std::time::Duration;

use mm_common::machine::{command, files};
use mm_common::postgres::cluster::{self, Cluster};
use mm_common::{Error, Result};

use crate::control::entries;

/// Where Debian looks for programs to run in the course of an upgrade.
const HOOKS: &str = "/etc/postgresql-common/pg_upgradecluster.d";

/// The hook that postgresql-common brings itself from 254 on. It collects statistics, which this tool does.
const OWN_HOOK: &str = "analyze";

/// The script has a thousand lines.
const MOST: u64 = 4 << 20;

/// Looking at packages takes a tenth of a second (observed).
const LIMIT: Duration = Duration::from_secs(60);

/// The name that the new cluster has in a question: one that no cluster has, for a cluster of its real name may be there.
const NOBODY: &str = "mm-pgbump.check";

/// The `pg_upgradecluster` of this machine.
#[derive(Debug)]
pub(crate) struct Script(String);

impl Script {
    /// Reads it.
    ///
    /// # Errors
    /// Refused when it is not installed.
    pub(crate) fn of_this_machine() -> Result<Self> {
        let path = command::find("pg_upgradecluster")?;
        Ok(Self(String::from_utf8_lossy(&files::read(&path, MOST)?).into_owned()))
    }

    /// Whether a hook needs the new cluster to run. Where `--no-start` leaves hooks out (from 257 on), the one that
    /// postgresql-common brings may be left out; other ones are the administrator's, or an extension's.
    pub(crate) fn needs_start(&self) -> Result<bool> {
        Ok(self.needs_start_for(&hooks(Path::new(HOOKS))?))
    }

    fn needs_start_for(&self, hooks: &[String]) -> bool {
        let leaves_out = self.0.contains("Skipping upgrade scripts because --no-start was given");
        hooks.iter().any(|name| name != OWN_HOOK || !leaves_out)
    }

    /// Whether its `dump` method ends at the first statement that the new major refuses (293 does, 278 goes on).
    pub(crate) fn ends_at_errors(&self) -> bool {
        self.0.contains("pg_dumpcluster")
    }

    /// Whether it makes a cluster of 18 or later without data checksums when the old one has none (from 266 on).
    pub(crate) fn keeps_checksums_off(&self) -> bool {
        self.0.contains("'--no-data-checksums'")
    }
}

/// The programs that run-parts would run: names without a dot.
fn hooks(directory: &Path) -> Result<Vec<String>> {
    let names = entries(directory)?;
    let names = names.iter().filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    Ok(names.filter(|name| !name.contains('.')).collect())
}

/// The packages of the old major that have no counterpart for the new one, in the words of `pg_upgradecluster`: from 269
/// on it refuses to upgrade then. Before that, no package is asked for.
///
/// # Errors
/// Failed when it does not answer what is known of it.
pub(crate) fn missing_packages(old: &Cluster, major: u32) -> Result<Vec<String>> {
    let command = cluster::tool("pg_upgradecluster")
        .args(["--version", &major.to_string(), "--check", "--rename", NOBODY])
        .args([&old.major.to_string(), &old.name])
        .limit(LIMIT);
    let output = command.output()?;
    answer(output.status.success(), &output.text(), &output.stderr)
        .map_err(|words| Error::failed(format!("`{}` failed", command.line())).because(words))
}

fn answer(success: bool, stdout: &str, stderr: &str) -> std::result::Result<Vec<String>, String> {
    if success || stderr.contains("Unknown option: check") {
        return Ok(Vec::new());
    }
    let missing: Vec<String> =
        stdout.lines().map(str::trim).filter(|line| line.ends_with(" is missing")).map(str::to_owned).collect();
    if missing.is_empty() { Err(command::tail(&format!("{stdout}{stderr}")).to_owned()) } else { Ok(missing) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a version of postgresql-common: the hooks it brings, what of its script is relied on, and how it answered the
    /// question for its packages, where the new major was there and where it was not.
    struct Recorded {
        version: &'static str,
        hooks: &'static [&'static str],
        script: &'static str,
        fine: (bool, &'static str, &'static str),
        lacking: (bool, &'static str, &'static str),
    }

    const UNKNOWN: (bool, &str, &str) = (false, "", "Unknown option: check\n");
    const FINE: (bool, &str, &str) = (true, "pg_upgradecluster pre-upgrade checks ok\n", "");
    const LACKING: (bool, &str, &str) = (
        false,
        "postgresql-13 is installed, but postgresql-18 is missing\n\
         postgresql-client-13 is installed, but postgresql-client-18 is missing\n\
         2 package(s) from version 13 missing for version 18\n\
         Install the missing packages and try pg_upgradecluster again. To ignore the issue, use --force-packages\n",
        "Error: pg_upgradecluster pre-upgrade checks failed\n",
    );
    const LATER: &str = "push @argv, ('--no-data-checksums');\nprint \"Warning: Skipping upgrade scripts because --no-start was given\\n\";";

    const RECORDED: &[Recorded] = &[
        Recorded { version: "225+deb11u1", hooks: &[], script: "", fine: UNKNOWN, lacking: UNKNOWN },
        Recorded { version: "248+deb12u1", hooks: &[], script: "", fine: UNKNOWN, lacking: UNKNOWN },
        Recorded { version: "278+deb13u1", hooks: &["analyze"], script: LATER, fine: FINE, lacking: LACKING },
        Recorded { version: "293", hooks: &["analyze"], script: LATER, fine: FINE, lacking: LACKING },
    ];

    #[test]
    fn every_version_in_use_is_understood() {
        for recorded in RECORDED {
            let version = recorded.version;
            let script = Script(recorded.script.to_owned());
            let with = |more: &[&str]| {
                let hooks: Vec<String> = recorded.hooks.iter().chain(more).map(|name| (*name).to_owned()).collect();
                script.needs_start_for(&hooks)
            };
            // The new cluster stays shut until it is proven, but for hooks of others, which need it.
            assert!(!with(&[]), "{version}");
            assert!(with(&["postgis"]), "{version}");
            let asks = recorded.fine != UNKNOWN;
            assert_eq!(script.keeps_checksums_off(), asks, "{version}");
            assert_eq!(ask(recorded.fine), Ok(vec![]), "{version}");
            assert_eq!(ask(recorded.lacking).unwrap().len(), if asks { 2 } else { 0 }, "{version}");
        }
    }

    fn ask((success, stdout, stderr): (bool, &str, &str)) -> std::result::Result<Vec<String>, String> {
        answer(success, stdout, stderr)
    }

    #[test]
    fn what_is_no_answer_is_no_consent() {
        let said = ask((false, "", "Error: cluster is disabled\n")).unwrap_err();
        assert!(said.contains("cluster is disabled"), "{said}");
    }

    #[test]
    fn a_hook_of_that_name_is_a_hook_where_hooks_are_not_left_out() {
        // 254 to 256, and the administrator's own before that.
        assert!(Script(String::new()).needs_start_for(&["analyze".to_owned()]));
    }

    #[test]
    fn names_that_run_parts_leaves_out_are_no_hooks() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["analyze", "analyze.dpkg-old", "postgis"] {
            files::write(&directory.path().join(name), b"", files::Access::PUBLIC).unwrap();
        }
        let mut found = hooks(directory.path()).unwrap();
        found.sort();
        assert_eq!(found, ["analyze", "postgis"]);
        assert!(hooks(Path::new("/no/such/directory")).unwrap().is_empty());
    }
}
