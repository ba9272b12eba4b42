//! Starting a server, publicly or privately, and waiting until it is healthy.

use std::net::{TcpListener, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use mm_common::contract::error::{Error, Result};
use mm_common::contract::ui;
use mm_common::machine::checkpoint;
use mm_common::machine::lock::LockGuard;
use mm_common::mattermost::health::log::Mark;
use mm_common::mattermost::health::{self, Expected};
use mm_common::mattermost::site::Installation;
use mm_common::postgres::server::Database;
use semver::Version;

use crate::private;

/// How a server is to be started.
pub(crate) struct Launch<'a> {
    pub(crate) site: &'a Installation,
    /// The release that is in place now.
    pub(crate) version: &'a Version,
    /// The loopback address of a private start.
    pub(crate) private: Option<&'a str>,
    /// Asked for the state of migrations, when they matter.
    pub(crate) database: Option<&'a Database>,
    /// Application migrations that need not be recorded, and jobs that need not be finished.
    pub(crate) excused: &'a [String],
    pub(crate) limit: Duration,
}

/// A start that was commanded.
pub(crate) struct Commanded<'a> {
    launch: &'a Launch<'a>,
    log: Mark,
    /// When it was commanded.
    pub(crate) at: Instant,
}

impl Launch<'_> {
    /// Commands the start.
    pub(crate) fn command(&self, lock: &LockGuard) -> Result<Commanded<'_>> {
        let service = &self.site.service;
        let log = Mark::now(&self.site.root, &self.site.config, service);
        let overrides = match self.private {
            Some(address) => {
                private::note(&service.state, address, lock)?;
                private::overrides(address)
            }
            None => Vec::new(),
        };
        self.refuse_taken_port()?;
        service.start(&overrides, lock)?;
        let at = Instant::now();
        checkpoint::pass("start-commanded");
        Ok(Commanded { launch: self, log, at })
    }

    /// A server that is running already, started by a run that was cut off. Its log is looked at from now on.
    pub(crate) fn found(&self) -> Commanded<'_> {
        let log = Mark::now(&self.site.root, &self.site.config, &self.site.service);
        Commanded { launch: self, log, at: Instant::now() }
    }

    /// Where it will answer. A server that speaks TLS itself has a certificate for its public name only.
    pub(crate) fn url(&self) -> String {
        match self.private {
            Some(address) => private::url(address) + &self.site.subpath(),
            None => self.site.answering_url(),
        }
    }

    /// A port that somebody else holds is found by the server only after it has migrated the database (observed).
    fn refuse_taken_port(&self) -> Result<()> {
        let listen = self.site.listen();
        let address = self.private.unwrap_or(&listen);
        // What cannot be resolved here (a name of a port) is left to the server.
        let full = if address.starts_with(':') { format!("0.0.0.0{address}") } else { address.to_owned() };
        let Some(socket) = full.to_socket_addrs().ok().and_then(|mut all| all.next()) else { return Ok(()) };
        match TcpListener::bind(socket) {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                Err(Error::failed(format!("the server cannot listen on {address}"))
                    .because("another program listens there")
                    .hint(format!(
                        "end it (`ss -ltnp` names it), or change ServiceSettings.ListenAddress from `{listen}`"
                    )))
            }
            // Any other failure (a privileged port needs a capability that only the server has) is left to the server.
            _ => Ok(()),
        }
    }
}

impl Commanded<'_> {
    /// Waits until the server is healthy.
    pub(crate) fn wait(&self, lock: &LockGuard) -> Result<Duration> {
        let Launch { site, version, database, excused, limit, .. } = self.launch;
        ui::say(&format!("waiting for the server {version} to be healthy"));
        let url = self.launch.url();
        let expected = Expected {
            service: &site.service,
            version,
            url: &url,
            reach: site.reach(&url),
            database: *database,
            runs_jobs: site.config.flag("JobSettings", "RunJobs") != Some(false),
            excused,
            users_are_out: self.launch.private.is_some(),
            log: &self.log,
            limit: *limit,
        };
        let after = health::wait(&expected)?;
        ui::progress_done();
        site.service.settle(lock)?;
        if self.launch.private.is_none() {
            private::forget(&site.service.state, lock)?;
        }
        Ok(after)
    }
}
