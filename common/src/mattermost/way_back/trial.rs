//! The way back, tried just before it may be needed: a database is created, renamed and dropped by whom a restore would have
//! do that, and the role that runs dumps is let in; the cluster that is about to be upgraded may be started again; there is
//! room. What a host does not let us try is no finding that stops anything, and is said.

use std::path::Path;
use std::time::Duration;

use super::administrator::in_sql;
use super::{Administrator, administrator, release};
use crate::contract::digest;
use crate::contract::error::{Error, Kind, Result};
use crate::contract::sections::{Check, Status};
use crate::contract::shell;
use crate::contract::ui;
use crate::machine::command::Cmd;
use crate::machine::disk;
use crate::mattermost::site::Installation;
use crate::postgres::cluster::{self, Cluster};
use crate::postgres::dump::identifier;
use crate::postgres::manager::{self, Manager};
use crate::postgres::proven::Claim;
use crate::postgres::restorer::Restorer;
use crate::postgres::room::{self, Need};
use crate::postgres::server::Database;

/// The id of the check, and what `--accept` is given to go on though the way back is closed.
pub const ACCEPT: &str = "rollback";

const TITLE: &str = "The way back is open";

/// What is said when it was not the right that was missing.
const PASSING: &[&str] = &[
    "timeout",
    "too many",
    "remaining connection slots",
    "is starting up",
    "is shutting down",
    "had not finished after",
    "onnection refused",
    "could not connect",
    "closed the connection",
    "being accessed by other users",
];

/// How long the statements may take together: making and dropping a database waits for checkpoints of the whole cluster.
const PATIENCE: Duration = Duration::from_secs(600);

/// Something that is wrong with the way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whether it closes the way back; otherwise it keeps us from trying it.
    pub closes: bool,
    /// What was seen.
    pub cause: String,
    /// What opens it.
    pub fix: Option<String>,
}

impl Finding {
    fn of(error: &Error) -> Self {
        let closes = error.kind() == Kind::Refused;
        Self { closes, cause: error.one_line(), fix: error.next_step().map(str::to_owned) }
    }

    pub(super) fn closing(cause: String, fix: String) -> Self {
        Self { closes: true, cause, fix: Some(fix) }
    }
}

/// What is tried.
#[derive(Clone, Copy)]
pub struct Trial<'a> {
    /// The installation.
    pub site: &'a Installation,
    /// On whose behalf a superuser works in its database.
    pub claim: Claim<'a>,
    /// The PostgreSQL major that this hop needs, where that is a later one than there is.
    pub bump: Option<u32>,
    /// Whether this hop brings another release, whose predecessor is to be kept.
    pub release: bool,
}

impl Trial<'_> {
    /// Tries it. Needs the lock of the installation, which the claim holds: two of these have the same names.
    pub fn run(self) -> Vec<Finding> {
        ui::progress("trying the way back");
        let mut findings: Vec<Finding> =
            self.release.then(|| release::stays(&self.site.root)).flatten().into_iter().collect();
        let database = match self.site.database() {
            Ok(database) => database,
            Err(error) => {
                findings.push(Finding { closes: false, cause: error.one_line(), fix: None });
                return findings;
            }
        };
        let bump = self.bump.filter(|major| *major > database.major());
        match administrator(self.site, &self.claim) {
            Ok(administrator) => {
                if let Err(error) = self.try_database(&administrator) {
                    findings.push(Finding::of(&error));
                }
                let data = administrator.cluster.as_ref().and_then(Cluster::data_here);
                if let (Some(data), None) = (data, bump) {
                    findings.extend(space(&database, data));
                }
            }
            Err(error) => findings.push(Finding::of(&error)),
        }
        if bump.is_some()
            && let Ok(Some(old)) = cluster::of_database(&database)
        {
            findings.extend(startable(&old));
        }
        ui::progress_done();
        findings
    }

    /// Creates, renames and drops a database of a known name, and lets the role that runs dumps into it.
    fn try_database(&self, administrator: &Administrator) -> Result<()> {
        let Administrator { database: admin, cluster, is_superuser } = administrator;
        let admin = &admin.clone().with_limit(PATIENCE);
        let [first, second] = names(self.site, &id_of_machine()).map(|name| (identifier(&name), name));
        let drop = format!("DROP DATABASE IF EXISTS {};\nDROP DATABASE IF EXISTS {}", first.0, second.0);
        let make = format!(
            "{drop};\nCREATE DATABASE {} TEMPLATE template0;\nALTER DATABASE {} RENAME TO {}",
            first.0, first.0, second.0
        );
        let attempt = "a database cannot be created, renamed and dropped beside the server's";
        let outcome = admin.execute_each(&make).map_err(|error| {
            let fix = self.fix(&error, *is_superuser);
            closed(error, attempt, &fix)
        });
        let tried = outcome.and_then(|()| match cluster.as_ref().filter(|_| *is_superuser) {
            Some(cluster) => {
                let runner = Restorer::make(admin, cluster).map_err(|error| closed(error, "no dump can be run", ""))?;
                runner.connect(&admin.name, cluster)?;
                runner.connect(&second.1, cluster).map(|_| ())
            }
            None => admin
                .sibling(&second.1)
                .value("SELECT 1 AS one")
                .map(|_| ())
                .map_err(|error| closed(error, attempt, "")),
        });
        let dropped = admin.execute_each(&drop).map_err(|error| closed(error, attempt, ""));
        tried.and(dropped)
    }

    /// What lets whoever tried it do it.
    fn fix(&self, error: &Error, is_superuser: bool) -> String {
        let role = in_sql(self.site.source.as_ref().map_or("", |source| source.user.as_str()));
        if is_superuser {
            "fix the problem above".into()
        } else if error.one_line().contains("permission denied to create database") {
            format!("let an administrator of the database run `ALTER ROLE {role} CREATEDB`")
        } else {
            format!(
                "let {role} into the database `postgres` of that server, too (pg_hba.conf, or [databases] of PgBouncer): from there the server's own is renamed"
            )
        }
    }
}

