//! The site probe: what is installed here, observed afresh by every tool, without asking the server binary anything it
//! could answer by migrating the database.

mod address;
mod identity;
mod isolated;
mod layout;
pub mod private;
mod section;
mod version;
mod whose;

use std::path::{Path, PathBuf};

use semver::Version;

use super::config::Config;
use super::health::{START_LIMIT, Started};
use crate::contract::error::{Error, Result};
use crate::contract::sections;
use crate::contract::version::Edition;
use crate::machine::lock::LockGuard;
use crate::machine::service::{Manager, STOP_LIMIT, Service};
use crate::machine::signals;
use crate::machine::state::State;
use crate::machine::trust;
use crate::machine::user::User;
use crate::postgres::server::Database;
use crate::postgres::source::DataSource;

pub use isolated::version_of;
pub use version::{MANIFESTS, Source, precise};

/// Where the server is installed when nobody says otherwise.
pub const DEFAULT_ROOT: &str = "/opt/mattermost";

/// An installation, observed. Not serialisable: it holds the configuration. [`Installation::section`] is what may be
/// shown.
pub struct Installation {
    /// The install root, symlinks resolved.
    pub root: PathBuf,
    /// The installed release.
    pub version: Version,
    /// How the version was found: `manifest`, `server`, `isolated-run`, or `supposed` where nothing tells any more.
    pub version_source: String,
    /// Its edition.
    pub edition: Edition,
    /// The user the server runs as.
    pub owner: User,
    /// Its configuration.
    pub config: Config,
    /// Its service.
    pub service: Service,
    /// Whether the server ran when the run began (the document's word, else [`Service::was_running`]).
    pub was_running: bool,
    /// Where uploaded files are, absolute.
    pub data: PathBuf,
    /// The data source, when it is PostgreSQL.
    pub source: Option<DataSource>,
    /// The state directory.
    pub state: State,
}

/// Which installation to look at, and what the administrator said about it.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// `--install`, or the document's; /opt/mattermost when it holds bin/mattermost.
    pub install: Option<PathBuf>,
    /// `--service`.
    pub service: Option<String>,
    /// `--stop-command`.
    pub stop_command: Option<String>,
    /// `--start-command`.
    pub start_command: Option<String>,
    /// `--state-dir`.
    pub state_dir: Option<PathBuf>,
    /// What an earlier tool of this run recorded.
    pub recorded: Option<sections::Site>,
    /// The user the server runs as, where the state directory of root's says so: then nothing there is asked.
    pub owner: Option<User>,
}

/// An installation as far as it is known without its version: what an interrupted exchange leaves observable.
pub struct Ground {
    /// The install root, symlinks resolved.
    pub root: PathBuf,
    /// The user the server runs as.
    pub owner: User,
    /// Its service.
    pub service: Service,
    /// The state directory.
    pub state: State,
}

/// What is taken for installed where the executable is damaged or gone: what a tool has noted of its own work there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supposed {
    /// The release.
    pub version: Version,
    /// Its edition.
    pub edition: Edition,
}

/// Finds the installation that the flags or the document name, its owner and its service.
///
/// # Errors
/// Refused when there is none, or its layout is not supported (package-managed, container).
pub fn ground(wanted: &Wanted) -> Result<Ground> {
    ground_at(layout::root(wanted.install.as_deref().unwrap_or(Path::new(DEFAULT_ROOT)))?, wanted)
}

/// As [`ground`], for a tool that repairs an installation: its executable may be gone.
///
/// # Errors
/// Refused when there is no such directory, or its layout is not supported.
pub fn ground_of_ruin(wanted: &Wanted) -> Result<Ground> {
    ground_at(layout::directory(wanted.install.as_deref().unwrap_or(Path::new(DEFAULT_ROOT)))?, wanted)
}

fn ground_at(root: PathBuf, wanted: &Wanted) -> Result<Ground> {
    layout::refuse_foreign(&root)?;
    let state = State::of(&root, wanted.state_dir.as_deref());
    trust::check_directory(state.path()).map_err(|error| {
        error
            .because("what it holds is what the tools have done, and they go by it")
            .hint("remove it if it is not yours, or give a directory of your own with --state-dir DIR")
    })?;
    let manager = manager(&root, &state, wanted)?;
    let owner = wanted.owner.clone().map_or_else(|| identity::owner(&root, &manager), Ok)?;
    let service =
        Service { manager, install: root.clone(), owner: owner.clone(), variables: Vec::new(), state: state.clone() };
    service.refuse_outsider()?;
    Ok(Ground { root, owner, service, state })
}

/// Observes the installation that the flags or the document name.
///
/// # Errors
/// Refused when there is none, or its layout is not supported (package-managed, container); failed when something could
/// not be read.
pub fn probe(wanted: &Wanted) -> Result<Installation> {
    observe(ground(wanted)?, wanted, None)
}

/// As [`probe`], for a tool that repairs an installation: what does not say its version is taken for `supposed`.
///
/// # Errors
/// As [`probe`], but not for an executable that is empty, damaged, may not be executed, or is gone.
pub fn probe_ruin(wanted: &Wanted, supposed: &Supposed) -> Result<Installation> {
    observe(ground_of_ruin(wanted)?, wanted, Some(supposed))
}

