//! `watch`: keeps looking for a while after the upgrade, and ends with 4 as soon as the server gets worse. It only
//! reads, and holds no lock: other tools may work meanwhile.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mm_common::contract::ui;
use mm_common::machine::files::{self, Access};
use mm_common::machine::signals;
use mm_common::mattermost::api::Server;
use mm_common::run::Session;
use mm_common::{Error, Result};

use crate::arguments::{Options, Watch};
use crate::look::Look;
use crate::run::{self, Looked};
use crate::server_log::ServerLog;
use crate::trend::{self, Sample, Usual};
use crate::{plan, report};

/// How long a status ping may take. Beyond this a user has given up.
const LIMIT: Duration = Duration::from_secs(10);

/// How much of the log's end tells which errors are usual.
const TAIL: u64 = 1024 * 1024;

/// `watch`.
pub(crate) fn watch(session: &mut Session, options: Options, wanted: &Watch) -> Result<String> {
    let (strict, prometheus) = (options.strict, options.prometheus.clone());
    let look = Look::at(session, options)?;
    if session.dry_run {
        return Ok(format!("would look at {} for {} s", look.server.url, wanted.length.as_secs()));
    }
    let server = Server::reached_by(look.server.reach.clone().without_proof(), &look.server.url, LIMIT);
    let mut log = ServerLog::at(&log_path(&look), 0);
    let mut usual = look.baseline.as_ref().map(|baseline| baseline.usual.clone()).unwrap_or_default();
    let started = Instant::now();
    let mut samples = Vec::new();
    let checks = loop {
        let sample = sample(&look, &server, &mut log);
        if samples.is_empty() {
            usual.latency = usual.latency.or(sample.latency);
            usual.connections = usual.connections.or(sample.connections.map(|(count, _)| count));
        }
        if let Some(trouble) = &sample.trouble {
            ui::warn(trouble);
        }
        samples.push(sample);
        let checks = trend::judge(&samples, &usual);
        let seconds = started.elapsed().as_secs_f64();
        if let Some(path) = &prometheus {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let text = report::prometheus(&checks, seconds, now) + &report::prometheus_sample(samples.last());
            files::write(path, text.as_bytes(), Access::PUBLIC)?;
        }
        let worse = plan::count(&checks, mm_common::contract::sections::Status::Fail) > 0;
        if worse || started.elapsed() >= wanted.length || signals::caught().is_some() {
            break checks;
        }
        ui::progress(&format!("{} in {seconds:.0} s: {}", ui::count(samples.len(), "look"), plan::summary(&checks)));
        pause(wanted.every.min(wanted.length.saturating_sub(started.elapsed())));
    };
    let looked = Looked { checks, seconds: started.elapsed().as_secs_f64() };
    session.document.set("verify", &run::section(&looked))?;
    session.human = Some(report::human(&looked.checks, looked.seconds));
    plan::verdict(&looked.checks, strict)
}

/// What is usual now, for the baseline.
pub(crate) fn usual(look: &Look) -> Usual {
    let server = Server::reached_by(look.server.reach.clone().without_proof(), &look.server.url, LIMIT);
    let sample = sample(look, &server, &mut ServerLog::at(&log_path(look), TAIL));
    Usual {
        latency: sample.latency,
        connections: sample.connections.map(|(count, _)| count),
        errors: sample.errors.into_keys().collect(),
    }
}

fn sample(look: &Look, server: &Server, log: &mut ServerLog) -> Sample {
    let begun = Instant::now();
    let answer = server.get("/api/v4/system/ping?get_server_status=true", None);
    let latency = answer.is_ok().then(|| begun.elapsed().as_secs_f64() * 1000.0);
    let trouble = match answer {
        Ok(answer) if answer.is_success() => None,
        Ok(answer) => {
            Some(format!("the status ping answers {}, database {}", answer.status, answer.body["database_status"]))
        }
        Err(error) => Some(error.one_line()),
    };
    let connections = connections(look).ok();
    let errors = log.errors().unwrap_or_else(|error: Error| {
        ui::warn(&error.one_line());
        std::collections::BTreeMap::new()
    });
    Sample { trouble, latency, connections, errors }
}

fn connections(look: &Look) -> Result<(u64, u64)> {
    let rows = look.database()?.rows(
        "SELECT (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity WHERE datname = pg_catalog.current_database()) AS used,
           pg_catalog.current_setting('max_connections')::int AS allowed",
    )?;
    let number = |key: &str| rows.first().and_then(|row| row[key].as_u64()).unwrap_or_default();
    Ok((number("used"), number("allowed")))
}

/// `LogSettings.FileLocation`, relative to the install root; `logs` when it is empty.
pub(crate) fn log_path(look: &Look) -> PathBuf {
    let place = look.installation.config.text("LogSettings", "FileLocation").unwrap_or_default();
    let place = if place.is_empty() { "logs".to_owned() } else { place };
    look.installation.root.join(place).join("mattermost.log")
}

/// Waits, but not past a signal.
fn pause(length: Duration) {
    let until = Instant::now() + length;
    while signals::caught().is_none() && Instant::now() < until {
        std::thread::sleep((until - Instant::now()).min(Duration::from_millis(200)));
    }
}