/// The names of the throw-away database of an installation: what a killed run has left goes with the next one. Hosts that
/// share a database server have the same paths, so the machine is part of it, and the database.
fn names(site: &Installation, machine: &str) -> [String; 2] {
    let database = site.source.as_ref().map_or("", |source| source.database.as_str());
    let text = [&site.state.path().to_string_lossy(), database, machine.trim()].join("\0");
    let hash = &digest::of_bytes(text.as_bytes())[..12];
    [format!("mm_trial_{hash}"), format!("mm_trial_{hash}_renamed")]
}

fn id_of_machine() -> String {
    std::fs::read_to_string("/etc/machine-id").unwrap_or_default()
}

/// A restore would fail by the same; what passes by itself is not for now to judge.
fn closed(error: Error, attempt: &str, fix: &str) -> Error {
    let said = error.one_line();
    if matches!(error.kind(), Kind::Locked | Kind::Refused) || PASSING.iter().any(|words| said.contains(words)) {
        return error;
    }
    let error = error.within(attempt).of_kind(Kind::Refused);
    if fix.is_empty() { error } else { error.hint(fix) }
}

/// The restored database stands beside the present one until `mm-backup prune`.
fn space(database: &Database, data: &Path) -> Vec<Finding> {
    let looked = (|| {
        let size = database.value("SELECT pg_catalog.pg_database_size(pg_catalog.current_database()) AS size")?;
        let own = "SELECT t.spcname AS space FROM pg_catalog.pg_database d JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace
            WHERE d.datname = pg_catalog.current_database()";
        let own = database.value(own)?;
        room::needed(data, database, Some(database), size.as_u64().unwrap_or_default(), own.as_str())
    })();
    let lacks = |need: &Need| {
        let free = disk::free(&need.place).ok().filter(|free| *free < need.bytes)?;
        let Need { place, bytes, what } = need;
        Some(Finding::closing(
            format!(
                "beside the present database, {what} needs {bytes} bytes at `{}`, where {free} are free",
                place.display()
            ),
            format!("make room on the file system of {}", shell::word(place)),
        ))
    };
    looked.unwrap_or_default().iter().filter_map(lacks).collect()
}

/// What takes a cluster out of Patroni's hands.
pub const PATRONI_HINT: &str =
    "take the cluster out of its hands for the upgrade: patronictl pause, then systemctl stop patroni";

/// Whether a cluster that an upgrade stops can be started again.
fn startable(old: &Cluster) -> Vec<Finding> {
    let mut findings = Vec::new();
    let path = old.configuration.join("start.conf");
    if cluster::start_conf(old).ok().flatten().is_some_and(|text| cluster::is_disabled(&text)) {
        findings.push(Finding::closing(
            format!("`{}` says `disabled`: the cluster {} could not be started again", path.display(), old.label()),
            format!(
                "take the cluster out of its manager's hands for the upgrade, then: echo manual > {}",
                shell::word(&path)
            ),
        ));
    }
    if manager::of(old) == Some(Manager::Patroni) {
        findings.push(Finding::closing(
            format!("Patroni runs here and manages the cluster {}: it would start and stop it in between", old.label()),
            PATRONI_HINT.into(),
        ));
    }
    let unit = format!("postgresql@{}-{}.service", old.major, old.name);
    if Path::new("/run/systemd/system").is_dir()
        && let Ok(shown) = Cmd::new("systemctl").args(["show", "--property=LoadState", &unit]).run()
        && shown.text().trim() == "LoadState=masked"
    {
        let cause = format!("the unit {unit} is masked: the cluster {} could not be started again", old.label());
        findings.push(Finding::closing(cause, format!("systemctl unmask {}", shell::word(&unit))));
    }
    findings
}

