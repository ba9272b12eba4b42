//! Whether a started server is healthy. Ping alone proves nothing: 5.29 answers before its migrations have run, and a
//! server that is restarted over and over answers now and then.

pub mod log;
mod pace;
mod start;

use std::time::{Duration, Instant};

use semver::Version;

use self::log::Mark;
use self::pace::{Pace, pace};
use crate::contract::error::{Error, Result};
use crate::contract::ui;
use crate::machine::service::process::Process;
use crate::machine::service::{Manager, Service};
use crate::machine::{checkpoint, signals};
use crate::mattermost::api::Server;
use crate::mattermost::reach::Reach;
use crate::mattermost::schema;
use crate::postgres::server::Database;

pub use start::{START_LIMIT, StartTimeout, Started};

/// How long a manager may take to have the process running. systemd waits `RestartSec`, 10 s in the documented unit.
const APPEARS: Duration = Duration::from_secs(30);

/// How long a process that nobody manages may take to be seen: it is our own child.
const APPEARS_UNMANAGED: Duration = Duration::from_secs(3);

/// A call of a healthy server takes milliseconds; one that hangs is asked again.
const CALL: Duration = Duration::from_secs(5);

/// The pause before the next look: short while all of it may be over in a moment, longer the longer it takes.
fn pause(since: Duration) -> Duration {
    (since / 20).clamp(Duration::from_millis(10), Duration::from_millis(100))
}

/// What is expected of a started server.
pub struct Expected<'a> {
    /// The service.
    pub service: &'a Service,
    /// The release it is of.
    pub version: &'a Version,
    /// Where it is to answer.
    pub url: &'a str,
    /// The way there.
    pub reach: Reach,
    /// The database whose migrations are to be complete; absent when that is not asked.
    pub database: Option<&'a Database>,
    /// Whether this server works its jobs off. Another node of a cluster may be there for that.
    pub runs_jobs: bool,
    /// Application migrations that need not be recorded, and jobs that need not be finished.
    pub excused: &'a [String],
    /// It answers nobody but the tools: whoever waits for it to be steady keeps the users waiting.
    pub users_are_out: bool,
    /// Its log, from the start on.
    pub log: &'a Mark,
    /// How long all of it may take.
    pub limit: Duration,
}

/// Waits until the server is healthy and returns how long that took.
///
/// # Errors
/// Failed, with the reason and the server's last complaints, when it ends, is restarted, says that it gives up, or is
/// not healthy in time; also when a signal asked to stop.
pub fn wait(expected: &Expected<'_>) -> Result<Duration> {
    let started = Instant::now();
    let database = expected.database.cloned();
    let pace = pace(expected.users_are_out);
    let mut watch = Watch { expected, database, pace, started, process: None, answers_since: None, well_since: None };
    loop {
        signals::check()?;
        match watch.look() {
            Ok(Look::Healthy) => {
                checkpoint::pass("healthy");
                return Ok(started.elapsed());
            }
            Ok(Look::NotYet(what)) => {
                if started.elapsed() > expected.limit {
                    let error = failure(expected, "did not get healthy in time")
                        .because(format!("after {} seconds {what}", expected.limit.as_secs()));
                    return Err(error.hint("give a long migration more time with --start-timeout SECONDS"));
                }
                ui::progress(&format!("{} s: {what}", started.elapsed().as_secs()));
            }
            Err(error) => return Err(error),
        }
        std::thread::sleep(pause(started.elapsed()));
    }
}

enum Look {
    Healthy,
    NotYet(String),
}

struct Watch<'a> {
    expected: &'a Expected<'a>,
    database: Option<Database>,
    pace: Pace,
    started: Instant,
    process: Option<(Process, Instant)>,
    answers_since: Option<Instant>,
    well_since: Option<Instant>,
}

