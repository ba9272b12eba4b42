//! The application migrations: roles, the keys of table `systems`, and the jobs that go on in the background after the start.

use std::thread;
use std::time::Duration;

use serde_json::json;

use super::{Database, Insert, roles};
use crate::emulated::Version;
use crate::error::Result;
use crate::faults::Faults;
use crate::text;

const KEYS: &str = include_str!("../../data/systems.tsv");

/// What runs in the foreground of a start.
pub(crate) fn application_migrations(database: &Database, version: Version, faults: &Faults) -> Result<()> {
    let now = text::now_ms().to_string();
    for (key, value) in [
        ("AsymmetricSigningKey", json!({"ecdsa_key": {"curve": "P-256", "x": 1, "y": 2, "d": 3}}).to_string()),
        ("DiagnosticId", text::new_id()),
        ("FirstServerRunTimestamp", now.clone()),
        ("InstallationDate", now),
        ("PostActionCookieSecret", json!({"key": text::new_id()}).to_string()),
    ] {
        if database.system(key)?.is_none() {
            database.set_system(key, &value)?;
        }
    }
    roles::bring(database, version)?;
    for row in text::rows(KEYS) {
        let [key, from] = row.as_slice() else { continue };
        if version.within(from, "") && database.system(key)?.is_none() {
            database.set_system(key, "true")?;
        }
    }
    if version.at_least(6, 4) && database.system("FirstAdminSetupComplete")?.is_none() {
        let admins = database.number("SELECT count(*) FROM users WHERE roles LIKE '%system_admin%'", &[])?;
        if admins > 0 {
            database.set_system("FirstAdminSetupComplete", "true")?;
        }
    }
    if let Some(said) = faults.value("missing-permission") {
        roles::forget(database, said)?;
    }
    Ok(())
}

/// The background jobs of a start.
pub(crate) struct Jobs {
    version: Version,
    faults: Faults,
}

struct Job {
    kind: &'static str,
    key: &'static str,
    /// Pending until this long after the start.
    wait: Duration,
    runs: Duration,
    progress: i64,
}

impl Jobs {
    pub(crate) fn new(version: Version, faults: &Faults) -> Self {
        Self { version, faults: faults.clone() }
    }

    /// Observed: about 71 s after a fresh 5.29, 25 s from 9.5 on; each once in the life of a database.
    fn due(&self) -> Vec<Job> {
        let job = |kind, key, wait, progress| Job {
            kind,
            key,
            wait: self.faults.seconds("job-delay", 25.0).unwrap_or(Duration::from_secs(wait)),
            runs: Duration::from_millis(if wait == 25 { 1000 } else { 250 }),
            progress,
        };
        let mut jobs = vec![job("migrations", "migration_advanced_permissions_phase_2", 71, 0)];
        if self.version.within("9.5", "") {
            jobs.push(job("delete_empty_drafts_migration", "delete_empty_drafts_migration", 25, 100));
        }
        if self.version.within("9.6", "") {
            jobs.push(job("delete_orphan_drafts_migration", "delete_orphan_drafts_migration", 25, 100));
        }
        if self.version.within("11.0", "") {
            jobs.push(job("delete_dms_preferences_migration", "delete_dms_preferences_migration", 25, 100));
        }
        jobs
    }

    /// Writes the rows of the jobs that are due and works them off. Returns when all are done; a database that goes away ends it quietly.
    pub(crate) fn run(&self, database: &Database) -> Result<()> {
        let mut waited = Duration::ZERO;
        let mut open = Vec::new();
        for job in self.due() {
            if database.system(job.key)?.is_some() {
                continue;
            }
            let found = database
                .row("SELECT id FROM jobs WHERE type = $1 AND status IN ('pending', 'in_progress')", &[&job.kind])?;
            let id = found.map_or_else(text::new_id, |row| row.text("id").to_owned());
            let data = match job.kind {
                "migrations" => json!({"last_done": "", "migration_key": job.key}),
                _ => json!({}),
            };
            let now = text::now_ms();
            let insert = Insert::into("jobs")
                .text("id", &id)
                .text("type", job.kind)
                .int("priority", 0)
                .int("createat", now)
                .int("startat", 0)
                .int("lastactivityat", now)
                .text("status", "pending")
                .int("progress", 0)
                .text("data", &data.to_string())
                .on_conflict("ON CONFLICT DO NOTHING");
            database.script(&insert.sql())?;
            open.push((job, id));
        }
        if self.faults.has("job-stuck") {
            return Ok(());
        }
        for (job, id) in open {
            thread::sleep(job.wait.saturating_sub(waited));
            waited = waited.max(job.wait);
            let now = text::now_ms();
            database.execute(
                "UPDATE jobs SET status = 'in_progress', startat = $2, lastactivityat = $2 WHERE id = $1",
                &[&id, &now],
            )?;
            thread::sleep(job.runs);
            let done = "UPDATE jobs SET status = 'success', lastactivityat = $2, progress = $3 WHERE id = $1";
            database.execute(done, &[&id, &text::now_ms(), &job.progress])?;
            database.set_system(job.key, "true")?;
        }
        Ok(())
    }
}
