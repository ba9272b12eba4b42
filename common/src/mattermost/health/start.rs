//! Starting the service again after work that is done, and waiting until its users can work with it.

use std::time::Duration;

use clap::Args;

use super::log::Mark;
use super::{Expected, wait};
use crate::contract::error::Result;
use crate::contract::ui;
use crate::machine::lock::LockGuard;
use crate::mattermost::site::Installation;

/// How long a server may take to get healthy that has nothing to migrate, unless somebody says otherwise: it answers after
/// seconds (observed), on a slow disk after a minute.
pub const START_LIMIT: Duration = Duration::from_secs(120);

/// `--start-timeout` of a tool that starts the server as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct StartTimeout {
    /// Seconds a server that is started again may take to get healthy
    #[arg(long, value_name = "SECONDS", default_value_t = START_LIMIT.as_secs())]
    pub start_timeout: u64,
}

impl Default for StartTimeout {
    fn default() -> Self {
        Self { start_timeout: START_LIMIT.as_secs() }
    }
}

impl StartTimeout {
    /// As a duration.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.start_timeout)
    }
}

/// A start that was commanded. Other work may be done before it is waited for.
#[derive(Debug)]
pub struct Started {
    log: Mark,
}

impl Started {
    /// Commands the start.
    ///
    /// # Errors
    /// When the manager refuses.
    pub fn command(site: &Installation, lock: &LockGuard) -> Result<Self> {
        let log = Mark::now(&site.root, &site.config, &site.service);
        site.service.start(&[], lock)?;
        Ok(Self { log })
    }

    /// Waits until the server is healthy.
    ///
    /// # Errors
    /// Failed, with the server's last complaints, when it ends, gives up or is not healthy after `limit`; also when a
    /// signal asked to stop.
    pub fn wait(&self, site: &Installation, limit: Duration, lock: &LockGuard) -> Result<()> {
        ui::say(&format!("waiting for the server {} to be healthy", site.version));
        wait(&Expected {
            service: &site.service,
            version: &site.version,
            url: &site.answering_url(),
            reach: site.reach(&site.answering_url()),
            database: None,
            runs_jobs: false,
            excused: &[],
            users_are_out: false,
            log: &self.log,
            limit,
        })
        .map_err(|error| {
            let next = error.next_step().unwrap_or("fix what its log says").to_owned();
            error.with_hint(format!("{next}; then start the service: what was done before stays done"))
        })?;
        ui::progress_done();
        site.service.settle(lock)
    }
}