impl Watch<'_> {
    fn look(&mut self) -> Result<Look> {
        if let Some(waiting) = self.process()? {
            return Ok(waiting);
        }
        if let Some(line) = self.expected.log.fatal() {
            return Err(failure(self.expected, "gives up").because(line));
        }
        if let Some(waiting) = self.answers()? {
            self.answers_since = None;
            return Ok(waiting);
        }
        let answers_since = *self.answers_since.get_or_insert_with(Instant::now);
        if let Some(waiting) = self.migrations()? {
            return Ok(waiting);
        }
        match self.process {
            Some((_, since)) if since.elapsed() >= self.pace.stable && answers_since.elapsed() >= self.pace.answers => {
                Ok(Look::Healthy)
            }
            _ => Ok(Look::NotYet("it answers; waiting to see whether it stays".into())),
        }
    }

    fn process(&mut self) -> Result<Option<Look>> {
        let there = self.expected.service.process()?;
        let appears = if self.expected.service.manager == Manager::Exec { APPEARS_UNMANAGED } else { APPEARS };
        match (self.process, there) {
            (Some((before, _)), Some(now)) if before == now => Ok(None),
            (Some((before, _)), Some(now)) => Err(failure(self.expected, "is restarted over and over")
                .because(format!("process {} has given way to process {}", before.pid, now.pid))),
            (Some((before, _)), None) => {
                Err(failure(self.expected, "has ended").because(format!("process {} is gone", before.pid)))
            }
            (None, Some(now)) => {
                self.process = Some((now, Instant::now()));
                Ok(None)
            }
            (None, None) if self.started.elapsed() > appears => {
                Err(failure(self.expected, "did not start").because("its process is not there"))
            }
            (None, None) => Ok(Some(Look::NotYet("waiting for its process".into()))),
        }
    }

    fn answers(&self) -> Result<Option<Look>> {
        let server = Server::reached_by(self.expected.reach.clone().without_proof(), self.expected.url, CALL);
        let Ok(answer) = server.get("/api/v4/system/ping", None) else {
            return Ok(Some(Look::NotYet(self.activity())));
        };
        if answer.status != 200 || answer.body["status"] != "OK" {
            return Ok(Some(Look::NotYet(format!("ping answers {}", answer.verdict()))));
        }
        // That the executable is the right one is known from its digest.
        if answer.is_of(self.expected.version) {
            return Ok(None);
        }
        let header = answer.header("x-version-id").unwrap_or_default();
        Err(failure(self.expected, "is of another version").because(format!(
            "{} says it is `{}`",
            self.expected.url,
            header.split('.').take(3).collect::<Vec<_>>().join(".")
        )))
    }

    fn migrations(&mut self) -> Result<Option<Look>> {
        let Some(database) = &self.database else { return Ok(None) };
        let standing = schema::level(database)?.against(self.expected.version)?;
        if let Some(missing) = standing.missing.first() {
            return Ok(Some(Look::NotYet(format!("schema migrations are missing, the first is {missing}"))));
        }
        if self.expected.runs_jobs {
            let jobs = schema::unfinished_jobs(database)?;
            if let Some(job) = jobs.iter().find(|job| !self.expected.excused.contains(job)) {
                return Ok(Some(Look::NotYet(format!("a migration job is not finished: {job}"))));
            }
        }
        let mut flags = schema::missing_flags(database, self.expected.version)?;
        flags.retain(|flag| !self.expected.excused.contains(flag));
        let since = *self.well_since.get_or_insert_with(Instant::now);
        match flags.first() {
            Some(flag) if since.elapsed() < self.pace.flags => Ok(Some(Look::NotYet(format!("waiting for `{flag}`")))),
            _ => Ok(None),
        }
    }

    /// What a server that does not listen yet is doing: from 7.1 on it migrates without a word.
    fn activity(&self) -> String {
        let waiting = "it does not answer yet".to_owned();
        let Some(database) = &self.database else { return waiting };
        let query = "SELECT pg_catalog.left(pg_catalog.regexp_replace(query, '\\s+', ' ', 'g'), 80) AS query FROM pg_catalog.pg_stat_activity \
                     WHERE datname = pg_catalog.current_database() AND pid <> pg_catalog.pg_backend_pid() AND state = 'active' LIMIT 1";
        let busy = database.rows(query).ok().and_then(|rows| rows.first()?["query"].as_str().map(str::to_owned));
        let at = schema::level(database).ok().and_then(|level| level.highest());
        match (at, busy) {
            (Some(at), Some(busy)) => format!("{waiting}; migration {at} is done, the database is at `{busy}`"),
            (None, Some(busy)) => format!("{waiting}; the database is at `{busy}`"),
            (Some(at), None) => format!("{waiting}; migration {at} is done"),
            (None, None) => waiting,
        }
    }
}

fn failure(expected: &Expected<'_>, what: &str) -> Error {
    let error = Error::failed(format!("the server {} {what}", expected.version));
    expected.log.complaints().into_iter().fold(error, Error::because)
}