/// The findings as checks: one for each, or one that passes. With `accepted`, what closes the way back warns.
pub fn checks(findings: &[Finding], accepted: bool) -> Vec<Check> {
    let check = |status, evidence: String, hint| Check {
        id: ACCEPT.into(),
        title: TITLE.into(),
        status,
        evidence,
        compared_with: None,
        hint,
        seconds: 0.0,
    };
    if findings.is_empty() {
        let evidence = "tried: a database was created, renamed and dropped again as a restore would".into();
        return vec![check(Status::Pass, evidence, None)];
    }
    findings
        .iter()
        .map(|finding| match (finding.closes, accepted) {
            (true, false) => check(Status::Fail, finding.cause.clone(), finding.fix.clone()),
            (true, true) => {
                check(Status::Warn, format!("{} (accepted with --accept)", finding.cause), finding.fix.clone())
            }
            (false, _) => check(Status::Warn, format!("not tried: {}", finding.cause), finding.fix.clone()),
        })
        .collect()
}

/// Says what was found, and refuses where the way back is closed and `must_be_open`: before the server is stopped for a
/// hop, unless `accepted`.
///
/// # Errors
/// Refused (exit 5), with a cause and what opens it for each finding.
pub fn judge(findings: &[Finding], must_be_open: bool, accepted: bool) -> Result<()> {
    let (closing, untried): (Vec<&Finding>, Vec<&Finding>) = findings.iter().partition(|finding| finding.closes);
    for finding in untried {
        ui::warn(&format!("{TITLE} [{ACCEPT}]: not tried: {}", finding.cause));
    }
    let with_fix = |finding: &Finding| match &finding.fix {
        Some(fix) => format!("{}; {fix}", finding.cause),
        None => finding.cause.clone(),
    };
    if !must_be_open || accepted {
        for finding in closing {
            ui::warn(&format!("the way back is closed [{ACCEPT}]: {}", with_fix(finding)));
        }
        return Ok(());
    }
    let Some(first) = closing.first() else { return Ok(()) };
    let error = Error::refused(format!("the way back is closed, so nothing is begun [{ACCEPT}]"));
    let error = match closing.as_slice() {
        [only] => error.because(&only.cause),
        several => several.iter().fold(error, |error, finding| error.because(with_fix(finding))),
    };
    let fix = first.fix.clone().unwrap_or_else(|| "remove the cause named above".into());
    Err(error.hint(format!("{fix}; or go on without a way back: --accept {ACCEPT}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_closes_the_way_back_refuses_and_each_cause_has_its_fix() {
        let finding = |closes, cause: &str| Finding { closes, cause: cause.into(), fix: Some(format!("fix {cause}")) };
        let found = [finding(true, "one"), finding(false, "two"), finding(true, "three")];
        let error = judge(&found, true, false).unwrap_err();
        assert_eq!(
            (error.code(), error.causes()),
            (5, &["one; fix one".to_owned(), "three; fix three".to_owned()][..])
        );
        assert_eq!(error.next_step(), Some("fix one; or go on without a way back: --accept rollback"));
        judge(&found, false, false).unwrap();
        judge(&found, true, true).unwrap();
        judge(&found[1..2], true, false).unwrap();
        let statuses = |accepted| checks(&found, accepted).into_iter().map(|check| check.status).collect::<Vec<_>>();
        assert_eq!(statuses(false), [Status::Fail, Status::Warn, Status::Fail]);
        assert_eq!(statuses(true), [Status::Warn; 3]);
        assert_eq!(checks(&[], false)[0].status, Status::Pass);
    }

    #[test]
    fn what_passes_by_itself_closes_nothing() {
        let closes = |error: Error| Finding::of(&closed(error, "x", "y")).closes;
        assert!(closes(Error::failed("`psql` failed").because("ERROR:  permission denied to create database")));
        assert!(!closes(Error::failed("`psql` failed").because("canceling statement due to statement timeout")));
        assert!(!closes(Error::new(Kind::Locked, "another restore goes on")));
        assert!(!closes(Error::failed("`psql` was ended").because("it had not finished after 600 seconds")));
    }
}
