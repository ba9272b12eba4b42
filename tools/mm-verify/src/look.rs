//! What the checks look at: one installation, its database, its server, and what it is compared with.

use std::path::PathBuf;

use mm_common::contract::error::Context as _;
use mm_common::contract::sections::{Backup, Fetch, Pgbump, Swap};
use mm_common::machine::door::{self, Open};
use mm_common::mattermost::api::{DEFAULT_LIMIT, Server};
use mm_common::mattermost::schema::{self, Level};
use mm_common::mattermost::session::Traces;
use mm_common::mattermost::site::{Installation, private};
use mm_common::postgres::server::Database;
use mm_common::run::Session;
use mm_common::{Error, Result};
use semver::Version;

use crate::arguments::Options;
use crate::baseline::Baseline;
use crate::checks::browser::Visit;
use crate::people::Person;
use crate::scratch::Scratch;

/// The subject of all checks.
pub(crate) struct Look {
    /// The installation.
    pub(crate) installation: Installation,
    database: Result<Database>,
    /// The server at the address it is reached at in this hop.
    pub(crate) server: Server,
    /// Whether the server listens privately in this hop, so that the site URL does not lead to it.
    pub(crate) is_private: bool,
    /// The release that must be there, when the document says.
    pub(crate) expected: Option<Version>,
    /// What mm-fetch has at hand.
    pub(crate) fetch: Option<Fetch>,
    /// The restore point of this hop.
    pub(crate) backup: Option<Backup>,
    /// What mm-pgbump did in this hop.
    pub(crate) pgbump: Option<Pgbump>,
    /// The checks before the upgrade.
    pub(crate) baseline: Option<Baseline>,
    /// Runs of these tools that were cut off. Until they are ended nothing is put into the database.
    pub(crate) cut_off: Vec<Open>,
    /// Flags.
    pub(crate) options: Options,
    /// Record of what we put into the database.
    pub(crate) traces: Traces,
    /// The people looked as; filled by the first check that needs them.
    pub(crate) people: Option<Result<Vec<Person>>>,
    /// The temporary user and its channel; made by the first check that needs them.
    pub(crate) scratch: Option<Result<Scratch>>,
    /// A second temporary user, like a real one, for the browser.
    pub(crate) shadow: Option<Result<Scratch>>,
    /// The plugins that run, once they were looked at.
    pub(crate) active_plugins: Option<Vec<String>>,
    /// The browser.
    pub(crate) visit: Option<Result<Visit>>,
}

impl Look {
    /// Looks at the installation that flags and document name. That the database or the server cannot be reached is
    /// for the checks to say.
    pub(crate) fn at(session: &mut Session, options: Options) -> Result<Self> {
        let installation = session.probe()?;
        let swap: Option<Swap> = session.document.section("swap")?;
        let private = swap.as_ref().and_then(|swap| swap.private_address.as_deref());
        let is_private = private.is_some();
        let private = match (&options.url, private) {
            (Some(_), _) | (_, None) => None,
            (None, Some(address)) => Some(private::confirm(&installation, address)?),
        };
        let url = options.url.clone().or(private.map(|address| address + &installation.subpath()));
        let server = match url {
            // The administrator's word.
            Some(url) if options.url.is_some() => Server::at(url),
            url => {
                let url = url.unwrap_or_else(|| installation.answering_url());
                installation.refuse_impostor(&url)?;
                Server::reached_by(installation.reach(&url), url, DEFAULT_LIMIT)
            }
        };
        let state = installation.state.path().join("verify");
        Ok(Self {
            server,
            database: installation.database(),
            is_private,
            expected: swap.map(|swap| swap.to),
            fetch: session.document.section("fetch")?,
            backup: session.document.section("backup")?,
            pgbump: session.document.section("pgbump")?,
            baseline: Baseline::read(&state.join("baseline.json"))?,
            cut_off: door::open(&installation.state, &installation.root, &[])?,
            traces: Traces::at(state.join("traces.json")),
            people: None,
            scratch: None,
            shadow: None,
            active_plugins: None,
            visit: None,
            installation,
            options,
        })
    }

    /// The database.
    ///
    /// # Errors
    /// Why it could not be reached.
    pub(crate) fn database(&self) -> Result<&Database> {
        self.database.as_ref().map_err(Clone::clone)
    }

    /// Where the schema stands.
    pub(crate) fn level(&self) -> Result<Level> {
        schema::level(self.database()?)
    }

    /// The installed release.
    pub(crate) fn release(&self) -> &Version {
        &self.installation.version
    }

    /// Where this tool keeps what it needs between runs.
    pub(crate) fn state(&self) -> PathBuf {
        self.installation.state.path().join("verify")
    }

    /// The columns of the tables we ask about, as `table.column`.
    pub(crate) fn columns(&self, tables: &[&str]) -> Result<std::collections::BTreeSet<String>> {
        let list = tables.iter().map(|table| format!("'{table}'")).collect::<Vec<_>>().join(", ");
        let rows = self
            .database()?
            .rows(&format!(
                "SELECT table_name || '.' || column_name AS name FROM information_schema.columns \
                 WHERE table_schema = pg_catalog.current_schema() AND table_name IN ({list})"
            ))
            .context(|| "cannot read which columns there are".to_owned())?;
        Ok(rows.iter().filter_map(|row| row["name"].as_str()).map(str::to_owned).collect())
    }

    /// Takes the path of a file in the state directory into use.
    pub(crate) fn prepare_state(&self) -> Result<()> {
        mm_common::machine::files::create_directory(&self.state(), 0o700)
    }

    /// An error that says why a check that depends on another could not look.
    pub(crate) fn without(what: &str) -> Error {
        Error::failed(format!("could not look, because {what}"))
    }
}