fn observe(ground: Ground, wanted: &Wanted, supposed: Option<&Supposed>) -> Result<Installation> {
    let Ground { root, owner, mut service, state } = ground;
    let config = Config::load(&root, &owner, &service.manager)?;
    give_variables(&mut service, &config);
    let found = version::find(&root, &owner, &service, &config);
    let found = found.or_else(|error| version::suppose(supposed, error))?;
    let was_running = match &wanted.recorded {
        Some(site) => site.service.was_running,
        None => service.was_running()?,
    };
    let source = source(&config, &owner)?;
    let data = root.join(config.text("FileSettings", "Directory").unwrap_or_else(|| "./data/".into()));
    Ok(Installation {
        data: layout::tidy(&data),
        version: found.version,
        version_source: found.source.name().into(),
        edition: found.edition,
        root,
        owner,
        config,
        service,
        was_running,
        source,
        state,
    })
}

fn give_variables(service: &mut Service, config: &Config) {
    if service.manager == Manager::Exec {
        service.variables = config.variables();
    }
}

fn source(config: &Config, owner: &User) -> Result<Option<DataSource>> {
    match config.driver().as_str() {
        "postgres" => DataSource::parse_for(config.data_source()?.0.reveal(), &owner.name).map(Some),
        _ => Ok(None),
    }
}

fn manager(root: &Path, state: &State, wanted: &Wanted) -> Result<Manager> {
    let flags = wanted.service.is_some() || wanted.stop_command.is_some() || wanted.start_command.is_some();
    match wanted.recorded.as_ref().map(|site| &site.service) {
        // The commands themselves do not travel in the document: each tool has to be told them.
        Some(service) if !flags && service.manager != "command" => {
            Manager::recorded(root, state, &service.manager, service.unit.as_deref())
        }
        _ => {
            let (stop, start) = (wanted.stop_command.as_deref(), wanted.start_command.as_deref());
            Manager::choose(root, wanted.service.as_deref(), stop, start)
        }
    }
}

impl Installation {
    /// Reads the configuration again, after it was changed: the next start of the server is one with it as it is now.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn reload(&mut self) -> Result<()> {
        self.config = Config::load(&self.root, &self.owner, &self.service.manager)?;
        give_variables(&mut self.service, &self.config);
        self.source = source(&self.config, &self.owner)?;
        Ok(())
    }

    /// Connects to the database as the server does.
    ///
    /// # Errors
    /// Refused when the server does not use PostgreSQL; failed when the database cannot be reached.
    pub fn database(&self) -> Result<Database> {
        Database::connect(self.postgres()?, Some(&self.owner))
    }

    fn postgres(&self) -> Result<&DataSource> {
        self.source.as_ref().ok_or_else(|| {
            Error::refused("the server does not use PostgreSQL")
                .because(format!("SqlSettings.DriverName is `{}`", self.config.driver()))
                .hint("move the database to PostgreSQL first (mm-pgbump move --target FILE): Mattermost 11 needs it, and the other tools work with nothing else")
        })
    }

    /// The address a client of this machine reaches the server at: `http://127.0.0.1:8065`, with the path of the site
    /// URL.
    pub fn local_url(&self) -> String {
        format!("{}{}", address::local(&self.listen(), self.speaks_tls()), self.subpath())
    }

    /// The path of the site URL, below which the server answers on every address: `/chat`, or nothing.
    pub fn subpath(&self) -> String {
        address::subpath(&self.config)
    }

    /// The address at which the server answers with a valid certificate: over loopback, or, when it speaks TLS itself,
    /// under its public name.
    pub fn answering_url(&self) -> String {
        let site_url = self.site_url().filter(|url| self.speaks_tls() && url.starts_with("https://"));
        site_url.unwrap_or_else(|| self.local_url())
    }

    /// `ServiceSettings.SiteURL` as a browser names it, where one is set.
    pub fn site_url(&self) -> Option<String> {
        address::site_url(&self.config)
    }

    /// `ServiceSettings.ListenAddress`.
    pub fn listen(&self) -> String {
        address::listen(&self.config)
    }

    fn speaks_tls(&self) -> bool {
        address::speaks_tls(&self.config)
    }

    /// The port the server listens on.
    pub fn port(&self) -> Option<u16> {
        address::port(&self.listen(), self.speaks_tls())
    }

    /// Puts the service back into the state it had when the run began: what a tool does when it fails after an earlier
    /// one left the service stopped. A server that is started is waited for.
    ///
    /// # Errors
    /// When it cannot be started or stopped, or does not get healthy.
    pub fn put_service_back(&self, lock: &LockGuard) -> Result<()> {
        match (self.was_running, self.service.is_running()?) {
            (true, false) => {
                let _start = signals::undoing(format!(
                    "starting the server {} again as it ran before; that is waited for, mostly some seconds",
                    self.version
                ));
                Started::command(self, lock)?.wait(self, START_LIMIT, lock)
            }
            (false, true) => self.service.stop(STOP_LIMIT, lock),
            _ => Ok(()),
        }
    }

    /// After a failure no later tool starts a service that an earlier one, or this one, has left stopped for it.
    #[must_use]
    pub fn after_failure(&self, error: Error, lock: &LockGuard) -> Error {
        match self.put_service_back(lock) {
            Ok(()) => error,
            Err(other) => error.because(format!("and the service is not as it was: {}", other.one_line())),
        }
    }
}
